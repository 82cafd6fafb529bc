"""Sampled policy gradients against sums over every response, and against NumPy on the same batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sampled import (
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
    reward_alone,
    steps,
)

from toypersona import numerics
from toypersona.rules import advantages, divergences, reinforce, rollouts

BETA = 0.6


def reinforced(num_steps, reward=lookup, **how):
    return steps(reinforce.reinforce(TASK._replace(reward=reward), learning_rate=1.0, **how), num_steps)


def kl_to_base(log_policy):
    return numerics.kl_divergence(log_policy, jax.nn.log_softmax(REF))


def kl_from_base(log_policy):
    return numerics.kl_divergence(jax.nn.log_softmax(REF), log_policy)


@pytest.mark.slow_but("leave_one_out-1.0")
@pytest.mark.parametrize("advantage, factor", [("raw", 1.0), ("leave_one_out", 1.0), ("centred", 0.75)])
def test_advantages_that_keep_the_gradient_keep_it(advantage, factor):
    samples = reinforced(20_000, num_samples=4, advantage=getattr(advantages, advantage))
    assert_unbiased(samples, factor * gradient_of(reward_alone))


@pytest.mark.slow_but("k3-True-kl_to_base", "None-False-kl_to_base")
@pytest.mark.parametrize(
    "kl_loss, corrected, penalty",
    [
        (None, False, kl_to_base),
        (divergences.k1, False, lambda log_policy: jnp.zeros(2)),
        (divergences.k2, False, kl_to_base),
        (divergences.k3, False, kl_from_base),
        (divergences.k3, True, kl_to_base),
    ],
)
def test_every_way_to_penalise_kl_has_the_gradient_it_is_said_to_have(kl_loss, corrected, penalty):
    how = {"num_samples": 4, "kl_coefficient": BETA, "ref_params": REF, "kl_loss": kl_loss, "kl_corrected": corrected}
    target = gradient_of(lambda log_policy: reward_alone(log_policy) - BETA * penalty(log_policy))
    assert_unbiased(reinforced(20_000, **how), target)


@pytest.mark.parametrize("kl_loss", [divergences.k1, divergences.k3])
def test_a_corrected_estimate_has_the_divergence_s_value_and_gradient_whoever_sampled(kl_loss):
    """Exactly: every response counts with its probability under another policy than the one that learns."""
    log_old, log_ref = jax.nn.log_softmax(REWARD), jax.nn.log_softmax(REF)
    tokens = jnp.zeros((2, 9, 1), int)
    batch = rollouts.Batch(tokens, jnp.zeros((2, 9)), log_old[..., None], log_ref[..., None])
    objective = rollouts.penalised(rollouts.likelihood, BETA, kl_loss, by_token=False, corrected=True)

    def estimated(params):
        log_probs = jax.nn.log_softmax(params)[..., None]
        return (jnp.exp(log_old) * objective(log_probs, batch)).sum()

    divergence = lambda params: -BETA * kl_to_base(jax.nn.log_softmax(params)).sum()  # noqa: E731
    np.testing.assert_allclose(estimated(PARAMS), divergence(PARAMS), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(estimated)(PARAMS), jax.grad(divergence)(PARAMS), atol=1e-12)


def test_the_entropy_bonus_has_the_entropy_s_gradient():
    target = gradient_of(lambda log_policy: reward_alone(log_policy) + 0.8 * numerics.entropy(log_policy))
    assert_unbiased(reinforced(20_000, num_samples=4, entropy_coefficient=0.8), target)


@pytest.mark.parametrize("name", ["k1", "k3"])
def test_estimators_of_the_divergence_are_unbiased(name):
    log_policy, log_base = jax.nn.log_softmax(PARAMS[0]), jax.nn.log_softmax(REF[0])
    mean = numerics.expectation(log_policy, getattr(divergences, name)(log_policy - log_base))
    np.testing.assert_allclose(mean, numerics.kl_divergence(log_policy, log_base), rtol=1e-12)


def test_k2_is_the_divergence_to_second_order():
    log_policy = jax.nn.log_softmax(PARAMS[0])
    near = jax.nn.log_softmax(PARAMS[0] + 1e-4 * REF[0])
    mean = numerics.expectation(log_policy, divergences.k2(log_policy - near))
    np.testing.assert_allclose(mean, numerics.kl_divergence(log_policy, near), rtol=1e-3)


def test_advantages_as_by_hand():
    rewards = np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])
    others = np.array([[1 - 3, 2 - 2.5, 4 - 1.5], [0, 0, 0]])
    np.testing.assert_allclose(advantages.leave_one_out(jnp.asarray(rewards)), others)
    spread = (rewards[0] - 7 / 3) / (np.std(rewards[0], ddof=1) + 1e-4)
    np.testing.assert_allclose(advantages.normalised(jnp.asarray(rewards)), [spread, np.zeros(3)])


@pytest.mark.slow_but("centred")
@pytest.mark.parametrize("advantage", [advantages.raw, advantages.centred, advantages.normalised])
def test_one_step_as_by_numpy_on_the_same_batch(advantage):
    """Softmax's derivative by hand: a response's own logit less its probability, for each of the sampled ones."""
    key = jax.random.key(3)
    tokens = rollouts.sample(jax.random.split(key)[0], POLICY, PARAMS, PROMPTS, 5)
    drawn = np.asarray(tokens @ PLACES)
    probs = np.exp(np.asarray(jax.nn.log_softmax(PARAMS)))
    paid = np.take_along_axis(np.asarray(REWARD), drawn, axis=1)
    ratio = np.log(probs) - np.asarray(jax.nn.log_softmax(REF))
    credit = np.asarray(advantage(jnp.asarray(paid - BETA * np.take_along_axis(ratio, drawn, axis=1))))
    step = np.zeros((2, 9))
    for c in range(2):
        for x, a in zip(drawn[c], credit[c], strict=True):
            step[c] += np.exp(LOG_PROMPTS[c]) * a * (np.eye(9)[x] - probs[c]) / 5
    rule = reinforce.reinforce(
        TASK, learning_rate=0.5, num_samples=5, advantage=advantage,
        kl_coefficient=BETA, ref_params=REF,
    )  # fmt: skip
    state, info = jax.jit(rule.update)(jax.random.key(3), rule.init(PARAMS))
    np.testing.assert_allclose(state.params - PARAMS, 0.5 * step, atol=1e-12)
    np.testing.assert_allclose(info["reward"], np.exp(LOG_PROMPTS) @ paid.mean(axis=1))


def test_rloo_is_reinforce_that_leaves_one_out():
    how = {"learning_rate": 0.5, "num_samples": 3, "kl_coefficient": BETA, "ref_params": REF}
    one = reinforce.rloo(TASK, **how)
    other = reinforce.reinforce(TASK, advantage=advantages.leave_one_out, **how)
    made = [jax.jit(rule.update)(jax.random.key(1), rule.init(PARAMS))[0].params for rule in (one, other)]
    np.testing.assert_array_equal(*made)
    assert not jnp.array_equal(made[0], PARAMS)


@pytest.mark.slow
def test_with_leave_one_out_a_constant_reward_more_is_no_noise_more():
    noise = [
        reinforced(4000, lambda c, tokens, offset=offset: lookup(c, tokens) + offset, num_samples=4, advantage=kind)
        .var(0)
        .sum()
        for kind in (advantages.raw, advantages.leave_one_out)
        for offset in (0.0, 3.0)
    ]
    assert noise[1] > 3 * noise[0]
    np.testing.assert_allclose(noise[3], noise[2], rtol=1e-9)


def test_clipping_by_the_optimizer():
    clipped = lambda rate: optax.chain(optax.clip_by_global_norm(0.01), optax.sgd(rate))  # noqa: E731
    lengths = jnp.linalg.norm(reinforced(10, num_samples=4, optimizer=clipped), axis=1)
    np.testing.assert_allclose(lengths, 0.01, rtol=1e-9)


def test_wrong_input():
    with pytest.raises(ValueError, match="1 or more samples and epochs, not 0 and 1"):
        reinforce.reinforce(TASK, learning_rate=1.0, num_samples=0)
    with pytest.raises(ValueError, match="needs ref_params"):
        reinforce.reinforce(TASK, learning_rate=1.0, kl_coefficient=0.5)
    for advantage in (advantages.leave_one_out, advantages.normalised):
        with pytest.raises(ValueError, match="two or more responses to each prompt, not 1"):
            advantage(jnp.ones((2, 1)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_paid_alike_is_credited_with_nothing(dtype):
    """The mean of eight rewards of 1000.1 is not 1000.1 in float32, and the rest was divided by a spread of 1e-4."""
    alike = jnp.asarray(np.random.default_rng(0).normal(size=(100, 1)) * 10.0 ** np.arange(-3, 7)[:, None, None], dtype)
    for advantage in (advantages.centred, advantages.leave_one_out, advantages.normalised):
        for num in (2, 3, 8):
            np.testing.assert_array_equal(advantage(jnp.broadcast_to(alike, (10, 100, num))), 0)


@pytest.mark.parametrize("kl_loss", [None, divergences.k3])
def test_a_prompt_that_is_never_asked_trains_nothing_whatever_it_pays(kl_loss):
    """Its row of the base's table says nothing of what the policy says, and its reward is nan."""
    rewards = REWARD.at[1].set(jnp.nan)
    never = TASK._replace(
        log_prompts=jnp.log(jnp.array([1.0, 0.0])), reward=lambda c, tokens: rewards[c, tokens @ PLACES]
    )
    ref = REF.at[1, 1:].set(-jnp.inf)
    rule = reinforce.rloo(never, learning_rate=1.0, kl_coefficient=BETA, ref_params=ref, kl_loss=kl_loss)
    state, info = jax.jit(rule.update)(jax.random.key(0), rule.init(PARAMS))
    np.testing.assert_array_equal(state.params[1], PARAMS[1])
    assert jnp.isfinite(state.params[0]).all() and jnp.isfinite(info["reward"])
    assert jnp.abs(state.params[0] - PARAMS[0]).max() > 0.01
