"""How far a policy is from every mix of personas, in units that need no logarithm; each with a certificate.

For one prompt, with ``m_w = sum_k w_k p_k`` and w on the simplex::

    unsaid          = 1 - kappa,  kappa the largest with pi >= kappa m_w for some w: the share of the policy that
                      has to be given to somebody else before the rest is a mix of the personas
    total_variation = min_w 1/2 sum_x |pi - m_w|: by how much the probability of some event is out of all mixes' reach
    exponential     = min_w KL(pi ‖ prod_k p_k^{w_k} / Z_w), nats: the distance from personas whose logits are averaged

Where pi avoids a response that every mix gives, ``unsaid`` is near 1 however small the response's share: of ratios it
takes the worst. ``total_variation`` is the share of the policy, ``sum_x (pi - m_w)_+``, that no mix covers; it is at
most ``unsaid``, and at most ``sqrt(hull distance / 2)`` (Pinsker).

The first two are linear programmes, whose duals are tests that prove the lower bound: kappa is ``min E_pi y`` over
``y >= 0`` with ``E_k y >= 1`` for every persona, total variation ``max (min_k E_k y - E_pi y)`` over ``0 <= y <= 1``.

The third is convex in w, because log Z is. Personas combine so in networks, whose logits are nearly linear in what they
represent (Golowich, Liu and Shetty 2025); weights are on the simplex, so that personas are the corners as in the other
hull and nobody is amplified. By the slope g the value on the simplex is within ``w·g - min_k g_k`` of its minimum
(Frank and Wolfe 1956; Jaggi 2013). float64.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from toypersona import linear_programme, numerics, simplex
from toypersona.types import Scalar

NEVER = 40.0
"""Nats by which a persona makes some response likelier than the policy, from which it has no part in kappa: 4e-18."""

FAST = 25
"""Iterations after which the exponential hull's fast solver has failed: log Z is nearly linear but for kinks."""


class Effect(NamedTuple):
    """An effect size of one prompt, or averaged over prompts (then weights and test have a leading axis C).

    Attributes:
        lower: what the test proves; rounded down.
        upper: what the weights show; rounded up.
        weights: a persona mix w on the simplex that is as good as ``upper`` [K].
        test: the y that proves ``lower`` [N]: what the policy says and no mix does has small values.
        certified: upper - lower is at most the tolerance.
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]
    weights: Float[Array, "*prompts K"]
    test: Float[Array, "*prompts N"]
    certified: Bool[Array, ""]


class Blend(NamedTuple):
    """The nearest policy whose logits are an average of the personas' logits.

    Attributes:
        lower: nats; the distance is at least this.
        upper: nats; the distance at the weights. inf, like ``lower``, where the policy says what every persona cannot.
        weights: w on the simplex [K].
        certified: upper - lower is at most the tolerance, and both are finite.
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]
    weights: Float[Array, "*prompts K"]
    certified: Bool[Array, ""]


class EffectSizes(NamedTuple):
    """All three, averaged over prompts."""

    unsaid: Effect
    total_variation: Effect
    exponential: Blend


def measure(
    log_policy: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    log_prompts: Float[Array, " C"],
    *,
    tolerance: Scalar = 1e-9,
) -> EffectSizes:
    """The three effect sizes of a policy, averaged over prompts; each prompt has its own mix.

    A prompt of probability 0 counts nowhere.

    Args:
        log_policy: log pi(x|c) [C, N]; it sums to one, as everybody's, and -inf is allowed.
        log_personas: log p_k(x|c) [C, K, N].
        log_prompts: log rho(c) [C].
        tolerance: of every prompt's upper - lower; nats or none.

    Raises:
        ValueError: the shapes do not fit.
    """
    prompts = log_prompts.shape
    if log_policy.shape[:1] != prompts or log_personas.shape[:1] != prompts or log_prompts.ndim != 1:
        raise ValueError(
            f"log_policy {log_policy.shape}, log_personas {log_personas.shape} and log_prompts {prompts} have to be "
            "[C, N], [C, K, N] and [C]."
        )
    pooled = []
    for one in (unsaid, total_variation, exponential):
        each = jax.vmap(lambda p, q, one=one: one(p, q, tolerance=tolerance))(log_policy, log_personas)
        lower, upper = (numerics.expectation(log_prompts, bound) for bound in (each.lower, each.upper))
        certified = (each.certified | jnp.isneginf(log_prompts)).all()
        pooled.append(each._replace(lower=lower, upper=upper, certified=certified))
    return EffectSizes(*pooled)


def unsaid(log_p: Float[Array, " N"], log_personas: Float[Array, "K N"], *, tolerance: Scalar = 1e-9) -> Effect:
    """``1 - kappa``, the share of a policy that nobody says: kappa the largest with ``pi >= kappa m_w`` for some w.

    The rest of the policy is a mix: ``pi = kappa m_w + (1 - kappa) nobody``. With ``v = kappa w`` it is the programme
    ``max sum_k v_k`` over ``v >= 0, sum_k v_k p_k(x) <= pi(x)``; a response that all personas give and the policy never
    does makes it 1. ``E_pi y / min_k E_k y`` bounds kappa for every test y >= 0, here scaled to ``min_k E_k y = 1``.

    Args:
        log_p: log pi [N], sums to one; -inf allowed.
        log_personas: log p_k [K, N], which do too; -inf allowed, also for a whole persona, which then has no part.
        tolerance: of upper - lower.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check(log_p.shape, log_personas.shape)
    num_personas, num_outcomes = log_personas.shape
    never, silent = jnp.isneginf(log_p), jnp.isneginf(log_personas)
    log_ratio = jnp.where(silent, -jnp.inf, log_personas - jnp.where(never, 0.0, log_p)[None])
    log_ratio = jnp.where(never[None] & ~silent, jnp.inf, log_ratio)
    speaks = ~silent.all(axis=1)
    part = speaks & (log_ratio.max(axis=1) <= NEVER)
    ratio = jnp.exp(jnp.where(part[:, None], log_ratio, -jnp.inf))
    # As kappa is at most 1, a bound of 2 on what a mix may take of any response changes nothing.
    room = 1 / jnp.maximum(ratio.max(axis=0), 0.5)
    scaled = ratio * room[None]

    def certify(y: Float[Array, " N"], v: Float[Array, " K"]) -> tuple[Array, Array]:
        v = jnp.where(part, v, 0.0)
        kept = v.sum() / jnp.maximum(((v @ scaled) / room).max(), 1e-300)
        return kept, room @ y / jnp.where(part, scaled @ y, jnp.inf).min()

    least, no_bound = jnp.where(part, 1.0, -1.0), jnp.full_like(log_p, jnp.inf)
    found = linear_programme.solve(room, scaled, least, no_bound, certify, tolerance)
    rounding = numerics.rounding(log_p, log_personas)
    smallest = jnp.where(part.any(), found.lower, 0.0) * (1 - rounding)
    largest = jnp.where(part.any(), found.upper, 0.0) * (1 + rounding) + num_personas * jnp.exp(-NEVER)
    weights = jnp.where(
        part.any(), jnp.where(part, found.multipliers, 0.0), jnp.where(speaks | ~speaks.any(), 1.0, 0.0)
    )
    # Of the ratio pi/size, which the scaled programme's test multiplies, back to a function of responses.
    size = jnp.where(never, 0.0, log_p) + jnp.log(jnp.maximum(ratio.max(axis=0), 0.5))
    test = jnp.where(never, jnp.inf, found.variables * jnp.exp(-size))
    return _effect(1 - largest, 1 - smallest, weights, test, log_p, log_personas, tolerance)


def total_variation(
    log_p: Float[Array, " N"], log_personas: Float[Array, "K N"], *, tolerance: Scalar = 1e-9
) -> Effect:
    """``min_w 1/2 sum_x |pi - m_w|``: how far the probability of some event is from what it is under every mix.

    The test has values in [0, 1], and ``min_k E_k y - E_pi y`` is the lower bound: y is 1 on what the policy neglects.

    Args:
        log_p: log pi [N], as in ``unsaid``.
        log_personas: log p_k [K, N], likewise.
        tolerance: of upper - lower.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check(log_p.shape, log_personas.shape)
    policy, personas = jnp.exp(log_p), jnp.exp(log_personas)
    part = ~jnp.isneginf(log_personas).all(axis=1)

    def mix(v: Float[Array, " K"]) -> Float[Array, " K"]:
        v = jnp.where(part, v, 0.0)
        return jnp.where(v.any(), v, 1.0) / jnp.where(v.any(), v.sum(), v.size)

    def certify(y: Float[Array, " M"], v: Float[Array, " K"]) -> tuple[Array, Array]:
        test = jnp.minimum(y[:-1], 1.0)
        proved = jnp.where(part, personas @ test, jnp.inf).min() - policy @ test
        # The programme is of the negative distance.
        return -0.5 * jnp.abs(policy - mix(v) @ personas).sum(), -proved

    # The last variable is the smallest E_k y, which is bounded by 1 like the test.
    matrix = jnp.concatenate([personas, -jnp.where(part, 1.0, 0.0)[:, None]], axis=1)
    cost = jnp.concatenate([policy, -jnp.ones(1, policy.dtype)])
    least = jnp.where(part, 0.0, -1.0)
    found = linear_programme.solve(cost, matrix, least, jnp.ones_like(cost), certify, tolerance)
    lower, upper = -found.upper, -found.lower
    alone, rounding = ~part.any(), numerics.rounding(log_p, log_personas)
    lower, upper = (jnp.where(alone, 1.0, bound) for bound in (lower - rounding, upper + rounding))
    test = jnp.minimum(found.variables[:-1], 1.0)
    return _effect(lower, upper, mix(found.multipliers), test, log_p, log_personas, tolerance)


def exponential(log_p: Float[Array, " N"], log_personas: Float[Array, "K N"], *, tolerance: Scalar = 1e-9) -> Blend:
    """``min_w KL(pi ‖ prod_k p_k^{w_k} / Z_w)`` over the simplex, nats.

    Of personas that cannot say all that others can it is the infimum: however small a positive weight, what a persona
    cannot say nobody says. Who cannot say what the policy says has a weight of 0, and then no veto either.

    Args:
        log_p: log pi [N], as in ``unsaid``.
        log_personas: log p_k [K, N], likewise.
        tolerance: nats.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check(log_p.shape, log_personas.shape)
    said = ~jnp.isneginf(log_personas)
    allowed = (said | jnp.isneginf(log_p)[None]).all(axis=1)
    common = (said | ~allowed[:, None]).all(axis=0)
    logits = jnp.where(allowed[:, None] & common[None], log_personas, 0.0)
    policy = jnp.exp(log_p)
    wanted = logits @ policy

    def blend(weights: Float[Array, " K"]) -> Float[Array, " N"]:
        return numerics.log_normalize(jnp.where(common, weights @ logits, -jnp.inf))

    def function(weights: Float[Array, " K"]) -> tuple[Array, Array]:
        probs = jnp.exp(blend(weights))
        mean = logits @ probs
        apart = logits - mean[:, None]
        return mean - wanted, (apart * probs[None]) @ apart.T

    with jax.default_matmul_precision("highest"):
        found = simplex.minimise(function, allowed, policy.dtype, tolerance=tolerance, max_iterations=FAST)
    weights = jnp.where(allowed.any(), found.weights, 1 / allowed.size)
    upper = jnp.where(allowed.any(), numerics.kl_divergence(log_p, blend(weights)), jnp.inf)
    broken = jnp.isnan(log_p).any() | jnp.isnan(log_personas).any()
    upper = jnp.where(broken, jnp.nan, upper)
    lower = jnp.where(jnp.isfinite(upper), jnp.maximum(upper - found.gap, 0.0), upper)
    return Blend(lower, upper, weights, jnp.isfinite(upper) & (upper - lower <= tolerance))


def _check(p: tuple[int, ...], personas: tuple[int, ...]) -> None:
    if len(p) != 1 or len(personas) != 2 or personas[1:] != p or 0 in personas:
        raise ValueError(
            f"Cannot compare log_p {p} with log_personas {personas}: pass one policy [N] and at least one persona "
            "[K, N], and vmap over the rest."
        )


def _effect(
    lower: Array, upper: Array, weights: Array, test: Array, log_p: Array, log_personas: Array, tolerance: Scalar
) -> Effect:
    """Bounds as numbers in [0, 1], nan if anything given is; weights that sum to one."""
    broken = jnp.isnan(log_p).any() | jnp.isnan(log_personas).any()
    lower, upper = (jnp.where(broken, jnp.nan, jnp.clip(bound, min=0.0, max=1.0)) for bound in (lower, upper))
    return Effect(lower, upper, weights / weights.sum(), test, upper - lower <= tolerance)
