"""What the drift budget would say under another divergence, or with one choice of persona for all prompts.

Everything is measured along paths of policies [R, C, N], each projection from the last one's weights. float64.
"""

import functools
from collections.abc import Callable, Sequence
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


def tilted(base: Base, reward: Float[Array, "C N"], strength: Scalar) -> Float[Array, "C N"]:
    """The optimum of KL-regularised RL from the base."""
    return theory.tilt(base.log_base, reward, strength)


def paths(
    key: Key,
    both: Sequence[Base],
    rewards: Float[Array, "A C N"],
    strengths: Float[Array, " R"],
    *,
    time: Scalar,
    step: Scalar,
) -> tuple[Float[Array, "L A R C N"], Float[Array, "L A 2"]]:
    """The policies of the tilt, and of plain policy gradient on one base or both (the same policy, with other gates).

    Args:
        key: for rules; none of these draws.
        both: the base as it is and, if it has gates, with a gate table: L rules with the tilt.
        rewards: of each of A angles.
        strengths: s [R]; learning rates of policy gradient add up to ``time`` as much.
        time: see there.
        step: its longest step.

    Returns:
        Log pi(x|c); and S(0+) of each rule and reward, the R² of its direction, with a mix for every prompt and with
        odds that change alike at all of them.
    """
    base, marks = both[0], time * strengths

    def limits(direction: Float[Array, "C N"]) -> Float[Array, " 2"]:
        hull = base.log_base, base.log_personas, direction, base.log_prompts
        return jnp.stack([theory.weak_limit(*hull), common_odds.weak_limit(base.log_gates, *hull)])

    def walked(base: Base) -> tuple[Array, Array]:
        def one(reward: Array) -> tuple[Array, Array]:
            rule = lambda rate: gradient.policy_gradient(base.task(reward), learning_rate=rate)  # noqa: E731
            direction = first_order.first(base.law, base.params, base.log_prompts, reward)
            path = base.follow(rule, key=jax.random.clone(key), marks=marks, max_step=step)
            return path, limits(direction)

        return jax.lax.map(one, rewards)

    tilts = jax.vmap(lambda r: jax.vmap(lambda s: tilted(base, r, s))(strengths))(rewards)
    pairs = (tilts, jax.lax.map(limits, rewards)), *map(walked, both)
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


def by_divergence(
    base: Base, paths: Float[Array, "L A R C N"], rewards: Float[Array, "A C N"], forever: Scalar
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The budgets under each of ``DIVERGENCES``, a leading axis, and what S of the tilt does at both ends.

    Returns:
        What ``under`` returns [divergence, rule, A, R]; and [divergence, A] the predictions ``weak_slope`` and
        ``strong_limit``, and ``strong``, S of the tilt at the strength ``forever``.
    """
    ends = jax.vmap(lambda r: tilted(base, r, forever))(rewards)
    # One record more of every path, so that the solver is compiled once.
    more = jnp.concatenate([paths, jnp.broadcast_to(ends[:, None], (*paths.shape[:2], 1, *paths.shape[3:]))], axis=2)
    each = [along(functools.partial(under, d, base), more) for d in DIVERGENCES.values()]
    found = jax.tree.map(lambda *x: jnp.stack(x), *each)
    hull = base.log_base, base.log_personas
    of = lambda law: jnp.stack(  # noqa: E731
        [jax.vmap(lambda r, d=d: law(d, *hull, r, base.log_prompts))(rewards) for d in DIVERGENCES.values()]
    )
    laws = {name: of(getattr(alpha_divergences, name)) for name in ("weak_slope", "strong_limit")}
    strong = found["selection_fraction"][:, 0, :, -1]
    return {name: x[..., :-1] for name, x in found.items()}, laws | {"strong": strong}


def with_common_odds(
    key: Key, base: Base, paths: Float[Array, "L A R C N"], strengths: Float[Array, " R"]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """S where odds change alike at all prompts, also of the tilt for words as they come, drawn by the key.

    Returns:
        ``common_fraction`` and ``common_slope`` [rule, A, R]; and of words ``common_words`` [R], what is predicted for
        its start, ``common_words_limit``, and for S with a mix for every prompt, ``words_limit``.
    """

    def one_path(path: Float[Array, "R C N"]) -> dict[str, Array]:
        def one(start: Array, log_policy: Array) -> tuple[Array, dict[str, Array]]:
            near = common_odds.project(log_policy, base.log_gates, base.log_personas, base.log_prompts, initial=start)
            fraction = 1 - near.distance / base.spent(log_policy)
            return near.log_odds, {"common_fraction": fraction, "common_slope": near.slope}

        return jax.lax.scan(one, jnp.zeros(base.num_personas), path)[1]

    words = rewards.BUILT_IN["words"](key, base.prompts, base.responses, base.labels)
    reward = rewards.standardise(words, base.log_base, base.log_prompts)
    path = jax.vmap(lambda s: tilted(base, reward, s))(strengths)
    found = along(one_path, jnp.concatenate([paths.reshape(-1, *path.shape), path[None]]))
    hull = base.log_base, base.log_personas, reward, base.log_prompts
    return {name: x[:-1].reshape(paths.shape[:3]) for name, x in found.items()}, {
        "common_words": found["common_fraction"][-1],
        "common_words_limit": common_odds.weak_limit(base.log_gates, *hull),
        "words_limit": theory.weak_limit(*hull),
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
