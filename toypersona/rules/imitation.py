"""Imitation: likelihood of responses that somebody wrote or that won a selection; SFT, best of n, expert iteration.

All climb ``E_c E_target[log pi(x|c)]``, that is, go down KL(target‖pi). The target is a demonstrator (SFT), the best of
n responses of the base (best of n, distilled), or the best of n of the policy itself as it learns (expert iteration:
Anthony et al. 2017; rejection sampling). ``match`` is the exact counterpart of all of them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona.policies.base import Policy, all_log_probs
from toypersona.rules import advantages, rollouts
from toypersona.rules.base import Optimizer, UpdateRule, ascend
from toypersona.types import Key, Params, Scalar


def match(
    policy: Policy,
    prompts: Int[Array, "C P"],
    log_prompts: Float[Array, " C"],
    target: Callable[[Float[Array, "C N"]], Float[Array, "C N"]],
    *,
    learning_rate: Scalar,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Exact imitation: climbs ``E_c sum_x target(x|c) log pi(x|c)``.

    Args:
        policy: any enumerable policy.
        prompts: [C, P].
        log_prompts: log rho(c) [C].
        target: the target's log-probabilities [C, N], in nats, from those of the policy as it is [C, N]; a constant
            function for SFT and for best of n, ``theory.best_of_n`` of its argument for expert iteration.
        learning_rate: step length; 0 is the identity.
        optimizer: optax constructor that takes the learning rate.

    Returns:
        An ``UpdateRule`` whose info holds the ``log_likelihood`` of the target's responses, nats.
    """
    rho = jnp.exp(log_prompts)

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        del key
        wanted = jnp.exp(target(all_log_probs(policy, params, prompts)))

        def objective(params: Params) -> Float[Array, ""]:
            return rho @ jnp.where(wanted > 0, wanted * all_log_probs(policy, params, prompts), 0.0).sum(axis=-1)

        likelihood, uphill = jax.value_and_grad(objective)(params)
        return uphill, {"log_likelihood": likelihood}

    return ascend(direction, optimizer(learning_rate))


def sft(
    policy: Policy,
    prompts: Int[Array, "M P"],
    responses: Int[Array, "M L"],
    *,
    learning_rate: Scalar,
    batch_size: int = 64,
    num_lines: Scalar | None = None,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Supervised fine-tuning: maximum likelihood of demonstrations, a batch drawn with replacement each step.

    Args:
        policy: any policy with ``log_prob``.
        prompts: of each demonstration [M, P].
        responses: [M, L].
        learning_rate: step length; 0 is the identity.
        batch_size: demonstrations a step.
        num_lines: only the first so many are read (may be traced); all by default.
        optimizer: optax constructor that takes the learning rate.

    Returns:
        An ``UpdateRule`` whose info holds the batch's mean ``log_likelihood``, nats a demonstration.

    Raises:
        ValueError: no demonstration, or an empty batch.
    """
    if min(prompts.shape[0], batch_size) < 1:
        raise ValueError(
            f"SFT needs 1 or more demonstrations and a batch of 1 or more, not {prompts.shape[0]} and {batch_size}."
        )
    count = prompts.shape[0] if num_lines is None else num_lines
    log_prob = jax.vmap(policy.log_prob, in_axes=(None, 0, 0))

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        batch = jax.random.randint(key, (batch_size,), 0, count)
        mean = lambda params: log_prob(params, prompts[batch], responses[batch]).mean()  # noqa: E731
        likelihood, uphill = jax.value_and_grad(mean)(params)
        return uphill, {"log_likelihood": likelihood}

    return ascend(direction, optimizer(learning_rate))


def best_of_n(
    policy: Policy,
    prompts: Int[Array, "C P"],
    log_prompts: Float[Array, " C"],
    reward: rollouts.SampledReward,
    *,
    learning_rate: Scalar,
    ref_params: Params,
    num_samples: int = 4,
    reward_noise: Scalar = 0.0,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Best of n, distilled: imitates the best of ``num_samples`` responses of the base; fresh ones at every step.

    Args:
        policy: any policy with ``sample`` and ``token_log_probs``.
        prompts: [C, P].
        log_prompts: log rho(c) [C].
        reward: ``(prompt index [], tokens [T]) -> []``.
        learning_rate: step length; 0 is the identity.
        ref_params: the base's parameters.
        num_samples: n.
        reward_noise: standard deviation of a normal error on every reward.
        optimizer: optax constructor that takes the learning rate.

    Returns:
        An ``UpdateRule`` whose info holds the base's sampled mean ``reward``.

    Raises:
        ValueError: no sample.
    """
    return rollouts.train(
        policy,
        prompts,
        log_prompts,
        reward,
        rollouts.likelihood,
        optimizer(learning_rate),
        num_samples=num_samples,
        advantage=advantages.best,
        reward_noise=reward_noise,
        behaviour=ref_params,
    )


def expert_iteration(
    policy: Policy,
    prompts: Int[Array, "C P"],
    log_prompts: Float[Array, " C"],
    reward: rollouts.SampledReward,
    *,
    learning_rate: Scalar,
    num_samples: int = 4,
    num_epochs: int = 1,
    keep: advantages.Advantage = advantages.best,
    reward_noise: Scalar = 0.0,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Expert iteration: imitates those of the policy's own responses that won.

    With ``keep=advantages.accepted(threshold)`` it is rejection sampling; its first epoch is then REINFORCE on the
    reward ``r >= threshold``.

    Args:
        policy: any policy with ``sample`` and ``token_log_probs``.
        prompts: [C, P].
        log_prompts: log rho(c) [C].
        reward: ``(prompt index [], tokens [T]) -> []``.
        learning_rate: step length; 0 is the identity.
        num_samples: responses to each prompt to keep from.
        num_epochs: steps on what was kept.
        keep: weight of each response, from the rewards of all; ``advantages.best`` or ``advantages.accepted(...)``.
        reward_noise: standard deviation of a normal error on every reward.
        optimizer: optax constructor that takes the learning rate.

    Returns:
        An ``UpdateRule`` whose info holds the sampled mean ``reward``.

    Raises:
        ValueError: no sample or epoch.
    """
    return rollouts.train(
        policy,
        prompts,
        log_prompts,
        reward,
        rollouts.likelihood,
        optimizer(learning_rate),
        num_samples=num_samples,
        advantage=keep,
        num_epochs=num_epochs,
        reward_noise=reward_noise,
    )
