"""The map: reinforcement learning of growing strength, for rewards at every angle to the personas.

Where on it RL only selects among personas, where it starts to do something that no persona mix does, and how many
samples would show. By the exact optimum of KL-regularised RL (the tilt), and by natural and vanilla policy gradient on
the gates, the experts or both. Seeds draw the reward.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from experiments import base_model, features, harness, phase_diagram_claims
from toypersona import numerics, rewards, sweeps, theory, trajectories
from toypersona.measures import boundaries, drift, support
from toypersona.policies import mixture
from toypersona.policies.base import all_log_probs
from toypersona.rules import gradient, reinforce, tilting
from toypersona.types import Key

NAME = "phase_diagram"
RULES = ("tilt", *(f"{rule}/{scope}" for rule in ("natural", "vanilla") for scope in mixture.SCOPES))
SAMPLES = (1, 100, 10_000)
NUM_LINES = 8


def _geometric(first: float, last: float, num: int) -> tuple[float, ...]:
    return tuple(float(f"{x:.6g}") for x in np.geomspace(first, last, num))


@dataclasses.dataclass(frozen=True)
class Gradients:
    """How the two gradient rules walk along the strength axis."""

    natural_step: float = 0.25
    """Longest step of natural gradient, in units of strength."""
    vanilla_time: float = 10.0
    """Vanilla gradient is recorded where learning rate times steps is this times the strength."""
    vanilla_step: float = 1.0
    """Longest step of vanilla gradient (a learning rate)."""


@dataclasses.dataclass(frozen=True)
class Noise:
    """The sampled rule that shows the noise boundary: REINFORCE on a table of gates."""

    num_runs: int = 16
    """Independent runs at each learning rate."""
    num_steps: int = 300
    """Steps; one sampled response to each prompt a step."""
    learning_rates: tuple[float, ...] = _geometric(0.03, 100.0, 8)
    """From hardly moving to locking onto the first sample."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(base_model.WorldSettings):
    """Settings of the map."""

    angles: tuple[float, ...] = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0)
    """Degrees between the reward and the personas."""
    strengths: tuple[float, ...] = _geometric(0.01, 20.0, 24)
    """s = 1/beta of the tilt, learning rate times steps of natural gradient; increasing."""
    helpful: str | None = None
    """The persona whose answers are paid for; the last one unless named."""
    feature: str = "words"
    """What the reward also pays for, its part orthogonal to the personas: words (a random score for each), brevity,
    exploit (a random phrase), or your own FILE.py:FUNCTION with FUNCTION(prompt, response) -> float."""
    gradients: Gradients = Gradients()
    """The gradient rules."""
    noise: Noise = Noise()
    """The sampled rule behind the noise boundary."""
    chunk: int = 7
    """Points of the map computed together, each finished chunk is kept."""
    progress: bool = True
    """Show a progress bar."""


PRESETS = {
    "quick": Config(),
    "paper": Config(
        angles=tuple(np.linspace(0.0, 90.0, 19).tolist()),
        strengths=_geometric(0.01, 20.0, 48),
        gradients=Gradients(natural_step=0.1, vanilla_step=0.5),
        noise=Noise(num_runs=64, learning_rates=_geometric(0.03, 100.0, 16)),
        seeds=tuple(range(8)),
        num_worlds=2,
    ),
}


def check(config: Config) -> None:
    """Refuse settings that make no map, before anything is computed.

    Raises:
        ValueError: strengths not positive and increasing, angles outside 0 to 90 degrees.
    """
    s = np.asarray(config.strengths)
    if len(s) < 2 or s[0] <= 0 or (np.diff(s) <= 0).any():
        raise ValueError(f"--strengths has to be two or more increasing numbers above 0, not {config.strengths}.")
    if not config.angles or min(config.angles) < 0 or max(config.angles) > 90:
        raise ValueError(f"--angles has to be degrees from 0 to 90, not {config.angles}.")


def run(config: Config) -> xr.Dataset:
    """Compute the map, or continue or load the one in ``config.out``."""
    check(config)
    base = base_model.prepare(config)
    helpful = _index_of_helpful(config, base.labels.personas)
    feature = features.load(config.feature, base)
    return sweeps.run(
        _point(config, base, helpful, feature),
        {"angle": np.array(config.angles), "world": np.arange(config.num_worlds)},
        seeds=config.seeds,
        chunk=config.chunk,
        out=config.out / f"{NAME}.zarr",
        dims=DIMS,
        coords={
            "strength": np.array(config.strengths),
            "rule": np.array(RULES),
            "samples": np.array(SAMPLES),
            "persona": np.array(base.labels.personas),
            "learning_rate": np.array(config.noise.learning_rates),
        },
        config=provenance(config, base),
        progress=config.progress,
    )


def _index_of_helpful(config: Config, personas: tuple[str, ...]) -> int:
    if config.helpful is None:
        return len(personas) - 1
    if config.helpful not in personas:
        raise ValueError(f"--helpful names a persona of the world, {', '.join(personas)}, not {config.helpful!r}.")
    return personas.index(config.helpful)


def provenance(config: Config, base: base_model.Base) -> dict[str, Any]:
    """What the run was, for the dataset's attributes: settings that change numbers, and names."""
    settings = dataclasses.asdict(config)
    for name in ("out", "config", "preset", "progress"):
        del settings[name]
    return {
        "settings": settings,
        "personas": base.labels.personas,
        "units": base.labels.units,
        "separator": base.labels.separator,
        "prompts": np.asarray(base.world.prompts).tolist(),
    }


_ALONG = ("rule", "strength")
DIMS = {
    **{name: _ALONG for name in drift.DriftBudget._fields + support.Support._fields},
    **{name: _ALONG for name in ("reward", "routing_information")},
    "weights": (*_ALONG, "prompt", "persona"),
    "line_prompt": (*_ALONG, "line"),
    "line_response": (*_ALONG, "line"),
    "half": ("rule",),
    "vertex": ("rule",),
    "detectable": ("rule", "samples"),
    "noise_wrong": ("learning_rate",),
    "expert_divergence": ("persona",),
}


def _point(
    config: Config, bases: base_model.Base, helpful: int, feature: features.Feature
) -> Callable[..., dict[str, Array]]:
    """The function the sweep maps over angles, worlds and seeds."""
    strengths = jnp.asarray(config.strengths)
    num_personas = len(bases.labels.personas)

    def point(key: Key, *, angle: Float[Array, ""], world: Array) -> dict[str, Array]:
        base = bases.of(world)
        log_gates, log_personas, log_base = base.personas()
        feature_key, path_key, line_key, noise_key = jax.random.split(key, 4)
        affine = rewards.persona_affine(log_gates, log_personas, jax.nn.one_hot(helpful, num_personas))
        reward = rewards.at_angle(
            jnp.deg2rad(angle),
            affine,
            feature(feature_key, base, world),
            log_base,
            log_personas,
            base.world.log_prompts,
        )

        def measure(log_policy: Float[Array, "C N"]) -> dict[str, Array]:
            return _measure(log_policy, log_base, log_personas, reward, base, line_key)

        records = _paths(config, base, log_base, reward, measure, path_key)
        by_rule = jax.vmap(
            lambda fraction, weights, distance: {
                "half": boundaries.half(strengths, fraction),
                "vertex": boundaries.vertex(strengths, weights, base.world.log_prompts),
                "detectable": jnp.stack([boundaries.detectable(strengths, distance, n) for n in SAMPLES]),
            }
        )(records["selection_fraction"], records["weights"], records["hull_distance"])
        noise, wrong = _noise(config, base, log_gates, log_personas, reward, noise_key)
        return {
            **records,
            **by_rule,
            "weak_limit": theory.weak_limit(log_base, log_personas, reward, base.world.log_prompts),
            "noise": noise,
            "noise_wrong": wrong,
            **base.recovery._asdict(),
        }

    return point


def _measure(
    log_policy: Float[Array, "C N"],
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    base: base_model.Base,
    line_key: Key,
) -> dict[str, Array]:
    """Everything recorded of a policy; lines are drawn with the same key everywhere, so they change with the policy."""
    log_prompts = base.world.log_prompts
    spent = drift.budget(log_policy, log_base, log_personas, base.responses, log_prompts)
    prompt_key, response_key = jax.random.split(line_key)
    line_prompt = jax.random.categorical(prompt_key, log_prompts, shape=(NUM_LINES,))
    return {
        **spent._asdict(),
        **support.support(log_policy, log_base, log_prompts, length=base.responses.shape[1])._asdict(),
        "reward": jnp.exp(log_prompts) @ numerics.expectation(log_policy, reward),
        "routing_information": drift.routing_information(spent.weights, log_prompts),
        "line_prompt": line_prompt,
        "line_response": jax.random.categorical(response_key, log_policy[line_prompt]),
    }


def _paths(
    config: Config,
    base: base_model.Base,
    log_base: Float[Array, "C N"],
    reward: Float[Array, "C N"],
    measure: Callable[[Float[Array, "C N"]], dict[str, Array]],
    key: Key,
) -> dict[str, Array]:
    """The measures along every rule's path, in the order of RULES: leading axes [rule, strength]."""
    strengths = jnp.asarray(config.strengths)
    prompts, log_prompts = base.world.prompts, base.world.log_prompts
    scopes = jax.tree.map(lambda *x: jnp.stack(x), *mixture.SCOPES.values())
    tilted, _, _ = trajectories.run(
        lambda step: tilting.tilting(reward, strength=step),
        measure,
        log_base,
        key=key,
        marks=strengths,
        max_step=jnp.inf,
    )

    def walk(rule: Callable, marks: Float[Array, " R"], max_step: float) -> dict[str, Array]:
        def in_scope(scope: mixture.Scope) -> dict[str, Array]:
            policy = mixture.scoped(base.mixture.policy, scope)
            measures, _, _ = trajectories.run(
                lambda step: rule(policy, prompts, log_prompts, reward, learning_rate=step),
                lambda params: measure(all_log_probs(policy, params, prompts)),
                base.params,
                key=key,
                marks=marks,
                max_step=max_step,
            )
            return measures

        return jax.vmap(in_scope)(scopes)

    how = config.gradients
    natural = walk(gradient.natural_gradient, strengths, how.natural_step)
    vanilla = walk(gradient.policy_gradient, how.vanilla_time * strengths, how.vanilla_step)
    return jax.tree.map(lambda t, *rest: jnp.concatenate([t[None], *rest]), tilted, natural, vanilla)


def _noise(
    config: Config,
    base: base_model.Base,
    log_gates: Float[Array, "C K"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    key: Key,
) -> tuple[Float[Array, ""], Float[Array, " L"]]:
    """The learning rate at which REINFORCE on a table of gates locks onto a wrong persona, and how often at each."""
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
        return boundaries.locked_wrong(gates, mean_rewards, log_prompts)

    learning_rates = jnp.asarray(config.noise.learning_rates)
    runs = jax.random.split(key, config.noise.num_runs)
    fractions = jax.vmap(lambda rate: jax.vmap(lambda k: wrong(rate, k))(runs).mean())(learning_rates)
    return boundaries.noise(learning_rates, fractions), fractions


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, phase_diagram_claims.claims, phase_diagram_claims.findings)
