"""Log-space helpers: divergence and entropy in forms that stay exact near zero.

KL(p‖q) = sum_x p (expm1(-l) + l) with l = log p - log q. Every term is non-negative, so nothing cancels as q -> p,
where the textbook form sum_x p l loses all its digits.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int

from toypersona.types import Key


def log_normalize(log_weights: Float[Array, "*batch N"]) -> Float[Array, "*batch N"]:
    """Log-probabilities proportional to ``exp(log_weights)`` along the last axis; nan where all of them are 0."""
    return jax.nn.log_softmax(log_weights, axis=-1)


def kl_divergence(log_p: Float[Array, "*batch N"], log_q: Float[Array, "*batch N"]) -> Float[Array, "*batch"]:
    """KL(p‖q) in nats, summed over the last axis.

    Args:
        log_p: log-probabilities [..., N]; -inf is allowed.
        log_q: log-probabilities [..., N]; where it is -inf and ``log_p`` is not, the divergence is inf.

    Returns:
        Nats [...], never negative. Both arguments have to sum to one.
    """
    impossible = jnp.isneginf(log_p)
    both = impossible & jnp.isneginf(log_q)
    # Told apart from the sizes: a probability that exp rounds to 0 is still one, and 0 times inf would be nan.
    infinite = ~impossible & jnp.isneginf(log_q)
    log_q = jnp.where(infinite, 0.0, log_q)
    log_ratio = jnp.where(both, 0.0, jnp.where(impossible, 0.0, log_p) - log_q)
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    near = jnp.maximum(log_ratio, -1.0)
    # p expm1(-l) is q - p, which is safe from overflow where q is much larger; where p = 0 the term tends to q.
    far = q - p + p * log_ratio
    terms = jnp.where(impossible, q, jnp.where(log_ratio < -1.0, far, p * (jnp.expm1(-near) + near)))
    return jnp.where(infinite, jnp.inf, terms).sum(axis=-1)


def log(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Natural logarithm of normal numbers above 0, and of nan and inf, which stay what they are.

    In float64 XLA's own takes an element at a time on a CPU. The series here is that of ``e_log.c`` (Sun Microsystems,
    1993), off by less than a unit in the last place; exact policy gradient is 1.2 to 1.4 times as fast by it.
    """
    if x.dtype != jnp.float64:
        return jnp.log(x)
    return _log(x)


@jax.custom_jvp
def _log(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.lax.platform_dependent(x, cpu=_log_of_doubles, default=jnp.log)


_log.defjvps(lambda moved, _, x: moved / x)


SERIES = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip
"""Coefficients of s², s⁴, ... in log((1 + s) / (1 - s)) / s - 2, by Remez's algorithm."""

LOG_2 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""Log 2 in two parts: leading bits, whose products with exponents are exact, and the rest."""


def _log_of_doubles(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """With x = 2^k (1 + f), where 1 + f lies around 1, and s = f / (2 + f).

    Bits are shifted as unsigned numbers and made a number by the exponent of 2^52: AVX2 has both, and no conversion.
    """
    middle, one, big = (np.float64(value).view(np.uint64) for value in (0.5**0.5, 1.0, 2.0**52))
    bits = jax.lax.bitcast_convert_type(x, jnp.uint64) + (one - middle)
    k = jax.lax.bitcast_convert_type(bits >> 52 | big, jnp.float64) - (2.0**52 + 1023)
    f = jax.lax.bitcast_convert_type((bits & np.uint64(2**52 - 1)) + middle, jnp.float64) - 1
    s, half = f / (2 + f), f * f / 2
    square = s * s
    series = functools.reduce(lambda higher, term: (higher + term) * square, reversed(SERIES), jnp.zeros_like(s))
    found = k * LOG_2[0] - ((half - (s * (half + series) + k * LOG_2[1])) - f)
    return jnp.where(x < jnp.inf, found, x)


def entropy(log_p: Float[Array, "*batch N"]) -> Float[Array, "*batch"]:
    """Shannon entropy in nats of log-probabilities along the last axis."""
    return -expectation(log_p, log_p)


def expectation(log_p: Float[Array, "*batch N"], values: Float[Array, "*batch N"]) -> Float[Array, "*batch"]:
    """E_p[values] along the last axis; what is impossible does not count, whatever its value.

    A value of inf counts in full where it is possible at all, also where its probability is rounded to 0.
    """
    # Replaced before the product, not only after: 0 times nan would be its derivative.
    values = jnp.where(jnp.isneginf(log_p), 0.0, values)
    return jnp.where(jnp.isinf(values), values, jnp.exp(log_p) * values).sum(axis=-1)


CONSTANT = 4.0
"""Values whose standard deviation is below so many roundings of their own size are constant."""


def centred(log_p: Float[Array, "*batch N"], values: Float[Array, "*batch N"]) -> Float[Array, "*batch N"]:
    """Values less their mean under p along the last axis; exactly 0 where they are constant up to rounding."""
    # Less the likeliest one, so that what is constant cancels before anything is rounded.
    above = values - jnp.take_along_axis(values, log_p.argmax(axis=-1, keepdims=True), axis=-1)
    rest = above - expectation(log_p, above)[..., None]
    variance, size = (expectation(log_p, x**2) for x in (rest, values))
    constant = variance <= (CONSTANT * jnp.finfo(values.dtype).eps) ** 2 * size
    return jnp.where(constant[..., None], 0.0, rest)


def log_mix(
    log_weights: Float[Array, "*batch K"], log_components: Float[Array, "*batch K N"]
) -> Float[Array, "*batch N"]:
    """The log-probabilities of sum_k w_k p_k; where that is 0 it is -inf, with a derivative of 0."""
    joint = log_weights[..., None] + log_components
    impossible = jnp.isneginf(joint.max(axis=-2))
    # Replaced before the logarithm, not only after: 0 times the derivative of log 0 would be nan.
    possible = jnp.where(impossible[..., None, :], 0.0, joint)
    return jnp.where(impossible, -jnp.inf, logsumexp(possible, axis=-2))


def alike(values: Float[Array, " N"]) -> Bool[Array, ""]:
    """Whether all are the same, up to rounding."""
    return jnp.ptp(values) <= CONSTANT * jnp.finfo(values.dtype).eps * jnp.abs(values).max()


def rounding(*log_probs: Float[Array, "..."]) -> Float[Array, ""]:
    """By how much sums of these probabilities, of their products and ratios may be wrong, relative to their own size.

    To first order in the unit: each exponential is wrong by its exponent's size, and a sum adds all its terms one after
    the other at worst. Log-probabilities of -inf are exact.
    """
    sizes = [jnp.abs(jnp.where(jnp.isneginf(logs), 0.0, logs)).max() for logs in log_probs]
    unit = max(float(jnp.finfo(logs.dtype).eps) for logs in log_probs) / 2
    return unit * (8 + max(math.prod(logs.shape[-2:]) for logs in log_probs) + 2 * jnp.stack(sizes).sum())


def drawer(log_law: Float[Array, "C N"]) -> Callable[[Key, int], Int[Array, "C M"]]:
    """A function ``(key, M)`` that draws M responses to each prompt by number, by the inverse distribution function."""
    cumulative = jnp.cumsum(jnp.exp(log_law), axis=1)

    def pick(key: Key, num: int) -> Int[Array, "C M"]:
        levels = jax.random.uniform(key, (log_law.shape[0], num), log_law.dtype) * cumulative[:, -1:]
        # Level 0 is the first response that can be drawn; one that is rounded up to the sum, the last of all.
        found = jax.vmap(lambda row, level: jnp.searchsorted(row, level, side="right"))(cumulative, levels)
        return jnp.minimum(found, log_law.shape[1] - 1)

    return pick
