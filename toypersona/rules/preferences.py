"""Direct preference optimisation (Rafailov et al. 2023): learns from which of two responses was preferred.

``-log sigmoid(beta [log pi/pi0 (chosen) - log pi/pi0 (rejected)])``. If preferences follow the rewards by Bradley and
Terry's law, ``P(chosen) = sigmoid(r - r')``, and pairs come without end, its optimum on a table is the exponential tilt
of strength 1/beta.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona.policies.policy import log_prob_each
from toypersona.rules import rollouts
from toypersona.rules.rule import Optimizer, Task, UpdateRule, ascend
from toypersona.types import Key, Params, Scalar


class Pairs(NamedTuple):
    """B judged pairs of responses.

    Attributes:
        prompt_index: [B].
        chosen: the preferred responses [B, T].
        rejected: the others [B, T].
    """

    prompt_index: Int[Array, " B"]
    chosen: Int[Array, "B T"]
    rejected: Int[Array, "B T"]


def sample_pairs(key: Key, task: Task, params: Params, num_pairs: int, *, reward_noise: Scalar = 0.0) -> Pairs:
    """``num_pairs`` pairs of a policy's responses, judged by Bradley and Terry's law.

    The task says whose policy responds, and what it is paid, in nats of preference; the parameters are usually the
    base's. ``reward_noise`` is the standard deviation of a normal error on every reward.
    """
    prompt_key, sample_key, noise_key, judge_key = jax.random.split(key, 4)
    which = jax.random.categorical(prompt_key, task.log_prompts, shape=(num_pairs,))
    tokens = rollouts.sample(sample_key, task.policy, params, task.prompts[which], 2)
    rewards = task.pay(tokens, which)
    rewards = rewards + reward_noise * jax.random.normal(noise_key, rewards.shape)
    first = jax.random.bernoulli(judge_key, jax.nn.sigmoid(rewards[:, 0] - rewards[:, 1]))[:, None]
    return Pairs(which, jnp.where(first, tokens[:, 0], tokens[:, 1]), jnp.where(first, tokens[:, 1], tokens[:, 0]))


def preference(
    chosen: Float[Array, "*batch"], rejected: Float[Array, "*batch"], beta: Scalar
) -> Float[Array, "*batch"]:
    """``log sigmoid(beta (chosen - rejected))``, minus DPO's loss, of the two responses' ``log pi/pi0``, nats."""
    return jax.nn.log_sigmoid(beta * (chosen - rejected))


def dpo(
    task: Task,
    pairs: Pairs,
    *,
    learning_rate: Scalar,
    beta: Scalar,
    ref_params: Params,
    batch_size: int = 64,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """DPO on judged pairs, a batch drawn with replacement each step; info: its mean ``log_preference``, nats a pair.

    Args:
        task: its policy has ``log_prob``, or ``log_prob_each``; its reward is not used.
        pairs: what was preferred, such as ``sample_pairs`` of the base.
        learning_rate: step length; 0 is the identity.
        beta: the inverse strength of the optimum.
        ref_params: the base's parameters.
        batch_size: pairs a step.
        optimizer: optax constructor that takes the learning rate.

    Raises:
        ValueError: an empty batch.
    """
    if batch_size < 1:
        raise ValueError(f"DPO needs a batch_size of 1 or more, not {batch_size}.")

    def ratio(params: Params, which: Int[Array, " B"], tokens: Int[Array, "B T"]) -> Float[Array, " B"]:
        new, old = (log_prob_each(task.policy, own, task.prompts, which, tokens) for own in (params, ref_params))
        return new - old

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        batch = jax.random.randint(key, (batch_size,), 0, pairs.prompt_index.shape[0])
        some = jax.tree.map(lambda x: x[batch], pairs)

        def mean(params: Params) -> Float[Array, ""]:
            chosen = ratio(params, some.prompt_index, some.chosen)
            return preference(chosen, ratio(params, some.prompt_index, some.rejected), beta).mean()

        log_preference, uphill = jax.value_and_grad(mean)(params)
        return uphill, {"log_preference": log_preference}

    return ascend(direction, optimizer(learning_rate))
