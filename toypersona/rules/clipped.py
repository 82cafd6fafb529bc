"""PPO-clip and GRPO: several steps on a batch, the ratio of new to old policy kept within a clip range.

::

    E min(ratio A, clip(ratio, 1 - epsilon, 1 + epsilon) A)

with the ratio of each token, summed over a response (Schulman et al. 2017), of the whole response, or the geometric
mean over its tokens (GSPO: Zheng et al. 2025). The first step on a batch is REINFORCE's, with the mean a T-th of it.
"""

from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from toypersona.rules import advantages, divergences, rollouts
from toypersona.rules.divergences import Estimator
from toypersona.rules.rule import Optimizer, Task, UpdateRule
from toypersona.types import Params, Scalar

LEVELS = ("token", "sequence", "geometric")


def clipped(clip_range: Scalar, *, level: str = "token") -> rollouts.Objective:
    """The clipped surrogate objective.

    Args:
        clip_range: epsilon, how far the ratio may leave 1 and still be paid for.
        level: whose ratio: "token", "sequence", or "geometric", a sequence's mean over tokens.

    Raises:
        ValueError: another level.
    """
    if level not in LEVELS:
        raise ValueError(f"The clipped ratio's level is {', '.join(LEVELS)}, not {level!r}.")

    def objective(log_probs: Float[Array, "C M T"], batch: rollouts.Batch) -> Float[Array, "C M"]:
        log_ratio = log_probs - batch.log_old
        if level != "token":
            pool = jnp.sum if level == "sequence" else jnp.mean
            log_ratio = pool(log_ratio, axis=-1, keepdims=True)
        ratio, credit = jnp.exp(log_ratio), batch.credit[..., None]
        kept = jnp.clip(ratio, min=1 - clip_range, max=1 + clip_range)
        return jnp.minimum(ratio * credit, kept * credit).sum(axis=-1)

    return objective


def ppo_clip(
    task: Task,
    *,
    learning_rate: Scalar,
    num_samples: int = 4,
    num_epochs: int = 4,
    clip_range: Scalar = 0.2,
    level: str = "token",
    advantage: advantages.Advantage = advantages.leave_one_out,
    kl_coefficient: Scalar = 0.0,
    ref_params: Params | None = None,
    kl_loss: Estimator | None = None,
    entropy_coefficient: Scalar = 0.0,
    reward_noise: Scalar = 0.0,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Proximal policy optimisation with clipping (Schulman et al. 2017), a baseline in place of the critic.

    Args:
        task: its policy has ``sample`` and ``token_log_probs``.
        learning_rate: step length; 0 is the identity.
        num_samples: M, responses to each prompt a batch.
        num_epochs: steps on each batch.
        clip_range: epsilon.
        level: whose ratio is clipped: "token", "sequence" or "geometric".
        advantage: what a response is credited with, from the rewards of all M (``advantages``).
        kl_coefficient: beta, weight of KL(pi‖pi0), nats.
        ref_params: the base's parameters, needed for a KL coefficient.
        kl_loss: the estimator (``divergences``) whose derivative is taken, of tokens or sequences as the ratio is; None
            puts the penalty into the reward.
        entropy_coefficient: weight of the entropy, nats a response, which enters the reward.
        reward_noise: standard deviation of a normal error on every reward paid.
        optimizer: optax constructor that takes the learning rate.

    Returns:
        An ``UpdateRule`` whose info holds the sampled mean ``reward``.

    Raises:
        ValueError: an unknown level, no sample or epoch, or a KL coefficient without ``ref_params``.
    """
    rollouts.check_reference(kl_coefficient, ref_params)
    objective = clipped(clip_range, level=level)
    return rollouts.train(
        task,
        rollouts.penalised(objective, kl_coefficient, kl_loss, by_token=level == "token"),
        optimizer(learning_rate),
        num_samples=num_samples,
        advantage=advantage,
        num_epochs=num_epochs,
        kl_in_reward=kl_coefficient if kl_loss is None else 0.0,
        ref_params=ref_params,
        entropy_coefficient=entropy_coefficient,
        reward_noise=reward_noise,
    )


def grpo(
    task: Task,
    *,
    learning_rate: Scalar,
    num_samples: int = 8,
    normalise: bool = True,
    **options: Any,
) -> UpdateRule:
    """Group-relative policy optimisation (DeepSeekMath: Shao et al. 2024), KL by ``k3`` in the objective.

    All responses have T tokens: what the paper divides by the length is left to the learning rate.

    Args:
        task: as in ``ppo_clip``, like all the rest.
        learning_rate: step length.
        num_samples: M >= 2, the group.
        normalise: divide a group's rewards by their standard deviation; False is Dr. GRPO (Liu et al. 2025).
        **options: the other keywords of ``ppo_clip``; one epoch unless said otherwise.

    Raises:
        ValueError: as ``ppo_clip``, or fewer than two samples.
    """
    credit = advantages.normalised if normalise else advantages.centred
    options = {"num_epochs": 1, "advantage": credit, "kl_loss": divergences.k3, "num_samples": num_samples} | options
    return ppo_clip(task, learning_rate=learning_rate, **options)
