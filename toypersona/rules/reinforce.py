"""REINFORCE: the policy gradient from sampled responses to each prompt (Williams 1992), no baseline."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona.policies.base import Policy
from toypersona.rules.base import Optimizer, UpdateRule, ascend
from toypersona.types import Key, Params, Scalar


def reinforce(
    policy: Policy,
    prompts: Int[Array, "C P"],
    log_prompts: Float[Array, " C"],
    reward: Callable[[Int[Array, ""], Int[Array, " T"]], Float[Array, ""]],
    *,
    learning_rate: Scalar,
    num_samples: int = 1,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Stochastic policy gradient; its expectation is the direction of ``gradient.policy_gradient``.

    Every prompt is answered equally often and counted with its probability, so that the noise is the responses' alone.

    Args:
        policy: any policy with ``sample`` and ``log_prob``.
        prompts: [C, P].
        log_prompts: log rho(c) [C].
        reward: ``(prompt index [], tokens [T]) -> []``.
        learning_rate: step length; 0 is the identity.
        num_samples: responses to each prompt a step.
        optimizer: optax constructor that takes the learning rate.

    Returns:
        An ``UpdateRule`` whose info holds the sampled mean ``reward``.

    Raises:
        ValueError: no sample.
    """
    if num_samples < 1:
        raise ValueError(f"REINFORCE needs num_samples of 1 or more, not {num_samples}.")
    num_prompts = prompts.shape[0]
    rho = jnp.exp(log_prompts)

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        keys = jax.random.split(key, (num_prompts, num_samples))
        sample = jax.vmap(jax.vmap(policy.sample, in_axes=(0, None, None)), in_axes=(0, None, 0))
        tokens = sample(keys, params, prompts)
        rewards = jax.vmap(jax.vmap(reward, in_axes=(None, 0)))(jnp.arange(num_prompts), tokens) / num_samples

        def surrogate(params: Params) -> Float[Array, ""]:
            log_prob = jax.vmap(jax.vmap(policy.log_prob, in_axes=(None, None, 0)), in_axes=(None, 0, 0))
            return rho @ (rewards * log_prob(params, prompts, tokens)).sum(axis=1)

        return jax.grad(surrogate)(params), {"reward": rho @ rewards.sum(axis=1)}

    return ascend(direction, optimizer(learning_rate))
