"""The drift budget of a policy known by samples: log-probabilities in nats and nothing else.

Weights that are fitted and scored on the same samples make the hull distance too small, so each half is scored with the
other half's weights. First it is shown that the base itself passes as inside the hull.
"""

from collections import namedtuple
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from toypersona import hulls, numerics


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


_DISTANCES = ("total", "hull_distance", "token_hull_distance", "base_distance")
ESTIMATES = (*_DISTANCES, "selection", "switching", "novelty", "selection_fraction")
_NUMBERS = [f"{name}{end}" for name in ESTIMATES for end in ("", "_se")]


class SampledBudget(namedtuple("SampledBudget", [*_NUMBERS, "weights", "fit_excess", "base_inside", "certified"])):
    """The ``ESTIMATES`` of a ``drift.DriftBudget`` in nats, each with its standard error (``_se``).

    Attributes:
        hull_distance: weights are fitted on one half of the samples and scored on the other, both ways.
        token_hull_distance: nan without next-word log-probabilities, like ``switching`` and ``novelty``.
        selection_fraction: its error is by the delta method, from the joint distribution of both distances.
        weights: the nearest persona mix, fitted on all samples [C, K].
        fit_excess: what fitting K weights adds to ``hull_distance`` on average, (K - 1)/M nats (Wilks 1938).
        base_distance: the same estimate of the base's own hull distance, whose true value is 0.
        base_inside: the base passes: ``base_distance <= fit_excess + 3 base_distance_se``. If it does not, the
            personas given do not span the base, and the other numbers mean nothing.
        certified: every fit of weights reached its tolerance.
    """


def budget_from_samples(
    samples: Samples,
    base_samples: Samples,
    log_prompts: Float[Array, " C"],
    *,
    next_words: tuple[Float[Array, "C M T V"], Float[Array, "C M T K V"]] | None = None,
    tolerance: float = 1e-6,
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
        ValueError: an odd number of samples, or fewer than four.
    """
    sizes = [drawn.log_policy.shape[1] for drawn in (samples, base_samples)]
    for num in sizes:
        if num % 2 or num < 4:
            raise ValueError(f"{num} samples cannot be split in two: draw an even number, >= 4.")
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
    estimates = {name: _pool(values, log_prompts) for name, values in terms.items()}
    fraction = _fraction(*estimates["total"], *estimates["hull_distance"], estimates["selection"][1])
    base_distance, base_se = estimates["base_distance"]
    excess, base_excess = ((samples.log_personas.shape[1] - 1) / num for num in sizes)
    pairs = estimates | {"selection_fraction": fraction}
    return SampledBudget(
        **{name: mean for name, (mean, _) in pairs.items()},
        **{f"{name}_se": error for name, (_, error) in pairs.items()},
        weights=whole.weights,
        fit_excess=jnp.asarray(excess),
        base_inside=base_distance <= base_excess + 3 * base_se,
        certified=certified & base_certified & whole.certified.all() & token_certified,
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


def _pool(values: Float[Array, "C M"], log_prompts: Float[Array, " C"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean over prompts and samples, and its standard error."""
    rho = jnp.exp(log_prompts)
    variance = values.var(axis=1, ddof=1) / values.shape[1]
    return rho @ values.mean(axis=1), jnp.sqrt(rho**2 @ variance)


def _fraction(
    total: Array, total_se: Array, outside: Array, outside_se: Array, inside_se: Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """S and its standard error; the variance of a difference gives the covariance of its parts."""
    ratio = outside / total
    covariance = 0.5 * (total_se**2 + outside_se**2 - inside_se**2)
    variance = outside_se**2 + ratio**2 * total_se**2 - 2 * ratio * covariance
    return 1 - ratio, jnp.sqrt(jnp.maximum(variance, 0.0)) / total
