"""A reader recalibrated by the one slope on its log-odds that serves it best (temperature scaling: Guo et al. 2017).

``min_{a >= 0} E_z KL(pi(y|z) ‖ pi0(y|z)^a / Z)`` is convex in a: all but a log-partition is linear.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from toypersona import numerics

MOST_SLOPE, HALVINGS = 1000.0, 80
"""Slopes of a recalibrated reader are from 0 to this; how often the range in which the best one lies is halved."""


def recalibrated(
    log_thoughts: Float[Array, " Z"], log_policy: Float[Array, "Z Y"], log_reader: Float[Array, "Z Y"]
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """The least ``E_z KL(pi(y|z) ‖ pi0(y|z)^a / Z)`` over slopes a in [0, MOST_SLOPE]: convex, one-dimensional.

    Args:
        log_thoughts: log pi(z).
        log_policy: log pi(y|z).
        log_reader: log pi0(y|z).

    Returns:
        The divergence, nats; the slope; and by how much the divergence may exceed the least one: where a bracket
        [l, h] holds the best slope, convexity bounds it by ``|f'(a)| (h - l)`` at any a within.
    """
    # What the reader holds impossible is so at any slope above 0, and 0 times inf would be nan.
    log_odds = jnp.maximum(log_reader, -1e6)

    def slope_of(a: Float[Array, ""]) -> Float[Array, ""]:
        excess = jnp.exp(jax.nn.log_softmax(a * log_odds)) - jnp.exp(log_policy)
        return numerics.expectation(log_thoughts, (excess * log_odds).sum(axis=-1))

    def halve(_: Int[Array, ""], bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        rising = slope_of(middle) > 0
        return jnp.where(rising, low, middle), jnp.where(rising, middle, high)

    ends = jnp.zeros(()), jnp.asarray(MOST_SLOPE, log_odds.dtype)
    low, high = jax.lax.fori_loop(0, HALVINGS, halve, jax.tree.map(lambda x: x.astype(log_odds.dtype), ends))
    best = (low + high) / 2
    apart = numerics.kl_divergence(log_policy, jax.nn.log_softmax(best * log_odds))
    return numerics.expectation(log_thoughts, apart), best, jnp.abs(slope_of(best)) * (high - low)
