"""Markov chains of words in log space: the tables that true personas and fitted experts share.

A table of order o holds ``log p(next word | last o units)`` with one axis of size U for each unit of context, oldest
first, and a last axis of size V: its shape is ``[U, ..., U, V]``. Responses are made of the units 0..V-1; prompts may
use all U of them and are at least o long.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int

from toypersona.types import Key

MAX_OUTCOMES = 2**20


def num_outcomes(num_words: int, length: int) -> int:
    """N = V^T, the number of responses.

    Raises:
        ValueError: there are none, or more than ``MAX_OUTCOMES``.
    """
    if min(num_words, length) < 1:
        raise ValueError(f"Responses need 1 word or more and a length of 1 or more, not {num_words} and {length}.")
    if num_words**length > MAX_OUTCOMES:
        raise ValueError(
            f"{num_words} words and length {length} make {num_words**length:,} responses; only {MAX_OUTCOMES:,} can "
            "be listed: use a shorter length, or sample and call measures.drift.budget_from_samples."
        )
    return num_words**length


def outcomes(num_words: int, length: int) -> Int[Array, "N T"]:
    """All V^T responses in lexicographic order [N, T].

    Raises:
        ValueError: there are none, or more than ``MAX_OUTCOMES``.
    """
    places = jnp.arange(num_outcomes(num_words, length))
    return jnp.stack(jnp.unravel_index(places, (num_words,) * length), axis=-1)


def order(table: Float[Array, "*context V"], prompt: Int[Array, " P"]) -> int:
    """How many units back a table looks.

    Raises:
        ValueError: the prompt is shorter than that.
    """
    if prompt.shape[0] < table.ndim - 1:
        raise ValueError(f"A chain of order {table.ndim - 1} needs prompts at least as long, not {prompt.shape[0]}.")
    return table.ndim - 1


def token_log_probs(
    table: Float[Array, "*context V"], prompt: Int[Array, " P"], tokens: Int[Array, " T"]
) -> Float[Array, " T"]:
    """Log p(x_t | the units before) in nats of each token [T], for any T."""
    back = order(table, prompt)
    units = jnp.concatenate([prompt[prompt.shape[0] - back :], tokens])
    context = tuple(units[i : i + tokens.shape[0]] for i in range(back))
    return table[(*context, tokens)]


def log_prob(table: Float[Array, "*context V"], prompt: Int[Array, " P"], tokens: Int[Array, " T"]) -> Float[Array, ""]:
    """Log p(x|c) in nats of one response of any length T."""
    return token_log_probs(table, prompt, tokens).sum()


def mixture_probs(
    weights: Float[Array, " K"], tables: Float[Array, "K *context V"], prompt: Int[Array, " P"], length: int
) -> Float[Array, " N"]:
    """``sum_k w_k p_k(x|c)`` of all V^T responses [N], in the order of ``outcomes``, without a logarithm.

    A response is cut near its middle. Given the words at the cut its halves are independent in every chain, so the
    whole is a matrix product over chains, its gradient two more, and no array of size [K, N] ever exists.

    Args:
        weights: of the chains [K].
        tables: their next-word probabilities [K, U, ..., U, V].
        prompt: [P].
        length: T.

    Raises:
        ValueError: the prompt is shorter than the order, or the responses are too many to list.
    """
    back, num_words = order(tables[0], prompt), tables.shape[-1]
    num_outcomes(num_words, length)
    heard = tables[(slice(None), *(slice(num_words),) * back)].reshape(len(tables), -1, num_words)
    # Products with one-hot vectors: gathers would scatter their gradients back, which costs more than all the rest.
    hot = jax.nn.one_hot(prompt, tables.shape[1] if back else 0, dtype=tables.dtype)

    def grow(prefixes: Float[Array, "K _"], following: Float[Array, "K _ V"]) -> Float[Array, "K _"]:
        leaves = prefixes.reshape(len(tables), -1, following.shape[1], 1)
        return (leaves * following[:, None]).reshape(len(tables), -1)

    cut = max(length // 2 + 1, back)
    left = weights[:, None]
    for position in range(min(cut, length)):
        if position < back:
            following = tables
            for unit in hot[prompt.shape[0] - back + position :]:
                following = jnp.tensordot(following, unit, (1, 0))
            following = following[(slice(None), *(slice(num_words),) * position)]
            left = grow(left, following.reshape(len(tables), -1, num_words))
        else:
            left = grow(left, heard)
    if cut >= length:
        return left.sum(axis=0)
    right = heard.reshape(len(tables), -1)
    for _ in range(length - cut - 1):
        right = grow(right, heard)
    states = num_words**back
    joined = jnp.einsum("klm,kmr->lmr", left.reshape(len(tables), -1, states), right.reshape(len(tables), states, -1))
    return joined.reshape(-1)


def log_probs(table: Float[Array, "*context V"], prompt: Int[Array, " P"], length: int) -> Float[Array, " N"]:
    """Log p(x|c) in nats of all V^T responses [N], in the order of ``outcomes``.

    Built as a tree of prefixes, one position at a time, by broadcasting: only the prompt's rows are gathered, so the
    gradient scatters nothing of size N.

    Raises:
        ValueError: the prompt is shorter than the order, or the responses are too many to list.
    """
    back, num_words = order(table, prompt), table.shape[-1]
    num_outcomes(num_words, length)
    prefixes = jnp.zeros((1,), table.dtype)
    for position in range(length):
        from_prompt = max(back - position, 0)
        context = prompt[prompt.shape[0] - from_prompt :]
        following = table[tuple(context[i] for i in range(from_prompt))]
        following = following[(slice(num_words),) * (back - from_prompt)]
        leaves = prefixes.reshape((-1,) + (num_words,) * (back - from_prompt) + (1,))
        prefixes = (leaves + following[None]).reshape(-1)
    return prefixes


def sample(
    key: Key,
    tables: Float[Array, "K *context V"],
    chain: Int[Array, ""] | int,
    prompt: Int[Array, " P"],
    length: int,
) -> Int[Array, " T"]:
    """One response of ``length`` tokens [T] by one of K chains.

    All tables are given, so that under vmap over keys and chains each is exponentiated once and not for every token.

    Raises:
        ValueError: the prompt is shorter than the order.
    """
    context = prompt[prompt.shape[0] - order(tables[0], prompt) :]
    cumulative = jnp.cumsum(jnp.exp(tables), axis=-1)
    # One draw of all levels and inverting the distribution function: several times as fast as a key for each token.
    levels = jax.random.uniform(key, (length,), tables.dtype)
    return _follow(levels, context, lambda position, context: cumulative[(chain, *context)])


def _follow(
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


class Tilted(NamedTuple):
    """A chain tilted by a reward for each word: again a chain, with other probabilities at every position.

    Attributes:
        tables: log next-word probabilities at each position [T, U, ..., U, V].
        log_partition: log E_p[exp(reward)] from each context [U, ..., U].
    """

    tables: Float[Array, "T *context V"]
    log_partition: Float[Array, "*context"]


def tilt(table: Float[Array, "*context V"], rewards: Float[Array, "T V"]) -> Tilted:
    """``p(x) exp(sum_t rewards[t, x_t]) / Z`` by messages from the last word back (Baum and Petrie 1966).

    Args:
        table: a chain of order 1 or more.
        rewards: of each word at each position, times the strength [T, V].
    """
    num_words = table.shape[-1]

    def step(ahead: Float[Array, "*context"], paid: Float[Array, " V"]) -> tuple[Array, Array]:
        joint = table + (paid[(None,) * (table.ndim - 2)] + ahead[..., :num_words])[None]
        total = logsumexp(joint, axis=-1)
        return total, joint - jnp.where(jnp.isneginf(total), 0.0, total)[..., None]

    first, tables = jax.lax.scan(step, jnp.zeros(table.shape[:-1]), rewards, reverse=True)
    return Tilted(tables, first)


def sample_tilted(
    key: Key, tables: Float[Array, "K T *context V"], chain: Int[Array, ""] | int, prompt: Int[Array, " P"]
) -> Int[Array, " T"]:
    """One response [T] by one of K tilted chains, whose ``tables`` are given together as for ``sample``."""
    cumulative = jnp.cumsum(jnp.exp(tables), axis=-1)
    levels = jax.random.uniform(key, cumulative.shape[1:2], cumulative.dtype)
    context = prompt[prompt.shape[0] - order(tables[0, 0], prompt) :]
    return _follow(levels, context, lambda position, context: cumulative[(chain, position, *context)])


def count(
    prompts: Int[Array, "M P"], responses: Int[Array, "M L"], weights: Float[Array, " M"], shape: tuple[int, ...]
) -> Float[Array, "*context V"]:
    """Weighted counts of all transitions in M lines of text, as a table of the given shape ``(U, ..., U, V)``."""
    back, length = len(shape) - 1, responses.shape[1]
    units = jnp.concatenate([prompts[:, prompts.shape[1] - back :], responses], axis=1)
    places = tuple(units[:, i : i + length].reshape(-1) for i in range(back + 1))
    return jnp.zeros(shape, weights.dtype).at[places].add(jnp.repeat(weights, length))
