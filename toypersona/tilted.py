"""What a reward per word does to a Markov chain, exactly, at any length: moments, limits, and samples of the tilt.

Tilting a chain by ``exp(s sum_t f(x_t))`` multiplies its transition matrix entry by entry; the sum over all V^T
responses is a matrix power. Powers are taken by squaring, in log space, so T = 4096 costs twelve products and nothing
underflows. Beside its log weight every entry carries the mean reward of the paths it sums over (the expectation
semiring: Li and Eisner 2009), so that no derivative is taken.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int

from toypersona import chains
from toypersona.types import Key, Scalar


class _Paths(NamedTuple):
    """Sums over all paths between two states: log of their weights, and their mean reward under these weights."""

    log_weight: Float[Array, "A B"]
    mean: Float[Array, "A B"]


def _join(first: _Paths, second: _Paths) -> _Paths:
    joint = first.log_weight[:, :, None] + second.log_weight[None]
    log_weight = logsumexp(joint, axis=1)
    reached = jnp.where(jnp.isneginf(log_weight), 0.0, log_weight)
    share = jnp.exp(joint - reached[:, None])
    return _Paths(log_weight, (share * (first.mean[:, :, None] + second.mean[None])).sum(axis=1))


def _lifted(table: Float[Array, "*context V"]) -> tuple[Float[Array, "S S"], Int[np.ndarray, "S S"]]:
    """Log transition matrix between contexts, S = U^order, and the word that each transition says."""
    if table.ndim < 2:
        raise ValueError("Transfer matrices need chains of order 1 or more: this table looks back at no word.")
    num_words = table.shape[-1]
    size = table.size // num_words
    rows, words = np.arange(size)[:, None], np.arange(num_words)[None]
    columns = (rows * table.shape[0] + words) % size
    said = np.zeros((size, size), int)
    said[rows, columns] = words
    return jnp.full((size, size), -jnp.inf).at[rows, columns].set(table.reshape(size, num_words)), said


def moments(
    table: Float[Array, "*context V"],
    prompt: Int[Array, " P"],
    scores: Float[Array, " V"],
    strength: Scalar | Float[Array, " L"],
    lengths: Sequence[int],
    *,
    last_only: bool = False,
) -> tuple[Float[Array, " L"], Float[Array, " L"]]:
    """``log Z = log E_p[exp(s r)]`` and ``E[r]`` under the tilted chain, r the sum of the scores of the words said.

    Args:
        table: the chain's log next-word probabilities [U, ..., U, V], of order 1 or more.
        prompt: [P].
        scores: of each word [V].
        strength: s, one for all lengths or one for each [L].
        lengths: T, as many as wanted.
        last_only: pay for the last word only.

    Returns:
        Log Z in nats [L], and the mean reward [L].

    Raises:
        ValueError: a chain without memory, a prompt shorter than its order, a length below 1, or strengths that are not
            as many as lengths.
    """
    if min(lengths, default=0) < 1:
        raise ValueError(f"Lengths have to be one or more whole numbers from 1, not {lengths}.")
    if jnp.shape(strength) not in ((), (len(lengths),)):
        raise ValueError(
            f"strength {jnp.shape(strength)} has to be one number, or one for each of {len(lengths)} lengths."
        )
    chains.order(table, prompt)
    log_matrix, said = _lifted(table)
    paid = scores[said]
    plain = _Paths(log_matrix, jnp.zeros_like(log_matrix))
    size = log_matrix.shape[0]
    context = jnp.ravel_multi_index(tuple(prompt[1 - table.ndim :]), table.shape[:-1], mode="clip")
    start = _Paths(jnp.where(jnp.arange(size) == context, 0.0, -jnp.inf)[None], jnp.zeros((1, size)))
    exponents = np.asarray(lengths) - last_only
    bits = (exponents[:, None] >> np.arange(max(int(exponents.max()).bit_length(), 1))) & 1

    def one(strength: Scalar, bits: Bool[Array, " D"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        tilted = _Paths(log_matrix + strength * paid, jnp.where(jnp.isneginf(log_matrix), 0.0, paid))

        def double(carry: tuple[_Paths, _Paths], bit: Array) -> tuple[tuple[_Paths, _Paths], None]:
            row, power = carry
            row = jax.tree.map(lambda new, old: jnp.where(bit, new, old), _join(row, power), row)
            return (row, _join(power, power)), None

        (row, _), _ = jax.lax.scan(double, (start, plain if last_only else tilted), bits)
        row = _join(row, tilted) if last_only else row
        whole = _join(row, _Paths(jnp.zeros((size, 1)), jnp.zeros((size, 1))))
        return whole.log_weight[0, 0], whole.mean[0, 0]

    # Of one strength the powers are those of all lengths.
    own = 0 if jnp.ndim(strength) else None
    return jax.vmap(one, (own, 0))(strength, jnp.asarray(bits, bool))


def asymptotics(
    table: Float[Array, "*context V"], scores: Float[Array, " V"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean reward mu per word of an endless response, and its asymptotic variance ``lim Var(r)/T``, also per word.

    With nu the stationary distribution and h the solution of Poisson's equation ``h - P h = f - mu``, the reward is a
    martingale of steps ``f - mu + h(next) - h(here)`` up to a bounded rest (Meyn and Tweedie 2009, chapter 17).

    Arguments and errors as in ``moments``; the chain has one recurrent class.
    """
    log_matrix, said = _lifted(table)
    matrix, paid = jnp.exp(log_matrix), scores[said]
    size = matrix.shape[0]
    restless = jnp.eye(size) - matrix
    stationary = jnp.linalg.solve((restless + 1.0).T, jnp.ones(size))
    mean_paid = (matrix * paid).sum(axis=1)
    mean = stationary @ mean_paid
    ahead = jnp.linalg.solve(restless + stationary[None, :], mean_paid - mean)
    steps = paid - mean + ahead[None, :] - ahead[:, None]
    return mean, stationary @ (matrix * steps**2).sum(axis=1)


def tilt(
    table: Float[Array, "*context V"], rewards: Float[Array, "T V"]
) -> tuple[Float[Array, "T *context V"], Float[Array, "*context"]]:
    """``p(x) exp(sum_t rewards[t, x_t]) / Z`` by messages from the last word back (Baum and Petrie 1966).

    Args:
        table: a chain of order 1 or more.
        rewards: of each word at each position, times the strength [T, V].

    Returns:
        A chain with other log next-word probabilities at each position [T, U, ..., U, V], and log Z from each context.
    """
    num_words = table.shape[-1]

    def step(ahead: Float[Array, "*context"], paid: Float[Array, " V"]) -> tuple[Array, Array]:
        joint = table + (paid[(None,) * (table.ndim - 2)] + ahead[..., :num_words])[None]
        total = logsumexp(joint, axis=-1)
        return total, joint - jnp.where(jnp.isneginf(total), 0.0, total)[..., None]

    log_partition, tables = jax.lax.scan(step, jnp.zeros(table.shape[:-1]), rewards, reverse=True)
    return tables, log_partition


def sample(
    key: Key, tables: Float[Array, "K T *context V"], chain: Int[Array, ""] | int, prompt: Int[Array, " P"]
) -> Int[Array, " T"]:
    """One response [T] by one of K tilted chains, whose ``tables`` are stacked as for ``chains.sample``."""
    cumulative = jnp.cumsum(jnp.exp(tables), axis=-1)
    levels = jax.random.uniform(key, cumulative.shape[1:2], cumulative.dtype)
    context = prompt[prompt.shape[0] - chains.order(tables[0, 0], prompt) :]
    return chains.follow(levels, context, lambda position, context: cumulative[(chain, position, *context)])


class PaidMixture(NamedTuple):
    """A mixture of Markov chains, and what is paid for each word of its responses, which may have any length.

    Attributes:
        log_gates: log g_k(c) [C, K].
        log_experts: each persona's chain [K, U, ..., U, V], of order 1 or more.
        prompts: [C, P].
        log_prompts: log rho(c) [C].
        scores: reward of each word said [V].
    """

    log_gates: Float[Array, "C K"]
    log_experts: Float[Array, "K *context V"]
    prompts: Int[Array, "C P"]
    log_prompts: Float[Array, " C"]
    scores: Float[Array, " V"]


def paying_alike(log_experts: Float[Array, "K *context V"], scores: Float[Array, " V"]) -> Float[Array, " V"]:
    """The scores nearest to some that pay every persona the same mean reward per word of an endless response."""
    units = jnp.eye(scores.shape[0])
    shares = jax.vmap(lambda table: jax.vmap(lambda unit: asymptotics(table, unit)[0])(units))(log_experts)
    apart = shares[1:] - shares[:1]
    return scores - jnp.linalg.pinv(apart) @ (apart @ scores)


def sample_mixture(
    key: Key, mixture: PaidMixture, strength: Scalar, length: int, num_samples: int
) -> tuple[Float[Array, "C M"], Float[Array, "C M"], Float[Array, "C K M"]]:
    """Responses of a tilted mixture to every prompt, known by their log-probabilities.

    Args:
        key: one key.
        mixture: what is tilted, and by which reward.
        strength: s; at 0 the responses are the base's.
        length: T.
        num_samples: M, responses to each prompt.

    Returns:
        Log-probabilities of the responses in nats: under the tilt [C, M], the base [C, M] and each persona [C, K, M].
    """
    log_gates, log_experts, prompts, _, scores = mixture
    paid = jnp.broadcast_to(strength * scores, (length, scores.shape[0]))
    tables, log_partition = jax.vmap(tilt, in_axes=(0, None))(log_experts, paid)

    def respond(c: Int[Array, ""], key: Key) -> tuple[Array, Array, Array]:
        prompt = prompts[c]
        context = tuple(prompt[prompt.shape[0] - log_experts.ndim + 2 :])
        joint = log_gates[c] + log_partition[(slice(None), *context)]
        persona_key, token_key = jax.random.split(key)
        tokens = sample(token_key, tables, jax.random.categorical(persona_key, joint), prompt)
        log_personas = jax.vmap(lambda table: chains.log_prob(table, prompt, tokens))(log_experts)
        log_base = jax.nn.logsumexp(log_gates[c] + log_personas)
        log_policy = log_base + strength * scores[tokens].sum() - jax.nn.logsumexp(joint)
        return log_policy, log_base, log_personas

    keys = jax.random.split(key, (prompts.shape[0], num_samples))
    each = jax.vmap(jax.vmap(respond, in_axes=(None, 0)))
    log_policy, log_base, log_personas = each(jnp.arange(prompts.shape[0]), keys)
    return log_policy, log_base, jnp.moveaxis(log_personas, -1, 1)
