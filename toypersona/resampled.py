"""Policies made of samples of the base: tilts, best of n, and what the weak limit says of them before they are made.

A policy that pays r is the base with every sample weighted: ``exp(s r)`` by a tilt of strength s, and by best of n as
often as it would win against n - 1 others. What a policy is made from, the strength of a tilt or the others' rewards,
is read off some samples (``fitted``), and everything is measured on others.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from toypersona import hulls, numerics
from toypersona.measures import control_variates, detectors, sampled
from toypersona.measures.sampled_inputs import SCORED_TWICE, Samples
from toypersona.types import Key, Scalar

SURELY = 3.0
"""Standard errors by which a policy known by samples is scaled down, so that it sums to 1 or less."""

HALVINGS, REACHED = 50, 1e-3
"""Bisections of a strength's logarithm, and the part of the drift that it may miss."""


class Limit(NamedTuple):
    """S of an infinitely weak tilt, from samples.

    Attributes:
        value: R², less what a regression on so few samples explains by chance.
        error: its standard error.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]


def reweighted(drawn: Samples, log_weights: Float[Array, "C M"]) -> Samples:
    """Samples of the base as samples of ``pi0 exp(log_weights)``, whatever constant these lack."""
    return drawn._replace(log_policy=drawn.log_base + log_weights, log_weights=log_weights)


def weak_limit(drawn: Samples, rewards: Float[Array, "C M"], log_prompts: Float[Array, " C"]) -> Limit:
    """R² of a reward (law L1, ``theory.weak_limit``) from samples of the base, strata in turn or none.

    Args:
        drawn: of the base.
        rewards: of them.
        log_prompts: log rho(c) [C].
    """
    num, num_personas = rewards.shape[1], drawn.log_personas.shape[1]
    even = jnp.full(num, -jnp.log(num))
    to_base = drawn.log_personas - drawn.log_base[:, None] + even[None, None]
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    left = centred - jax.vmap(hulls.tangent_fit, (None, 0, 0))(even, to_base, centred)
    rho = jnp.exp(log_prompts)
    # Of as many degrees of freedom as are left (Wherry 1931).
    squares = left**2 * (num - 1) / (num - num_personas), centred**2
    missing, whole = (rho @ each.mean(axis=1) for each in squares)
    terms = (missing / whole * squares[1] - squares[0]) / whole
    return Limit(1 - missing / whole, control_variates.pooled(terms, rho, drawn.num_strata)[1])


def strength(rewards: Float[Array, "C M"], log_prompts: Float[Array, " C"], nats: Scalar) -> Float[Array, ""]:
    """The strength whose tilt is so many nats from the base, by samples of the base; nan if no tilt is so far."""
    spread = jnp.sqrt(jnp.exp(log_prompts) @ rewards.var(axis=1))

    def halve(ends: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        middle = jnp.sqrt(ends[0] * ends[1])
        beyond = drift(middle * rewards, log_prompts) > nats
        return (jnp.where(beyond, ends[0], middle), jnp.where(beyond, middle, ends[1])), None

    start = 1e-4 / spread, 1e4 / spread
    found = jax.lax.scan(halve, start, length=HALVINGS)[0][0]
    return jnp.where(jnp.abs(drift(found * rewards, log_prompts) - nats) < REACHED * nats, found, jnp.nan)


def drift(log_weights: Float[Array, "C M"], log_prompts: Float[Array, " C"]) -> Float[Array, ""]:
    """KL(policy‖base) of samples of the base that are weighted, nats."""
    log_shares = jax.nn.log_softmax(log_weights, axis=1)
    gained = (jnp.exp(log_shares) * log_shares).sum(axis=1) + jnp.log(log_weights.shape[1])
    return jnp.exp(log_prompts) @ gained


def best_of(num: Scalar, rewards: Float[Array, "C M"], others: Float[Array, "C L"]) -> Float[Array, "C M"]:
    """Log-weights of samples as the best of n, the n - 1 others drawn from rewards of L samples and the sample itself.

    With F their distribution function it is ``F(r)^n - F(r-)^n`` over ``F(r) - F(r-)``: of those that pay the same one
    is taken at random.
    """

    def one(paid: Float[Array, " M"], others: Float[Array, " L"]) -> Float[Array, " M"]:
        ordered, whole = jnp.sort(others), others.shape[0] + 1
        among = lambda side: jnp.searchsorted(ordered, paid, side=side).astype(paid.dtype)  # noqa: E731
        below, up_to = among("left") / whole, (among("right") + 1) / whole
        return jnp.log((up_to**num - below**num) / (up_to - below))

    return jax.vmap(one)(rewards, others)


def policies(
    fitted: Float[Array, "C L"],
    tested: Float[Array, "C M"],
    log_prompts: Float[Array, " C"],
    nats: Float[Array, " D"],
    nums: Float[Array, " B"],
    num_strata: int = 1,
) -> Float[Array, "P C M"]:
    """Log-weights of samples under the tilts that are so many nats from the base, then under best of n.

    By ``fitted`` each policy sums to 1 less ``SURELY`` standard errors: but for about one case in a hundred it then
    sums to 1 or less, as an e-value needs it.

    Args:
        fitted: rewards of samples by which policies are made.
        tested: of others, whose weights are given.
        log_prompts: log rho(c) [C].
        nats: drifts of tilts.
        nums: n of best of n.
        num_strata: which all samples are of, in turn.
    """
    strengths = jax.vmap(lambda far: strength(fitted, log_prompts, far))(nats)[:, None, None]

    def weighted(rewards: Float[Array, "C N"]) -> Float[Array, "P C N"]:
        best = jax.vmap(lambda num: best_of(num, rewards, fitted))(nums)
        return jnp.concatenate([strengths * rewards[None], best])

    return weighted(tested) - jax.vmap(jax.vmap(lambda x: _most(x, num_strata)))(weighted(fitted))[..., None]


def _most(log_weights: Float[Array, " M"], num_strata: int) -> Float[Array, ""]:
    """Ln of the mean weight, ``SURELY`` standard errors up."""
    most = log_weights.max()
    mean, error = control_variates.pooled(jnp.exp(log_weights - most)[None], jnp.ones(1), num_strata)
    return most + jnp.log(mean + SURELY * error)


def accepted(key: Key, log_weights: Float[Array, "C M"]) -> Bool[Array, "C M"]:
    """Which samples of the base are samples of the policy, by rejection (von Neumann 1951)."""
    chance = jnp.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    return jax.random.uniform(key, chance.shape, chance.dtype) < chance


class Seen(NamedTuple):
    """What detectors make of answers of a policy that it was not fitted to.

    Attributes:
        log_e: ln E against every mix of the personas (``detectors.e_value``), of all answers together.
        num: how many they are.
        proofs: of these, how many are proofs of their own: likelier than under any persona.
        best: by how many nats the best of them is.
        witness: which one it is, of all prompts' samples in turn.
        certified: the fits of the mix reached their tolerance.
    """

    log_e: Float[Array, ""]
    num: Int[Array, ""]
    proofs: Int[Array, ""]
    best: Float[Array, ""]
    witness: Int[Array, ""]
    certified: Bool[Array, ""]


def seen(key: Key, log_weights: Float[Array, "C M"], tested: Samples, asked: Bool[Array, " C"]) -> Seen:
    """Detectors on the samples of the base that a policy accepts as its own.

    Args:
        key: decides which are accepted.
        log_weights: log pi/pi0 of samples of the base, such that the policy sums to 1 or less.
        tested: these samples, to which nothing was fitted.
        asked: prompts whose samples count [C].
    """
    taken = accepted(key, log_weights) & asked[:, None]
    log_policy = tested.log_base + log_weights
    found = detectors.e_value(log_policy, tested.log_personas, counted=taken)
    margins = jnp.where(taken, detectors.margin(log_policy, tested.log_personas), -jnp.inf)
    proofs = (margins > 2 * SCORED_TWICE).sum()
    return Seen(found.log_e, taken.sum(), proofs, margins.max(), margins.argmax(), found.certified)


class Measured(NamedTuple):
    """Policies that pay one reward, of P kinds.

    Attributes:
        predicted: R² of the reward.
        budget: of every policy [P].
        seen: what detectors make of it [P].
    """

    predicted: Limit
    budget: sampled.SampledBudget
    seen: Seen


def measured(
    key: Key,
    fitted: Samples,
    tested: Samples,
    rewards: tuple[Float[Array, "C L"], Float[Array, "C M"]],
    log_prompts: Float[Array, " C"],
    nats: Float[Array, " D"],
    nums: Float[Array, " B"],
) -> Measured:
    """Tilts and best of n made of some samples of the base, and measured on others.

    Args:
        key: decides which samples detectors see.
        fitted: samples by which R² is predicted and policies are made, of strata in turn or of none.
        tested: others, likewise.
        rewards: of both.
        log_prompts: log rho(c) [C].
        nats: drifts of tilts.
        nums: n of best of n.
    """
    by, on = rewards
    made = policies(by, on, log_prompts, nats, nums, fitted.num_strata)

    def one(given: tuple[Key, Float[Array, "C M"]]) -> tuple[sampled.SampledBudget, Seen]:
        budget = sampled.budget_from_samples(reweighted(tested, given[1]), tested, log_prompts)
        return budget, seen(*given, tested, jnp.isfinite(log_prompts))

    return Measured(weak_limit(fitted, by, log_prompts), *jax.lax.map(one, (jax.random.split(key, len(made)), made)))


class Repaired(NamedTuple):
    """A tilt of a base that is no mix of the personas.

    Attributes:
        predicted: R² by repaired personas.
        budget: of the tilt, by repaired personas.
        as_given: S by the personas as they are.
    """

    predicted: Limit
    budget: sampled.SampledBudget
    as_given: Float[Array, ""]


def repaired(drawn: Samples, rewards: Float[Array, "C M"], log_prompts: Float[Array, " C"], nats: Scalar) -> Repaired:
    """The tilt by a reward that is so many nats from the base, all from the same samples of it."""
    even = jnp.full(rewards.shape[1], -jnp.log(rewards.shape[1]))
    weights = jax.vmap(lambda q: hulls.project(even, q, tolerance=1e-9).weights)(drawn.log_personas)
    change = strength(rewards, log_prompts, nats) * rewards
    budget = sampled.budget_from_samples(reweighted(drawn, change), drawn, log_prompts, repair=True)
    beyond = drawn.log_base - jax.vmap(numerics.log_mix)(jnp.log(weights), drawn.log_personas)
    kept = jnp.exp(log_prompts) @ (jax.nn.softmax(change, axis=1) * beyond).sum(axis=1)
    limit = weak_limit(sampled.repaired(drawn, weights), rewards, log_prompts)
    return Repaired(limit, budget, (budget.selection - kept) / budget.total)
