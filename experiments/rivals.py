"""Several right personas: which of them is still there when gates are trained, rule by rule."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments import base_model, trainers
from toypersona import theory, trajectories
from toypersona.policies import mixture
from toypersona.rules import gradient
from toypersona.rules.rule import UpdateRule
from toypersona.types import Key, Params, Scalar
from toypersona.worlds import world as worlds

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


def taken_for(log_gates: Float[Array, "C K"], log_personas: Float[Array, "C K N"]) -> Float[Array, "C K K"]:
    """How often a listener takes persona k for j, on average: E_{p_k}[P(j | c, x)]."""
    posterior = jnp.exp(worlds.log_responsibilities(log_gates, log_personas))
    return jnp.einsum("ckn,cjn->ckj", jnp.exp(log_personas), posterior)


def reward_for_all_but(
    wrong: int, log_gates: Float[Array, "C K"], log_personas: Float[Array, "C K N"]
) -> Float[Array, "C N"]:
    """A persona-affine reward that pays each persona 1 on average, at every prompt, and the wrong one 0."""
    posterior = jnp.exp(worlds.log_responsibilities(log_gates, log_personas))
    means = taken_for(log_gates, log_personas)
    wanted = 1.0 - jax.nn.one_hot(wrong, log_gates.shape[1])
    scores = jnp.linalg.solve(means, jnp.broadcast_to(wanted, log_gates.shape)[..., None])[..., 0]
    return jnp.einsum("ck,ckn->cn", scores, posterior)


def compete(
    key: Key,
    table: base_model.Base,
    wrong: int,
    steps: np.ndarray,
    *,
    natural_rate: Scalar,
    num_runs: int,
) -> dict[str, Array]:
    """Train the gate table by every rule, gates only, and follow the right personas' shares.

    Args:
        key: one key.
        table: a base of one world whose gate is a table.
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
    log_gates, log_personas, log_base = table.personas()
    world, rho = table.world, jnp.exp(table.world.log_prompts)
    problem = trainers.Problem(
        mixture.scoped(table.mixture.policy, mixture.SCOPES["gates"]),
        table.params,
        world.prompts,
        world.log_prompts,
        table.responses,
        log_base,
        log_personas[:, -1],
        reward_for_all_but(wrong, log_gates, log_personas),
        jnp.zeros_like(log_base),
    )
    rivals = jnp.where((jnp.arange(log_gates.shape[1]) == wrong)[None], -jnp.inf, log_gates)
    likeliest = rivals.argmax(axis=1)

    def walk(name: str, rate: Scalar, key: Key, number: Int[Array, ""]) -> Float[Array, "R C K"]:
        data_key, walk_key = jax.random.split(jax.random.fold_in(key, number))
        logits, _, _ = trajectories.run(
            _make(name, problem._replace(key=data_key)),
            _gate_logits,
            table.params,
            key=walk_key,
            marks=rate * jnp.asarray(steps),
            max_step=rate,
        )
        return logits

    def shares(logits: Float[Array, "R C K"]) -> tuple[Array, Array, Array]:
        """Of the likeliest [R, C], the largest [R] and all right ones' weight [R]."""
        gates = jax.nn.softmax(logits)
        right = gates * (jnp.arange(gates.shape[-1]) != wrong)[None, None]
        total = right.sum(axis=-1)
        first = jnp.take_along_axis(right, likeliest[None, :, None], axis=-1)[..., 0]
        return first / total, (right.max(axis=-1) / total) @ rho, total @ rho

    made = []
    for name, own_key in zip(RULES, jax.random.split(key, len(RULES)), strict=True):
        like = trainers.TRAINERS.get(name, trainers.TRAINERS["policy gradient"])
        rate = natural_rate if name == "natural gradient" else like.rate * RATE
        runs = jnp.arange(1 if name in EXACT else num_runs)
        logits = jax.lax.map(functools.partial(walk, name, rate, own_key), runs)
        share, largest, right = jax.vmap(shares)(logits)
        made.append((share.mean(0), largest.mean(0), right.mean(0), (share[:, -1] > 0.5).mean(0), logits[0]))
    share, largest, right, won, first = (jnp.stack(x) for x in zip(*made, strict=True))
    return {
        "share": share,
        "largest": largest,
        "right": right,
        "won": won,
        "natural_law": shares(_natural_law(log_gates, log_personas, problem.reward, natural_rate, steps))[0],
        "law": _law(log_gates, first[RULES.index("policy gradient")], likeliest, wrong),
        "mistaken": 1 - rho @ jnp.einsum("ck,ckk->c", jnp.exp(log_gates), taken_for(log_gates, log_personas)),
        "base_share": jnp.take_along_axis(jax.nn.softmax(rivals), likeliest[:, None], axis=1)[:, 0],
    }


def _gate_logits(params: Params) -> Float[Array, "C K"]:
    return params["gate"]["personas"]


def _make(name: str, problem: trainers.Problem) -> Callable[[Scalar], UpdateRule]:
    if name == "natural gradient":
        return lambda rate: gradient.natural_gradient(*problem.exact(), learning_rate=rate)
    if name == "policy gradient, KL":
        how = {"kl_coefficient": trainers.KL, "log_base": problem.log_base}
        return lambda rate: gradient.policy_gradient(*problem.exact(), learning_rate=rate, **how)
    return trainers.TRAINERS[name].make(problem)


def _natural_law(
    log_gates: Float[Array, "C K"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    rate: Scalar,
    steps: np.ndarray,
) -> Float[Array, "R C K"]:
    """Gate logits under natural gradient, each prompt's Fisher matrix of its K gates written out and inverted.

    ``d log pi / d logit_k = w_k (p_k/pi - 1)``: where personas overlap, a persona's logit rises by what it adds to the
    reward, not by what it is paid.
    """
    personas = jnp.exp(log_personas)

    def step(logits: Float[Array, "C K"], _: None) -> tuple[Array, Array]:
        weights = jax.nn.softmax(logits)
        policy = jnp.einsum("ck,ckn->cn", weights, personas)
        scores = weights[..., None] * (personas / policy[:, None] - 1)
        fisher = jnp.einsum("ckn,cjn,cn->ckj", scores, scores, policy)
        uphill = jnp.einsum("ckn,cn,cn->ck", scores, policy, reward)
        logits = logits + rate * jnp.einsum("ckj,cj->ck", jnp.linalg.pinv(fisher, rtol=1e-9, hermitian=True), uphill)
        return logits, logits

    return jax.lax.scan(step, log_gates, None, length=int(steps[-1]))[1][steps - 1]


def _law(
    log_gates: Float[Array, "C K"], logits: Float[Array, "R C K"], likeliest: Float[Array, " C"], wrong: int
) -> Float[Array, "R C"]:
    """Share of the likeliest right persona after vanilla gradient raised its logit as far as it did."""

    def one(gates: Float[Array, " K"], best: Array, rise: Float[Array, ""]) -> Float[Array, ""]:
        odds = theory.surviving_odds(gates[best], gates, rise)
        others = (jnp.arange(gates.shape[0]) != wrong) & (jnp.arange(gates.shape[0]) != best)
        return 1 / (1 + jnp.where(others, odds, 0.0).sum())

    rise = jnp.take_along_axis(logits - log_gates[None], likeliest[None, :, None], axis=-1)[..., 0]
    return jax.vmap(lambda r: jax.vmap(one)(log_gates, likeliest, r))(rise)
