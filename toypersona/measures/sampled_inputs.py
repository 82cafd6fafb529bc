"""What the drift budget of samples is computed from, and what cannot be that."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

ROUNDING = 1e-5
"""Nats by which a log-probability may exceed 0, and by how much probabilities of prompts may miss 1."""

SCORED_TWICE = 1e-3
"""Nats by which two evaluations of the same log-probability may differ."""


class Samples(NamedTuple):
    """Log-probabilities (nats) of M sampled responses to each prompt.

    Attributes:
        log_policy: under the policy they were drawn from [C, M].
        log_base: under the base [C, M].
        log_personas: under each persona [C, K, M].
    """

    log_policy: Float[Array, "C M"]
    log_base: Float[Array, "C M"]
    log_personas: Float[Array, "C K M"]


NextWords = tuple[Float[Array, "C M T V"], Float[Array, "C M T K V"]]
"""Next-word log-probabilities of the policy and of the personas at every position of the samples."""


def check_shapes(
    samples: Samples, base_samples: Samples, log_prompts: Array, next_words: tuple[Array, Array] | None
) -> None:
    """Of the arguments of ``sampled.budget_from_samples``, also inside jit.

    Raises:
        ValueError: they do not fit, or samples are an odd number or fewer than four.
    """
    num_prompts, num_personas = log_prompts.size, np.shape(samples.log_personas)[1:2]
    for name, drawn in (("samples", samples), ("base_samples", base_samples)):
        num = np.shape(drawn.log_policy)[-1:]
        wanted = (num_prompts, *num), (num_prompts, *num), (num_prompts, *num_personas, *num)
        if tuple(map(np.shape, drawn)) != wanted or np.ndim(drawn.log_personas) != 3 or log_prompts.ndim != 1:
            raise ValueError(
                f"{name} are log_policy {np.shape(drawn.log_policy)}, log_base {np.shape(drawn.log_base)} and "
                f"log_personas {np.shape(drawn.log_personas)}: with log_prompts {log_prompts.shape} they have to be "
                "[prompts, samples] twice and [prompts, personas, samples]."
            )
        if num[0] % 2 or num[0] < 4:
            raise ValueError(f"{num[0]} samples cannot be split in two: draw an even number, >= 4.")
    if next_words is not None:
        policy, personas = map(np.shape, next_words)
        wanted = (*samples.log_policy.shape, *policy[2:3], *num_personas, *policy[3:])
        if len(policy) != 4 or policy[:2] != samples.log_policy.shape or personas != wanted:
            raise ValueError(
                f"next_words are {policy} and {personas}: for samples {samples.log_policy.shape} they have to be "
                "[prompts, samples, positions, words] and [prompts, samples, positions, personas, words]."
            )


def check_values(
    samples: Samples, base_samples: Samples, log_prompts: Array, next_words: tuple[Array, Array] | None
) -> None:
    """Of the same arguments, outside jit: in numpy, so that nothing is compiled for it.

    Raises:
        ValueError: what cannot be log-probabilities, prompts whose probabilities do not add up to 1, or base samples
            that were not drawn from the base.
    """
    named = {"log_prompts": log_prompts}
    named |= {f"samples.{name}": x for name, x in samples._asdict().items()}
    named |= {f"base_samples.{name}": x for name, x in base_samples._asdict().items()}
    if next_words is not None:
        named |= {"next_words of the policy": next_words[0], "next_words of the personas": next_words[1]}
    for name, given in named.items():
        values = np.asarray(given)
        if np.isnan(values).any():
            raise ValueError(
                f"{name} has {np.isnan(values).sum()} nan: leave out the samples that could not be scored."
            )
        if values.max() > ROUNDING:
            raise ValueError(
                f"{name} goes up to {values.max():.3g}, but the logarithm of a probability is never above 0: pass "
                "log-probabilities in nats, not probabilities."
            )
        if name.endswith("log_policy") and np.isneginf(values).any():
            raise ValueError(f"{name} has -inf: what was drawn from a policy has a probability under it.")
    mass = np.exp(np.asarray(log_prompts)).sum()
    if not abs(mass - 1) <= ROUNDING:
        raise ValueError(f"exp(log_prompts) adds up to {mass:.6g}: pass the logarithms of probabilities, which make 1.")
    apart = np.abs(np.asarray(base_samples.log_policy) - np.asarray(base_samples.log_base)).max()
    if not apart <= SCORED_TWICE:
        raise ValueError(
            f"base_samples.log_policy and base_samples.log_base are up to {apart:.3g} nats apart: they have to be "
            "drawn from the base, which then is their policy."
        )
