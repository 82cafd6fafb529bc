"""Where the transition is: four boundaries along a strength axis, each with a meaning of its own.

- half: selection stops being the larger part, S falls through 1/2.
- vertex: selection is used up, the nearest mix is one persona, ``max_k w*_k >= 0.99``.
- detectable: n samples can tell the policy from every persona mix, ``n d_prompt >= ln(1/alpha)`` (Stein's lemma: Cover
  and Thomas 2006, theorem 11.8.3).
- noise: a sampled rule locks onto a wrong persona.

Every function returns a strength: 0 where the boundary is passed from the start, inf where it is not reached.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona.types import Scalar

VERTEX = 0.99
ALPHA = 0.05
LOCK_IN = 0.9
WRONG = 0.1


def crossing(strengths: Float[Array, " R"], values: Float[Array, " R"], level: Scalar) -> Float[Array, ""]:
    """The first strength at which ``values`` reaches ``level`` from below, linear in log strength between records.

    Args:
        strengths: positive, increasing [R].
        values: [R]; a nan counts as below.
        level: in the units of ``values``.
    """
    above = values >= level
    index = jnp.argmax(above)
    before = jnp.maximum(index - 1, 0)
    rise = values[index] - values[before]
    fraction = (level - values[before]) / jnp.where(rise > 0, rise, 1.0)
    log_strengths = jnp.log(strengths)
    inside = jnp.exp(log_strengths[before] + fraction * (log_strengths[index] - log_strengths[before]))
    return jnp.where(above.any(), jnp.where(index == 0, 0.0, inside), jnp.inf)


def half(strengths: Float[Array, " R"], selection_fraction: Float[Array, " R"]) -> Float[Array, ""]:
    """The strength at which the selection fraction falls through 1/2."""
    return crossing(strengths, -selection_fraction, -0.5)


def vertex(
    strengths: Float[Array, " R"], weights: Float[Array, "R C K"], log_prompts: Float[Array, " C"]
) -> Float[Array, ""]:
    """The strength at which the largest weight w*_k(c), averaged over prompts, reaches 0.99."""
    # The rest of the weight falls off exponentially or runs straight into a face of the simplex: a logarithm would
    # interpolate the one well and the weight itself the other; a root misses neither by much.
    rest = 1 - weights.max(axis=-1) @ jnp.exp(log_prompts)
    return crossing(strengths, -jnp.sqrt(jnp.maximum(rest, 0.0)), -jnp.sqrt(1 - VERTEX))


def detectable(
    strengths: Float[Array, " R"], hull_distance: Float[Array, " R"], num_samples: Scalar
) -> Float[Array, ""]:
    """The strength at which ``num_samples`` samples tell the policy from the hull at error 5% (Stein's lemma)."""
    # Distances are powers of a weak strength.
    return crossing(strengths, jnp.log(jnp.maximum(hull_distance, 1e-300)), jnp.log(-jnp.log(ALPHA) / num_samples))


def locked_wrong(
    gates: Float[Array, "C K"], mean_rewards: Float[Array, "C K"], log_prompts: Float[Array, " C"]
) -> Float[Array, ""]:
    """The probability that a prompt's gate gives 0.9 or more to a persona that does not pay best.

    Args:
        gates: w_k(c) after training [C, K].
        mean_rewards: E_{p_k}[r(c, .)] [C, K]; where all pay the same every persona is a wrong one to lock onto.
        log_prompts: log rho(c) [C].
    """
    gap = mean_rewards.max(axis=-1) - jnp.take_along_axis(mean_rewards, gates.argmax(axis=-1)[:, None], axis=-1)[:, 0]
    indifferent = jnp.ptp(mean_rewards, axis=-1) < 1e-9
    wrong = (gates.max(axis=-1) >= LOCK_IN) & ((gap > 0) | indifferent)
    return jnp.exp(log_prompts) @ wrong.astype(float)


def noise(learning_rates: Float[Array, " L"], wrong: Float[Array, " L"]) -> Float[Array, ""]:
    """The learning rate from which a sampled rule locks onto a wrong persona in 10% of the runs."""
    return crossing(learning_rates, wrong, WRONG)
