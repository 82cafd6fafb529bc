"""Imitation: likelihood of responses that somebody wrote or that won a selection; SFT, best of n, expert iteration.

All climb ``E_c E_target[log pi(x|c)]``, that is, go down KL(target‖pi). The target is a demonstrator (SFT), the best of
n responses of the base (best of n, distilled), or the best of n of the policy itself as it learns (expert iteration:
Anthony et al. 2017; rejection sampling). ``match`` is the exact counterpart of all of them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona.policies.policy import all_log_probs, log_prob_each
from toypersona.rules import advantages, rollouts
from toypersona.rules.rule import Optimizer, Task, UpdateRule, ascend
from toypersona.types import Key, Params, Scalar


def match(
    task: Task,
    target: Callable[[Float[Array, "C N"]], Float[Array, "C N"]],
    *,
    learning_rate: Scalar,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Exact imitation: climbs ``E_c sum_x target(x|c) log pi(x|c)``, whose value is the info ``log_likelihood``, nats.

    Args:
        task: its policy can be listed; its reward is not used.
        target: the target's log-probabilities [C, N], in nats, from those of the policy as it is [C, N]; a constant
            function for SFT and for best of n, ``theory.best_of_n`` of its argument for expert iteration.
        learning_rate: step length; 0 is the identity.
        optimizer: optax constructor that takes the learning rate.
    """
    policy, prompts, asked = task.policy, task.prompts, ~jnp.isneginf(task.log_prompts)[:, None]

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        del key
        wanted = jnp.where(asked, jnp.exp(target(all_log_probs(policy, params, prompts))), 0.0)

        def objective(params: Params) -> Float[Array, ""]:
            wished = jnp.where(wanted > 0, wanted * all_log_probs(policy, params, prompts), 0.0)
            return jnp.exp(task.log_prompts) @ wished.sum(axis=-1)

        likelihood, uphill = jax.value_and_grad(objective)(params)
        return uphill, {"log_likelihood": likelihood}

    return ascend(direction, optimizer(learning_rate))


def demonstrations(
    key: Key,
    log_demonstrator: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
    responses: Int[Array, "N T"],
    num: int,
) -> tuple[Int[Array, " M"], Int[Array, "M T"]]:
    """What somebody answers to M prompts: the prompts' indices and the responses, as for ``sft``.

    Args:
        key: for the prompts and the responses.
        log_demonstrator: log-probability of each response by whoever demonstrates [C, N].
        log_prompts: log rho(c) [C].
        responses: all of them [N, T].
        num: M.
    """
    prompt_key, response_key = jax.random.split(key)
    prompt_index = jax.random.categorical(prompt_key, log_prompts, shape=(num,))
    return prompt_index, responses[jax.random.categorical(response_key, log_demonstrator[prompt_index])]


def sft(
    task: Task,
    prompt_index: Int[Array, " M"],
    responses: Int[Array, "M L"],
    *,
    learning_rate: Scalar,
    batch_size: int = 64,
    num_lines: Scalar | None = None,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Supervised fine-tuning: maximum likelihood of demonstrations, a batch drawn with replacement each step.

    The info holds the batch's mean ``log_likelihood``, nats a demonstration.

    Args:
        task: its policy has ``log_prob``, or ``log_prob_each``; its reward is not used.
        prompt_index: which prompt each demonstration answers [M].
        responses: [M, L].
        learning_rate: step length; 0 is the identity.
        batch_size: demonstrations a step.
        num_lines: only the first so many are read (may be traced); all by default.
        optimizer: optax constructor that takes the learning rate.

    Raises:
        ValueError: no demonstration, or an empty batch.
    """
    num = prompt_index.shape[0]
    if min(num, batch_size) < 1:
        raise ValueError(f"SFT needs 1 or more demonstrations and a batch of 1 or more, not {num} and {batch_size}.")
    count = num if num_lines is None else num_lines

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        batch = jax.random.randint(key, (batch_size,), 0, count)
        which, tokens = prompt_index[batch], responses[batch]
        mean = lambda params: log_prob_each(task.policy, params, task.prompts, which, tokens).mean()  # noqa: E731
        likelihood, uphill = jax.value_and_grad(mean)(params)
        return uphill, {"log_likelihood": likelihood}

    return ascend(direction, optimizer(learning_rate))


def best_of_n(task: Task, *, ref_params: Params, num_samples: int = 4, **options: Any) -> UpdateRule:
    """Best of n, distilled: imitates the best of ``num_samples`` responses of the base; fresh ones at every step.

    The base's parameters are ``ref_params``, n is ``num_samples``; other options as in ``expert_iteration``. The info
    holds the base's sampled mean ``reward``.
    """
    return expert_iteration(task, num_samples=num_samples, behaviour=ref_params, **options)


def expert_iteration(
    task: Task, *, num_samples: int = 4, keep: advantages.Advantage = advantages.best, **options: Any
) -> UpdateRule:
    """Expert iteration: imitates those of the policy's own responses that won.

    With ``keep=advantages.accepted(threshold)`` it is rejection sampling; its first epoch is then REINFORCE on the
    reward ``r >= threshold``.

    Args:
        task: as in ``rollouts.train``.
        num_samples: responses to each prompt to keep from.
        keep: weight of each response, from the rewards of all; ``advantages.best`` or ``advantages.accepted(...)``.
        **options: ``learning_rate``, ``num_epochs``, ``reward_noise`` and ``optimizer`` of ``rollouts.train``.
    """
    return rollouts.train(task, rollouts.likelihood, num_samples=num_samples, advantage=keep, **options)
