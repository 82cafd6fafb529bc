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

    weights: Float[Array, "K *lanes"]
    multipliers: Float[Array, "K *lanes"]
    hessian: Float[Array, "K K *lanes"]
    best: Float[Array, "K *lanes"]
    gap: Float[Array, "*lanes"]
    iteration: Int[Array, "*lanes"]


def solve(
    p: Float[Array, "N *lanes"],
    components: Float[Array, "K N *lanes"],
    products: Float[Array, "L N"] | None,
    tolerance: Scalar | Float[Array, "*lanes"],
    initial_weights: Float[Array, "K *lanes"] | None,
    max_iterations: int | Int[Array, ""],
) -> tuple[Float[Array, "K *lanes"], Float[Array, "*lanes"]]:
    """Weights on the simplex and their certificate.

    A last axis holds small problems side by side: processors calculate along it, and a vmap would put it in front.
    """
    num, lanes = components.shape[0], p.shape[1:]
    mass = p.sum(axis=0)
    mass = jnp.where(mass > 0, mass, 1.0)
    share, curvature = p / mass[None], _curvature(components, products)

    def evaluate(weights: Array) -> tuple[Array, Array, Array]:
        mixed = mix(weights, components)
        inverse = jnp.where(mixed > 0, 1 / jnp.where(mixed > 0, mixed, 1.0), 0.0)
        hessian = curvature(share * inverse * inverse)
        # The Hessian times w is c. Its largest entry is at least one, rounding aside.
        slopes = mix(weights, hessian)
        return hessian, slopes, jnp.log(jnp.maximum(jnp.max(slopes, axis=0), 1.0))

    def unsolved(state: _Iterate) -> Array:
        return (state.gap * mass > tolerance) & (state.iteration < max_iterations)

    def iterate(state: _Iterate) -> _Iterate:
        weights, multipliers = _newton_step(state)
        hessian, slopes, gap = evaluate(weights)
        # c is far from linear where p says what a mix hardly can. There multipliers lose the weights, and steps cycle.
        late, anew = state.iteration >= 2 * RESET, state.iteration % RESET == 0
        held = jnp.where(anew[None], 0.1 * (weights * multipliers).sum(axis=0)[None] / num / weights, multipliers)
        multipliers = jnp.where(late[None], jnp.maximum(1.0 - slopes, held), multipliers)
        better = gap < state.gap
        best, gap = jnp.where(better[None], weights, state.best), jnp.where(better, gap, state.gap)
        after = _Iterate(weights, multipliers, hessian, best, gap, state.iteration + 1)
        if not lanes:
            return after
        going = unsolved(state)
        keep = lambda new, old: jnp.where(going[(None,) * (new.ndim - 1)], new, old)  # noqa: E731
        return jax.tree.map(keep, after, state)

    start, least = jnp.ones((num, *lanes), components.dtype), MULTIPLIER
    if initial_weights is not None:
        usable = (initial_weights > WARM) & jnp.isfinite(initial_weights)
        start, least = jnp.where(usable, initial_weights, WARM).astype(start.dtype), WARM_MULTIPLIER
    start = start / start.sum(axis=0)[None]
    hessian, slopes, gap = evaluate(start)
    multipliers = jnp.maximum(1.0 - slopes, least)
    first = _Iterate(start, multipliers, hessian, start, gap, jnp.zeros(lanes, int))
    last = jax.lax.while_loop(lambda state: unsolved(state).any(), iterate, first)
    # A component that says nothing has served as a slack: without it the mix is larger everywhere.
    weights = jnp.where(components.any(axis=1), last.best, 0.0)
    normalised = weights / weights.sum(axis=0)[None]
    return jnp.where(weights.any(axis=0)[None], normalised, start), last.gap * mass


def mix(weights: Float[Array, "K *lanes"], components: Float[Array, "K N *lanes"]) -> Float[Array, "N *lanes"]:
    """``sum_k w_k p_k``."""
    return weights @ components if weights.ndim == 1 else (weights[:, None] * components).sum(axis=0)


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
    components: Float[Array, "K N *lanes"], products: Float[Array, "L N"] | None
) -> Callable[[Float[Array, "N *lanes"]], Float[Array, "K K *lanes"]]:
    """``scale -> sum_x scale(x) p_k(x) p_l(x)``."""
    num = components.shape[0]
    place = np.zeros((num, num), int)
    place[np.tril_indices(num)] = np.arange(num * (num + 1) // 2)
    place = np.maximum(place, place.T)
    if components.ndim > 2:

        def one_by_one(scale: Array) -> Array:
            scaled = components * scale[None]
            each = [(scaled[i] * components[j]).sum(axis=0) for i, j in zip(*np.tril_indices(num), strict=True)]
            return jnp.stack([each[i] for i in place.flat]).reshape(num, num, *scale.shape[1:])

        return one_by_one
    if products is None:
        # An array of its own, because a dot product of this layout is a quarter faster than one of two equal ones.
        transposed = components.T
        return lambda scale: (components * scale[None, :]) @ transposed
    return lambda scale: (products @ scale)[place]


def _newton_step(state: _Iterate) -> tuple[Float[Array, "K *lanes"], Float[Array, "K *lanes"]]:
    """Mehrotra's predictor and corrector: the next weights, scaled to sum to one, and multipliers."""
    w, s = state.weights, state.multipliers
    num = w.shape[0]
    diagonal = jnp.eye(num, dtype=w.dtype).reshape(num, num, *[1] * (w.ndim - 1))
    factor = cholesky(state.hessian + diagonal * (s / w)[None])
    dual_residual = 1.0 - mix(w, state.hessian) - s

    def direction(complementarity: Array) -> tuple[Array, Array]:
        dw = solve_factored(factor, complementarity / w - dual_residual)
        return dw, (complementarity - s * dw) / w

    dw, ds = direction(-w * s)
    mu = (w * s).sum(axis=0) / num
    predicted = ((w + _reach(w, dw)[None] * dw) * (s + _reach(s, ds)[None] * ds)).sum(axis=0) / num
    dw, ds = direction((mu * (predicted / mu) ** 3)[None] - w * s - dw * ds)
    # A full Newton step can cycle between two faces; shorter ones do not, and few problems ever come here.
    longest = jnp.where(state.iteration < PATIENCE, 1.0, 0.5)
    w = w + jnp.minimum(longest, TO_BOUNDARY * _reach(w, dw))[None] * dw
    s = s + jnp.minimum(longest, TO_BOUNDARY * _reach(s, ds))[None] * ds
    return w / w.sum(axis=0)[None], s


def _reach(x: Float[Array, "K *lanes"], dx: Float[Array, "K *lanes"]) -> Float[Array, "*lanes"]:
    """The longest step up to 1/``TO_BOUNDARY`` that keeps x + step dx >= 0."""
    return 1 / jnp.maximum(jnp.max(-dx / x, axis=0), TO_BOUNDARY)


def cholesky(matrix: Float[Array, "K K *lanes"]) -> Float[Array, "K K *lanes"]:
    """Lower Cholesky factor, column by column: unrolled, it beats LAPACK by far on batches of tiny matrices.

    A pivot lost to rounding is replaced by a huge one, so that its variable does not move.
    """
    if matrix.shape[0] <= UNROLLED:
        return _small_cholesky(matrix)
    places = jnp.arange(matrix.shape[0])
    scale = jnp.finfo(matrix.dtype).eps * jnp.diagonal(matrix)

    def eliminate(j: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        left, lower = state
        pivot = jnp.where(left[j, j] > scale[j], left[j, j], 1 / scale[j])
        column = left[:, j] / jnp.sqrt(pivot)
        column = jnp.where(places < j, 0.0, column.at[j].set(jnp.sqrt(pivot)))
        return left - column[:, None] * column[None, :], lower.at[:, j].set(column)

    return jax.lax.fori_loop(0, places.size, eliminate, (matrix, jnp.zeros_like(matrix)))[1]


def _small_cholesky(matrix: Float[Array, "K K *lanes"]) -> Float[Array, "K K *lanes"]:
    """Entry by entry."""
    num = matrix.shape[0]
    left = [[matrix[i, j] for j in range(i + 1)] for i in range(num)]
    lower = [[jnp.zeros_like(left[0][0])] * num for _ in range(num)]
    for j in range(num):
        scale = jnp.finfo(matrix.dtype).eps * matrix[j, j]
        lower[j][j] = jnp.sqrt(jnp.where(left[j][j] > scale, left[j][j], 1 / scale))
        for i in range(j + 1, num):
            lower[i][j] = left[i][j] / lower[j][j]
            for k in range(j + 1, i + 1):
                left[i][k] = left[i][k] - lower[i][j] * lower[k][j]
    return jnp.stack([jnp.stack(row) for row in lower])


def solve_factored(lower: Float[Array, "K K *lanes"], right: Float[Array, "K *lanes"]) -> Float[Array, "K *lanes"]:
    """Solve L L^T x = right."""
    num = right.shape[0]
    places = jnp.arange(num)
    if num <= UNROLLED:
        x = list(right)
        for j in range(num):
            x[j] = x[j] / lower[j, j]
            x[j + 1 :] = [x[i] - lower[i, j] * x[j] for i in range(j + 1, num)]
        for j in reversed(range(num)):
            x[j] = x[j] / lower[j, j]
            x[:j] = [x[i] - lower[j, i] * x[j] for i in range(j)]
        return jnp.stack(x)

    def forward(j: Any, right: Array) -> Array:
        solved = right[j] / lower[j, j]
        return right.at[j].set(solved) - jnp.where(places > j, lower[:, j] * solved, 0.0)

    def back(i: Any, right: Array) -> Array:
        j = num - 1 - i
        solved = right[j] / lower[j, j]
        return right.at[j].set(solved) - jnp.where(places < j, lower[j] * solved, 0.0)

    return jax.lax.fori_loop(0, num, back, jax.lax.fori_loop(0, num, forward, right))
