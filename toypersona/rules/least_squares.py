"""The natural gradient as a least-squares problem: which logits move log pi most like the advantages.

``min_v E_c E_pi[(J v - A)²] + v^T D v``, J the scores ``grad log pi`` and D the damping: the solution is
``(F + D)^-1 J^T rho pi A``, F the Fisher matrix, and J v is how it moves the policy. By conjugate gradients with the
preconditioner of the policy's ``Chart``: on a table one step is exact, however rare prompts or responses are.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona.policies.policy import Chart
from toypersona.types import Params, Scalar

NOTHING = 1e-3
"""Part of the advantages of the prompt that has the largest below which another's count no more: it has arrived."""

MISSED = 0.1
"""Part to which the slope that a solution leaves is brought, to know about how large its error is."""


class Problem(NamedTuple):
    """The problem at some parameters.

    Attributes:
        rho: probability of each prompt [C].
        probs: pi(x|c) [C, N].
        advantages: A, of mean 0 at every prompt and 0 at prompts of probability 0 [C, N].
        move: ``v -> J v`` [C, N], 0 where pi is.
        gather: ``[C, N] -> J^T (rho pi ·)``, its adjoint.
        chart: the policy's.
    """

    rho: Float[Array, " C"]
    probs: Float[Array, "C N"]
    advantages: Float[Array, "C N"]
    move: Callable[[Params], Float[Array, "C N"]]
    gather: Callable[[Float[Array, "C N"]], Params]
    chart: Chart

    def square(self, values: Float[Array, "C N"]) -> Float[Array, " C"]:
        """Mean square under the policy, prompt by prompt."""
        return (self.probs * values**2).sum(axis=-1)

    def floor(self) -> Float[Array, " C"]:
        """Mean square below which a prompt's moves are rounding errors of another's; inf at those that do not occur."""
        return jnp.where(self.rho > 0, jnp.finfo(self.probs.dtype).eps * self.largest(), jnp.inf)

    def largest(self) -> Float[Array, ""]:
        """The largest mean square of a prompt's advantages."""
        return jnp.where(self.rho > 0, self.square(self.advantages), 0.0).max()


class Climb(NamedTuple):
    """Conjugate gradients on their way.

    Attributes:
        step: number of the next one.
        solution: the sum of the steps.
        slope: what is left, as the recursion has it.
        direction: of the next step.
        left: ``slope · M slope``.
    """

    step: Int[Array, ""]
    solution: Params
    slope: Params
    direction: Params
    left: Float[Array, ""]


def _over(above: Array, below: Array) -> Array:
    return jnp.where(below == 0, 0.0, above / jnp.where(below == 0, 1.0, below))


def _plus(vector: Params, factor: Array, other: Params) -> Params:
    """``vector + factor other`` in the precision of the parameters, whatever that of the law is."""
    return jax.tree.map(lambda x, y: x + factor.astype(x.dtype) * y, vector, other)


def _product(x: Params, y: Params) -> Float[Array, ""]:
    return jnp.asarray(optax.tree.vdot(x, y), jnp.result_type(float))


def solve(problem: Problem, *, tolerance: Scalar, max_iterations: int | Int[Array, ""]) -> Climb:
    """The move v of the logits, the ``solution``.

    Args:
        problem: what to solve.
        tolerance: of ``residual``, and no less than 64 times the precision. The iteration stops where what is left of
            all prompts together, root mean square, is a third of that part of the smallest prompt's share: of its
            probability times the mean square of its advantages and of how it moves first; or where it is rounding.
        max_iterations: it stops there all the same.
    """
    start = _begun(problem, problem.gather(problem.advantages))
    moved = problem.square(problem.move(start.direction))
    damped = _product(start.direction, problem.chart.damp(start.direction))
    length = _over(start.left, problem.rho @ moved + damped)
    each = problem.rho * (problem.square(problem.advantages) + length**2 * moved + problem.floor())
    wanted = jnp.maximum(tolerance, 64 * _precision(problem)) / 3
    allowed = wanted**2 * jnp.where(problem.rho > 0, each, jnp.inf).min()
    return _climbed(problem, start, jnp.maximum(allowed, (8 * _precision(problem)) ** 2 * start.left), max_iterations)


def _precision(problem: Problem) -> float:
    """The coarsest, of the law or of the logits."""
    return max(float(jnp.finfo(x.dtype).eps) for x in (problem.probs, *jax.tree.leaves(problem.chart.logits)))


def _begun(problem: Problem, slope: Params) -> Climb:
    first = problem.chart.invert(slope)
    return Climb(jnp.asarray(0), optax.tree.zeros_like(first), slope, first, _product(slope, first))


def _climbed(problem: Problem, start: Climb, allowed: Float[Array, ""], max_iterations: int | Int[Array, ""]) -> Climb:
    """``(F + D)^-1 slope`` by conjugate gradients, until ``slope · M slope`` of what is left is what is allowed."""
    gather, move, damp, invert = problem.gather, problem.move, problem.chart.damp, problem.chart.invert

    def one(state: Climb) -> Climb:
        product = optax.tree.add(gather(move(state.direction)), damp(state.direction))
        # Of a direction along which only rounding moves the policy, a step would be of any length: there it ends.
        curvature = _product(state.direction, product)
        real = curvature > 64 * _precision(problem) * state.left
        length = jnp.where(real, _over(state.left, curvature), 0.0)
        slope = _plus(state.slope, -length, product)
        correction = invert(slope)
        left = jnp.where(real, _product(slope, correction), 0.0)
        direction = _plus(correction, _over(left, state.left), state.direction)
        return Climb(state.step + 1, _plus(state.solution, length, state.direction), slope, direction, left)

    return jax.lax.while_loop(lambda state: (state.step < max_iterations) & (state.left > allowed), one, start)


def residual(
    problem: Problem, solved: Climb, moved: Float[Array, "C N"], *, max_iterations: int | Int[Array, ""]
) -> Float[Array, ""]:
    """How far from solved it is, at the prompt where that is furthest.

    Of each prompt that occurs: the root mean square under the policy of the move that is missing,
    ``J (F + D)^-1 (J^T rho pi (A - moved) - D v)``, itself solved for until a tenth of that slope is left (``MISSED``),
    relative to that of A and of how the policy moves there, and to no less than ``NOTHING`` times the largest A of a
    prompt.

    Args:
        problem: what was to be solved.
        solved: what ``solve`` returned. The iteration goes on from there: what a new one would take long to find again
            is known.
        moved: how it moves log pi by way of the parameters [C, N].
        max_iterations: as in ``solve``.
    """
    slope = optax.tree.sub(problem.gather(problem.advantages - moved), problem.chart.damp(solved.solution))
    fresh, whole = (_begun(problem, x) for x in (slope, problem.gather(problem.advantages)))
    unforeseen = optax.tree.sub(slope, solved.slope)
    correction = problem.chart.invert(unforeseen)
    further = optax.tree.add(solved.direction, correction)
    # Of another problem's direction, or one that does not climb as it should, nothing is known.
    strange = jnp.maximum(100 * _product(unforeseen, correction), 10 * jnp.abs(_product(slope, further) - fresh.left))
    direction = jax.tree.map(lambda x, y: jnp.where(strange < fresh.left, x, y), further, fresh.direction)
    # Of what is left by rounding there is no solution.
    allowed = jnp.maximum(MISSED**2 * fresh.left, (64 * _precision(problem)) ** 2 * whole.left)
    missing = _climbed(problem, fresh._replace(direction=direction), allowed, max_iterations)
    still = problem.square(problem.move(missing.solution))
    size = problem.square(problem.advantages) + problem.square(moved) + NOTHING**2 * problem.largest()
    return jnp.sqrt(jnp.where(problem.rho > 0, _over(still, size), 0.0).max())
