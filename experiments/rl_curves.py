"""Reading your own RL curves: the loudest questions in trainers' issue trackers, each in a twin where all is exact.

Why the logged KL is negative; why entropy rises; k1, k2 and k3 in value and in gradient, of tokens and of responses; KL
in the reward or in the loss; reward that is flat while KL grows; and what the drift budget adds: the same KL can be
selection or novelty. Seeds draw text and fit, rewards, engines' errors and samples.

On 2 cores the preset quick takes three quarters of a minute, most of it compiling.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from experiments.shared import both_gates, command, settings
from experiments.shared.settings import records
from toypersona.limits import Angles, Count, Degrees, Grid, Share, at_least, increasing
from toypersona.outputs import named
from toypersona.transcripts import END

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.bases import Base
    from toypersona.types import Array, Key

NAME = "rl_curves"
PAID = ("right or wrong", "graded")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.RewardSettings):
    """Settings of all six."""

    angle: Degrees = 45.0
    """Degrees between the personas and the graded reward."""
    times: Annotated[tuple[float, ...], increasing(3)] = (0.5, 2.0, 8.0, 32.0)
    """Learning rate times steps where exact policy gradient is recorded; samplers are those of the last."""
    sizes: tuple[Count, ...] = (4, 16, 64)
    """Responses of the batches over which KL is averaged."""
    num_batches: settings.Runs = 4000
    """Batches drawn of each size."""
    betas: Grid = (0.1, 0.3, 1.0)
    """Coefficients of KL in the reward and in the loss."""
    right: Share = 0.1
    """Share of the base's responses that are right: those that pay best."""
    num_steps: Count = 600
    """Steps of every rule that is paid for right answers."""
    num_records: Annotated[int, at_least(4)] = 10
    """Records on the way, at geometrically spaced steps."""
    angles: Angles = (0.0, 30.0, 60.0, 90.0)
    """Of the rewards whose tilts spend the same drift."""
    drifts: Grid = (0.25, 1.0)
    """Nats that these spend."""

    def check(self) -> None:
        """Refuse more records than steps, and a network, whose every response has a gradient too long to write out."""
        super().check()
        both_gates.check_mixture(self, "The gradient of every response is written out here")
        if self.num_records > self.num_steps:
            raise ValueError(f"--num-steps has to be --num-records or more, not {self.num_steps}.")
        if len(self.seeds) < 2:
            raise ValueError("--seeds has to be two or more: what is sampled is compared by its spread.")


PRESETS = {"quick": Config(seeds=tuple(range(6))), "paper": Config(seeds=tuple(range(12)), num_steps=2000)}


def run(config: Config) -> xr.Dataset:
    """Log, differentiate, and follow."""
    import jax
    import jax.numpy as jnp

    from toypersona import kl_estimators, leashes, rewards, rl_curves
    from toypersona.rules import catalogue

    pretrained = config.pretrained()
    family = settings.Reward(config, pretrained)
    units, names = pretrained.labels.units, pretrained.labels.personas
    end = units.index(END) if END in units else None
    steps = records(config.num_steps, config.num_records)
    times, betas, drifts = (jnp.asarray(x) for x in (config.times, config.betas, config.drifts))

    def read(key: Key, base: Base, reward: Array) -> dict[str, Any]:
        engine_key, batch_key = jax.random.split(key)
        path = rl_curves.walk(base, reward, times)
        laws = jax.lax.map(base.law, path)
        seen = rl_curves.logs(engine_key, base, path, laws, end)
        tokens = seen.pop("negative_tokens")
        apart = {name: seen.pop(name) for name in ("sampler_from_base", "sampler_from_policy")}
        who = {"time": config.times, "sampler": rl_curves.sampler_names(end)}
        below = rl_curves.negatives(batch_key, base, laws, config.sizes, config.num_batches)
        pulls, way = rl_curves.pulls(base, path), {"time": config.times, "way": [*kl_estimators.WAYS]}
        by_target = {name: pulls.pop(name) for name in ("pull_cosine", "pull_missed")}
        by = {"estimator": [*kl_estimators.ESTIMATORS], "level": kl_estimators.LEVELS}
        return {
            **named(seen, **who, **by),
            **named(apart, **who),
            "negative_tokens": named(tokens, "share of words whose k1 is negative", time=config.times),
            **named(below, time=config.times, batch=config.sizes),
            "path_drift": named(pulls.pop("path_drift"), "drift along policy gradient", "nats", time=config.times),
            **named(pulls, **way),
            **named(by_target, **way, target=kl_estimators.TARGETS),
        }

    def point(key: Key) -> dict[str, Any]:
        feature_key, log_key, walk_key = jax.random.split(key, 3)
        draw = pretrained.place(key)
        base = pretrained.base(draw)
        at_angle = lambda degrees: family.at_angle(degrees, base, jax.random.clone(feature_key), draw)  # noqa: E731
        graded = at_angle(config.angle)
        right = rewards.best_paid(graded, base.log_base, config.right)
        checked = rewards.standardise(right, base.log_base, base.log_prompts)
        setup = catalogue.Setup(base, checked, base.log_base, right, walk_key)
        entropy = rl_curves.entropies(base, rl_curves.rewarded(base, at_angle(90.0)), times)
        ended = rl_curves.ended(base, jnp.stack([right, graded]), betas)
        same = rl_curves.same_drift(base, [at_angle(degrees) for degrees in config.angles], drifts)
        followed = rl_curves.followed(jax.random.clone(walk_key), setup, rl_curves.RULES, jnp.asarray(steps))
        least, whole = ended.pop("least_beta"), entropy.pop("base_entropy")
        along = {name: entropy.pop(name) for name in ("entropy", "entropy_drift")}
        asked = [*names, "words", "what is rare"]
        return {
            **read(log_key, base, graded),
            "base_entropy": named(whole, "entropy of the base", "nats"),
            **named(entropy, asked=asked),
            **named(along, units="nats", asked=asked, time=config.times),
            **named(ended, paid=PAID, beta=config.betas, end=leashes.ENDS),
            "least_beta": named(least, "least coefficient that holds rewards / std. dev.", paid=PAID),
            **named(followed, rule=[*rl_curves.RULES], record=steps),
            "most_paid": named(checked.max(axis=1) @ base.rho, "reward of right answers"),
            **named(same, angle=config.angles, drift=config.drifts),
        }

    labels = {"kl_coefficient": catalogue.KL}
    return command.sweep(NAME, config, point, {}, constants=pretrained.recovered(), labels=labels)


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
