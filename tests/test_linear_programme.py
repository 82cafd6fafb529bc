"""Linear programmes against SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from toypersona import linear_programme


def value(cost, matrix, least, most):
    """Bounds by feasible points near what is given, of problems with A >= 0 and c >= 0."""

    def certify(y, v):
        y = jnp.minimum(y / jnp.minimum((matrix @ y / least).min(), 1.0), most)
        missed = jnp.maximum(least - matrix @ y, 0.0).max()
        v = v / jnp.maximum(jnp.where(jnp.isfinite(most), 0.0, v @ matrix / cost).max(), 1.0)
        over = jnp.where(jnp.isfinite(most), jnp.maximum(v @ matrix - cost, 0.0), 0.0)
        paid = jnp.where(jnp.isfinite(most), over * most, 0.0).sum()
        return least @ v - paid, jnp.where(missed > 1e-9, jnp.inf, cost @ y)

    return linear_programme.solve(cost, matrix, least, most, certify, 1e-8)


@pytest.mark.parametrize("num_constraints", [1, 4])
def test_as_cheap_as_scipy_s_with_and_without_bounds(num_constraints):
    rng = np.random.default_rng(num_constraints)
    cost, matrix = rng.uniform(0.1, 1, (60, 25)), rng.uniform(0, 1, (60, num_constraints, 25))
    least = rng.uniform(0.5, 2, (60, num_constraints))
    most = np.where(rng.uniform(size=(60, 25)) < 0.5, rng.uniform(0.5, 2, (60, 25)), np.inf)
    found = jax.jit(jax.vmap(value))(*map(jnp.asarray, (cost, matrix, least, most)))
    assert (found.upper - found.lower <= 1e-8).all()
    for c, a, b, h, lower, upper in zip(cost, matrix, least, most, found.lower, found.upper, strict=True):
        bounds = [(0, None if np.isinf(x) else x) for x in h]
        truth = optimize.linprog(c, A_ub=-a, b_ub=-b, bounds=bounds).fun
        assert lower - 1e-8 <= truth <= upper + 1e-8
