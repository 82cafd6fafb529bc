import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import rel_entr

from toypersona import numerics


def random_log_probs(seed, *shape):
    return jax.nn.log_softmax(2 * jax.random.normal(jax.random.key(seed), shape))


def test_kl_divergence_is_scipys():
    p, q = random_log_probs(0, 200, 17), random_log_probs(1, 200, 17)
    np.testing.assert_allclose(numerics.kl_divergence(p, q), rel_entr(np.exp(p), np.exp(q)).sum(-1), rtol=1e-10)


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-6])
def test_kl_divergence_keeps_its_digits_near_zero(size):
    p = np.full(64, 1 / 64, dtype=np.longdouble)
    bump = np.where(np.arange(64) % 2, size, -size).astype(np.longdouble)
    q = p * (1 + bump)
    exact = float((p * np.log(p / q)).sum())
    assert exact < size**2
    measured = numerics.kl_divergence(jnp.log(p.astype(float)), jnp.asarray(np.log(q), float))
    np.testing.assert_allclose(measured, exact, rtol=1e-3)


def test_kl_divergence_with_impossible_outcomes():
    log_p, log_q = jnp.log(jnp.array([0.5, 0.5, 0.0])), jnp.log(jnp.array([0.25, 0.25, 0.5]))
    np.testing.assert_allclose(numerics.kl_divergence(log_p, log_q), np.log(2), rtol=1e-12)
    assert numerics.kl_divergence(log_q, log_p) == jnp.inf
    assert numerics.kl_divergence(log_p, log_p) == 0


def test_kl_divergence_gradient():
    p, q = random_log_probs(2, 7), random_log_probs(3, 7)
    gradient = jax.grad(lambda x: numerics.kl_divergence(p, jax.nn.log_softmax(x)))(q)
    np.testing.assert_allclose(gradient, jnp.exp(q) - jnp.exp(p), atol=1e-12)


def test_entropy_and_mix():
    p = random_log_probs(4, 3, 5)
    np.testing.assert_allclose(numerics.entropy(p), -(np.exp(p) * p).sum(-1), rtol=1e-12)
    assert numerics.entropy(jnp.log(jnp.array([1.0, 0.0]))) == 0
    w = jnp.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(jnp.exp(numerics.log_mix(jnp.log(w), p)), w @ jnp.exp(p), rtol=1e-12)


def test_a_mix_of_what_nobody_can_say_is_impossible_and_flat():
    components = jnp.log(jnp.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]))
    weights = jnp.log(jnp.array([0.25, 0.75]))
    np.testing.assert_allclose(jnp.exp(numerics.log_mix(weights, components)), [0.875, 0.125, 0.0])

    def likelihood(weights):
        mixed = numerics.log_mix(weights, components)
        return jnp.where(jnp.isneginf(mixed), 0.0, mixed).sum()

    np.testing.assert_allclose(jax.grad(likelihood)(weights), [0.125 / 0.875 + 1.0, 0.75 / 0.875], rtol=1e-12)
