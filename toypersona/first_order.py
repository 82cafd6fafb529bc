"""Where a rule first moves the policy, and what follows from it: predictions to first order in the learning rate.

How fast entropy first changes is also measured, by a small step there and back.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from toypersona import numerics, theory, trajectories
from toypersona.bases import Base
from toypersona.policies.policy import all_log_probs, all_probs
from toypersona.rules import gradient
from toypersona.rules.rule import Task
from toypersona.types import Params, Scalar

DENSE = 500
"""Logits up to which a Fisher matrix is written out."""

DAMPING = 1e-3
"""Of natural gradient where a small step is to show its direction: with less, no step is small to rare words."""

STEP = 1e-4
"""Drift, in root nats, of the steps that entropy is measured by."""


def first(
    log_probs: Callable[[Params], Float[Array, "C N"]],
    params: Params,
    log_prompts: Float[Array, " C"],
    reward: Float[Array, "C N"],
    *,
    precondition: Callable[[Params], Params] = lambda gradient: gradient,
) -> Float[Array, "C N"]:
    """Where a rule first moves log pi: ``d = J M J^T (rho pi0 A)``, J the Jacobian of log-probabilities (law L1).

    A rule changes the parameters by ``M g``, g the gradient of ``E[r]``, and so log pi by ``J M g``. J is applied by
    ``jax.vjp`` and ``jax.jvp`` and never formed.

    Args:
        log_probs: log pi(x|c) of any parametrised policy; what it freezes is out of scope.
        params: the base's.
        log_prompts: log rho(c) [C].
        reward: [C, N].
        precondition: M, a function of the gradient: the identity for policy gradient, ``adam`` for its first step.

    Returns:
        d [C, N], in nats per unit of the rule's learning rate.
    """
    log_base, pull_back = jax.vjp(log_probs, params)
    # What is paid for the impossible, and where nobody asks, may be anything.
    reward = jnp.where((log_prompts[:, None] > -jnp.inf) & (log_base > -jnp.inf), reward, 0.0)
    advantages = reward - numerics.expectation(log_base, reward)[:, None]
    (gradient,) = pull_back(jnp.exp(log_prompts[:, None] + log_base) * advantages)
    return jax.jvp(log_probs, (params,), (precondition(gradient),))[1]


def natural(task: Task, params: Params, *, damping: Scalar = DAMPING, tolerance: float = 1e-12) -> Float[Array, "C N"]:
    """Where natural gradient first moves log pi: ``d = J (F + D)^+ J^T (rho pi0 A)`` (Amari 1998), as ``first`` has it.

    With the rule it shares the policy's logits and D, not the solver: the Fisher matrix ``F = J^T diag(rho pi0) J`` is
    written out and inverted by its eigenvectors; of more than ``DENSE`` logits, by jax's conjugate gradients.

    Args:
        task: its reward is listed.
        params: where it starts.
        damping: as in ``rules.gradient.natural_gradient``.
        tolerance: of conjugate gradients, relative to the slope.
    """
    policy, rho, mask = task.policy, jnp.exp(task.log_prompts)[:, None], task.log_prompts[:, None] > -jnp.inf
    chart = policy.chart and policy.chart(params, task.prompts, task.log_prompts, damping)
    logits, law = (chart.logits, chart.probs) if chart else (params, lambda p: all_probs(policy, p, task.prompts))
    flat, unravel = ravel_pytree(logits)
    probs, push_forward = jax.linearize(lambda x: law(unravel(x)), flat)
    pull_back = jax.linear_transpose(push_forward, flat)
    moved = lambda x: jnp.where(probs > 0, push_forward(x) / jnp.where(probs > 0, probs, 1.0), 0.0)  # noqa: E731
    along = lambda of, x: ravel_pytree(of(unravel(x)))[0]  # noqa: E731

    fisher = lambda x: pull_back(rho * moved(x))[0]  # noqa: E731
    paid = jnp.where(mask & (probs > 0), task.table(), 0.0)
    advantages = paid - (probs * paid).sum(axis=-1, keepdims=True)
    (slope,) = pull_back(rho * advantages)
    square = slope @ slope
    plain = damping * (slope @ fisher(slope)) / jnp.where(square > 0, square, 1.0)

    def product(vector: Float[Array, " D"]) -> Float[Array, " D"]:
        return fisher(vector) + (along(chart.damp, vector) if chart else plain * vector)

    if flat.size > DENSE:
        precondition = chart and functools.partial(along, chart.invert)
        return moved(jax.scipy.sparse.linalg.cg(product, slope, tol=tolerance, maxiter=2000, M=precondition)[0])
    matrix = jax.lax.map(product, jnp.eye(flat.size, dtype=flat.dtype), batch_size=64)
    # What is rarely chosen has small entries: what is singular shows only where all are of one size.
    size = jnp.sqrt(jnp.diagonal(matrix))
    unit = jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1.0), 0.0)
    inverse = jnp.linalg.pinv(unit[:, None] * matrix * unit[None], rtol=1e-11, hermitian=True)
    return moved(unit * (inverse @ (unit * slope)))


def adam(gradient: Params, *, epsilon: float = 1e-8) -> Params:
    """The preconditioner of Adam's first step, ``g / (|g| + epsilon)`` of every parameter (Kingma and Ba 2015)."""
    return jax.tree.map(lambda g: g / (jnp.abs(g) + epsilon), gradient)


def step(
    kind: str, base: Base, task: Task, *, damping: Scalar = DAMPING, tolerance: float = 1e-10
) -> tuple[Float[Array, "C N"], Callable[[Scalar], Float[Array, "C N"]]]:
    """Where an exact rule first moves the base, and the policy after one step of it.

    Args:
        kind: of rule: vanilla, natural or adam.
        base: where it starts.
        task: its policy with what trains free, and the reward.
        damping: of the natural gradient.
        tolerance: to which it is solved.

    Returns:
        d as by ``first``, and ``(learning rate) -> log pi(x|c)``.
    """
    log_probs = lambda params: all_log_probs(task.policy, params, task.prompts)  # noqa: E731
    along = functools.partial(first, log_probs, base.params, task.log_prompts, task.table())
    predict, make_rule = {
        "vanilla": (along, gradient.policy_gradient),
        "natural": (
            functools.partial(natural, task, base.params, damping=damping, tolerance=tolerance / 100),
            functools.partial(gradient.natural_gradient, damping=damping, tolerance=tolerance),
        ),
        "adam": (
            functools.partial(along, precondition=adam),
            functools.partial(gradient.policy_gradient, optimizer=optax.adam),
        ),
    }[kind]

    def after(rate: Scalar) -> Float[Array, "C N"]:
        rule = make_rule(task, learning_rate=rate)
        return log_probs(rule.update(jax.random.key(0), rule.init(base.params))[0].params)

    return predict(), after


def rates(
    log_base: Float[Array, "C N"],
    direction: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
    lengths: Float[Array, "*lengths"],
) -> Float[Array, "*lengths"]:
    """Learning rates at which one step from the base has some lengths, ``sqrt(2 KL) = rate sqrt(E_c Var_pi0(d))``.

    Args:
        log_base: log pi0 [C, N].
        direction: d, the change of log pi per unit of the learning rate, up to a constant for each prompt [C, N].
        log_prompts: log rho(c) [C].
        lengths: sqrt(2 KL(pi‖pi0)) of the steps, root nats.
    """
    centred = direction - numerics.expectation(log_base, direction)[:, None]
    return lengths / jnp.sqrt(numerics.expectation(log_prompts, numerics.expectation(log_base, centred**2)))


def entropy_change(
    log_policy: Float[Array, "C N"], direction: Float[Array, "C N"], log_prompts: Float[Array, " C"]
) -> Float[Array, ""]:
    """Entropy gained per unit of a rule's learning rate: ``-E_c Cov_pi(log pi, d)``, nats.

    The derivative of ``-sum pi log pi`` along ``d log pi = d`` (Cui et al. 2025, where d is the advantage). Entropy
    falls where what is likely is made likelier, and rises where what is rare pays more. Arguments as in ``rates``.
    """
    centred = direction - numerics.expectation(log_policy, direction)[:, None]
    surprise = jnp.where(jnp.isneginf(log_policy), 0.0, -log_policy)
    return numerics.expectation(log_prompts, numerics.expectation(log_policy, surprise * centred))


def entropy_changes(base: Base, reward: Float[Array, "C N"]) -> tuple[Float[Array, " L"], Float[Array, " L"]]:
    """How fast entropy first changes under the tilt, and natural and vanilla gradient in every scope.

    Measured by a small step there and back, and by ``entropy_change``: nats for a unit of root drift
    ``sqrt(E_c E_pi0[d²])`` in root nats, so that rules can be compared; in the order of
    ``rules.catalogue.strength_rules`` [L].
    """

    def changes(
        direction: Float[Array, "C N"], after: Callable[[Scalar], Float[Array, "C N"]]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        unit = rates(base.log_base, direction, base.log_prompts, jnp.asarray(1.0))
        ahead, behind = (base.rho @ numerics.entropy(after(sign * STEP * unit)) for sign in (1, -1))
        return (ahead - behind) / (2 * STEP), unit * entropy_change(base.log_base, direction, base.log_prompts)

    tilt = changes(reward, lambda strength: theory.tilt(base.log_base, reward, strength))
    pairs = [jax.tree.map(lambda x: x[None], tilt)]
    for kind in ("natural", "vanilla"):
        in_scope = lambda task, kind=kind: changes(*step(kind, base, task))  # noqa: E731
        pairs.append(trajectories.by_scope(in_scope, base.task(reward), base.speakers.scopes))
    return jax.tree.map(lambda *x: jnp.concatenate(x), *pairs)
