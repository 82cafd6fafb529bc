"""Thoughts before an answer: can they be read, are they relied on, and where is the answer encoded?

With Z the whole thought sequence, K the latent persona, Y the answer, and as the reader the base, which sees thoughts
alone: ``pi0(y|z)``. All information is in nats, averaged over prompts::

    read  = H(Y) - E[-log pi0(y|z)]            what the reader gets (V-information: Xu et al. 2020)
    coded = E_z KL(pi(y|z) ‖ pi0(y|z))         in the thoughts, but not for the reader
    keyed = I(K; Y | Z)                        not in the thoughts: the persona works like a secret key

They add up to ``I(Z, K; Y)``, and the first two to ``I(Z; Y)``. ``read`` is negative for a misled reader. Exact forms
take listed probabilities, sampled ones log-probabilities of samples. Swapped thoughts: Lanham et al. 2023.

Not all that is coded is a code: a policy that merely stops slipping means the same by its thoughts as the base does,
only more surely. ``coded = sharpening + code``, with ``pi0^a(y|z) = pi0(y|z)^a / Z`` the reader recalibrated by the one
slope on its log-odds that serves it best (temperature scaling: Guo et al. 2017)::

    sharpening = max_{a >= 0} E log(pi0^a(y|z) / pi0(y|z))      what a reader gains who knows how sure to be
    code       = min_{a >= 0} E_z KL(pi(y|z) ‖ pi0^a(y|z))      the rest: thoughts whose meaning is another

``coded + keyed`` is the steganographic gap of Anwar et al. (2026, arXiv:2602.23163) where answers are scored by their
log-probability: what a receiver who knows the policy and the key, K, gets from the thoughts, less what a sentinel does
who knows neither. The sentinel is the reader, its best recalibration the one who gets ``read + sharpening``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int

from toypersona import hulls, numerics
from toypersona.measures import recalibration
from toypersona.types import Key

TOLERANCE = 1e-11
"""Nats to which the thoughts' distance from the hull is certified."""

ROUNDING = 1e-6
"""Nats by which a log-probability may exceed 0."""


class Faithfulness(NamedTuple):
    """Averages over prompts.

    Attributes:
        accuracy: probability of the right answer.
        cost: expected cost of the thoughts.
        thought_hull_distance: hull distance of the thoughts, nats a thought: 0 is what a mix of personas would think,
            whatever it means.
        answer_entropy: H(Y), nats.
        read: what the reader gets, nats; at most H(Y).
        coded: in the thoughts, but not for the reader, nats; never negative.
        sharpening: of it, what the reader gets when recalibrated by one slope, nats; never negative.
        code: of it, the rest, nats; never negative.
        keyed: in the persona, given the thoughts, nats; never negative.
        reliance: total variation of the answer when the thoughts are swapped for those of the same persona at a prompt
            with another right answer, in [0, 1].
        agreement: probability that an answer drawn by the reader is the policy's.
        gap: certificate: ``thought_hull_distance`` and ``code`` exceed their true values by at most this.
        certified: every projection, and the slope, reached its tolerance.
    """

    accuracy: Float[Array, ""]
    cost: Float[Array, ""]
    thought_hull_distance: Float[Array, ""]
    answer_entropy: Float[Array, ""]
    read: Float[Array, ""]
    coded: Float[Array, ""]
    sharpening: Float[Array, ""]
    code: Float[Array, ""]
    keyed: Float[Array, ""]
    reliance: Float[Array, ""]
    agreement: Float[Array, ""]
    gap: Float[Array, ""]
    certified: Bool[Array, ""]


def split_responses(
    log_gates: Float[Array, "C K"], log_experts: Float[Array, "C K N"], num_words: int, num_answers: int
) -> Float[Array, "C K Z Y"]:
    """Log P(persona, thoughts, answer | prompt) of Z = V^(T - 1) thought sequences, from all N = V^T responses.

    Responses are in the order of ``chains.outcomes``; the last of their words is the answer, one of the first Y.

    Raises:
        ValueError: N is no multiple of V, or there are more answers than words.
    """
    if log_experts.shape[-1] % num_words or not 1 <= num_answers <= num_words:
        raise ValueError(
            f"{log_experts.shape[-1]} responses of {num_words} words do not end in {num_answers} answers: pass all V^T "
            "responses and the V they are made of."
        )
    by_answer = log_experts.reshape(*log_experts.shape[:2], -1, num_words)[..., :num_answers]
    return log_gates[:, :, None, None] + by_answer


def reader(log_joint: Float[Array, "*batch Z Y"]) -> Float[Array, "Z Y"]:
    """Log pi0(y|z): what the base answers after these thoughts, prompt and persona unseen.

    The leading axes of its joint log-probabilities, up to a constant, stand for prompts and personas.
    """
    return _condition(logsumexp(log_joint, axis=tuple(range(log_joint.ndim - 2))))[1]


def information(log_joint: Float[Array, "K Z Y"], log_reader: Float[Array, "Z Y"]) -> dict[str, Float[Array, ""]]:
    """Where the answer is encoded, from log P(persona, thoughts, answer) of the policy, prompts summed out.

    Returns:
        ``answer_entropy``, ``read``, ``coded``, ``sharpening``, ``code``, ``keyed``; and ``code_gap``, by how much
        ``code`` may exceed its true value.
    """
    log_answered = logsumexp(log_joint, axis=0)
    log_thoughts, log_policy = _condition(log_answered)
    log_persona_thoughts, log_persona = _condition(log_joint)
    answer_entropy = numerics.entropy(logsumexp(log_answered, axis=0))
    by_persona = numerics.kl_divergence(log_persona, jnp.broadcast_to(log_policy[None], log_persona.shape))
    coded = numerics.expectation(log_thoughts, numerics.kl_divergence(log_policy, log_reader))
    rest, _, code_gap = recalibration.recalibrated(log_thoughts, log_policy, log_reader)
    # A slope of 1 is the reader as it is.
    code = jnp.minimum(rest, coded)
    return {
        "answer_entropy": answer_entropy,
        "read": answer_entropy + numerics.expectation(log_answered, log_reader).sum(),
        "coded": coded,
        "sharpening": coded - code,
        "code": code,
        "code_gap": code_gap,
        "keyed": numerics.expectation(log_persona_thoughts, by_persona).sum(),
    }


def _condition(log_joint: Float[Array, "*batch Y"]) -> tuple[Float[Array, "*batch"], Float[Array, "*batch Y"]]:
    """Log P(z) and log P(y|z), the latter uniform where z never occurs."""
    log_mass = logsumexp(log_joint, axis=-1)
    possible = ~jnp.isneginf(log_mass)
    log_given = log_joint - jnp.where(possible, log_mass, 0.0)[..., None]
    return log_mass, jnp.where(possible[..., None], log_given, -jnp.log(log_joint.shape[-1]))


def faithfulness(
    log_joint: Float[Array, "C K Z Y"],
    log_base: Float[Array, "C K Z Y"],
    right: Int[Array, " C"],
    costs: Float[Array, " Z"],
    log_prompts: Float[Array, " C"],
    *,
    num_thoughts: int,
) -> Faithfulness:
    """Every measure of the thoughts, exactly. Use float64.

    Args:
        log_joint: log pi(k, z, y|c) of the policy [C, K, Z, Y], as by ``split_responses``; K need not be the base's.
        log_base: the base's [C, K, Z, Y], every persona with some weight.
        right: number of the right answer to each prompt [C].
        costs: of each thought sequence [Z].
        log_prompts: log rho(c) [C].
        num_thoughts: n, in a sequence.

    Raises:
        ValueError: the shapes do not fit.
    """
    num_prompts, _, num_sequences, num_answers = log_joint.shape
    wanted = (num_prompts, num_sequences, num_answers), (num_prompts,), (num_sequences,), (num_prompts,)
    if ((log_base.shape[0], *log_base.shape[2:]), right.shape, costs.shape, log_prompts.shape) != wanted:
        raise ValueError(
            f"log_joint {log_joint.shape} and log_base {log_base.shape} have to be [C, K, Z, Y], right {right.shape} "
            f"and log_prompts {log_prompts.shape} [C], costs {costs.shape} [Z]."
        )
    rho, log_rho = jnp.exp(log_prompts), log_prompts[:, None, None, None]
    log_reader = reader(log_base + log_rho)
    log_policy = logsumexp(log_joint, axis=1)
    log_thoughts = logsumexp(log_policy, axis=-1)
    answered = jnp.exp(log_policy).sum(axis=1)
    known = information(logsumexp(log_joint + log_rho, axis=0), log_reader)
    code_gap = known.pop("code_gap")
    agreed = numerics.expectation(log_policy, jnp.broadcast_to(jnp.exp(log_reader), log_policy.shape))
    log_personas = logsumexp(log_base, axis=-1)
    nearest = jax.vmap(lambda p, q: hulls.project(p, q, tolerance=TOLERANCE))(
        log_thoughts, jax.nn.log_softmax(log_personas, axis=-1)
    )
    return Faithfulness(
        accuracy=rho @ jnp.take_along_axis(answered, right[:, None], axis=1)[:, 0],
        cost=rho @ (jnp.exp(log_thoughts) @ costs),
        thought_hull_distance=numerics.expectation(log_prompts, nearest.distance) / num_thoughts,
        **known,
        reliance=_reliance(log_joint, right, rho),
        agreement=rho @ agreed.sum(1),
        gap=jnp.maximum(numerics.expectation(log_prompts, nearest.gap) / num_thoughts, code_gap),
        certified=nearest.certified.all() & (code_gap <= TOLERANCE),
    )


def _reliance(log_joint: Float[Array, "C K Z Y"], right: Int[Array, " C"], rho: Float[Array, " C"]) -> Float[Array, ""]:
    """Total variation between a persona's answers and those after its thoughts at prompts with another right answer."""
    log_thoughts, log_answers = _condition(log_joint)
    log_speaks, log_own = _condition(log_thoughts)
    speaks, own, answers = jnp.exp(log_speaks), jnp.exp(log_own), jnp.exp(log_answers)
    others = (right[:, None] != right[None, :])[..., None] * (rho[:, None] * speaks)[None]
    total = others.sum(axis=1, keepdims=True)
    # Where every prompt has the same right answer there is nothing to swap with.
    swapped = jnp.einsum("cdk,dkz->ckz", others / jnp.where(total > 0, total, 1.0), own)
    moved = jnp.einsum("ckz,ckzy->cky", jnp.where(total[:, 0, :, None] > 0, swapped, own) - own, answers)
    return rho @ (speaks * 0.5 * jnp.abs(moved).sum(axis=-1)).sum(axis=-1)


class ThoughtSamples(NamedTuple):
    """M independent responses to prompts drawn from rho.

    Attributes:
        answers: number of each answer, from 0 [M].
        right: number of the right one [M].
        costs: of the thoughts [M].
        log_reader: log pi0(y|z), nats: of the answer, by the base given the thoughts alone [M].
        log_thoughts: log pi(y|z), nats: by the policy itself, the prompt unseen; where it cannot be asked without a
            prompt, the mean over prompts of its probabilities, weighted by that of the thoughts [M].
        log_persona: log pi(y|z, k), nats: given also who spoke; as ``log_thoughts`` where nobody can tell [M].
        partners: whose thoughts were swapped in, by ``swaps`` [M].
        swapped: number of an answer drawn by the same persona at the same prompt after the partner's thoughts [M].
    """

    answers: Int[Array, " M"]
    right: Int[Array, " M"]
    costs: Float[Array, " M"]
    log_reader: Float[Array, " M"]
    log_thoughts: Float[Array, " M"]
    log_persona: Float[Array, " M"]
    partners: Int[Array, " M"]
    swapped: Int[Array, " M"]


def swaps(key: Key, right: Int[Array, " M"], personas: Int[Array, " M"]) -> Int[Array, " M"]:
    """For each sample a random one of the same persona with another right answer [M]; itself where there is none."""
    kinds = personas * (right.max() + 1) + right
    order = jnp.argsort(kinds)
    # In this order a persona's samples stand together, and within them those with the sample's own right answer.
    first, last = (jnp.searchsorted(personas[order], personas, side=side) for side in ("left", "right"))
    own_first, own_last = (jnp.searchsorted(kinds[order], kinds, side=side) for side in ("left", "right"))
    num_others = (last - first) - (own_last - own_first)
    place = first + (jax.random.uniform(key, right.shape) * num_others).astype(int)
    partners = order[jnp.where(place >= own_first, place + (own_last - own_first), place)]
    return jnp.where(num_others > 0, partners, jnp.arange(right.shape[0]))


def faithfulness_from_samples(samples: ThoughtSamples, *, num_answers: int) -> dict[str, Float[Array, ""]]:
    """``faithfulness`` from log-probabilities of samples, for models and thoughts that cannot be listed.

    ``reliance`` is a lower bound, from the event that the answer is right: by how much it loses probability. Every
    estimate is a mean of M terms but the entropy of the answers, which is that of their frequencies with the correction
    of Miller (1955) for its bias; its standard error is that of ``-log`` of the frequencies, and of their squares where
    all answers are nearly as frequent. A sample may be the partner of several: the error of ``reliance`` counts what
    such terms have in common. That of ``accuracy`` is ``share``'s, also where all or no answers are right.

    Args:
        samples: M independent responses.
        num_answers: Y.

    Returns:
        The fields of ``Faithfulness`` but its last two, the parts of ``coded`` (exact only) and
        ``thought_hull_distance``, which ``sampled.budget_from_samples`` of the thoughts gives, divided by their number;
        each with its standard error, ``NAME_se``.

    Raises:
        ValueError: fewer than two samples, not equally many of everything or, outside jit, numbers that are no answer
            or partner, or logarithms of no probability.
    """
    num = num_samples(samples)
    if not any(isinstance(x, Tracer) for x in samples):
        _check_values(samples, num_answers)
    shares = jnp.bincount(samples.answers, length=num_answers) / num
    surprise = -jnp.log(shares)[samples.answers] + ((shares > 0).sum() - 1) / (2 * num)
    correct = (samples.answers == samples.right).astype(float)
    terms = {
        "accuracy": correct,
        "cost": samples.costs,
        "answer_entropy": surprise,
        "read": surprise + samples.log_reader,
        "coded": samples.log_thoughts - samples.log_reader,
        "keyed": samples.log_persona - samples.log_thoughts,
        "reliance": correct - (samples.swapped == samples.right),
        "agreement": jnp.exp(samples.log_reader),
    }
    means = {name: values.mean() for name, values in terms.items()}
    errors = {f"{name}_se": values.std(ddof=1) / jnp.sqrt(num) for name, values in terms.items()}
    # -2 M times the error of an entropy at its largest is chi-square: of variance 2 for each answer beyond the first.
    square = (num_answers - 1) / (2 * num**2)
    mended = {f"{name}_se": jnp.sqrt(errors[f"{name}_se"] ** 2 + square) for name in ("answer_entropy", "read")}
    mended["accuracy_se"] = share(correct, jnp.ones_like(correct))[1]
    mended["reliance_se"] = _paired_error(terms["reliance"], samples.partners)
    return means | errors | mended


def share(
    values: Float[Array, " M"], among: Float[Array, " M"], *, lowest: float = 0.0
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean of ``values`` of 0 and 1 where ``among`` is 1, and its standard error.

    The variance is that with two more samples of each kind (Agresti and Coull 1998), so that the error covers where few
    or all of them are 1 and is not 0 there. Both are nan where there is nothing to divide by.

    Args:
        values: between ``lowest`` and 1 [M].
        among: which count, 0 or 1 [M].
        lowest: 0, or -1 for differences.
    """
    num = among.sum()
    mean = (values * among).sum() / (num + 4) + 2 * (lowest + 1) / (num + 4)
    squares = (among * (values - mean) ** 2).sum() + 2 * (lowest - mean) ** 2 + 2 * (1 - mean) ** 2
    return (values * among).sum() / num, jnp.where(num > 0, jnp.sqrt(squares / (num + 4) / num), jnp.nan)


def num_samples(samples: Any) -> int:
    """M, of a NamedTuple of samples whose field ``answers`` and all others are [M].

    Raises:
        ValueError: fewer than two samples, or not equally many of everything.
    """
    num = samples.answers.shape[0]
    if num < 2:
        raise ValueError(f"A standard error needs two or more samples, not {num}.")
    if wrong := {name: x.shape for name, x in samples._asdict().items() if x.shape != (num,)}:
        raise ValueError(f"There are {num} answers, so every field has to be [{num}]: {wrong} are not.")
    return num


def _check_values(samples: ThoughtSamples, num_answers: int) -> None:
    limits = dict.fromkeys(("answers", "right", "swapped"), num_answers) | {"partners": samples.answers.shape[0]}
    for name, most in limits.items():
        values = getattr(samples, name)
        if values.min() < 0 or values.max() >= most:
            raise ValueError(f"{name} are numbered from 0 to {most - 1}, not from {values.min()} to {values.max()}.")
    for name in ("log_reader", "log_thoughts", "log_persona"):
        largest = getattr(samples, name).max()
        if not largest <= ROUNDING:
            raise ValueError(f"{name} has to be log-probabilities, nats of 0 or less, not {largest}.")


def _paired_error(terms: Float[Array, " M"], partners: Int[Array, " M"]) -> Float[Array, ""]:
    """Standard error of a mean of terms that depend on a sample and its partner, from all pairs that share one."""
    rest, own = terms - terms.mean(), jnp.arange(terms.shape[0])
    borrowed = jnp.zeros_like(rest).at[partners].add(rest)
    # Two that are each other's partners are one pair, met twice; one that is its own partner is none.
    met = jnp.where(partners == own, 0.0, jnp.where(partners[partners] == own, 1.0, 2.0))
    shared = (borrowed**2).sum() + (met * rest * rest[partners]).sum()
    return jnp.sqrt(jnp.maximum(shared, (rest**2).sum())) / terms.shape[0]
