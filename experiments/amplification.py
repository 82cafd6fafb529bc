"""Entropy under RL, and one pretraining mode amplified until it is the only one.

How fast entropy changes under every exact rule against its covariance formula, for rewards under which it falls and
under which it rises (what is rare pays more). Then all personas but one are right and paid alike: which of them is left
when gates are trained, by exact and sampled rules? Seeds draw text and fit,
rewards and runs.

On 2 cores the preset quick takes a minute and a half.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from experiments.shared import both_gates, command, settings
from toypersona.limits import Count, Positive, at_least
from toypersona.outputs import named
from toypersona.worlds import names

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.types import Array, Key

NAME = "amplification"
PAID = ("helpfulness", "words", "what is likely", "what is rare")
LIKELIEST = "share of the right persona that is likeliest in the base"
LONG_NAMES = {
    "share": LIKELIEST,
    "largest": "largest share of a right persona",
    "right": "weight of the right personas",
    "won": "runs in which the likeliest has more than half",
    "law": f"{LIKELIEST}, by the conservation law",
    "natural_law": f"{LIKELIEST}, by natural gradient",
    "base_share": f"{LIKELIEST}, there",
    "mistaken": "how often one persona is taken for another",
}
ANGLE = 45.0
"""Degrees between the personas and the reward for words."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.RewardSettings):
    """Settings of both parts."""

    wrong: str | None = None
    """Who is not paid among several right ones; the first persona unless named."""
    num_steps: Count = 1000
    """Steps of every rule on the gates."""
    num_records: Annotated[int, at_least(2)] = 16
    """Records on the way, geometrically spaced."""
    num_runs: settings.Runs = 16
    """Independent runs of every sampled rule, in every seed."""
    natural_rate: Positive = 0.05
    """Learning rate of natural gradient."""

    def check(self) -> None:
        """Refuse more records than steps, a single seed, and fewer than three personas."""
        super().check()
        both_gates.check_mixture(self, "Right personas compete here for the gates of a mixture")
        self.persona("wrong", 0)
        if len(names.personas(self.world, self.options)) < 3:
            raise ValueError("Several right personas and a wrong one make three: give a world of three or more.")
        if self.num_records > self.num_steps:
            raise ValueError(f"--num-steps has to be --num-records or more, not {self.num_steps}.")
        if len(self.seeds) < 2:
            raise ValueError("--seeds has to be two or more: what is sampled is compared by its spread.")


PRESETS = {"quick": Config(seeds=tuple(range(4))), "paper": Config(seeds=tuple(range(8)), num_runs=32, num_steps=2000)}


def run(config: Config) -> xr.Dataset:
    """Measure entropy's first change, and let the right personas compete."""
    import jax
    import jax.numpy as jnp

    from toypersona import bases, competition, first_order, rewards
    from toypersona.rules import catalogue

    pretrained = config.pretrained()
    wrong = config.persona("wrong", 0)
    words = settings.Reward(config, pretrained)
    steps = settings.records(config.num_steps, config.num_records)

    def point(key: Key) -> dict[str, Any]:
        feature_key, compete_key = jax.random.split(key)
        draw = pretrained.place(key)
        base = pretrained.base(draw)
        helpful = jax.nn.one_hot(words.helpful, base.num_personas)
        paid = (
            rewards.persona_affine(base.log_gates, base.log_personas, helpful),
            words.at_angle(ANGLE, base, feature_key, draw),
            base.log_base,
            -base.log_base,
        )
        change, formula = jax.lax.map(lambda reward: first_order.entropy_changes(base, reward), jnp.stack(paid))
        directions = {"paid": PAID, "direction": catalogue.strength_rules(base.speakers.scopes)}
        table = bases.with_gate_table(base, pretrained.world_at(draw))
        sizes = {"natural_rate": config.natural_rate, "num_runs": config.num_runs}
        return {
            "change": named(change, "entropy's change", "nats/√nat", **directions),
            "formula": named(formula, "−Cov(log π, d)", "nats/√nat", **directions),
            **_named(competition.compete(compete_key, table, wrong, steps, **sizes), steps),
        }

    return command.sweep(
        NAME,
        config,
        point,
        {},
        constants=pretrained.recovered(),
        labels={"wrong": pretrained.labels.personas[wrong]},
    )


def _named(shares: dict[str, Array], steps: np.ndarray) -> dict[str, Any]:
    """What ``competition.compete`` returns, with its names."""
    from toypersona.competition import RULES

    def of(*names: str) -> dict[str, Any]:
        return {name: named(shares[name], LONG_NAMES[name]) for name in names}

    return {
        **named(of("share"), rule=RULES, record=steps, prompt=None),
        **named(of("largest", "right"), rule=RULES, record=steps),
        **named(of("won"), rule=RULES, prompt=None),
        **named(of("law", "natural_law"), record=steps, prompt=None),
        **named(of("base_share"), prompt=None),
        **of("mistaken"),
    }


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
