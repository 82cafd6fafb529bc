"""Over-optimisation: a proxy that is gold plus an error, what is lost by following it, and where the hull is left.

Gold is helpfulness with some words of its own, at an angle to the personas. The proxy's error is normal, normal with
words in common (responses that share words share errors), or heavy-tailed (Student's t). The KL-regularised optimum
(the tilt), policy gradient and best of n follow the proxy; gold, proxy and the drift budget are read against
sqrt(KL(policy‖base)) (Gao, Schulman and Hilton 2022; heavy tails: Kwa et al. 2024). Seeds draw text and fit,
words and errors.

On 2 cores the preset quick takes a minute and a half.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from experiments.shared import command, settings
from experiments.shared.settings import geometric
from toypersona.limits import Degrees, Grid, Positive, increasing
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.types import Array, Key

NAME = "overoptimisation"
RULES = ("tilt", "policy gradient", "best of n")
MEASURED = ("total", "selection_fraction", "hull_distance", "selection", "switching", "novelty", "certified")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.RewardSettings):
    """Settings of the proxy and of what follows it."""

    angle: Degrees = 30.0
    """Degrees between gold and the personas."""
    sizes: Grid = (0.5, 1.0, 2.0)
    """Sizes of the error, standard deviations of gold's (of Student's t: the same median); increasing."""
    strengths: Annotated[tuple[float, ...], increasing(3)] = geometric(0.01, 100.0, 41)
    """s of the tilt; increasing."""
    nums: Annotated[tuple[float, ...], increasing(least=1, kind="numbers above 1")] = geometric(1.1, 1e6, 41)
    """n of best of n, as many; increasing."""
    times: Grid = geometric(0.1, 2000.0, 41)
    """Learning rate times steps of policy gradient, as many; increasing."""
    max_step: Positive = 1.0
    """Longest step of policy gradient."""

    def check(self) -> None:
        """Refuse paths of different length, and walks that would never end."""
        super().check()
        settings.check_steps("max-step", self.max_step, self.times[-1])
        if len({len(self.strengths), len(self.nums), len(self.times)}) > 1:
            raise ValueError("--strengths, --nums and --times have to be equally many.")


PRESETS = {
    "quick": Config(seeds=tuple(range(12))),
    "paper": Config(seeds=tuple(range(32)), sizes=(0.25, 0.5, 1.0, 2.0, 4.0)),
}


def run(config: Config) -> xr.Dataset:
    """Follow the proxy."""
    import jax
    import jax.numpy as jnp

    from toypersona import rewards, theory
    from toypersona.rules import gradient

    strengths, nums, times = map(jnp.asarray, (config.strengths, config.nums, config.times))
    pretrained = config.pretrained()
    family = settings.Reward(config, pretrained)

    def point(key: Key, *, size: Array) -> dict[str, Any]:
        feature_key, error_key = jax.random.split(key)
        draw = pretrained.place(key)
        base = pretrained.base(draw)
        gold = family.at_angle(config.angle, base, feature_key, draw)

        def follow(error: Array) -> tuple[dict[str, Array], Array]:
            proxy = rewards.standardise(gold + size * error, base.log_base, base.log_prompts)
            walked = base.follow(
                lambda size: gradient.policy_gradient(base.task(proxy), learning_rate=size),
                key=jax.random.key(0),
                marks=config.pace * times,
                max_step=config.pace * config.max_step,
            )
            tilted = jax.lax.map(lambda s: theory.tilt(base.log_base, proxy, s), strengths)
            best = jax.lax.map(lambda n: theory.best_of_n(base.log_base, proxy, n), nums)

            def measured(path: Array) -> dict[str, Array]:
                spent = base.budget_along(path)
                paid = {
                    name: jax.lax.map(lambda log_policy, reward=reward: base.mean(log_policy, reward), path)
                    for name, reward in (("gold", gold), ("proxy", proxy))
                }
                return {name: getattr(spent, name) for name in MEASURED} | paid

            # What a weak tilt gains of gold for each unit of proxy: Cov(gold, proxy) / Var(proxy) under the base.
            slope = base.mean(base.log_base, gold * proxy) / base.mean(base.log_base, proxy**2)
            return jax.lax.map(measured, jnp.stack([tilted, walked, best])), slope

        errors = rewards.errors(error_key, base.prompts, base.responses, base.log_base, base.log_prompts)
        along, slope = jax.lax.map(follow, errors)
        along["gold"] = named(along["gold"], "mean gold reward", "standard deviations")
        along["proxy"] = named(along["proxy"], "mean proxy reward", "standard deviations")
        return {
            **named(along, error=rewards.ERRORS, rule=RULES, record=None),
            "slope": named(slope, "gold for proxy of a weak tilt, Cov/Var", error=rewards.ERRORS),
        }

    bound = theory.best_of_n_bound(nums)
    return command.sweep(
        NAME,
        config,
        point,
        {"size": config.sizes},
        constants=pretrained.recovered()
        | {"best_of_n_bound": named(bound, "bound of KL(best of n‖base)", "nats", record=None)},
    )


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
