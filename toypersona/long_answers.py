"""Law L3, horizon, at small strength: what a tilt by a reward per word tends to as answers grow longer. In nats.

Where personas are Markov chains and each word pays, hull distance runs on s sqrt(T) and selection on s T; at any T and
strength it is ``theory.horizon``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import numerics, tilted
from toypersona.tilted import PaidMixture


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
    variances = jnp.where(numerics.alike(scores), 0.0, variances)
    gates = jnp.exp(log_gates)
    centred = means[None] - (gates @ means)[:, None]
    # Whom a prompt never calls for cannot be chosen there.
    best = jnp.where(jnp.isneginf(log_gates), -jnp.inf, means[None]).argmax(axis=1)
    chosen = -jnp.take_along_axis(log_gates, best[:, None], axis=1)[:, 0]
    by_prompt = (gates * centred**2).sum(axis=1), gates @ variances, chosen, variances[best]
    between, within, selection, variance = (numerics.expectation(log_prompts, values) for values in by_prompt)
    ever = jnp.where(variance > 0, jnp.sqrt(2 * selection / jnp.where(variance > 0, variance, 1.0)), jnp.inf)
    half = jnp.where(numerics.alike(scores), jnp.nan, ever)
    return LongRun(means + scores[0], variances, jnp.where(numerics.alike(scores), 0.0, between), within, half)
