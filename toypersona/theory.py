"""Closed forms, to be drawn over measurements: code that shares nothing with the measures it is compared with."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import hulls, numerics
from toypersona.types import Scalar


def tilt(
    log_base: Float[Array, "*batch N"], reward: Float[Array, "*batch N"], strength: Scalar
) -> Float[Array, "*batch N"]:
    """The KL-regularised optimum ``pi0 exp(s r) / Z``, s = 1/beta.

    Args:
        log_base: log pi0 [..., N].
        reward: [..., N].
        strength: s >= 0.

    Returns:
        Log-probabilities [..., N].
    """
    return numerics.log_normalize(log_base + strength * reward)


def weak_limit(
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
) -> Float[Array, ""]:
    """The selection fraction of an infinitely weak tilt (law L1).

    To second order in s, ``total = s²/2 Var(r)`` and projecting removes the part of r that the personas' likelihood
    ratios explain, so S(0+) is the R² of that regression; numerators and denominators are pooled over prompts.

    Args:
        log_base: log pi0 [C, N], inside the hull with all gates positive.
        log_personas: [C, K, N].
        reward: [C, N].
        log_prompts: log rho(c) [C].

    Returns:
        R² in [0, 1]. ``arccos(sqrt(R²))`` is the reward's angle to the personas.
    """
    rho = jnp.exp(log_prompts)
    centred = reward - numerics.expectation(log_base, reward)[:, None]
    fitted = jax.vmap(hulls.tangent_fit)(log_base, log_personas, centred)
    explained = rho @ numerics.expectation(log_base, fitted**2)
    return explained / (rho @ numerics.expectation(log_base, centred**2))
