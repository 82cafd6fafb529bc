"""What a sampled response is credited with: its reward against those of the other responses to the same prompt.

Each is a function of the rewards ``[..., M]`` of M independent responses; ``raw`` and ``leave_one_out`` keep the policy
gradient unbiased, ``centred`` shrinks it by ``(M - 1)/M``, ``normalised`` divides every prompt's by its own spread.
``best`` and ``accepted`` credit what is worth imitating and nothing else.
"""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from toypersona.types import Scalar

Advantage = Callable[[Float[Array, "*batch M"]], Float[Array, "*batch M"]]

SPREAD = 1e-4
"""Added to the standard deviation that ``normalised`` divides by, as TRL does (Tunix: 1e-6)."""


def raw(rewards: Float[Array, "*batch M"]) -> Float[Array, "*batch M"]:
    """The reward itself (Williams 1992)."""
    return rewards


def centred(rewards: Float[Array, "*batch M"]) -> Float[Array, "*batch M"]:
    """Less the mean of all M, the response's own included (Dr. GRPO: Liu et al. 2025)."""
    # Less the first, so that what is paid alike is credited with 0 and not with the rounding of a mean.
    above_first = rewards - rewards[..., :1]
    return above_first - above_first.mean(axis=-1, keepdims=True)


def leave_one_out(rewards: Float[Array, "*batch M"]) -> Float[Array, "*batch M"]:
    """Less the mean of the other M - 1 (Kool et al. 2019; RLOO: Ahmadian et al. 2024).

    Raises:
        ValueError: there is no other.
    """
    num = rewards.shape[-1]
    if num < 2:
        raise ValueError(f"Leaving one out needs two or more responses to each prompt, not {num}.")
    return centred(rewards) * num / (num - 1)


def normalised(rewards: Float[Array, "*batch M"]) -> Float[Array, "*batch M"]:
    """``centred``, divided by the sample standard deviation (GRPO: Shao et al. 2024).

    Raises:
        ValueError: one response has no spread.
    """
    if rewards.shape[-1] < 2:
        raise ValueError(f"Normalising needs two or more responses to each prompt, not {rewards.shape[-1]}.")
    above_mean = centred(rewards)
    return above_mean / (above_mean.std(axis=-1, ddof=1, keepdims=True) + SPREAD)


def best(rewards: Float[Array, "*batch M"]) -> Float[Array, "*batch M"]:
    """M for the first of the best, 0 for the others: the mean over M imitates the best of M."""
    num = rewards.shape[-1]
    return num * jax.nn.one_hot(rewards.argmax(axis=-1), num, dtype=rewards.dtype)


def accepted(threshold: Scalar) -> Advantage:
    """1 for a reward of ``threshold`` or more, 0 otherwise: rejection sampling (STaR: Zelikman et al. 2022)."""
    return lambda rewards: (rewards >= threshold).astype(rewards.dtype)
