"""Markov chains of words in log space: the tables that true personas and fitted experts share.

A table of order o holds ``log p(next word | last o units)`` with one axis of size U for each unit of context, oldest
first, and a last axis of size V: its shape is ``[U, ..., U, V]``. Responses are made of the units 0..V-1; prompts may
use all U of them and are at least o long. A ``Reading`` chain also sees one unit of the prompt at every position.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int

from toypersona.options import num_outcomes
from toypersona.types import Key


class Reading(NamedTuple):
    """A table whose first axis is the prompt's unit at the position of the word: the first unit for the first word, ...

    What is read and forgotten has to be carried by the words themselves. Words may be impossible (-inf) after a unit.

    Attributes:
        table: ``log p(next word | unit read, last o units)`` [U, U, ..., U, V]; like all tables it may be stacked.
    """

    table: Float[Array, "..."]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the table."""
        return self.table.shape

    @property
    def ndim(self) -> int:
        """Of the table."""
        return self.table.ndim


Table = Float[Array, "..."] | Reading
"""One chain's log-probabilities or, where an argument is called ``tables``, those of K chains, stacked."""


def outcomes(num_words: int, length: int) -> Int[Array, "N T"]:
    """All V^T responses in lexicographic order [N, T].

    Raises:
        ValueError: as ``num_outcomes``.
    """
    places = jnp.arange(num_outcomes(num_words, length))
    return jnp.stack(jnp.unravel_index(places, (num_words,) * length), axis=-1)


def num_words(num_outcomes: int, length: int) -> int:
    """V of a list of all V^T responses of T words.

    Raises:
        ValueError: no number of words makes so many.
    """
    words = round(num_outcomes ** (1 / length)) if length else 1
    if words**length != num_outcomes:
        raise ValueError(f"{num_outcomes} responses of {length} words are not all that some number of words makes.")
    return words


def order(table: Table, prompt: Int[Array, " P"]) -> int:
    """How many units back a table looks.

    Raises:
        ValueError: the prompt is shorter than that.
    """
    back = table.ndim - 1 - isinstance(table, Reading)
    if prompt.shape[0] < back:
        raise ValueError(f"A chain of order {back} needs prompts at least as long, not {prompt.shape[0]}.")
    return back


def _read(table: Table, prompt: Int[Array, " P"], length: int) -> tuple[Float[Array, "..."], tuple[Array, ...]]:
    """The table as an array, and what indexes its first axis at each position: the units read [T], or nothing."""
    if not isinstance(table, Reading):
        return table, ()
    if prompt.shape[0] < length:
        raise ValueError(f"Chains that read along need a unit for each of {length} words, not {prompt.shape[0]} units.")
    return table.table, (prompt[:length],)


def token_log_probs(table: Table, prompt: Int[Array, " P"], tokens: Int[Array, " T"]) -> Float[Array, " T"]:
    """Log p(x_t | the units before) in nats of each token [T], for any T."""
    back = order(table, prompt)
    array, read = _read(table, prompt, tokens.shape[0])
    units = jnp.concatenate([prompt[prompt.shape[0] - back :], tokens])
    context = tuple(units[i : i + tokens.shape[0]] for i in range(back))
    return array[(*read, *context, tokens)]


def log_prob(table: Table, prompt: Int[Array, " P"], tokens: Int[Array, " T"]) -> Float[Array, ""]:
    """Log p(x|c) in nats of one response of any length T."""
    return token_log_probs(table, prompt, tokens).sum()


class Halves(NamedTuple):
    """Parts of a mixture's responses, which are cut at M contexts: given one, both parts are independent in a chain.

    ``pi(x|c) = sum_k left[k, l, m] right[k, m, r]`` of the response number ``(l M + m) R + r``.

    Attributes:
        left: the mixture's weight times the probability of all words up to the cut [K, L, M].
        right: probabilities of the words after it [K, M, R].
    """

    left: Float[Array, "K L M"]
    right: Float[Array, "K M R"]


def halves(weights: Float[Array, " K"], tables: Table, prompt: Int[Array, " P"], length: int) -> Halves:
    """All V^T responses to a prompt, cut near their middle.

    Args:
        weights: of the chains [K].
        tables: their next-word probabilities, not logarithms [K, U, ..., U, V].
        prompt: [P].
        length: T.

    Raises:
        ValueError: as ``log_probs``.
    """
    first, num, num_words = jax.tree.map(lambda x: x[0], tables), weights.shape[0], tables.shape[-1]
    back = order(first, prompt)
    num_outcomes(num_words, length)
    array, read = _read(tables, prompt, length)
    # Products with one-hot vectors: gathers would scatter their gradients back, which costs more than all the rest.
    hot = jax.nn.one_hot(prompt, array.shape[1] if array.ndim > 2 else 0, dtype=array.dtype)

    def at(position: int) -> Float[Array, "K *context V"]:
        return jnp.tensordot(array, hot[position], (1, 0)) if read else array

    def heard(position: int) -> Float[Array, "K _ V"]:
        return at(position)[(slice(None), *(slice(num_words),) * back)].reshape(num, -1, num_words)

    def grow(prefixes: Float[Array, "K _"], following: Float[Array, "K _ V"]) -> Float[Array, "K _"]:
        leaves = prefixes.reshape(num, -1, following.shape[1], 1)
        return (leaves * following[:, None]).reshape(num, -1)

    cut = max(length // 2 + 1, back)
    left = weights[:, None]
    for position in range(min(cut, length)):
        following = at(position)
        for unit in hot[prompt.shape[0] - max(back - position, 0) :]:
            following = jnp.tensordot(following, unit, (1, 0))
        following = following[(slice(None), *(slice(num_words),) * min(position, back))]
        left = grow(left, following.reshape(num, -1, num_words))
    if cut >= length:
        return Halves(left[..., None], jnp.ones((num, 1, 1), left.dtype))
    right = heard(cut).reshape(num, -1)
    for position in range(cut + 1, length):
        right = grow(right, heard(position))
    states = num_words**back
    return Halves(left.reshape(num, -1, states), right.reshape(num, states, -1))


def joined(halves: Halves) -> Float[Array, " N"]:
    """``pi(x|c)`` of all V^T responses [N], in the order of ``outcomes``.

    A matrix product over chains, its gradient two more: no array of size [K, N] ever exists. (An ``einsum`` of many
    prompts would put the words after the cut in front, and read every slope across memory.)
    """
    by_context = jax.lax.dot_general(*halves, dimension_numbers=(([0], [0]), ([2], [1])))
    return by_context.swapaxes(0, 1).reshape(-1)


def mixture_probs(
    weights: Float[Array, " K"], tables: Table, prompt: Int[Array, " P"], length: int
) -> Float[Array, " N"]:
    """``sum_k w_k p_k(x|c)`` of all V^T responses [N] without a logarithm; arguments as of ``halves``."""
    return joined(halves(weights, tables, prompt, length))


def log_probs(table: Table, prompt: Int[Array, " P"], length: int) -> Float[Array, " N"]:
    """Log p(x|c) in nats of all V^T responses [N], in the order of ``outcomes``.

    Built as a tree of prefixes, one position at a time, by broadcasting: only the prompt's rows are gathered, so the
    gradient scatters nothing of size N.

    Raises:
        ValueError: the prompt is shorter than the order or, of chains that read along, than the responses, or these are
            too many to list.
    """
    back, num_words = order(table, prompt), table.shape[-1]
    num_outcomes(num_words, length)
    array, read = _read(table, prompt, length)
    prefixes = jnp.zeros((1,), array.dtype)
    for position in range(length):
        from_prompt = max(back - position, 0)
        context = prompt[prompt.shape[0] - from_prompt :]
        following = array[(*(units[position] for units in read), *(context[i] for i in range(from_prompt)))]
        following = following[(slice(num_words),) * (back - from_prompt)]
        leaves = prefixes.reshape((-1,) + (num_words,) * (back - from_prompt) + (1,))
        prefixes = (leaves + following[None]).reshape(-1)
    return prefixes


def histories(log_probs: Float[Array, "*batch N"], num_words: int, length: int) -> tuple[Array, Array]:
    """What a law of all V^T responses says of every history, position by position: H = 1 + V + ... + V^(T-1) of them.

    Args:
        log_probs: log p(x) in nats, in the order of ``outcomes``.
        num_words: V.
        length: T.

    Returns:
        Log-probabilities that a response begins so [..., H], and of each next word [..., H, V]; -inf after a history
        that is impossible.
    """
    masses, following = [], []
    for position in range(length):
        joint = logsumexp(log_probs.reshape(*log_probs.shape[:-1], num_words**position, num_words, -1), axis=-1)
        mass = logsumexp(joint, axis=-1)
        masses.append(mass)
        following.append(joint - jnp.where(jnp.isneginf(mass), 0.0, mass)[..., None])
    return jnp.concatenate(masses, axis=-1), jnp.concatenate(following, axis=-2)


def listed(log_next: Float[Array, "H V"], length: int) -> Float[Array, " N"]:
    """Log-probabilities of all V^T responses from next-word laws after every history: ``histories`` backwards.

    Args:
        log_next: in nats, in the order of ``histories``.
        length: T.
    """
    num_words, start = log_next.shape[-1], 1
    begun = log_next[0]
    for position in range(1, length):
        rows = log_next[start : start + num_words**position]
        begun, start = (begun[:, None] + rows).reshape(-1), start + rows.shape[0]
    return begun


def history_after(history: Int[Array, ""], word: Int[Array, ""], num_words: int) -> Int[Array, ""]:
    """The number, in the order of ``histories``, of a history that goes on with one of V words."""
    # Before the histories of t words stand H_t = 1 + V + ... + V^(t-1), and H_(t+1) = 1 + V H_t.
    return history * num_words + 1 + word


def ended(end: int, num_words: int, length: int) -> Bool[Array, " H"]:
    """Which of the histories, in the order of ``histories``, hold the word that ends a response."""
    begun = [(outcomes(num_words, position) == end).any(axis=-1) for position in range(1, length)]
    return jnp.concatenate([jnp.zeros(1, bool), *begun])


def visits(
    log_prompts: Float[Array, " C"], log_begun: Float[Array, "C H"], left_out: Bool[Array, " H"] | None = None
) -> Float[Array, "C H"]:
    """How often each history of each prompt is read on from: shares [C, H] that sum to 1.

    Args:
        log_prompts: log rho(c) [C].
        log_begun: log-probabilities that a response begins so, the first of what ``histories`` returns.
        left_out: histories that do not count, such as those of ``ended``; all count if None.
    """
    come = jnp.exp(log_prompts[:, None] + log_begun)
    if left_out is not None:
        come = jnp.where(left_out[None], 0.0, come)
    return come / come.sum()


def sample(
    key: Key, tables: Table, chain: Int[Array, ""] | int, prompt: Int[Array, " P"], length: int
) -> Int[Array, " T"]:
    """One response of ``length`` tokens [T] by one of K chains.

    All tables are given, so that under vmap over keys and chains each is exponentiated once and not for every token.

    Raises:
        ValueError: the prompt is too short, as for ``log_probs``.
    """
    array, read = _read(tables, prompt, length)
    context = prompt[prompt.shape[0] - order(jax.tree.map(lambda x: x[0], tables), prompt) :]
    cumulative = jnp.cumsum(jnp.exp(array), axis=-1)
    # One draw of all levels and inverting the distribution function: several times as fast as a key for each token.
    levels = jax.random.uniform(key, (length,), array.dtype)

    def row(position: Int[Array, ""], context: Int[Array, " O"]) -> Float[Array, " V"]:
        return cumulative[(chain, *(units[position] for units in read), *context)]

    return follow(levels, context, row)


def follow(
    levels: Float[Array, " T"],
    context: Int[Array, " O"],
    row: Callable[[Int[Array, ""], Int[Array, " O"]], Float[Array, " V"]],
) -> Int[Array, " T"]:
    """The words at levels in [0, 1) of ``row(position, context)``, cumulative probabilities up to a factor."""

    def step(context: Int[Array, " O"], inputs: tuple[Array, Array]) -> tuple[Int[Array, " O"], Int[Array, ""]]:
        position, level = inputs
        cumulative = row(position, context)
        # The last entry is one only up to rounding: levels are measured by it, so that none lies above all words.
        token = (cumulative[:-1] <= level * cumulative[-1]).sum(dtype=context.dtype)
        return jnp.concatenate([context, token[None]])[1:], token

    return jax.lax.scan(step, context, (jnp.arange(levels.shape[0]), levels))[1]


def count(
    prompts: Int[Array, "M P"],
    responses: Int[Array, "M L"],
    weights: Float[Array, " M"],
    shape: tuple[int, ...],
    *,
    reads: bool = False,
) -> Float[Array, "..."]:
    """Weighted counts of all transitions in M lines of text, as a table of the given shape ``(U, ..., U, V)``.

    ``reads``: the table's first axis is the unit read, as in ``Reading``.
    """
    back, length = len(shape) - 1 - reads, responses.shape[1]
    units = jnp.concatenate([prompts[:, prompts.shape[1] - back :], responses], axis=1)
    places = tuple(units[:, i : i + length].reshape(-1) for i in range(back + 1))
    if reads:
        places = (prompts[:, :length].reshape(-1), *places)
    return jnp.zeros(shape, weights.dtype).at[places].add(jnp.repeat(weights, length))
