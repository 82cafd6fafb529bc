"""Twins of the curves that people ask about in the issue trackers of RL trainers, where every number is exact.

Entropy: to first order in the strength of a tilt, and so of a small step on a table, it changes by
``Cov(r, -log pi0)``: it rises where what is paid surprises the base more than what it says itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import first_order, kl_estimators, leashes, numerics, rewards, theory, trajectories
from toypersona.bases import Base
from toypersona.policies.policy import all_log_probs
from toypersona.rules import catalogue, gradient
from toypersona.types import Key, Params, Scalar

STRIDE = 0.5
"""Longest step of exact policy gradient, a learning rate."""

SMALL = 1e-4
"""Strengths of the tilts that entropy's first change is measured by."""

RULES = {
    name: catalogue.RULES[name]
    for name in (
        *("policy gradient", "RLOO", "RLOO, KL in reward", "RLOO, k2 in loss", "RLOO, k1 in loss"),
        *("GRPO", "paid by chance"),
    )
}
"""Rules that are asked what their drift was for."""


def walk(base: Base, reward: Float[Array, "C N"], times: Float[Array, " R"]) -> Params:
    """Parameters along exact policy gradient, where its learning rates add up to each time, with a leading axis R."""
    make_rule = lambda rate: gradient.policy_gradient(base.task(reward), learning_rate=rate)  # noqa: E731
    way = {"key": jax.random.key(0), "marks": times, "max_step": STRIDE}
    return trajectories.follow(make_rule, lambda params: params, base.params, **way)[0]


STALE = ("an earlier policy", "the base")
"""Samplers that are no variants of the policy: where it was one record before, and where it began."""


def sampler_names(end: int | None) -> tuple[str, ...]:
    """Who may have sampled, the policy first; ``end`` as in ``kl_estimators.samplers``."""
    return (*kl_estimators.sampler_names(end), *STALE)


def logs(key: Key, base: Base, path: Params, laws: Float[Array, "R C N"], end: int | None) -> dict[str, Array]:
    """What is logged of each policy on a path by each of S samplers.

    Returns:
        As ``kl_estimators.Logged``, each called ``logged_...`` [R, S, E, L]; KL(sampler‖base), ``sampler_from_base``,
        and KL(sampler‖policy), ``sampler_from_policy`` [R, S]; and ``negative_tokens`` [R].
    """
    apart = lambda p, q: numerics.expectation(base.log_prompts, numerics.kl_divergence(p, q))  # noqa: E731

    def at(record: tuple[Params, Array, Array]) -> dict[str, Array]:
        params, law, earlier = record
        ratio = kl_estimators.token_ratios(base.policy, params, base.params, base.prompts, base.responses)
        made = kl_estimators.samplers(jax.random.clone(key), law, base.length, end)
        who = jnp.concatenate([made, jnp.stack([earlier, base.log_base])])
        of = lambda sampler: kl_estimators.logged(ratio, sampler, base.log_prompts)._asdict()  # noqa: E731
        return {
            **{f"logged_{name}": values for name, values in jax.lax.map(of, who).items()},
            "sampler_from_base": jax.vmap(base.spent)(who),
            "sampler_from_policy": jax.vmap(lambda sampler: apart(sampler, law))(who),
            "negative_tokens": kl_estimators.negative_tokens(ratio, law, base.log_prompts),
        }

    return jax.lax.map(at, (path, laws, jnp.concatenate([base.log_base[None], laws[:-1]])))


def negatives(
    key: Key, base: Base, laws: Float[Array, "R C N"], sizes: Sequence[int], num_batches: int
) -> dict[str, Float[Array, "R B"]]:
    """How often the mean of k1 over a batch of B sizes is below 0: ``negative``, and by law, ``negative_law``."""

    def below(number: Array, log_policy: Array, size: int) -> Array:
        own = jax.random.fold_in(jax.random.fold_in(jax.random.clone(key), number), size)
        ratio = jnp.where(jnp.isneginf(base.log_base), 0.0, log_policy - base.log_base)
        return kl_estimators.negative_batches(own, ratio, log_policy, base.log_prompts, size, num_batches)

    numbers = jnp.arange(laws.shape[0])
    each = [jax.lax.map(lambda at, size=size: below(at[0], at[1], size), (numbers, laws)) for size in sizes]
    laws_say = [kl_estimators.negative_law(jax.vmap(base.spent)(laws), size) for size in sizes]
    return {"negative": jnp.stack(each, axis=1), "negative_law": jnp.stack(laws_say, axis=1)}


def pulls(base: Base, path: Params) -> dict[str, Array]:
    """``kl_estimators.pulls`` at every record of a path, each called ``pull_...``, and its ``path_drift``."""
    fixed = base.prompts, base.log_prompts, base.responses
    at = lambda params: kl_estimators.pulls(base.policy, params, base.params, *fixed)._asdict()  # noqa: E731
    found = {f"pull_{name}": values for name, values in jax.lax.map(at, path).items()}
    return found | {"path_drift": jax.lax.map(lambda params: base.spent(base.law(params)), path)}


def _entropy(base: Base, log_policy: Float[Array, "C N"]) -> Float[Array, ""]:
    return numerics.expectation(base.log_prompts, numerics.entropy(log_policy))


def entropies(base: Base, paid: Float[Array, "A C N"], times: Float[Array, " R"]) -> dict[str, Array]:
    """Entropy under A rewards that are standardised.

    Returns:
        ``surprise``, ``Cov(r, -log pi0)`` [A], which needs log-probabilities only; ``tilt_change`` and
        ``gradient_change``, entropy's first change under the tilt, by a small one there and back, per unit of strength,
        and under policy gradient, by formula, per unit of learning rate [A]; ``entropy`` and ``entropy_drift``
        along policy gradient [A, R]; and ``base_entropy`` [].
    """

    def first(reward: Float[Array, "C N"]) -> tuple[Array, Array, Array]:
        tilted = [_entropy(base, theory.tilt(base.log_base, reward, step)) for step in (SMALL, -SMALL)]
        log_probs = lambda params: all_log_probs(base.policy, params, base.prompts)  # noqa: E731
        moved = first_order.first(log_probs, base.params, base.log_prompts, reward)
        by = lambda direction: first_order.entropy_change(base.log_base, direction, base.log_prompts)  # noqa: E731
        return by(reward), (tilted[0] - tilted[1]) / (2 * SMALL), by(moved)

    def along(reward: Float[Array, "C N"]) -> tuple[Array, Array]:
        laws = jax.lax.map(base.law, walk(base, reward, times))
        return jax.lax.map(lambda law: (_entropy(base, law), base.spent(law)), laws)

    surprise, tilt_change, gradient_change = jax.lax.map(first, paid)
    entropy, drift = jax.lax.map(along, paid)
    return {
        "surprise": surprise,
        "tilt_change": tilt_change,
        "gradient_change": gradient_change,
        "entropy": entropy,
        "entropy_drift": drift,
        "base_entropy": _entropy(base, base.log_base),
    }


def followed(
    key: Key, setup: catalogue.Setup, rules: Mapping[str, catalogue.Entry], steps: Int[Array, " R"]
) -> dict[str, Array]:
    """What L rules earn and spend along their paths [L, R].

    Returns:
        ``rule_paid`` and ``rule_drift``; the drift's ``least`` and ``unpaid``; and, of that, ``among_right`` answers.
    """
    base = setup.base

    def measured(log_policy: Float[Array, "C N"]) -> dict[str, Array]:
        parts = leashes.unpaid(log_policy, base.log_base, setup.reward, base.log_prompts)
        spent = {"rule_paid": base.mean(log_policy, setup.reward), "rule_drift": base.spent(log_policy)}
        among = leashes.among_right(log_policy, base.log_base, setup.right, base.log_prompts)
        return spent | parts._asdict() | {"among_right": among}

    def along(name: str, rule: catalogue.Entry) -> dict[str, Array]:
        own = jax.random.fold_in(jax.random.clone(key), crc32(name.encode()))
        path = base.follow(rule.make(setup), key=own, marks=rule.rate * steps, max_step=rule.rate)
        return jax.lax.map(measured, path)

    paths = [along(name, rule) for name, rule in rules.items()]
    return jax.tree.map(lambda *x: jnp.stack(x), *paths)


def ended(base: Base, paid: Float[Array, "A C N"], betas: Float[Array, " B"]) -> dict[str, Array]:
    """Where each of the E ``leashes.ENDS`` ends under A rewards and B coefficients [A, B, E].

    Returns:
        ``end_drift`` and ``end_paid``; the advantage ``end_slope`` that is left there, as a standard deviation, where
        it holds; ``end_holds``, the share of prompts where it does; and ``least_beta`` [A].
    """

    def at(reward: Float[Array, "C N"], beta: Scalar) -> tuple[dict[str, Array], Array]:
        found = leashes.ends(base.log_base, reward, beta)
        holds = jnp.stack([jnp.ones_like(found.least_beta, bool)] * 2 + [found.least_beta < beta])
        left = leashes.slopes(found.log_policies, base.log_base, reward, beta)
        return {
            "end_drift": jax.vmap(base.spent)(found.log_policies),
            "end_paid": jax.vmap(lambda law: base.mean(law, reward))(found.log_policies),
            "end_slope": jnp.where(holds, left, 0.0).max(axis=1),
            "end_holds": holds @ base.rho,
        }, base.rho @ found.least_beta

    each, least = jax.lax.map(lambda reward: jax.lax.map(lambda beta: at(reward, beta), betas), paid)
    return each | {"least_beta": least[:, 0]}


def same_drift(base: Base, rewards_at: Sequence[Float[Array, "C N"]], drifts: Float[Array, " D"]) -> dict[str, Array]:
    """The drift budget, entropy and reward of the tilts by A rewards that spend the same D drifts, each [A, D]."""

    def at(reward: Float[Array, "C N"], drift: Scalar) -> dict[str, Any]:
        law = leashes.tilt_with(base.log_base, reward, base.spent, drift)
        spent = base.budget(law)
        names = ("total", "selection", "switching", "novelty", "selection_fraction", "gap", "certified")
        parts = {name: getattr(spent, name) for name in names}
        return parts | {"same_entropy": _entropy(base, law), "same_paid": base.mean(law, reward)}

    return jax.lax.map(lambda reward: jax.lax.map(lambda drift: at(reward, drift), drifts), jnp.stack([*rewards_at]))


def rewarded(base: Base, word_reward: Float[Array, "C N"]) -> Float[Array, "A C N"]:
    """What entropy is asked about: each persona, some words, and what the base says rarely; standardised."""
    affine = lambda k: rewards.persona_affine(  # noqa: E731
        base.log_gates, base.log_personas, jax.nn.one_hot(k, base.num_personas)
    )
    each = [*map(affine, range(base.num_personas)), word_reward, -base.log_base]
    return jnp.stack([rewards.standardise(reward, base.log_base, base.log_prompts) for reward in each])
