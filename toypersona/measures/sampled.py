"""The drift budget of a policy known by samples: log-probabilities in nats and nothing else.

Total and hull distance are estimated with a control variate (``measures.control_variates``), so that weak drift is
known as well as strong: relative errors are about ``sqrt(2/n)`` from n samples. Where the policy's samples lack a
persona of the base, the total is without it: they do not show its mean. The token hull distance is the plain mean of
distances that are exact at every history. Weights that are fitted to the samples make the hull distance too small, by
what the jackknife puts back. First it is shown that the base itself passes as inside the hull.

A base that is no mix of the personas, as a network's, has them repaired first, by weights fitted to its own samples.
"""

import functools
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from toypersona import hulls, numerics
from toypersona.measures import control_variates, drift, sampled_inputs
from toypersona.measures.sampled_inputs import NextWords, Samples
from toypersona.types import Scalar

UNMOVED = 1e-6
"""Nats below which the base counts as inside: rounding of log-probabilities, and tolerances of fits."""

NEGLIGIBLE = 0.01
"""Share of the drift below which it does: S would change by about as much."""

EFFECTIVE = 50
"""Samples that weighted ones have to be worth at every prompt, ``(sum w)^2 / sum w^2`` (Kish 1965)."""

LIKELIER = 3.0
"""Nats by which samples are likelier without a persona, from which it is not by chance that they lack it."""


_DISTANCES = ("total", "hull_distance", "token_hull_distance", "base_distance", "misfit")
_TOKENS = ("token_hull_distance", "switching", "novelty")
ESTIMATES = (*_DISTANCES, "selection", "switching", "novelty", "selection_fraction")
_NUMBERS = [f"{name}{end}" for name in ESTIMATES for end in ("", "_se")]


class SampledBudget(
    namedtuple("SampledBudget", [*_NUMBERS, "weights", "fit_excess", "base_inside", "effective", "certified"])
):
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
        misfit: how far the base is from a mix of the personas as given; without repair that is ``base_distance``.
        effective: samples that weighted ones are worth, at the prompt where they are worth least; M without weights. Of
            less than ``EFFECTIVE`` nothing is said: every estimate is nan, and ``certified`` False.
        certified: every fit of weights reached its tolerance, and every distance is finite. What the policy says and
            the base, or no persona, can makes them infinite or nan.

    With repair the base is a mix of the repaired personas by definition. ``base_distance`` is then how much likelier
    either half of its samples is under the mix fitted to the other half than under its own, in the mean 0, and
    ``base_inside`` says three things: that it is within 3 errors of 0; that ``mean m*/pi0`` is 1 within 5 errors, so
    that these samples are the base's; and that no sample of the policy is as many times likelier under its own nearest
    mix than under m* as there are samples of the base, which then would not show the weights that count.
    """


def budget_from_samples(
    samples: Samples,
    base_samples: Samples,
    log_prompts: Float[Array, " C"],
    *,
    next_words: NextWords | None = None,
    tolerance: Scalar = 1e-9,
    repair: bool = False,
) -> SampledBudget:
    """The drift budget of a policy known by samples, for models that cannot be enumerated.

    An interval of 1.96 standard errors covers 95 of 100 draws, from about 200 samples to each prompt; from 50 about 91,
    where rare responses matter. A persona of the base that has fallen silent is noticed if the base would have said
    about 4 of the samples by it; of rarer ones the total may lack about what the base gave them. A distance divided by
    its error is no test of being outside: near the hull both are of the same size, inside they are tolerances.

    Of samples with weights, the policy's missing constant is estimated too, and errors hold what that and the weights
    add. A tilt of the base, ``log_policy = log_base + s r`` and ``log_weights = s r``, is so measured from samples of
    the base, at 0.3 to 0.6 nats the best: what is drawn with strata has smaller errors.

    Args:
        samples: drawn from the policy, or with weights; draws are independent, M even and >= 4.
        base_samples: drawn from the base, so their ``log_policy`` is their ``log_base``.
        log_prompts: log rho(c) [C].
        next_words: next-word log-probabilities of the policy [C, M, T, V] and of the personas [C, M, T, K, V] at every
            position of ``samples``; without them the token hull is not measured.
        tolerance: nats to which each projection is certified. Use float64.
        repair: repair the personas first (``drift.budget``), with m* fitted to ``base_samples``. Standard errors hold
            what that adds, toward a persona more than the policy's samples do; its bias is of the order of K/M.

    Raises:
        ValueError: the shapes do not fit, an odd number of samples or fewer than four, next words of personas to be
            repaired; and, outside jit, what cannot be log-probabilities, prompts whose probabilities do not add up to
            1, base samples that were not drawn from the base, or strata of different sizes.
    """
    samples, base_samples = (Samples(*jax.tree.map(jnp.asarray, tuple(x))) for x in (samples, base_samples))
    sampled_inputs.check_shapes(samples, base_samples, log_prompts, next_words)
    if repair and next_words is not None:
        raise ValueError(
            "next_words cannot be had with repair: what repaired personas say next does not follow from what those "
            "given say next, so leave out one of the two."
        )
    if not any(isinstance(x, Tracer) for x in jax.tree.leaves((samples, base_samples, log_prompts, next_words))):
        sampled_inputs.check_values(samples, base_samples, log_prompts, next_words)
    return _budget(samples, base_samples, log_prompts, next_words, tolerance, repair)


@functools.partial(jax.jit, static_argnames="repair")
def _budget(
    samples: Samples,
    base_samples: Samples,
    log_prompts: Float[Array, " C"],
    next_words: NextWords | None,
    tolerance: Scalar,
    repair: bool = False,
) -> SampledBudget:
    """Compiled once for all calls of the same shapes."""
    wide = jnp.result_type(float)
    given = jax.tree.map(lambda x: x.astype(wide), (samples, base_samples, log_prompts, next_words))
    samples, base_samples, log_prompts, next_words = given
    samples, base_samples = sampled_inputs.prepared(samples), sampled_inputs.prepared(base_samples)
    rho = jnp.exp(log_prompts)
    base, plain = _nearest(base_samples, None, tolerance, 1.0, 0.0)
    given, before, masses = base_samples, base.weights, None
    if repair:
        samples, base_samples = repaired(samples, plain.weights), repaired(base_samples, plain.weights)
        before, masses = plain.weights, _to_mix(base_samples).mean(axis=2)
    near, likeliest = _nearest(samples, masses, tolerance, 1.0, 0.0)
    fits = near.certified & likeliest.certified & base.certified & plain.certified
    spent = _spent(samples, near, likeliest, before)
    novel, token_certified = jnp.full_like(spent, jnp.nan), jnp.full(rho.shape, True)
    if next_words is not None:
        novel, token_certified = _novelty(*next_words, tolerance)
        novel = control_variates.normalised(novel, samples.weights, jnp.zeros_like(novel))
    terms = {
        "total": spent,
        "hull_distance": near.terms,
        "token_hull_distance": novel,
        "selection": spent - near.terms,
        "switching": near.terms - novel,
        "novelty": novel,
        "misfit": base.terms,
    }
    strata = dict.fromkeys(terms, samples.num_strata) | {"misfit": base_samples.num_strata}
    pairs = {name: control_variates.pooled(values, rho, strata[name]) for name, values in terms.items()}
    pairs["base_distance"] = pairs["misfit"]
    total = pairs["total"][0]
    moved = abs(total) > drift.UNMOVED
    scale = jnp.where(moved, total, 1.0)
    ratio = jnp.where(moved, pairs["hull_distance"][0], 0.0) / scale
    ratio = jnp.where(jnp.isfinite(total), ratio, jnp.nan)
    # The delta method: a ratio has the error of these terms.
    of_ratio = (near.terms - ratio * spent) / scale
    pairs["selection_fraction"] = 1 - ratio, control_variates.pooled(of_ratio, rho, samples.num_strata)[1]
    if repair:
        error, shown = _of_the_repair(samples, base_samples, near, plain.weights, rho)
        for name, share in (("hull_distance", 1.0), ("selection", 1.0), ("selection_fraction", 1 / scale)):
            pairs[name] = pairs[name][0], jnp.hypot(pairs[name][1], error * share)
        pairs["base_distance"], even, certified = _halves(given, rho, tolerance)
        inside, fits = shown & even & _own(given, plain.weights, rho), fits & certified
    else:
        inside = _inside(*pairs["base_distance"], plain.terms, rho, samples.log_personas.shape[1], total)
    worth = jnp.where(rho > 0, sampled_inputs.effective(samples), jnp.inf).min()
    if samples.log_weights is not None:
        pairs = {name: jnp.where(worth >= EFFECTIVE, jnp.stack(pair), jnp.nan) for name, pair in pairs.items()}
    apart = jnp.abs(base_samples.log_policy - base_samples.log_base).max()
    measured = [apart, *(mean for name, (mean, _) in pairs.items() if next_words or name not in _TOKENS)]
    return SampledBudget(
        **{name: mean for name, (mean, _) in pairs.items()},
        **{f"{name}_se": error for name, (_, error) in pairs.items()},
        weights=near.weights,
        fit_excess=control_variates.pooled(near.optimism, rho)[0],
        effective=worth,
        base_inside=inside & (apart <= sampled_inputs.SCORED_TWICE),
        certified=(fits & token_certified | (rho == 0)).all() & jnp.isfinite(jnp.stack(measured)).all(),
    )


def _nearest(
    drawn: Samples, masses: Float[Array, "C K"] | None, tolerance: Scalar, *most: float
) -> list[control_variates.Nearest]:
    """The nearest mix at every prompt, with each of some largest c in turn."""
    repeat = lambda x: None if x is None else jnp.concatenate([x] * len(most))  # noqa: E731
    largest = jnp.repeat(jnp.array(most), drawn.log_policy.shape[0])
    fit = jax.vmap(
        lambda p, q, c, s, w: control_variates.nearest(
            p, q, tolerance, most=c, masses=s, drawn=w, num_strata=drawn.num_strata
        )
    )
    # All at once, so that the solver is compiled once.
    given = repeat(drawn.log_policy), repeat(drawn.log_personas)
    found = fit(*given, largest, repeat(masses), repeat(drawn.weights))
    return [jax.tree.map(lambda x, i=i: jnp.split(x, len(most))[i], found) for i in range(len(most))]


def _spent(
    samples: Samples,
    near: control_variates.Nearest,
    likeliest: control_variates.Nearest,
    before: Float[Array, "C K"],
) -> Float[Array, "C M"]:
    """Terms of the total, in the plain form at prompts where a persona of the base is not in the policy's samples.

    The nearest mix or the likeliest leaves it out, and the base would hardly have said such samples.
    """
    after = jnp.minimum(near.weights, likeliest.weights)
    silenced = jax.vmap(control_variates.silenced)(
        before, after, samples.log_policy, samples.log_personas, samples.weights
    )
    log_mix = jax.vmap(numerics.log_mix)(jnp.log(likeliest.weights), samples.log_personas)
    likelier = control_variates.weighted(log_mix - samples.log_base, samples.weights).sum(axis=1) > LIKELIER
    silent = silenced & likelier
    terms = jax.vmap(lambda p, q, c, w: control_variates.divergence(p, q, most=c, weights=w))
    return terms(samples.log_policy, samples.log_base, jnp.where(silent, 0.0, 1.0), samples.weights)


def repaired(drawn: Samples, weights: Float[Array, "C K"]) -> Samples:
    """With log p_k = log q_k + log pi0 - log m*, m* of these weights; -inf where nobody can say it."""
    log_mix = numerics.log_mix(jnp.log(weights), drawn.log_personas)
    unsaid = jnp.isneginf(log_mix) | jnp.isneginf(drawn.log_base)
    change = jnp.where(unsaid, -jnp.inf, drawn.log_base - jnp.where(unsaid, 0.0, log_mix))
    log_personas = jnp.where(unsaid[:, None], -jnp.inf, drawn.log_personas + change[:, None])
    return drawn._replace(log_personas=log_personas)


def _to_mix(repaired: Samples) -> Float[Array, "C K M"]:
    """q_k/m* of samples, which is p_k/pi0; 0 where the base cannot say it."""
    log_base = repaired.log_base[:, None]
    return jnp.exp(repaired.log_personas - jnp.where(jnp.isneginf(log_base), 0.0, log_base))


def _of_the_repair(
    samples: Samples,
    base_samples: Samples,
    near: control_variates.Nearest,
    weights: Float[Array, "C K"],
    rho: Float[Array, " C"],
) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """The part of the hull distance's error that the base's samples make, and whether they show what it hangs on."""
    log_mix = numerics.log_mix(jnp.log(near.weights), samples.log_personas)
    terms = jax.vmap(control_variates.of_the_repair)(
        near, samples.log_policy, _to_mix(samples), log_mix, _to_mix(base_samples), weights, samples.weights
    )
    likelier = jnp.where(rho[:, None] > 0, log_mix - samples.log_base, 0.0)
    return control_variates.pooled(terms, rho)[1], (likelier <= np.log(base_samples.log_base.shape[1])).all()


def _halves(
    given: Samples, rho: Float[Array, " C"], tolerance: Scalar
) -> tuple[tuple[Float[Array, ""], Float[Array, ""]], Bool[Array, ""], Bool[Array, " C"]]:
    """How much likelier halves of the base's samples are under the other's mix, its error; whether it is 0; certified.

    Both fits take from it what the jackknife says one of them takes; of the four fourths of a chi-square that are left,
    all are the same one.
    """
    num_prompts, (num_personas, num) = len(rho), given.log_personas.shape[1:]
    half = num // 4 * 2
    halves = jax.tree.map(
        lambda x: jnp.concatenate([x[..., :half], x[..., half : 2 * half]]), given._replace(strata=None)
    )
    (own,) = _nearest(halves, None, tolerance, 0.0)
    mixed = lambda weights: numerics.log_mix(jnp.log(weights), halves.log_personas)  # noqa: E731
    likelier = mixed(jnp.roll(own.weights, num_prompts, axis=0)) - mixed(own.weights) + 2 * own.optimism
    mean, spread = control_variates.pooled(jnp.concatenate(jnp.split(likelier, 2), axis=1), rho)
    error = jnp.sqrt(spread**2 + (rho**2).sum() * 2 * (num_personas - 1) / half**2)
    certified = own.certified.reshape(2, num_prompts).all(axis=0)
    return (mean, error), abs(mean) <= jnp.maximum(3 * error, UNMOVED), certified


def _own(given: Samples, weights: Float[Array, "C K"], rho: Float[Array, " C"]) -> Bool[Array, ""]:
    """Whether ``mean m*/pi0`` is 1, as under the base; within 5 errors, because its tails may be heavy."""
    log_mix = numerics.log_mix(jnp.log(weights), given.log_personas)
    mean, error = control_variates.pooled(jnp.expm1(log_mix - given.log_base), rho)
    return abs(mean) <= jnp.maximum(control_variates.MISSING * error, UNMOVED)


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
