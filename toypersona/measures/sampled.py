"""The drift budget of a policy known by samples: log-probabilities in nats and nothing else.

Weights that are fitted and scored on the same samples make the hull distance too small, so each half is scored with the
other half's weights. First it is shown that the base itself passes as inside the hull.
"""

from collections import namedtuple
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from toypersona import hulls, numerics
from toypersona.types import Scalar

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

_DISTANCES = ("total", "hull_distance", "token_hull_distance", "base_distance")
_TOKENS = ("token_hull_distance", "switching", "novelty")
ESTIMATES = (*_DISTANCES, "selection", "switching", "novelty", "selection_fraction")
_NUMBERS = [f"{name}{end}" for name in ESTIMATES for end in ("", "_se")]


class SampledBudget(namedtuple("SampledBudget", [*_NUMBERS, "weights", "fit_excess", "base_inside", "certified"])):
    """The ``ESTIMATES`` of a ``drift.DriftBudget`` in nats, each with its standard error (``_se``).

    Attributes:
        hull_distance: weights are fitted on one half of the samples and scored on the other, both ways.
        token_hull_distance: nan without next-word log-probabilities, like ``switching`` and ``novelty``.
        selection_fraction: its error is by the delta method, from the joint distribution of both distances.
        weights: the nearest persona mix, fitted on all samples [C, K].
        fit_excess: what fitting K weights adds to a distance on average, (K - 1)/M nats (Wilks 1938); taken off.
        base_distance: the same estimate of the base's own hull distance, whose true value is 0.
        base_inside: the base passes: ``abs(base_distance) <= 3 base_distance_se``. If it does not, the personas given
            do not span the base, or it did not say these samples, and the other numbers mean nothing.
        certified: every fit of weights reached its tolerance, and every distance is finite.
    """


def budget_from_samples(
    samples: Samples,
    base_samples: Samples,
    log_prompts: Float[Array, " C"],
    *,
    next_words: NextWords | None = None,
    tolerance: Scalar = 1e-6,
) -> SampledBudget:
    """The drift budget of a policy known by samples, for models that cannot be enumerated.

    The weights that score the other half of the samples get half a sample of every persona added, so that the hull
    distance is rather too large, by at most about ``fit_excess``.

    Args:
        samples: drawn from the policy; draws are independent, M even and >= 4.
        base_samples: drawn from the base, so their ``log_policy`` is their ``log_base``.
        log_prompts: log rho(c) [C].
        next_words: next-word log-probabilities of the policy [C, M, T, V] and of the personas [C, M, T, K, V] at every
            position of ``samples``; without them the token hull is not measured.
        tolerance: nats to which each projection is certified.

    Raises:
        ValueError: the shapes do not fit, an odd number of samples or fewer than four; and, outside jit, what cannot
            be log-probabilities, prompts whose probabilities do not add up to 1, or base samples that were not drawn
            from the base.
    """
    _check_shapes(samples, base_samples, log_prompts, next_words)
    if not any(isinstance(x, Tracer) for x in jax.tree.leaves((samples, base_samples, log_prompts, next_words))):
        _check_values(samples, base_samples, log_prompts, next_words)
    return _budget(samples, base_samples, log_prompts, next_words, tolerance)


@jax.jit
def _budget(
    samples: Samples,
    base_samples: Samples,
    log_prompts: Float[Array, " C"],
    next_words: NextWords | None,
    tolerance: Scalar,
) -> SampledBudget:
    """Compiled once for all calls of the same shapes."""
    sizes = [drawn.log_policy.shape[1] for drawn in (samples, base_samples)]
    log_nearest, certified = _held_out(samples.log_personas, tolerance)
    log_nearest_base, base_certified = _held_out(base_samples.log_personas, tolerance)
    whole = _fit_weights(samples.log_personas, tolerance)
    spent = samples.log_policy - samples.log_base
    outside = samples.log_policy - log_nearest
    novel, token_certified = jnp.full_like(spent, jnp.nan), jnp.array(True)
    if next_words is not None:
        novel, token_certified = _novelty(*next_words, tolerance)
    terms = {
        "total": spent,
        "hull_distance": outside,
        "token_hull_distance": novel,
        "selection": spent - outside,
        "switching": outside - novel,
        "novelty": novel,
        "base_distance": base_samples.log_base - log_nearest_base,
    }
    rho = jnp.exp(log_prompts)
    excess, base_excess = ((samples.log_personas.shape[1] - 1) / num for num in sizes)
    fitted = dict.fromkeys(("hull_distance", "switching"), -excess) | {
        "selection": excess,
        "base_distance": -base_excess,
    }
    estimates = {name: _pool(values, rho, fitted.get(name, 0.0)) for name, values in terms.items()}
    fraction = _fraction(*estimates["total"], *estimates["hull_distance"], estimates["selection"][1])
    base_distance, base_se = estimates["base_distance"]
    measured = [mean for name, (mean, _) in estimates.items() if next_words or name not in _TOKENS]
    finite = jnp.isfinite(jnp.stack(measured)).all()
    pairs = estimates | {"selection_fraction": fraction}
    return SampledBudget(
        **{name: mean for name, (mean, _) in pairs.items()},
        **{f"{name}_se": error for name, (_, error) in pairs.items()},
        weights=whole.weights,
        fit_excess=jnp.asarray(excess),
        base_inside=abs(base_distance) <= 3 * base_se,
        certified=certified & base_certified & whole.certified.all() & token_certified & finite,
    )


def _check_shapes(
    samples: Samples, base_samples: Samples, log_prompts: Array, next_words: tuple[Array, Array] | None
) -> None:
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


def _check_values(
    samples: Samples, base_samples: Samples, log_prompts: Array, next_words: tuple[Array, Array] | None
) -> None:
    """In numpy, so that nothing is compiled for it."""
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


def _fit_weights(log_personas: Float[Array, "C K M"], tolerance: float) -> hulls.Projection:
    """For each prompt the mix under which the samples are likeliest: their projection as equal point masses."""
    num_samples = log_personas.shape[-1]
    equal = jnp.full(num_samples, -jnp.log(num_samples))
    return jax.vmap(lambda q: hulls.project(equal, q, tolerance=tolerance))(log_personas)


def _held_out(log_personas: Float[Array, "C K M"], tolerance: float) -> tuple[Float[Array, "C M"], Bool[Array, ""]]:
    """Each sample's log-probability under the mix fitted to the other half.

    Half a sample of every persona is added (Krichevsky and Trofimov 1981): where nobody of a rare persona was in one
    half, a single one in the other would be as good as impossible.
    """
    halves = jnp.split(log_personas, 2, axis=-1)
    fits = [_fit_weights(half, tolerance) for half in halves]
    seen, num_personas = halves[0].shape[-1], log_personas.shape[1]
    smooth = [(seen * fit.weights + 0.5) / (seen + 0.5 * num_personas) for fit in fits]
    scored = [numerics.log_mix(jnp.log(weights), half) for weights, half in zip(reversed(smooth), halves, strict=True)]
    return jnp.concatenate(scored, axis=-1), fits[0].certified.all() & fits[1].certified.all()


def _novelty(
    log_next: Float[Array, "C M T V"], log_next_personas: Float[Array, "C M T K V"], tolerance: float
) -> tuple[Float[Array, "C M"], Bool[Array, ""]]:
    """Each sample's token-hull distance, summed over its positions."""
    num_words = log_next.shape[-1]
    flat = hulls.project_batch(
        log_next.reshape(-1, num_words),
        log_next_personas.reshape(-1, *log_next_personas.shape[3:]),
        tolerance=tolerance,
    )
    return flat.distance.reshape(log_next.shape[:3]).sum(axis=-1), flat.certified.all()


def _pool(
    values: Float[Array, "C M"], rho: Float[Array, " C"], correction: float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean over prompts and samples, the excess of fitted weights, +-(K - 1)/M, put right, and its standard error.

    The scores of both halves share both fits: inside the hull their mean has variance 5(K - 1)/M^2, of which the
    values show 2(K - 1)/M^2.
    """
    num_samples = values.shape[1]
    variance = values.var(axis=1, ddof=1) / num_samples + 3 * abs(correction) / num_samples
    return rho @ values.mean(axis=1) + correction, jnp.sqrt(rho**2 @ variance)


def _fraction(
    total: Array, total_se: Array, outside: Array, outside_se: Array, inside_se: Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """S and its standard error; the variance of a difference gives the covariance of its parts."""
    ratio = outside / total
    covariance = 0.5 * (total_se**2 + outside_se**2 - inside_se**2)
    variance = outside_se**2 + ratio**2 * total_se**2 - 2 * ratio * covariance
    return 1 - ratio, jnp.sqrt(jnp.maximum(variance, 0.0)) / abs(total)
