"""A phrase that nobody says: any first-order world with one more word, as unlikely for every persona."""

import jax.numpy as jnp

from toypersona.types import Scalar
from toypersona.worlds.world import World


def with_phrase(world: World, mass: Scalar, length: int) -> World:
    """The same personas with one more word that all are as likely to say.

    Args:
        world: its personas are chains of order 1.
        mass: probability of a whole response of the new word, under everybody.
        length: T, words of a response.

    Returns:
        A world of V + 1 words, the new one last; the phrase is the last response in the order of ``chains.outcomes``.
    """
    log_word = jnp.log(mass) / length
    shape = world.log_experts.shape
    said = world.log_experts + jnp.log(-jnp.expm1(log_word))
    table = jnp.concatenate([said, jnp.broadcast_to(log_word, (*shape[:2], 1))], axis=-1)
    # After the new word everybody goes on as after the first.
    return world._replace(log_experts=jnp.concatenate([table, table[:, :1]], axis=1))
