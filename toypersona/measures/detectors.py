"""Detectors of a policy outside the hull whose false alarms are bounded for every mix of personas (nats).

Null: the samples come from some mix of the personas, the weights free at every prompt. An e-value is a statistic E >= 0
whose mean is at most 1 under every law of the null, so that ``P(E >= 1/alpha) <= alpha`` (Markov; Ville for the maximum
of a process). Log-probabilities are all that is needed; the policy must not have been fitted to the samples.

- ``e_value``: ``E = prod_i pi(x_i) / max_w prod_i m_w(x_i)``, at most the likelihood ratio against the mix that is
  true, whose mean is 1 (Wasserman, Ramdas and Balakrishnan 2020). For a policy that cannot be scored any other law will
  do in place of pi, fitted to other samples: ``measures.alternatives``. Its law is in ``detection``.
- ``bet``: the nearest mix m* of a policy whose responses are listed. ``prod_i pi(x_i)/m*(x_i)`` grows by the hull
  distance a sample, than which no e-process grows faster (Larsson, Ramdas and Ruf 2024), and may be stopped at any
  time: ``max_k E_k[pi/m*] <= 1 + gap`` *is* the certificate of the projection, so each step is divided by 1 + gap.
- ``witness``: a function f with ``E_pi f > max_k E_k f``, and responses with ``pi(x) > max_k p_k(x)``, each of which
  is a proof, because no mix gives any response more than the persona who says it most.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from toypersona import hulls, numerics
from toypersona.types import Scalar


class EValue(NamedTuple):
    """The e-value of all samples together.

    Attributes:
        log_e: ln E, rounded down by all that the fits may lack; at least ln(1/alpha) is an alarm at level alpha. inf
            where a sample is what no persona can say.
        gap: nats by which it was rounded down.
        weights: the likeliest mix at every prompt [C, K].
        certified: the fits reached their tolerance.
    """

    log_e: Float[Array, ""]
    gap: Float[Array, ""]
    weights: Float[Array, "C K"]
    certified: Bool[Array, ""]


def e_value(
    log_policy: Float[Array, "C M"],
    log_personas: Float[Array, "C K M"],
    *,
    counted: Bool[Array, "C M"] | None = None,
    tolerance: Scalar = 1e-9,
) -> EValue:
    """``ln E`` of samples against every mix, the weights free at every prompt.

    Args:
        log_policy: log pi(x|c) of M samples of the policy at each prompt [C, M], or their log-probabilities under any
            law that sums to at most one and was not fitted to them.
        log_personas: log p_k(x|c) of the same samples [C, K, M]; -inf allowed. One mix for all prompts: C = 1.
        counted: which samples there are [C, M], where prompts have different numbers; all if None.
        tolerance: nats a sample, to which each fit is certified.

    Raises:
        ValueError: the shapes do not fit.
    """
    counted = jnp.ones(log_policy.shape, bool) if counted is None else counted
    _check(log_policy.shape, log_personas.shape, counted.shape)
    each = jax.vmap(lambda p, q, which: _one(p, q, which, tolerance))(log_policy, log_personas, counted)
    return EValue(each.log_e.sum(), each.gap.sum(), each.weights, each.certified.all())


def e_values_along(
    log_policy: Float[Array, "C M"],
    log_personas: Float[Array, "C K M"],
    counts: Int[Array, " L"],
    *,
    tolerance: Scalar = 1e-9,
) -> EValue:
    """``e_value`` of the first samples only, at each of L numbers of samples a prompt: leading axes L.

    It is an e-process too, because at every number it is at most the likelihood ratio against the true mix: an alarm
    may be raised at the first of them that passes ln(1/alpha). Unlike ``bet`` it needs samples' log-probabilities only.
    """
    first = jnp.arange(log_policy.shape[-1])

    def one(count: Int[Array, ""]) -> EValue:
        counted = jnp.broadcast_to(first < count, log_policy.shape)
        return e_value(log_policy, log_personas, counted=counted, tolerance=tolerance)

    return jax.lax.map(one, counts)


def _one(log_p: Float[Array, " M"], log_personas: Float[Array, "K M"], counted: Array, tolerance: Scalar) -> EValue:
    number = counted.sum()
    log_share = jnp.where(counted, -jnp.log(jnp.maximum(number, 1)), -jnp.inf)
    unsayable = jnp.isneginf(log_personas).all(axis=0)
    fitted = hulls.project(jnp.where(unsayable, -jnp.inf, log_share), log_personas, tolerance=tolerance)
    log_mix = numerics.log_mix(jnp.log(fitted.weights), log_personas)
    none = jnp.isneginf(log_mix)
    ratio = jnp.where(counted, log_p - jnp.where(none, 0.0, log_mix), 0.0)
    rounded = numerics.rounding(jnp.where(counted, log_p, 0.0)) * jnp.abs(ratio).sum()
    gap = number * fitted.gap + jnp.where(jnp.isfinite(rounded), rounded, 0.0)
    # No mix says such a sample, whatever its weights.
    log_e = jnp.where((counted & none).any(), jnp.inf, ratio.sum() - gap)
    return EValue(log_e, gap, fitted.weights, fitted.certified)


class Bet(NamedTuple):
    """The log-optimal bet against every mix, at every prompt.

    Attributes:
        log_factors: ``ln(pi/m*) - gap`` of every response [C, N], what one sample adds to the log e-process.
        growth: mean of it under the policy, nats a sample: the hull distance, but for the gaps.
        gap: ``ln max_k E_k[pi/m*]`` at every prompt, and rounding [C].
        weights: of m* [C, K].
        certified: every projection reached its tolerance; the bet is valid even if not, and then grows more slowly.
    """

    log_factors: Float[Array, "C N"]
    growth: Float[Array, ""]
    gap: Float[Array, " C"]
    weights: Float[Array, "C K"]
    certified: Bool[Array, ""]


def bet(log_policy: Float[Array, "C N"], log_personas: Float[Array, "C K N"], log_prompts: Float[Array, " C"]) -> Bet:
    """The nearest mix as the bet of an e-process, ``prod_i pi(x_i|c_i)/m*(x_i|c_i)``.

    Args:
        log_policy: log pi(x|c) of all responses [C, N].
        log_personas: log p_k(x|c) [C, K, N].
        log_prompts: log rho(c) [C], for the growth.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check(log_policy.shape, log_personas.shape, log_policy.shape)
    log_ratio, weights, certified = jax.vmap(_against_nearest)(log_policy, log_personas)
    log_factors, gap = jax.vmap(fair)(log_ratio, log_personas)
    growth = numerics.expectation(log_prompts, numerics.expectation(log_policy, log_factors))
    return Bet(log_factors, growth, gap, weights, certified.all())


def fair(
    log_test: Float[Array, " N"], log_personas: Float[Array, "K N"]
) -> tuple[Float[Array, " N"], Float[Array, ""]]:
    """Any positive function f of responses as a bet against every mix, ``ln f - ln max(1, max_k E_k f)``.

    Its mean is at most 1 under every persona, so under every mix: a product of them over samples is an e-process. It
    grows in the mean under a policy only if f proves that the policy is outside, ``E_pi f > max_k E_k f``, and the more
    the nearer f is to pi/m*. A classifier's odds will do.

    Args:
        log_test: ln f of all responses to a prompt [N]; inf where no persona can say it.
        log_personas: log p_k [K, N].

    Returns:
        What one sample adds to the log e-process [N], and what was taken off, rounded up.
    """
    finite = jnp.where(jnp.isposinf(log_test), -jnp.inf, log_test)
    gap = jnp.maximum(_most(log_test, log_personas), 0.0) + numerics.rounding(finite, log_personas)
    return log_test - gap, gap


def _against_nearest(
    log_p: Float[Array, " N"], log_personas: Float[Array, "K N"]
) -> tuple[Float[Array, " N"], Float[Array, " K"], Bool[Array, ""]]:
    """Log pi/m*, inf where no mix says it, and m*: of what somebody can say, if the policy also says other things."""
    unsayable = jnp.isneginf(log_personas).all(axis=0)
    near = hulls.project(jnp.where(unsayable, -jnp.inf, log_p), log_personas, tolerance=None)
    log_mix = numerics.log_mix(jnp.log(near.weights), log_personas)
    none = jnp.isneginf(log_mix)
    beyond = jnp.where(jnp.isneginf(log_p), -jnp.inf, jnp.inf)
    return jnp.where(none, beyond, log_p - jnp.where(none, 0.0, log_mix)), near.weights, near.certified


def _most(log_f: Float[Array, " N"], log_personas: Float[Array, "K N"]) -> Float[Array, ""]:
    """``ln max_k E_k f``."""
    said = ~jnp.isneginf(log_personas)
    terms = jnp.where(said, log_personas + jnp.where(said, log_f[None], 0.0), -jnp.inf)
    return jax.nn.logsumexp(terms, axis=-1).max()


def log_e_process(log_factors: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
    """``ln E`` after each of n samples, from what each of them adds: ``Bet.log_factors`` of the samples, in order."""
    return jnp.cumsum(log_factors, axis=-1)


def first_alarm(log_e: Float[Array, "*batch n"], *, alpha: Scalar = 0.05) -> Float[Array, "*batch"]:
    """After how many samples a log e-process first passes ln(1/alpha); inf where it does not.

    Under every mix it ever does with probability alpha at most, so that one may look after every sample (Ville 1939).
    """
    passed = log_e >= -jnp.log(alpha)
    return jnp.where(passed.any(axis=-1), passed.argmax(axis=-1) + 1.0, jnp.inf)


class Witness(NamedTuple):
    """What proves that a policy is outside, from log-probabilities alone.

    Attributes:
        log_test: ln f, f = pi/m*: large where the policy says what no mix would [N].
        policy: ``ln E_pi f``, nats; at least the hull distance.
        personas: ``ln max_k E_k f``; 0 for the nearest mix, but for its gap.
        outside: the policy's is larger, by more than rounding: then f is a proof.
        proofs: responses with ``pi(x) > max_k p_k(x)`` [N], each of which is a proof of its own.
        share: probability under the policy that a response is one.
        best: the response with the largest ``ln pi(x)/max_k p_k(x)`` among those that the policy says.
        margin: that largest one, nats; inf where no persona can say it.
    """

    log_test: Float[Array, " N"]
    policy: Float[Array, ""]
    personas: Float[Array, ""]
    outside: Bool[Array, ""]
    proofs: Bool[Array, " N"]
    share: Float[Array, ""]
    best: Int[Array, ""]
    margin: Float[Array, ""]


EXACT, NOISE = 1e-9, 0.3
"""Nats that log-probabilities may be wrong by if both models are evaluated in float64, and by which engines differ on
the same response at most."""


def witness(log_p: Float[Array, " N"], log_personas: Float[Array, "K N"], *, noise: Scalar = EXACT) -> Witness:
    """The dual certificate: a test function that the policy passes better than all personas, and single responses.

    Args:
        log_p: log pi of all responses to a prompt [N]; -inf allowed.
        log_personas: log p_k [K, N]; likewise.
        noise: nats by which any log-probability may be wrong, as when engines score the same text twice.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check((1, *log_p.shape), (1, *log_personas.shape), (1, *log_p.shape))
    log_test, _, _ = _against_nearest(log_p, log_personas)
    most = _most(log_test, log_personas)
    said = ~jnp.isneginf(log_p)
    own = jax.nn.logsumexp(jnp.where(said, log_p + jnp.where(said, log_test, 0.0), -jnp.inf))
    margins = jnp.where(said, margin(log_p, log_personas), -jnp.inf)
    proofs = margins > 2 * noise
    share = jnp.where(proofs, jnp.exp(log_p), 0.0).sum()
    # The test multiplies by pi/m* once more.
    outside = own - most > 4 * noise
    return Witness(log_test, own, most, outside, proofs, share, margins.argmax(), margins.max())


def margin(log_policy: Float[Array, "*batch M"], log_personas: Float[Array, "*batch K M"]) -> Float[Array, "*batch M"]:
    """``ln pi(x)/max_k p_k(x)``, nats: above 0, a single response proves that the policy is no mix of the personas.

    No mix gives it more than the persona who says it most. Of samples or of all responses; -inf where the policy cannot
    say it, inf where no persona can.
    """
    most = log_personas.max(axis=-2)
    none, never = jnp.isneginf(most), jnp.isneginf(log_policy)
    return jnp.where(never, -jnp.inf, jnp.where(none, jnp.inf, log_policy - jnp.where(none, 0.0, most)))


def _check(policy: tuple[int, ...], personas: tuple[int, ...], counted: tuple[int, ...]) -> None:
    fits = len(policy) == 2 and len(personas) == 3 and personas[1] > 0 and policy[1] > 0
    if not fits or personas[::2] != policy or counted != policy:
        raise ValueError(
            f"log_policy {policy}, log_personas {personas} and counted {counted} have to be [C, M], [C, K, M] and "
            "[C, M], of at least one persona and one response."
        )
