"""Would one know? How often detectors alarm, outside the hull and on as much drift inside it.

RL by policy gradient takes a mixture and a transformer along several rewards. At some drifts it is watched by samples:
by e-values, which no mix of personas makes alarm more often than their level, by distances, by a classifier, and by
what people watch, perplexity, entropy and activations. A mix of personas that drifted as far, at each prompt toward
whom the base resembles least, is watched likewise. Predicted: the e-value's power, by its normal law, and after how
many samples the e-process stops. Seeds draw the world, if it is random, the text, the fit, the rewards and all samples.

On 2 cores the preset quick takes three minutes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Annotated, Any

from experiments.shared import command, parts, settings
from toypersona.limits import Angles, Count, Grid, Limit, Positive, Share, increasing, within
from toypersona.outputs import named

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    from toypersona.artefacts import ByKey
    from toypersona.bases import Base
    from toypersona.types import Array, Key

NAME = "detectors"
POLICIES = ("mixture", "transformer")
CASE = ("total", "hull_distance", "inside_total", "certified")

Samples = Annotated[
    tuple[int, ...],
    Limit("increasing multiples of 4", lambda nums: increasing(1).holds(nums) and all(num % 4 == 0 for num in nums)),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.RewardSettings):
    """Settings of the detectors."""

    policy: Annotated[str, Limit("both", lambda policy: policy == "both")] = "both"
    """both: a mixture and a transformer."""
    angles: Angles = (0.0, 45.0, 90.0)
    """Degrees between the reward and the personas."""
    drifts: Grid = (0.1, 0.3, 0.8)
    """Nats of KL(policy‖base) near which policies are watched; increasing."""
    step: Positive = 0.1
    """Length of a step of RL, sqrt(2 KL)."""
    num_steps: Count = 24
    """Steps."""
    samples: Samples = (4, 16, 64, 256)
    """Samples of the policy to each prompt."""
    alpha: Share = 0.05
    """Level: false alarms that are allowed."""
    num_runs: Annotated[int, within(20, 100_000)] = 100
    """Data sets of every policy and every mix."""
    stop_alpha: Share = 1e-6
    """Level at which e-processes stop; a small one, so that the last sample hardly counts."""
    longest: Count = 4000
    """Samples after which an e-process is given up."""

    def check(self) -> None:
        """Refuse a level that so few data sets cannot show."""
        super().check()
        if self.alpha * self.num_runs < 1:
            raise ValueError(
                f"--num-runs {self.num_runs} cannot show a level of {self.alpha:g}: use more, or raise it."
            )


PRESETS = {
    "quick": Config(seeds=tuple(range(5))),
    "paper": Config(seeds=tuple(range(8)), samples=(4, 16, 64, 256, 500), num_runs=400, angles=(0.0, 30.0, 60.0, 90.0)),
}


def run(config: Config) -> xr.Dataset:
    """Train, and watch."""
    import jax
    import jax.numpy as jnp

    from toypersona import alarms, artefacts

    fits = [dataclasses.replace(config, policy=kind).pretrained() for kind in POLICIES]
    reward = settings.Reward(config, fits[0])
    template, walk = fits[0].base(0), {"step": config.step, "num_steps": config.num_steps}
    axes = len(POLICIES), len(config.angles), len(config.drifts)

    def cases(key: Key, place: Array, *drawn: tuple) -> alarms.Case:
        """Every kind of policy, angle and drift of a seed, in this order [L]."""

        def along(base: Base, angle: Array) -> alarms.Case:
            paid = reward.at_angle(angle, base, jax.random.clone(key), place)
            return alarms.cases(base, paid, drifts=jnp.asarray(config.drifts), **walk)

        bases = [fit.holding(one).base(0) for fit, one in zip(fits, drawn, strict=True)]
        each = [jax.lax.map(functools.partial(along, base), jnp.asarray(config.angles)) for base in bases]
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), artefacts.stacked(each))

    def watched(watch: Callable, number: int) -> ByKey:
        """Of each case of a seed, by keys of their own."""

        def every(key: Key, prompts: tuple[Array, Array], case: alarms.Case) -> Any:
            base = template._replace(prompts=prompts[0], log_prompts=prompts[1])
            keys = jax.random.split(jax.random.fold_in(key, number), math.prod(axes))
            return jax.lax.map(lambda one: watch(one[0], base, one[1], num_runs=config.num_runs), (keys, case))

        return parts.computed(config.seeds, every, calls)

    config.say("Training and watching every seed, unless .cache/parts has it ...")
    places = range(len(config.seeds))
    made = parts.computed(config.seeds, cases, [(jnp.asarray(i), *(fit.drawn(i) for fit in fits)) for i in places])
    worlds = [fits[0].world_at(i) for i in places]
    at = lambda i: jax.tree.map(lambda x: x[i], made.results)  # noqa: E731
    calls = [((world.prompts, world.log_prompts), at(i)) for i, world in enumerate(worlds)]
    stop = functools.partial(alarms.stopping_times, longest=config.longest, alpha=config.stop_alpha)
    stopped = watched(stop, 0)
    rates = [
        watched(functools.partial(alarms.rates, num=num, alpha=config.alpha), 1 + i)
        for i, num in enumerate(config.samples)
    ]

    def point(key: Key) -> dict[str, Any]:
        (times, growth, free), found = stopped.at(key), artefacts.stacked([each.at(key) for each in rates])
        measured = {name: getattr(made.at(key), name) for name in CASE} | {"growth": growth, "free_weights": free}
        measured |= {"stopped": jnp.minimum(times, config.longest).mean(axis=1)}
        rewarded: dict[str, Any] = {"angle": config.angles, "aim": config.drifts}
        by_case = {name: value.reshape(axes) for name, value in measured.items()}
        outputs = named(by_case, kind=POLICIES, **rewarded)
        for name, share in found._asdict().items():
            each, by_num = share.reshape(len(rates), *axes, -1), {"samples": config.samples}
            kinds = {**by_num, "kind": POLICIES, **rewarded, "detector": alarms.DETECTORS[:-1]}
            outputs |= named({name: each[..., :-1]}, **kinds)
            # A mixture has no activations.
            outputs |= named({f"activations_{name}": each[:, -1, ..., -1]}, **by_num, **rewarded)
        return outputs

    labels = {"num_prompts": len(worlds[0].log_gates), "num_personas": worlds[0].log_gates.shape[1]}
    return command.sweep(NAME, config, point, {}, labels=labels)


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
