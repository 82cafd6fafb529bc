"""Against laws that are listed, and the law of weak steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import hulls, numerics, theory, voice_drift

NUM_VOICES, NUM_WORDS, LENGTH = 3, 4, 2
GATES = np.array([0.5, 0.3, 0.2])


def by_word(rng):
    """Voices that say words independently: log-probabilities of words [K, V]."""
    return np.log(rng.dirichlet(np.ones(NUM_WORDS), NUM_VOICES))


def drawn(rng, log_words, num):
    """Answers of each of these voices, one after the other [K num, T]."""
    return np.concatenate([rng.choice(NUM_WORDS, (num, LENGTH), p=np.exp(p)) for p in log_words])


def listed(log_words):
    """Log-probabilities of all answers [K, N]."""
    return (log_words[:, :, None] + log_words[:, None, :]).reshape(len(log_words), -1)


def kept(rng, before, after, num):
    """What voices have become, with gates."""
    tokens = drawn(rng, after, num)
    scored = after[:, tokens]
    mixed = np.logaddexp.reduce(np.log(GATES)[:, None, None] + np.cumsum(scored, axis=-1), axis=0)
    log_policy = np.diff(mixed, prepend=0.0, axis=-1)
    rewards = tokens.sum(axis=1).astype(float)
    return voice_drift.Kept(*map(jnp.asarray, (tokens, log_policy, before[:, tokens], GATES, rewards)))


@pytest.fixture(scope="module")
def laws():
    rng = np.random.default_rng(3)
    before = by_word(rng)
    after = before + 0.4 * rng.normal(size=before.shape)
    return before, after - np.logaddexp.reduce(after, axis=1, keepdims=True)


@pytest.mark.slow
def test_the_budget_is_that_of_all_answers(laws):
    before, after = laws
    policy = np.logaddexp.reduce(np.log(GATES)[:, None] + listed(after), axis=0)
    base = np.logaddexp.reduce(listed(before), axis=0) - np.log(NUM_VOICES)
    total = numerics.kl_divergence(jnp.asarray(policy), jnp.asarray(base))
    distance = hulls.project(jnp.asarray(policy), jnp.asarray(listed(before)), tolerance=1e-9).distance
    misses = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        of_base = voice_drift.of_base(jnp.asarray(before[:, drawn(rng, before, 100)].sum(axis=-1)))
        budget = voice_drift.budget(kept(rng, before, after, 100), of_base)
        assert budget.certified
        assert budget.base_inside
        misses.append(
            [
                (budget.total - total) / budget.total_se,
                (budget.hull_distance - distance) / budget.hull_distance_se,
                (budget.selection_fraction - (1 - distance / total)) / budget.selection_fraction_se,
            ]
        )
    assert (np.abs(np.mean(misses, axis=0)) < 4 / len(misses) ** 0.5).all()
    assert (np.abs(np.std(misses, axis=0) - 1) < 0.35).all()


def test_new_words_share_out_the_mean_log_ratio(laws):
    before, after = laws
    one = kept(np.random.default_rng(0), before, after, 50)
    weights = np.array([0.2, 0.3, 0.5])
    found = voice_drift.new_words(one, jnp.asarray(weights), NUM_WORDS, most=NUM_WORDS)
    mixed = np.logaddexp.reduce(np.log(weights)[:, None] + np.asarray(one.log_voices.sum(axis=-1)), axis=0)
    ratios = np.asarray(one.log_policy.sum(axis=-1)) - mixed
    by_gate = GATES @ ratios.reshape(NUM_VOICES, -1).mean(axis=1)
    np.testing.assert_allclose(found.nats.sum(), by_gate, rtol=1e-10)
    assert (np.diff(found.nats) <= 0).all()
    assert sorted(found.tokens.tolist()) == list(range(NUM_WORDS))


@pytest.mark.slow
def test_a_first_step_has_the_jackknifed_r2(laws):
    rng = np.random.default_rng(5)
    said = jnp.asarray(laws[0][:, drawn(rng, laws[0], 40)].sum(axis=-1))
    moved = jnp.asarray(rng.normal(size=said.shape[1]))
    even = jnp.full(moved.size, -jnp.log(moved.size))

    def limit(chosen):
        law = jnp.where(chosen, even, -jnp.inf)
        law = law - jax.nn.logsumexp(law)
        ratios = said - voice_drift.log_even_mix(said)[None]
        return float(theory.weak_limit(law[None], (ratios + law[None])[None], moved[None], jnp.zeros(1)))

    every = np.ones(moved.size, bool)
    without = np.array([limit(jnp.asarray(np.arange(moved.size) != i)) for i in range(moved.size)])
    found, error = voice_drift.weak_limit(said, moved)
    np.testing.assert_allclose(found, moved.size * limit(every) - (moved.size - 1) * without.mean(), rtol=1e-6)
    np.testing.assert_allclose(error, without.std() * (moved.size - 1) ** 0.5, rtol=1e-6)
