"""Projection onto the convex hull of personas, with a certificate.

``min_w KL(p ‖ sum_k w_k p_k)`` over the simplex. With ``m = sum_k w_k p_k`` and ``c_k = sum_x p(x) p_k(x)/m(x)`` every
feasible w satisfies ``f(w) - f* <= log max_k c_k`` (Jensen's inequality on ``sum_x p log(m*/m)``; Cover 1984 for the
log-optimal portfolio, which is the same problem). Nowhere do the components have to sum to one.

Solved by a primal-dual interior point with Mehrotra's predictor-corrector (Mehrotra 1992; for mixtures Kim, Carbonetto,
Stephens and Anitescu 2020): minimise ``sum w - sum_x p log (P w)`` over w >= 0, whose solution sums to one by itself.
Use float64: float32 can solve to 1e-6 but not certify it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from toypersona.types import Scalar

TO_BOUNDARY = 0.995
PATIENCE = 20
"""Full Newton steps before shorter ones are tried."""

WARM = 1e-3
"""A warm start keeps this much weight on everybody: interior points cannot start on a face."""

MULTIPLIER, WARM_MULTIPLIER = 0.3, 0.03
"""Smallest multipliers to start from. Large ones would drive a warm start back to the middle."""

MAX_ITERATIONS = 100

CACHED = 2**16
"""Numbers in the problems of one batch: more, and they fall out of a core's own cache."""


class Projection(NamedTuple):
    """The nearest point of a hull.

    Attributes:
        weights: w, on the simplex [K].
        distance: KL(p ‖ sum_k w_k p_k), nats; the true distance lies in [distance - gap, distance].
        gap: the certificate log max_k c_k, nats; inf where the distance is.
        certified: the gap is at most the tolerance.
    """

    weights: Float[Array, " K"]
    distance: Float[Array, ""]
    gap: Float[Array, ""]
    certified: Bool[Array, ""]


def project(
    log_p: Float[Array, " N"],
    log_components: Float[Array, "K N"],
    *,
    tolerance: Scalar = 1e-9,
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
        tolerance: nats; iterations stop when the gap is at most this.
        initial_weights: a warm start [K], such as the weights at a neighbouring point.
        max_iterations: Newton steps after which to give up.

    Returns:
        The ``Projection``. ``certified`` is False, and the weights the best found, if the tolerance was not reached;
        the distance is inf if p says something that no component can. For distributions rounding leaves the distance
        right to about 1e-15 nats, so possibly below zero by as much.

    Raises:
        ValueError: the shapes do not fit, or there is nothing to project or nothing to project onto.
    """
    _check(log_p.shape, log_components.shape, None if initial_weights is None else initial_weights.shape)
    return _project(log_p, _hull(log_components), tolerance, initial_weights, max_iterations)


def project_batch(
    log_p: Float[Array, "B N"],
    log_components: Float[Array, "B K N"] | Float[Array, "K N"],
    *,
    tolerance: Scalar = 1e-9,
    initial_weights: Float[Array, "B K"] | None = None,
    batch_size: int | None = None,
) -> Projection:
    """``project`` for many problems, ``batch_size`` at a time: a batch iterates until its slowest member is done.

    Args:
        log_p: [B, N].
        log_components: [B, K, N]; or [K, N], one hull for all of them, which is several times as fast.
        tolerance: nats.
        initial_weights: warm starts [B, K].
        batch_size: problems solved together; by default 8 to 256, as many as a core's cache holds.

    Returns:
        A ``Projection`` with leading axis B.

    Raises:
        ValueError: as ``project``.
    """
    shape = log_components.shape[log_components.ndim == 3 :]
    _check(log_p.shape[1:], shape, None if initial_weights is None else initial_weights.shape[1:])
    shared = _with_products(_hull(log_components)) if log_components.ndim == 2 else None
    if batch_size is None:
        batch_size = min(max(CACHED // (shape[1] if shared else math.prod(shape)), 8), 256)

    def one(problem: tuple[Array, Any, Array | None]) -> Projection:
        p, components, start = problem
        return _project(p, shared or _hull(components), tolerance, start)

    # In equal batches if possible: those left over would be compiled a second time.
    fewest = math.ceil(len(log_p) / batch_size)
    num_batches = next((n for n in range(fewest, 2 * fewest + 1) if len(log_p) % n == 0), fewest)
    batch_size = math.ceil(len(log_p) / num_batches)
    own = None if shared else log_components
    return jax.lax.map(one, (log_p, own, initial_weights), batch_size=batch_size)


def _check(p: tuple[int, ...], components: tuple[int, ...], initial: tuple[int, ...] | None) -> None:
    if len(p) != 1 or len(components) != 2 or components[1:] != p or 0 in components:
        raise ValueError(
            f"Cannot project log_p {p} onto log_components {components}: pass one p [N] and at least one component "
            "[K, N], and vmap over the rest."
        )
    if initial is not None and initial != components[:1]:
        raise ValueError(f"initial_weights {initial} do not fit {components[0]} components: pass one weight for each.")


class _Hull(NamedTuple):
    """Components, each outcome divided by its largest one: a factor that cancels everywhere but in the distance.

    Attributes:
        components: p_k / largest [K, N].
        log_largest: [N], 0 where nobody says it.
        speakable: somebody says it [N].
        products: p_k p_l for k >= l, row by row [K (K + 1) / 2, N]; only where many p share the hull, because then all
            their Hessians are one product with it, and for a single one it would be K times as large as the hull.
    """

    components: Float[Array, "K N"]
    log_largest: Float[Array, " N"]
    speakable: Bool[Array, " N"]
    products: Float[Array, "L N"] | None = None


def _hull(log_components: Float[Array, "K N"]) -> _Hull:
    largest = jax.lax.stop_gradient(log_components.max(axis=0))
    speakable = ~jnp.isneginf(largest)
    largest = jnp.where(speakable, largest, 0.0)
    return _Hull(jnp.exp(log_components - largest[None, :]), largest, speakable)


def _with_products(hull: _Hull) -> _Hull:
    rows, columns = np.tril_indices(hull.components.shape[0])
    return hull._replace(products=jax.lax.stop_gradient(hull.components[rows] * hull.components[columns]))


def _project(
    log_p: Float[Array, " N"],
    hull: _Hull,
    tolerance: Scalar,
    initial_weights: Float[Array, " K"] | None,
    max_iterations: int | Int[Array, ""] = MAX_ITERATIONS,
) -> Projection:
    p = jnp.exp(log_p)
    speakable = jnp.where(hull.speakable, p, 0.0)
    weights, gap = _solve(*jax.lax.stop_gradient((speakable, hull, tolerance, initial_weights)), max_iterations)
    mixed = weights @ hull.components
    log_mix = jnp.log(jnp.where(mixed > 0, mixed, 1.0)) + hull.log_largest
    log_ratio = jnp.where(p > 0, log_p, 0.0) - log_mix
    distance = jnp.where(p > 0, jnp.where(mixed > 0, p * log_ratio, jnp.inf), 0.0).sum()
    gap = jnp.where(jnp.isposinf(distance), jnp.inf, gap)
    return Projection(weights, distance, gap, (gap <= tolerance) & jnp.isfinite(distance))


class _Iterate(NamedTuple):
    """Weights and multipliers, the Hessian there, and the best certificate so far."""

    weights: Float[Array, " K"]
    multipliers: Float[Array, " K"]
    hessian: Float[Array, "K K"]
    best: Float[Array, " K"]
    gap: Float[Array, ""]
    iteration: Int[Array, ""]


def _solve(
    p: Float[Array, " N"],
    hull: _Hull,
    tolerance: Scalar,
    initial_weights: Float[Array, " K"] | None,
    max_iterations: int | Int[Array, ""],
) -> tuple[Float[Array, " K"], Float[Array, ""]]:
    """Weights on the simplex and their certificate."""
    components, num = hull.components, hull.components.shape[0]
    mass = p.sum()
    mass = jnp.where(mass > 0, mass, 1.0)
    curvature = _curvature(hull)

    def evaluate(weights: Array) -> tuple[Array, Array]:
        mixed = weights @ components
        inverse = jnp.where(mixed > 0, 1 / jnp.where(mixed > 0, mixed, 1.0), 0.0)
        hessian = curvature(p / mass * inverse * inverse)
        # The Hessian times w is c. Its largest entry is at least one, rounding aside.
        return hessian, jnp.log(jnp.maximum(jnp.max(hessian @ weights), 1.0))

    def iterate(state: _Iterate) -> _Iterate:
        weights, multipliers = _newton_step(state)
        hessian, gap = evaluate(weights)
        better = gap < state.gap
        best, gap = jnp.where(better, weights, state.best), jnp.where(better, gap, state.gap)
        return _Iterate(weights, multipliers, hessian, best, gap, state.iteration + 1)

    start, least = jnp.ones(num, components.dtype), MULTIPLIER
    if initial_weights is not None:
        start, least = jnp.where(initial_weights > WARM, initial_weights, WARM).astype(start.dtype), WARM_MULTIPLIER
    start = start / start.sum()
    hessian, gap = evaluate(start)
    multipliers = jnp.maximum(1.0 - hessian @ start, least)
    first = _Iterate(start, multipliers, hessian, start, gap, jnp.zeros((), int))
    last = jax.lax.while_loop(lambda s: (s.gap * mass > tolerance) & (s.iteration < max_iterations), iterate, first)
    # A component that says nothing has served as a slack: without it the mix is larger everywhere.
    weights = jnp.where(components.any(axis=1), last.best, 0.0)
    return jnp.where(weights.any(), weights / weights.sum(), start), last.gap * mass


def _curvature(hull: _Hull) -> Callable[[Float[Array, " N"]], Float[Array, "K K"]]:
    """``scale -> sum_x scale(x) p_k(x) p_l(x)``."""
    products = hull.products
    if products is None:
        # An array of its own, because a dot product of this layout is a quarter faster than one of two equal ones.
        transposed = hull.components.T
        return lambda scale: (hull.components * scale[None, :]) @ transposed
    num = hull.components.shape[0]
    place = np.zeros((num, num), int)
    place[np.tril_indices(num)] = np.arange(products.shape[0])
    return lambda scale: (products @ scale)[np.maximum(place, place.T)]


def _newton_step(state: _Iterate) -> tuple[Float[Array, " K"], Float[Array, " K"]]:
    """Mehrotra's predictor and corrector: the next weights, scaled to sum to one, and multipliers."""
    w, s = state.weights, state.multipliers
    num = w.shape[0]
    factor = _cholesky(state.hessian + jnp.diag(s / w))
    dual_residual = 1.0 - state.hessian @ w - s

    def direction(complementarity: Array) -> tuple[Array, Array]:
        dw = _solve_factored(factor, complementarity / w - dual_residual)
        return dw, (complementarity - s * dw) / w

    dw, ds = direction(-w * s)
    mu = (w @ s) / num
    predicted = (w + _reach(w, dw) * dw) @ (s + _reach(s, ds) * ds) / num
    dw, ds = direction(mu * (predicted / mu) ** 3 - w * s - dw * ds)
    # A full Newton step can cycle between two faces; shorter ones do not, and few problems ever come here.
    longest = jnp.where(state.iteration < PATIENCE, 1.0, 0.5)
    w = w + jnp.minimum(longest, TO_BOUNDARY * _reach(w, dw)) * dw
    s = s + jnp.minimum(longest, TO_BOUNDARY * _reach(s, ds)) * ds
    return w / w.sum(), s


def _reach(x: Float[Array, " K"], dx: Float[Array, " K"]) -> Float[Array, ""]:
    """The longest step up to 1/``TO_BOUNDARY`` that keeps x + step dx >= 0."""
    return 1 / jnp.maximum(jnp.max(-dx / x), TO_BOUNDARY)


def _cholesky(matrix: Float[Array, "K K"]) -> Float[Array, "K K"]:
    """Lower Cholesky factor, column by column: unrolled, it beats LAPACK by far on batches of tiny matrices.

    A pivot lost to rounding is replaced by a huge one, so that its variable does not move.
    """
    columns = []
    scale = jnp.finfo(matrix.dtype).eps * jnp.diagonal(matrix)
    for j in range(matrix.shape[0]):
        pivot = jnp.where(matrix[j, j] > scale[j], matrix[j, j], 1 / scale[j])
        column = matrix[:, j] / jnp.sqrt(pivot)
        column = jnp.where(jnp.arange(matrix.shape[0]) < j, 0.0, column.at[j].set(jnp.sqrt(pivot)))
        matrix = matrix - column[:, None] * column[None, :]
        columns.append(column)
    return jnp.stack(columns, axis=1)


def _solve_factored(lower: Float[Array, "K K"], right: Float[Array, " K"]) -> Float[Array, " K"]:
    """Solve L L^T x = right."""
    num = right.shape[0]
    for j in range(num):
        solved = right[j] / lower[j, j]
        right = right.at[j].set(solved) - jnp.where(jnp.arange(num) > j, lower[:, j] * solved, 0.0)
    for j in reversed(range(num)):
        solved = right[j] / lower[j, j]
        right = right.at[j].set(solved) - jnp.where(jnp.arange(num) < j, lower[j] * solved, 0.0)
    return right


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
    impossible = jnp.isneginf(log_base)
    design = jnp.where(
        impossible[None, :], 0.0, jnp.exp(log_personas - jnp.where(impossible, 0.0, 0.5 * log_base)[None, :])
    )
    coefficients = jnp.linalg.lstsq(design.T, root * values)[0]
    return jnp.where(impossible, 0.0, coefficients @ design / jnp.where(impossible, 1.0, root))
