"""Projection onto the convex hull of personas, with a certificate.

``min_w KL(p ‖ sum_k w_k p_k)`` over the simplex. With ``m = sum_k w_k p_k`` and ``c_k = sum_x p(x) p_k(x)/m(x)`` every
feasible w satisfies ``f(w) - f* <= log max_k c_k`` (Jensen's inequality on ``sum_x p log(m*/m)``; Cover 1984 for the
log-optimal portfolio, which is the same problem). Nowhere do the components have to sum to one. What rounding can have
done is added to distance and gap, so that the truth lies in [distance - gap, distance] in any precision.

Use float64: float32 cannot certify less than about 1e-5 nats.
"""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from toypersona import interior_point, numerics
from toypersona.interior_point import MAX_ITERATIONS
from toypersona.types import Scalar

TIGHTEST = 1e-13
"""Nats asked for by ``tolerance=None``, beside what rounding takes: a distance of 1e-10 has three right digits."""

CACHED = 2**16
"""Numbers in the problems of one batch: more, and they fall out of a core's own cache."""

SMALL = 64
"""Numbers in a hull up to which problems lie side by side along the last axis: so they take half as long to solve, and
with more than some 60 numbers longer."""

UNIT = 2.0**-53
"""The largest relative error of one rounding in float64."""


class Projection(NamedTuple):
    """The nearest point of a hull.

    Attributes:
        weights: w, on the simplex [K].
        distance: KL(p ‖ sum_k w_k p_k), nats, rounded up; the true distance lies in [distance - gap, distance].
        gap: the certificate log max_k c_k and the bound on rounding, nats; inf or nan where the distance is.
        certified: the gap is at most the tolerance.
        rounding: what the distance was rounded up by, nats; without it, it is closer to the truth but may be below it.
    """

    weights: Float[Array, " K"]
    distance: Float[Array, ""]
    gap: Float[Array, ""]
    certified: Bool[Array, ""]
    rounding: Float[Array, ""]


def project(
    log_p: Float[Array, " N"],
    log_components: Float[Array, "K N"],
    *,
    tolerance: Scalar | None = 1e-9,
    initial_weights: Float[Array, " K"] | None = None,
    max_iterations: int | Int[Array, ""] = MAX_ITERATIONS,
) -> Projection:
    """The nearest mix of K components to p, in the sense of KL(p ‖ mix).

    The distance has first derivatives in both arrays: by the envelope theorem they are the ones at fixed weights.

    Args:
        log_p: log-probabilities [N]; -inf allowed.
        log_components: log p_k [K, N]; -inf allowed, also for a whole component, which then gets no weight. They need
            not be normalised, nor p: evaluated at M samples with ``log_p = -log M`` they give the likeliest mix, and
            the distance is ``sum_x p log(p/m)``, of either sign.
        tolerance: nats; iterations stop when the gap is at most this. None: what float64 can certify of this problem,
            1e-13 and twice the bound on rounding, which grows with the outcomes and the size of the log ratios.
        initial_weights: a warm start [K], such as the weights at a neighbouring point.
        max_iterations: Newton steps after which to give up.

    Returns:
        The ``Projection``. ``certified`` is False, and the weights the best found, if the tolerance was not reached or
        is less than the precision can certify; the distance is inf if p says something that no component can, and 0
        if p says nothing. A nan among the log-probabilities makes distance and gap nan, an inf nan or inf.

    Raises:
        ValueError: the shapes do not fit, or there is nothing to project or nothing to project onto.

    Warns:
        UserWarning: float32, the first time.
    """
    _check(log_p.shape, log_components.shape, None if initial_weights is None else initial_weights.shape)
    _check_precision(log_p, log_components)
    return _project(log_p, _hull(log_components), tolerance, initial_weights, max_iterations)


def project_batch(
    log_p: Float[Array, "B N"],
    log_components: Float[Array, "B K N"] | Float[Array, "K N"],
    *,
    tolerance: Scalar | None = 1e-9,
    initial_weights: Float[Array, "B K"] | None = None,
    batch_size: int | None = None,
) -> Projection:
    """``project`` for many problems, ``batch_size`` at a time: a batch iterates until its slowest member is done.

    Args:
        log_p: [B, N].
        log_components: [B, K, N]; or [K, N], one hull for all of them, which is several times as fast.
        tolerance: nats, as in ``project``.
        initial_weights: warm starts [B, K].
        batch_size: problems solved together; by default 8 to 256, as many as a core's cache holds.

    Returns:
        A ``Projection`` with leading axis B, which may be 0.

    Raises:
        ValueError: as ``project``; or the batch size is not positive.
    """
    shape = log_components.shape[log_components.ndim == 3 :]
    _check(log_p.shape[1:], shape, None if initial_weights is None else initial_weights.shape[1:])
    _check_precision(log_p, log_components)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: it has to be at least 1; leave it out to choose by size.")
    if len(log_p) == 0:
        none = jnp.zeros(0, jnp.result_type(log_p, log_components))
        return Projection(jnp.zeros((0, shape[0]), none.dtype), none, none, none > 0, none)
    shared = _with_products(_hull(log_components)) if log_components.ndim == 2 else None
    if batch_size is None:
        batch_size = min(max(CACHED // (shape[1] if shared else math.prod(shape)), 8), 256)

    def one(problem: tuple[Array, Any, Array | None]) -> Projection:
        p, components, start = problem
        return _project(p, shared or _hull(components), tolerance, start)

    if not shared and shape[0] <= interior_point.UNROLLED and math.prod(shape) <= SMALL:
        return _side_by_side(one, (log_p, log_components, initial_weights), len(log_p), batch_size)
    # In equal batches if possible: those left over would be compiled a second time.
    fewest = math.ceil(len(log_p) / batch_size)
    num_batches = next((n for n in range(fewest, 2 * fewest + 1) if len(log_p) % n == 0), fewest)
    batch_size = math.ceil(len(log_p) / num_batches)
    own = None if shared else log_components
    return jax.lax.map(one, (log_p, own, initial_weights), batch_size=batch_size)


def _side_by_side(solve: Callable[[Any], Projection], problems: Any, num: int, batch_size: int) -> Projection:
    """Small problems along the last axis, in equal batches; the last problem fills up the last batch."""
    num_batches = math.ceil(num / batch_size)
    places = np.minimum(np.arange(num_batches * math.ceil(num / num_batches)), num - 1).reshape(num_batches, -1)
    found = jax.lax.map(solve, jax.tree.map(lambda x: jnp.moveaxis(x[places], 1, -1), problems))
    return jax.tree.map(lambda x: jnp.moveaxis(x, -1, 1).reshape(-1, *x.shape[1:-1])[:num], found)


def _check(p: tuple[int, ...], components: tuple[int, ...], initial: tuple[int, ...] | None) -> None:
    if len(p) != 1 or len(components) != 2 or components[1:] != p or 0 in components:
        raise ValueError(
            f"Cannot project log_p {p} onto log_components {components}: pass one p [N] and at least one component "
            "[K, N], and vmap over the rest."
        )
    if initial is not None and initial != components[:1]:
        raise ValueError(f"initial_weights {initial} do not fit {components[0]} components: pass one weight for each.")


def _check_precision(log_p: Array, log_components: Array) -> None:
    if _unit(log_p, log_components) > UNIT:
        _warn_of_float32()


@functools.cache
def _warn_of_float32() -> None:
    warnings.warn(
        "A hull distance was asked for in float32, which cannot certify less than about 1e-5 nats: for geometry start "
        'with jax.config.update("jax_enable_x64", True).',
        stacklevel=4,
    )


def _unit(*arrays: Array) -> float:
    """The largest relative error of one rounding."""
    return max(float(jnp.finfo(array.dtype).eps) for array in arrays) / 2


class _Hull(NamedTuple):
    """Components, each outcome divided by its largest one: a factor that cancels everywhere but in the distance.

    Attributes:
        components: p_k / largest [K, N].
        log_largest: [N], 0 where nobody says it.
        speakable: somebody says it [N].
        products: p_k p_l for k >= l, row by row [K (K + 1) / 2, N]; only where many p share the hull, because then all
            their Hessians are one product with it, and for a single one it would be K times as large as the hull.
    """

    components: Float[Array, "K N *lanes"]
    log_largest: Float[Array, "N *lanes"]
    speakable: Bool[Array, "N *lanes"]
    products: Float[Array, "L N"] | None = None


def _hull(log_components: Float[Array, "K N *lanes"]) -> _Hull:
    largest = jax.lax.stop_gradient(log_components.max(axis=0))
    speakable = ~jnp.isneginf(largest)
    largest = jnp.where(speakable, largest, 0.0)
    return _Hull(jnp.exp(log_components - largest[None]), largest, speakable)


def _with_products(hull: _Hull) -> _Hull:
    rows, columns = np.tril_indices(hull.components.shape[0])
    return hull._replace(products=jax.lax.stop_gradient(hull.components[rows] * hull.components[columns]))


def _project(
    log_p: Float[Array, "N *lanes"],
    hull: _Hull,
    tolerance: Scalar | None,
    initial_weights: Float[Array, "K *lanes"] | None,
    max_iterations: int | Int[Array, ""] = MAX_ITERATIONS,
) -> Projection:
    p, impossible = jnp.exp(log_p), jnp.isneginf(log_p)
    ratio_to_largest = jnp.where(impossible, 0.0, log_p) - hull.log_largest
    above, rounded = jax.lax.stop_gradient(_rounding(p, log_p, ratio_to_largest, hull))
    if tolerance is None:
        # Of float64 even where the precision is less, so that less is not certified.
        tolerance = TIGHTEST + 2 * rounded * (UNIT / _unit(log_p, hull.components))
    speakable = jnp.where(hull.speakable, p, 0.0)
    # Below its own rounding the gap is noise, on which iterations would be lost.
    goal = jnp.maximum(tolerance - rounded, rounded / 16)
    # Not the shorter products that GPUs use by default.
    with jax.default_matmul_precision("highest"):
        weights, gap = interior_point.solve(
            *jax.lax.stop_gradient((speakable, hull.components, hull.products, goal, initial_weights)), max_iterations
        )
        mixed = interior_point.mix(weights, hull.components)
    log_ratio = ratio_to_largest - jnp.log(jnp.where(mixed > 0, mixed, 1.0))
    terms = jnp.where(impossible, 0.0, jnp.where(mixed == 0, jnp.inf, p * log_ratio))
    gap = gap + rounded
    distance = jnp.where(jnp.isnan(gap), jnp.nan, terms.sum(axis=0) + above)
    gap = jnp.where(jnp.isposinf(distance), jnp.inf, gap)
    return Projection(weights, distance, gap, (gap <= tolerance) & jnp.isfinite(distance), above)


def _rounding(p: Array, log_p: Array, ratio_to_largest: Array, hull: _Hull) -> tuple[Array, Array]:
    """Bounds on what rounding, also of the arguments, does to the distance and, beside the solver, to the interval.

    To first order in the unit, for the uniform mix, than which the nearest is nearer: then |log p/m| is at most ``b``.
    Each of log p, log m and their ratio is wrong by its own size and a few units, and by K for the mix; the sum over
    outcomes is a tree. The certificate is a matrix product, which adds N numbers one after the other at worst.
    """
    num_components, num_outcomes = hull.components.shape[:2]
    unit = _unit(p, hull.components)
    b = jnp.abs(ratio_to_largest) + math.log(num_components)
    terms = p * (1 + b) * (2 * jnp.abs(log_p) + (num_components + 16))
    above = unit * jnp.where((p > 0) & hull.speakable, terms, 0.0).sum(axis=0)
    return above, 3 * above + unit * num_outcomes * p.sum(axis=0)


class Repaired(NamedTuple):
    """Personas of which a base is a mix, made from others of which it is none.

    Attributes:
        log_personas: log p_k = log q_k + log pi0 - log m* [K, N], nats.
        weights: w* of the nearest mix m* [K]; exactly 0 for whom it leaves out.
        distance: KL(pi0 ‖ m*), how far the base was from a mix of the personas given, nats, as in ``Projection``; inf
            where it says what none of them can.
        gap: the certificate of the distance, nats.
        certified: the distance is, and every p_k of positive weight sums to 1 within 1e-9.
    """

    log_personas: Float[Array, "K N"]
    weights: Float[Array, " K"]
    distance: Float[Array, ""]
    gap: Float[Array, ""]
    certified: Bool[Array, ""]


NORMALISED = 1e-9
"""By how much the sum of a repaired persona may have missed 1."""


def repaired(log_base: Float[Array, " N"], log_given: Float[Array, "K N"]) -> Repaired:
    """The personas given, changed as little as makes the base a mix of them: ``p_k = q_k pi0 / m*``.

    m* is the mix nearest to the base, whose optimality says ``sum_x pi0 q_k/m* = 1`` wherever w*_k > 0: these p_k are
    probabilities, and ``sum_k w*_k p_k = pi0``. Whom the nearest mix leaves out sums to at most 1, and so do all mixes.
    What the base cannot say, nobody can. If it is a mix of the personas given, they stay what they are.

    If the base says what none of them can, no repair is possible: the distance is inf, nothing is certified, and the
    p_k, none of which says it, mix to the base without it. Derivatives are those at fixed weights, so not all there is.

    Args:
        log_base: log pi0 [N]; -inf allowed.
        log_given: log q_k [K, N], of personas that sum to one; -inf allowed, also for a whole persona.

    Raises:
        ValueError: as ``project``.
    """
    nearest = project(log_base, log_given, tolerance=None)
    hull, impossible = _hull(log_given), jnp.isneginf(log_base)
    sayable = jnp.where(hull.speakable, jnp.exp(log_base), 0.0)
    fitted = jax.lax.stop_gradient((sayable, hull.components, nearest.weights))
    with jax.default_matmul_precision("highest"):
        weights, missed = interior_point.polished(*fitted)
    log_mix = numerics.log_mix(jnp.log(weights), log_given)
    unsaid = impossible | jnp.isneginf(log_mix)
    change = jnp.where(unsaid, -jnp.inf, log_base - jnp.where(unsaid, 0.0, log_mix))
    log_personas = jnp.where(unsaid[None, :], -jnp.inf, log_given + change[None, :])
    certified = nearest.certified & (missed <= NORMALISED)
    return Repaired(log_personas, weights, nearest.distance, nearest.gap, certified)


def tangent_fit(
    log_base: Float[Array, " N"], log_personas: Float[Array, "K N"], values: Float[Array, " N"]
) -> Float[Array, " N"]:
    """Least-squares fit of a function by the personas' likelihood ratios, weighted by the base.

    The directions in which the base can move inside the hull are ``sum_k a_k p_k/pi0``; where every gate is positive
    they span the same functions as the responsibilities. What the fit leaves over is orthogonal, under the base, to all
    of them.

    Args:
        log_base: log pi0 [N].
        log_personas: log p_k [K, N]; any of them may be equal.
        values: the function [N].

    Returns:
        The fitted function [N], in the units of ``values``; 0 where pi0 is 0.
    """
    root = jnp.exp(0.5 * log_base)
    impossible = root == 0
    design = jnp.where(
        impossible[None, :], 0.0, jnp.exp(log_personas - jnp.where(impossible, 0.0, 0.5 * log_base)[None, :])
    )
    coefficients = jnp.linalg.lstsq(design.T, root * jnp.where(impossible, 0.0, values))[0]
    return jnp.where(impossible, 0.0, coefficients @ design / jnp.where(impossible, 1.0, root))
