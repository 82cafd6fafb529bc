"""A phrase takes over: how sharply at some strength, and whether it goes as it came when the strength is lowered again.

The phrase is the last response of a base (``worlds.phrase``), paid for by ``rewards.phrase_bonus``.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import theory
from toypersona.bases import Base
from toypersona.policies import tabular
from toypersona.policies.policy import all_log_probs
from toypersona.rules import gradient
from toypersona.rules.rule import Task, UpdateRule
from toypersona.types import Params, Scalar

POLICIES = ("tabular", "experts")
GRADIENTS = ("vanilla", "natural")
STEP = 1e-4
"""Relative difference of strengths from which a slope is taken."""


def slope(base: Base, reward: Float[Array, "C N"], strength: Scalar) -> Float[Array, ""]:
    """How fast the phrase's probability under the tilt grows with the logarithm of the strength, by differences.

    The prompts of ``base`` are equally likely.
    """
    at = lambda step: jnp.exp(theory.tilt(base.log_base, reward, strength * (1 + step))[:, -1]).mean()  # noqa: E731
    return (at(STEP) - at(-STEP)) / (2 * STEP)


def loop(
    base: Base, reward: Float[Array, "C N"], strengths: Float[Array, " L"], *, learning_rate: Scalar, num_steps: int
) -> tuple[Float[Array, "2 2 2 L"], Float[Array, "2 2 2 L"]]:
    """The phrase's probability while the strength is raised and lowered and gradients of ``s E[r] - KL`` follow.

    Args:
        base: where they start, at the lowest strength.
        reward: [C, N].
        strengths: levels, increasing [L].
        learning_rate: of every gradient.
        num_steps: at every level.

    Returns:
        At the end of every level [policy, gradient, direction, L]: of ``POLICIES``, a table of responses or the base's
        own with all its parameters free; by ``GRADIENTS``; up, and down. With it natural gradient's largest
        ``residual`` on the level; 0 of vanilla gradient, which solves nothing.
    """
    starts = ((_table(base, reward), base.log_base), (base.task(reward), base.params))
    rules = (gradient.policy_gradient, gradient.natural_gradient)
    options = {"learning_rate": learning_rate, "num_steps": num_steps}
    each = [jnp.stack([_around(base, *start, rule, strengths, **options) for rule in rules]) for start in starts]
    walked = jnp.stack(each)
    return walked[..., 0], walked[..., 1]


def lag(
    base: Base,
    reward: Float[Array, "C N"],
    strengths: Float[Array, " L"],
    *,
    learning_rate: Scalar,
    num_steps: Sequence[int],
) -> Float[Array, "S 2 L"]:
    """``loop`` of vanilla gradient on a table alone, for several numbers of steps at every level [S, direction, L]."""
    start = _table(base, reward), base.log_base, gradient.policy_gradient
    each = [_around(base, *start, strengths, learning_rate=learning_rate, num_steps=num) for num in num_steps]
    return jnp.stack(each)[..., 0]


def _table(base: Base, reward: Float[Array, "C N"]) -> Task:
    return base.task(reward)._replace(policy=tabular.tabular(base.prompts, base.num_words, base.length))


def _around(
    base: Base,
    task: Task,
    params: Params,
    gradient_rule: Callable[..., UpdateRule],
    strengths: Float[Array, " L"],
    *,
    learning_rate: Scalar,
    num_steps: int,
) -> Float[Array, "2 L 2"]:
    """The phrase's probability and the largest residual, up and down the strengths."""
    keys = jax.random.split(jax.random.key(0), num_steps)
    options = {"learning_rate": learning_rate, "kl_coefficient": 1.0, "log_base": base.log_base}

    def level(params: Params, strength: Array) -> tuple[Params, Array]:
        rule = gradient_rule(task._replace(reward=strength * task.table()), **options)
        state, info = jax.lax.scan(lambda state, key: rule.update(key, state), rule.init(params), keys)
        phrase = base.rho @ jnp.exp(all_log_probs(task.policy, state.params, task.prompts)[:, -1])
        return state.params, jnp.stack([phrase, info.get("residual", jnp.zeros(1)).max()])

    _, both = jax.lax.scan(level, params, jnp.concatenate([strengths, strengths[::-1]]))
    up, down = both.reshape(2, -1, 2)
    return jnp.stack([up, down[::-1]])
