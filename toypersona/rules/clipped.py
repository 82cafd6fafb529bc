"""PPO-clip and GRPO: several steps on a batch, the ratio of new to old policy kept within a clip range.

::

    E min(ratio A, clip(ratio, 1 - epsilon, 1 + epsilon) A)

with the ratio of each token, summed over a response (Schulman et al. 2017), of the whole response, or the geometric
mean over its tokens (GSPO: Zheng et al. 2025). The first step on a batch is REINFORCE's, with the mean a T-th of it.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona.rules import advantages, divergences, rollouts
from toypersona.rules.rule import Task, UpdateRule
from toypersona.types import Scalar

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
    num_samples: int = 4,
    num_epochs: int = 4,
    clip_range: Scalar = 0.2,
    level: str = "token",
    advantage: advantages.Advantage = advantages.leave_one_out,
    **options: Any,
) -> UpdateRule:
    """Proximal policy optimisation with clipping (Schulman et al. 2017), a baseline in place of the critic.

    A ``kl_loss`` is estimated of tokens or of whole responses, as the ratio is.

    Args:
        task: as in ``rollouts.train``.
        num_samples: M, responses to each prompt in a batch.
        num_epochs: steps on each batch.
        clip_range: epsilon.
        level: whose ratio is clipped, as in ``clipped``.
        advantage: what a response is credited with.
        **options: the other arguments of ``rollouts.train``.

    Raises:
        ValueError: as there, or an unknown level.
    """
    return rollouts.train(
        task,
        clipped(clip_range, level=level),
        num_samples=num_samples,
        advantage=advantage,
        num_epochs=num_epochs,
        kl_by_token=level == "token",
        **options,
    )


def grpo(
    task: Task, *, num_samples: int = 8, num_epochs: int = 1, normalise: bool = True, **options: Any
) -> UpdateRule:
    """Group-relative policy optimisation (DeepSeekMath: Shao et al. 2024), KL by ``k3`` in the objective.

    All responses have T tokens: what the paper divides by the length is left to the learning rate. Of each next word
    ``k3`` has the gradient of KL(pi0‖pi); with ``kl_corrected=True`` (DeepSeek-V3.2, 2025) that of KL(pi‖pi0). TRL did
    the former before version 1.10 and does the latter since.

    Args:
        task: as in ``rollouts.train``.
        num_samples: M >= 2, the group.
        num_epochs: steps on each batch.
        normalise: divide a group's rewards by their standard deviation; False is Dr. GRPO (Liu et al. 2025).
        **options: the other arguments of ``ppo_clip``.

    Raises:
        ValueError: as there, or fewer than two samples.
    """
    credit = advantages.normalised if normalise else advantages.centred
    options = {"advantage": credit, "kl_loss": divergences.k3} | options
    return ppo_clip(task, num_samples=num_samples, num_epochs=num_epochs, **options)
