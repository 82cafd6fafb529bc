"""One point of a map: every rule's path for one reward, and what is measured along it."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments import base_model, features, harness
from toypersona import hulls, numerics, rewards, theory, trajectories
from toypersona.measures import drift, support
from toypersona.policies import mixture
from toypersona.policies.policy import Policy, all_log_probs
from toypersona.rules import gradient, reinforce, tilting
from toypersona.types import Key, Params

RULES = ("tilt", *(f"{rule}/{scope}" for rule in ("natural", "vanilla") for scope in mixture.SCOPES))
LOCK_IN = 0.9
"""A gate that gives this much to one persona has settled."""

NUM_LINES = 8


def geometric(first: float, last: float, num: int) -> tuple[float, ...]:
    """Geometrically spaced values, in digits that read well."""
    return tuple(float(f"{x:.6g}") for x in np.geomspace(first, last, num))


@dataclasses.dataclass(frozen=True)
class Gradients:
    """How the two gradient rules walk along the strength axis."""

    natural_step: float = 0.4
    """Longest step of natural gradient, in units of strength."""
    vanilla_time: float = 10.0
    """Vanilla gradient is recorded where learning rate times steps is this times the strength."""
    vanilla_step: float = 2.0
    """Longest step of vanilla gradient (a learning rate)."""


@dataclasses.dataclass(frozen=True)
class Noise:
    """The sampled rule that shows the noise boundary: REINFORCE on a table of gates."""

    num_runs: int = 10
    """Independent runs at each learning rate."""
    num_steps: int = 300
    """Steps; one sampled response to each prompt a step."""
    learning_rates: tuple[float, ...] = geometric(0.1, 1000.0, 9)
    """From hardly moving to locking onto the first sample."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardSettings(base_model.WorldSettings):
    """Settings of what is paid for."""

    helpful: str | None = None
    """The persona whose answers are paid for; the last one unless named."""
    feature: str = "words"
    """What the reward also pays for, its part orthogonal to the personas: words (a random score for each), brevity,
    exploit (a random phrase), or your own FILE.py:FUNCTION with FUNCTION(prompt, response) -> float."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MapSettings(RewardSettings):
    """Settings of a map of strengths."""

    strengths: tuple[float, ...] = geometric(0.01, 20.0, 18)
    """s = 1/beta of the tilt, learning rate times steps of natural gradient; increasing."""
    gradients: Gradients = Gradients()
    """The gradient rules."""
    noise: Noise = Noise()
    """The sampled rule behind the noise boundary."""


_ALONG = ("rule", "strength")
DIMS = {
    **{name: _ALONG for name in drift.DriftBudget._fields + support.Support._fields},
    **{name: _ALONG for name in ("reward", "routing_information", "largest_weight")},
    "weights": (*_ALONG, "prompt", "persona"),
    "line_prompt": (*_ALONG, "line"),
    "line_response": (*_ALONG, "line"),
    "noise_wrong": ("learning_rate",),
    "expert_divergence": ("persona",),
}


def index_of_helpful(settings: RewardSettings, personas: tuple[str, ...]) -> int:
    """The persona whose answers are paid for.

    Raises:
        ValueError: nobody has that name.
    """
    if settings.helpful is None:
        return len(personas) - 1
    if settings.helpful not in personas:
        raise ValueError(f"--helpful names a persona of the world, {', '.join(personas)}, not {settings.helpful!r}.")
    return personas.index(settings.helpful)


def check(settings: MapSettings) -> None:
    """Refuse settings that make no map, before anything is computed.

    Raises:
        ValueError: strengths that are not positive and increasing.
    """
    harness.check_increasing("strengths", settings.strengths)
    harness.check_increasing("noise.learning-rates", settings.noise.learning_rates)
    harness.check_positive("gradients", settings.gradients)
    harness.check_positive("noise", settings.noise)


def check_feature(settings: RewardSettings, bases: base_model.Base, feature: features.Feature) -> None:
    """Refuse a feature of which nothing is left beside what the personas can be paid for.

    Raises:
        ValueError: it says so.
    """
    key, first = jax.random.key(settings.seeds[0]), jnp.asarray(0)
    base = bases.of(first)
    _, log_personas, log_base = base.personas()
    value = feature(key, base, first)
    centred = value - numerics.expectation(log_base, value)[:, None]
    rest = centred - jax.vmap(hulls.tangent_fit)(log_base, log_personas, centred)
    left, size = (numerics.expectation(log_base, x**2).sum() for x in (rest, value))
    if left <= 1e-20 * size or size == 0:
        raise ValueError(
            f"The personas can be paid for all of --feature {settings.feature}, so that no reward lies at an angle to "
            "them: choose a feature that tells responses of the same persona apart."
        )


class Setting(NamedTuple):
    """What one point of the map starts from.

    Attributes:
        base: the base of one world.
        log_gates: its gates [C, K].
        log_personas: its frozen experts, which span the hull [C, K, N].
        log_base: its policy pi0 [C, N].
        reward: [C, N].
    """

    base: base_model.Base
    log_gates: Float[Array, "C K"]
    log_personas: Float[Array, "C K N"]
    log_base: Float[Array, "C N"]
    reward: Float[Array, "C N"]


def setting(
    config: RewardSettings,
    bases: base_model.Base,
    feature: features.Feature,
    key: Key,
    angle: Float[Array, ""],
    world: Int[Array, ""],
) -> Setting:
    """The reward at ``angle`` degrees between helpfulness and ``feature``, and the base it is given to."""
    base = bases.of(world)
    log_gates, log_personas, log_base = base.personas()
    helpful = jax.nn.one_hot(index_of_helpful(config, base.labels.personas), len(base.labels.personas))
    reward = rewards.at_angle(
        jnp.deg2rad(angle),
        rewards.persona_affine(log_gates, log_personas, helpful),
        feature(key, base, world),
        log_base,
        log_personas,
        base.world.log_prompts,
    )
    return Setting(base, log_gates, log_personas, log_base, reward)


def point_fn(config: MapSettings, bases: base_model.Base, feature: features.Feature) -> Callable[..., dict[str, Array]]:
    """The function the sweep maps over angles, worlds and seeds."""

    def point(key: Key, *, angle: Float[Array, ""], world: Array) -> dict[str, Array]:
        feature_key, line_key, noise_key = jax.random.split(key, 3)
        base, log_gates, log_personas, log_base, reward = setting(config, bases, feature, feature_key, angle, world)

        def measure(path: Float[Array, "R C N"]) -> dict[str, Array]:
            spent = drift.budget_along(path, log_base, log_personas, base.responses, base.world.log_prompts)
            others = jax.lax.map(lambda log_policy: _others(log_policy, log_base, reward, base, line_key), path)
            routing = jax.vmap(drift.routing_information, (0, None))(spent.weights, base.world.log_prompts)
            largest = spent.weights.max(axis=-1) @ jnp.exp(base.world.log_prompts)
            return {**spent._asdict(), "largest_weight": largest, "routing_information": routing, **others}

        # Measured after all paths are walked: the solver, slow to compile, is compiled once and not for every rule.
        records = jax.lax.map(measure, _paths(config, base, log_base, reward))
        return {
            **records,
            "weak_limit": theory.weak_limit(log_base, log_personas, reward, base.world.log_prompts),
            "noise_wrong": _noise(config, base, log_gates, log_personas, reward, noise_key),
            **base.recovery._asdict(),
        }

    return point


def _others(
    log_policy: Float[Array, "C N"],
    log_base: Float[Array, "C N"],
    reward: Float[Array, "C N"],
    base: base_model.Base,
    line_key: Key,
) -> dict[str, Array]:
    """Recorded beside the budget; lines are drawn with the same key everywhere, so they change with the policy."""
    log_prompts = base.world.log_prompts
    prompt_key, response_key = jax.random.split(line_key)
    line_prompt = jax.random.categorical(prompt_key, log_prompts, shape=(NUM_LINES,))
    return {
        **support.support(log_policy, log_base, log_prompts, length=base.responses.shape[1])._asdict(),
        "reward": jnp.exp(log_prompts) @ numerics.expectation(log_policy, reward),
        "line_prompt": line_prompt,
        "line_response": jax.random.categorical(response_key, log_policy[line_prompt]),
    }


def _paths(
    config: MapSettings,
    base: base_model.Base,
    log_base: Float[Array, "C N"],
    reward: Float[Array, "C N"],
) -> Float[Array, "L R C N"]:
    """The policies along every rule's path, in the order of RULES: leading axes [rule, strength]."""
    strengths = jnp.asarray(config.strengths)
    tilted, _, _ = trajectories.run(
        lambda step: tilting.tilting(reward, strength=step),
        lambda log_policy: log_policy,
        log_base,
        key=jax.random.key(0),
        marks=strengths,
        max_step=jnp.inf,
    )

    given = (base.mixture.policy, base.params, base.world.prompts, base.world.log_prompts, reward)
    return jnp.concatenate([tilted[None], walk_gradients(*given, strengths, config.gradients)])


def walk_gradients(
    policy: Policy,
    params: Params,
    prompts: Int[Array, "C P"],
    log_prompts: Float[Array, " C"],
    reward: Float[Array, "C N"],
    strengths: Float[Array, " R"],
    how: Gradients,
) -> Float[Array, "L R C N"]:
    """The policies along natural and vanilla gradient in every scope, in the order of ``RULES`` after the tilt."""
    scopes = jax.tree.map(lambda *x: jnp.stack(x), *mixture.SCOPES.values())

    def walk(rule: Callable, marks: Float[Array, " R"], max_step: float) -> Float[Array, "S R C N"]:
        def in_scope(scope: mixture.Scope) -> Float[Array, "R C N"]:
            scoped = mixture.scoped(policy, scope)
            path, _, _ = trajectories.run(
                lambda step: rule(scoped, prompts, log_prompts, reward, learning_rate=step),
                lambda params: all_log_probs(scoped, params, prompts),
                params,
                key=jax.random.key(0),
                marks=marks,
                max_step=max_step,
            )
            return path

        return jax.vmap(in_scope)(scopes)

    natural = walk(gradient.natural_gradient, strengths, how.natural_step)
    vanilla = walk(gradient.policy_gradient, how.vanilla_time * strengths, how.vanilla_step)
    return jnp.concatenate([natural, vanilla])


def _noise(
    config: MapSettings,
    base: base_model.Base,
    log_gates: Float[Array, "C K"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    key: Key,
) -> Float[Array, " L"]:
    """How often REINFORCE on a table of gates locks onto a wrong persona, at each learning rate."""
    log_prompts, prompts = base.world.log_prompts, base.world.prompts
    table = base_model.with_gate_table(base, log_gates, config)
    policy = mixture.scoped(table.mixture.policy, mixture.SCOPES["gates"])
    num_words, length = base.world.log_experts.shape[-1], base.responses.shape[1]
    places = num_words ** jnp.arange(length - 1, -1, -1)
    mean_rewards = jnp.einsum("ckn,cn->ck", jnp.exp(log_personas), reward)

    def wrong(learning_rate: Float[Array, ""], run_key: Key) -> Float[Array, ""]:
        rule = reinforce.reinforce(
            policy, prompts, log_prompts, lambda c, tokens: reward[c, tokens @ places], learning_rate=learning_rate
        )
        keys = jax.random.split(run_key, config.noise.num_steps)
        state, _ = jax.lax.scan(lambda s, k: (rule.update(k, s)[0], None), rule.init(table.params), keys)
        gates = jnp.exp(jax.vmap(table.mixture.log_gate, (None, 0))(state.params, prompts))
        return locked_wrong(gates, mean_rewards, log_prompts)

    learning_rates = jnp.asarray(config.noise.learning_rates)
    runs = jax.random.split(key, config.noise.num_runs)
    return jax.vmap(lambda rate: jax.vmap(lambda k: wrong(rate, k))(runs).mean())(learning_rates)


def locked_wrong(
    gates: Float[Array, "C K"], mean_rewards: Float[Array, "C K"], log_prompts: Float[Array, " C"]
) -> Float[Array, ""]:
    """The probability that a prompt's gate gives 0.9 or more to a persona that does not pay best.

    Args:
        gates: w_k(c) after training [C, K].
        mean_rewards: E_{p_k}[r(c, .)] [C, K]; where all pay the same every persona is a wrong one to lock onto.
        log_prompts: log rho(c) [C].
    """
    gap = mean_rewards.max(axis=-1) - jnp.take_along_axis(mean_rewards, gates.argmax(axis=-1)[:, None], axis=-1)[:, 0]
    indifferent = jnp.ptp(mean_rewards, axis=-1) < 1e-9
    wrong = (gates.max(axis=-1) >= LOCK_IN) & ((gap > 0) | indifferent)
    return jnp.exp(log_prompts) @ wrong.astype(float)
