"""Policy gradients from sampled responses: REINFORCE (Williams 1992) and its kin RLOO and GRPO, one step a batch.

Every prompt is answered equally often and counted with its probability, so that the noise is the responses' alone. The
estimated direction is that of ``gradient.policy_gradient``: ``E_c E_pi[A grad log pi]``. A penalty on KL(pi‖pi0) enters
the reward, as ``-beta log(pi/pi0)``, or the loss, through an estimator of ``divergences`` that is differentiated at the
samples. In the loss only ``k2`` has the divergence's own gradient on average; ``k1``'s is 0, ``k3``'s is that of
KL(pi0‖pi) (Tang and Munos 2025).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona.policies.base import Policy
from toypersona.rules import advantages
from toypersona.rules.base import Optimizer, UpdateRule, ascend, is_off
from toypersona.rules.divergences import Estimator
from toypersona.types import Key, Params, Scalar

SampledReward = Callable[[Int[Array, ""], Int[Array, " T"]], Float[Array, ""]]
"""``(prompt index [], tokens [T]) -> []``."""


def reinforce(
    policy: Policy,
    prompts: Int[Array, "C P"],
    log_prompts: Float[Array, " C"],
    reward: SampledReward,
    *,
    learning_rate: Scalar,
    num_samples: int = 1,
    advantage: advantages.Advantage = advantages.raw,
    kl_coefficient: Scalar = 0.0,
    ref_params: Params | None = None,
    kl_loss: Estimator | None = None,
    entropy_coefficient: Scalar = 0.0,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Stochastic policy gradient.

    Args:
        policy: any policy with ``sample`` and ``log_prob``.
        prompts: [C, P].
        log_prompts: log rho(c) [C].
        reward: ``(prompt index [], tokens [T]) -> []``.
        learning_rate: step length; 0 is the identity.
        num_samples: M, responses to each prompt a step.
        advantage: what a response is credited with, from the rewards of all M.
        kl_coefficient: beta, weight of KL(pi‖pi0), nats.
        ref_params: the base's parameters, needed for a KL coefficient.
        kl_loss: the estimator whose derivative is taken; None puts the penalty into the reward.
        entropy_coefficient: weight of the entropy, nats a response, which enters the reward.
        optimizer: optax constructor that takes the learning rate; chain ``optax.clip_by_global_norm`` into it to clip.

    Returns:
        An ``UpdateRule`` whose info holds the sampled mean ``reward``.

    Raises:
        ValueError: no sample, or a KL coefficient without ``ref_params``.
    """
    if num_samples < 1:
        raise ValueError(f"REINFORCE needs num_samples of 1 or more, not {num_samples}.")
    if ref_params is None and not is_off(kl_coefficient):
        raise ValueError("kl_coefficient needs ref_params, the base policy's parameters: pass both.")
    num_prompts = prompts.shape[0]
    rho = jnp.exp(log_prompts)
    log_prob = jax.vmap(jax.vmap(policy.log_prob, in_axes=(None, None, 0)), in_axes=(None, 0, 0))

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        keys = jax.random.split(key, (num_prompts, num_samples))
        sample = jax.vmap(jax.vmap(policy.sample, in_axes=(0, None, None)), in_axes=(0, None, 0))
        tokens = sample(keys, params, prompts)
        rewards = jax.vmap(jax.vmap(reward, in_axes=(None, 0)))(jnp.arange(num_prompts), tokens)
        log_ref = None if ref_params is None else log_prob(ref_params, prompts, tokens)
        returns = rewards
        if not is_off(entropy_coefficient):
            returns = returns - entropy_coefficient * log_prob(params, prompts, tokens)
        if log_ref is not None and kl_loss is None:
            returns = returns - kl_coefficient * (log_prob(params, prompts, tokens) - log_ref)
        credit = advantage(returns)

        def surrogate(params: Params) -> Float[Array, ""]:
            log_policy = log_prob(params, prompts, tokens)
            values = credit * log_policy
            if log_ref is not None and kl_loss is not None:
                values = values - kl_coefficient * kl_loss(log_policy - log_ref)
            return rho @ values.mean(axis=1)

        return jax.grad(surrogate)(params), {"reward": rho @ rewards.mean(axis=1)}

    return ascend(direction, optimizer(learning_rate))


def rloo(
    policy: Policy,
    prompts: Int[Array, "C P"],
    log_prompts: Float[Array, " C"],
    reward: SampledReward,
    *,
    learning_rate: Scalar,
    num_samples: int = 4,
    kl_coefficient: Scalar = 0.0,
    ref_params: Params | None = None,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """REINFORCE leave-one-out (Ahmadian et al. 2024): unbiased, the KL penalty in the reward; as ``reinforce``."""
    return reinforce(
        policy,
        prompts,
        log_prompts,
        reward,
        learning_rate=learning_rate,
        num_samples=num_samples,
        advantage=advantages.leave_one_out,
        kl_coefficient=kl_coefficient,
        ref_params=ref_params,
        optimizer=optimizer,
    )
