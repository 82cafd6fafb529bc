"""A world by name, a mixture pretrained on its text, and everything measured against them: where every map starts."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from experiments import harness
from toypersona import chains, numerics, pretraining
from toypersona.policies import mixture
from toypersona.types import Key, Params
from toypersona.worlds import base, catalogue


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """How the base is fitted to unlabelled text."""

    num_lines: int = 8000
    """Lines of text sampled from the world."""
    line_length: int = 12
    """Units of each line that are read (longer than the responses measured: more to tell people apart by)."""
    num_steps: int = 600
    """Adam steps."""
    batch_size: int = 256
    """Lines a step."""
    learning_rate: float = 0.05
    """Adam's, decayed to zero."""
    num_restarts: int = 3
    """Random starts; the likeliest fit is kept."""
    gate: str = "network"
    """network (reads the prompt's units) or table (one row per prompt)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldSettings(harness.Settings):
    """Settings of every experiment that starts from a pretrained world."""

    world: str = "larry_bob_alice"
    """larry_bob_alice, speakers, markov, or text:FOLDER with one text file per persona."""
    options: catalogue.Options = catalogue.Options()
    """What the world is made of."""
    length: int = 3
    """T, units of a response; all V^T are enumerated."""
    pretraining: Pretraining = Pretraining()
    """How the base is fitted."""
    num_worlds: int = 1
    """How many random worlds of the kind markov; of the others, how many texts to pretrain on."""


class Base(NamedTuple):
    """Worlds and the mixtures fitted to them; arrays have a leading axis of worlds W.

    Attributes:
        world: the ground truth.
        labels: its names.
        mixture: the policy's functions, shared by all worlds.
        params: fitted, experts in the order of the personas.
        recovery: how far the fit is from the truth.
        responses: all V^T of them [N, T].
    """

    world: base.World
    labels: base.Labels
    mixture: mixture.Mixture
    params: Any
    recovery: pretraining.Recovery
    responses: Int[Array, "N T"]

    def of(self, index: Int[Array, ""]) -> "Base":
        """World number ``index`` alone (may be traced)."""
        one = jax.tree.map(lambda x: x[index], (self.world, self.params, self.recovery))
        return self._replace(world=one[0], params=one[1], recovery=one[2])

    def personas(self) -> tuple[Float[Array, "C K"], Float[Array, "C K N"], Float[Array, "C N"]]:
        """The base's gates, frozen experts and policy in one world: log g [C, K], log p_k [C, K, N], log pi0 [C, N]."""
        log_gates = jax.vmap(self.mixture.log_gate, (None, 0))(self.params, self.world.prompts)
        log_personas = jax.vmap(self.mixture.log_experts, (None, 0))(self.params, self.world.prompts)
        return log_gates, log_personas, numerics.log_mix(log_gates, log_personas)


def check(settings: WorldSettings) -> None:
    """Refuse settings that make no run, before anything is computed.

    Raises:
        ValueError: it names the flag.
    """
    harness.check(settings)
    if settings.num_worlds < 1:
        raise ValueError(f"--num-worlds has to be 1 or more, not {settings.num_worlds}.")
    harness.check_positive("pretraining", settings.pretraining)


@functools.lru_cache(maxsize=1)
def prepare(settings: WorldSettings) -> Base:
    """Build the worlds and pretrain a mixture on text from each.

    Raises:
        ValueError: settings that make no world, or one too large to enumerate.
    """
    check(settings)
    keys = jax.random.split(jax.random.key(20), settings.num_worlds)
    made = [catalogue.load(settings.world, settings.options, key=key) for key in keys]
    labels = made[0][1]
    if len(labels.personas) < 2:
        raise ValueError("There is nobody to select in a world of one persona: give it two or more.")
    worlds = jax.tree.map(lambda *x: jnp.stack(x), *(world for world, _ in made))
    responses = chains.outcomes(worlds.log_experts.shape[-1], settings.length)
    policy = build(made[0][0], labels, settings.length, settings.pretraining.gate)
    params, recovery = jax.lax.map(
        lambda pair: _pretrain(pair[0], pair[1], policy, settings),
        (worlds, jax.random.split(jax.random.key(21), len(keys))),
    )
    return Base(worlds, labels, policy, params, recovery, responses)


def build(world: base.World, labels: base.Labels, length: int, gate: str) -> mixture.Mixture:
    """The mixture policy over a world's prompts whose experts' tables have the shape of its personas'.

    Where personas read along so do experts, and what no persona can say they cannot either.
    """
    num_personas, *context, num_words = world.log_experts.shape
    reads = isinstance(world.log_experts, chains.Reading)
    return mixture.mixture(
        world.prompts,
        num_personas=num_personas,
        num_units=len(labels.units),
        num_words=num_words,
        length=length,
        order=len(context) - reads,
        gate=gate,
        reads=reads,
        possible=~jnp.isneginf(world.log_experts.table).all(axis=0) if reads else None,
    )


def with_gate_table(one: Base, log_gates: Float[Array, "C K"], settings: WorldSettings) -> Base:
    """One world's base with its gate written out as a table of its prompts: the same policy, a bandit's parameters."""
    made = build(one.world, one.labels, settings.length, "table")
    return one._replace(mixture=made, params={"gate": {"personas": log_gates}, "experts": one.params["experts"]})


def _pretrain(
    world: base.World, key: Key, policy: mixture.Mixture, settings: WorldSettings
) -> tuple[Params, pretraining.Recovery]:
    text_key, fit_key = jax.random.split(key)
    how = settings.pretraining
    text = base.sample(text_key, world, how.line_length, how.num_lines)
    fitted = fit(fit_key, world, text, policy, how, jnp.asarray(how.num_lines))
    return align(world, policy, fitted.params, settings.length)


def fit(
    key: Key,
    world: base.World,
    text: base.Sample,
    policy: mixture.Mixture,
    how: Pretraining,
    num_lines: Int[Array, ""],
) -> pretraining.Fit:
    """Fit the mixture to the first ``num_lines`` lines of a text, who wrote them unseen."""
    prompts = world.prompts[text.prompt_index]
    return pretraining.fit(
        key,
        policy.policy,
        prompts,
        text.tokens,
        init=lambda start_key: policy.init_from_text(start_key, prompts, text.tokens, num_lines),
        num_lines=num_lines,
        num_steps=how.num_steps,
        batch_size=how.batch_size,
        learning_rate=how.learning_rate,
        num_restarts=how.num_restarts,
    )


def align(
    world: base.World, policy: mixture.Mixture, params: Params, length: int
) -> tuple[Params, pretraining.Recovery]:
    """Rename the experts after the personas they fit best, and measure how well."""
    truth = base.log_personas(world, length)
    experts = jax.vmap(policy.log_experts, (None, 0))(params, world.prompts)
    order = pretraining.matching(
        pretraining.cross_divergences(world.log_prompts, world.log_gates, truth, experts, length)
    )
    renamed = mixture.permuted(params, order)
    gates = jax.vmap(policy.log_gate, (None, 0))(renamed, world.prompts)
    return renamed, pretraining.recovery(world.log_prompts, world.log_gates, truth, gates, experts[:, order], length)
