"""How many different things a policy still says: entropy, and what entered or left its support.

The support at threshold eps is the set of responses with probability >= eps, as n samples see it for eps = 1/n
(Wu et al. 2025, "The invisible leash"). Shrinkage is what the base said that training silenced; expansion is what
training says that the base did not.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import numerics
from toypersona.types import Scalar


class Support(NamedTuple):
    """Averages over prompts.

    Attributes:
        sequence_entropy: nats per response.
        token_entropy: nats per token.
        shrinkage: base probability of responses that left the support, in [0, 1].
        expansion: policy probability of responses that entered it, in [0, 1].
    """

    sequence_entropy: Float[Array, ""]
    token_entropy: Float[Array, ""]
    shrinkage: Float[Array, ""]
    expansion: Float[Array, ""]


def support(
    log_policy: Float[Array, "C N"],
    log_base: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
    *,
    length: int,
    threshold: Scalar = 1e-3,
) -> Support:
    """Entropy and change of support of a policy against its base.

    Args:
        log_policy: log pi(x|c) [C, N].
        log_base: log pi0(x|c) [C, N].
        log_prompts: log rho(c) [C].
        length: T, for the entropy per token.
        threshold: eps, the probability from which a response counts as said.
    """
    rho = jnp.exp(log_prompts)
    said, was_said = log_policy >= jnp.log(threshold), log_base >= jnp.log(threshold)
    left = jnp.where(was_said & ~said, jnp.exp(log_base), 0.0).sum(axis=-1)
    entered = jnp.where(said & ~was_said, jnp.exp(log_policy), 0.0).sum(axis=-1)
    sequence_entropy = rho @ numerics.entropy(log_policy)
    return Support(sequence_entropy, sequence_entropy / length, rho @ left, rho @ entered)
