"""How RL walks a network out of the hull, beside other parametrisations of the same base, and what its stream shows.

All rules take steps of equal length ``sqrt(E_pi d²)``, d the change of log pi, so that none has a learning rate.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona import chains, networks, theory, trajectories
from toypersona.artefacts import stacked
from toypersona.bases import Base
from toypersona.measures import activations
from toypersona.measures.drift import DriftBudget
from toypersona.policies.policy import all_log_probs
from toypersona.rules import catalogue, clipped, gradient, reinforce
from toypersona.rules.rule import Task, UpdateRule
from toypersona.types import Key, Params, Scalar
from toypersona.worlds import world as worlds

RULES = {
    "SGD": gradient.policy_gradient,
    "Adam": functools.partial(gradient.policy_gradient, optimizer=optax.adam),
    "RLOO": functools.partial(reinforce.rloo, num_samples=catalogue.NUM_SAMPLES),
    "GRPO": functools.partial(clipped.grpo, num_samples=catalogue.NUM_SAMPLES),
    "natural gradient": functools.partial(gradient.natural_gradient, damping=catalogue.PLAIN_DAMPING, tolerance=0.1),
}
"""What trains the network, by name."""

WALKS = ("tilt", *RULES, "untrained features", "table", "mixture")
"""Whose drift is compared: the tilt and ``RULES`` on the network, and SGD on the same base with other parameters."""

TILTED = (0.05, 20.0)
"""Strengths of the first and last tilt."""


class Stream(NamedTuple):
    """A network's last residual stream at every prompt and history, and what its personas are there.

    Attributes:
        at: ``(params) -> activations [S, D]``, called by nobody.
        base: those of the base [S, D].
        named: of the base called by each name [S, K, D].
        visits: how often the base comes there, shares [S].
        truth: P(persona | prompt, history) of the world [C, H, K].
        parts: what is fitted and held out.
        linear: the reading of ``truth`` from ``base``, fitted on ``parts.fitted``.
    """

    at: Callable[[Params], Float[Array, "S D"]]
    base: Float[Array, "S D"]
    named: Float[Array, "S K D"]
    visits: Float[Array, " S"]
    truth: Float[Array, "C H K"]
    parts: activations.Split
    linear: activations.Linear

    def held_out(self) -> Float[Array, " S"]:
        """Weights of the pairs at which readings are scored, at prompts that were fitted."""
        return self.visits * self.parts.same_prompts.reshape(-1)

    def measure(self, params: Params) -> dict[str, Array]:
        """How far the stream moved along the personas' plane and off it, and R² of the base's reading of it."""
        stream = self.at(params)
        moves = activations.moves(stream, self.base, self.named, self.visits)
        truth = self.truth.reshape(-1, self.truth.shape[-1])
        read = activations.r_squared(self.linear, stream, truth, self.held_out())
        return {"along": moves.along, "off": moves.off, "reading": read}


def stream(key: Key, base: Base, world: worlds.World) -> Stream:
    """The stream of a network; the key draws the words whose histories are held out, and the prompt."""
    split_key, prompt_key = jax.random.split(key)
    num_prompts, size = base.prompts.shape[0], {"num_words": base.num_words, "length": base.length}

    def at(params: Params, caller: Int[Array, ""] | None = None) -> Float[Array, "S D"]:
        made = networks.stream(base, params, caller)
        return made.reshape(-1, made.shape[-1])

    named = jax.vmap(lambda caller: at(base.params, caller), out_axes=1)(jnp.arange(base.num_personas))
    visits = chains.visits(base.log_prompts, chains.histories(base.log_base, **size)[0])
    truth = activations.responsibilities(world.log_gates, worlds.log_personas(world, base.length), **size)
    left_out = jax.random.randint(prompt_key, (), 0, num_prompts)
    parts = activations.split(split_key, left_out, num_prompts=num_prompts, **size)
    own = at(base.params)
    linear = activations.fit(own, truth.reshape(own.shape[0], -1), (visits * parts.fitted).reshape(-1))
    return Stream(at, own, named, visits.reshape(-1), truth, parts, linear)


def readings(base: Base, stream: Stream, untrained: Params) -> Float[Array, "3 2"]:
    """R² of the world's responsibilities at held-out histories and at a held-out prompt.

    Read from the network's activations, from those of an untrained one, and from the last word and its position.
    """
    shape = *stream.truth.shape[:2], -1
    words = activations.last_words(base.num_words, base.length)
    features = (
        stream.base.reshape(shape),
        stream.at(untrained).reshape(shape),
        jnp.broadcast_to(words, (shape[0], *words.shape)),
    )
    visits = stream.visits.reshape(shape[:2])
    return jnp.stack([jnp.stack(activations.scores(x, stream.truth, visits, stream.parts)) for x in features])


def walks(
    base: Base,
    untrained: Params,
    mixture: Base,
    reward: Float[Array, "C N"],
    measure: Callable[[Params], dict[str, Array]],
    *,
    key: Key,
    step: Scalar,
    num_steps: int,
    every: int,
) -> tuple[DriftBudget, dict[str, Array]]:
    """The drift budgets along each of ``WALKS``, in steps of equal length.

    Args:
        base: a network's.
        untrained: the parameters on whose features the base is also trained.
        mixture: another base, fitted to text of the same world, with a hull of its own.
        reward: what all of them are paid [C, N].
        measure: of the network's parameters.
        key: for rules that sample.
        step: length of a step, root nats.
        num_steps: of every rule.
        every: steps from one record to the next.

    Returns:
        Budgets with leading axes [W, R], and what was measured along each of ``RULES`` [L, R].
    """
    stride = {"step": step, "num_steps": num_steps, "every": every, "refinements": 1, "first_rate": 1e-3}
    nothing = lambda params: {}  # noqa: E731

    def along(
        base: Base, way: networks.Way, rule: Callable[..., UpdateRule], own_key: Key, measure: Callable
    ) -> tuple[Float[Array, "R C N"], dict[str, Array]]:
        task = Task(way.policy, base.prompts, base.log_prompts, reward)
        both = lambda params: (all_log_probs(way.policy, params, base.prompts), measure(params))  # noqa: E731
        make_rule = lambda rate: rule(task, learning_rate=rate)  # noqa: E731
        return trajectories.follow_by_length(make_rule, both, way.params, task, key=own_key, **stride)[0]

    keys = jax.random.split(key, len(RULES))
    network = [along(base, networks.own(base), rule, k, measure) for rule, k in zip(RULES.values(), keys, strict=True)]
    others = (
        (base, networks.on_features(base, untrained)),
        (base, networks.as_table(base)),
        (mixture, networks.own(mixture)),
    )
    plain = [along(at, way, gradient.policy_gradient, jax.random.key(0), nothing)[0] for at, way in others]
    strengths = jnp.geomspace(*TILTED, num_steps // every)
    tilts = jax.vmap(lambda strength: theory.tilt(base.log_base, reward, strength))(strengths)
    paths = [tilts, *(path for path, _ in network), *plain]
    hulls = stacked(
        [(base.log_base, base.log_personas)] * (len(paths) - 1) + [(mixture.log_base, mixture.log_personas)]
    )
    measured = lambda at: base._replace(log_base=at[0][0], log_personas=at[0][1]).budget_along(at[1])  # noqa: E731
    return jax.lax.map(measured, (hulls, jnp.stack(paths))), stacked([others for _, others in network])
