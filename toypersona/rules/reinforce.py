"""REINFORCE: the policy gradient from one sampled response to each prompt (Williams 1992), no baseline."""

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
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Stochastic policy gradient; its expectation is the direction of ``gradient.policy_gradient``.

    Every prompt is answered once a step and counted with its probability, so that the noise is the responses' alone.

    Args:
        policy: any policy with ``sample`` and ``log_prob``.
        prompts: [C, P].
        log_prompts: log rho(c) [C].
        reward: ``(prompt index [], tokens [T]) -> []``.
        learning_rate: step length; 0 is the identity.
        optimizer: optax constructor that takes the learning rate.

    Returns:
        An ``UpdateRule`` whose info holds the sampled mean ``reward``.
    """
    num_prompts = prompts.shape[0]
    rho = jnp.exp(log_prompts)

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        tokens = jax.vmap(policy.sample, in_axes=(0, None, 0))(jax.random.split(key, num_prompts), params, prompts)
        rewards = jax.vmap(reward)(jnp.arange(num_prompts), tokens)

        def surrogate(params: Params) -> Float[Array, ""]:
            return (rho * rewards) @ jax.vmap(policy.log_prob, in_axes=(None, 0, 0))(params, prompts, tokens)

        return jax.grad(surrogate)(params), {"reward": rho @ rewards}

    return ascend(direction, optimizer(learning_rate))
