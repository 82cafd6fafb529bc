"""The drift budget of a policy known by samples: log-probabilities in nats and nothing else.

Total and hull distance are estimated with a control variate (``measures.control_variates``), so that weak drift is
known as well as strong: relative errors are about ``sqrt(2/n)`` from n samples. Where the policy's samples lack a
persona of the base, the total is without it: they do not show its mean. The token hull distance is the plain mean of
distances that are exact at every history. Weights that are fitted to the samples make the hull distance too small, by
what the jackknife puts back. First it is shown that the base itself passes as inside the hull.
"""

from collections import namedtuple
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from toypersona import hulls, numerics
from toypersona.measures import control_variates, drift
from toypersona.types import Scalar

ROUNDING = 1e-5
"""Nats by which a log-probability may exceed 0, and by how much probabilities of prompts may miss 1."""

UNMOVED = 1e-6
"""Nats below which the base counts as inside: rounding of log-probabilities, and tolerances of fits."""

NEGLIGIBLE = 0.01
"""Share of the drift below which it does: S would change by about as much."""

SCORED_TWICE = 1e-3
"""Nats by which two evaluations of the same log-probability may differ."""

LIKELIER = 3.0
"""Nats by which samples are likelier without a persona, from which it is not by chance that they lack it."""


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
        token_hull_distance: nan without next-word log-probabilities, like ``switching`` and ``novelty``.
        selection_fraction: nan where ``total`` is not finite. Its error is by the delta method, from the joint
            distribution of both distances.
        weights: the nearest persona mix [C, K].
        fit_excess: what fitting the weights had taken from ``hull_distance``, at most about (K - 1)/2M nats; put back.
        base_distance: the same estimate of the base's own hull distance, whose true value is 0.
        base_inside: the base passes: ``base_distance`` is within 3 standard errors of 0, or below 1% of ``total``, and
            its samples are no likelier under another mix. If it does not, the personas given do not span the base, or
            it did not say these samples, and the other numbers mean nothing.
        certified: every fit of weights reached its tolerance, and every distance is finite. What the policy says and
            the base, or no persona, can makes them infinite or nan.
    """


def budget_from_samples(
    samples: Samples,
    base_samples: Samples,
    log_prompts: Float[Array, " C"],
    *,
    next_words: NextWords | None = None,
    tolerance: Scalar = 1e-9,
) -> SampledBudget:
    """The drift budget of a policy known by samples, for models that cannot be enumerated.

    An interval of 1.96 standard errors covers 95 of 100 draws, from about 200 samples to each prompt; from 50 about 91,
    where rare responses matter. A persona of the base that has fallen silent is noticed if the base would have said
    about 4 of the samples by it; of rarer ones the total may lack about what the base gave them. A distance divided by
    its error is no test of being outside: near the hull both are of the same size, inside they are tolerances.

    Args:
        samples: drawn from the policy; draws are independent, M even and >= 4.
        base_samples: drawn from the base, so their ``log_policy`` is their ``log_base``.
        log_prompts: log rho(c) [C].
        next_words: next-word log-probabilities of the policy [C, M, T, V] and of the personas [C, M, T, K, V] at every
            position of ``samples``; without them the token hull is not measured.
        tolerance: nats to which each projection is certified. Use float64.

    Raises:
        ValueError: the shapes do not fit, an odd number of samples or fewer than four; and, outside jit, what cannot
            be log-probabilities, prompts whose probabilities do not add up to 1, or base samples that were not drawn
            from the base.
    """
    samples, base_samples = (Samples(*map(jnp.asarray, each)) for each in (samples, base_samples))
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
    wide = jnp.result_type(float)
    given = jax.tree.map(lambda x: x.astype(wide), (samples, base_samples, log_prompts, next_words))
    samples, base_samples, log_prompts, next_words = given
    rho = jnp.exp(log_prompts)
    near, likeliest = _nearest(samples, tolerance, 1.0, 0.0)
    base, plain = _nearest(base_samples, tolerance, 1.0, 0.0)
    fits = near.certified & likeliest.certified & base.certified & plain.certified
    spent = _spent(samples, near, likeliest, base)
    novel, token_certified = jnp.full_like(spent, jnp.nan), jnp.full(rho.shape, True)
    if next_words is not None:
        novel, token_certified = _novelty(*next_words, tolerance)
    terms = {
        "total": spent,
        "hull_distance": near.terms,
        "token_hull_distance": novel,
        "selection": spent - near.terms,
        "switching": near.terms - novel,
        "novelty": novel,
        "base_distance": base.terms,
    }
    pairs = {name: control_variates.pooled(values, rho) for name, values in terms.items()}
    total = pairs["total"][0]
    moved = abs(total) > drift.UNMOVED
    scale = jnp.where(moved, total, 1.0)
    ratio = jnp.where(moved, pairs["hull_distance"][0], 0.0) / scale
    ratio = jnp.where(jnp.isfinite(total), ratio, jnp.nan)
    # The delta method: a ratio has the error of these terms.
    pairs["selection_fraction"] = 1 - ratio, control_variates.pooled((near.terms - ratio * spent) / scale, rho)[1]
    apart = jnp.abs(base_samples.log_policy - base_samples.log_base).max()
    measured = [apart, *(mean for name, (mean, _) in pairs.items() if next_words or name not in _TOKENS)]
    return SampledBudget(
        **{name: mean for name, (mean, _) in pairs.items()},
        **{f"{name}_se": error for name, (_, error) in pairs.items()},
        weights=near.weights,
        fit_excess=control_variates.pooled(near.optimism, rho)[0],
        base_inside=_inside(*pairs["base_distance"], plain.terms, rho, samples.log_personas.shape[1], total)
        & (apart <= SCORED_TWICE),
        certified=(fits & token_certified | (rho == 0)).all() & jnp.isfinite(jnp.stack(measured)).all(),
    )


def _nearest(drawn: Samples, tolerance: Scalar, *most: float) -> list[control_variates.Nearest]:
    """The nearest mix at every prompt, with each of some largest c in turn."""
    repeat = lambda x: jnp.concatenate([x] * len(most))  # noqa: E731
    largest = jnp.repeat(jnp.array(most), drawn.log_policy.shape[0])
    fit = jax.vmap(lambda p, q, c: control_variates.nearest(p, q, tolerance, most=c))
    # All at once, so that the solver is compiled once.
    found = fit(repeat(drawn.log_policy), repeat(drawn.log_personas), largest)
    return [jax.tree.map(lambda x, i=i: jnp.split(x, len(most))[i], found) for i in range(len(most))]


def _spent(
    samples: Samples,
    near: control_variates.Nearest,
    likeliest: control_variates.Nearest,
    base: control_variates.Nearest,
) -> Float[Array, "C M"]:
    """Terms of the total, in the plain form at prompts where a persona of the base is not in the policy's samples.

    The nearest mix or the likeliest leaves it out, and the base would hardly have said such samples.
    """
    after = jnp.minimum(near.weights, likeliest.weights)
    silenced = jax.vmap(control_variates.silenced)(base.weights, after, samples.log_policy, samples.log_personas)
    log_mix = jax.vmap(numerics.log_mix)(jnp.log(likeliest.weights), samples.log_personas)
    likelier = (log_mix - samples.log_base).sum(axis=1) > LIKELIER
    silent = silenced & likelier
    terms = jax.vmap(lambda p, q, c: control_variates.divergence(p, q, most=c))
    return terms(samples.log_policy, samples.log_base, jnp.where(silent, 0.0, 1.0))


def _inside(
    distance: Float[Array, ""],
    error: Float[Array, ""],
    plain: Float[Array, "C M"],
    rho: Float[Array, " C"],
    num_personas: int,
    total: Float[Array, ""],
) -> Bool[Array, ""]:
    """Whether the base is inside, and these samples the base's: others' are likelier under another mix than the base.

    Of that alone the plain form knows; where all of its terms are equal, its error is that of the fitted weights.
    """
    likelier, spread = control_variates.pooled(plain, rho)
    fitted = (rho**2).sum() * (num_personas - 1) / (2 * plain.shape[1] ** 2)
    small = distance <= jnp.maximum(3 * error, jnp.maximum(NEGLIGIBLE * total, UNMOVED))
    return small & (abs(likelier) <= jnp.maximum(3 * jnp.sqrt(spread**2 + fitted), UNMOVED))


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


def _novelty(
    log_next: Float[Array, "C M T V"], log_next_personas: Float[Array, "C M T K V"], tolerance: Scalar
) -> tuple[Float[Array, "C M"], Bool[Array, " C"]]:
    """Each sample's token-hull distance, summed over its positions."""
    num_words = log_next.shape[-1]
    flat = hulls.project_batch(
        log_next.reshape(-1, num_words),
        log_next_personas.reshape(-1, *log_next_personas.shape[3:]),
        tolerance=tolerance,
    )
    # Not rounded up: over many positions that would add up.
    distance = (flat.distance - flat.rounding).reshape(log_next.shape[:3])
    return distance.sum(axis=-1), flat.certified.reshape(log_next.shape[0], -1).all(axis=1)
