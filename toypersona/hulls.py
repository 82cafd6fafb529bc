"""Projection onto the convex hull of personas, with a certificate.

``min_w KL(p ‖ sum_k w_k p_k)`` over the simplex. With ``m = sum_k w_k p_k`` and ``c_k = sum_x p(x) p_k(x)/m(x)`` every
feasible w satisfies ``f(w) - f* <= log max_k c_k`` (Jensen on f* with the optimal weights; Cover 1984 for the
log-optimal portfolio, which is the same problem).

Solved by a primal-dual interior point with Mehrotra's predictor-corrector (Mehrotra 1992; for mixtures Kim, Carbonetto,
Stephens and Anitescu 2020): minimise ``sum w - sum_x p log (P w)`` over w >= 0, whose solution sums to one by itself.
Use float64: float32 can solve to 1e-6 but not certify it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float

from toypersona import numerics
from toypersona.types import Scalar

TO_BOUNDARY = 0.995
PATIENCE = 12
"""Full Newton steps before shorter ones are tried."""

WARM = 1e-3
"""A warm start keeps this much weight on everybody: interior points cannot start on a face."""


class Projection(NamedTuple):
    """The nearest point of a hull.

    Attributes:
        weights: w, on the simplex [K].
        distance: KL(p ‖ sum_k w_k p_k), nats; the true distance lies in [distance - gap, distance].
        gap: the certificate log max_k c_k, nats.
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
    max_iterations: int = 100,
) -> Projection:
    """The nearest mix of K components to p, in the sense of KL(p ‖ mix).

    Differentiable in both arrays: by the envelope theorem the distance's derivative is the one at fixed weights.

    Args:
        log_p: log-probabilities [N]; -inf allowed.
        log_components: log p_k [K, N]; -inf allowed, also for a whole component, which then gets no weight. They need
            not be normalised (nor p): evaluated at M samples with ``log_p = -log M`` they give the likeliest mix.
        tolerance: nats; iterations stop when the gap is at most this.
        initial_weights: a warm start [K], such as the weights at a neighbouring point.
        max_iterations: Newton steps after which to give up.

    Returns:
        The ``Projection``. ``certified`` is False, and the weights the best found, if the tolerance was not reached;
        the distance is inf if p says something that no component can.
    """
    possible = ~jnp.isneginf(log_components)
    speakable = possible.any(axis=0)
    weights, gap = _solve(
        *jax.lax.stop_gradient(_scaled(log_p, log_components, possible)),
        possible.any(axis=1),
        tolerance,
        initial_weights,
        max_iterations,
    )
    log_mix = logsumexp(jnp.where(speakable[None, :], log_components, 0.0), axis=0, b=weights[:, None])
    log_mix = jnp.where(speakable, log_mix, -jnp.inf)
    # The sum of p log(p/m), written so that nothing cancels as m -> p; the last term vanishes for distributions.
    distance = numerics.kl_divergence(log_p, log_mix) - (jnp.exp(log_mix).sum() - jnp.exp(log_p).sum())
    return Projection(weights, distance, gap, (gap <= tolerance) & jnp.isfinite(distance))


def project_batch(
    log_p: Float[Array, "B N"],
    log_components: Float[Array, "B K N"],
    *,
    tolerance: Scalar = 1e-9,
    batch_size: int = 256,
) -> Projection:
    """``project`` for many problems, ``batch_size`` at a time: a batch iterates until its slowest member is done.

    Args:
        log_p: [B, N].
        log_components: [B, K, N].
        tolerance: nats.
        batch_size: problems solved together.

    Returns:
        A ``Projection`` with leading axis B.
    """
    num = log_p.shape[0]
    size = min(batch_size, num)
    # Filling the last batch up compiles the solver once; lax.map's own remainder would compile it again.
    filled = jnp.minimum(jnp.arange(-(-num // size) * size), num - 1)
    found = jax.lax.map(
        lambda pair: project(*pair, tolerance=tolerance), (log_p[filled], log_components[filled]), batch_size=size
    )
    return jax.tree.map(lambda x: x[:num], found)


def _scaled(log_p: Array, log_components: Array, possible: Array) -> tuple[Float[Array, " N"], Float[Array, "K N"]]:
    """P and the components, each outcome divided by its largest component: a factor that cancels everywhere."""
    largest = jnp.where(possible, log_components, -jnp.inf).max(axis=0)
    spoken = ~jnp.isneginf(largest)
    scaled = jnp.exp(log_components - jnp.where(spoken, largest, 0.0)[None, :])
    return jnp.where(spoken, jnp.exp(log_p), 0.0), jnp.where(possible, scaled, 0.0)


class _Iterate(NamedTuple):
    """Weights and their multipliers, and the best certificate so far."""

    weights: Float[Array, " K"]
    multipliers: Float[Array, " K"]
    best: Float[Array, " K"]
    gap: Float[Array, ""]
    count: Float[Array, ""]


def _solve(p, components, active, tolerance, initial_weights, max_iterations) -> tuple[Array, Array]:
    """Weights on the simplex and their certificate."""
    num = components.shape[0]
    start = active.astype(components.dtype) if initial_weights is None else jnp.maximum(initial_weights, WARM) * active
    start = start / jnp.maximum(start.sum(), 1.0 if initial_weights is None else WARM)
    mass = p.sum()

    def ratios(weights: Array) -> tuple[Array, Array]:
        mixed = weights @ components
        return jnp.where(p > 0, p / jnp.where(mixed > 0, mixed, 1.0), 0.0), jnp.where(mixed > 0, 1 / mixed, 0.0)

    def certificate(weights: Array) -> Array:
        """For weights that sum to one."""
        return jnp.log(jnp.max(components @ ratios(weights)[0]) / mass)

    def step(state: _Iterate) -> _Iterate:
        w, s = state.weights, state.multipliers
        over, inverse = ratios(w)
        gradient = 1.0 - components @ over
        hessian = (components * (over * inverse)[None, :]) @ components.T
        factor = _cholesky(hessian + jnp.diag(s / w))
        dual_residual = gradient - s

        def direction(complementarity: Array) -> tuple[Array, Array]:
            dw = _solve_factored(factor, complementarity / w - dual_residual)
            return dw, (complementarity - s * dw) / w

        dw, ds = direction(-w * s)
        mu = (w @ s) / num
        reach = ((w + _reach(w, dw) * dw) @ (s + _reach(s, ds) * ds)) / num
        dw, ds = direction(mu * (reach / mu) ** 3 - w * s - dw * ds)
        # A full Newton step can cycle between two faces; shorter ones do not, and few problems ever come here.
        longest = jnp.where(state.count < PATIENCE, 1.0, 0.5)
        w = w + jnp.minimum(longest, TO_BOUNDARY * _reach(w, dw)) * dw
        s = s + jnp.minimum(longest, TO_BOUNDARY * _reach(s, ds)) * ds
        normalised = w / w.sum()
        gap = certificate(normalised)
        better = gap < state.gap
        return _Iterate(
            w, s, jnp.where(better, normalised, state.best), jnp.where(better, gap, state.gap), state.count + 1
        )

    gradient = 1.0 - components @ ratios(start)[0]
    first = _Iterate(start, jnp.maximum(gradient, 0.1), start, certificate(start), jnp.zeros((), int))
    last = jax.lax.while_loop(lambda s: (s.gap > tolerance) & (s.count < max_iterations), step, first)
    return last.best, jnp.maximum(last.gap, 0.0)


def _reach(x: Float[Array, " K"], dx: Float[Array, " K"]) -> Float[Array, ""]:
    """The longest step up to 1/``TO_BOUNDARY`` that keeps x + step dx >= 0."""
    return jnp.min(jnp.where(dx < 0, -x / jnp.where(dx < 0, dx, -1.0), 1 / TO_BOUNDARY))


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
