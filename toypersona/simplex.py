"""The minimum of a smooth convex function of weights on the simplex, with its certificate.

A primal-dual interior point with Mehrotra's predictor and corrector (Mehrotra 1992), the sum of the weights held at 1.
Where its long steps do not arrive, as where a function is nearly linear but for kinks, Newton's method follows the
logarithmic barrier with a search along each step, which is slower and safe. By the slopes f_k at weights w the value
there is within ``sum_k w_k f_k - min_k f_k`` of the minimum (Frank and Wolfe 1956; Jaggi 2013). float64; rounding of
the slopes is not counted.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from toypersona import interior_point
from toypersona.types import Scalar

MAX_ITERATIONS = 100

WARM = 1e-3
"""A warm start keeps this much weight on everybody."""

CAREFUL_ITERATIONS = 300
"""Of the safe method, after the fast one."""

HALVINGS = 24
"""How often a safe step may be halved."""

OVERSHOT = 0.25
"""Part of the slope along a safe step that may be left at its end with the other sign."""

CENTRED = 0.1
"""Smallest complementarity w_k s_k to start from, in units of the gap."""

Slopes = Callable[[Float[Array, " K"]], tuple[Float[Array, " K"], Float[Array, "K K"]]]
"""``weights -> (slopes, Hessian)`` of a convex function."""


class Minimum(NamedTuple):
    """Weights whose value is within ``gap`` of the minimum."""

    weights: Float[Array, " K"]
    gap: Float[Array, ""]


class _Iterate(NamedTuple):
    weights: Float[Array, " K"]
    multipliers: Float[Array, " K"]
    slopes: Float[Array, " K"]
    hessian: Float[Array, "K K"]
    best: Float[Array, " K"]
    gap: Float[Array, ""]
    iteration: Int[Array, ""]


def minimise(
    function: Slopes,
    allowed: Bool[Array, " K"],
    dtype: jnp.dtype,
    *,
    tolerance: Scalar,
    initial_weights: Float[Array, " K"] | None = None,
    max_iterations: int = MAX_ITERATIONS,
) -> Minimum:
    """The best weights found; who is not allowed has a weight of 0.

    Args:
        function: slopes and Hessian at any weights that are positive where it is allowed.
        allowed: whose weight may be positive [K]; nothing has a meaning where nobody's may.
        dtype: of the weights.
        tolerance: iterations stop when the gap is at most this.
        initial_weights: a warm start [K].
        max_iterations: after so many of the fast method, the safe one starts anew.
    """

    def evaluate(weights: Float[Array, " K"]) -> tuple[Array, Array, Array]:
        slopes, hessian = function(weights)
        gap = weights @ slopes - jnp.where(allowed, slopes, jnp.inf).min()
        return slopes, hessian, jnp.maximum(gap, 0.0)

    def iterate(state: _Iterate) -> _Iterate:
        weights, multipliers = _step(state, allowed)
        slopes, hessian, gap = evaluate(weights)
        best, least = jnp.where(gap < state.gap, weights, state.best), jnp.minimum(gap, state.gap)
        return _Iterate(weights, multipliers, slopes, hessian, best, least, state.iteration + 1)

    start = jnp.ones(allowed.shape, dtype) if initial_weights is None else jnp.maximum(initial_weights, WARM)
    start = jnp.where(allowed, start, 0.0)
    start = start / jnp.where(allowed.any(), start.sum(), 1.0)
    slopes, hessian, gap = evaluate(start)
    multipliers = jnp.maximum(slopes - start @ slopes, 0.0) + CENTRED * gap
    first = _Iterate(start, multipliers, slopes, hessian, start, gap, jnp.zeros((), int))
    going = lambda s: (s.gap > tolerance) & (s.iteration < max_iterations)  # noqa: E731
    last = jax.lax.while_loop(going, iterate, first)
    return _careful(function, allowed, start, Minimum(last.best, last.gap), tolerance)


def _step(state: _Iterate, allowed: Bool[Array, " K"]) -> tuple[Float[Array, " K"], Float[Array, " K"]]:
    """The next weights, which sum to one, and multipliers; who is not allowed keeps a weight of 0."""
    w, s = jnp.where(allowed, state.weights, 1.0), jnp.where(allowed, state.multipliers, 0.0)
    both, num = allowed[:, None] & allowed[None, :], jnp.maximum(allowed.sum(), 1)
    factor = interior_point.cholesky(jnp.where(both, state.hessian, 0.0) + jnp.diag(jnp.where(allowed, s / w, 1.0)))
    even = interior_point.solve_factored(factor, allowed.astype(w.dtype))
    # Measured from their mean, of which the multiplier of the sum takes what is left.
    slopes = jnp.where(allowed, state.slopes - state.weights @ state.slopes, 0.0)

    def direction(complementarity: Array) -> tuple[Array, Array]:
        along = interior_point.solve_factored(factor, jnp.where(allowed, complementarity / w - slopes, 0.0))
        dw = along - even * (along.sum() / even.sum())
        return dw, jnp.where(allowed, complementarity / w - s - s * dw / w, 0.0)

    dw, ds = direction(jnp.zeros_like(w))
    mu = (w @ s) / num
    predicted = (w + _reach(w, dw) * dw) @ (s + _reach(s, ds) * ds) / num
    dw, ds = direction(mu * (predicted / jnp.where(mu > 0, mu, 1.0)) ** 3 - dw * ds)
    longest = jnp.where(state.iteration < interior_point.PATIENCE, 1.0, 0.5)
    w = jnp.where(allowed, w + jnp.minimum(longest, interior_point.TO_BOUNDARY * _reach(w, dw)) * dw, 0.0)
    s = s + jnp.minimum(longest, interior_point.TO_BOUNDARY * _reach(s, ds)) * ds
    return w / w.sum(), s


def _reach(x: Float[Array, " K"], dx: Float[Array, " K"]) -> Float[Array, ""]:
    """The longest step up to 1/``TO_BOUNDARY`` that keeps x + step dx >= 0."""
    ratio = jnp.where(x > 0, -dx / jnp.where(x > 0, x, 1.0), 0.0)
    return 1 / jnp.maximum(ratio.max(), interior_point.TO_BOUNDARY)


def _careful(
    function: Slopes, allowed: Bool[Array, " K"], start: Float[Array, " K"], found: Minimum, tolerance: Scalar
) -> Minimum:
    """The barrier ``f(w) - mu sum_k log w_k`` minimised for smaller and smaller mu; what was found already, if good."""
    count = jnp.maximum(allowed.sum(), 1)

    def inverse(w: Array) -> Array:
        return jnp.where(allowed, 1 / jnp.where(allowed, w, 1.0), 0.0)

    def iterate(state: tuple[Array, ...]) -> tuple[Array, ...]:
        w, mu, best, least, iteration = state
        slopes, hessian = function(w)
        gap = jnp.maximum(w @ slopes - jnp.where(allowed, slopes, jnp.inf).min(), 0.0)
        best, least = jnp.where(gap < least, w, best), jnp.minimum(gap, least)
        wanted = jnp.where(allowed, slopes - w @ slopes - mu * inverse(w), 0.0)
        both = allowed[:, None] & allowed[None, :]
        curvature = jnp.diag(jnp.where(allowed, mu * inverse(w) ** 2, 1.0))
        factor = interior_point.cholesky(jnp.where(both, hessian, 0.0) + curvature)
        even = interior_point.solve_factored(factor, allowed.astype(w.dtype))
        along = interior_point.solve_factored(factor, -wanted)
        dw = jnp.where(allowed, along - even * (along.sum() / even.sum()), 0.0)
        longest = jnp.minimum(interior_point.TO_BOUNDARY * _reach(w, dw), 1.0)
        lengths = longest * 0.5 ** jnp.arange(HALVINGS)

        def slope(length: Array) -> Array:
            there = w + length * dw
            return (function(there)[0] - mu * inverse(there)) @ dw

        fall = -(wanted @ dw)
        fine = jax.vmap(slope)(lengths) <= OVERSHOT * fall
        length = jnp.where(fine.any(), lengths[jnp.argmax(fine)], 0.0)
        w = w + length * dw
        # Near the barrier's minimum, or where rounding hides it.
        settled = (fall <= 0.25 * mu) | ~fine.any()
        return w / w.sum(), jnp.where(settled, 0.1 * mu, mu), best, least, iteration + 1

    slopes, _ = function(start)
    mu = jnp.maximum(start @ slopes - jnp.where(allowed, slopes, jnp.inf).min(), tolerance) / count
    going = lambda s: (s[3] > tolerance) & (s[4] < CAREFUL_ITERATIONS)  # noqa: E731
    last = jax.lax.while_loop(going, iterate, (start, mu, *found, jnp.zeros((), int)))
    return Minimum(last[2], last[3])
