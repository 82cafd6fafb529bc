"""Is a persona still there when called: by prompts like his, and after words of his?"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import hulls, numerics

TOLERANCE = 1e-9
"""Nats to which each nearest mix is certified."""


def presence(
    log_policy: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    called: int,
    log_called: Float[Array, " C"],
    length: int,
) -> Float[Array, " T"]:
    """Weight of a persona in the mix nearest to how the policy goes on after none, one, ... of his words [T].

    At prompts as he opens them, averaged over what he would say.

    Args:
        log_policy: log pi(x|c) [C, N].
        log_personas: log p_k(x|c) [C, K, N].
        called: which persona.
        log_called: log-probability of each prompt where he opens it [C].
        length: T of the N = V^T responses.
    """
    num_prompts, num_personas, num_responses = log_personas.shape
    num_words = round(num_responses ** (1 / length))
    after = []
    for said in range(length):
        shape = (num_prompts, num_words**said, -1)
        personas = jnp.moveaxis(log_personas.reshape(num_prompts, num_personas, *shape[1:]), 1, 2)
        begun = jax.nn.logsumexp(personas, axis=-1)
        rest = jax.nn.log_softmax(log_policy.reshape(shape), axis=-1), personas - begun[..., None]
        flat = (x.reshape(-1, *x.shape[2:]) for x in rest)
        weights = hulls.project_batch(*flat, tolerance=TOLERANCE).weights.reshape(num_prompts, -1, num_personas)
        log_weight = begun[..., called] + log_called[:, None]
        after.append((jnp.exp(log_weight) * weights[..., called]).sum())
    return jnp.stack(after)


def absence(
    log_policy: Float[Array, "C N"], log_wanted: Float[Array, "C N"], log_called: Float[Array, " C"]
) -> Float[Array, ""]:
    """KL(wanted‖policy) in nats at the called persona's prompts: how far they are from being answered that way."""
    return jnp.exp(log_called) @ numerics.kl_divergence(log_wanted, log_policy)
