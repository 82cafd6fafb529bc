"""The drift of a mixture of chains that is paid for each word, at any length (law L3): exactly, by samples, by listing.

Exact sums are those of ``theory.horizon``: their distortion is the hull distance where personas can be told apart
and a bound elsewhere, to be compared with samples at any length, and with all responses listed at short ones. float64.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import bases, long_answers, numerics, theory, tilted
from toypersona.bases import Base
from toypersona.measures import sampled
from toypersona.theory import Horizon
from toypersona.tilted import PaidMixture
from toypersona.types import Key
from toypersona.worlds.world import Labels, World

CASES = ("per word", "equal means", "last word", "one persona")
"""The reward of law L3, and what breaks it: all personas paid alike, one word that counts, nobody to select."""

WEAK = 1e-2
"""sT of the weak limit."""


def paid(base: Base, scores: Float[Array, " V"]) -> PaidMixture:
    """A base that is paid for each word.

    Raises:
        ValueError: its personas are no Markov chains, or chains that read along.
    """
    tables = base.speakers.log_tables and base.speakers.log_tables(base.params)
    if not isinstance(tables, Array):
        raise ValueError("At any length only mixtures of Markov chains that do not read along are known exactly.")
    return PaidMixture(base.log_gates, tables, base.prompts, base.log_prompts, scores)


def curve(
    mixture: PaidMixture, strengths: Float[Array, "L R"], lengths: Sequence[int], *, last_only: bool = False
) -> Horizon:
    """``theory.horizon`` at each of L lengths and R strengths of its own, with leading axes [L, R]."""
    at = functools.partial(theory.horizon, mixture, lengths=lengths, last_only=last_only)
    return jax.vmap(at, in_axes=1, out_axes=1)(strengths)


def unscaled(scaled: Float[Array, " R"], lengths: Sequence[int]) -> Float[Array, "L R"]:
    """The strengths s at each of L lengths and R values of s sqrt(T)."""
    return scaled[None] / jnp.sqrt(jnp.asarray(lengths, float))[:, None]


def by_case(mixture: PaidMixture, lengths: Sequence[int], scaled: Float[Array, " R"]) -> Horizon:
    """The curves in each of ``CASES``, with leading axes [case, L, R].

    Args:
        mixture: paid per word.
        lengths: T, each of L.
        scaled: s sqrt(T); s itself where only the last word is paid [R].
    """
    alone = jnp.where(jnp.arange(mixture.log_gates.shape[1])[None] == 0, 0.0, -jnp.inf)
    alike = tilted.paying_alike(mixture.log_experts, mixture.scores)
    mixtures = {
        "equal means": mixture._replace(scores=alike),
        "one persona": mixture._replace(log_gates=jnp.broadcast_to(alone, mixture.log_gates.shape)),
    }

    per_word = unscaled(scaled, lengths)

    def at(case: str) -> Horizon:
        last = case == "last word"
        strengths = jnp.broadcast_to(scaled, per_word.shape) if last else per_word
        return curve(mixtures.get(case, mixture), strengths, lengths, last_only=last)

    return jax.tree.map(lambda *x: jnp.stack(x), *map(at, CASES))


def weak(mixture: PaidMixture, lengths: Sequence[int]) -> Float[Array, " L"]:
    """S at each of L lengths, under RL so weak that selection has hardly begun."""
    return theory.horizon(mixture, WEAK / jnp.asarray(lengths), lengths).selection_fraction


def selected(mixture: PaidMixture, lengths: Sequence[int], times: Float[Array, " Y"]) -> Float[Array, "L Y K"]:
    """Selection weights a_k at each of L lengths and Y values of sT, averaged over prompts."""
    weights = curve(mixture, times[None] / jnp.asarray(lengths)[:, None], lengths).weights
    return jnp.einsum("c,lyck->lyk", jnp.exp(mixture.log_prompts), weights)


def selected_law(mixture: PaidMixture, tends: long_answers.LongRun, times: Float[Array, " Y"]) -> Float[Array, "Y K"]:
    """What they tend to, ``g_k exp(sT mu_k) / Z``."""
    log_weights = numerics.log_normalize(mixture.log_gates[None] + times[:, None, None] * tends.means[None, None])
    return jnp.einsum("c,yck->yk", jnp.exp(mixture.log_prompts), jnp.exp(log_weights))


def by_samples(
    key: Key, mixture: PaidMixture, lengths: Sequence[int], scaled: Float[Array, " R"], num_samples: int
) -> sampled.SampledBudget:
    """The budgets from samples of the tilt and as many of the base, with leading axes [L, R].

    Args:
        key: one key.
        mixture: paid per word.
        lengths: T, each of L.
        scaled: s sqrt(T) [R].
        num_samples: M, responses to each prompt, even and >= 4.
    """
    draws, places = [], jnp.arange(2 * scaled.shape[0])
    for i, length in enumerate(lengths):
        # Places and not keys: jax takes keys that a vmapped loop runs over for used before.
        own, strengths = jax.random.fold_in(key, i), scaled / jnp.sqrt(length)

        def draw(at: tuple[Array, Array], own: Key = own, length: int = length) -> sampled.Samples:
            log_probs = tilted.sample_mixture(jax.random.fold_in(own, at[1]), mixture, at[0], length, num_samples)
            return sampled.Samples(*log_probs)

        draws.append(jax.lax.map(draw, (jnp.concatenate([strengths, jnp.zeros_like(strengths)]), places)))
    # The solver, slow to compile, is compiled once and not for every length; the second half of each is the base's.
    pairs = [
        jax.tree.map(lambda *x, half=half: jnp.concatenate([jnp.split(y, 2)[half] for y in x]), *draws)
        for half in (0, 1)
    ]
    budget = lambda x: sampled.budget_from_samples(x[0], x[1], mixture.log_prompts, tolerance=1e-9)  # noqa: E731
    budgets = jax.lax.map(budget, pairs)
    return jax.tree.map(lambda x: x.reshape(len(lengths), -1, *x.shape[1:]), budgets)


def by_listing(mixture: PaidMixture, labels: Labels, length: int, scaled: Float[Array, " R"]) -> Float[Array, " R"]:
    """The exact hull distance at each of R values of s sqrt(T), nats, from all responses of one length.

    Raises:
        ValueError: they are too many to list.
    """
    world = World(mixture.prompts, mixture.log_prompts, mixture.log_gates, mixture.log_experts)
    base = bases.true(world, labels, length)
    reward = jnp.broadcast_to(mixture.scores[base.responses].sum(axis=1), base.log_base.shape)
    at = lambda strength: base.budget(theory.tilt(base.log_base, reward, strength)).hull_distance  # noqa: E731
    return jax.lax.map(at, scaled / jnp.sqrt(length))
