"""Where each way to penalise KL(pi‖pi0) lets a policy end that nothing else constrains, and drift that no reward pays.

A step on a table of responses moves log pi along the advantage ``u = A - beta k'(l)``, ``l = log pi/pi0`` and k the
estimator that is differentiated (``kl_estimators``); the policy ends where u is the same for all responses:

- k1 in the reward, or k2 in the loss: ``r - beta l`` constant, the tilt ``pi0 exp(r/beta)/Z``;
- k1 in the loss: never, as nothing holds it;
- k3 in the loss: ``r + beta pi0/pi`` constant, so ``pi = beta pi0 / (lambda - r)``: its pull is never above beta;
- k2 in the loss of rewards divided by their standard deviation sigma (GRPO): the tilt of strength 1/(beta sigma),
  sigma its own: a leash that gets longer as answers get alike.

Of all policies with the same mean reward a tilt has the least KL, and any other one spends KL(policy‖tilt) beside it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import numerics, theory
from toypersona.rules import divergences
from toypersona.types import Scalar

HALVINGS = 80
"""Of an interval that a number is sought in."""

WIDEST, FARTHEST = 30.0, 200.0
"""Natural logarithms: of the largest strength, and of ``lambda - max r`` of k3's end, up and down, looked at."""

STRONGEST, NUM_LOOKED_AT = 8.0, 1601
"""Natural logarithms of strengths, from minus this to this, that are tried one by one where there may be several."""

ENDS = ("k1 in reward, or k2 in loss", "k3 in loss", "k2 in loss, rewards / std. dev.")
"""Ways to penalise KL that end somewhere."""


def rising(values: Callable[[Array], Array], wanted: Array, low: Array, high: Array) -> Array:
    """Where an increasing function of a number reaches a value, by halving an interval; all of one shape."""

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = (ends[0] + ends[1]) / 2
        above = values(middle) > wanted
        return jnp.where(above, ends[0], middle), jnp.where(above, middle, ends[1])

    low, high = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
    return (low + high) / 2


def tilt_with(
    log_base: Float[Array, "C N"], reward: Float[Array, "C N"], measure: Callable[[Array], Array], wanted: Scalar
) -> Float[Array, "C N"]:
    """The tilt whose measure, which grows with strength, is what is wanted: its drift or its reward."""
    at = lambda log_strength: theory.tilt(log_base, reward, jnp.exp(log_strength))  # noqa: E731
    ends = (jnp.asarray(sign * WIDEST, log_base.dtype) for sign in (-1, 1))
    return at(rising(lambda x: measure(at(x)), jnp.asarray(wanted, log_base.dtype), *ends))


class Unpaid(NamedTuple):
    """Nats of a policy's drift: ``least``, of the tilt that earns as much, and ``unpaid``, KL(policy‖that tilt)."""

    least: Float[Array, ""]
    unpaid: Float[Array, ""]


def unpaid(
    log_policy: Float[Array, "C N"],
    log_base: Float[Array, "C N"],
    reward: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
) -> Unpaid:
    """The part of KL(pi‖pi0) that its reward did not need; the two parts add up to it (Csiszár 1975).

    A policy that earns less than the base has the base itself for its tilt.

    Args:
        log_policy: log pi [C, N].
        log_base: log pi0 [C, N].
        reward: [C, N].
        log_prompts: log rho(c) [C].
    """
    mean = lambda log_law: numerics.expectation(log_prompts, numerics.expectation(log_law, reward))  # noqa: E731
    tilt = tilt_with(log_base, reward, mean, mean(log_policy))
    apart = lambda p, q: numerics.expectation(log_prompts, numerics.kl_divergence(p, q))  # noqa: E731
    return Unpaid(apart(tilt, log_base), apart(log_policy, tilt))


def among_right(
    log_policy: Float[Array, "C N"],
    log_base: Float[Array, "C N"],
    right: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
) -> Float[Array, ""]:
    """The nats that a policy spends on preferring some right answers to others: ``E_c a KL(pi(.|right)‖pi0(.|right))``.

    By the chain rule it is part of KL(pi‖pi0), and of ``unpaid`` where all right answers pay the same.

    Args:
        log_policy: log pi [C, N].
        log_base: log pi0 [C, N].
        right: 1 where a response is right, 0 elsewhere [C, N].
        log_prompts: log rho(c) [C].
    """
    mass = lambda log_law: numerics.expectation(log_law, right)  # noqa: E731
    ratio = jnp.where((right > 0) & ~jnp.isneginf(log_policy), log_policy - log_base, 0.0)
    known = (mass(log_policy) > 0) & (mass(log_base) > 0)
    odds = jnp.where(known, mass(log_policy) / jnp.where(known, mass(log_base), 1.0), 1.0)
    each = numerics.expectation(log_policy, ratio) - mass(log_policy) * jnp.log(odds)
    return numerics.expectation(log_prompts, each)


def k3_end(log_base: Float[Array, "C N"], reward: Float[Array, "C N"], beta: Scalar) -> Float[Array, "C N"]:
    """``beta pi0 / (lambda - r)``, the best policy under ``E[r] - beta KL(pi0‖pi)``."""
    possible = ~jnp.isneginf(log_base)
    top = jnp.where(possible, reward, -jnp.inf).max(axis=-1, keepdims=True)
    law = lambda log_gap: jnp.where(  # noqa: E731
        possible, jnp.log(beta) + log_base - jnp.log(jnp.exp(log_gap) + (top - reward)), -jnp.inf
    )
    # The mass falls as lambda = max r + exp(log_gap) grows: minus it rises.
    mass = lambda log_gap: -jax.nn.logsumexp(law(log_gap), axis=-1, keepdims=True)  # noqa: E731
    ends = (jnp.full_like(top, sign * FARTHEST) for sign in (-1, 1))
    return numerics.log_normalize(law(rising(mass, jnp.zeros_like(top), *ends)))


class Normalised(NamedTuple):
    """The end of a leash on rewards that are divided by their standard deviation, at every prompt.

    Attributes:
        log_policy: the tilt of strength 1/(beta sigma), the weakest if there are several; where there is none, the
            strongest that is looked at [C, N].
        least_beta: the least that holds, ``1 / max_s s sigma(s)``: below it the policy ends in the best paid [C].
    """

    log_policy: Float[Array, "C N"]
    least_beta: Float[Array, " C"]


def normalised_end(log_base: Float[Array, "C N"], reward: Float[Array, "C N"], beta: Scalar) -> Normalised:
    """Where ``r/sigma - beta l`` is constant, sigma the standard deviation of the policy's own rewards at a prompt."""
    at = lambda log_strength: jax.vmap(theory.tilt)(log_base, reward, jnp.exp(log_strength[:, 0]))  # noqa: E731

    def pulled(log_strength: Float[Array, "C 1"]) -> Float[Array, "C 1"]:
        law = at(log_strength)
        centred = reward - numerics.expectation(law, reward)[:, None]
        return jnp.exp(log_strength) * jnp.sqrt(numerics.expectation(law, centred**2))[:, None]

    grid = jnp.linspace(-STRONGEST, STRONGEST, NUM_LOOKED_AT)
    on_grid = jax.lax.map(lambda x: pulled(jnp.full((log_base.shape[0], 1), x))[:, 0], grid)
    enough = on_grid > 1 / beta
    first = jnp.maximum(jnp.argmax(enough, axis=0), 1)[:, None]
    found = rising(pulled, jnp.full(first.shape, 1 / beta), grid[first - 1], grid[first])
    return Normalised(at(jnp.where(enough.any(axis=0)[:, None], found, STRONGEST)), 1 / on_grid.max(axis=0))


class Ends(NamedTuple):
    """Where each of ``ENDS`` ends.

    Attributes:
        log_policies: [3, C, N].
        least_beta: as in ``Normalised`` [C].
    """

    log_policies: Float[Array, "3 C N"]
    least_beta: Float[Array, " C"]


def ends(log_base: Float[Array, "C N"], reward: Float[Array, "C N"], beta: Scalar) -> Ends:
    """The policies where each of ``ENDS`` ends."""
    last = normalised_end(log_base, reward, beta)
    found = theory.tilt(log_base, reward, 1 / beta), k3_end(log_base, reward, beta), last.log_policy
    return Ends(jnp.stack(found), last.least_beta)


def slopes(
    log_ends: Float[Array, "3 C N"],
    log_base: Float[Array, "C N"],
    reward: Float[Array, "C N"],
    beta: Scalar,
) -> Float[Array, "3 C"]:
    """How much advantage is left at each prompt where each of ``ENDS`` ends: its standard deviation.

    The estimators' derivatives are jax's of ``divergences``, so that they know nothing of the closed forms.
    """
    derived = [jax.vmap(jax.grad(estimate)) for estimate in (divergences.k2, divergences.k3, divergences.k2)]

    def left(log_policy: Float[Array, "C N"], derivative: Callable, normalise: bool) -> Float[Array, " C"]:
        spread = lambda values: jnp.sqrt(numerics.expectation(log_policy, values**2))[:, None]  # noqa: E731
        less = lambda values: values - numerics.expectation(log_policy, values)[:, None]  # noqa: E731
        ratio = jnp.where(jnp.isneginf(log_base), 0.0, log_policy - log_base)
        paid = less(reward) / (spread(less(reward)) if normalise else 1.0)
        held = derivative(ratio.reshape(-1)).reshape(ratio.shape)
        return spread(less(paid - beta * held))[:, 0]

    return jnp.stack([left(*each) for each in zip(log_ends, derived, (False, False, True), strict=True)])
