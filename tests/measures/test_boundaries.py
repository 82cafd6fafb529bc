import jax.numpy as jnp
import numpy as np
import pytest

from toypersona.measures import boundaries

STRENGTHS = jnp.geomspace(0.1, 10.0, 200)


def test_crossing_of_a_known_curve():
    np.testing.assert_allclose(boundaries.crossing(STRENGTHS, jnp.log(STRENGTHS), 1.0), np.e, rtol=1e-6)


@pytest.mark.parametrize(
    "values, expected", [(jnp.ones(200), 0.0), (-jnp.ones(200), np.inf), (jnp.full(200, jnp.nan), np.inf)]
)
def test_passed_from_the_start_or_never(values, expected):
    assert boundaries.crossing(STRENGTHS, values, 0.5) == expected


def test_the_named_boundaries():
    fraction = 1 / (1 + STRENGTHS**2)
    np.testing.assert_allclose(boundaries.half(STRENGTHS, fraction), 1.0, rtol=1e-3)
    np.testing.assert_allclose(
        boundaries.detectable(STRENGTHS, STRENGTHS**2 / 2, 100), np.sqrt(0.02 * np.log(20)), rtol=1e-3
    )
    one = 1 - 0.5 * jnp.exp(-STRENGTHS)
    weights = jnp.stack([one, 1 - one], axis=-1)[:, None, :].repeat(2, axis=1)
    np.testing.assert_allclose(boundaries.vertex(STRENGTHS, weights, jnp.log(jnp.full(2, 0.5))), np.log(50), rtol=1e-3)


def test_locked_wrong():
    mean_rewards = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    gates = jnp.array([[0.05, 0.95], [0.95, 0.05], [0.5, 0.5], [0.99, 0.01]])
    log_prompts = jnp.log(jnp.array([0.4, 0.3, 0.2, 0.1]))
    np.testing.assert_allclose(boundaries.locked_wrong(gates, mean_rewards, log_prompts), 0.5)
