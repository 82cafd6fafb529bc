"""Law L3, horizon: what a tilt by a reward per word does as answers grow longer. In nats.

Where personas are Markov chains and each word pays, hull distance runs on s sqrt(T) and selection on s T. As everything
in ``theory``, it shares no code with ``measures``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from toypersona import numerics, tilted
from toypersona.tilted import PaidMixture
from toypersona.types import Scalar


class Horizon(NamedTuple):
    """A tilt as a mix of tilted personas at each of L lengths.

    Attributes:
        total: KL(tilt‖pi0), as in ``theory.Factors`` [L].
        distortion: likewise [L].
        selection_fraction: ``KL(a‖g) / total``: S where personas can be told apart, a lower bound elsewhere [L]; nan
            where every word pays the same, or the strength is 0, and nothing moves.
        weights: a_k(c) [L, C, K].
    """

    total: Float[Array, " L"]
    distortion: Float[Array, " L"]
    selection_fraction: Float[Array, " L"]
    weights: Float[Array, "L C K"]


def horizon(mixture: PaidMixture, strength: Scalar, lengths: Sequence[int], *, last_only: bool = False) -> Horizon:
    """The tilt by a reward per word, at any length (law L3): ``theory.factorise`` by transfer matrices; float64.

    ``KL(p_k^s‖p_k) = s E_{p_k^s}[r] - log Z_k``, both from ``tilted.moments``.

    Args:
        mixture: the base, and what each word pays.
        strength: s > 0.
        lengths: T, as many as wanted.
        last_only: pay for the last word only, a reward that does not grow with the response.

    Raises:
        ValueError: chains without memory, or lengths below 1.
    """
    log_gates, log_experts, prompts, log_prompts, scores = mixture
    # Only differences tilt: a large constant would leave nothing but its rounding.
    above = scores - scores[0]
    one = lambda table, prompt: tilted.moments(table, prompt, above, strength, lengths, last_only=last_only)  # noqa: E731
    per_persona = jax.vmap(jax.vmap(one, in_axes=(0, None)), in_axes=(None, 0))
    log_partition, mean = (jnp.moveaxis(x, -1, 0) for x in per_persona(log_experts, prompts))
    log_weights = numerics.log_normalize(log_gates[None] + log_partition)
    moved = numerics.expectation(log_weights, strength * mean - log_partition)
    chosen = numerics.kl_divergence(log_weights, jnp.broadcast_to(log_gates, log_weights.shape))
    rho = jnp.broadcast_to(log_prompts, moved.shape)
    distortion, selection = (numerics.expectation(rho, nats) for nats in (moved, chosen))
    total = selection + distortion
    # Both are then differences of roundings.
    still = _alike(scores) | (jnp.asarray(strength) == 0)
    return Horizon(total, distortion, jnp.where(still, jnp.nan, selection / total), jnp.exp(log_weights))


def _alike(scores: Float[Array, " V"]) -> Bool[Array, ""]:
    """Whether every word pays the same, up to rounding."""
    return jnp.ptp(scores) <= numerics.CONSTANT * jnp.finfo(scores.dtype).eps * jnp.abs(scores).max()


class LongRun(NamedTuple):
    """What long responses tend to; rewards per word.

    Attributes:
        means: mu_k, each persona's mean reward per word [K].
        variances: sigma_k², its asymptotic variance per word [K].
        between: variance of mu over personas within prompts.
        within: mean of sigma² over personas.
        half: ``s sqrt(T)`` at the half boundary; inf where whoever pays best always pays the same.
    """

    means: Float[Array, " K"]
    variances: Float[Array, " K"]
    between: Float[Array, ""]
    within: Float[Array, ""]
    half: Float[Array, ""]

    def weak_limit(self, lengths: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """S(0+) = T between / (T between + within): 1/2 at T = within / between, where the plateau begins to rise.

        It is nan, as ``half`` is, where every word pays the same.
        """
        return lengths * self.between / (lengths * self.between + self.within)


def long_run(mixture: PaidMixture) -> LongRun:
    """L3 at small strength: ``log Z_k = s T mu_k + s² T sigma_k²/2``, so selection runs on sT, distance on s sqrt(T).

    By the time s sqrt(T) is of order one, sT has chosen the persona that pays best: selection has spent
    ``ln 1/g_best`` and distortion ``s² T sigma_best²/2``; the half boundary is where these are equal. Every chain
    has one recurrent class.
    """
    log_gates, log_experts, _, log_prompts, scores = mixture
    # Less what the first word pays, so that a constant leaves exactly nothing.
    means, variances = jax.vmap(tilted.asymptotics, in_axes=(0, None))(log_experts, scores - scores[0])
    variances = jnp.where(_alike(scores), 0.0, variances)
    gates = jnp.exp(log_gates)
    centred = means[None] - (gates @ means)[:, None]
    # Whom a prompt never calls for cannot be chosen there.
    best = jnp.where(jnp.isneginf(log_gates), -jnp.inf, means[None]).argmax(axis=1)
    chosen = -jnp.take_along_axis(log_gates, best[:, None], axis=1)[:, 0]
    by_prompt = (gates * centred**2).sum(axis=1), gates @ variances, chosen, variances[best]
    between, within, selection, variance = (numerics.expectation(log_prompts, values) for values in by_prompt)
    ever = jnp.where(variance > 0, jnp.sqrt(2 * selection / jnp.where(variance > 0, variance, 1.0)), jnp.inf)
    half = jnp.where(_alike(scores), jnp.nan, ever)
    return LongRun(means + scores[0], variances, jnp.where(_alike(scores), 0.0, between), within, half)
