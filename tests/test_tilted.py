import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains, tilted

V, U = 3, 4
SCORES = jnp.array([0.3, -1.0, 0.7])
PROMPT = jnp.array([3, 1])
ORDERS = pytest.mark.parametrize("order", [1, 2])


def random_table(order, seed=0):
    return jax.nn.log_softmax(1.5 * jax.random.normal(jax.random.key(seed), (U,) * order + (V,)))


def listed(table, length, strength, paid):
    """Log Z and the tilted mean by listing all responses."""
    responses = chains.outcomes(V, length)
    reward = paid(SCORES[responses])
    joint = chains.log_probs(table, PROMPT, length) + strength * reward
    return jax.nn.logsumexp(joint), jax.nn.softmax(joint) @ reward


@pytest.mark.slow_but("False-0.7-1", "True-30.0-2")
@ORDERS
@pytest.mark.parametrize("strength", [0.0, 0.7, 30.0])
@pytest.mark.parametrize("last_only", [False, True])
def test_moments_as_by_listing_all_responses(order, strength, last_only):
    table = random_table(order)
    log_partition, mean = tilted.moments(table, PROMPT, SCORES, strength, (1, 2, 5), last_only=last_only)
    for i, length in enumerate((1, 2, 5)):
        exact = listed(table, length, strength, lambda x: x[:, -1] if last_only else x.sum(axis=1))
        np.testing.assert_allclose([log_partition[i], mean[i]], exact, rtol=1e-10, atol=1e-13)


@pytest.mark.slow
def test_every_length_may_have_a_strength_of_its_own():
    table, strengths = random_table(1), (2.0, 0.3, 0.7)
    log_partition, mean = tilted.moments(table, PROMPT, SCORES, jnp.array(strengths), (1, 2, 5))
    for i, (length, strength) in enumerate(zip((1, 2, 5), strengths, strict=True)):
        exact = listed(table, length, strength, lambda x: x.sum(axis=1))
        np.testing.assert_allclose([log_partition[i], mean[i]], exact, rtol=1e-10)


def test_moments_with_impossible_words():
    table = random_table(1).at[:, 1].set(-jnp.inf)
    made = tilted.moments(table, PROMPT, SCORES, 0.5, (4,))
    exact = listed(table, 4, 0.5, lambda x: x.sum(axis=1))
    np.testing.assert_allclose(np.ravel(made), exact, rtol=1e-12)


def test_the_mean_is_the_derivative_of_log_z_at_four_thousand_words():
    table = random_table(1)
    log_z = jax.jit(lambda s: tilted.moments(table, PROMPT, SCORES, s, (4096,)))
    slope = (log_z(0.8 + 1e-4)[0] - log_z(0.8 - 1e-4)[0]) / 2e-4
    np.testing.assert_allclose(log_z(0.8)[1], slope, rtol=1e-6)


@ORDERS
def test_asymptotics_are_what_long_responses_tend_to(order):
    table = random_table(order)
    mean, variance = jax.jit(tilted.asymptotics)(table, SCORES)
    at = jax.jit(lambda s: tilted.moments(table, PROMPT, SCORES, s, (1000, 2000)))
    (_, first), (_, second) = at(0.0), at(1e-5)
    np.testing.assert_allclose(first[1] - first[0], 1000 * mean, rtol=1e-9)
    variances = (second - at(-1e-5)[1]) / 2e-5
    np.testing.assert_allclose(variances[1] - variances[0], 1000 * variance, rtol=1e-4)


def test_asymptotics_without_memory_are_the_words_own_mean_and_variance():
    def error(seed):
        row = jax.nn.log_softmax(jax.random.normal(jax.random.key(seed), (V,)))
        mean, variance = tilted.asymptotics(jnp.tile(row, (U, 1)), SCORES)
        own = jnp.exp(row) @ SCORES
        return jnp.array([mean - own, variance - jnp.exp(row) @ (SCORES - own) ** 2])

    np.testing.assert_allclose(jax.vmap(error)(jnp.arange(100)), 0, atol=1e-12)


@ORDERS
def test_a_tilted_chain_is_the_tilted_law_and_samples_it(order):
    table, length = random_table(order), 3
    rewards = jnp.asarray(np.random.default_rng(3).normal(size=(length, V)))
    tables, log_partition = tilted.tilt(table, rewards)
    responses = chains.outcomes(V, length)
    joint = chains.log_probs(table, PROMPT, length) + rewards[jnp.arange(length), responses].sum(axis=1)
    context = tuple(PROMPT[len(PROMPT) - order :])
    np.testing.assert_allclose(log_partition[context], jax.nn.logsumexp(joint), rtol=1e-12)
    draws = jax.jit(jax.vmap(lambda key: tilted.sample(key, tables[None], 0, PROMPT)))(
        jax.random.split(jax.random.key(4), 20_000)
    )
    seen = np.bincount(np.asarray(draws @ V ** jnp.arange(length - 1, -1, -1)), minlength=V**length) / 20_000
    expected = np.asarray(jax.nn.softmax(joint))
    z = (seen - expected) / np.sqrt(expected * (1 - expected) / 20_000)
    assert np.abs(z).max() < 5


def test_wrong_input():
    with pytest.raises(ValueError, match="looks back at no word"):
        tilted.moments(jnp.zeros(V), PROMPT, SCORES, 1.0, (2,))
    with pytest.raises(ValueError, match="whole numbers from 1"):
        tilted.moments(random_table(1), PROMPT, SCORES, 1.0, (0, 2))
    with pytest.raises(ValueError, match="one for each of 2 lengths"):
        tilted.moments(random_table(1), PROMPT, SCORES, jnp.ones(1), (1, 2))
