"""Exact policy gradients: expectations are sums over every response, so nothing is sampled and ``key`` is not used.

Objective ``J = E_c[ E_pi[r] - beta KL(pi(.|c)‖pi0(.|c)) ]``. Its gradient is ``E_pi[A grad log pi]`` with the advantage
``A = r - beta log(pi/pi0)`` minus its mean (Sutton et al. 1999). The natural gradient (Amari 1998, Kakade 2001) divides
by the Fisher matrix ``F = E_c E_pi[grad log pi grad log pi^T]``; on a tabular policy it is A itself, and its path is
the exponential tilt's. What has probability 0, prompt or response, reaches no sum.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona import lanes, numerics
from toypersona.policies.policy import Chart, all_probs
from toypersona.rules import least_squares
from toypersona.rules.advantages import SPREAD
from toypersona.rules.rule import Optimizer, Task, UpdateRule, ascend, is_off
from toypersona.types import Key, Params, Scalar

DAMPING = 1e-6
"""Of the natural gradient."""

TOLERANCE = 1e-8
"""Of the natural gradient. Strong paths magnify what is left unsolved: of 378 points of a map 3 were off by 13 to 76%
at 1e-4, and by less than 4e-6 at this, for a tenth more time."""


class Paid(NamedTuple):
    """What a response brings at each of C prompts; the last two [C, 1].

    Inside of ``lanes.slopes`` N is split into parts of a response, and lanes stand behind.

    Attributes:
        reward: [C, N].
        log_base: log pi0 [C, N], or None without a penalty.
        kl_coefficient: beta.
        log_prompts: log rho(c).
    """

    reward: Float[Array, "C *N"]
    log_base: Float[Array, "C *N"] | None
    kl_coefficient: Float[Array, "C *_"]
    log_prompts: Float[Array, "C *_"]


def _paid(task: Task, kl_coefficient: Scalar, log_base: Float[Array, "C N"] | None) -> Paid:
    if log_base is None and not is_off(kl_coefficient):
        raise ValueError("kl_coefficient needs log_base, the base policy's log-probabilities [C, N]: pass both.")
    log_prompts = task.log_prompts[:, None]
    return Paid(task.table(), log_base, jnp.broadcast_to(kl_coefficient, log_prompts.shape), log_prompts)


def _returns(probs: Float[Array, "C *N"], paid: Paid) -> Float[Array, "C *N"]:
    """``r - beta log(pi/pi0)``; what is impossible, and everything at prompts of probability 0, is paid nothing."""
    returns = paid.reward
    if paid.log_base is not None:
        spent = numerics.log(jnp.maximum(probs, jnp.finfo(probs.dtype).tiny)) - paid.log_base
        # What neither can say costs nothing: -inf less -inf would be nan.
        returns = returns - paid.kl_coefficient * jnp.where((probs == 0) & jnp.isneginf(paid.log_base), 0.0, spent)
    # Before any sum, not after: 0 times what is paid for the impossible may be nan.
    return jnp.where((paid.log_prompts > -jnp.inf) & (probs > 0), returns, 0.0)


def _advantages(probs: Float[Array, "C N"], returns: Float[Array, "C N"]) -> Float[Array, "C N"]:
    """Returns less the mean of their prompt."""
    return returns - (probs * returns).sum(axis=-1, keepdims=True)


def _shares(probs: Float[Array, "C *N"], paid: Paid) -> Float[Array, "C *N"]:
    """The objective's derivatives by probabilities, up to a constant, which ``lanes.slopes`` takes off."""
    return jnp.exp(paid.log_prompts) * _returns(probs, paid)


def _wide(task: Task, params: Params) -> Any:
    """Parameters may be narrower than rewards: sums over responses are taken in the wider precision."""
    return jnp.result_type(task.log_prompts, task.table(), *jax.tree.leaves(params))


def policy_gradient(
    task: Task,
    *,
    learning_rate: Scalar,
    kl_coefficient: Scalar = 0.0,
    log_base: Float[Array, "C N"] | None = None,
    normalise: bool = False,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Exact (vanilla) policy gradient; the info holds the ``gradient_norm``.

    Args:
        task: its policy and its reward are listed.
        learning_rate: step length; 0 is the identity.
        kl_coefficient: beta, weight of KL(pi‖pi0) in the objective.
        log_base: log pi0 [C, N], needed for a KL coefficient.
        normalise: divide each prompt's advantages by their standard deviation, as GRPO does with a large group.
        optimizer: optax constructor that takes the learning rate.

    Raises:
        ValueError: a KL coefficient without ``log_base``, or a reward that is a function.
    """
    paid = _paid(task, kl_coefficient, log_base)

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        del key
        widened = lambda made: jax.tree.map(lambda x: x.astype(_wide(task, params)), made)  # noqa: E731
        every = lambda function: lambda p: widened(jax.vmap(function, (None, 0))(p, task.prompts))  # noqa: E731
        if task.policy.halves is not None and not normalise:
            made, pull_back = jax.vjp(every(task.policy.halves), params)
            (gradient,) = pull_back(lanes.slopes(_shares, made, paid))
        else:
            probs, pull_back = jax.vjp(every(task.policy.probs), params)
            advantages = _advantages(probs, _returns(probs, paid))
            if normalise:
                variance = (probs * advantages**2).sum(axis=-1, keepdims=True)
                advantages = advantages / (jnp.sqrt(variance) + SPREAD)
            (gradient,) = pull_back(jnp.exp(paid.log_prompts) * advantages)
        return gradient, {"gradient_norm": optax.tree.norm(gradient)}

    return ascend(direction, optimizer(learning_rate))


def natural_gradient(
    task: Task,
    *,
    learning_rate: Scalar,
    kl_coefficient: Scalar = 0.0,
    log_base: Float[Array, "C N"] | None = None,
    optimizer: Optimizer = optax.sgd,
    damping: Scalar = DAMPING,
    tolerance: Scalar = TOLERANCE,
    max_iterations: int | Int[Array, ""] = 1000,
) -> UpdateRule:
    """Exact natural policy gradient: ``(F + D)^-1 grad J``, the parameters' move that comes nearest to the advantages.

    On a table each step adds the learning rate to the strength, at every prompt that occurs, however rarely; one of
    probability 0 is left alone. F is never formed (``least_squares``). The info ``residual`` says how far from solved
    it is at the prompt where that is furthest, relative to how the policy moves there (``least_squares.residual``).

    Args:
        task: as in ``policy_gradient``, like the next three.
        learning_rate: step length; 0 is the identity. A long step is shorter for a network (``information.REACH``).
        kl_coefficient: as there.
        log_base: as there.
        optimizer: optax constructor that takes the learning rate.
        damping: D's size, where one cannot tell who speaks (``policies.information``): relative to how often a choice
            is made, so that rare prompts are damped no more than others, and 0 on a table. Of a policy without a
            ``chart``, D is ``damping`` times F's Rayleigh quotient on the gradient.
        tolerance: residual at which the solve stops; no less than 64 times the precision.
        max_iterations: steps of conjugate gradients after which it stops all the same.

    Raises:
        ValueError: as ``policy_gradient``.
    """
    paid = _paid(task, kl_coefficient, log_base)

    def advantages_at(probs: Array) -> Array:
        returns = _returns(probs, paid)
        advantages = _advantages(probs, returns)
        # What rounding leaves of a constant is no direction.
        least = 64 * jnp.finfo(probs.dtype).eps * jnp.abs(returns).max(axis=-1, keepdims=True)
        return jnp.where(jnp.abs(advantages).max(axis=-1, keepdims=True) > least, advantages, 0.0)

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        del key
        problem = _problem(task, params, advantages_at, damping)
        solved = least_squares.solve(problem, tolerance=tolerance, max_iterations=max_iterations)
        # By way of the parameters: what the chart cannot do counts as unsolved.
        law = lambda p: all_probs(task.policy, p, task.prompts).astype(problem.probs.dtype)  # noqa: E731
        moved = _inverse(problem.probs) * jax.jvp(law, (params,), (problem.chart.lift(solved.solution, 0.0),))[1]
        missed = least_squares.residual(problem, solved, moved, max_iterations=max_iterations)
        return problem.chart.lift(solved.solution, learning_rate), {"residual": missed}

    return ascend(direction, optimizer(learning_rate))


def _inverse(probs: Float[Array, "C N"]) -> Float[Array, "C N"]:
    """What a change of pi is multiplied with for that of log pi; what is impossible stays so."""
    possible = probs > jnp.finfo(probs.dtype).tiny
    return jnp.where(possible, 1 / jnp.where(possible, probs, 1.0), 0.0)


def _problem(
    task: Task, params: Params, advantages_at: Callable[[Array], Array], damping: Scalar
) -> least_squares.Problem:
    """What natural gradient solves, in the policy's chart or, if it has none, in its parameters."""
    policy, rho, wide = task.policy, jnp.exp(task.log_prompts), _wide(task, params)
    chart = policy.chart and policy.chart(params, task.prompts, task.log_prompts, damping)
    logits, probs_at = (chart.logits, chart.probs) if chart else (params, lambda p: all_probs(policy, p, task.prompts))
    probs, push_forward = jax.linearize(lambda made: probs_at(made).astype(wide), logits)
    pull_back = jax.linear_transpose(push_forward, logits)
    inverse = _inverse(probs)
    advantages = jnp.where(inverse > 0, advantages_at(probs), 0.0)
    move = lambda vector: inverse * push_forward(vector)  # noqa: E731
    gather = lambda values: pull_back(rho[:, None] * values)[0]  # noqa: E731
    problem = least_squares.Problem(rho, probs, advantages, move, gather, chart)  # pyright: ignore[reportArgumentType]
    return problem if chart else problem._replace(chart=_plain(problem, params, probs_at, damping))


def _plain(problem: least_squares.Problem, params: Params, probs_at: Callable, damping: Scalar) -> Chart:
    """Of a policy of which nothing is known: all parameters alike, damped by the curvature along the gradient."""
    slope = problem.gather(problem.advantages)
    square = jnp.asarray(optax.tree.vdot(slope, slope))
    quotient = problem.rho @ problem.square(problem.move(slope)) / jnp.where(square > 0, square, 1.0)
    damp = lambda move: jax.tree.map(lambda x: (damping * quotient).astype(x.dtype) * x, move)  # noqa: E731
    return Chart(params, probs_at, lambda move, _: move, damp, lambda slope: slope)
