"""The twins of RL curves on a small world: their identities, and what does not hold of other policies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, numerics, rewards, rl_curves
from toypersona.rules import catalogue
from toypersona.worlds import markov

TIMES = jnp.array([0.5, 2.0, 20.0])


@pytest.fixture(scope="module")
def base():
    world = markov.markov(jax.random.key(0), num_personas=2, num_words=3, num_prompts=2, concentration=1.0)
    return bases.true(*world, length=2)


@pytest.fixture(scope="module")
def paid(base):
    words = rewards.evaluate(rewards.word_scores(jnp.array([0.0, 1.0, -0.5])), base.prompts, base.responses)
    return rl_curves.rewarded(base, words)


@pytest.fixture(scope="module")
def path(base, paid):
    return jax.jit(lambda: rl_curves.walk(base, paid[2], TIMES))()


def test_what_is_paid_is_standardised_and_as_much_as_is_named(base, paid):
    assert paid.shape == (base.num_personas + 2, *base.log_base.shape)
    for reward in paid:
        np.testing.assert_allclose(base.mean(base.log_base, reward), 0.0, atol=1e-12)
        np.testing.assert_allclose(base.mean(base.log_base, reward**2), 1.0, rtol=1e-10)


@pytest.mark.slow
def test_k1_is_nearer_to_whom_the_sampler_is_nearer_to(base, path):
    laws = jax.vmap(base.law)(path)
    found = jax.jit(lambda: rl_curves.logs(jax.random.key(1), base, path, laws, 2))()
    names = rl_curves.sampler_names(2)
    apart = found["sampler_from_base"] - found["sampler_from_policy"]
    np.testing.assert_allclose(found["logged_mean"][:, :, 0, 0], apart, atol=1e-10)
    of = dict(zip(names, jnp.moveaxis(found["logged_mean"], 1, 0), strict=True))
    spent = jax.vmap(base.spent)(laws)
    np.testing.assert_allclose(of["the policy"][:, 0, 1], spent, rtol=1e-9)
    assert (of["the base"][:, 0] < 0).all() and (of["the base"][:, 2] > 0).all()
    np.testing.assert_allclose(of["an earlier policy"][0], of["the base"][0], rtol=1e-10)
    assert of["an earlier policy"][2, 0, 0] > of["the base"][2, 0, 0]


@pytest.mark.slow
def test_batches_are_negative_by_size_and_drift(base, path):
    laws = jax.vmap(base.law)(path)
    found = rl_curves.negatives(jax.random.key(2), base, laws, (1, 64), 4000)
    whole = [float(base.mean(law, (law < base.log_base).astype(float))) for law in laws]
    np.testing.assert_allclose(found["negative"][:, 0], whole, atol=5 * 0.5 / np.sqrt(4000))
    assert (found["negative"][:, 1] < found["negative"][:, 0]).all()
    assert found["negative_law"].shape == found["negative"].shape


@pytest.mark.slow
def test_entropy_first_changes_by_the_covariance_with_surprise(base, paid):
    found = jax.jit(lambda: rl_curves.entropies(base, paid, TIMES))()
    surprise = [
        float(base.mean(base.log_base, reward * -base.log_base)) for reward in paid
    ]  # of rewards with mean 0 at every prompt
    np.testing.assert_allclose(found["surprise"], surprise, atol=1e-10)
    np.testing.assert_allclose(found["tilt_change"], surprise, atol=1e-6)
    small = jax.vmap(base.law)(rl_curves.walk(base, paid[-1], jnp.array([1e-4])))[0]
    entropy = numerics.expectation(base.log_prompts, numerics.entropy(small))
    np.testing.assert_allclose((entropy - found["base_entropy"]) / 1e-4, found["gradient_change"][-1], rtol=1e-2)
    assert found["entropy"][-1, 0] > found["base_entropy"] and (found["entropy_drift"][:, 1:] > 0).all()


@pytest.mark.slow
def test_a_rule_spends_what_its_reward_needs_and_the_rest(base, paid):
    right = rewards.best_paid(paid[2], base.log_base, 0.3)
    checked = rewards.standardise(right, base.log_base, base.log_prompts)
    setup = catalogue.Setup(base, checked, base.log_base, right, jax.random.key(3))
    rules = {name: rl_curves.RULES[name] for name in ("policy gradient", "paid by chance")}
    found = rl_curves.followed(jax.random.key(4), setup, rules, jnp.array([2, 60]))
    np.testing.assert_allclose(found["least"] + found["unpaid"], found["rule_drift"], atol=1e-10)
    assert found["rule_paid"][0, 1] > 0.5 > found["rule_paid"][1, 1]
    share = found["unpaid"][:, 1] / found["rule_drift"][:, 1]
    assert share[1] > 0.5 and 0 < share[0] < share[1]


def test_ends_are_where_they_hold_and_say_where_not(base, paid):
    betas = jnp.array([0.01, 3.0])
    found = jax.jit(lambda: rl_curves.ended(base, paid[2:3], betas))()
    assert (found["end_holds"][0, :, :2] == 1).all()
    assert found["end_holds"][0, 0, 2] == 0 and found["end_holds"][0, 1, 2] == pytest.approx(1)
    assert found["end_slope"].max() < 1e-8
    assert (found["end_drift"][0, 0] > found["end_drift"][0, 1]).all()
    assert betas[0] < found["least_beta"][0] < betas[1]


def test_the_same_is_spent_at_every_angle(base, paid):
    drifts = jnp.array([0.05, 0.3])
    found = jax.jit(lambda: rl_curves.same_drift(base, [paid[0], paid[2]], drifts))()
    np.testing.assert_allclose(found["total"], jnp.stack([drifts] * 2), rtol=1e-9)
    assert found["certified"].all() and (found["selection_fraction"][0] > found["selection_fraction"][1]).all()
