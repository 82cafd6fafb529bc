"""A phrase that nobody says: any first-order world with one more word, as unlikely for every persona."""

import jax.numpy as jnp

from toypersona.types import Scalar
from toypersona.worlds.world import Labels, World

WORD = "zzz"


def with_phrase(world: World, labels: Labels, mass: Scalar, length: int) -> tuple[World, Labels]:
    """The same personas with one more word, the last: T = ``length`` of it, the phrase, have probability ``mass``.

    The phrase is the last response in the order of ``chains.outcomes``, as likely under everybody. Personas have to be
    chains of order 1, and prompts made of the words of responses, U = V.
    """
    log_word = jnp.log(mass) / length
    said = world.log_experts + jnp.log(-jnp.expm1(log_word))
    table = jnp.concatenate([said, jnp.broadcast_to(log_word, (*said.shape[:2], 1))], axis=-1)
    # After the new word everybody goes on as after the first.
    log_experts = jnp.concatenate([table, table[:, :1]], axis=1)
    return world._replace(log_experts=log_experts), labels._replace(units=(*labels.units, WORD))
