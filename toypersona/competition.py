"""Several right personas: which of them is left when the gates are trained, rule by rule."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from toypersona import numerics, rewards, theory, trajectories
from toypersona.bases import Base
from toypersona.policies import mixture
from toypersona.rules import catalogue
from toypersona.rules.catalogue import Setup
from toypersona.types import Key, Scalar

EXACT = ("policy gradient", "policy gradient, KL", "natural gradient")
RLOO = ("RLOO", "RLOO, KL in reward", "RLOO, entropy")
RULES = (*EXACT, "REINFORCE", *RLOO, "GRPO", "PPO, token", "expert iteration", "best of 8", "DPO")
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
    gates_only = table.speakers.trained("gates")
    base = table._replace(speakers=table.speakers._replace(policy=gates_only))
    log_gates, rho, hull = base.log_gates, base.rho, (base.log_gates, base.log_personas)
    reward, none = rewards.all_right_but(wrong, *hull), jnp.zeros_like(base.log_base)
    setup = Setup(base, reward, demonstrator=base.log_personas[:, -1], right=none, key=key)
    right = jnp.arange(base.num_personas) != wrong
    rivals = jnp.where(right[None], log_gates, -jnp.inf)
    likeliest = rivals.argmax(axis=1)

    def gates(name: str, key: Key) -> Float[Array, "runs R C K"]:
        """The gate logits of all runs of a rule."""
        entry = (catalogue.RULES | catalogue.EXACT_GRADIENTS)[name]
        rate = natural_rate if name == "natural gradient" else entry.rate * RATE

        def run(number: Int[Array, ""]) -> Float[Array, "R C K"]:
            data_key, walk_key = jax.random.split(jax.random.fold_in(key, number))
            walk = {"key": walk_key, "marks": rate * jnp.asarray(steps), "max_step": rate}
            make_rule = entry.make(setup._replace(key=data_key))
            return trajectories.follow(make_rule, mixture.gate_logits, base.params, **walk)[0]

        return jax.lax.map(run, jnp.arange(1 if name in EXACT else num_runs))

    def shares(logits: Float[Array, "R C K"]) -> tuple[Array, Array, Array]:
        """Of the likeliest [R, C], the largest [R] and all right ones' weight [R]."""
        weights = jax.nn.softmax(logits) * right[None, None]
        total = weights.sum(axis=-1)
        best = jnp.take_along_axis(weights, likeliest[None, :, None], axis=-1)[..., 0]
        return best / total, (weights.max(axis=-1) / total) @ rho, total @ rho

    def law(log_gates: Float[Array, " K"], best: Int[Array, ""], rise: Float[Array, ""]) -> Float[Array, ""]:
        odds = theory.surviving_odds(log_gates[best], log_gates, rise)
        return 1 / (1 + jnp.where(right.at[best].set(False), odds, 0.0).sum())

    keys = jax.random.split(key, len(RULES))
    logits = {name: gates(name, own_key) for name, own_key in zip(RULES, keys, strict=True)}
    records = []
    for share, largest, weight in map(jax.vmap(shares), logits.values()):
        won = (share[:, -1] > 0.5).mean(0)
        records.append({"share": share.mean(0), "largest": largest.mean(0), "right": weight.mean(0), "won": won})
    natural = _natural_gates(*hull, reward, natural_rate, int(steps[-1]))[steps - 1]
    rises = logits["policy gradient"][0] - log_gates[None]
    rise = jnp.take_along_axis(rises, likeliest[None, :, None], axis=-1)[..., 0]
    taken = jnp.einsum("ck,ckk->c", jnp.exp(log_gates), rewards.confusion(*hull))
    return {
        **jax.tree.map(lambda *x: jnp.stack(x), *records),
        "law": jax.vmap(jax.vmap(law), (None, None, 0))(log_gates, likeliest, rise),
        "natural_law": shares(natural)[0],
        "mistaken": 1 - numerics.expectation(base.log_prompts, taken),
        "base_share": jnp.take_along_axis(jax.nn.softmax(rivals), likeliest[:, None], axis=1)[:, 0],
    }


def _natural_gates(
    log_gates: Float[Array, "C K"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    learning_rate: Scalar,
    num_steps: int,
) -> Float[Array, "S C K"]:
    """Gate logits after each step of natural gradient, every prompt's Fisher matrix of its K gates inverted.

    ``d log pi / d logit_k = w_k (p_k/pi - 1)``: where personas overlap, a persona's logit rises by what it adds to the
    reward, not by what it is paid.

    Args:
        log_gates: logits at the start [C, K].
        log_personas: as in ``theory.weak_limit``, like ``reward``.
        reward: [C, N].
        learning_rate: strength added by a step.
        num_steps: S.
    """
    personas = jnp.exp(log_personas)

    def step(logits: Float[Array, "C K"], _: None) -> tuple[Array, Array]:
        weights = jax.nn.softmax(logits)
        policy = jnp.einsum("ck,ckn->cn", weights, personas)
        # What nobody can say moves nothing: 0/0 would be nan.
        scores = weights[..., None] * (personas / jnp.where(policy > 0, policy, 1.0)[:, None] - 1)
        fisher = jnp.einsum("ckn,cjn,cn->ckj", scores, scores, policy)
        uphill = jnp.einsum("ckn,cn,cn->ck", scores, policy, reward)
        inverse = jnp.linalg.pinv(fisher, rtol=1e-9, hermitian=True)
        logits = logits + learning_rate * jnp.einsum("ckj,cj->ck", inverse, uphill)
        return logits, logits

    return jax.lax.scan(step, log_gates, None, length=num_steps)[1]
