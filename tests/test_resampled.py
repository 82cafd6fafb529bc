"""Against a world whose responses are listed, and against contests that are played out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import numerics, resampled, theory
from toypersona.measures import drift
from toypersona.measures.sampled import Samples

C, K, N, NUM = 2, 3, 12, 600
LOG_PROMPTS = jnp.log(jnp.array([0.7, 0.3]))


def world():
    """Personas, their even mix, and a reward that is partly theirs."""
    keys = jax.random.split(jax.random.key(1))
    log_personas = jax.nn.log_softmax(1.5 * jax.random.normal(keys[0], (C, K, N)))
    log_base = numerics.log_mix(jnp.full((C, K), -jnp.log(K)), log_personas)
    return log_base, log_personas, log_personas[:, 0] - log_base + 0.7 * jax.random.normal(keys[1], (C, N))


LOG_BASE, LOG_PERSONAS, REWARD = world()
STRATA = jnp.broadcast_to(jnp.arange(NUM) % K, (C, NUM))


def draw(key, *, strata=True):
    """Samples of the base, of the personas in turn or not, and their rewards."""
    by = jnp.tile(LOG_PERSONAS, (1, NUM // K, 1)) if strata else jnp.repeat(LOG_BASE[:, None], NUM, axis=1)
    picks = jax.random.categorical(key, by)
    take = lambda x: jnp.take_along_axis(x, picks, axis=-1)  # noqa: E731
    log_personas = jnp.take_along_axis(LOG_PERSONAS, jnp.broadcast_to(picks[:, None], (C, K, NUM)), axis=-1)
    return picks, Samples(take(LOG_BASE), take(LOG_BASE), log_personas, strata=STRATA if strata else None)


@pytest.mark.parametrize("strata", [False, True])
def test_the_weak_limit_is_that_of_all_responses_within_its_error(strata):
    def one(key):
        picks, drawn = draw(key, strata=strata)
        return resampled.weak_limit(drawn, jnp.take_along_axis(REWARD, picks, axis=1), LOG_PROMPTS)

    found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), 300))
    apart = found.value - theory.weak_limit(LOG_BASE, LOG_PERSONAS, REWARD, LOG_PROMPTS)
    assert abs(apart.mean()) < 0.25 * apart.std()
    np.testing.assert_allclose(found.error.mean(), apart.std(), rtol=0.12)


def test_a_tilt_of_the_strength_found_is_as_far_as_wanted():
    picks, _ = draw(jax.random.key(3))
    paid = jnp.take_along_axis(REWARD, picks, axis=1)
    for nats in (0.01, 0.5):
        strength = resampled.strength(paid, LOG_PROMPTS, nats)
        total = numerics.expectation(
            LOG_PROMPTS, numerics.kl_divergence(theory.tilt(LOG_BASE, REWARD, strength), LOG_BASE)
        )
        np.testing.assert_allclose(total, nats, rtol=0.15)
        weights = np.exp(strength * paid)
        shares = weights / weights.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(np.exp(LOG_PROMPTS) @ (shares * np.log(NUM * shares)).sum(axis=1), nats, rtol=1e-6)


def test_no_tilt_is_farther_than_what_pays_most():
    """Of two rewards, each half of the samples: a tilt moves all to one of them, ln 2 nats at most."""
    paid = jnp.tile(jnp.array([0.0, 1.0]), (C, NUM // 2))
    assert jnp.isfinite(resampled.strength(paid, LOG_PROMPTS, 0.69))
    assert jnp.isnan(resampled.strength(paid, LOG_PROMPTS, 0.7))


@pytest.mark.parametrize("num", [1, 2, 3])
def test_best_of_n_wins_as_often_as_in_contests_played_out(num):
    paid, others = np.array([[0.0, 1.0, 2.5, 3.0]]), np.array([[1.0, 0.0, 1.0, 3.0]])
    found = np.exp(resampled.best_of(num, jnp.asarray(paid), jnp.asarray(others)))[0]
    for reward, weight in zip(paid[0], found, strict=True):
        pool, won = [reward, *others[0]], 0.0
        for contest in itertools.product(range(len(pool)), repeat=num):
            most = max(pool[i] for i in contest)
            first = [i for i in contest if pool[i] == most]
            won += (first.count(0) / len(first)) / len(pool) ** num
        # Of those who pay the same, whoever it is.
        np.testing.assert_allclose(weight, won * len(pool), rtol=1e-12)


@pytest.mark.slow
def test_policies_sum_to_little_less_than_one_and_are_tilts_and_best_of_n():
    nats, nums = jnp.array([0.2, 0.6]), jnp.array([2.0, 4.0])

    def made(key):
        picks, drawn = draw(key)
        paid = jnp.take_along_axis(REWARD, picks, axis=1)
        return resampled.policies(paid, REWARD, LOG_PROMPTS, nats, nums, drawn.num_strata)

    every = jax.jit(jax.vmap(made))(jax.random.split(jax.random.key(4), 300))
    sums = jnp.exp(LOG_BASE[None, None] + every).sum(axis=-1)
    # By chance 600 samples have a mean 3 standard errors too small in one case of 700, and more often where few weigh.
    assert (sums > 1).mean() < 0.01
    assert (sums > 0.7).all() and sums.mean() > 0.85
    listed = every[0]
    laws = LOG_BASE[None] + listed
    for law, num in zip(laws[2:], nums, strict=True):
        exact = theory.best_of_n(LOG_BASE, REWARD, num)
        assert (numerics.kl_divergence(numerics.log_normalize(law), exact) < 0.01).all()
    slopes = listed[0] / REWARD
    spread = (listed[0] - listed[0][:, :1])[:, 1:] / (REWARD - REWARD[:, :1])[:, 1:]
    np.testing.assert_allclose(spread, spread[0, 0], rtol=1e-9)
    assert jnp.ptp(slopes) > 0


def test_accepted_samples_are_the_policy_s():
    picks, _ = draw(jax.random.key(5))
    log_weights = jnp.take_along_axis(REWARD, picks, axis=1)
    keys = jax.random.split(jax.random.key(6), 400)
    taken = jax.vmap(lambda key: resampled.accepted(key, log_weights))(keys).sum(axis=0)
    for prompt in range(C):
        counts = np.bincount(picks[prompt], weights=taken[prompt], minlength=N)
        weights = np.bincount(picks[prompt], weights=np.exp(log_weights[prompt]), minlength=N)
        np.testing.assert_allclose(counts / counts.sum(), weights / weights.sum(), atol=0.01)


@pytest.mark.slow
def test_detectors_see_what_no_mix_says_and_never_a_mix():
    picks, drawn = draw(jax.random.key(7))
    even = jnp.full((C, 1), jnp.log(0.98))
    beyond = jnp.take_along_axis(theory.tilt(LOG_BASE, REWARD, 3.0) - LOG_BASE, picks, axis=1)
    tilt, base = (
        resampled.seen(jax.random.key(8), weights, drawn, jnp.array([True, True]))
        for weights in (beyond, jnp.broadcast_to(even, picks.shape))
    )
    assert tilt.log_e > 20 and tilt.proofs > 0 and tilt.best > 0 and tilt.certified
    prompt, place = divmod(int(tilt.witness), NUM)
    law = theory.tilt(LOG_BASE, REWARD, 3.0)[prompt] - LOG_PERSONAS[prompt].max(axis=0)
    np.testing.assert_allclose(tilt.best, law[picks[prompt, place]], rtol=1e-9)
    assert base.log_e < 0 and base.proofs == 0 and base.num == picks.size
    alone = resampled.seen(jax.random.key(8), beyond, drawn, jnp.array([True, False]))
    assert alone.num < tilt.num and int(alone.witness) < NUM


@pytest.mark.slow
def test_a_base_outside_is_repaired_as_where_responses_are_listed():
    outside = jax.nn.log_softmax(LOG_BASE + 0.8 * jax.random.normal(jax.random.key(9), (C, N)))
    picks = jax.random.categorical(jax.random.key(10), outside[:, None], shape=(C, 4000))
    take = lambda x: jnp.take_along_axis(x, picks, axis=-1)  # noqa: E731
    personas = jnp.take_along_axis(LOG_PERSONAS, jnp.broadcast_to(picks[:, None], (C, K, 4000)), axis=-1)
    found = jax.jit(
        lambda: resampled.repaired(Samples(take(outside), take(outside), personas), take(REWARD), LOG_PROMPTS, 0.3)
    )()
    law = theory.tilt(outside, REWARD, resampled.strength(take(REWARD), LOG_PROMPTS, 0.3))
    tokens = jnp.arange(N)[:, None]
    given, mended = (drift.budget(law, outside, LOG_PERSONAS, tokens, LOG_PROMPTS, repair=fix) for fix in (False, True))
    assert abs(found.budget.selection_fraction - mended.selection_fraction) < 4 * found.budget.selection_fraction_se
    np.testing.assert_allclose(found.as_given, given.selection_fraction, atol=0.3)
    assert given.selection_fraction < mended.selection_fraction - 0.3
    assert 0 < found.predicted.value < 1
