"""Every rule at equal drift: which leave the hull first, switch persona mid-sentence, or say what no persona says.

The reward is for helpfulness and for words that tell no persona from another, at an angle. Every rule walks from the
same base; its drift budget, reward, entropy, routing and support are read where it has spent the same KL(policy‖base).
The tilt, which pays most at any drift, is what a penalty on KL(policy‖base) aims at. Controls are paid by chance, or
alike for everything. Seeds draw text and fit, the words and all that is sampled.

On 2 cores the preset quick takes two minutes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from experiments.shared import command, settings, user_code
from experiments.shared.settings import records
from toypersona.limits import Count, Degrees, Share, at_least, increasing
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.types import Array, Key

NAME = "rules"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.RewardSettings):
    """Settings of the comparison."""

    angle: Degrees = 45.0
    """Degrees between the reward and the personas."""
    num_steps: Count = 300
    """Steps of every rule."""
    num_records: Annotated[int, at_least(2)] = 10
    """Records on the way, at geometrically spaced steps."""
    rates: Annotated[tuple[float, ...], increasing(1)] = (0.2, 1.0)
    """Factors on every rule's learning rate; increasing."""
    drifts: Annotated[tuple[float, ...], increasing(1)] = (0.1, 0.3, 0.9)
    """Nats of KL(policy‖base) at which rules are compared; increasing."""
    paid: Annotated[tuple[float, ...], increasing(1)] = (0.5, 1.0)
    """Mean rewards, in standard deviations under the base, at which they are compared too; increasing."""
    right: Share = 0.05
    """Share of the base's responses that count as right for pass@k: those that pay best."""
    own: tuple[str, ...] = ()
    """Your rules as well, each FILE.py:FUNCTION with FUNCTION(task, ref_params, learning_rate) ->
    toypersona.rules.rule.UpdateRule; examples/own.py has one."""
    only: tuple[str, ...] = ()
    """Only these rules, by the names that the table has, such as RLOO "DPO, β = 0.1"; all of them if none is named."""

    def check(self) -> None:
        """Refuse too few draws to compare, and more records than steps."""
        super().check()
        for name in self.own:
            user_code.imported("own", name)
        if len(self.seeds) < 3:
            raise ValueError("--seeds has to be three or more: rules are compared by their spread.")
        if (steps := self.num_steps) < (least := self.num_records):
            raise ValueError(f"--num-steps has to be at least as many as --num-records, {least}, not {steps}.")


PRESETS = {
    "quick": Config(rates=(0.7,), seeds=tuple(range(10))),
    "paper": Config(num_steps=1000, num_records=20, rates=(0.1, 0.3, 1.0), seeds=tuple(range(24))),
}


def run(config: Config) -> xr.Dataset:
    """Walk every rule's path and measure along it.

    With a mixture's gate as it was fitted and, if that reads, as a table; a transformer has none and stands alone.
    """
    import jax
    import jax.numpy as jnp

    from toypersona import bases, comparison, rewards
    from toypersona.rules import catalogue

    rules, own = user_code.rules(config.only, config.own, config.policy)
    user_code.try_rules(own.values(), config.world, config.options, config.length)
    pretrained, steps = config.pretrained(), records(config.num_steps, config.num_records)
    family = settings.Reward(config, pretrained)
    names, fitted = [comparison.TILT, *rules], config.pretraining.fitting(config.world).gate
    gates = tuple(dict.fromkeys((fitted, "table"))) if config.policy == "mixture" else (config.policy,)

    def point(key: Key, *, rate: Array) -> dict[str, Any]:
        feature_key, walk_key, _ = jax.random.split(key, 3)
        draw = pretrained.place(key)
        base = pretrained.base(draw)
        reward = family.at_angle(config.angle, base, feature_key, draw)
        right = rewards.best_paid(reward, base.log_base, config.right)
        start = catalogue.Setup(base, reward, base.log_personas[:, family.helpful], right, walk_key)
        starts = [start]
        if len(gates) > 1:
            starts.append(start._replace(base=bases.with_gate_table(base, pretrained.world_at(draw))))
        each = [
            comparison.along(one, rules, jax.random.clone(walk_key), rate=config.pace * rate, steps=steps)
            for one in starts
        ]
        along = jax.tree.map(lambda *x: jnp.stack(x), *each)
        tried = named(along.pop("tried"), f"pass@k from {comparison.NUM_TRIES} samples", k=comparison.PASSES)
        along["passes"] = named(along["passes"], "pass@k", k=comparison.PASSES)
        along["weights"] = named(along["weights"], prompt=None, persona=base.labels.personas)
        along["best_reward"] = named(along["best_reward"], "mean reward of the tilt of the same drift")
        passes = comparison.passes(start, base.log_base)
        return {
            **named(along, gate=gates, rule=names, record=steps),
            "base_passes": named(passes, "pass@k of the base", k=comparison.PASSES),
            "tried": named(tried, gate=gates, rule=names),
        }

    labels = {"controls": catalogue.CONTROLS, "num_tries": comparison.NUM_TRIES, "own": [*own]}
    labels["rules"] = catalogue.described(rules)
    return command.sweep(NAME, config, point, {"rate": config.rates}, constants=pretrained.recovered(), labels=labels)


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
