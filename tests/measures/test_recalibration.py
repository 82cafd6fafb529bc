"""One slope on a reader's log-odds against SciPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from toypersona.measures import faithfulness, recalibration


@pytest.mark.parametrize("seed", range(3))
def test_what_one_slope_recovers_is_scipys_best(seed):
    """Of a policy whose log-odds are the reader's thrice, and noise."""
    rng = np.random.default_rng(seed)
    log_reader = np.asarray(jax.nn.log_softmax(jnp.asarray(rng.normal(size=(5, 2)))))
    log_policy = np.asarray(jax.nn.log_softmax(3 * log_reader + 0.3 * seed * rng.normal(size=(5, 2))))
    weights = rng.dirichlet(np.ones(5))

    def apart(slope):
        tempered = np.asarray(jax.nn.log_softmax(slope * log_reader))
        return float((weights[:, None] * np.exp(log_policy) * (log_policy - tempered)).sum())

    best: Any = optimize.minimize_scalar(apart, bounds=(0, 50), method="bounded", options={"xatol": 1e-10})
    code, slope, gap = recalibration.recalibrated(jnp.log(weights), jnp.asarray(log_policy), jnp.asarray(log_reader))
    np.testing.assert_allclose([code, slope], [best.fun, best.x], rtol=1e-5, atol=1e-9)
    assert 0 <= gap < 1e-12 and (code < 1e-12) == (seed == 0)
    known = faithfulness.information(jnp.log(weights)[None, :, None] + log_policy[None], jnp.asarray(log_reader))
    np.testing.assert_allclose(known["sharpening"] + known["code"], known["coded"], rtol=1e-12)
    np.testing.assert_allclose(known["code"], best.fun, atol=1e-9)
