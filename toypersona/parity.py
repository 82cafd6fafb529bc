"""Exact sums over all prompts of bits, at any length: what chains that read along think, answer and pay.

The bits are independent and fair, the marks fixed. What matters of the bits read so far is their parity, so nothing is
listed but (position, last thought, parity, persona): the forward algorithm of a hidden Markov model (Baum and Petrie
1966; Rabiner 1989), here with known transitions and the parity as the hidden state. Gates must not depend on the bits.
Tables are those of ``chains.Reading``, of order 1: log-probabilities, in nats.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import numerics
from toypersona.chains import Reading, Table

NUM_ANSWERS = 2
"""Y: the first words answer, the first one for an even number of ones."""


class Alphabet(NamedTuple):
    """Which units are read: both bits, and the mark before the first thought, which is read again at the answer."""

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


def _array(tables: Table) -> Float[Array, "K U U V"]:
    if not isinstance(tables, Reading) or tables.ndim != 4:
        raise ValueError("Thoughts are summed over prompts for chains.Reading of order 1: pass tables [K, U, U, V].")
    return tables.table


def _steps(array: Float[Array, "K U U V"], alphabet: Alphabet) -> Float[Array, "2 K U V"]:
    """Log next-thought probabilities after bit 0 and after bit 1, and whatever was said before."""
    return jnp.stack([array[:, alphabet.zero], array[:, alphabet.one]])


def forward(tables: Table, alphabet: Alphabet, num_thoughts: int) -> Float[Array, "L K 2 U"]:
    """P(parity of the bits read, unit last seen | persona) before each of the n thoughts and before the answer.

    The L = n + 1 messages are probabilities, for none of them is ever tiny as a whole; the first is all on the mark.

    Raises:
        ValueError: chains that do not read along, or of another order than 1; so do the functions below.
    """
    array = _array(tables)
    num, num_units, _, num_words = array.shape
    after_zero, after_one = jnp.exp(_steps(array, alphabet))
    start = jnp.zeros((num, 2, num_units), array.dtype).at[:, 0, alphabet.mark].set(1.0)

    def step(before: Float[Array, "K 2 U"], _: None) -> tuple[Array, Array]:
        said = (before @ after_zero + before[:, ::-1] @ after_one) / 2
        after = jnp.zeros_like(before).at[..., :num_words].set(said)
        return after, after

    return jnp.concatenate([start[None], jax.lax.scan(step, start, None, length=num_thoughts)[1]])


def totals(
    log_gate: Float[Array, " K"],
    tables: Table,
    log_base_tables: Table,
    costs: Float[Array, " V"],
    alphabet: Alphabet,
    num_thoughts: int,
) -> Totals:
    """Accuracy, cost and distortion of a mixture of K chains over all 2^n prompts, without listing anything.

    ``log_gate`` are the log-probabilities of the personas, ``costs`` those of the words.
    """
    messages, array = forward(tables, alphabet, num_thoughts), _array(tables)
    gate, before = jnp.exp(log_gate), messages.sum(axis=2)
    answers = jnp.exp(array[:, alphabet.mark, :, :NUM_ANSWERS])
    apart = numerics.kl_divergence(array, _array(log_base_tables))
    at_bits = (apart[:, alphabet.zero] + apart[:, alphabet.one]) / 2
    at = jnp.concatenate([jnp.broadcast_to(at_bits, before[:-1].shape), apart[None, :, alphabet.mark]])
    return Totals(
        accuracy=gate @ jnp.einsum("kyu,kuy->k", messages[-1], answers),
        cost=gate @ (before[1:, :, : costs.shape[0]].mean(axis=0) @ costs),
        # What is never said before does not count, however far apart.
        distortion=gate @ jnp.where(before > 0, before * at, 0.0).sum(axis=(0, 2)),
    )


def log_joint(
    log_gate: Float[Array, " K"], tables: Table, thoughts: Int[Array, " n"], alphabet: Alphabet
) -> Float[Array, "K 2 Y"]:
    """Log P(persona, parity, these thoughts, answer) in nats, summed over all prompts.

    Normalised over Y it is what a persona answers after these thoughts, summed over K what a reader of the thoughts
    alone may conclude.
    """
    array = _array(tables)
    steps = _steps(array, alphabet)

    def step(carry: tuple[Array, Array], thought: Int[Array, ""]) -> tuple[tuple[Array, Array], None]:
        mass, before = carry
        after_zero, after_one = steps[:, :, before, thought, None]
        return (jnp.logaddexp(mass + after_zero, mass[:, ::-1] + after_one) - jnp.log(2.0), thought), None

    start = jnp.stack([log_gate, jnp.full_like(log_gate, -jnp.inf)], axis=1)
    (mass, last), _ = jax.lax.scan(step, (start, jnp.asarray(alphabet.mark, thoughts.dtype)), thoughts)
    answers = array[:, alphabet.mark, last, :NUM_ANSWERS]
    return mass[:, :, None] + answers[:, None]
