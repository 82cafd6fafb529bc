"""Thinking aloud under RL: when thoughts stop being readable, and what keeps them readable.

The answer is the parity of some bits, the thoughts are the only memory; a right answer is paid for, the length of the
thoughts costs. At every strength of RL (1/beta of the KL penalty) and every length cost: how much of the answer the
reader (the pretrained model) gets from the thoughts, how much it would get if it knew how sure to be, how much is in
codes, and how much is keyed by who speaks. Exact gradients from the base and from strength to strength, sampled rules,
and defences. Seeds draw the text, the fit and all that is sampled.

On 2 cores the preset quick takes two minutes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from experiments.shared import command, settings
from experiments.shared.settings import geometric
from toypersona.limits import FromZero, Grid, Limit, within
from toypersona.options import LongThoughts, ReasoningOptions, Training
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr
    from jaxtyping import Array

    from toypersona.bases import Base
    from toypersona.types import Key, Params, RewardFn

NAME = "reasoning"
NUM_LINES = 4
"""Responses of every policy kept at every point, to the same prompts with the same draws."""

OtherBits = Annotated[
    tuple[int, ...],
    Limit("different numbers from 1 to 4", lambda bits: len(set(bits)) == len(bits) and set(bits) <= {1, 2, 3, 4}),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.ThinkerSettings):
    """Settings of the map."""

    num_bits: Annotated[int, within(1, 4)] = 3
    """n: bits and thoughts; so few that responses can be listed."""
    worth: Annotated[float, within(0.5, 1.0)] = ReasoningOptions().worth
    """Probability with which everybody takes Larry's cheap words at their word; ``codes`` sweeps it."""
    other_bits: OtherBits = (2,)
    """Also these, by the exact gradient."""
    strengths: Grid = (1.0, 4.0, 16.0, 64.0, 256.0)
    """1/beta; increasing."""
    length_costs: FromZero = (0.0, 0.1, 0.4)
    """What a thought of length 1 costs, averaged over thoughts; a right answer pays 1. From 0, increasing."""
    long: LongThoughts = LongThoughts()
    """Rows of bits too long to be listed."""

    def check(self) -> None:
        """Refuse a number of bits that is asked for twice."""
        super().check()
        if self.num_bits in self.other_bits:
            raise ValueError(f"--other-bits have to be others than --num-bits, {self.num_bits}.")


PRESETS = {
    "quick": Config(training=Training(num_steps=1200)),
    "paper": Config(
        seeds=tuple(range(6)),
        strengths=geometric(1.0, 256.0, 9),
        length_costs=(0.0, 0.05, 0.1, 0.4),
        training=Training(num_steps=2000, num_samples=16),
    ),
}


def run(config: Config) -> xr.Dataset:
    """Train by every rule, with every defence, at every strength and length cost, and measure."""
    import jax
    import jax.numpy as jnp

    from toypersona import codes, defences, thinkers
    from toypersona.worlds import reasoning

    options = ReasoningOptions(num_bits=config.num_bits, worth=config.worth)
    labels, fits, strengths = reasoning.reasoning(options)[1], config.fits(options), jnp.asarray(config.strengths)
    rules = defences.RULES | defences.DEFENCES
    names = [*rules, *(f"exact, {num_bits} bits" for num_bits in config.other_bits)]

    def point(key: Key, *, length_cost: Array) -> dict[str, Any]:
        fit_key, walk_key, line_key, long_key = jax.random.split(key, 4)
        main_key, *other_keys = jax.random.split(walk_key, 1 + len(config.other_bits))
        params, recovery = fits.at(fit_key)
        paid = reasoning.parity_reward(labels, length_cost), config.training, strengths

        def measured(base: Base, paths: list[Params]) -> dict[str, Array]:
            along = lambda path: thinkers.along(lambda params: thinkers.measured(base, params), path)  # noqa: E731
            return jax.lax.map(along, jax.tree.map(lambda *x: jnp.stack(x), *paths))

        base = thinkers.base(options, params)
        keys = jax.random.split(main_key, len(rules))
        paths = [train(base, *paid, k) for train, k in zip(rules.values(), keys, strict=True)]
        each = [measured(base, paths)]
        for num_bits, k in zip(config.other_bits, other_keys, strict=True):
            other = thinkers.base(dataclasses.replace(options, num_bits=num_bits), params)
            each.append(measured(other, [rules["exact"](other, *paid, k)]))
        lines = thinkers.told(base, paths, line_key, NUM_LINES)
        long = _long(config, params, paid[0], long_key)
        return {
            **named(jax.tree.map(lambda *x: jnp.concatenate(x), *each), rule=names, strength=config.strengths),
            **{f"base_{name}": value for name, value in thinkers.measured(base, params).items()},
            **named(codes.read_off(base, codes.CODES), convention=[code.name for code in codes.CODES]),
            "expert_divergence": named(recovery.expert_divergence, persona=labels.personas),
            **named(lines, speaker=list(rules), strength=config.strengths),
            **named({f"long_{name}": value for name, value in long.items()}, strength=config.strengths),
        }

    sets = {"rules": list(defences.RULES), "defences": list(defences.DEFENCES), "phases": thinkers.PHASES}
    return command.sweep(
        NAME, config, point, {"length_cost": config.length_costs}, labels={"units": labels.units, **sets}
    )


def _long(config: Config, params: Params, reward: RewardFn, key: Key) -> dict[str, Array]:
    """RLOO on long rows of bits, at every strength."""
    import jax
    import jax.numpy as jnp

    from toypersona import defences, thinkers

    row_key, walk_key, draw_key = jax.random.split(key, 3)
    rows = ReasoningOptions(num_bits=config.long.num_bits, num_rows=config.long.num_rows, worth=config.worth)
    base = thinkers.base(rows, params, row_key)
    paths = defences.RULES["RLOO"](base, reward, config.training, jnp.asarray(config.strengths), walk_key)
    counts = {"num_samples": config.long.num_measured, "num_thoughts": config.long.num_thoughts}
    # The same draws at every strength, on purpose.
    return thinkers.along(lambda at: thinkers.estimated(base, at, jax.random.clone(draw_key), **counts), paths)


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
