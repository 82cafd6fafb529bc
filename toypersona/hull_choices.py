"""What the drift budget would say under another divergence, or with one choice of persona for all prompts.

Everything is measured along paths of policies [R, C, N], each projection from the last one's weights. float64.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import alpha_divergences, common_odds, first_order, hulls, rewards, theory
from toypersona.alpha_divergences import DIVERGENCES, Divergence
from toypersona.bases import Base
from toypersona.measures import drift
from toypersona.rules import gradient
from toypersona.types import Key, Scalar

TOLERANCE = 1e-12
"""Nats, of a distance below one, to which projections are certified."""

WEAK = 0.005
"""Strength of a weak tilt, of a reward of unit variance."""


def tilted(base: Base, reward: Float[Array, "C N"], strength: Scalar) -> Float[Array, "C N"]:
    """The optimum of KL-regularised RL from the base."""
    return theory.tilt(base.log_base, reward, strength)


def paths(
    key: Key,
    both: tuple[Base, Base],
    rewards: Float[Array, "A C N"],
    strengths: Float[Array, " R"],
    *,
    time: Scalar,
    step: Scalar,
) -> tuple[Float[Array, "3 A R C N"], Float[Array, "3 A"]]:
    """The policies of the tilt, and of plain policy gradient on both bases (the same policy, with other gates).

    Args:
        key: for rules; none of these draws.
        both: the base as it is, and with a gate table.
        rewards: of each of A angles.
        strengths: s [R]; learning rates of policy gradient add up to ``time`` as much.
        time: see there.
        step: its longest step.

    Returns:
        Log pi(x|c), and S(0+) of each rule and reward, the R² of its direction.
    """
    base, marks = both[0], time * strengths

    def walked(base: Base) -> tuple[Array, Array]:
        def one(reward: Array) -> tuple[Array, Array]:
            rule = lambda rate: gradient.policy_gradient(base.task(reward), learning_rate=rate)  # noqa: E731
            direction = first_order.first(base.law, base.params, base.log_prompts, reward)
            path = base.follow(rule, key=jax.random.clone(key), marks=marks, max_step=step)
            return path, theory.weak_limit(base.log_base, base.log_personas, direction, base.log_prompts)

        return jax.lax.map(one, rewards)

    tilts = jax.vmap(lambda r: jax.vmap(lambda s: tilted(base, r, s))(strengths))(rewards)
    limits = jax.vmap(lambda r: theory.weak_limit(base.log_base, base.log_personas, r, base.log_prompts))(rewards)
    pairs = (tilts, limits), *map(walked, both)
    return jax.tree.map(lambda *x: jnp.stack(x), *pairs)


def along(measure: Callable[[Array], dict[str, Array]], paths: Float[Array, "*axes R C N"]) -> dict[str, Array]:
    """A measure of every path, whose leading axes stay."""
    flat = jax.lax.map(measure, paths.reshape(-1, *paths.shape[-3:]))
    return jax.tree.map(lambda x: x.reshape(*paths.shape[:-2], *x.shape[2:]), flat)


def under(divergence: Divergence, base: Base, path: Float[Array, "R C N"]) -> dict[str, Array]:
    """The budget under another divergence D: ``S = 1 - D to the nearest mix / D to the base``, D in its own direction.

    Returns:
        ``total``, ``hull_distance``, ``selection_fraction``, ``largest_weight``, ``gap`` and ``certified`` [R].
    """

    def project(p: Array, q: Array, w: Array, total: Array) -> alpha_divergences.Nearest:
        # Of a distance of a thousand nats nobody knows the twelfth decimal.
        return alpha_divergences.project(divergence, p, q, tolerance=TOLERANCE * (1 + total), initial_weights=w)

    def one(start: Array, log_policy: Array) -> tuple[Array, dict[str, Array]]:
        totals = divergence.between(log_policy, base.log_base)
        near = jax.vmap(project)(log_policy, base.log_personas, start, totals)
        return near.weights, budget(base, base.rho @ totals, near)

    return jax.lax.scan(one, jnp.full_like(base.log_gates, 1 / base.num_personas), path)[1]


def by_divergence(base: Base, paths: Float[Array, "*axes R C N"]) -> dict[str, Array]:
    """``under`` each of ``DIVERGENCES``, a leading axis."""
    each = [along(functools.partial(under, d, base), paths) for d in DIVERGENCES.values()]
    return jax.tree.map(lambda *x: jnp.stack(x), *each)


def laws(base: Base, rewards: Float[Array, "A C N"], forever: Scalar) -> dict[str, Array]:
    """How S of the tilt leaves cos² and where it ends under each of ``DIVERGENCES``, [divergence, A].

    ``weak_slope`` and ``strong_limit`` are predicted, ``strong`` is S at the strength ``forever``.
    """
    hull = base.log_base, base.log_personas
    of = lambda law: jnp.stack(  # noqa: E731
        [jax.vmap(lambda r, d=d: law(d, *hull, r, base.log_prompts))(rewards) for d in DIVERGENCES.values()]
    )
    ends = jax.vmap(lambda r: tilted(base, r, forever))(rewards)
    strong = jnp.stack([under(d, base, ends)["selection_fraction"] for d in DIVERGENCES.values()])
    return {
        "weak_slope": of(alpha_divergences.weak_slope),
        "strong_limit": of(alpha_divergences.strong_limit),
        "strong": strong,
    }


def common_odds_along(base: Base, paths: Float[Array, "*axes R C N"]) -> dict[str, Array]:
    """``common_fraction``, S where odds change alike at all prompts, and ``common_slope``."""

    def one_path(path: Float[Array, "R C N"]) -> dict[str, Array]:
        def one(start: Array, log_policy: Array) -> tuple[Array, dict[str, Array]]:
            near = common_odds.project(log_policy, base.log_gates, base.log_personas, base.log_prompts, initial=start)
            fraction = 1 - near.distance / base.spent(log_policy)
            return near.log_odds, {"common_fraction": fraction, "common_slope": near.slope}

        return jax.lax.scan(one, jnp.zeros(base.num_personas), path)[1]

    return along(one_path, paths)


def weak_words(key: Key, base: Base) -> dict[str, Array]:
    """A reward that pays words as they come: S(0+) with a mix for every prompt, and with odds that change alike.

    ``words_limit`` and ``common_words_limit`` are predicted, ``common_words`` is measured.
    """
    words = rewards.BUILT_IN["words"](key, base.prompts, base.responses, base.labels)
    reward = rewards.standardise(words, base.log_base, base.log_prompts)
    path = jnp.stack([tilted(base, reward, s) for s in (WEAK, 2 * WEAK)])
    seen = common_odds_along(base, path)["common_fraction"]
    hull = base.log_base, base.log_personas, reward, base.log_prompts
    return {
        "words_limit": theory.weak_limit(*hull),
        "common_words_limit": common_odds.weak_limit(base.log_gates, *hull),
        "common_words": 2 * seen[0] - seen[1],
    }


def base_as_one_mix(base: Base) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """How far the base is from one mix ``sum_k w_k p_k`` for all prompts, and I(prompt; persona), its bound; nats.

    The nearest mix of the joint distributions of prompts and responses.
    """
    joint = lambda log_law: (base.log_prompts[:, None] + log_law).reshape(-1)  # noqa: E731
    near = hulls.project(joint(base.log_base), jax.vmap(joint, in_axes=1)(base.log_personas), tolerance=None)
    return near.distance - near.rounding, drift.routing_information(jnp.exp(base.log_gates), base.log_prompts)


def budget(base: Base, total: Float[Array, ""], near: Any) -> dict[str, Array]:
    """What a drift of ``total`` nats and the nearest mixes, one for each prompt, make; nats, averaged over prompts."""
    distance = base.rho @ near.distance
    return {
        "total": total,
        "hull_distance": distance,
        "selection_fraction": 1 - distance / total,
        "largest_weight": base.rho @ near.weights.max(axis=-1),
        "gap": base.rho @ near.gap,
        "certified": near.certified.all(),
    }
