"""The likeliest mix: ``min_w -sum_x p(x) log sum_k w_k p_k(x)`` over the simplex, with its certificate.

A primal-dual interior point with Mehrotra's predictor-corrector (Mehrotra 1992; for mixtures Kim, Carbonetto, Stephens
and Anitescu 2020): minimise ``sum w - sum_x p log (P w)`` over w >= 0, whose solution sums to one by itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from toypersona.types import Scalar

TO_BOUNDARY = 0.995
PATIENCE = 20
"""Full Newton steps before shorter ones are tried."""

RESET = 5
"""From twice as many Newton steps on, multipliers are at least 1 - c, and set anew every so many."""

WARM = 1e-3
"""A warm start keeps this much weight on everybody: interior points cannot start on a face."""

MULTIPLIER, WARM_MULTIPLIER = 0.3, 0.03
"""Smallest multipliers to start from. Large ones would drive a warm start back to the middle."""

MAX_ITERATIONS = 100

UNROLLED = 8
"""Columns up to which elimination is unrolled."""


class _Iterate(NamedTuple):
    """Weights and multipliers, the Hessian there, and the best certificate so far."""

    weights: Float[Array, " K"]
    multipliers: Float[Array, " K"]
    hessian: Float[Array, "K K"]
    best: Float[Array, " K"]
    gap: Float[Array, ""]
    iteration: Int[Array, ""]


def solve(
    p: Float[Array, " N"],
    components: Float[Array, "K N"],
    products: Float[Array, "L N"] | None,
    tolerance: Scalar,
    initial_weights: Float[Array, " K"] | None,
    max_iterations: int | Int[Array, ""],
) -> tuple[Float[Array, " K"], Float[Array, ""]]:
    """Weights on the simplex and their certificate."""
    num = components.shape[0]
    mass = p.sum()
    mass = jnp.where(mass > 0, mass, 1.0)
    curvature = _curvature(components, products)

    def evaluate(weights: Array) -> tuple[Array, Array, Array]:
        mixed = weights @ components
        inverse = jnp.where(mixed > 0, 1 / jnp.where(mixed > 0, mixed, 1.0), 0.0)
        hessian = curvature(p / mass * inverse * inverse)
        # The Hessian times w is c. Its largest entry is at least one, rounding aside.
        slopes = hessian @ weights
        return hessian, slopes, jnp.log(jnp.maximum(jnp.max(slopes), 1.0))

    def iterate(state: _Iterate) -> _Iterate:
        weights, multipliers = _newton_step(state)
        hessian, slopes, gap = evaluate(weights)
        # c is far from linear where p says what a mix hardly can. There multipliers lose the weights, and steps cycle.
        late, anew = state.iteration >= 2 * RESET, state.iteration % RESET == 0
        held = jnp.where(anew, 0.1 * (weights @ multipliers) / num / weights, multipliers)
        multipliers = jnp.where(late, jnp.maximum(1.0 - slopes, held), multipliers)
        better = gap < state.gap
        best, gap = jnp.where(better, weights, state.best), jnp.where(better, gap, state.gap)
        return _Iterate(weights, multipliers, hessian, best, gap, state.iteration + 1)

    start, least = jnp.ones(num, components.dtype), MULTIPLIER
    if initial_weights is not None:
        usable = (initial_weights > WARM) & jnp.isfinite(initial_weights)
        start, least = jnp.where(usable, initial_weights, WARM).astype(start.dtype), WARM_MULTIPLIER
    start = start / start.sum()
    hessian, slopes, gap = evaluate(start)
    multipliers = jnp.maximum(1.0 - slopes, least)
    first = _Iterate(start, multipliers, hessian, start, gap, jnp.zeros((), int))
    last = jax.lax.while_loop(lambda s: (s.gap * mass > tolerance) & (s.iteration < max_iterations), iterate, first)
    # A component that says nothing has served as a slack: without it the mix is larger everywhere.
    weights = jnp.where(components.any(axis=1), last.best, 0.0)
    return jnp.where(weights.any(), weights / weights.sum(), start), last.gap * mass


POLISHING = 8
"""Projected Newton steps: near the solution each squares the error, once it is known which weights are 0."""


def polished(
    p: Float[Array, " N"], components: Float[Array, "K N"], weights: Float[Array, " K"]
) -> tuple[Float[Array, " K"], Float[Array, ""]]:
    """Weights that are nearly a solution, made one to rounding: an interior point leaves a little to everybody.

    With ``c_k = sum_x p p_k/m`` a solution has c_k = 1 where w_k > 0 and c_k <= 1 elsewhere, if p sums to one, as which
    it is taken.

    Returns:
        The weights, of which some are exactly 0, and the most by which one of these conditions is missed; inf where p
        says what no component does.
    """
    p = p / jnp.where(p.any(), p.sum(), 1.0)

    def evaluate(w: Array) -> tuple[Array, Array]:
        mixed = w @ components
        inverse = jnp.where(mixed > 0, 1 / jnp.where(mixed > 0, mixed, 1.0), jnp.inf)
        slopes = components @ jnp.where(p > 0, p * inverse, 0.0)
        hessian = (components * jnp.where(p > 0, p * inverse * inverse, 0.0)[None, :]) @ components.T
        return slopes, hessian

    def missed(w: Array, slopes: Array) -> Array:
        most = jnp.where(w > 0, jnp.abs(slopes - 1), jnp.maximum(slopes - 1, 0.0)).max()
        return jnp.where(jnp.isfinite(most), most, jnp.inf)

    def step(state: tuple[Array, ...], _: None) -> tuple[tuple[Array, ...], None]:
        w, best, least = state
        slopes, hessian = evaluate(w)
        miss = missed(w, slopes)
        best, least = jnp.where(miss < least, w, best), jnp.minimum(miss, least)
        # Alone, it would be moved to 0 or below.
        held = w * jnp.diagonal(hessian) <= 1 - slopes
        free = jnp.outer(~held, ~held)
        matrix = jnp.where(free, hessian, jnp.eye(len(w), dtype=w.dtype))
        moved = w + solve_factored(cholesky(matrix), jnp.where(held, -w, slopes - 1))
        moved = jnp.maximum(jnp.where(held, 0.0, moved), 0.0)
        total = moved.sum()
        sound = jnp.isfinite(total) & (total > 0)
        return (jnp.where(sound, moved / jnp.where(sound, total, 1.0), best), best, least), None

    start = (weights, weights, jnp.asarray(jnp.inf, weights.dtype))
    (_, best, least), _ = jax.lax.scan(step, start, length=POLISHING + 1)
    return best, least


def _curvature(
    components: Float[Array, "K N"], products: Float[Array, "L N"] | None
) -> Callable[[Float[Array, " N"]], Float[Array, "K K"]]:
    """``scale -> sum_x scale(x) p_k(x) p_l(x)``."""
    if products is None:
        # An array of its own, because a dot product of this layout is a quarter faster than one of two equal ones.
        transposed = components.T
        return lambda scale: (components * scale[None, :]) @ transposed
    num = components.shape[0]
    place = np.zeros((num, num), int)
    place[np.tril_indices(num)] = np.arange(products.shape[0])
    return lambda scale: (products @ scale)[np.maximum(place, place.T)]


def _newton_step(state: _Iterate) -> tuple[Float[Array, " K"], Float[Array, " K"]]:
    """Mehrotra's predictor and corrector: the next weights, scaled to sum to one, and multipliers."""
    w, s = state.weights, state.multipliers
    num = w.shape[0]
    factor = cholesky(state.hessian + jnp.diag(s / w))
    dual_residual = 1.0 - state.hessian @ w - s

    def direction(complementarity: Array) -> tuple[Array, Array]:
        dw = solve_factored(factor, complementarity / w - dual_residual)
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


def cholesky(matrix: Float[Array, "K K"]) -> Float[Array, "K K"]:
    """Lower Cholesky factor, column by column: unrolled, it beats LAPACK by far on batches of tiny matrices.

    A pivot lost to rounding is replaced by a huge one, so that its variable does not move.
    """
    places = jnp.arange(matrix.shape[0])
    scale = jnp.finfo(matrix.dtype).eps * jnp.diagonal(matrix)

    def eliminate(j: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        left, lower = state
        pivot = jnp.where(left[j, j] > scale[j], left[j, j], 1 / scale[j])
        column = left[:, j] / jnp.sqrt(pivot)
        column = jnp.where(places < j, 0.0, column.at[j].set(jnp.sqrt(pivot)))
        return left - column[:, None] * column[None, :], lower.at[:, j].set(column)

    return _one_by_one(places.size, eliminate, (matrix, jnp.zeros_like(matrix)))[1]


def solve_factored(lower: Float[Array, "K K"], right: Float[Array, " K"]) -> Float[Array, " K"]:
    """Solve L L^T x = right."""
    num = right.shape[0]
    places = jnp.arange(num)

    def forward(j: Any, right: Array) -> Array:
        solved = right[j] / lower[j, j]
        return right.at[j].set(solved) - jnp.where(places > j, lower[:, j] * solved, 0.0)

    def back(i: Any, right: Array) -> Array:
        j = num - 1 - i
        solved = right[j] / lower[j, j]
        return right.at[j].set(solved) - jnp.where(places < j, lower[j] * solved, 0.0)

    return _one_by_one(num, back, _one_by_one(num, forward, right))


def _one_by_one(num: int, body: Callable[[Any, Any], Any], state: Any) -> Any:
    """``fori_loop`` from 0, unrolled where ``num`` is small: 32 columns take five times as long to compile so."""
    if num > UNROLLED:
        return jax.lax.fori_loop(0, num, body, state)
    for j in range(num):
        state = body(j, state)
    return state
