import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp, rel_entr

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


def cases(seed, num_cases=400, num_outcomes=6):
    """Log-probabilities [B, N] with entries that are impossible, or so small that exp rounds them to 0."""
    rng = np.random.default_rng(seed)
    size = (num_cases, num_outcomes)
    log_p = np.where(rng.random(size) < 0.2, -np.inf, np.where(rng.random(size) < 0.1, -800.0, rng.normal(size=size)))
    log_p[:, 0] = np.where(np.isneginf(log_p).all(axis=1), 0.0, log_p[:, 0])
    return log_p - logsumexp(log_p, axis=1, keepdims=True)


def exact(log_p):
    return np.exp(np.asarray(log_p, np.longdouble))


def test_divergences_with_probabilities_at_and_near_zero_are_those_of_80_bits():
    log_p, log_q = cases(0), cases(1)
    p, q = exact(log_p), exact(log_q)
    with np.errstate(divide="ignore"):
        terms = p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, q, 1))
    expected = terms.sum(axis=1).astype(float)
    assert np.isinf(expected).sum() > 100 < np.isfinite(expected).sum()
    np.testing.assert_allclose(numerics.kl_divergence(jnp.array(log_p), jnp.array(log_q)), expected, rtol=1e-12)
    low = numerics.kl_divergence(jnp.array(log_p, jnp.float32), jnp.array(log_q, jnp.float32))
    np.testing.assert_allclose(low, expected, rtol=2e-4, atol=1e-6)
    assert (low >= 0).all()


def test_a_probability_that_exp_rounds_to_zero_is_still_one():
    log_p, log_q = jnp.array([0.0, -800.0]), jnp.array([0.0, -jnp.inf])
    assert numerics.kl_divergence(log_p, log_q) == jnp.inf
    assert numerics.kl_divergence(log_q, log_p) == 0 == numerics.entropy(log_p)
    assert numerics.expectation(log_p, -log_q) == jnp.inf
    assert numerics.expectation(log_q, -log_q) == 0


def test_expectations_do_not_see_what_is_impossible():
    log_p = cases(2)
    values = np.random.default_rng(3).normal(size=log_p.shape)
    expected = np.where(np.isneginf(log_p), 0, exact(log_p) * values).sum(axis=1)
    for wrong in (np.nan, np.inf, -np.inf):
        given = jnp.array(np.where(np.isneginf(log_p), wrong, values))
        found, slopes = jax.vmap(jax.value_and_grad(numerics.expectation))(jnp.array(log_p), given)
        np.testing.assert_allclose(found, expected, atol=1e-14)
        np.testing.assert_allclose(slopes, np.where(np.isneginf(log_p), 0, exact(log_p) * values), atol=1e-14)
    entropy = -np.where(np.isneginf(log_p), 0, exact(log_p) * np.where(np.isneginf(log_p), 0, log_p)).sum(axis=1)
    np.testing.assert_allclose(numerics.entropy(jnp.array(log_p)), entropy, atol=1e-14)


@pytest.mark.parametrize("function", [numerics.kl_divergence, numerics.expectation])
def test_nan_stays_nan(function):
    fine = random_log_probs(5, 4)
    for first, second in ((fine.at[1].set(jnp.nan), fine), (fine, fine.at[1].set(jnp.nan))):
        assert jnp.isnan(function(first, second))
    assert jnp.isnan(numerics.log_normalize(jnp.full(3, -jnp.inf))).all()


def test_a_mix_and_its_derivative_are_those_of_the_responsibilities():
    components, weights = cases(4, 300).reshape(100, 3, 6), cases(5, 100, 3)
    joint = exact(weights)[:, :, None] * exact(components)
    mixed = joint.sum(axis=1)
    with np.errstate(divide="ignore"):
        expected = np.log(mixed)
    found, back = jax.vjp(numerics.log_mix, jnp.array(weights), jnp.array(components))
    np.testing.assert_allclose(found, np.asarray(expected, float), atol=1e-12)
    possible = np.isfinite(expected)
    share = np.asarray(joint / np.where(possible, mixed, 1)[:, None], float)
    for slopes, right in zip(back(jnp.array(possible, float)), (share.sum(axis=2), share), strict=True):
        np.testing.assert_allclose(slopes, right, atol=1e-12)


def test_rounding_bounds_what_sums_of_probabilities_miss():
    rng = np.random.default_rng(0)
    for size in (3, 300):
        logs = rng.normal(size=(2, size)) * 30
        exact = [math.fsum(math.exp(x) for x in row) for row in logs]
        sums = jnp.exp(jnp.asarray(logs)).sum(axis=1)
        bound = float(numerics.rounding(jnp.asarray(logs)))
        assert (np.abs(sums / np.array(exact) - 1) <= bound).all() and bound < 1e-12
    same = numerics.rounding(jnp.array([-3.0, -jnp.inf]))
    assert same == numerics.rounding(jnp.array([-3.0, -1.0]))


def test_the_logarithm_is_within_a_unit_of_that_of_long_doubles():
    rng = np.random.default_rng(0)
    tiny = np.finfo(float).tiny
    sizes = [
        np.exp(rng.uniform(np.log(tiny), 700, 20_000)),
        rng.uniform(0.4, 1.6, 20_000),
        1 + 1e-7 * rng.normal(size=20_000),
    ]
    x = np.concatenate([*sizes, [tiny, 1.0, np.finfo(float).max]])
    found = np.asarray(jax.jit(numerics.log)(x))
    true = np.log(x.astype(np.longdouble))
    assert (np.abs(found - true) <= np.spacing(np.abs(found))).all()
    np.testing.assert_array_equal(numerics.log(jnp.array([jnp.nan, jnp.inf])), [np.nan, np.inf])
    assert numerics.log(jnp.float32(2.0)).dtype == jnp.float32
    np.testing.assert_allclose(jax.jacfwd(numerics.log)(3.0 * jnp.ones(1)), [[1 / 3]])
    np.testing.assert_allclose(jax.grad(lambda at: numerics.log(at**2))(3.0), 2 / 3)
