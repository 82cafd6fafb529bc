"""L5: how long RL takes to find a rare right answer, which right answer survives, and when noise picks a wrong one.

Softmax over answers, one reward. Vanilla policy gradient needs a time of 1/p0, natural gradient ln(1/p0); with several
right answers the first keeps the likeliest alone, the second all in proportion; KL(policy‖base) stays bounded while
KL(base‖policy) grows. REINFORCE at growing learning rate, with a
baseline and without, settles on the worse of two answers. Seeds draw the answers'
probabilities and the samples.

On 2 cores the preset quick takes a minute and a half.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from experiments.shared import command, settings
from experiments.shared.settings import geometric
from toypersona.limits import Count, Grid, Limit, Masses, Positive, increasing
from toypersona.options import Size
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.types import Array, Key

NAME = "leash"
RIGHT = (0.03, 0.02, 0.01)
"""Base probabilities of the right answers, before each seed draws its own near them."""


Gaps = Annotated[tuple[float, ...], increasing(3), Limit("below 2", lambda gaps: gaps[-1] < 2)]


@dataclasses.dataclass(frozen=True)
class LockIn:
    """REINFORCE between two answers that pay 1 + gap/2 and 1 - gap/2 on average."""

    gaps: Gaps = (0.05, 0.1, 0.2, 0.4)
    """Differences of the rewards; increasing."""
    rates: Grid = geometric(0.35, 5.6, 9)
    """Learning rates, in units of the law's noise threshold; increasing."""
    deviation: Positive = 0.5
    """Standard deviation of each answer's reward."""
    num_runs: settings.Runs = 400
    """Independent runs at each, in every seed."""
    max_steps: Count = 40_000
    """A run that has not settled by then is counted as neither."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.Settings):
    """Settings of the leash."""

    masses: Masses = (1e-4, 1e-3, 1e-2, 1e-1)
    """p0, the right answer's probability under the base; increasing."""
    num_others: Size = 15
    """Equally likely wrong answers."""
    fractions: Grid = tuple(np.linspace(0.1, 1.5, 29).round(3).tolist())
    """Times, in units of the law's time to one half; increasing."""
    times: Grid = geometric(1.0, 10_000.0, 33)
    """Learning rate times steps at which vanilla gradient's right answers are compared; increasing."""
    natural_times: Grid = geometric(0.1, 30.0, 33)
    """The same for natural gradient, as many; later on wrong answers are too unlikely to be told from impossible."""
    max_step: Positive = 0.2
    """Longest step (learning rate) of the exact gradients."""
    lock_in: LockIn = LockIn()
    """The sampled rule."""

    def check(self) -> None:
        """Refuse times that cannot stand side by side, and walks that would never end."""
        slowest = self.fractions[-1] / self.masses[0]
        settings.check_steps("max-step", self.max_step, max(self.times[-1], self.natural_times[-1], slowest))
        if len(self.times) != len(self.natural_times):
            raise ValueError("--times and --natural-times have to be equally many.")


PRESETS = {
    "quick": Config(seeds=tuple(range(6))),
    "paper": Config(
        masses=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        times=geometric(1.0, 100_000.0, 41),
        natural_times=geometric(0.1, 30.0, 41),
        seeds=tuple(range(8)),
        lock_in=LockIn(gaps=(0.025, 0.05, 0.1, 0.2, 0.4), num_runs=1000, max_steps=200_000),
    ),
}


def run(config: Config) -> xr.Dataset:
    """Find, choose and lock in."""
    import jax
    import jax.numpy as jnp

    from toypersona import lock_in, right_answers

    masses, fractions, num = jnp.asarray(config.masses), jnp.asarray(config.fractions), len(RIGHT)
    times, noise = jnp.array([config.times, config.natural_times]), config.lock_in
    gaps, rates = jnp.asarray(noise.gaps), jnp.asarray(noise.rates)
    sizes = {"deviation": noise.deviation, "num_runs": noise.num_runs, "max_steps": noise.max_steps}

    def discovery(rule: str) -> tuple[Array, Array]:
        rest = config.num_others, fractions, config.max_step
        return jax.lax.map(lambda mass: right_answers.discovery(rule, mass, *rest), masses)

    def point(key: Key) -> dict[str, Any]:
        choice_key, noise_key = jax.random.split(key)
        base = jnp.sort(jnp.asarray(RIGHT) * jnp.exp(0.1 * jax.random.normal(choice_key, (num,))), descending=True)
        others = jnp.full(config.num_others, (1 - base.sum()) / config.num_others)
        log_base = jnp.log(jnp.concatenate([base, others]))

        def survival(rule: str, times: Array) -> dict[str, Array]:
            return right_answers.survival(rule, log_base, num, times, config.max_step) | {"time": times}

        rules = right_answers.GRADIENTS
        found, law_time = jax.tree.map(lambda *x: jnp.stack(x), *map(discovery, rules))
        survivors = jax.tree.map(lambda *x: jnp.stack(x), *map(survival, rules, times))
        runs = lock_in.two_answers(noise_key, gaps, rates, **sizes)
        return {
            "found": named(found, rule=rules, mass=config.masses, fraction=config.fractions),
            "law_time": named(law_time, rule=rules, mass=config.masses),
            **named(survivors, rule=rules, record=None),
            "limit_from_base": named(jnp.array([-log_base[0], -jnp.log(base.sum())]), rule=rules),
            "threshold": named(runs.pop("threshold"), baseline=lock_in.BASELINES, gap=noise.gaps),
            **named(runs, baseline=lock_in.BASELINES, gap=noise.gaps, rate=noise.rates),
        }

    return command.sweep(NAME, config, point, {})


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
