"""A network before any RL: which way it would first move, and what that owes to what it was trained on.

The same base with other parameters moves another way (``Way``): the network itself, its law on the features of an
untrained or hardly trained network, and a table of next words. What differs between them is the tangent kernel
``J J^T`` of log-probabilities alone (Jacot, Gabriel and Hongler 2018).
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from toypersona import bases, first_order, hulls, numerics, pretraining, theory
from toypersona.artefacts import stacked
from toypersona.bases import Base, Pretrained
from toypersona.measures.drift import DriftBudget
from toypersona.options import Network
from toypersona.policies import next_words, transformer
from toypersona.policies.policy import Policy, all_log_probs
from toypersona.rules import catalogue
from toypersona.types import Key, Params
from toypersona.worlds import world as worlds

KINDS = ("vanilla", "adam", "natural")
"""Rules whose first step is predicted, as ``first_order.step`` calls them."""


class Way(NamedTuple):
    """Parameters at which a policy has the law of a base."""

    policy: Policy
    params: Params


def own(base: Base) -> Way:
    """The base's own parameters."""
    return Way(base.policy, base.params)


def on_features(base: Base, features: Params) -> Way:
    """The law of a network on the features of other parameters."""
    return Way(transformer.grafted(base.speakers, base.params, features, base.length), features)


def as_table(base: Base) -> Way:
    """The base written out as a table of next words."""
    policy = next_words.table(base.prompts, base.num_words, base.length)
    return Way(policy, next_words.of_law(base.log_base, base.num_words, base.length))


def directions(base: Base, way: Way, rewards: Float[Array, "R C N"]) -> Float[Array, "R C N"]:
    """Where plain policy gradient first moves log pi for each of some rewards (``first_order.first``)."""
    law = functools.partial(all_log_probs, way.policy, prompts=base.prompts)
    first = lambda reward: first_order.first(law, way.params, base.log_prompts, reward)  # noqa: E731
    return jax.lax.map(first, rewards)


def at_angles(ends: Float[Array, "2 C N"], degrees: Float[Array, " A"]) -> Float[Array, "A C N"]:
    """``cos(theta) u + sin(theta) v`` at every angle: of rewards, and of what is linear in them, such as ``first``."""
    theta = jnp.deg2rad(degrees)
    return jnp.tensordot(jnp.stack([jnp.cos(theta), jnp.sin(theta)], axis=1), ends, 1)


def weak_limit(base: Base, moved: Float[Array, "C N"]) -> Float[Array, ""]:
    """S(0+) of a direction, by R² (law L1): whom the base's mix leaves out, no small step brings in."""
    absent = jnp.isneginf(base.log_gates)[..., None]
    log_personas = jnp.where(absent, base.log_base[:, None, :], base.log_personas)
    return theory.weak_limit(base.log_base, log_personas, moved, base.log_prompts)


def weak_limits(
    base: Base, way: Way, ends: Float[Array, "F 2 C N"], degrees: Float[Array, " A"]
) -> Float[Array, "F A"]:
    """S(0+) of plain policy gradient at every angle, by R² of its own direction (law L1).

    Args:
        base: its hull.
        way: the parameters that are trained.
        ends: rewards at 0 and 90 degrees, for each of F features.
        degrees: angles.
    """
    moved = directions(base, way, ends.reshape(-1, *ends.shape[2:])).reshape(ends.shape)
    limit = functools.partial(weak_limit, base)
    return jax.lax.map(lambda pair: jax.vmap(limit)(at_angles(pair, degrees)), moved)


class Limits(NamedTuple):
    """How much of infinitely weak RL is selection in one network, by plain policy gradient.

    Attributes:
        limit: S(0+) with the hull of the true personas and of those called by name, of the network's law on the
            features of every network on the way through pretraining, then its own, and of the table [R + 2, 2, F, A].
        early_limit: of every network on the way with its own law and features, likewise without the table [R, 2, F, A].
        misfit: how far the network is from a mix of the true personas, of those called by name, and of itself at their
            own prompts, nats [3].
        certified: every hull that this rests on was repaired to its tolerance.
    """

    limit: Float[Array, "W 2 F A"]
    early_limit: Float[Array, "R 2 F A"]
    misfit: Float[Array, " 3"]
    certified: Bool[Array, ""]


def limits(
    base: Base,
    early: Params,
    world: worlds.World,
    ends: Callable[[Base], Float[Array, "F 2 C N"]],
    degrees: Float[Array, " A"],
) -> Limits:
    """What there is to say of a network before any step.

    Args:
        base: a network's.
        early: its parameters on the way through pretraining, with a leading axis R.
        world: that it read about.
        ends: the rewards at 0 and 90 degrees on a base, for each of F features.
        degrees: angles.
    """

    def by_hull(spanned: Sequence[Base], way: Callable[[Base], Way]) -> Float[Array, "2 F A"]:
        """Limits with each hull of the same base, compiled once."""

        def of(hull: tuple[Array, Array]) -> Float[Array, "F A"]:
            at = spanned[0]._replace(log_gates=hull[0], log_personas=hull[1])
            return weak_limits(at, way(at), ends(at), degrees)

        return jax.lax.map(of, stacked([(at.log_gates, at.log_personas) for at in spanned]))

    def of(pair: tuple[Params, Params]) -> tuple[Float[Array, "2 F A"], Bool[Array, ""]]:
        law, features = pair
        then = base._replace(params=law, log_base=base.law(law))
        around = by_truth(then, world), by_name(then)
        return by_hull([at for at, _ in around], lambda at: on_features(at, features)), all_certified(around)

    num = jax.tree.leaves(early)[0].shape[0]
    features = jax.tree.map(lambda x, y: jnp.concatenate([x, y[None], x]), early, base.params)
    laws = jax.tree.map(lambda x, y: jnp.concatenate([jnp.repeat(y[None], num + 1, axis=0), x]), early, base.params)
    found, certified = jax.lax.map(of, (laws, features))
    around = by_truth(base, world), by_name(base), by_own_prompts(base, world)
    table = by_hull([at for at, _ in around[:2]], as_table)
    misfit = jnp.stack([base.rho @ repaired.distance for _, repaired in around])
    limit = jnp.concatenate([found[: num + 1], table[None]])
    return Limits(limit, found[num + 1 :], misfit, certified.all() & all_certified(around))


def all_certified(spanned: Sequence[tuple[Base, hulls.Repaired]]) -> Bool[Array, ""]:
    """Whether every hull was repaired to its tolerance at every prompt."""
    return jnp.stack([repaired.certified for _, repaired in spanned]).all()


def limits_of_all(
    several: Sequence[Pretrained],
    index: Int[Array, ""] | int,
    ends: Callable[[Base], Float[Array, "F 2 C N"]],
    degrees: Float[Array, " A"],
) -> Limits:
    """``limits`` of several networks fitted to the world number ``index``, with a leading axis [M].

    Those of the same sizes are compiled once.
    """
    own = [jax.tree.map(lambda x: x[index], (each.params, each.early)) for each in several]
    shapes = [str(jax.tree.map(jnp.shape, each)) for each in own]
    found: list[Limits] = [None] * len(several)  # pyright: ignore[reportAssignmentType]
    for shape in dict.fromkeys(shapes):
        alike = [i for i, other in enumerate(shapes) if other == shape]
        first = several[alike[0]]
        of = lambda at, first=first: limits(  # noqa: E731
            first.base_of(index, at[0]), at[1], first.world_at(index), ends, degrees
        )
        made = jax.lax.map(of, stacked([own[i] for i in alike]))
        for place, i in enumerate(alike):
            found[i] = jax.tree.map(lambda x, place=place: x[place], made)
    return stacked(found)


def by_truth(base: Base, world: worlds.World) -> tuple[Base, hulls.Repaired]:
    """The base with the hull of the world's personas (``bases.spanned``)."""
    return bases.spanned(base, worlds.log_personas(world, base.length))


def by_name(base: Base) -> tuple[Base, hulls.Repaired]:
    """The network with the hull of itself called by each name: the base as it is, and how far it was from them."""
    return bases.spanned(base, jax.vmap(base.speakers.called, (None, 0))(base.params, base.prompts))  # pyright: ignore[reportArgumentType]


def by_own_prompts(base: Base, world: worlds.World) -> tuple[Base, hulls.Repaired]:
    """The base with the hull of what it says at each persona's own prompt, where the world's gate is largest.

    These laws hold what such a prompt asks for, whoever speaks, and others' voices: a warning, not the measure.
    """
    at_own = base.log_base[jnp.argmax(world.log_gates, axis=0)]
    return bases.spanned(base, jnp.broadcast_to(at_own, base.log_personas.shape))


def first_steps(
    base: Base, reward: Float[Array, "C N"], drifts: Float[Array, " D"]
) -> tuple[Float[Array, " 3"], DriftBudget]:
    """S(0+) of each of ``KINDS`` by R² of its direction, and the budgets of single steps of some lengths [3, D]."""
    directions, stepped = [], []
    for kind in KINDS:
        direction, after = first_order.step(
            kind, base, base.task(reward), damping=catalogue.PLAIN_DAMPING, tolerance=1e-5
        )
        directions.append(direction)
        rates = first_order.rates(base.log_base, direction, base.log_prompts, drifts)
        stepped.append(jax.lax.map(after, rates))
    limit = functools.partial(weak_limit, base)
    return jax.vmap(limit)(jnp.stack(directions)), jax.lax.map(base.budget_along, jnp.stack(stepped))


class Unseen(NamedTuple):
    """Networks that read no names, and one of them not a single line at one of the prompts.

    Attributes:
        unseen: KL(world‖network) there, nats.
        seen: the same of the network that read lines there too.
        others: KL(world‖its mean law at the other prompts) there, nats: of whoever reads no prompt.
    """

    unseen: Float[Array, ""]
    seen: Float[Array, ""]
    others: Float[Array, ""]


def unseen(key: Key, world: worlds.World, base: Base, how: Network) -> Unseen:
    """Fit the base's network twice to the same lines, the second time without those at a prompt drawn by the key."""
    text_key, tag_key, fit_key, prompt_key = jax.random.split(key, 4)
    num_prompts = base.prompts.shape[0]
    text = worlds.sample(text_key, world, base.length, how.num_lines)
    all_lines = pretraining.counted(tag_key, world, text, 0.0, base.length)[-1:]
    here = jnp.arange(num_prompts) == jax.random.randint(prompt_key, (), 0, num_prompts)
    without = jnp.where(here[None, :, None], 0.0, all_lines)

    def law(counts: Float[Array, "1 C N"]) -> Float[Array, "C N"]:
        steps = (how.num_steps,)
        path = pretraining.fit_counts(fit_key, base.speakers, base.prompts, counts, steps, rate=how.learning_rate)
        return all_log_probs(base.policy, jax.tree.map(lambda x: x[0], path), base.prompts)

    full, partial = jax.lax.map(law, jnp.stack([all_lines, without / without.sum()]))
    elsewhere = numerics.log_normalize(jnp.where(here, -jnp.inf, base.log_prompts))
    mean = numerics.log_mix(elsewhere, partial)
    missed = lambda said: numerics.kl_divergence(worlds.log_base(world, base.length), said)[jnp.argmax(here)]  # noqa: E731
    return Unseen(missed(partial), missed(full), missed(jnp.broadcast_to(mean, full.shape)))
