"""Thinking aloud under RL: when thoughts stop being readable, and what keeps them readable.

The answer is the parity of some bits, the thoughts are the only memory; a right answer is paid for, the length of the
thoughts costs. At every strength of RL (1/beta of the KL penalty) and every length cost: how much of the answer the
reader (the pretrained model) gets from the thoughts, how much is coded in them in no human convention, how much is
keyed by who speaks. Exact gradients from the base (quenched) and from strength to strength (annealed), sampled rules, and
defences. Seeds draw the text, the fit and all that is sampled.

On 2 cores the preset quick takes two minutes, paper half an hour.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from experiments import base_model, harness, maps, thinkers
from toypersona.policies import mixture
from toypersona.rules import clipped, reinforce
from toypersona.types import Key, Params
from toypersona.worlds import reasoning

NAME = "reasoning"
NUM_LINES = 4
"""Responses of the exact policy kept at every point, to the same prompts with the same draws."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(harness.Settings):
    """Settings of the map."""

    num_bits: int = 3
    """n: bits and thoughts."""
    other_bits: tuple[int, ...] = (2,)
    """Also these, by the exact gradient."""
    strengths: tuple[float, ...] = maps.geometric(0.3, 300.0, 10)
    """1/beta; increasing."""
    length_costs: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4)
    """What a thought of length 1 costs, averaged over thoughts; a right answer pays 1. From 0, increasing."""
    training: thinkers.Training = thinkers.Training()
    """Of every way to train."""
    pretraining: base_model.Pretraining = thinkers.PRETRAINING
    """How the base is fitted to text."""
    readability_bonus: float = 0.1
    """Of that defence: reward for each nat of the base's log-probability of a thought."""
    num_records: int = 15
    """Of the defence that stops early: places on the way at which it may."""


PRESETS = {
    "quick": Config(seeds=tuple(range(4))),
    "paper": Config(
        seeds=tuple(range(12)),
        strengths=maps.geometric(0.3, 300.0, 19),
        length_costs=(0.0, 0.025, 0.05, 0.1, 0.2, 0.4),
        other_bits=(2, 4),
        training=thinkers.Training(num_steps=3000, num_samples=16),
    ),
}

Way = Callable[[thinkers.Problem, Config, Float[Array, " S"]], Params]
"""Parameters at every strength, [S, 1, ...]."""


def _gates_only(problem: thinkers.Problem, config: Config, strengths: Float[Array, " S"]) -> Params:
    policy = mixture.scoped(problem.base.made.policy, mixture.SCOPES["gates"])
    return thinkers.quenched(problem, thinkers.exact(problem, policy=policy), strengths)


def _frozen_thoughts(problem: thinkers.Problem, config: Config, strengths: Float[Array, " S"]) -> Params:
    policy = thinkers.frozen_thoughts(problem.base)
    return thinkers.quenched(problem, thinkers.exact(problem, policy=policy), strengths)


def _readability_bonus(problem: thinkers.Problem, config: Config, strengths: Float[Array, " S"]) -> Params:
    bonus = thinkers.readability_bonus(problem.base, config.readability_bonus)
    return thinkers.quenched(problem, thinkers.exact(problem, bonus=bonus), strengths)


def _early_stop(problem: thinkers.Problem, config: Config, strengths: Float[Array, " S"]) -> Params:
    """The last record before selection stops being the larger part of the drift; the base if there is none."""
    paths = thinkers.quenched(problem, thinkers.exact(problem), strengths, marks=config.num_records)
    fractions = jax.lax.map(jax.vmap(lambda params: thinkers.spent(problem.base, params).selection_fraction), paths)
    left = jnp.cumprod(fractions >= 0.5, axis=1).sum(axis=1)

    def pick(path: Array, base: Array) -> Array:
        whole = jnp.concatenate([jnp.broadcast_to(base, path[:, :1].shape), path], axis=1)
        return jax.vmap(lambda along, i: along[i][None])(whole, left)

    return jax.tree.map(pick, paths, problem.base.params)


WAYS: dict[str, Way] = {
    "exact": lambda problem, _, strengths: thinkers.quenched(problem, thinkers.exact(problem), strengths),
    "annealed": lambda problem, _, strengths: thinkers.annealed(problem, thinkers.exact(problem), strengths),
    "RLOO": lambda problem, _, strengths: thinkers.quenched(
        problem, thinkers.sampled(problem, reinforce.rloo), strengths
    ),
    "GRPO": lambda problem, _, strengths: thinkers.quenched(
        problem, thinkers.sampled(problem, clipped.grpo), strengths
    ),
    "readability bonus": _readability_bonus,
    "frozen thoughts": _frozen_thoughts,
    "gates only": _gates_only,
    "early stop": _early_stop,
}
"""The last four are defences."""


def run(config: Config) -> xr.Dataset:
    """Train every way at every strength and length cost, and measure."""
    check(config)
    strengths = jnp.asarray(config.strengths)

    def point(key: Key, *, length_cost: Float[Array, ""]) -> dict[str, Array]:
        fit_key, walk_key, line_key = jax.random.split(key, 3)
        options = reasoning.ReasoningOptions(num_bits=config.num_bits)
        params, recovery = thinkers.pretrained(options, config.pretraining, fit_key)

        def problem(num_bits: int, key: Key) -> thinkers.Problem:
            base = thinkers.thinker(dataclasses.replace(options, num_bits=num_bits), params)
            reward = reasoning.parity_reward(base.labels, length_cost)
            return thinkers.Problem(base, reward, config.training, base.world.log_prompts, key)

        main = problem(config.num_bits, walk_key)
        trained = [way(main, config, strengths) for way in WAYS.values()]
        made = [_measured(main.base, params) for params in trained]
        for num_bits in config.other_bits:
            other = problem(num_bits, walk_key)
            made.append(_measured(other.base, WAYS["exact"](other, config, strengths)))
        return {
            **jax.tree.map(lambda *x: jnp.stack(x), *made),
            **{f"base_{name}": value for name, value in thinkers.measured(main.base, params).items()},
            "expert_divergence": recovery.expert_divergence,
            **thinkers.lines(main.base, trained[0], line_key, NUM_LINES),
        }

    along = ("way", "strength")
    personas = tuple(voice.name for voice in reasoning.VOICES)
    names = thinkers.MEASURES
    return harness.sweep(
        NAME,
        config,
        point,
        {"length_cost": np.array(config.length_costs)},
        dims={
            **{name: along for name in names},
            "share": (*along, "persona"),
            "base_share": ("persona",),
            "expert_divergence": ("persona",),
            "line_prompt": ("strength", "line", "place"),
            "line_tokens": ("strength", "line", "place"),
            "line_reader": ("strength", "line"),
        },
        coords={
            "way": np.array(ways(config)),
            "strength": np.array(config.strengths),
            "persona": np.array(personas),
        },
        labels={"units": reasoning.reasoning()[1].units, "phases": thinkers.PHASES},
    )


def ways(config: Config) -> list[str]:
    """All ways to train, as the dataset names them."""
    return [*WAYS, *(f"exact, {num_bits} bits" for num_bits in config.other_bits)]


def _measured(base: thinkers.Thinker, params: Params) -> dict[str, Array]:
    return jax.lax.map(lambda path: thinkers.measured(base, jax.tree.map(lambda x: x[0], path)), params)


def check(config: Config) -> None:
    """Refuse settings that make no map, before anything is computed.

    Raises:
        ValueError: it names the flag.
    """
    harness.check(config)
