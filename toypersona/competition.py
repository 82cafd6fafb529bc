"""Several right personas: which of them is left when the gates are trained, rule by rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from toypersona import rewards, theory, trajectories
from toypersona.bases import Base
from toypersona.policies import mixture
from toypersona.policies.policy import with_frozen
from toypersona.rules import catalogue
from toypersona.rules.catalogue import Setup
from toypersona.types import Key, Scalar

EXACT = ("policy gradient", "policy gradient, KL", "natural gradient")
SAMPLED = (
    "REINFORCE",
    "RLOO",
    "RLOO, KL in reward",
    "RLOO, entropy",
    "GRPO",
    "PPO, token",
    "expert iteration",
    "best of 8",
    "DPO",
)
RULES = (*EXACT, *SAMPLED)
RATE = 4.0
"""Learning rate of gates, in units of that of all parameters."""


def compete(
    key: Key, table: Base, wrong: int, steps: np.ndarray, *, natural_rate: Scalar, num_runs: int
) -> dict[str, Array]:
    """Train the gates alone by every rule, all personas but one being right, and follow the shares of the right ones.

    Args:
        key: one key.
        table: a base whose gate is a table (``bases.with_gate_table``).
        wrong: the persona that is not paid.
        steps: after which to record [R].
        natural_rate: of natural gradient, in strength a step.
        num_runs: independent runs of a sampled rule.

    Returns:
        Means over runs for each of L rules and R records: ``share`` [L, R, C], of the right personas' weight, that of
        whoever of them is likeliest under the base (there: ``base_share`` [C]); ``largest`` [L, R], the largest such
        share, whosoever it is; ``right`` [L, R], the weight of all right ones. ``won`` [L, C]: how often the likeliest
        has more than half at the end. ``law`` and ``natural_law`` [R, C]: ``share`` by vanilla gradient's conservation
        law, and by natural gradient with Fisher matrices written out. ``mistaken`` []: how often a listener takes one
        persona for another.
    """
    gates_only = with_frozen(table.policy, table.speakers.scopes["gates"])
    base = table._replace(speakers=table.speakers._replace(policy=gates_only))
    log_gates, rho, hull = base.log_gates, base.rho, (base.log_gates, base.log_personas)
    reward, none = rewards.all_right_but(wrong, *hull), jnp.zeros_like(base.log_base)
    setup = Setup(base, reward, demonstrator=base.log_personas[:, -1], right=none, key=key)
    right = jnp.arange(base.num_personas) != wrong
    rivals = jnp.where(right[None], log_gates, -jnp.inf)
    likeliest = rivals.argmax(axis=1)

    def shares(logits: Float[Array, "R C K"]) -> tuple[Array, Array, Array]:
        """Of the likeliest [R, C], the largest [R] and all right ones' weight [R]."""
        weights = jax.nn.softmax(logits) * right[None, None]
        total = weights.sum(axis=-1)
        best = jnp.take_along_axis(weights, likeliest[None, :, None], axis=-1)[..., 0]
        return best / total, (weights.max(axis=-1) / total) @ rho, total @ rho

    records, first = {}, {}
    for name, own_key in zip(RULES, jax.random.split(key, len(RULES)), strict=True):
        runs = jnp.arange(1 if name in EXACT else num_runs)
        logits = jax.lax.map(functools.partial(_gates, name, setup._replace(key=own_key), steps, natural_rate), runs)
        share, largest, weight = jax.vmap(shares)(logits)
        records[name] = {
            "share": share.mean(0),
            "largest": largest.mean(0),
            "right": weight.mean(0),
            "won": (share[:, -1] > 0.5).mean(0),
        }
        first[name] = logits[0]
    natural = theory.natural_gates(*hull, reward, natural_rate, int(steps[-1]))[steps - 1]
    rise = jnp.take_along_axis(first["policy gradient"] - log_gates[None], likeliest[None, :, None], axis=-1)[..., 0]
    law = jax.vmap(jax.vmap(theory.surviving_share, (0, None, 0)), (None, None, 0))(log_gates, right, rise)
    taken = jnp.einsum("ck,ckk->c", jnp.exp(log_gates), rewards.confusion(*hull))
    return {
        **jax.tree.map(lambda *x: jnp.stack(x), *records.values()),
        "law": law,
        "natural_law": shares(natural)[0],
        "mistaken": 1 - rho @ taken,
        "base_share": jnp.take_along_axis(jax.nn.softmax(rivals), likeliest[:, None], axis=1)[:, 0],
    }


def _gates(
    name: str, setup: Setup, steps: np.ndarray, natural_rate: Scalar, number: Int[Array, ""]
) -> Float[Array, "R C K"]:
    """The gate logits of one run of a rule."""
    data_key, walk_key = jax.random.split(jax.random.fold_in(setup.key, number))
    entry = (catalogue.RULES | catalogue.EXACT_GRADIENTS)[name]
    rate = natural_rate if name == "natural gradient" else entry.rate * RATE
    logits, _, _ = trajectories.follow(
        entry.make(setup._replace(key=data_key)),
        mixture.gate_logits,
        setup.base.params,
        key=walk_key,
        marks=rate * jnp.asarray(steps),
        max_step=rate,
    )
    return logits
