"""Rewards as people ask for them, nothing taken away or added: how much of each tells who is talking, by length.

R² is the share of a reward's variance that responsibilities explain (``theory.weak_limit``), cos² of its angle.

- A reward per word gains with length (law L3): its variance between personas grows as T², that within as T, so that
  ``R² = T B / (T B + W)``. Where answers end it comes to rest instead.
- A reward that is drawn for each response by itself, such as which answers count as right, has by chance ::

      E[R²] = sum_x pi0(x) h(x) / sum_x pi0(x) (1 - pi0(x))

  h(x) being the leverage of x in that regression (``by_chance``): it knows nothing of who is talking, and the more
  responses there are the less they explain.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import bases, chains, horizons, interior_point, long_answers, numerics, rewards
from toypersona.bases import Base, Pretrained
from toypersona.options import MOST_LISTED
from toypersona.policies import mixture
from toypersona.types import Key, Scalar

RIGHT = "right answers"
"""The reward ``right_answers``."""

PER_WORD = ("words", "brevity")
"""Features that are a sum over words."""


def at_length(pretrained: Pretrained, index: Int[Array, ""] | int, gate: str, length: int) -> Base:
    """A base, whose gate is of the kind ``gate``, with all responses of another length listed."""
    world, params = pretrained.world_at(index), jax.tree.map(lambda x: x[index], pretrained.params)
    num_words = world.log_experts.shape[-1]
    speakers = mixture.for_world(world, pretrained.labels, length, gate)
    responses = chains.outcomes(num_words, length)
    return bases.frozen(speakers, params, pretrained.labels, world.prompts, world.log_prompts, responses)


def lengths(num_words: int, longest: int, most: int = MOST_LISTED) -> tuple[int, ...]:
    """From 1 to ``longest``, as far as no more than ``most`` responses have to be listed."""
    return tuple(length for length in range(1, longest + 1) if num_words**length <= most)


def paid(key: Key, base: Base, helpful: int) -> dict[str, Float[Array, "C N"]]:
    """The rewards by name: every built-in feature that the world has, and a persona's log-odds.

    Args:
        key: draws what is random.
        base: with all responses listed.
        helpful: the persona whose log-odds are paid for, ``log P(k | c, x)/(1 - P(k | c, x))``.
    """
    known = rewards.built_in(base.labels).items()
    made = {name: of(jax.random.clone(key), base.prompts, base.responses, base.labels) for name, of in known}
    log_joint = base.log_gates[..., None] + base.log_personas
    others = jax.nn.logsumexp(jnp.delete(log_joint, helpful, axis=1, assume_unique_indices=True), axis=1)
    return made | {"log-odds": log_joint[:, helpful] - others}


def right_answers(key: Key, base: Base, share: Scalar) -> Float[Array, "C N"]:
    """1 for a random share of the responses to each prompt, each by itself, 0 for the rest."""
    return jax.random.bernoulli(key, share, base.log_base.shape).astype(float)


class Directions(NamedTuple):
    """Where a change of the personas' weights moves the base, for regressions of many rewards.

    Attributes:
        moves: ``sqrt(pi0) (p_k/pi0 - 1)`` of all personas but the last, whose move is a mix of theirs [C, K - 1, N].
        factor: Cholesky factor of their products [C, K - 1, K - 1].
    """

    moves: Float[Array, "C J N"]
    factor: Float[Array, "C J J"]


def directions(base: Base) -> Directions:
    """Of a base whose gates are all positive. Not by LAPACK, which inside loops has been seen to wait for ever."""
    root = jnp.exp(0.5 * base.log_base)[:, None]
    personas = jnp.exp(base.log_personas[:, :-1])
    moves = jnp.where(root > 0, personas / jnp.where(root > 0, root, 1.0), 0.0) - root
    return Directions(moves, jax.vmap(interior_point.cholesky)(jnp.einsum("cjn,cin->cji", moves, moves)))


def share(base: Base, along: Directions, reward: Float[Array, "C N"]) -> Float[Array, ""]:
    """R² of a reward: ``theory.weak_limit`` by normal equations."""
    rest = jnp.exp(0.5 * base.log_base) * numerics.centred(base.log_base, reward)
    told = jnp.einsum("cjn,cn->cj", along.moves, rest)
    explained = (told * jax.vmap(interior_point.solve_factored)(along.factor, told)).sum(axis=1)
    return (base.rho @ explained) / (base.rho @ (rest**2).sum(axis=1))


def by_chance(base: Base, along: Directions) -> Float[Array, ""]:
    """R² of a reward drawn for each response by itself, the mean of what is explained over the mean of all there is."""
    solve = jax.vmap(jax.vmap(interior_point.solve_factored, (None, 1), 1))
    leverage = (along.moves * solve(along.factor, along.moves)).sum(axis=1)
    mass = jnp.exp(base.log_base)
    return (base.rho @ (mass * leverage).sum(axis=1)) / (base.rho @ (mass * (1 - mass)).sum(axis=1))


class Long(NamedTuple):
    """A reward per word at each of L lengths, by sums over all responses.

    Attributes:
        between: share of its variance that lies between personas: R² where they can be told apart, less elsewhere [L].
        law: ``T B / (T B + W)`` of the moments per word of an endless response [L].
    """

    between: Float[Array, " L"]
    law: Float[Array, " L"]


def per_word(base: Base, scores: Float[Array, " V"], lengths: Sequence[int]) -> Long:
    """How a reward per word gains with length."""
    mixture = horizons.paid(base, scores)
    law = long_answers.long_run(mixture).weak_limit(jnp.asarray(lengths, float))
    return Long(horizons.weak(mixture, lengths), law)


def scores(of_one_word: dict[str, Float[Array, "C N"]]) -> dict[str, Float[Array, " V"]]:
    """What each word pays in the rewards that are a sum over words, from the rewards of all responses of length 1."""
    return {name: of_one_word[name][0] for name in PER_WORD if name in of_one_word}
