"""The map: reinforcement learning of growing strength, for rewards at every angle to the personas.

Where on it RL only selects among personas, where it starts to do something that no persona mix does, and how many
samples would show. By the exact optimum of KL-regularised RL (the tilt), and by vanilla and natural policy gradient on
the gates, the experts or both; of a transformer, which has neither, on all of it. Seeds draw text, fit and reward.

On 2 cores the preset quick takes a minute.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from experiments.shared import command, settings
from experiments.shared.settings import Gradients, Noise, geometric
from toypersona.limits import Angles, increasing
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.bases import Base
    from toypersona.types import Array, Key

NAME = "phase_diagram"
NUM_LINES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.RewardSettings):
    """Settings of the map."""

    angles: Angles = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0)
    """Degrees between the reward and the personas."""
    strengths: Annotated[tuple[float, ...], increasing(3)] = geometric(0.01, 20.0, 18)
    """s = 1/beta of the tilt, learning rate times steps of natural gradient; increasing."""
    gradients: Gradients = Gradients()
    """The gradient rules."""
    noise: Noise = Noise()
    """The sampled rule behind the noise boundary."""

    def check(self) -> None:
        """Refuse walks that would never end."""
        super().check()
        self.gradients.check(self.strengths[-1])


PRESETS = {
    "quick": Config(),
    "paper": Config(
        angles=tuple(np.linspace(0.0, 90.0, 19).tolist()),
        strengths=geometric(0.01, 20.0, 48),
        gradients=Gradients(natural_step=0.1, vanilla_step=0.5),
        noise=Noise(num_runs=64, learning_rates=geometric(0.1, 1000.0, 17)),
        seeds=tuple(range(4)),
    ),
}


def run(config: Config) -> xr.Dataset:
    """Compute the map, or continue the one in ``config.out``."""
    import jax
    import jax.numpy as jnp

    from toypersona import first_order, theory
    from toypersona.measures import drift, support
    from toypersona.rules import catalogue

    pretrained = config.pretrained()
    rewards = settings.Reward(config, pretrained)
    strengths, gradients = jnp.asarray(config.strengths), dataclasses.asdict(config.gradients)
    gradients |= {name: config.pace * gradients[name] for name in ("vanilla_time", "vanilla_step")}

    def point(key: Key, *, angle: Array) -> dict[str, Any]:
        feature_key, line_key, noise_key = jax.random.split(key, 3)
        draw = pretrained.place(key)
        base = pretrained.base(draw)
        paid = lambda degrees: rewards.at_angle(degrees, base, jax.random.clone(feature_key), draw)  # noqa: E731
        reward, ends = paid(angle), jnp.stack([paid(0.0), paid(90.0)])
        # Where plain policy gradient first moves all parameters.
        first = lambda paid: first_order.first(base.law, base.params, base.log_prompts, paid)  # noqa: E731
        hull = base.log_base, base.log_personas
        gain = theory.persona_gain(*hull, ends, jax.vmap(first)(ends), base.log_prompts)
        unprepared = rewards.unprepared(base, jax.random.clone(feature_key), draw)

        def others(log_policy: Array) -> dict[str, Array]:
            return {
                **support.support(log_policy, base.log_base, base.log_prompts, length=base.length)._asdict(),
                "reward": base.mean(log_policy, reward),
                **base.lines(log_policy, line_key, NUM_LINES),
            }

        def measured(path: Array) -> dict[str, Array]:
            spent = base.budget_along(path)
            return {
                **spent._asdict(),
                "largest_weight": spent.weights.max(axis=-1) @ base.rho,
                "routing_information": jax.vmap(drift.routing_information, (0, None))(spent.weights, base.log_prompts),
                **jax.lax.map(others, path),
            }

        # Measured after all paths are walked: the solver, slow to compile, is compiled once and not for every rule.
        paths, residuals = catalogue.along_strengths(base, reward, strengths, **gradients)
        along = {"rule": catalogue.strength_rules(base.speakers.scopes), "strength": config.strengths}
        return {
            **named(jax.lax.map(measured, paths) | {"residual": residuals}, **along),
            **_noise(config, noise_key, base, reward),
            "weak_limit": theory.weak_limit(*hull, reward, base.log_prompts),
            "kappa": named(gain.kappa, "persona gain of vanilla gradient"),
            "vanilla_limit": named(
                theory.weak_limit(*hull, first(reward), base.log_prompts), "R² of vanilla gradient's direction"
            ),
            "unprepared": named(
                jnp.stack([*unprepared.values()]), "angle to the personas as it is", "degrees", feature=[*unprepared]
            ),
            "reward_table": reward,
        }

    labels = {"prompts": pretrained.world.prompts.tolist(), "helpful": rewards.helpful, "pace": config.pace}
    return command.sweep(
        NAME,
        config,
        point,
        {"angle": config.angles},
        constants=pretrained.listed() | pretrained.recovered(),
        labels=pretrained.labels._asdict() | labels,
    )


def _noise(config: Config, key: Key, base: Base, reward: Array) -> dict[str, Any]:
    """How often REINFORCE on a table of gates locks onto a wrong persona; a transformer has no gates."""
    import jax.numpy as jnp

    from toypersona import lock_in

    if config.policy != "mixture":
        return {}
    rates = config.noise.learning_rates
    sizes = {"num_runs": config.noise.num_runs, "num_steps": config.noise.num_steps}
    wrong = lock_in.personas(key, base, reward, jnp.asarray(rates), **sizes)
    return {"noise_wrong": named(wrong, "runs locked onto a wrong persona", learning_rate=rates)}


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
