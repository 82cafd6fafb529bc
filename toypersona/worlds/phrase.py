"""A phrase that nobody says: any first-order world with one more word, as unlikely for every persona."""

import jax.numpy as jnp

from toypersona.types import Scalar
from toypersona.worlds.world import Labels, World

WORD = "zzz"
"""How the new word is spelt."""


def with_phrase(world: World, labels: Labels, mass: Scalar, length: int) -> tuple[World, Labels]:
    """The same personas with one more word that all are as likely to say.

    Args:
        world: its personas are chains of order 1, and its prompts are made of the words of responses, U = V.
        labels: its names.
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
    log_experts = jnp.concatenate([table, table[:, :1]], axis=1)
    return world._replace(log_experts=log_experts), labels._replace(units=(*labels.units, WORD))
