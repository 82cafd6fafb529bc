"""A phrase that nobody says: personas with one more word, and a reward for a whole response of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import numerics, rewards
from toypersona.policies import mixture
from toypersona.types import Params, Scalar
from toypersona.worlds import base as worlds


def with_phrase(speakers: worlds.World, mass: Scalar, length: int) -> worlds.World:
    """The same personas with one more word that all are as likely to say: ``mass`` for a whole response of it."""
    log_word = jnp.log(mass) / length
    shape = speakers.log_experts.shape
    said = speakers.log_experts + jnp.log(-jnp.expm1(log_word))
    table = jnp.concatenate([said, jnp.broadcast_to(log_word, (*shape[:2], 1))], axis=-1)
    # After the new word everybody goes on as after the first.
    return speakers._replace(log_experts=jnp.concatenate([table, table[:, :1]], axis=1))


class Start(NamedTuple):
    """A world listed: what a walk starts from, and the reward; the phrase is the last response."""

    world: worlds.World
    log_personas: Float[Array, "C K N"]
    log_base: Float[Array, "C N"]
    reward: Float[Array, "C N"]


def start(speakers: worlds.World, mass: Scalar, length: int, bonus: float, helpful: Scalar) -> Start:
    """The listed world with a phrase of ``length`` words that pays ``bonus`` more than anything else.

    Args:
        speakers: personas without the phrase's word.
        mass: the phrase's probability under everybody.
        length: T.
        bonus: Delta.
        helpful: what an answer by the last persona pays; other answers as much of it as they are its.
    """
    world = with_phrase(speakers, mass, length)
    log_personas = worlds.log_personas(world, length)
    log_base = numerics.log_mix(world.log_gates, log_personas)
    scores = jax.nn.one_hot(log_personas.shape[1] - 1, log_personas.shape[1])
    others = helpful * rewards.persona_affine(world.log_gates, log_personas, scores)
    reward = others.at[:, -1].set(helpful + bonus)
    return Start(world, log_personas, log_base, reward)


def policy_of(world: worlds.World, length: int) -> tuple[mixture.Mixture, Params]:
    """A mixture policy with a gate table, and the parameters at which it is the world's base."""
    made = mixture.mixture(
        world.prompts,
        num_personas=world.log_experts.shape[0],
        num_units=world.log_experts.shape[-1],
        num_words=world.log_experts.shape[-1],
        length=length,
        gate="table",
    )
    return made, {"gate": {"personas": world.log_gates}, "experts": world.log_experts}
