"""Projection onto the hull of personas under other divergences than KL(policy‖mix), each with a certificate.

Amari's family (Amari 2016, chapter 3) has all three that are in use; with ``l = log m/p`` and m the mix, ::

    KL(p‖m) = sum p (e^l - 1 - l),  4 x squared Hellinger = 2 sum (sqrt(m) - sqrt(p))²,  KL(m‖p) = sum m l - m + p

each in nats and scaled so that near ``m = p`` all of them are ``chi²/2 = sum (m - p)²/2p``: they differ from the third
order on. By the order e = 1, 1/2 and 0 the slope in m is ``(1 - e^(-e l))/e`` and the curvature ``e^(-e l)/m``.

Each is convex in the weights w, so that on the simplex ``f(w) - f* <= sum_k w_k f_k - min_k f_k``, f_k the slope in
w_k (Frank and Wolfe 1956; Jaggi 2013). One mix for all prompts is the nearest mix of joint distributions ``rho(c)
p(x|c)``: pass these. float64; the certificate does not count rounding, about 1e-15 nats for each outcome.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from toypersona import hulls, numerics, simplex
from toypersona.types import Scalar


class Divergence(NamedTuple):
    """One divergence.

    Attributes:
        between: ``(log_p [..., N], log_m [..., N]) -> nats [...]``.
        order: e.
    """

    between: Callable[[Array, Array], Array]
    order: float


def hellinger(log_p: Float[Array, "*batch N"], log_m: Float[Array, "*batch N"]) -> Float[Array, "*batch"]:
    """Four times the squared Hellinger distance ``1 - sum sqrt(p m)``, as ``2 sum (sqrt(m) - sqrt(p))²`` [...]."""
    larger, both = jnp.maximum(log_p, log_m), jnp.isneginf(log_p) & jnp.isneginf(log_m)
    apart = jnp.where(both, 0.0, -0.5 * jnp.abs(jnp.where(both, 0.0, log_p) - jnp.where(both, 0.0, log_m)))
    return (2 * jnp.exp(larger) * jnp.expm1(apart) ** 2).sum(axis=-1)


DIVERGENCES = {
    "KL(policy‖mix)": Divergence(numerics.kl_divergence, 1.0),
    "4 Hellinger²": Divergence(hellinger, 0.5),
    "KL(mix‖policy)": Divergence(lambda log_p, log_m: numerics.kl_divergence(log_m, log_p), 0.0),
}
"""By name."""


class Nearest(NamedTuple):
    """The nearest mix.

    Attributes:
        weights: w, on the simplex [K].
        distance: nats; its true value lies in [distance - gap, distance].
        gap: the certificate, nats.
        certified: it is at most the tolerance, and the distance is finite.
    """

    weights: Float[Array, " K"]
    distance: Float[Array, ""]
    gap: Float[Array, ""]
    certified: Bool[Array, ""]


def project(
    divergence: Divergence,
    log_p: Float[Array, " N"],
    log_components: Float[Array, "K N"],
    *,
    tolerance: Scalar = 1e-12,
    initial_weights: Float[Array, " K"] | None = None,
) -> Nearest:
    """The nearest mix of K components to p.

    Args:
        divergence: one of ``DIVERGENCES``.
        log_p: log-probabilities, which sum to one [N]; -inf allowed.
        log_components: log p_k, likewise [K, N].
        tolerance: nats; iterations stop when the gap is at most this.
        initial_weights: a warm start [K].

    Returns:
        The ``Nearest``. Where p is 0, KL(mix‖policy) leaves no weight to who says it; it is inf if all do.
    """
    largest = log_components.max(axis=0)
    speakable = ~jnp.isneginf(largest)
    largest = jnp.where(speakable, largest, 0.0)
    scaled = jnp.exp(log_components - largest[None, :])
    impossible = jnp.isneginf(log_p)
    allowed = ~(scaled * impossible[None, :] > 0).any(axis=1) | (divergence.order > 0)

    order = divergence.order

    def function(weights: Float[Array, " K"]) -> tuple[Array, Array]:
        mixed = weights @ scaled
        said = mixed > 0
        log_ratio = jnp.log(jnp.where(said, mixed, 1.0)) + largest - jnp.where(impossible, 0.0, log_p)
        # Where p is 0 the ratio is infinite; without order nobody is left who says it.
        slope = jnp.where(impossible, 1 / order, -jnp.expm1(-order * log_ratio) / order) if order else log_ratio
        left = jnp.where(impossible & (order > 0), 0.0, jnp.exp(-order * log_ratio))
        size = jnp.where(said, jnp.exp(largest), 0.0)
        curved = size * left / jnp.where(said, mixed, 1.0)
        return scaled @ (size * slope), (scaled * curved[None, :]) @ scaled.T

    found = simplex.minimise(function, allowed, scaled.dtype, tolerance=tolerance, initial_weights=initial_weights)
    distance = divergence.between(log_p, numerics.log_mix(jnp.log(found.weights), log_components))
    distance = jnp.where(allowed.any(), distance, jnp.inf)
    return Nearest(found.weights, distance, found.gap, (found.gap <= tolerance) & jnp.isfinite(distance))


def weak_slope(
    divergence: Divergence,
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
) -> Float[Array, ""]:
    """How S of the tilt leaves cos² under this divergence: dS/ds at s = 0, from third moments under the base.

    With u the part of the centred reward r that personas explain, v = r - u, and e the order,

        D(tilt, base)    = s²/2 E r² + s³ (1 + e)/6 E r³
        D(tilt, nearest) = s²/2 E v² + s³ (E[r² v]/2 - E[r v²]/2 + (1 + e)/6 E v³)

    up to s⁴, averaged over prompts, so that S = 1 - E v²/E r² + s (...): divergences differ by skewness alone, if all
    gates are positive. Arguments as in ``theory.weak_limit``.
    """
    mean = lambda values: numerics.expectation(log_prompts, numerics.expectation(log_base, values))  # noqa: E731
    centred = numerics.centred(log_base, reward)
    rest = centred - jax.vmap(hulls.tangent_fit)(log_base, log_personas, centred)
    third = (1 + divergence.order) / 6
    away = (mean(centred**2 * rest) - mean(centred * rest**2)) / 2 + third * mean(rest**3)
    size, left = mean(centred**2), mean(rest**2)
    return 2 * (left / size * third * mean(centred**3) - away) / size


def strong_limit(
    divergence: Divergence,
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
) -> Float[Array, ""]:
    """What S of the tilt tends to as s grows, where one response x* to each prompt is paid best.

    By ``-log pi0(x*)`` against ``-log max_k p_k(x*)`` for KL(policy‖mix), ``1 - sqrt`` of both for Hellinger; by
    the reward that base and best-paid persona lack of the best one, ``s (r(x*) - E r)``, for KL(mix‖policy).
    Arguments as in ``theory.weak_limit``.
    """
    best = reward.argmax(axis=1)
    paid, said = (jnp.take_along_axis(x, best[:, None], axis=1)[:, 0] for x in (reward, log_base))
    ever = jnp.take_along_axis(log_personas, best[:, None, None], axis=2)[..., 0].max(axis=1)
    earned = numerics.expectation(log_personas, jnp.broadcast_to(reward[:, None], log_personas.shape)).max(axis=1)
    by_order = {
        1.0: lambda: (-ever, -said),
        0.5: lambda: (-jnp.expm1(ever / 2), -jnp.expm1(said / 2)),
        0.0: lambda: (paid - earned, paid - numerics.expectation(log_base, reward)),
    }
    left, spent = by_order[divergence.order]()
    rho = jnp.exp(log_prompts)
    return 1 - (rho @ left) / (rho @ spent)
