"""Every rule at equal drift: which leave the hull first, switch persona mid-sentence, or say what no persona says.

The reward is for helpfulness and for words that tell no persona from another, at an angle. Every rule walks from the
same base; its drift budget, reward, entropy, routing and support are read where it has spent the same KL(policy‖base).
The tilt, which pays most at any drift, is what a penalty on KL(policy‖base) aims at. Controls are paid by chance, or
alike for everything. Seeds draw the words and all that is sampled.

On 2 cores the preset quick takes a minute and a half, paper nine.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any
from zlib import crc32

import xarray as xr

from experiments.shared import command, settings, user_code
from experiments.shared.settings import geometric, records
from toypersona.limits import Count, Degrees, Share, at_least, increasing
from toypersona.outputs import named

if TYPE_CHECKING:
    from toypersona.rules.catalogue import Entry
    from toypersona.types import Array, Key

NAME = "rules"
PASSES = (1, 4, 16, 64)
"""k of pass@k."""

NUM_TRIES = 64
"""Responses to each prompt from which pass@k is also estimated, at the end."""

TILTS = (0.0, *geometric(0.001, 100.0, 400))
"""Strengths of the tilt, which pays most at any drift: rewards are held against its own."""


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
    right: Share = 0.05
    """Share of the base's responses that count as right for pass@k: those that pay best."""
    own: tuple[str, ...] = ()
    """Your rules as well, each FILE.py:FUNCTION with FUNCTION(task, ref_params, learning_rate) ->
    toypersona.rules.rule.UpdateRule; the README shows one."""
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
    "quick": Config(seeds=tuple(range(6))),
    "paper": Config(num_steps=1000, num_records=20, rates=(0.1, 0.3, 1.0), seeds=tuple(range(24))),
}


def run(config: Config) -> xr.Dataset:
    """Walk every rule's path and measure along it."""
    import jax
    import jax.numpy as jnp

    from toypersona import rewards, theory
    from toypersona.measures import drift, support
    from toypersona.rules import catalogue, tilting

    rules, own = user_code.rules(config.only, config.own)
    user_code.try_rules(own.values(), config.world, config.options, config.length)
    pretrained, steps = config.pretrained(), records(config.num_steps, config.num_records)
    family = settings.Reward(config, pretrained)
    names, strengths = ["tilt", *rules], geometric(0.03, 30.0, config.num_records)

    def point(key: Key, *, rate: Array) -> dict[str, Any]:
        feature_key, walk_key, _ = jax.random.split(key, 3)
        draw = pretrained.place(key)
        base = pretrained.base(draw)
        reward = family.at_angle(config.angle, base, feature_key, draw)
        right = rewards.best_paid(reward, base.log_base, config.right)
        spent_by_tilts, paid_to_tilts = tilting.frontier(base.log_base, reward, base.log_prompts, jnp.asarray(TILTS))

        def walk(rule: Entry, data_key: Key, step_key: Key) -> Array:
            setup = catalogue.Setup(base, reward, base.log_personas[:, family.helpful], right, data_key)
            size = rule.rate * rate
            return base.follow(rule.make(setup), key=step_key, marks=size * jnp.asarray(steps), max_step=size)

        passes = lambda law: jnp.stack([support.pass_at_k(law, right, base.log_prompts, k) for k in PASSES])  # noqa: E731

        def tried(law: Array, key: Key) -> Array:
            num_right = support.num_correct(key, law, right, NUM_TRIES)
            return jnp.stack([base.rho @ support.pass_at_k_from_samples(num_right, NUM_TRIES, k) for k in PASSES])

        def others(log_policy: Array) -> dict[str, Array]:
            return {
                **support.support(log_policy, base.log_base, base.log_prompts, length=base.length)._asdict(),
                **{"reward": base.mean(log_policy, reward), "passes": passes(log_policy)},
            }

        def measured(path: Array) -> dict[str, Array]:
            spent = base.budget_along(path)
            return {
                **spent._asdict(),
                **jax.lax.map(others, path),
                "routing_information": jax.vmap(drift.routing_information, (0, None))(spent.weights, base.log_prompts),
                "best_reward": jnp.interp(jnp.sqrt(spent.total), jnp.sqrt(spent_by_tilts), paid_to_tilts),
            }

        # Of its name, so that a rule does the same whatever it is compared with.
        own_key = lambda number: jax.random.split(jax.random.fold_in(walk_key, number), 3)  # noqa: E731
        keys = jax.vmap(own_key)(jnp.array([crc32(name.encode()) for name in names], jnp.uint32))
        tilts = jnp.stack([theory.tilt(base.log_base, reward, strength) for strength in strengths])
        paths = [tilts, *(walk(rule, *pair) for rule, pair in zip(rules.values(), keys[1:, :2], strict=True))]
        along = jax.lax.map(measured, jnp.stack(paths))
        along["passes"] = named(along["passes"], "pass@k", k=PASSES)
        along["weights"] = named(along["weights"], prompt=None, persona=base.labels.personas)
        along["best_reward"] = named(along["best_reward"], "mean reward of the tilt of the same drift")
        tries = jax.vmap(tried)(jnp.stack([path[-1] for path in paths]), keys[:, 2])
        return {
            **named(along, rule=names, record=steps),
            "base_passes": named(passes(base.log_base), "pass@k of the base", k=PASSES),
            "tried": named(tries, f"pass@k from {NUM_TRIES} samples", rule=names, k=PASSES),
        }

    labels = {"controls": catalogue.CONTROLS, "num_tries": NUM_TRIES, "own": [*own]}
    labels["rules"] = catalogue.described(rules)
    return command.sweep(NAME, config, point, {"rate": config.rates}, constants=pretrained.recovered(), labels=labels)


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
