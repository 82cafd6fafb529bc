"""The base: a pretrained policy pi0, where every rule starts and against which everything is measured.

A ``Base`` holds its own log-probabilities and those of the personas whose mixes are the hull. The function that makes
it decides how these are obtained: ``frozen`` takes the personas that a policy holds (``policies.policy.Speakers``), for
a mixture its frozen experts, for a network itself called by their names; ``spanned`` takes any, and repairs them.
``pretrained`` fits policies to text, once: the parameters are kept on disk under the fingerprint of the computation
that makes them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from toypersona import artefacts, chains, hulls, numerics, pretraining, rewards, trajectories
from toypersona.measures import drift
from toypersona.options import Network, Pretraining, WorldOptions
from toypersona.outputs import Output, named
from toypersona.policies import mixture, transformer
from toypersona.policies.policy import Policy, Speakers, all_log_probs
from toypersona.rules.rule import Task
from toypersona.trajectories import MakeRule
from toypersona.types import Key, Params, Scalar
from toypersona.worlds import catalogue
from toypersona.worlds import world as worlds
from toypersona.worlds.world import Labels, World

OF_BASE = 20
"""Folded into a seed's key where it draws a base: what a point draws with the same key is independent of it."""


class Base(NamedTuple):
    """A pretrained policy and the hull of its personas.

    Attributes:
        speakers: the policy's functions, and those of the personas that it holds.
        params: pi0's parameters.
        labels: names of personas and units.
        prompts: [C, P].
        log_prompts: log rho(c) [C].
        responses: all V^T of them [N, T]; none, [0, T], where they are too many to list.
        log_gates: log-probability that a prompt calls for each persona [C, K].
        log_personas: log p_k(x|c), which span the hull [C, K, N].
        log_base: log pi0(x|c) [C, N].
    """

    speakers: Speakers
    params: Params
    labels: Labels
    prompts: Int[Array, "C P"]
    log_prompts: Float[Array, " C"]
    responses: Int[Array, "N T"]
    log_gates: Float[Array, "C K"]
    log_personas: Float[Array, "C K N"]
    log_base: Float[Array, "C N"]

    @property
    def policy(self) -> Policy:
        """The policy, all parameters free."""
        return self.speakers.policy

    @property
    def rho(self) -> Float[Array, " C"]:
        """Probability of each prompt."""
        return jnp.exp(self.log_prompts)

    @property
    def length(self) -> int:
        """T, words of a response."""
        return self.responses.shape[1]

    @property
    def num_words(self) -> int:
        """V, the words that responses are made of.

        Raises:
            ValueError: no responses are listed, so that V is not known here.
        """
        if not self.responses.shape[0]:
            raise ValueError("This base lists no responses, so it does not know how many words they are made of.")
        return round(self.responses.shape[0] ** (1 / self.length))

    @property
    def num_personas(self) -> int:
        """K."""
        return self.log_gates.shape[1]

    def task(self, reward: Float[Array, "C N"] | Callable, scope: str = "both") -> Task:
        """What a rule is given: the policy with one of its scopes free, the prompts and a reward."""
        return Task(self.speakers.trained(scope), self.prompts, self.log_prompts, reward)

    def personas(self, params: Params) -> tuple[Float[Array, "C K"], Float[Array, "C K N"]]:
        """The gates and personas that the policy holds at other parameters than the base's."""
        in_prompts = (None, 0)
        log_gates = jax.vmap(self.speakers.log_gate, in_prompts)(params, self.prompts)
        return log_gates, jax.vmap(self.speakers.log_personas, in_prompts)(params, self.prompts)

    def law(self, params: Params) -> Float[Array, "C N"]:
        """Log pi(x|c) at some parameters."""
        return all_log_probs(self.policy, params, self.prompts)

    def mean(self, log_policy: Float[Array, "C N"], values: Float[Array, "C N"]) -> Float[Array, ""]:
        """``E_c E_pi[values]``, such as the expected reward."""
        return numerics.expectation(self.log_prompts, numerics.expectation(log_policy, values))

    def spent(self, log_policy: Float[Array, "C N"]) -> Float[Array, ""]:
        """``E_c KL(pi‖pi0)``, nats."""
        return numerics.expectation(self.log_prompts, numerics.kl_divergence(log_policy, self.log_base))

    def budget(self, log_policy: Float[Array, "C N"]) -> drift.DriftBudget:
        """The drift budget of a policy."""
        return drift.budget(log_policy, self.log_base, self.log_personas, self.responses, self.log_prompts)

    def budget_along(self, log_policies: Float[Array, "R C N"]) -> drift.DriftBudget:
        """The drift budgets of policies that follow each other on a path, with a leading axis R."""
        return drift.budget_along(log_policies, self.log_base, self.log_personas, self.responses, self.log_prompts)

    def reward_at_angle(self, degrees: Scalar, helpful: int, feature: Float[Array, "C N"]) -> Float[Array, "C N"]:
        """The reward at an angle between the answers of persona ``helpful`` (0) and a feature (90 degrees)."""
        scores = jax.nn.one_hot(helpful, self.num_personas)
        affine = rewards.persona_affine(self.log_gates, self.log_personas, scores)
        hull = self.log_base, self.log_personas, self.log_prompts
        return rewards.at_angle(jnp.deg2rad(degrees), affine, feature, *hull)

    def lines(self, log_policy: Float[Array, "C N"], key: Key, num: int) -> dict[str, Array]:
        """Lines of a policy to read: ``line_prompt``, the number of each prompt, and ``line_response``, the response's.

        Drawn with the same key along a path, they change with the policy alone.
        """
        prompt_key, response_key = jax.random.split(jax.random.clone(key))
        line_prompt = jax.random.categorical(prompt_key, self.log_prompts, shape=(num,))
        line_response = jax.random.categorical(response_key, log_policy[line_prompt])
        return {"line_prompt": line_prompt, "line_response": line_response}

    def follow(self, make_rule: MakeRule, *, key: Key, marks: Float[Array, " R"], max_step: Scalar) -> Array:
        """The policies along a rule's path from the base [R, C, N], where its step sizes add up to each mark."""
        path, _, _ = trajectories.follow(make_rule, self.law, self.params, key=key, marks=marks, max_step=max_step)
        return path


def frozen(
    speakers: Speakers,
    params: Params,
    labels: Labels,
    prompts: Int[Array, "C P"],
    log_prompts: Float[Array, " C"],
    responses: Int[Array, "N T"],
) -> Base:
    """The base at some parameters; its personas are those that the policy holds there, frozen."""

    def laws(params: Params, prompts: Int[Array, "C P"]) -> tuple[Array, Array, Array]:
        log_gates = jax.vmap(speakers.log_gate, (None, 0))(params, prompts)
        if not responses.shape[0]:
            none = jnp.zeros((*log_gates.shape, 0))
            return log_gates, none, none[:, 0]
        log_personas = jax.vmap(speakers.log_personas, (None, 0))(params, prompts)
        return log_gates, log_personas, numerics.log_mix(log_gates, log_personas)

    # Outside of a trace too it is one program: a network's would be fifty small ones.
    return Base(speakers, params, labels, prompts, log_prompts, responses, *jax.jit(laws)(params, prompts))


def spanned(base: Base, log_given: Float[Array, "C K N"]) -> tuple[Base, hulls.Repaired]:
    """The same policy with the hull of other personas, repaired so that it lies inside (``hulls.repaired``).

    Returns:
        The base, and the repair at every prompt: its ``distance`` [C] is how far the policy was from a mix of them.
    """
    repaired = jax.vmap(hulls.repaired)(base.log_base, log_given)
    return base._replace(log_gates=jnp.log(repaired.weights), log_personas=repaired.log_personas), repaired


def only(base: Base, which: np.ndarray) -> Base:
    """The same base where no other prompts occur than those where ``which`` [C] is true."""
    prompts = base.prompts[which], numerics.log_normalize(base.log_prompts[which])
    return frozen(base.speakers, base.params, base.labels, *prompts, base.responses)


def true(world: World, labels: Labels, length: int) -> Base:
    """A mixture with a gate table that is the world itself, as after pretraining on text without end.

    Raises:
        ValueError: V^T responses are too many to list.
    """
    responses, log_personas, log_base = worlds.listed(world, length)
    return Base(
        mixture.for_world(world, labels, length, "table"),
        mixture.params_of(world.log_gates, world.log_experts),
        labels,
        world.prompts,
        world.log_prompts,
        responses,
        world.log_gates,
        log_personas,
        log_base,
    )


def with_gate_table(base: Base, world: World) -> Base:
    """The same base with its gate written out as a table of its prompts: the same policy, a bandit's parameters."""
    speakers = mixture.for_world(world, base.labels, base.length, "table")
    params = mixture.with_gate_table(base.params, base.log_gates)
    return frozen(speakers, params, base.labels, base.prompts, base.log_prompts, base.responses)


class Pretrained(NamedTuple):
    """Policies fitted to text, one for each of W seeds, which draw all that is random about it: a leading axis W.

    Attributes:
        seeds: different ones [W].
        world: the truths; the same for every seed where the world is not random.
        labels: their names.
        speakers: ``(world) -> Speakers``, the functions of the policy that is fitted to a world.
        params: fitted, personas in the order of the true ones.
        recovery: how far the fits are from the truth.
        responses: all V^T of them [N, T].
        early: of networks, their parameters after each of the steps ``Network.kept``, [W, R, ...]; None of mixtures.
    """

    seeds: np.ndarray
    world: World
    labels: Labels
    speakers: Callable[[World], Speakers]
    params: Params
    recovery: pretraining.Recovery
    responses: Int[Array, "N T"]
    early: Params = None

    def place(self, key: Key) -> Int[Array, ""]:
        """The number of the base that was drawn by the seed of a key, ``jax.random.key(seed)`` (may be traced)."""
        return artefacts.place(jax.vmap(jax.random.key)(self.seeds), key)

    def world_at(self, index: Int[Array, ""] | int) -> World:
        """The truth number ``index`` (may be traced)."""
        return jax.tree.map(lambda x: x[index], self.world)

    def base(self, index: Int[Array, ""] | int) -> Base:
        """The base number ``index`` (may be traced)."""
        return self.base_of(index, jax.tree.map(lambda x: x[index], self.params))

    def base_of(self, index: Int[Array, ""] | int, params: Params) -> Base:
        """A base of the world number ``index`` with some parameters."""
        world = self.world_at(index)
        return frozen(self.speakers(world), params, self.labels, world.prompts, world.log_prompts, self.responses)

    def drawn(self, index: int) -> tuple[World, Params, Params]:
        """What one seed drew: its world, the parameters fitted and those on the way, with a leading axis of 1."""
        return jax.tree.map(lambda x: x[index : index + 1], (self.world, self.params, self.early))

    def holding(self, drawn: tuple[World, Params, Params]) -> "Pretrained":
        """The same with nothing but what one seed drew, which may be traced: its base is number 0."""
        world, params, early = drawn
        return self._replace(world=world, params=params, early=early)

    def listed(self) -> dict[str, Output]:
        """What every base says of every response: log-probabilities with a leading dimension ``seed``, by name."""
        names = ("log_prompts", "log_gates", "log_personas", "log_base")
        at = lambda index: {name: getattr(self.base(index), name) for name in names}  # noqa: E731
        arrays = named(jax.jit(jax.vmap(at))(np.arange(self.seeds.size)), seed=self.seeds, prompt=None)
        personas = named(arrays["log_gates"].value, seed=self.seeds, prompt=None, persona=self.labels.personas)
        return arrays | {"log_gates": personas}

    def recovered(self) -> dict[str, Output]:
        """How far every fit is from the truth, with a leading dimension ``seed``, by name."""
        experts = named(self.recovery.expert_divergence, seed=self.seeds, persona=self.labels.personas)
        return named(self.recovery._asdict(), seed=self.seeds) | {"expert_divergence": experts}


def pretrained(
    name: str,
    options: WorldOptions,
    how: Pretraining | Network,
    *,
    length: int,
    seeds: Sequence[int] = (0,),
    folder: Path | None = None,
) -> Pretrained:
    """Draw worlds and fit a policy to text from each, or load what was fitted before.

    Args:
        name: of the world, as for ``worlds.catalogue.load``.
        options: what it is made of.
        how: a mixture is fitted, or a network, to lines of which some name their speaker.
        length: T of the responses that are listed.
        seeds: each draws the world, if it is random, its text and the fit's random starts.
        folder: where fitted parameters are kept; fitted anew if None.

    Raises:
        ValueError: settings that make no world, one too large to enumerate, or one of a single persona.
    """
    keys = [jax.random.split(jax.random.fold_in(jax.random.key(seed), OF_BASE), 3) for seed in seeds]
    each = [catalogue.load(name, options, key=key) for key, _, _ in keys]
    labels = each[0][1]
    if len(labels.personas) < 2:
        raise ValueError("There is nobody to select in a world of one persona: give it two or more.")
    responses = chains.outcomes(each[0][0].log_experts.shape[-1], length)
    network = isinstance(how, Network)
    speakers, fit_one = _networks(labels, length, how) if network else _mixtures(name, labels, length, how)

    def fit(world: World, data: Array) -> tuple[Params, pretraining.Recovery, Params]:
        params, early = fit_one(world, *jax.random.wrap_key_data(data))
        return *pretraining.align(world, speakers(world), params, length), early

    drawn = [(world, jax.random.key_data(own[1:])) for (world, _), own in zip(each, keys, strict=True)]
    fitted = artefacts.stacked(artefacts.kept(fit, drawn, folder, lean=network))
    truths = artefacts.stacked([world for world, _ in each])
    return Pretrained(np.array(seeds), truths, labels, speakers, *fitted[:2], responses, fitted[2])


Fitting = tuple[Callable[[World], Speakers], Callable[[World, Key, Key], tuple[Params, Params]]]
"""A policy's functions for a world; and the fit of (world, text key, fit key), its parameters and those on the way."""


def _mixtures(name: str, labels: Labels, length: int, how: Pretraining) -> Fitting:
    """Fitted to text of which nobody says who wrote it."""
    how = how.fitting(name)

    def speakers(world: World) -> Speakers:
        return mixture.for_world(world, labels, length, how.gate)

    def fit(world: World, text_key: Key, fit_key: Key) -> tuple[Params, Params]:
        text = worlds.sample(text_key, world, how.line_length, how.num_lines)
        fitted = pretraining.fit_text(fit_key, world, text, speakers(world), how, text.tokens.shape[0])
        return fitted.params, None

    return speakers, fit


def _networks(labels: Labels, length: int, how: Network) -> Fitting:
    """Fitted to text of which a share names its speakers."""

    def speakers(world: World) -> Speakers:
        return transformer.for_world(world, labels, length, how)

    def fit(world: World, text_key: Key, fit_key: Key) -> tuple[Params, Params]:
        line_key, tag_key = jax.random.split(text_key)
        text = worlds.sample(line_key, world, length, how.num_lines)
        counts = pretraining.counted(tag_key, world, text, how.tagged, length)
        counts = counts if how.tagged else counts[-1:]
        records = (*how.kept, how.num_steps)
        path = pretraining.fit_counts(fit_key, speakers(world), world.prompts, counts, records, rate=how.learning_rate)
        return jax.tree.map(lambda x: x[-1], path), jax.tree.map(lambda x: x[:-1], path)

    return speakers, fit
