"""How many different things a policy still says: entropy, what entered or left its support, pass@k.

The support at threshold eps is the set of responses with probability >= eps, as n samples see it for eps = 1/n
(Wu et al. 2025, "The invisible leash"). Shrinkage is what the base said that training silenced; expansion is what
training says that the base did not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import numerics
from toypersona.types import Key, Scalar


class Support(NamedTuple):
    """Averages over prompts; one of probability 0 does not count, whatever is said to it.

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
    said, was_said = log_policy >= jnp.log(threshold), log_base >= jnp.log(threshold)
    left = jnp.where(was_said & ~said, jnp.exp(log_base), 0.0).sum(axis=-1)
    entered = jnp.where(said & ~was_said, jnp.exp(log_policy), 0.0).sum(axis=-1)
    by_prompt = numerics.entropy(log_policy), left, entered
    entropy, shrinkage, expansion = (numerics.expectation(log_prompts, values) for values in by_prompt)
    return Support(entropy, entropy / length, shrinkage, expansion)


class Counts(NamedTuple):
    """Numbers of right responses to a prompt, averaged over prompts, by who can be expected to say them.

    Of Wu et al. (2025) ``kept / (kept + lost)`` is the support retention rate (SRR), ``gained / (kept + gained)`` the
    net discovery rate (NDR), and ``(gained - lost) / (kept + gained + lost)`` the net support change rate (NSCR).

    Attributes:
        kept: both base and policy.
        gained: the policy, not the base.
        lost: the base, no more the policy.
    """

    kept: Float[Array, ""]
    gained: Float[Array, ""]
    lost: Float[Array, ""]


def found_by(num_samples: Scalar, missed: Scalar) -> Scalar:
    """The probability ``-ln(zeta)/k`` from which k samples miss a response with probability zeta at most."""
    return -jnp.log(missed) / num_samples


def counts(
    log_policy: Float[Array, "C N"],
    log_base: Float[Array, "C N"],
    right: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
    *,
    threshold: Scalar,
) -> Counts:
    """Right responses kept, gained and lost; ``right`` is 1 where one is right, other arguments as in ``support``."""
    said, was_said = (log_probs >= jnp.log(threshold) for log_probs in (log_policy, log_base))
    each = (said & was_said, said & ~was_said, ~said & was_said)
    rho = jnp.exp(log_prompts)
    return Counts(*(rho @ (right * one).sum(axis=-1) for one in each))


def pass_at_k(
    log_policy: Float[Array, "C N"], correct: Float[Array, "C N"], log_prompts: Float[Array, " C"], k: Scalar
) -> Float[Array, ""]:
    """The probability that at least one of k independent responses is correct, exactly.

    Args:
        log_policy: log pi(x|c) [C, N].
        correct: 1 where a response is right, 0 elsewhere [C, N].
        log_prompts: log rho(c) [C].
        k: how many responses; of none, 0, none is correct, and fewer give nan.
    """
    wrong = numerics.expectation(log_policy, 1 - correct)
    # From the smaller of the two sides: the other one is 1 less rounding.
    right = numerics.expectation(log_policy, correct)
    log_wrong = jnp.where(right < 0.5, jnp.log1p(-jnp.minimum(right, 0.5)), jnp.log(jnp.maximum(wrong, 0.0)))
    # 0 times log 0 would be nan.
    log_none = jnp.where(k == 0, 0.0, jnp.where(k < 0, jnp.nan, k) * log_wrong)
    return numerics.expectation(log_prompts, -jnp.expm1(log_none))


def num_correct(
    key: Key, log_policy: Float[Array, "C N"], correct: Float[Array, "C N"], num_samples: int
) -> Int[Array, " C"]:
    """How many of some sampled responses to each prompt are correct [C]; arguments as in ``pass_at_k``."""
    drawn = jax.random.categorical(key, log_policy, axis=-1, shape=(num_samples, log_policy.shape[0])).T
    return jnp.take_along_axis(correct, drawn, axis=1).sum(axis=1).astype(int)


def pass_at_k_from_samples(num_correct: Int[Array, "*batch"], num_samples: int, k: int) -> Float[Array, "*batch"]:
    """Unbiased estimate of pass@k from n samples, c of them correct: ``1 - C(n-c, k)/C(n, k)`` (Chen et al. 2021).

    The quotient is ``prod_j 1 - c/(n-j)`` over j = 0 ... k-1; in logarithms of factorials float32 would lose all of it.

    Args:
        num_correct: c, of each prompt [...]; nan for one that is not from 0 to n.
        num_samples: n.
        k: at most n.

    Raises:
        ValueError: k above n, or below 1.
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@k needs 1 <= k <= the number of samples {num_samples}, not {k}.")
    enough = num_samples - num_correct >= k
    left = num_samples - jnp.arange(k, dtype=float)
    log_none = jnp.log1p(-jnp.multiply.outer(jnp.where(enough, num_correct, 0), 1 / left)).sum(axis=-1)
    possible = (num_correct >= 0) & (num_correct <= num_samples)
    return jnp.where(possible, jnp.where(enough, -jnp.expm1(log_none), 1.0), jnp.nan)
