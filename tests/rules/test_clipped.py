"""PPO-clip and GRPO: first steps against exact gradients, later ones against the clipping's own conditions."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sampled import (
    LISTED,
    PARAMS,
    POLICY,
    PROMPTS,
    REF,
    TASK,
    assert_unbiased,
    gradient_of,
    reward_alone,
    steps,
)

from toypersona import numerics
from toypersona.rules import advantages, clipped, divergences, gradient, reinforce, rollouts

LEVELS = pytest.mark.parametrize("level, share", [("token", 1), ("sequence", 1), ("geometric", 1 / 2)])


@pytest.mark.slow_but("token-1")
@LEVELS
def test_the_first_step_is_rloo_s(level, share):
    how = {"learning_rate": 0.5, "num_samples": 5}
    one = clipped.ppo_clip(TASK, num_epochs=1, level=level, **how)
    np.testing.assert_allclose(steps(one, 3), share * steps(reinforce.rloo(TASK, **how), 3), atol=1e-14)


@pytest.mark.slow_but("sequence-1")
@LEVELS
def test_where_the_ratio_left_the_range_to_the_better_nothing_pulls(level, share):
    tokens = rollouts.sample(jax.random.key(1), POLICY, PARAMS, PROMPTS, 6)
    now, old = (rollouts.token_log_probs(POLICY, p, PROMPTS, tokens) for p in (PARAMS, REF))
    credit = jax.random.normal(jax.random.key(2), (2, 6))
    batch = rollouts.Batch(tokens, credit, old, old)
    objective = clipped.clipped(0.2, level=level)
    value, pull = jax.value_and_grad(lambda log_probs: objective(log_probs, batch).sum())(now)
    log_ratio = np.asarray(now - old)
    if level != "token":
        log_ratio = share * log_ratio.sum(axis=-1, keepdims=True)
    ratio, credit = np.exp(log_ratio), np.asarray(credit)[..., None]
    done = ((ratio > 1.2) & (credit > 0)) | ((ratio < 0.8) & (credit < 0))
    assert done.any() and not done.all()
    wanted = share * np.where(done, 0.0, ratio * credit)
    np.testing.assert_allclose(pull, np.broadcast_to(wanted, now.shape), atol=1e-12)
    capped = np.where(done, np.where(credit > 0, 1.2, 0.8) * credit, ratio * credit)
    np.testing.assert_allclose(value, capped.sum(), rtol=1e-12)


@pytest.mark.slow
def test_with_a_wide_range_epochs_go_on_and_with_a_narrow_one_they_stop():
    def gone(clip_range):
        rule = clipped.ppo_clip(TASK, learning_rate=1.0, num_samples=4, num_epochs=20, clip_range=clip_range)
        return jnp.linalg.norm(steps(rule, 20), axis=1).mean()

    assert gone(0.01) < 0.7 * gone(0.2) < 0.7 * gone(10.0)


@pytest.mark.slow
@pytest.mark.parametrize("normalise", [True, False])
def test_grpo_s_step_tends_to_the_exact_one_as_the_group_grows(normalise):
    exact = gradient.policy_gradient(LISTED, learning_rate=1.0, normalise=normalise)
    target = steps(exact, 1)[0]
    rule = clipped.grpo(TASK, learning_rate=1.0, num_samples=400, normalise=normalise)
    made = steps(rule, 500)
    assert jnp.abs(made.mean(0) - target).max() < 0.02 * jnp.abs(target).max()
    other = gradient.policy_gradient(LISTED, learning_rate=1.0, normalise=not normalise)
    assert jnp.abs(made.mean(0) - steps(other, 1)[0]).max() > 0.1 * jnp.abs(target).max()


@pytest.mark.slow_but("k3-True")
@pytest.mark.parametrize("name, corrected", [("k2", False), ("k3", False), ("k3", True)])
def test_a_penalty_on_each_token_has_its_gradient_at_the_histories_sampled(name, corrected):
    """The words before are drawn from the policy but not differentiated: on average k2 and corrected k3 pull down the
    next word's KL(pi‖pi0), plain k3 its KL(pi0‖pi).
    """

    def by_history(log_policy, log_base):
        first, first_base = (jax.nn.logsumexp(x.reshape(3, 3), axis=1) for x in (log_policy, log_base))
        second, second_base = (x.reshape(3, 3) - y[:, None] for x, y in ((log_policy, first), (log_base, first_base)))
        reached = jax.lax.stop_gradient(jnp.exp(first))
        pairs = ((first, first_base), (second, second_base))
        to_base = name == "k2" or corrected
        head, tail = (numerics.kl_divergence(*(pair if to_base else pair[::-1])) for pair in pairs)
        return head + reached @ tail

    penalty = lambda log_policy: jax.vmap(by_history)(log_policy, jax.nn.log_softmax(REF))  # noqa: E731
    how = {"kl_coefficient": 0.6, "ref_params": REF, "kl_loss": getattr(divergences, name), "kl_corrected": corrected}
    rule = clipped.ppo_clip(TASK, learning_rate=1.0, num_epochs=1, **how)
    assert_unbiased(steps(rule, 20_000), gradient_of(lambda x: reward_alone(x) - 0.6 * penalty(x)))


def test_grpo_penalises_by_k3():
    how = {"learning_rate": 1.0, "kl_coefficient": 0.5, "ref_params": REF}
    same = clipped.ppo_clip(
        TASK, num_samples=8, num_epochs=1, advantage=advantages.normalised, kl_loss=divergences.k3, **how
    )
    np.testing.assert_array_equal(steps(clipped.grpo(TASK, **how), 2), steps(same, 2))


@pytest.mark.slow
def test_noise_on_the_reward_is_noise_and_no_direction():
    made = [clipped.ppo_clip(TASK, learning_rate=1.0, num_epochs=1, reward_noise=sd) for sd in (0.0, 3.0)]
    clean, noisy = (steps(rule, 20_000) for rule in made)
    assert_unbiased(noisy, gradient_of(reward_alone))
    assert noisy.var(0).sum() > 3 * clean.var(0).sum()


@pytest.mark.slow
def test_without_learning_rate_nothing_moves_and_jit_changes_nothing():
    how = {"kl_coefficient": 0.3, "ref_params": REF, "reward_noise": 0.5, "entropy_coefficient": 0.1}
    for make in (reinforce.rloo, clipped.ppo_clip):
        still, moves = (make(TASK, learning_rate=rate, **how) for rate in (0.0, 0.5))
        np.testing.assert_array_equal(steps(still, 2), 0)
        one = moves.update(jax.random.key(1), moves.init(PARAMS))[0].params
        np.testing.assert_allclose(
            jax.jit(moves.update)(jax.random.key(1), moves.init(PARAMS))[0].params, one, atol=1e-14
        )


def test_hyperparameters_are_traced():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(learning_rate, clip_range, kl_coefficient, entropy_coefficient, reward_noise):
        rule = clipped.ppo_clip(
            TASK,
            learning_rate=learning_rate,
            clip_range=clip_range,
            kl_coefficient=kl_coefficient,
            ref_params=REF,
            entropy_coefficient=entropy_coefficient,
            reward_noise=reward_noise,
        )
        return rule.update(jax.random.key(0), rule.init(PARAMS))[0].params

    made = [
        step(*given) for given in ((0.5, 0.2, 0.0, 0.0, 0.0), (0.5, 0.01, 0.0, 0.0, 0.0), (0.5, 0.2, 1.0, 1.0, 1.0))
    ]
    assert not jnp.array_equal(made[0], made[1]) and not jnp.array_equal(made[0], made[2])


def test_wrong_input():
    with pytest.raises(ValueError, match="token, sequence, geometric, not 'word'"):
        clipped.ppo_clip(TASK, learning_rate=1.0, level="word")
    with pytest.raises(ValueError, match="not 4 and 0"):
        clipped.ppo_clip(TASK, learning_rate=1.0, num_epochs=0)
    with pytest.raises(ValueError, match="needs ref_params"):
        clipped.grpo(TASK, learning_rate=1.0, kl_coefficient=0.1)
