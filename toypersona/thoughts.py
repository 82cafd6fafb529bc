"""Exact sums over all prompts of bits, at any length: what chains that read along think, answer and pay.

The bits are independent and fair, the marks fixed. What matters of the bits read so far is their parity, so nothing is
listed but (position, last thought, parity, persona): the forward algorithm of a hidden Markov model (Baum and Petrie
1966; Rabiner 1989), here with known transitions and the parity as the hidden state. Gates must not depend on the bits.
Everything is in log space, in nats; tables are those of ``chains.Reading``, of order 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int

from toypersona import numerics
from toypersona.chains import Reading


NUM_ANSWERS = 2
"""Y: the first words answer, the first one for an even number of ones."""


class Alphabet(NamedTuple):
    """Which units are read.

    Attributes:
        zero: the bit 0.
        one: the bit 1.
        mark: what ends the prompt: it stands before the first thought and is read at the answer.
    """

    zero: int
    one: int
    mark: int


class Totals(NamedTuple):
    """Averages over all prompts, thoughts and answers.

    Attributes:
        accuracy: probability of the right answer.
        cost: mean cost of a thought.
        distortion: ``sum_k g_k KL(p_k‖base p_k)``, nats a response: no less than the hull distance (law L2); inf
            where a persona says what it could not.
    """

    accuracy: Float[Array, ""]
    cost: Float[Array, ""]
    distortion: Float[Array, ""]


def _steps(tables: Reading, alphabet: Alphabet) -> Float[Array, "2 K U V"]:
    """Log next-thought probabilities after bit 0 and after bit 1, and whatever was said before."""
    return jnp.stack([tables.table[:, alphabet.zero], tables.table[:, alphabet.one]])


def _said(before: Float[Array, "K 2 U"], steps: Float[Array, "2 K U V"]) -> Float[Array, "K 2 V"]:
    """One message on: from log P(parity, unit before | k) to log P(parity, thought | k)."""
    even, odd = (logsumexp(before[..., None] + step[:, None], axis=2) for step in steps)
    return jnp.logaddexp(even, odd[:, ::-1]) - jnp.log(2.0)


def forward(tables: Reading, alphabet: Alphabet, num_thoughts: int) -> Float[Array, "L K 2 U"]:
    """Log P(parity of the bits read, unit last seen | persona) before each of the n thoughts and before the answer.

    Args:
        tables: log-probabilities [K, U, U, V].
        alphabet: which units are read.
        num_thoughts: n.

    Returns:
        n + 1 messages [L, K, 2, U], the first one all on the mark.
    """
    num, num_units, _, num_words = tables.shape
    start = jnp.full((num, 2, num_units), -jnp.inf).at[:, 0, alphabet.mark].set(0.0)
    steps = _steps(tables, alphabet)

    def step(before: Float[Array, "K 2 U"], _: None) -> tuple[Array, Array]:
        said = _said(before, steps)
        after = jnp.full_like(before, -jnp.inf).at[..., :num_words].set(said)
        return after, after

    return jnp.concatenate([start[None], jax.lax.scan(step, start, None, length=num_thoughts)[1]])


def totals(
    log_gate: Float[Array, " K"],
    tables: Reading,
    log_base_tables: Reading,
    costs: Float[Array, " V"],
    alphabet: Alphabet,
    num_thoughts: int,
) -> Totals:
    """Accuracy, cost and distortion of a mixture of K chains over all 2^n prompts, without listing anything.

    Args:
        log_gate: log-probability of each persona [K].
        tables: its log-probabilities [K, U, U, V].
        log_base_tables: the base's [K, U, U, V].
        costs: of each word [V].
        alphabet: which units are read.
        num_thoughts: n.
    """
    messages = forward(tables, alphabet, num_thoughts)
    gate, num_words = jnp.exp(log_gate), costs.shape[0]
    answers = tables.table[:, alphabet.mark, :, :NUM_ANSWERS]
    right = messages[-1] + jnp.moveaxis(answers, 2, 1)
    thoughts = jnp.exp(logsumexp(messages[1:, ..., :num_words], axis=2)).mean(axis=0)
    before = jnp.exp(logsumexp(messages, axis=2))
    apart = numerics.kl_divergence(tables.table, log_base_tables.table)
    # What is never said before, or never read, does not count, however far apart.
    after_bits = jnp.where(before[:-1] > 0, before[:-1] * (apart[:, alphabet.zero] + apart[:, alphabet.one]) / 2, 0.0)
    at_answer = jnp.where(before[-1] > 0, before[-1] * apart[:, alphabet.mark], 0.0)
    return Totals(
        accuracy=gate @ jnp.exp(logsumexp(right, axis=(1, 2))),
        cost=gate @ (thoughts @ costs),
        distortion=gate @ (after_bits.sum(axis=(0, 2)) + at_answer.sum(axis=1)),
    )


def log_joint(
    log_gate: Float[Array, " K"], tables: Reading, thoughts: Int[Array, " n"], alphabet: Alphabet
) -> Float[Array, "K 2 Y"]:
    """Log P(persona, parity, these thoughts, answer) in nats, summed over all prompts.

    Args:
        log_gate: log-probability of each persona [K].
        tables: log-probabilities [K, U, U, V].
        thoughts: one sequence [n].
        alphabet: which units are read.

    Returns:
        [K, 2, Y]: normalised over Y it is what a persona answers after these thoughts, summed over K what a reader of
        the thoughts alone may conclude.
    """
    steps = _steps(tables, alphabet)

    def step(carry: tuple[Array, Array], thought: Int[Array, ""]) -> tuple[tuple[Array, Array], None]:
        mass, before = carry
        even, odd = steps[:, :, before, thought]
        return (jnp.logaddexp(mass + even[:, None], mass[:, ::-1] + odd[:, None]) - jnp.log(2.0), thought), None

    start = jnp.stack([log_gate, jnp.full_like(log_gate, -jnp.inf)], axis=1)
    (mass, last), _ = jax.lax.scan(step, (start, jnp.asarray(alphabet.mark, thoughts.dtype)), thoughts)
    answers = tables.table[:, alphabet.mark, last, :NUM_ANSWERS]
    return mass[:, :, None] + answers[:, None]
