"""What the drift budget of samples is computed from, and what cannot be that."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

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
        log_weights: if they were drawn from another law, ``log_policy`` less their log-probability under it [C, M].
            Then both may lack the same constant at every prompt, as those of a tilt of the base do: the mean of the
            weights is 1.
        strata: if the law that they were drawn from is the even mix of the personas, and each drew as many: who drew
            which, from 0 [C, M].
    """

    log_policy: Float[Array, "C M"]
    log_base: Float[Array, "C M"]
    log_personas: Float[Array, "C K M"]
    log_weights: Float[Array, "C M"] | None = None
    strata: Int[Array, "C M"] | None = None

    @property
    def num_strata(self) -> int:
        """One without strata."""
        return 1 if self.strata is None else self.log_personas.shape[1]

    @property
    def weights(self) -> Float[Array, "C M"] | None:
        """None if the policy drew them."""
        return None if self.log_weights is None else jnp.exp(self.log_weights)


def prepared(samples: Samples) -> Samples:
    """Weights of mean 1, and log-probabilities of the policy with the constant that this takes; strata in turn."""
    if samples.log_weights is not None:
        lacking = jax.nn.logsumexp(samples.log_weights, axis=1, keepdims=True) - np.log(samples.log_weights.shape[1])
        samples = samples._replace(log_policy=samples.log_policy - lacking, log_weights=samples.log_weights - lacking)
    if samples.strata is None:
        return samples
    strata = samples.strata.astype(int)
    among = jnp.cumsum(jax.nn.one_hot(strata, samples.num_strata, dtype=int), axis=1)
    before = jnp.take_along_axis(among, strata[..., None], axis=2)[..., 0]
    order = jnp.argsort(before * samples.num_strata + strata, axis=1)
    in_turn = lambda x: jnp.take_along_axis(x, order if x.ndim == 2 else order[:, None], axis=-1)  # noqa: E731
    return jax.tree.map(in_turn, samples)


NextWords = tuple[Float[Array, "C M T V"], Float[Array, "C M T K V"]]
"""Next-word log-probabilities of the policy and of the personas at every position of the samples."""


def effective(samples: Samples) -> Float[Array, " C"]:
    """How many samples of the policy weighted ones are worth, ``(sum w)^2 / sum w^2`` (Kish 1965)."""
    if samples.log_weights is None:
        return jnp.full(samples.log_policy.shape[0], float(samples.log_policy.shape[1]))
    log_sums = [jax.nn.logsumexp(power * samples.log_weights, axis=1) for power in (1, 2)]
    return jnp.exp(2 * log_sums[0] - log_sums[1])


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
        if tuple(map(np.shape, drawn[:3])) != wanted or np.ndim(drawn.log_personas) != 3 or log_prompts.ndim != 1:
            raise ValueError(
                f"{name} are log_policy {np.shape(drawn.log_policy)}, log_base {np.shape(drawn.log_base)} and "
                f"log_personas {np.shape(drawn.log_personas)}: with log_prompts {log_prompts.shape} they have to be "
                "[prompts, samples] twice and [prompts, personas, samples]."
            )
        if num[0] % 2 or num[0] < 4:
            raise ValueError(f"{num[0]} samples cannot be split in two: draw an even number, >= 4.")
        for field, given in (("log_weights", drawn.log_weights), ("strata", drawn.strata)):
            if given is not None and np.shape(given) != wanted[0]:
                raise ValueError(f"{name}.{field} {np.shape(given)} have to be {wanted[0]}, one for each sample.")
    if base_samples.log_weights is not None:
        raise ValueError("base_samples have log_weights: they have to be drawn from the base, so leave these out.")
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
    for whose, drawn in (("samples", samples), ("base_samples", base_samples)):
        named |= {f"{whose}.{name}": x for name, x in zip(Samples._fields[:3], drawn[:3], strict=True)}
        _check_drawn(whose, drawn)
    if next_words is not None:
        named |= {"next_words of the policy": next_words[0], "next_words of the personas": next_words[1]}
    for name, given in named.items():
        values = np.asarray(given)
        if np.isnan(values).any():
            raise ValueError(
                f"{name} has {np.isnan(values).sum()} nan: leave out the samples that could not be scored."
            )
        lacks_a_constant = name == "samples.log_policy" and samples.log_weights is not None
        if values.max() > ROUNDING and not lacks_a_constant:
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


def _check_drawn(whose: str, drawn: Samples) -> None:
    if drawn.log_weights is not None and not np.isfinite(drawn.log_weights).all():
        raise ValueError(f"{whose}.log_weights have to be finite: leave out samples that the policy cannot say.")
    if drawn.strata is None:
        return
    strata, num = np.asarray(drawn.strata), drawn.num_strata
    counts = (strata[..., None] == np.arange(num)).sum(axis=1)
    if (counts * num != strata.shape[1]).any():
        raise ValueError(
            f"{whose}.strata have {counts.min()} to {counts.max()} of {strata.shape[1]} samples of a persona at a "
            f"prompt: each of the {num}, from 0, has to have drawn as many."
        )
