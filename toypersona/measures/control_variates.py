"""KL(pi‖q) from samples of pi, with control variates: as sharp at weak drift as at strong.

For samples of pi and ``l = log pi/q``, ``E[q/pi] = 1`` leaves a term whose mean is known::

    KL(pi‖q) = E[l + c (exp(-l) - 1)]         for any c

With c = 1 no term is negative, each is of the size of the divergence, and n samples give it to ``sqrt(2/n)`` of itself,
however small it is (k3 of Schulman 2020); with c = 0 the error is ``sqrt(2 KL/n)``. Far away ``exp(-l)`` has tails that
no sample shows, so c falls to 0 there. Its size is fitted on the other half of the samples, so that it adds little
bias; whether the mean is missed is asked of both halves.

The nearest mix ``m = sum_k w_k p_k`` minimises the same expression; at c = 1 that costs K KL/n of optimism, not K/n.

Samples of another law q are weighted by W = pi/q. Weights whose mean was set to 1 have set log pi, too: a sample moves
the mean of W f(log pi) by ``W f - (W - 1) (E_pi f + E_pi f')``, a term whose mean is the same and whose spread is the
error. Samples may be strata, of each persona as many, the first of everybody before the second of anybody: each has the
error of its own mean.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from toypersona import hulls, interior_point, numerics
from toypersona.types import Scalar

TAME = 0.3
"""E[(q/pi - 1)^2] from which c is 0: about twice the divergence."""

MISSING = 5.0
"""Standard errors by which ``E[q/pi]`` misses 1 where pi cannot say all that q can: its mean is not known then."""

ROUNDING = 1e-4
"""What it may miss anyway."""

SILENCED = 4.0
"""Factor by which a persona's expected number of samples, and half of one, fell, from which it counts as silenced."""

SHOWN = 0.5
"""Part of what a persona says that samples have, ``mean p_k/pi``, below which they lack it."""

ACTIVE = 1e-6
"""Smallest weight of a persona that is in the mix: the solver leaves less to the others."""

BINDING = 10.0
"""Samples, for each one drawn, that every persona says for sure: they keep the sum of the weights at 1."""


def _ratio(log_q: Float[Array, "*batch M"], log_p: Float[Array, " M"]) -> Float[Array, "*batch M"]:
    """q/pi - 1; a cut-off keeps what c multiplies by 0 finite."""
    return jnp.expm1(jnp.minimum(log_q - jnp.broadcast_to(log_p, log_q.shape), 50.0))


Weights = Float[Array, "*#batch M"] | None
"""Of samples of another law than pi, of mean 1; None for samples of pi."""


def weighted(values: Float[Array, "*batch M"], weights: Weights) -> Float[Array, "*batch M"]:
    """What each sample adds to the mean under pi."""
    return values if weights is None else values * jnp.broadcast_to(weights, values.shape)


def normalised(
    values: Float[Array, "*batch M"], weights: Weights, slope: Float[Array, "*#batch M"]
) -> Float[Array, "*batch M"]:
    """The same with what it adds through log pi, by which values change by ``slope``; the mean is as before.

    Weights whose mean was set to 1 have set log pi: a sample of weight W moves it by 1 - W.
    """
    if weights is None:
        return values
    moved = weighted(values + slope, weights).mean(axis=-1, keepdims=True)
    return moved + weighted(values - moved, weights)


def deviations(values: Float[Array, "*batch M"], num_strata: int = 1) -> Float[Array, "*batch M"]:
    """From the mean of each sample's stratum."""
    strata = jnp.swapaxes(values.reshape(*values.shape[:-1], -1, num_strata), -1, -2)
    return jnp.swapaxes(strata - strata.mean(axis=-1, keepdims=True), -1, -2).reshape(values.shape)


def _coefficient(ratio: Float[Array, " M"], weights: Weights) -> Float[Array, " M"]:
    """C for every sample, of a size from the other half; 0 where both together miss the mean."""
    # Weights of mean 1 have set pi, and with it how far the mean of q/pi may be from 1 by chance.
    half, lacking = ratio.shape[0] // 2, normalised(ratio, weights, -1 - ratio)
    size = weighted(ratio**2, weights).reshape(2, half).mean(axis=1)[::-1]
    missed, error = jnp.abs(lacking.mean()), lacking.std() / jnp.sqrt(ratio.shape[0])
    tame = jnp.maximum(1 - (size / TAME) ** 2, 0.0)
    return jnp.repeat(jnp.where(missed > MISSING * error + ROUNDING, 0.0, tame), half)


def divergence(
    log_p: Float[Array, " M"], log_q: Float[Array, " M"], *, most: Scalar = 1.0, weights: Weights = None
) -> Float[Array, " M"]:
    """Terms whose mean estimates KL(pi‖q), from log-probabilities (nats) of an even number of samples.

    ``most`` is the largest c; 0 gives the plain form, where ``silenced`` says that samples do not show all of q.
    """
    ratio = _ratio(log_q, log_p)
    control = most * _coefficient(ratio, weights)
    return normalised(log_p - log_q + control * ratio, weights, 1 - control * (1 + ratio))


def silenced(
    before: Float[Array, " K"],
    after: Float[Array, " K"],
    log_p: Float[Array, " M"],
    log_components: Float[Array, "K M"],
    weights: Weights = None,
) -> Bool[Array, ""]:
    """Whether a persona of the mix ``before`` is (nearly) absent from the one ``after``, and what it says from samples.

    Then they have no response in which q/pi is large: E[q/pi] misses 1 by what it said, and nothing shows that. Of a
    persona that others talk like, the samples have what it says: ``mean p_k/pi`` is about 1.
    """
    num_samples, shown = log_p.shape[0], weighted(1 + _ratio(log_components, log_p), weights).mean(axis=1)
    fell = (num_samples * before + 0.5) > SILENCED * (num_samples * after + 0.5)
    return (fell & (shown < SHOWN)).any()


class Nearest(NamedTuple):
    """The mix nearest to a policy, from samples.

    Attributes:
        terms: their mean estimates the hull distance, nats [M].
        optimism: what of each term makes up for weights that were fitted to the same samples, nats [M].
        weights: of the nearest mix [K].
        certified: the fit reached its tolerance, of a problem whose weights add up to 1 but for ``BINDING``: within a
            thousandth of a standard error of the minimum.
        control: c of every sample [M].
    """

    terms: Float[Array, " M"]
    optimism: Float[Array, " M"]
    weights: Float[Array, " K"]
    certified: Bool[Array, ""]
    control: Float[Array, " M"]


def nearest(
    log_p: Float[Array, " M"],
    log_components: Float[Array, "K M"],
    tolerance: Scalar,
    *,
    most: Scalar = 1.0,
    masses: Float[Array, " K"] | None = None,
    drawn: Weights = None,
    num_strata: int = 1,
) -> Nearest:
    """The hull distance of a policy from an even number of its samples.

    Args:
        log_p: log pi of samples of pi, nats [M].
        log_components: log p_k of the same samples [K, M].
        tolerance: nats to which the fit is certified.
        most: largest c; 0 gives the plain form, ``mean log pi/m`` at the likeliest mix.
        masses: what each p_k sums to over all there is [K]; by default 1.
        drawn: weights of the samples, if they are another law's, of mean 1; they have set log pi, too [M].
        num_strata: which samples are of, in turn.
    """
    num_samples = log_p.shape[0]
    # 1 - E[m/pi], which the known mean of the control variate lacks of 0.
    lacking = 0.0 if masses is None else 1 - masses

    def excess(log_mix: Float[Array, " M"], weights: Float[Array, " K"]) -> Float[Array, " M"]:
        ratio = _ratio(log_mix, log_p)
        return ratio if masses is None else ratio + weights @ lacking

    def refit(control: Float[Array, " M"], _: None) -> tuple[Float[Array, " M"], tuple[Array, ...]]:
        weights, certified = _fit(log_p, log_components, control, tolerance, lacking, drawn)
        log_mix = numerics.log_mix(jnp.log(weights), log_components)
        return most * _coefficient(excess(log_mix, weights), drawn), (control, log_mix, weights, certified)

    # First with c as it is near the hull, then as it is found. In a loop, so that the solver is compiled once.
    start = jnp.full(num_samples, most, log_p.dtype)
    both = jax.lax.scan(refit, start, length=2)[1]
    control, log_mix, weights, certified = jax.tree.map(lambda x: x[-1], both)
    slope = 1 - control * (1 + _ratio(log_mix, log_p))
    optimism = _optimism(jnp.exp(log_components - log_mix[None, :]), slope, weights, drawn, num_strata)
    terms = normalised(log_p - log_mix + control * excess(log_mix, weights), drawn, slope)
    return Nearest(terms + optimism, optimism, weights, certified, control)


def _fit(
    log_p: Float[Array, " M"],
    log_components: Float[Array, "K M"],
    control: Float[Array, " M"],
    tolerance: Scalar,
    lacking: Float[Array, " K"] | float = 0.0,
    drawn: Weights = None,
) -> tuple[Float[Array, " K"], Bool[Array, ""]]:
    """The weights w on the simplex that minimise ``mean[c (m/pi - E m/pi) - log m]``.

    ``hulls.project`` minimises ``sum_k w_k - mean log m`` over w >= 0: weights that count a_k instead of 1 are its
    components divided by a_k. The sum of weights is held at 1 by one more outcome, certain under every component.
    """
    num_personas, num_samples = log_components.shape
    cost = 1 + weighted(control[None, :] * _ratio(log_components, log_p), drawn).mean(axis=1)
    cost = cost + weighted(control, drawn).mean() * lacking
    cost = (cost + BINDING) / (1 + BINDING)
    sure = jnp.zeros((num_personas, 1), log_components.dtype)
    shares = weighted(jnp.full(num_samples, 1 / num_samples), drawn)
    found = hulls.project(
        jnp.log(jnp.append(shares, BINDING) / (1 + BINDING)),
        jnp.concatenate([log_components, sure], axis=1) - jnp.log(cost)[:, None],
        tolerance=tolerance / (1 + BINDING),
    )
    weights = found.weights / cost
    return weights / weights.sum(), found.certified


def _optimism(
    ratios: Float[Array, "K M"],
    slope: Float[Array, " M"],
    weights: Float[Array, " K"],
    drawn: Weights,
    num_strata: int,
) -> Float[Array, " M"]:
    """What leaving a sample out would change, to first order: the jackknife's correction of a minimum for its bias.

    Args:
        ratios: p_k/m of the nearest mix m [K, M].
        slope: 1 - c m/pi, by which they make the gradient of each sample's term [M].
        weights: of the mix; what is 0 stays there [K].
        drawn: as of ``nearest``.
        num_strata: likewise.
    """
    num_samples, active = ratios.shape[1], weights > ACTIVE
    ratios = jnp.where(active[:, None], ratios, 0.0)
    # Terms of the gradient change by log pi as m/pi does.
    gradients = normalised(ratios * slope[None, :], drawn, ratios * (1 - slope)[None, :])
    gradients = deviations(gradients, num_strata)
    return 0.5 * (gradients * (_inverse(ratios, active, drawn) @ gradients)).sum(axis=0) / num_samples


def _inverse(ratios: Float[Array, "K M"], active: Bool[Array, " K"], drawn: Weights = None) -> Float[Array, "K K"]:
    """Of the Hessian in the active weights, whose sum is held; ``ratios`` are 0 for the others."""
    hessian = weighted(ratios, drawn) @ ratios.T / ratios.shape[1] + BINDING * jnp.outer(active, active)
    # Personas that are alike leave a direction without curvature, and without gradient.
    hessian += jnp.diag(jnp.where(active, 1e-9, 1.0))
    # Not by LAPACK: on large batches inside loops it has been seen to wait for itself for ever.
    solve = jax.vmap(interior_point.solve_factored, in_axes=(None, 0))
    return solve(interior_point.cholesky(hessian), jnp.eye(hessian.shape[0], dtype=hessian.dtype))


def of_the_repair(
    near: Nearest,
    log_p: Float[Array, " M"],
    to_mix: Float[Array, "K M"],
    log_mix: Float[Array, " M"],
    base_to_mix: Float[Array, "K B"],
    weights: Float[Array, " K"],
    drawn: Weights = None,
) -> Float[Array, " B"]:
    """What each sample of the base does to a hull distance through w*, the weights by which personas were repaired.

    With ``r_k = q_k/m*`` a sample moves w* by ``H^-1 (r - mean r)``, ``H = mean[r r^T]`` over the base's samples, and
    the mean of the policy's terms has the slope ``mean[r (1 - c m/pi)]`` in it. What personas without weight in m* sum
    to is known by the base's samples only; what r of the others says of it is already in w*.

    Args:
        near: the policy's nearest mix of repaired personas, m.
        log_p: log pi of its samples, nats [M].
        to_mix: r of its samples [K, M].
        log_mix: log m of its samples, nats [M].
        base_to_mix: r of the base's samples [K, B].
        weights: w* [K].
        drawn: weights of the policy's samples, as of ``nearest`` [M].

    Returns:
        Nats [B], of mean 0: the mean of as many independent ones is the error.
    """
    active = weights > ACTIVE
    slope = 1 - near.control * (1 + _ratio(log_mix, log_p))
    gradient = jnp.where(active, weighted(to_mix * slope[None, :], drawn).mean(axis=1), 0.0)
    rest = base_to_mix - base_to_mix.mean(axis=1, keepdims=True)
    known = jnp.where(active[:, None], base_to_mix, 0.0)
    moved = _inverse(known, active) @ jnp.where(active[:, None], rest, 0.0)
    left = rest - (base_to_mix @ known.T / base_to_mix.shape[1]) @ moved
    return gradient @ moved - weighted(near.control, drawn).mean() * (jnp.where(active, 0.0, near.weights) @ left)


def pooled(
    terms: Float[Array, "C M"], rho: Float[Array, " C"], num_strata: int = 1
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean over prompts, of probability rho, and samples, which are of strata in turn; and its standard error.

    The error is widened by twice the squared skewness of the mean, so that 1.96 of it cover 95% of draws although terms
    near the hull are like squares of normal variables (the two-sided Edgeworth correction, Hall 1992, has about once;
    samples show about half of the skewness there is).
    """
    # What is asked never does not count, however far away.
    terms = jnp.where(rho[:, None] > 0, terms, 0.0)
    num_samples, rest = terms.shape[1], deviations(terms, num_strata)
    variance = rho**2 @ (rest**2).sum(axis=1) / (num_samples * (num_samples - num_strata))
    third = rho**3 @ (rest**3).mean(axis=1) / num_samples**2
    skewness = third / jnp.where(variance > 0, variance, 1.0) ** 1.5
    return rho @ terms.mean(axis=1), jnp.sqrt(variance) * (1 + 2 * skewness**2)
