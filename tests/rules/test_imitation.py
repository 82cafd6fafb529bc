"""SFT, best of n and expert iteration against their exact counterpart, and DPO against sums over all pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sampled import (
    LISTED,
    LOG_PROMPTS,
    PARAMS,
    PLACES,
    POLICY,
    PROMPTS,
    REF,
    REWARD,
    TASK,
    assert_unbiased,
    gradient_of,
    lookup,
    steps,
)

from toypersona import numerics, theory
from toypersona.policies.policy import all_log_probs
from toypersona.rules import advantages, imitation, preferences, reinforce

LOG_REF = jax.nn.log_softmax(REF)


def matched(target, rate=1.0):
    return imitation.match(LISTED, target, learning_rate=rate)


def test_matching_goes_down_the_divergence_from_the_target():
    down = gradient_of(lambda log_policy: -numerics.kl_divergence(LOG_REF, log_policy))
    np.testing.assert_allclose(steps(matched(lambda _: LOG_REF), 1)[0], down, atol=1e-12)


def test_matching_ends_at_the_target():
    rule = matched(lambda _: LOG_REF, 1.0)
    last = jax.lax.fori_loop(0, 2000, lambda i, s: rule.update(jax.random.key(0), s)[0], rule.init(PARAMS))
    assert numerics.kl_divergence(LOG_REF, all_log_probs(POLICY, last.params, PROMPTS)).max() < 1e-3


def test_sft_has_the_gradient_of_the_demonstrations_that_it_reads():
    which = jnp.array([0, 1, 1, 0])
    tokens = jnp.array([[0, 1], [2, 2], [1, 0], [2, 1]])
    rule = imitation.sft(TASK, which, tokens, learning_rate=1.0, batch_size=8, num_lines=3)
    mean = lambda params: all_log_probs(POLICY, params, PROMPTS)[which[:3], (tokens @ PLACES)[:3]].mean()  # noqa: E731
    assert_unbiased(steps(rule, 20_000), jax.grad(mean)(PARAMS).reshape(-1))


@pytest.mark.slow
def test_best_of_n_distilled_imitates_the_best_of_n_of_the_base():
    rule = imitation.best_of_n(TASK, learning_rate=1.0, ref_params=REF, num_samples=3)
    law = theory.best_of_n(LOG_REF, REWARD, 3)
    assert_unbiased(steps(rule, 20_000), steps(matched(lambda _: law), 1)[0])


def test_expert_iteration_imitates_the_best_of_n_of_the_policy_itself():
    rule = imitation.expert_iteration(TASK, learning_rate=1.0, num_samples=3)
    exact = matched(lambda log_policy: theory.best_of_n(log_policy, REWARD, 3))
    assert_unbiased(steps(rule, 20_000), steps(exact, 1)[0])


def test_rejection_sampling_is_reinforce_on_a_pass():
    rule = imitation.expert_iteration(TASK, learning_rate=1.0, num_samples=4, keep=advantages.accepted(0.3))
    passed = lambda c, tokens: (lookup(c, tokens) >= 0.3).astype(float)  # noqa: E731
    same = reinforce.reinforce(TASK._replace(reward=passed), learning_rate=1.0, num_samples=4)
    np.testing.assert_array_equal(steps(rule, 5), steps(same, 5))


def test_more_epochs_imitate_more():
    once, often = (
        jnp.linalg.norm(steps(imitation.expert_iteration(TASK, learning_rate=0.1, num_epochs=n), 20), axis=1)
        for n in (1, 8)
    )
    assert (often > 4 * once).all()


def all_pairs():
    """P(first), P(second) under REF and P(the first is preferred) for all pairs [C, N, N], and indices."""
    base = jnp.exp(LOG_REF)
    drawn = jnp.exp(LOG_PROMPTS)[:, None, None] * base[:, :, None] * base[:, None, :]
    return drawn, jax.nn.sigmoid(REWARD[:, :, None] - REWARD[:, None, :])


@pytest.mark.slow
def test_pairs_are_drawn_and_judged_as_they_should():
    num = 200_000
    pairs = jax.jit(lambda key: preferences.sample_pairs(key, TASK, REF, num))(jax.random.key(4))
    drawn, preferred = all_pairs()
    # A pair is seen as (chosen, rejected), from either order of drawing.
    expected = 2 * drawn * preferred
    places = 81 * pairs.prompt_index + 9 * (pairs.chosen @ PLACES) + pairs.rejected @ PLACES
    counts = jnp.bincount(places, length=162).reshape(2, 9, 9)
    likely = expected > 1e-4
    z = (counts - num * expected) / jnp.sqrt(num * expected * (1 - expected))
    assert likely.sum() > 50 and jnp.abs(jnp.where(likely, z, 0.0)).max() < 5


@pytest.mark.slow
def test_dpo_has_the_gradient_of_all_pairs_and_its_optimum_is_the_tilt():
    beta = 0.7

    def population(params):
        drawn, preferred = all_pairs()
        ratio = all_log_probs(POLICY, params, PROMPTS) - LOG_REF
        chosen, rejected = jnp.broadcast_arrays(ratio[:, :, None], ratio[:, None, :])
        return (2 * drawn * preferred * preferences.preference(chosen, rejected, beta)).sum()

    key = jax.random.key(6)
    pairs = jax.jit(lambda key: preferences.sample_pairs(key, TASK, REF, 100_000))(key)
    rule = preferences.dpo(TASK, pairs, learning_rate=1.0, beta=beta, ref_params=REF, batch_size=512)
    made = steps(rule, 3000)
    downhill = jax.jit(jax.grad(population))
    whole = downhill(PARAMS).reshape(-1)
    # The pairs themselves are a sample, of 100 000.
    error = made.std(0) * jnp.sqrt(512) * jnp.sqrt(1 / 100_000 + 1 / (512 * 3000))
    assert (jnp.abs(made.mean(0) - whole) < 5 * error).all() and jnp.abs(whole).max() > 20 * error.max()
    tilted = theory.tilt(LOG_REF, REWARD, 1 / beta)
    assert jnp.abs(downhill(tilted)).max() < 1e-12 < jnp.abs(whole).max()


@pytest.mark.slow
def test_without_learning_rate_nothing_moves():
    pairs = preferences.sample_pairs(jax.random.key(4), TASK, REF, 8)
    tokens = pairs.chosen
    for rule in (
        imitation.sft(TASK, pairs.prompt_index, tokens, learning_rate=0.0),
        imitation.best_of_n(TASK, learning_rate=0.0, ref_params=REF),
        imitation.expert_iteration(TASK, learning_rate=0.0, num_epochs=3),
        preferences.dpo(TASK, pairs, learning_rate=0.0, beta=1.0, ref_params=REF),
        matched(lambda _: LOG_REF, 0.0),
    ):
        np.testing.assert_array_equal(steps(rule, 2), 0)


def test_wrong_input():
    with pytest.raises(ValueError, match="1 or more demonstrations and a batch of 1 or more, not 2 and 0"):
        imitation.sft(TASK, jnp.zeros(2, int), jnp.zeros((2, 2), int), learning_rate=1.0, batch_size=0)
    pairs = preferences.Pairs(jnp.zeros(1, int), jnp.zeros((1, 2), int), jnp.zeros((1, 2), int))
    with pytest.raises(ValueError, match="batch_size of 1 or more, not 0"):
        preferences.dpo(TASK, pairs, learning_rate=1.0, beta=1.0, ref_params=REF, batch_size=0)


def test_a_prompt_that_is_never_asked_is_not_imitated():
    log_target = jax.nn.log_softmax(REF).at[1].set(jnp.nan)
    task = LISTED._replace(log_prompts=jnp.log(jnp.array([1.0, 0.0])))
    rule = imitation.match(task, lambda _: log_target, learning_rate=1.0)
    state, info = jax.jit(rule.update)(jax.random.key(0), rule.init(PARAMS))
    np.testing.assert_array_equal(state.params[1], PARAMS[1])
    np.testing.assert_allclose(
        state.params[0] - PARAMS[0], jax.nn.softmax(REF[0]) - jax.nn.softmax(PARAMS[0]), atol=1e-12
    )
    assert jnp.isfinite(info["log_likelihood"])
