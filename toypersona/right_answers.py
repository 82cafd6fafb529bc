"""Exact policy gradient on a table of answers: how long a rare right one takes to find, and which of several survives.

Law L5. Right answers pay 1, all others nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import lock_in, numerics, theory, trajectories
from toypersona.rules import gradient
from toypersona.types import Scalar

GRADIENTS = ("vanilla", "natural")


def _follow(
    rule: str,
    measure: Callable[[Float[Array, " N"]], Any],
    log_base: Float[Array, " N"],
    reward: Float[Array, " N"],
    times: Float[Array, " R"],
    max_step: Scalar,
) -> Any:
    """A measure of the answers' logits, which start at ``log_base``, at R times, with a leading axis R."""
    to_the_end = {"damping": 0.0, "tolerance": 1e-12, "max_iterations": 2 * reward.shape[0]}
    rules = {"vanilla": gradient.policy_gradient, "natural": partial(gradient.natural_gradient, **to_the_end)}
    make_rule = lambda step: rules[rule](lock_in.answers(reward), learning_rate=step)  # noqa: E731
    walk = {"key": jax.random.key(0), "marks": times, "max_step": max_step}
    return trajectories.follow(make_rule, lambda logits: measure(logits[0]), log_base[None], **walk)[0]


def discovery(
    rule: str, mass: Float[Array, ""], num_others: int, fractions: Float[Array, " R"], max_step: Scalar
) -> tuple[Float[Array, " R"], Float[Array, ""]]:
    """The probability of the one right answer on the way, and the law's time to one half.

    Args:
        rule: one of ``GRADIENTS``.
        mass: the right answer's probability under the base.
        num_others: equally likely wrong answers.
        fractions: times, in units of the law's, increasing [R].
        max_step: the largest learning rate.
    """
    right = jnp.zeros(num_others + 1).at[0].set(1.0)
    log_base = jnp.log(jnp.where(right > 0, mass, (1 - mass) / num_others))
    law = getattr(theory.time_to_half(mass, num_others), rule)
    return _follow(rule, lambda logits: jax.nn.softmax(logits)[0], log_base, right, law * fractions, max_step), law


def survival(
    rule: str, log_base: Float[Array, " N"], num_right: int, times: Float[Array, " R"], max_step: Scalar
) -> dict[str, Array]:
    """What becomes of several right answers.

    Args:
        rule: one of ``GRADIENTS``.
        log_base: log-probabilities under the base, the right answers first and of them the likeliest [N].
        num_right: how many are right.
        times: learning rate times steps, increasing [R].
        max_step: the largest learning rate.

    Returns:
        ``right``, the probability of a right answer [R]; ``from_base`` and ``to_base``, KL(policy‖base) and
        KL(base‖policy), nats [R]; the others' ``odds`` against the likeliest and the law's ``odds_law``
        [R, num_right - 1].
    """
    right = (jnp.arange(log_base.shape[0]) < num_right).astype(float)

    def measure(logits: Float[Array, " N"]) -> dict[str, Array]:
        log_policy = jax.nn.log_softmax(logits)
        rise = logits[0] - log_base[0] if rule == "vanilla" else 0.0
        return {
            "right": jnp.exp(log_policy) @ right,
            "from_base": numerics.kl_divergence(log_policy, log_base),
            "to_base": numerics.kl_divergence(log_base, log_policy),
            "odds": jnp.exp(log_policy[1:num_right] - log_policy[0]),
            "odds_law": theory.surviving_odds(log_base[0], log_base[1:num_right], rise),
        }

    return _follow(rule, measure, log_base, right, times, max_step)
