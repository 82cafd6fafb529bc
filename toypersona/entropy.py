"""How fast entropy first changes under every exact rule: by a small step there and back, and by its covariance formula.

``first_order.entropy_change`` is the formula. Changes are for a unit of root drift, ``sqrt(E_c E_pi0[d²])`` in root
nats, so that rules can be compared.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import first_order, numerics, theory, trajectories
from toypersona.bases import Base
from toypersona.policies.policy import all_log_probs
from toypersona.rules import gradient
from toypersona.rules.rule import Task
from toypersona.types import Params, Scalar

SOLVE = {"damping": 1e-4, "tolerance": 1e-12, "max_iterations": 200}
"""Of natural gradient, in the formula and in the rule."""

STEP = 1e-4
"""Drift, in root nats, of the steps that entropy is measured by."""


def first_changes(base: Base, reward: Float[Array, "C N"]) -> tuple[Float[Array, " L"], Float[Array, " L"]]:
    """The measured change and the formula for the tilt, and for natural and vanilla gradient in every scope.

    Args:
        base: where the rules start.
        reward: [C, N].

    Returns:
        Both in nats of entropy for a root nat of drift, in the order of ``rules.catalogue.strength_rules`` [L].
    """
    task = base.task(reward)
    tilt = jax.tree.map(lambda x: x[None], _by_tilt(base, reward))
    natural, vanilla = (
        trajectories.by_scope(functools.partial(_by_gradient, base, natural=natural), task, base.speakers.scopes)
        for natural in (True, False)
    )
    change, formula = jax.tree.map(lambda *x: jnp.concatenate(x), tilt, natural, vanilla)
    return change, formula


def _by_tilt(base: Base, reward: Float[Array, "C N"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    size = _unit(base, reward)
    ahead, behind = (_entropy(base, theory.tilt(base.log_base, reward, sign * STEP * size)) for sign in (1, -1))
    formula = size * first_order.entropy_change(base.log_base, reward, base.log_prompts)
    return (ahead - behind) / (2 * STEP), formula


def _by_gradient(base: Base, task: Task, *, natural: bool) -> tuple[Float[Array, ""], Float[Array, ""]]:
    def log_probs(params: Params) -> Float[Array, "C N"]:
        return all_log_probs(task.policy, params, task.prompts)

    preconditioned, rule = {}, gradient.policy_gradient
    if natural:
        inverse = first_order.natural(log_probs, base.params, task.log_prompts, **SOLVE)
        preconditioned, rule = {"precondition": inverse}, functools.partial(gradient.natural_gradient, **SOLVE)
    direction = first_order.first(log_probs, base.params, task.log_prompts, task.table(), **preconditioned)
    size = _unit(base, direction)

    def entropy_after(rate: Scalar) -> Float[Array, ""]:
        trained = rule(task, learning_rate=rate)
        return _entropy(base, log_probs(trained.update(jax.random.key(0), trained.init(base.params))[0].params))

    change = (entropy_after(STEP * size) - entropy_after(-STEP * size)) / (2 * STEP)
    return change, size * first_order.entropy_change(base.log_base, direction, task.log_prompts)


def _unit(base: Base, direction: Float[Array, "C N"]) -> Float[Array, ""]:
    """The learning rate at which a step along a direction of log pi has a unit of root drift."""
    centred = direction - numerics.expectation(base.log_base, direction)[:, None]
    return 1 / jnp.sqrt(base.mean(base.log_base, centred**2))


def _entropy(base: Base, log_policy: Float[Array, "C N"]) -> Float[Array, ""]:
    return base.rho @ numerics.entropy(log_policy)
