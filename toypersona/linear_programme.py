"""Linear programmes of few constraints and many bounded variables: ``min c·y`` over ``A y >= b``, ``0 <= y <= h``.

A primal-dual interior point with Mehrotra's predictor and corrector (Mehrotra 1992; Wright 1997, chapter 10). Its dual
is ``max b·v - h·t`` over ``v, t >= 0``, ``A^T v - t <= c``, and each step solves one K x K system, K the number of
constraints. Both solutions come back: whoever calls makes them feasible, which certifies an interval. float64.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import interior_point
from toypersona.types import Scalar

MAX_ITERATIONS = 100

TO_BOUNDARY = 0.995
"""Part of the way to the boundary that a step goes at most."""

START = 0.1
"""Smallest slacks to start from."""


class Solution(NamedTuple):
    """The best that was found of either kind, and what the caller's certificate says of it.

    Attributes:
        variables: y [M].
        multipliers: v [K].
        lower: bound that v proves.
        upper: bound that y proves.
    """

    variables: Float[Array, " M"]
    multipliers: Float[Array, " K"]
    lower: Float[Array, ""]
    upper: Float[Array, ""]


class _Point(NamedTuple):
    """All variables are positive: y, h - y, A y - b; and the multipliers of y >= 0, of y <= h, of A y >= b."""

    y: Float[Array, " M"]
    room: Float[Array, " M"]
    above: Float[Array, " K"]
    at_zero: Float[Array, " M"]
    at_most: Float[Array, " M"]
    v: Float[Array, " K"]


class _State(NamedTuple):
    point: _Point
    best: Solution
    iteration: Int[Array, ""]


def solve(
    cost: Float[Array, " M"],
    matrix: Float[Array, "K M"],
    least: Float[Array, " K"],
    most: Float[Array, " M"],
    certify: Callable[[Float[Array, " M"], Float[Array, " K"]], tuple[Float[Array, ""], Float[Array, ""]]],
    tolerance: Scalar,
) -> Solution:
    """Variables and multipliers whose certified bounds are no further apart than the tolerance.

    Args:
        cost: c [M].
        matrix: A [K, M].
        least: b [K].
        most: h > 0 [M]; inf where there is no bound.
        certify: ``(y, v) -> (lower, upper)``, bounds on what is wanted, lower from the multipliers and upper from the
            variables; both given are non-negative, but feasible only nearly.
        tolerance: of upper - lower, at which iterations stop; they also stop after ``MAX_ITERATIONS``.
    """
    bounded = jnp.isfinite(most)
    transposed = matrix.T

    def record(point: _Point, best: Solution) -> Solution:
        lower, upper = certify(point.y, point.v)
        higher, less = lower > best.lower, upper < best.upper
        return Solution(
            jnp.where(less, point.y, best.variables),
            jnp.where(higher, point.v, best.multipliers),
            jnp.where(higher, lower, best.lower),
            jnp.where(less, upper, best.upper),
        )

    def iterate(state: _State) -> _State:
        point = _step(state.point, cost, matrix, transposed, least, bounded)
        return _State(point, record(point, state.best), state.iteration + 1)

    def going(state: _State) -> Array:
        wide = state.best.upper - state.best.lower > tolerance
        return wide & (state.iteration < MAX_ITERATIONS) & jnp.isfinite(state.point.v).all()

    with jax.default_matmul_precision("highest"):
        point = _start(cost, matrix, least, most, bounded)
        infinite = jnp.asarray(jnp.inf, cost.dtype)
        best = record(point, Solution(point.y, point.v, -infinite, infinite))
        return jax.lax.while_loop(going, iterate, _State(point, best, jnp.zeros((), int))).best


def _start(cost: Array, matrix: Array, least: Array, most: Array, bounded: Array) -> _Point:
    y = jnp.where(bounded, jnp.minimum(0.5 * jnp.where(bounded, most, 1.0), 1.0), 1.0)
    v = jnp.full_like(least, 1 / least.shape[0])
    slope = cost - v @ matrix
    return _Point(
        y=y,
        room=jnp.where(bounded, most, 2.0) - y,
        above=jnp.maximum(matrix @ y - least, START),
        at_zero=jnp.maximum(slope, 0.0) + START,
        at_most=jnp.where(bounded, jnp.maximum(-slope, 0.0) + START, 0.0),
        v=v,
    )


def _step(p: _Point, cost: Array, matrix: Array, transposed: Array, least: Array, bounded: Array) -> _Point:
    """One predictor and corrector; where nothing bounds y from above its room stays as it is, its multiplier 0."""
    primal = least - matrix @ p.y + p.above
    dual = cost - p.v @ matrix + p.at_most - p.at_zero
    stiff = p.at_zero / p.y + p.at_most / p.room
    factor = interior_point.cholesky((matrix / stiff[None, :]) @ transposed + jnp.diag(p.above / p.v))
    count = p.v.size + p.y.size + bounded.sum()

    def direction(on_v: Array, on_zero: Array, on_most: Array) -> _Point:
        """Newton's, for changes of the products v above, y at_zero, room at_most."""
        pull = on_zero / p.y - on_most / p.room - dual
        right = primal + on_v / p.v - matrix @ (pull / stiff)
        dv = interior_point.solve_factored(factor, right)
        dy = (dv @ matrix + pull) / stiff
        return _Point(
            y=dy,
            room=jnp.where(bounded, -dy, 0.0),
            above=(on_v - p.above * dv) / p.v,
            at_zero=(on_zero - p.at_zero * dy) / p.y,
            at_most=jnp.where(bounded, (on_most + p.at_most * dy) / p.room, 0.0),
            v=dv,
        )

    def mean(q: _Point) -> Array:
        return (q.v @ q.above + q.y @ q.at_zero + q.room @ q.at_most) / count

    mu = mean(p)
    d = direction(-p.v * p.above, -p.y * p.at_zero, -p.room * p.at_most)
    target = mu * jnp.minimum(mean(_moved(p, d, 1.0)) / mu, 1.0) ** 3
    d = direction(
        target - p.v * p.above - d.v * d.above,
        target - p.y * p.at_zero - d.y * d.at_zero,
        jnp.where(bounded, target - p.room * p.at_most - d.room * d.at_most, 0.0),
    )
    return _moved(p, d, TO_BOUNDARY)


def _moved(p: _Point, d: _Point, part: float) -> _Point:
    """Variables and multipliers as far along the direction as keeps each kind positive, at most 1."""
    variables = _reach((p.y, p.room, p.above), (d.y, d.room, d.above), part)
    multipliers = _reach((p.at_zero, p.at_most, p.v), (d.at_zero, d.at_most, d.v), part)
    lengths = _Point(variables, variables, variables, multipliers, multipliers, multipliers)
    return jax.tree.map(lambda x, dx, length: x + length * dx, p, d, lengths)


def _reach(xs: tuple[Array, ...], dxs: tuple[Array, ...], part: float) -> Array:
    most = [jnp.where(x > 0, -dx / jnp.where(x > 0, x, 1.0), 0.0).max() for x, dx in zip(xs, dxs, strict=True)]
    return jnp.minimum(part / jnp.maximum(jnp.stack(most).max(), part), 1.0)
