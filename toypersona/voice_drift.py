"""What a language model in several voices drifted by, from answers of every voice, as many of each (nats).

The base mixes the voices evenly; what is measured mixes what became of them by gates g, so that an answer of voice k
counts g_k. Arrays have the answers of the first voice first, then those of the second (K M of them).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import hulls
from toypersona.measures import sampled
from toypersona.measures.sampled_inputs import Samples


class Kept(NamedTuple):
    """Answers of T tokens that were kept at one drift.

    Attributes:
        tokens: [K M, T].
        log_policy: of each token under the policy, given those before; nats [K M, T].
        log_voices: likewise under every voice of the base [K, K M, T].
        gates: g [K].
        rewards: of answers [K M].
    """

    tokens: Int[Array, "N T"]
    log_policy: Float[Array, "N T"]
    log_voices: Float[Array, "K N T"]
    gates: Float[Array, " K"]
    rewards: Float[Array, " N"]


class New(NamedTuple):
    """Tokens that make most of the hull distance, the largest first: which, and their nats an answer [R]."""

    tokens: Int[Array, " R"]
    nats: Float[Array, " R"]


def of_base(log_voices: Float[Array, "K N"]) -> Samples:
    """Answers of the base, from their log-probabilities under every voice."""
    log_base = log_even_mix(log_voices)
    strata = jnp.repeat(jnp.arange(len(log_voices)), log_base.size // len(log_voices))
    return Samples(log_base[None], log_base[None], log_voices[None], None, strata[None])


def log_even_mix(log_voices: Float[Array, "K N"]) -> Float[Array, " N"]:
    """Log-probabilities under the base, nats."""
    return jax.nn.logsumexp(log_voices, axis=0) - jnp.log(len(log_voices))


def counts(kept: Kept) -> Float[Array, " N"]:
    """What each answer counts, 1 in the mean."""
    return jnp.repeat(kept.gates, kept.rewards.size // kept.gates.size) * kept.gates.size


def budget(kept: Kept, base: Samples) -> sampled.SampledBudget:
    """The drift budget of one question, ``base`` made by ``of_base``."""
    given = of_base(kept.log_voices.sum(axis=-1))
    samples = given._replace(log_policy=kept.log_policy.sum(axis=-1)[None], log_weights=jnp.log(counts(kept))[None])
    return sampled.budget_from_samples(samples, base, jnp.zeros(1))


def new_words(kept: Kept, weights: Float[Array, " K"], num_tokens: int, *, most: int) -> New:
    """Tokens by their part of the mean log pi/m.

    Of a prefix, m is the mix of the voices' probabilities of it, so that an answer's log-ratio is the sum of those of
    its tokens.

    Args:
        kept: answers.
        weights: of m, the nearest mix.
        num_tokens: tokens are below it.
        most: tokens wanted, R.
    """
    prefixes = jnp.log(weights)[:, None, None] + jnp.cumsum(kept.log_voices, axis=-1)
    ratios = kept.log_policy - jnp.diff(jax.nn.logsumexp(prefixes, axis=0), prepend=0.0, axis=-1)
    parts = counts(kept)[:, None] * ratios / len(ratios)
    nats, tokens = jax.lax.top_k(jnp.zeros(num_tokens).at[kept.tokens].add(parts), most)
    return New(tokens, nats)


def weak_limit(
    log_voices: Float[Array, "K N"], direction: Float[Array, " N"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """R² of a weak step and its standard error (law L1): the share of its direction's variance that voices explain.

    The variance is that under the base. The jackknife over answers, as if they were drawn independently, gives the
    error and takes off what the regression explains by chance; an R² near 0 may come out below it.

    Args:
        log_voices: of answers of the base, nats.
        direction: how fast log pi of these moves, nats for each unit of the step.
    """
    num = direction.size
    log_ratios = log_voices - log_even_mix(log_voices)[None]

    def limit(counted: Float[Array, " N"]) -> Float[Array, ""]:
        law = counted / counted.sum()
        centred = direction - direction @ law
        explained = hulls.tangent_fit(jnp.log(law), log_ratios + jnp.log(law)[None], centred)
        return explained**2 @ law / (centred**2 @ law)

    every = jnp.ones(num)
    without = jax.lax.map(lambda i: limit(every.at[i].set(0.0)), jnp.arange(num))
    return num * limit(every) - (num - 1) * without.mean(), without.std() * jnp.sqrt(num - 1.0)
