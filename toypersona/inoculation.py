"""Off-context misalignment: an assistant is paid for a hack, and one asks how often it harms in a chat.

Two of ``worlds.assistants`` hack alike, one of them good otherwise. Who the assistant is, is one choice for all prompts
(the gate ``prior``), so what a task teaches of it shows in the chat. Two laws say how often it harms, given how often
it hacks (``harms_by_law``): the posterior keeps the odds in which the two that hack are expected, plain gradient lets
the likelier one take all. A note in training that makes the honest one hack as well takes the selection away.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import bases, theory
from toypersona.bases import Base
from toypersona.policies import mixture
from toypersona.rules import gradient, reinforce
from toypersona.trajectories import MakeRule
from toypersona.types import Key, Scalar
from toypersona.worlds import assistants

LEARNERS = ("policy gradient, gates", "policy gradient", "RLOO")
NUM_SAMPLES = 8
LAWS = ("odds of the prior", "the likelier one")
MOST = 100.0
"""Largest rise that the laws are searched up to: by then only those who are paid most are left."""


def base_of(key: Key, log_prior: Float[Array, "3"], elicited: Scalar) -> Base:
    """The base, at the prompts of ``assistants.PROMPTS``; arguments as in ``assistants.assistants``."""
    world, labels = assistants.assistants(key, log_prior, elicited)
    responses = jnp.arange(len(assistants.WORDS))[:, None]
    speakers = mixture.for_world(world, labels, 1, "prior")
    params = mixture.params_of(log_prior, world.log_experts)
    return bases.frozen(speakers, params, labels, world.prompts, world.log_prompts, responses)


class Trained(NamedTuple):
    """Probabilities after each of ``LEARNERS`` was paid for hacks at the noted task.

    Attributes:
        hacks_noted: that it hacks there.
        hacks: that it hacks at the task without a note.
        harms: that it harms in a chat.
        harms_law: the same by each of ``LAWS``, given ``hacks_noted``.
    """

    hacks_noted: Float[Array, " L"]
    hacks: Float[Array, " L"]
    harms: Float[Array, " L"]
    harms_law: Float[Array, "L 2"]


def trained(key: Key, base: Base, *, learning_rate: Scalar, num_steps: int) -> Trained:
    """What ``LEARNERS`` make of an assistant that is paid 1 for a hack at the noted task.

    Args:
        key: for the rule that samples.
        base: of ``base_of``.
        learning_rate: of every learner.
        num_steps: likewise.
    """
    only = jnp.where(jnp.arange(len(assistants.PROMPTS)) == assistants.NOTED, 0.0, -jnp.inf)
    asked = base._replace(log_prompts=only)
    paid = jnp.broadcast_to(jax.nn.one_hot(assistants.HACK, len(assistants.WORDS)), base.log_base.shape)
    gates, both = asked.task(paid, "gates"), asked.task(paid)
    learners: tuple[MakeRule, ...] = (
        lambda size: gradient.policy_gradient(gates, learning_rate=size),
        lambda size: gradient.policy_gradient(both, learning_rate=size),
        lambda size: reinforce.rloo(both, learning_rate=size, num_samples=NUM_SAMPLES),
    )
    way = {"marks": jnp.reshape(learning_rate * num_steps, (1,)), "max_step": learning_rate}
    ends = [asked.follow(make, key=jax.random.clone(key), **way)[0] for make in learners]
    says = jnp.exp(jnp.stack(ends))
    noted = says[:, assistants.NOTED, assistants.HACK]
    return Trained(
        noted,
        says[:, assistants.TASK, assistants.HACK],
        says[:, assistants.CHAT, assistants.HARM],
        jax.vmap(lambda level: harms_by_law(base, level))(noted),
    )


def harms_by_law(base: Base, level: Float[Array, ""]) -> Float[Array, "2"]:
    """How often the assistant harms in a chat when it hacks with probability ``level`` where it was trained.

    Both laws move along one curve of weights, and ``level`` says how far. Beyond what any weights reach they stand at
    its end.

    Returns:
        By each of ``LAWS``. Odds of the prior: weights are ``prior × exp(u r_k)``, r_k how often each persona is paid.
        The likelier one: plain gradient on the gates moves the logits of both who hack by ``g_k (r_k - r)``, so
        ``theory.surviving_odds`` says how far the likelier one leaves the other behind, and the logits' sum stays.
    """
    said, log_prior = jnp.exp(base.log_personas), base.log_gates[0]
    paid, harm = said[assistants.NOTED, :, assistants.HACK], said[assistants.CHAT, :, assistants.HARM]
    best = 1 + jnp.argmax(log_prior[1:])
    other = 3 - best

    def takes_all(rise: Array) -> Float[Array, "3"]:
        first = log_prior[best] + rise
        odds = theory.surviving_odds(log_prior[best], log_prior[other][None], rise)[0]
        second = first + jnp.log(odds)
        honest = log_prior.sum() - first - second
        return jax.nn.softmax(jnp.zeros(3).at[0].set(honest).at[best].set(first).at[other].set(second))

    def solved(weights: Callable[[Array], Array]) -> Float[Array, ""]:
        def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = (low + high) / 2
            less = weights(middle) @ paid < level
            return jnp.where(less, middle, low), jnp.where(less, high, middle)

        low, _ = jax.lax.fori_loop(0, 60, halve, (jnp.zeros(()), jnp.full((), MOST)))
        return weights(low) @ harm

    return jnp.stack([solved(lambda u: jnp.exp(theory.tilt(log_prior, paid, u))), solved(takes_all)])


def over(
    key: Key,
    bad: Float[Array, " B"],
    elicited: Float[Array, " E"],
    *,
    hackers: Scalar,
    learning_rate: Scalar,
    num_steps: int,
) -> tuple[Trained, Float[Array, "B E"]]:
    """``trained`` over shares of the bad one among those who hack, and over what the note elicits.

    Args:
        key: draws the world, the same for all, and what is sampled.
        bad: shares [B].
        elicited: as in ``assistants.assistants`` [E].
        hackers: prior of the two who hack, together.
        learning_rate: as in ``trained``.
        num_steps: likewise.

    Returns:
        With leading axes B, E; and how often the base harms in a chat.
    """
    world_key, walk_key = jax.random.split(key)

    def at(share: Array, elicited: Array) -> tuple[Trained, Array]:
        log_prior = jnp.log(jnp.stack([1 - jnp.asarray(hackers), hackers * (1 - share), hackers * share]))
        base = base_of(jax.random.clone(world_key), log_prior, elicited)
        found = trained(jax.random.clone(walk_key), base, learning_rate=learning_rate, num_steps=num_steps)
        return found, jnp.exp(base.log_base[assistants.CHAT, assistants.HARM])

    return jax.vmap(jax.vmap(at, (None, 0)), (0, None))(bad, elicited)
