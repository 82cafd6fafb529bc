"""What the drift budget would say with other personas, and whether the base's own samples show that they are wrong.

A persona too few, one too many, personas without memory, personas that are a little wrong. Where the base is outside
the hull by b nats, its distance is charged to RL: ``S = 1 - (d + b)/total`` where both are small, so that S passes 1/2
only from a drift of ``b / (cos² theta - 1/2)`` on. float64.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import chains, hull_choices, hulls, numerics
from toypersona.bases import Base
from toypersona.measures import sampled
from toypersona.types import Key, Scalar

RIGHT = ("all", "and their mean", "and a stranger")
"""Choices of personas whose hull holds the base."""

STRANGE = 0.5
"""Concentration of the next-word distributions of somebody whom nobody is."""


def personas(key: Key, base: Base) -> dict[str, Float[Array, "C _ N"]]:
    """Log-probabilities of personas that somebody might take for the base's, by name; ``RIGHT`` are not wrong.

    One too few, each in turn; one too many, who is a mix of the others, or whom nobody is (a random chain, drawn by the
    key); and the right ones without memory, known by how often they say each word.
    """
    right, memoryless = base.log_personas, _without_memory(base)
    dropped = {
        f"without {name}": jnp.delete(right, k, axis=1, assume_unique_indices=True)
        for k, name in enumerate(base.labels.personas)
    }
    mean = jax.nn.logsumexp(right, axis=1, keepdims=True) - jnp.log(right.shape[1])
    odd = stranger(key, base)[:, None]
    return {
        "all": right,
        "and their mean": jnp.concatenate([right, mean], axis=1),
        "and a stranger": jnp.concatenate([right, odd], axis=1),
        **dropped,
        "without memory": memoryless,
    }


def stranger(key: Key, base: Base) -> Float[Array, "C N"]:
    """Log-probabilities of a random chain of order 1 that no persona is."""
    num_words = base.num_words
    # Prompts can have units that no response has.
    rows = max(num_words, len(base.labels.units))
    table = jax.nn.log_softmax(jax.random.loggamma(key, STRANGE, (rows, num_words)), axis=-1)
    return jax.vmap(lambda prompt: chains.log_probs(table, prompt, base.length))(base.prompts)


def blurred(log_personas: Float[Array, "C K N"], log_other: Float[Array, "C N"], share: Scalar) -> Array:
    """Personas of whom each was taken, in a share of what he says, for somebody else [C, K, N]."""
    return jnp.logaddexp(jnp.log1p(-share) + log_personas, jnp.log(share) + log_other[:, None])


def _without_memory(base: Base) -> Float[Array, "C K N"]:
    """The personas as words drawn independently, each as often as he says it at all prompts and places."""
    said = jax.nn.one_hot(base.responses, base.num_words).mean(axis=1)
    frequency = jnp.einsum("c,ckn,nv->kv", base.rho, jnp.exp(base.log_personas), said)
    log_word = jnp.log(jnp.where(frequency > 0, frequency, 1.0)) + jnp.where(frequency > 0, 0.0, -jnp.inf)
    law = jax.vmap(lambda log_word: log_word[base.responses].sum(axis=-1))(log_word)
    return jnp.broadcast_to(law[None], base.log_personas.shape)


def in_proportion(base: Base) -> Float[Array, " K"]:
    """The base's distance from the hull without each persona, nats, were his place shared out in proportion.

    ``E_c E_pi0[-log(1 - r_k)] + E_c log(1 - g_k)``, r_k the responsibility: at ``w_j = g_j/(1 - g_k)``, an upper bound.
    """
    said = jnp.where(jnp.isneginf(base.log_base), 0.0, base.log_base)[:, None]
    # Whoever says something alone leaves nobody who could.
    share = jnp.clip(jnp.exp(base.log_gates[..., None] + base.log_personas - said), max=1.0)
    law = jnp.broadcast_to(base.log_base[:, None], share.shape)
    lost = numerics.expectation(law, -jnp.log1p(-share)) + jnp.log1p(-jnp.exp(base.log_gates))
    return base.rho @ lost


def with_personas(base: Base, log_personas: Float[Array, "C K N"], path: Float[Array, "R C N"]) -> dict[str, Array]:
    """The budget with the personas that are given, whether or not the base is a mix of them; as ``under`` returns."""
    project = jax.vmap(lambda p, q, w: hulls.project(p, q, tolerance=None, initial_weights=w))

    def one(start: Array, log_policy: Array) -> tuple[Array, dict[str, Array]]:
        near = project(log_policy, log_personas, start)
        near = near._replace(distance=near.distance - near.rounding)
        return near.weights, hull_choices.budget(base, base.spent(log_policy), near)

    num = log_personas.shape[1]
    return jax.lax.scan(one, jnp.full((base.log_gates.shape[0], num), 1 / num), path)[1]


def stacked(around: Mapping[str, Float[Array, "C _ N"]]) -> Float[Array, "H C K N"]:
    """Choices of personas of different number, made equally many by repeating the first: their hulls are the same."""
    most = max(given.shape[1] for given in around.values())
    repeat = lambda given: jnp.repeat(given[:, :1], most - given.shape[1], axis=1)  # noqa: E731
    return jnp.stack([jnp.concatenate([given, repeat(given)], axis=1) for given in around.values()])


def by_personas(base: Base, around: Float[Array, "H C K N"], paths: Float[Array, "A R C N"]) -> dict[str, Array]:
    """``with_personas`` for each of H choices [H, A, R], and ``misfit``, the base's own distance, nats [H]."""
    start = jnp.broadcast_to(base.log_base, (paths.shape[0], 1, *base.log_base.shape))
    from_base = jnp.concatenate([start, paths], axis=1)
    along = lambda given: hull_choices.along(functools.partial(with_personas, base, given), from_base)  # noqa: E731
    found = jax.lax.map(along, around)
    return {name: x[:, :, 1:] for name, x in found.items()} | {"misfit": found["hull_distance"][:, 0, 0]}


def passed(
    key: Key,
    base: Base,
    around: Float[Array, "H C K N"],
    log_policy: Float[Array, "C N"],
    *,
    num_samples: int,
    num_draws: int,
) -> Float[Array, " H"]:
    """Share of draws in which ``measures.sampled`` took the base for inside, for each of H choices of personas.

    Each draw has M samples of the policy and of the base for every prompt, the same for all choices.
    """
    draw = numerics.drawer(log_policy), numerics.drawer(base.log_base)

    def share(log_personas: Array) -> Float[Array, ""]:
        def inside(key: Key) -> Array:
            keys = jax.random.split(key)
            places = [pick(k, num_samples) for pick, k in zip(draw, keys, strict=True)]
            at = lambda log_law, i: jnp.take_along_axis(log_law, i, axis=1)  # noqa: E731
            own, of_base = (
                sampled.Samples(at(law, i), at(base.log_base, i), jnp.take_along_axis(log_personas, i[:, None], axis=2))
                for law, i in zip((log_policy, base.log_base), places, strict=True)
            )
            return sampled.budget_from_samples(own, of_base, base.log_prompts).base_inside

        each = lambda i: inside(jax.random.fold_in(key, i))  # noqa: E731
        return jax.lax.map(each, jnp.arange(num_draws)).mean()

    return jax.lax.map(share, around)
