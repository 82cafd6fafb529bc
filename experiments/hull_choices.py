"""What depends on how the hull is chosen: the divergence, one mix for every prompt or for all, and whose personas.

Near the base the divergences in use are one quadratic form, so weak RL selects the same share under each; how S leaves
it, and where it ends, each has its own law. A base that is not inside its hull is charged to RL: S shows so only beyond
a drift that is predicted, and the check of the sampled budget, ``base_inside``, has to notice. By the tilt and by plain
policy gradient, with the gate as fitted and as a table. Seeds draw world, text and fit, the rewards, the samples and a
stranger.

On 2 cores the preset quick takes a minute.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from experiments.shared import command, settings
from experiments.shared.settings import Runs, geometric
from toypersona.limits import Angles, Even, Grid, Positive
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.types import Key

NAME = "hull_choices"
RULES = ("tilt", "policy gradient", "policy gradient, gate table")
GIVEN = ("selection_fraction", "hull_distance", "certified")
FOREVER = 1e5
"""Strength of the tilt at which it has all but ended."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.RewardSettings):
    """Settings of the choices."""

    angles: Angles = (15.0, 30.0, 60.0)
    """Degrees between the reward and the personas; the second is the reward of the samples."""
    strengths: Grid = (0.005, *geometric(0.01, 100.0, 25))
    """s = 1/beta of the tilt; policy gradient's learning rates add up to ten times as much. Increasing."""
    shares: Grid = (0.001, 0.003, 0.01, 0.03, 0.1)
    """Share of what each persona says that is a stranger's, in hulls that are a little wrong; increasing, below 1."""
    vanilla_step: Positive = 2.0
    """Longest step of policy gradient (a learning rate)."""
    sampled_strength: Positive = 1.0
    """Strength of the policy whose samples come with those of the base."""
    num_samples: Even = 200
    """Responses to each prompt from which it is judged whether the base is inside; even."""
    num_draws: Runs = 20
    """Independent draws of them at each point."""

    def check(self) -> None:
        """Refuse fewer than two angles, angles without both parts, and shares of 1 or more."""
        super().check()
        if len(self.angles) < 2 or not all(0 < angle < 90 for angle in self.angles):
            raise ValueError("--angles has to be two or more between 0 and 90 degrees.")
        if self.shares[-1] >= 1:
            raise ValueError("--shares has to be below 1.")
        settings.check_steps("vanilla-step", self.vanilla_step, settings.Gradients.vanilla_time * self.strengths[-1])


PRESETS = {
    "quick": Config(seeds=tuple(range(10, 18))),
    "paper": Config(seeds=tuple(range(24)), angles=(15.0, 30.0, 45.0, 60.0, 75.0), num_draws=50),
}


def run(config: Config) -> xr.Dataset:
    """Measure the same policies under every choice."""
    import jax
    import jax.numpy as jnp

    from toypersona import bases, hull_choices, persona_choices

    pretrained = config.pretrained()
    paid = settings.Reward(config, pretrained)
    divergences = [*hull_choices.DIVERGENCES]
    rules = RULES if config.policy == "mixture" else RULES[:2]
    along: dict[str, Any] = {"rule": rules, "angle": config.angles, "strength": config.strengths}
    tilts: dict[str, Any] = {"angle": config.angles, "strength": config.strengths}

    def point(key: Key) -> dict[str, Any]:
        draw = pretrained.place(key)
        feature_key, walk_key, stranger_key, sample_key = jax.random.split(key, 4)
        base = pretrained.base(draw)
        both = [base]
        if rules == RULES:
            both.append(bases.with_gate_table(base, pretrained.world_at(draw)))
        reward = jnp.stack([paid.at_angle(a, base, jax.random.clone(feature_key), draw) for a in config.angles])
        walk = {"time": config.pace * settings.Gradients.vanilla_time, "step": config.pace * config.vanilla_step}
        paths, limits = hull_choices.paths(walk_key, both, reward, jnp.asarray(config.strengths), **walk)
        budgets, laws = hull_choices.by_divergence(base, paths, reward, FOREVER)
        common, words = hull_choices.with_common_odds(feature_key, base, paths, jnp.asarray(config.strengths))
        one_mix, information = hull_choices.base_as_one_mix(base)
        around = persona_choices.personas(jax.random.clone(stranger_key), base)
        stranger = persona_choices.stranger(stranger_key, base)
        for share in config.shares:
            around[f"blurred {share:g}"] = persona_choices.blurred(base.log_personas, stranger, share)
        choices: dict[str, Any] = {"personas": [*around]}
        given = persona_choices.stacked(around)
        hulls = persona_choices.by_personas(base, given, paths[0])
        policy = hull_choices.tilted(base, reward[1], config.sampled_strength)
        sizes = {"num_samples": config.num_samples, "num_draws": config.num_draws}
        passed = persona_choices.passed(sample_key, base, given, policy, **sizes)
        in_proportion = persona_choices.in_proportion(base)
        return {
            **named(budgets, divergence=divergences, **along),
            **named(laws, divergence=divergences, angle=config.angles),
            "first_order": named(limits[..., 0], rule=rules, angle=config.angles),
            "common_first_order": named(limits[..., 1], rule=rules, angle=config.angles),
            **named(common, **along),
            **words | {"common_words": named(words["common_words"], strength=config.strengths)},
            "one_mix_distance": named(one_mix, "the base's distance from one mix for all prompts", "nats"),
            "information": named(information, "I(prompt; persona) of the base", "nats"),
            **named({f"given_{name}": hulls[name] for name in GIVEN}, **choices, **tilts),
            "misfit": named(hulls["misfit"], **choices),
            "in_proportion": named(
                in_proportion, "the base's distance, a place shared out", "nats", dropped=base.labels.personas
            ),
            "sampled_total": named(base.spent(policy), "drift of the policy that is sampled", "nats"),
            "flagged": named(1 - passed, "share of draws in which the base is flagged", **choices),
        }

    return command.sweep(
        NAME,
        config,
        point,
        {},
        constants=pretrained.recovered(),
        labels={"helpful": pretrained.labels.personas[paid.helpful]},
    )


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
