"""Over-optimisation: a proxy that is gold plus an error, what is lost by following it, and where the hull is left.

Gold is helpfulness with some words of its own, at an angle to the personas. The proxy's error is normal, normal with
words in common (responses that share words share errors), or heavy-tailed (Student's t). The KL-regularised optimum
(the tilt), policy gradient and best of n follow the proxy; gold, proxy and the drift budget are read against
sqrt(KL(policy‖base)) (Gao, Schulman and Hilton 2022; heavy tails: Kwa et al. 2024). Seeds draw words and errors.

On 2 cores the preset quick takes three quarters of a minute, paper five and a half.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from experiments import base_model, features, harness, maps
from toypersona import numerics, rewards, theory, trajectories
from toypersona.measures import boundaries, drift
from toypersona.policies.policy import all_log_probs
from toypersona.rules import gradient
from toypersona.types import Key

NAME = "overoptimisation"
ERRORS = ("normal", "words", "student")
WAYS = ("tilt", "policy gradient", "best of n")

MEDIANS = 0.6745 / 0.8165
"""Median size of a normal error over that of Student's t with two degrees of freedom: the same bulk, other tails."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(maps.RewardSettings):
    """Settings of the proxy and of what follows it."""

    angle: float = 30.0
    """Degrees between gold and the personas."""
    sizes: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Sizes of the error, standard deviations of gold's (of Student's t: the same median); increasing."""
    strengths: tuple[float, ...] = maps.geometric(0.01, 100.0, 41)
    """s of the tilt; increasing."""
    nums: tuple[float, ...] = maps.geometric(1.1, 1e6, 41)
    """n of best of n, as many; increasing."""
    times: tuple[float, ...] = maps.geometric(0.1, 2000.0, 41)
    """Learning rate times steps of policy gradient, as many; increasing."""
    max_step: float = 1.0
    """Longest step of policy gradient."""


PRESETS = {
    "quick": Config(seeds=tuple(range(6))),
    "paper": Config(seeds=tuple(range(32)), sizes=(0.25, 0.5, 1.0, 2.0, 4.0)),
}


def run(config: Config) -> xr.Dataset:
    """Follow the proxy."""
    base_model.check(config)
    for name in ("sizes", "strengths", "nums", "times"):
        harness.check_increasing(name, getattr(config, name))
    if len({len(config.strengths), len(config.nums), len(config.times)}) > 1 or config.nums[0] <= 1:
        raise ValueError("--strengths, --nums and --times have to be equally many, and --nums above 1.")
    if not 0 <= config.angle <= 90 or config.max_step <= 0:
        raise ValueError("--angle has to be degrees from 0 to 90, and --max-step above 0.")
    bases = base_model.prepare(config)
    feature = features.load(config.feature, bases)
    maps.check_feature(config, bases, feature)

    def point(key: Key, *, size: Float[Array, ""], world: Array) -> dict[str, Array]:
        feature_key, error_key = jax.random.split(key)
        start = maps.setting(config, bases, feature, feature_key, jnp.asarray(config.angle), world)
        log_prompts = start.base.world.log_prompts
        gold = start.reward

        def follow(error: Float[Array, "C N"]) -> dict[str, Array]:
            proxy = rewards.standardise(gold + size * error, start.log_base, log_prompts)
            paths = _paths(config, start, proxy)
            return jax.lax.map(lambda path: _measure(start, gold, proxy, path), paths) | _slope(start, gold, proxy)

        return jax.lax.map(follow, _errors(start, error_key))

    along = ("error", "way", "record")
    measured = ("total", "selection_fraction", "hull_distance", "selection", "switching", "novelty", "certified")
    return harness.sweep(
        NAME,
        config,
        point,
        {"size": np.array(config.sizes), "world": np.arange(config.num_worlds)},
        dims={**{name: along for name in (*measured, "gold", "proxy")}, "slope": ("error",)},
        coords={
            "error": np.array(ERRORS),
            "way": np.array(WAYS),
            "record": np.arange(len(config.strengths)),
        },
    )


def _errors(start: maps.Setting, key: Key) -> Float[Array, "E C N"]:
    """Errors of unit size, in the order of ``ERRORS``."""
    normal_key, word_key, tail_key = jax.random.split(key, 3)
    shape, world = start.reward.shape, start.base.world
    scores = rewards.word_scores(jax.random.normal(word_key, (world.log_experts.shape[-1],)))
    shared = rewards.evaluate(scores, world.prompts, start.base.responses)
    return jnp.stack(
        [
            jax.random.normal(normal_key, shape),
            rewards.standardise(shared, start.log_base, world.log_prompts),
            MEDIANS * jax.random.t(tail_key, 2.0, shape),
        ]
    )


def _paths(config: Config, start: maps.Setting, proxy: Float[Array, "C N"]) -> Float[Array, "M R C N"]:
    """Policies that follow the proxy, in the order of ``WAYS``."""
    base = start.base
    walked, _, _ = trajectories.run(
        lambda size: gradient.policy_gradient(
            base.mixture.policy, base.world.prompts, base.world.log_prompts, proxy, learning_rate=size
        ),
        lambda params: all_log_probs(base.mixture.policy, params, base.world.prompts),
        base.params,
        key=jax.random.key(0),
        marks=jnp.asarray(config.times),
        max_step=config.max_step,
    )
    tilted = jax.lax.map(lambda s: theory.tilt(start.log_base, proxy, s), jnp.asarray(config.strengths))
    best = jax.lax.map(lambda n: theory.best_of_n(start.log_base, proxy, n), jnp.asarray(config.nums))
    return jnp.stack([tilted, walked, best])


def _measure(
    start: maps.Setting, gold: Float[Array, "C N"], proxy: Float[Array, "C N"], path: Float[Array, "R C N"]
) -> dict[str, Array]:
    log_prompts = start.base.world.log_prompts
    rho = jnp.exp(log_prompts)
    spent = drift.budget_along(path, start.log_base, start.log_personas, start.base.responses, log_prompts)
    names = ("total", "selection_fraction", "hull_distance", "selection", "switching", "novelty", "certified")
    paid = {
        name: jax.lax.map(lambda log_policy, reward=reward: rho @ numerics.expectation(log_policy, reward), path)
        for name, reward in (("gold", gold), ("proxy", proxy))
    }
    return {name: getattr(spent, name) for name in names} | paid


def _slope(start: maps.Setting, gold: Float[Array, "C N"], proxy: Float[Array, "C N"]) -> dict[str, Array]:
    """What a weak tilt gains of gold for each unit of proxy: Cov(gold, proxy) / Var(proxy) under the base."""
    rho = jnp.exp(start.base.world.log_prompts)
    return {
        "slope": (rho @ numerics.expectation(start.log_base, gold * proxy))
        / (rho @ numerics.expectation(start.log_base, proxy**2))
    }


def claims(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """Best of n's bound, what a weak tilt gains, and whose gold is lost in the end."""
    best, tilt = dataset.sel(way="best of n"), dataset.sel(way="tilt")
    bound = xr.DataArray(np.log(config.nums) - 1 + 1 / np.array(config.nums), dims="record")
    two = int(np.argmin(abs(np.array(config.nums) - 2)))
    kept = kept_at_end(dataset)
    largest = config.sizes[-1]
    return [
        harness.at_most("KL(best of n‖base) - (ln n - (n - 1)/n), largest, nats", 1e-9, (best.total - bound).max()),
        harness.near(
            f"KL(best of n‖base) / its bound at n = {config.nums[two]:g}, normal errors",
            1.0,
            (best.total / bound).isel(record=two).sel(error="normal").mean(),
            0.02,
        ),
        *_weak(config, tilt),
        *(
            harness.at_most(f"{way}: proxy above the tilt's at the same drift, largest", 0.02, _above(dataset, way))
            for way in WAYS[1:]
        ),
        harness.at_most(
            f"tilt, Student errors of size {largest:g}: gold kept at the end, share of its peak",
            0.5,
            kept.sel(way="tilt", error="student", size=largest),
        ),
        harness.at_most(
            f"tilt, normal errors of size {largest:g}: gold lost at the end, share of its peak",
            0.5,
            1 - kept.sel(way="tilt", error="normal", size=largest),
        ),
        harness.near("share of points certified", 1.0, dataset.certified.mean(), 0.0),
        harness.at_most("diverged points", 0.0, dataset.diverged.sum()),
    ]


def _weak(config: Config, tilt: xr.Dataset) -> list[harness.Claim]:
    """Gold for proxy along the tilt, extrapolated from the two weakest strengths to none, to the correction's size."""
    ratio = tilt.gold / tilt.proxy
    (first, second), (weak, next_one) = config.strengths[:2], (ratio.isel(record=i) for i in (0, 1))
    limit = weak - (next_one - weak) / (second - first) * first
    return [
        harness.near(
            f"weak tilt, {error} errors: gold for proxy, Cov/Var",
            tilt.slope.sel(error=error).mean(),
            limit.sel(error=error).mean(),
            abs(limit - weak).sel(error=error).max(),
        )
        for error in ERRORS
    ]


def _above(dataset: xr.Dataset, way: str) -> xr.DataArray:
    """How much more proxy than the tilt's at the same drift, at most."""
    here, tilt = dataset.sel(way=way), dataset.sel(way="tilt")
    most = xr.apply_ufunc(
        lambda at, total, proxy: np.interp(at, np.concatenate([[0.0], total]), np.concatenate([[0.0], proxy])),
        np.sqrt(here.total),
        np.sqrt(tilt.total),
        tilt.proxy,
        input_core_dims=[["record"]] * 3,
        output_core_dims=[["record"]],
        vectorize=True,
    )
    return (here.proxy - most).max()


def kept_at_end(dataset: xr.Dataset) -> xr.DataArray:
    """Gold at the strongest, as a share of its largest on the way; means over worlds and seeds."""
    draws = ("world", "seed")
    return dataset.gold.isel(record=-1).mean(draws) / dataset.gold.max("record").mean(draws)


def findings(config: Config, dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    size = min(config.sizes, key=lambda size: abs(size - 1))
    here = dataset.sel(size=size)
    peak, half = boundaries.turn_spent(here, "gold"), boundaries.half_spent(here)
    kept = kept_at_end(here)

    def where(found: xr.DataArray) -> str:
        middle = float(found.quantile(0.5, method="closest_observation"))
        return "never" if np.isinf(middle) else f"{np.sqrt(middle):.1f}" if middle else "0"

    said = []
    for error in ERRORS:
        parts = [
            f"{way} {where(peak.sel(error=error, way=way))} and {where(half.sel(error=error, way=way))}, "
            f"{kept.sel(error=error, way=way).item():.0%} of gold's peak left at the end"
            for way in WAYS
        ]
        said.append(
            f"{error.capitalize()} errors of size {size:g}: gold turns over and S falls through 1/2 at sqrt(KL) of "
            + "; ".join(parts)
            + "."
        )
    return said


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, claims, findings)
