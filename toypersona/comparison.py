"""Every way to train, and the tilt, from one base: its path, what is measured along it, and who still passes."""

from collections.abc import Mapping, Sequence
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from toypersona import theory
from toypersona.measures import drift, support
from toypersona.rules import tilting
from toypersona.rules.catalogue import Entry, Setup
from toypersona.types import Key, Scalar

TILT = "tilt"
"""The optimum of KL-regularised RL, which no rule of the catalogue is: it pays most at any drift."""

PASSES = (1, 4, 16, 64)
"""k of pass@k."""

NUM_TRIES = 64
"""Responses to each prompt from which pass@k is also estimated, at the end."""

STRENGTHS = (0.0, *np.geomspace(0.001, 100.0, 400))
"""Of the tilts against whose rewards all are held, at their own drift."""

RECORDED = (0.03, 30.0)
"""Strengths of the first and the last tilt that is recorded."""


def along(
    setup: Setup, rules: Mapping[str, Entry], key: Key, *, rate: Scalar, steps: Sequence[int] | np.ndarray
) -> dict[str, Array]:
    """What is measured along the tilt's path and every rule's, an axis [1 + R] in front.

    Args:
        setup: the base, what is paid for, who demonstrates and which responses pass; its key is not used.
        rules: by name; each draws what its name says, so that it does the same whatever it is compared with.
        key: of all that is sampled.
        rate: factor on every rule's own learning rate.
        steps: at which a rule is recorded, increasing [S].

    Returns:
        The fields of ``drift.DriftBudget`` and of ``support.support``, ``reward``, ``passes`` (pass@k for ``PASSES``),
        ``routing_information`` (nats) and ``best_reward``, the tilt's at the same drift, each [1 + R, S, ...], and
        ``tried`` [1 + R, K], pass@k estimated from ``NUM_TRIES`` samples at the end.
    """
    base, reward = setup.base, setup.reward
    strengths = jnp.geomspace(*RECORDED, len(steps))
    paths = [jax.lax.map(lambda strength: theory.tilt(base.log_base, reward, strength), strengths)]
    numbers = jnp.array([crc32(name.encode()) for name in (TILT, *rules)], jnp.uint32)
    keys = jax.vmap(lambda number: jax.random.split(jax.random.fold_in(key, number), 3))(numbers)
    for rule, (data_key, walk_key) in zip(rules.values(), keys[1:, :2], strict=True):
        size = rule.rate * rate
        make = rule.make(setup._replace(key=data_key))
        paths.append(base.follow(make, key=walk_key, marks=size * jnp.asarray(steps), max_step=size))
    spent_by_tilts, paid_to_tilts = tilting.frontier(base.log_base, reward, base.log_prompts, jnp.asarray(STRENGTHS))

    def others(log_policy: Array) -> dict[str, Array]:
        spread = support.support(log_policy, base.log_base, base.log_prompts, length=base.length)
        return spread._asdict() | {"reward": base.mean(log_policy, reward), "passes": passes(setup, log_policy)}

    def measured(path: Array) -> dict[str, Array]:
        spent = base.budget_along(path)
        return {
            **spent._asdict(),
            **jax.lax.map(others, path),
            "routing_information": jax.vmap(drift.routing_information, (0, None))(spent.weights, base.log_prompts),
            "best_reward": jnp.interp(jnp.sqrt(spent.total), jnp.sqrt(spent_by_tilts), paid_to_tilts),
        }

    def tried(log_policy: Array, try_key: Key) -> Array:
        num_right = support.num_correct(try_key, log_policy, setup.right, NUM_TRIES)
        return jnp.stack([base.rho @ support.pass_at_k_from_samples(num_right, NUM_TRIES, k) for k in PASSES])

    ends = jnp.stack([path[-1] for path in paths])
    return jax.lax.map(measured, jnp.stack(paths)) | {"tried": jax.vmap(tried)(ends, keys[:, 2])}


def passes(setup: Setup, log_policy: Float[Array, "C N"]) -> Float[Array, " K"]:
    """pass@k of a policy for ``PASSES``."""
    return jnp.stack([support.pass_at_k(log_policy, setup.right, setup.base.log_prompts, k) for k in PASSES])
