"""Detectors of a policy that can be sampled but not scored: a fitted law, or a classifier, in place of its own (nats).

- ``next_words``: a table of next-word laws fitted to half of the samples is the alternative that ``detectors.e_value``
  tests on the other half (split likelihood ratio: Wasserman, Ramdas and Balakrishnan 2020). Valid under every mix of
  personas, whatever the table; strong where a table of this order can tell the policy from the mixes.
- ``sequential``: the same table learns from every sample before the next one, so that all of them count: the product of
  its predictions, a law of all samples together, is again at most the likelihood ratio against the true mix.
- ``classifier``: a logistic regression tells the policy's samples from those of one mix, and is tested on pairs that it
  has not seen (Pandeva, Bakker, Naesseth and Forré 2024). Its coefficients name the words that differ. The null is that
  *one* mix: a policy that is another one alarms, too.
- ``held_out_distance``: the distance to the mix that one half of a scored policy's samples is nearest to, measured on
  the other half; no e-value, but a number with its error.
- ``shift``: what is commonly watched, a mean that moves away from the base's: perplexity, entropy, an activation. It
  alarms whenever the policy moves, inside the hull or out of it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from jax.scipy.special import gammaln
from jaxtyping import Array, Float, Int

from toypersona import chains, numerics
from toypersona.measures import control_variates, detectors
from toypersona.measures.detectors import EValue
from toypersona.types import Scalar

PRIOR = 0.5
"""Samples of every next word that are counted beforehand (Krichevsky and Trofimov 1981)."""


class Split(NamedTuple):
    """Both ways of splitting samples in two.

    Attributes:
        log_e: ``ln`` of the mean of both halves' e-values, which is an e-value.
        halves: ``EValue`` of the second half and of the first, each against the table of the other; leading axes 2.
    """

    log_e: Float[Array, ""]
    halves: EValue


def next_words(
    prompts: Int[Array, "C P"],
    responses: Int[Array, "C M T"],
    log_personas: Float[Array, "C K M"],
    shape: tuple[int, ...],
    *,
    prior: Scalar = PRIOR,
    tolerance: Scalar = 1e-9,
) -> Split:
    """The split likelihood ratio of tables of next words against every mix of personas.

    The table of a prompt adds ``prior * V`` samples of the table of all prompts to its own, which itself has ``prior``
    of every word.

    Args:
        prompts: [C, P].
        responses: M samples of T words at each [C, M, T], M even.
        log_personas: log p_k of the samples [C, K, M], nats.
        shape: of the table, ``(U, ..., U, V)``: as many units of context as axes but one, which the prompts have.
        prior: a > 0.
        tolerance: nats a sample, of the fitted mix.

    Raises:
        ValueError: an odd number of samples, or shapes that do not fit.
    """
    _check(prompts, responses, log_personas, shape)
    if (num := responses.shape[1]) % 2:
        raise ValueError(f"{num} samples cannot be split in two: draw an even number.")

    def one(fitted: Array, tested: Array, log_q: Array) -> EValue:
        counts = _counts(prompts, fitted, shape)
        pooled = numerics.log_normalize(jnp.log(counts.sum(axis=0) + prior))
        tables = numerics.log_normalize(jnp.log(counts + prior * shape[-1] * jnp.exp(pooled)[None]))
        score = jax.vmap(jax.vmap(chains.log_prob, (None, None, 0)))
        return detectors.e_value(score(tables, prompts, tested), log_q, tolerance=tolerance)

    halves, log_q = jnp.split(responses, 2, axis=1), jnp.split(log_personas, 2, axis=2)
    both = jax.vmap(one)(jnp.stack(halves), jnp.stack(halves[::-1]), jnp.stack(log_q[::-1]))
    return Split(jax.nn.logsumexp(both.log_e) - jnp.log(2.0), both)


def sequential(
    prompts: Int[Array, "C P"],
    responses: Int[Array, "C M T"],
    log_personas: Float[Array, "C K M"],
    shape: tuple[int, ...],
    *,
    prior: Scalar = PRIOR,
    tolerance: Scalar = 1e-9,
) -> EValue:
    """The e-value of a table at every prompt that has learnt from all the samples before (Dawid 1984).

    The product of its predictions is a Dirichlet-multinomial probability of the counts, in whatever order samples come.
    Arguments and what is raised as in ``next_words``; any number of samples.
    """
    _check(prompts, responses, log_personas, shape)
    counts = _counts(prompts, responses, shape)
    each = gammaln(counts + prior) - gammaln(prior)
    rows = gammaln(prior * shape[-1]) - gammaln(counts.sum(axis=-1) + prior * shape[-1])
    log_marginal = each.sum() + rows.sum()
    against = detectors.e_value(jnp.zeros_like(log_personas[:, 0]), log_personas, tolerance=tolerance)
    rounded = numerics.rounding(each) * (jnp.abs(each).sum() + jnp.abs(rows).sum())
    return against._replace(log_e=log_marginal + against.log_e - rounded, gap=against.gap + rounded)


def _counts(prompts: Array, responses: Array, shape: tuple[int, ...]) -> Float[Array, "C ..."]:
    """Of every transition, at every prompt."""
    ones = jnp.ones(responses.shape[1])
    alike = jnp.broadcast_to(prompts[:, None], (*responses.shape[:2], prompts.shape[1]))
    return jax.vmap(lambda c, x: chains.count(c, x, ones, shape))(alike, responses)


def _check(prompts: Array, responses: Array, log_personas: Array, shape: tuple[int, ...]) -> None:
    (num_prompts, num), back = responses.shape[:2], len(shape) - 1
    if prompts.shape[0] != num_prompts or log_personas.shape[::2] != (num_prompts, num):
        raise ValueError(
            f"prompts {prompts.shape}, responses {responses.shape} and log_personas {log_personas.shape} have to be "
            "[C, P], [C, M, T] and [C, K, M]."
        )
    if back < 0 or prompts.shape[1] < back:
        raise ValueError(f"A table of shape {shape} reads {back} units, and prompts have {prompts.shape[1]}.")


def word_counts(responses: Int[Array, "*batch T"], num_words: int, *, places: bool = False) -> Float[Array, "*batch F"]:
    """How often a response has each of V words [F = V]; with ``places``, which word stands where [F = T V]."""
    hot = jax.nn.one_hot(responses, num_words)
    return hot.reshape(*responses.shape[:-1], -1) if places else hot.sum(axis=-2)


class Classifier(NamedTuple):
    """A logistic regression that tells the policy's samples from those of a mix.

    Attributes:
        coefficients: log-odds for one more of each feature [F]: above 0, the policy says it more.
        log_e: ln of the e-value of the held-out pairs, against the null that both samples have the same law.
        accuracy: share of the held-out pairs whose policy's sample it finds; 1/2 by chance.
    """

    coefficients: Float[Array, " F"]
    log_e: Float[Array, ""]
    accuracy: Float[Array, ""]


STEPS, STILL = 25, 1e-9
"""Newton's steps of the regression at most, and log-odds by which the last one may have moved a coefficient."""


def classifier(policy: Float[Array, "M F"], mix: Float[Array, "M F"], *, penalty: Scalar = 1.0) -> Classifier:
    """The classifier e-test of a policy against one mix, both known by features of M samples.

    Samples are paired. If both laws are the same, either order of a pair is as likely: a classifier that gives the
    order that is true the probability ``q = sigmoid(score(x) - score(y))`` has the e-value ``2 q``, whatever it is. It
    is fitted to the first half of the pairs, by the likelihood of their orders less ``penalty |coefficients|^2 / 2``,
    and tested on the second. Prompts may be mixed as long as both samples of a pair answer the same one.

    Args:
        policy: features of the policy's samples, such as ``word_counts`` [M, F].
        mix: of samples of the mix, drawn with the weights that were fitted to other samples [M, F].
        penalty: > 0.

    Raises:
        ValueError: fewer than two pairs, or shapes that do not fit.
    """
    if policy.shape != mix.shape or policy.shape[0] < 2:
        raise ValueError(f"Features {policy.shape} and {mix.shape} have to be of at least two pairs, [M, F] both.")
    differences = policy - mix
    half = differences.shape[0] // 2
    fitted, tested = differences[:half], differences[half:]

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        coefficients, number, _ = state
        wrong = jax.nn.sigmoid(-(fitted @ coefficients))
        slope = fitted.T @ wrong - penalty * coefficients
        curvature = fitted.T @ ((wrong * (1 - wrong))[:, None] * fitted) + penalty * jnp.eye(slope.size)
        # Not by LAPACK, which on large batches inside loops has been seen to wait for itself for ever.
        moved, _ = cg(lambda d: curvature @ d, slope, tol=1e-10)
        # A full step, or one that cannot pass the summit: the curvature grows by exp(reach) at most along it (Sun and
        # Tran-Dinh 2019). A single pair that reaches far would hold back the safe one alone.
        reach = jnp.abs(fitted @ moved).max()
        safe = jnp.where(reach > 0, jnp.log1p(reach) / jnp.where(reach > 0, reach, 1.0), 1.0)
        tried = coefficients[None] + jnp.stack([jnp.ones_like(safe), safe])[:, None] * moved[None]
        likely = jax.nn.log_sigmoid(tried @ fitted.T).sum(axis=1) - 0.5 * penalty * (tried**2).sum(axis=1)
        return tried[likely.argmax()], number + 1, jnp.abs(moved).max()

    start = jnp.zeros(policy.shape[1]), jnp.zeros((), int), jnp.full((), jnp.inf)
    coefficients, _, _ = jax.lax.while_loop(lambda state: (state[1] < STEPS) & (state[2] > STILL), step, start)
    scores = tested @ coefficients
    log_e = (jnp.log(2.0) + jax.nn.log_sigmoid(scores)).sum()
    return Classifier(coefficients, log_e, (jnp.sign(scores) / 2 + 0.5).mean())


class Estimate(NamedTuple):
    """A number of nats with its standard error."""

    value: Float[Array, ""]
    error: Float[Array, ""]

    @property
    def z(self) -> Float[Array, ""]:
        """In standard errors; 0 where there is neither."""
        exact = self.error == 0
        return jnp.where(exact, 0.0, self.value / jnp.where(exact, 1.0, self.error))


def held_out_distance(
    log_policy: Float[Array, "C M"],
    log_personas: Float[Array, "C K M"],
    log_prompts: Float[Array, " C"],
    *,
    tolerance: Scalar = 1e-9,
) -> Estimate:
    """The hull distance, either half of the samples measured from the mix that is nearest to the other half.

    That is too far by what the fit misses; what it misses is taken off, by the jackknife of the other half. Inside the
    hull that difference is a chi-square less its mean, four of which share two fits: with o the mean that was taken
    off, its variance is ``5 o²/(K - 1)`` a prompt. The error is never below the tolerance, to which a mix is known.

    Args:
        log_policy: log pi of M samples at each prompt, M a multiple of 4 [C, M].
        log_personas: log p_k [C, K, M].
        log_prompts: log rho(c) [C].
        tolerance: nats to which fits are certified.

    Raises:
        ValueError: M is no multiple of 4, or the shapes do not fit.
    """
    num_prompts, num_personas, num = log_personas.shape
    if log_policy.shape != (num_prompts, num) or log_prompts.shape != (num_prompts,) or num % 4 or num == 0:
        raise ValueError(
            f"log_policy {log_policy.shape}, log_personas {log_personas.shape} and log_prompts {log_prompts.shape} "
            "have to be [C, M], [C, K, M] and [C], M a multiple of 4."
        )

    def one(log_p: Array, log_q: Array) -> tuple[Array, Array]:
        halves_p, halves_q = jnp.stack(jnp.split(log_p, 2)), jnp.stack(jnp.split(log_q, 2, axis=1))
        near = jax.vmap(lambda p, q: control_variates.nearest(p, q, tolerance))(halves_p, halves_q)
        log_mix = jax.vmap(numerics.log_mix)(jnp.log(near.weights), halves_q[::-1])
        missed = near.optimism.mean(axis=1)
        terms = jax.vmap(control_variates.divergence)(halves_p[::-1], log_mix) - missed[:, None]
        return terms.reshape(-1), missed.mean()

    terms, missed = jax.vmap(one)(log_policy, log_personas)
    rho = jnp.exp(log_prompts)
    value, error = control_variates.pooled(terms, rho)
    of_the_fit = (rho**2 * 5 * missed**2).sum() / max(num_personas - 1, 1)
    return Estimate(value, jnp.sqrt(error**2 + of_the_fit + jnp.square(tolerance)))


def shift(policy: Float[Array, "C M"], base: Float[Array, "C B"], log_prompts: Float[Array, " C"]) -> Estimate:
    """How far the mean of anything moved from the base's samples to the policy's, in its own units.

    Pass ``-log pi0`` of both for perplexity, each one's own log-probability for entropy, or an activation.
    """
    rho = jnp.exp(log_prompts)
    squares = [values.var(axis=1, ddof=1) / values.shape[1] for values in (policy, base)]
    return Estimate(rho @ (policy.mean(axis=1) - base.mean(axis=1)), jnp.sqrt(rho**2 @ (squares[0] + squares[1])))
