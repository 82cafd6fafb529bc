"""Rewards as they are: R² by normal equations against least squares, the law of chance, and rewards per word."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, natural_rewards, rewards, theory
from toypersona.worlds import larry_bob_alice, markov

SMALL = {"num_words": 5, "num_prompts": 3, "concentration": 1.0}


def base_of(length, seed=0):
    return bases.true(*markov.markov(jax.random.key(seed), **SMALL), length)


@pytest.mark.slow_but("markov")
@pytest.mark.parametrize("name", ["markov", "larry_bob_alice"])
def test_shares_are_the_r2_of_least_squares_and_degrees_their_angle(name):
    base = base_of(3) if name == "markov" else bases.true(*larry_bob_alice.larry_bob_alice(), 2)
    along = natural_rewards.directions(base)
    paid = natural_rewards.paid(jax.random.key(1), base, 0)
    assert ("brevity" in paid) == ("." in base.labels.units) and set(paid) >= {"words", "exploit", "log-odds"}
    for reward in (*paid.values(), natural_rewards.right_answers(jax.random.key(2), base, 0.3)):
        hull = base.log_base, base.log_personas, reward, base.log_prompts
        share = float(natural_rewards.share(base, along, reward))
        assert share == pytest.approx(float(theory.weak_limit(*hull)), abs=1e-8)
        assert np.cos(np.deg2rad(float(theory.degrees(*hull)))) ** 2 == pytest.approx(share, abs=1e-8)


def test_log_odds_are_those_of_bayes_rule():
    base = base_of(2)
    paid = natural_rewards.paid(jax.random.key(1), base, 1)["log-odds"]
    scores = jnp.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(jax.nn.sigmoid(paid), rewards.persona_affine(base.log_gates, base.log_personas, scores))


@pytest.mark.parametrize("length", [1, 3])
def test_what_right_answers_tell_by_chance(length):
    base = base_of(length)
    along = natural_rewards.directions(base)

    def parts(key):
        right = natural_rewards.right_answers(key, base, 0.4)
        variance = base.mean(base.log_base, (right - (jnp.exp(base.log_base) * right).sum(-1, keepdims=True)) ** 2)
        return natural_rewards.share(base, along, right) * variance, variance

    drawn = jax.lax.map(parts, jax.random.split(jax.random.key(0), 4000))
    # Where all or none are right nothing is paid for.
    explained, variance = (np.asarray(x)[np.asarray(drawn[1]) > 0] for x in drawn)
    law = float(natural_rewards.by_chance(base, along))
    left = explained - law * variance
    assert abs(left.mean()) < 5 * left.std() / np.sqrt(left.size)
    assert left.std() / np.sqrt(left.size) < 0.02 * explained.mean()


@pytest.mark.slow
def test_a_reward_per_word_is_between_personas_by_no_more_than_r2_and_gains_by_its_law():
    listed, scores = [], jax.random.normal(jax.random.key(3), (5,))
    for length in (1, 2, 4):
        base = base_of(length, seed=2)
        reward = rewards.evaluate(rewards.word_scores(scores), base.prompts, base.responses)
        listed.append(float(natural_rewards.share(base, natural_rewards.directions(base), reward)))
    long = natural_rewards.per_word(base_of(1, seed=2), scores, (1, 2, 4, 1024))
    assert (np.asarray(long.between[:3]) <= np.asarray(listed) + 1e-4).all()
    np.testing.assert_allclose(long.between[3], long.law[3], rtol=0.02)


def test_lengths_that_can_be_listed():
    assert natural_rewards.lengths(10, 5, 1000) == (1, 2, 3)
    assert natural_rewards.lengths(2, 4) == (1, 2, 3, 4)
