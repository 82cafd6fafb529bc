"""L5: how long RL takes to find a rare right answer, which right answer survives, and when noise picks a wrong one.

Softmax over answers, one reward. Vanilla policy gradient needs a time of 1/p0, natural gradient ln(1/p0); with several
right answers the first keeps the likeliest alone, the second all in proportion; KL(policy‖base) stays bounded while
KL(base‖policy) grows. REINFORCE at growing learning rate settles on the worse of two answers. Seeds draw the answers'
probabilities and the samples.

On 2 cores the preset quick takes half a minute, paper eight.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from scipy import stats

from experiments import harness, maps
from experiments.lock_in import LockIn, answers, lock_in
from toypersona import numerics, theory, trajectories
from toypersona.measures import boundaries
from toypersona.rules import gradient
from toypersona.types import Key

NAME = "leash"
RULES = ("vanilla", "natural")
RIGHT = (0.03, 0.02, 0.01)
"""Base probabilities of the right answers, before each seed draws its own near them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(harness.Settings):
    """Settings of the leash."""

    masses: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    """p0, the right answer's probability under the base; increasing."""
    num_others: int = 15
    """Equally likely wrong answers."""
    fractions: tuple[float, ...] = tuple(np.linspace(0.1, 1.5, 29).round(3).tolist())
    """Times, in units of the law's time to one half; increasing."""
    times: tuple[float, ...] = maps.geometric(1.0, 10_000.0, 33)
    """Learning rate times steps at which vanilla gradient's right answers are compared; increasing."""
    natural_times: tuple[float, ...] = maps.geometric(0.1, 30.0, 33)
    """The same for natural gradient, as many; later on wrong answers are too unlikely to be told from impossible."""
    max_step: float = 0.2
    """Longest step (learning rate) of the exact gradients."""
    lock_in: LockIn = LockIn()
    """The sampled rule."""


PRESETS = {
    "quick": Config(),
    "paper": Config(
        masses=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        times=maps.geometric(1.0, 100_000.0, 41),
        natural_times=maps.geometric(0.1, 30.0, 41),
        seeds=tuple(range(4)),
        lock_in=LockIn(gaps=(0.025, 0.05, 0.1, 0.2, 0.4), num_runs=1000, max_steps=200_000),
    ),
}


def run(config: Config) -> xr.Dataset:
    """Find, choose and lock in."""
    harness.check(config)
    for name in ("masses", "fractions", "times", "natural_times"):
        harness.check_increasing(name, getattr(config, name))
    harness.check_increasing("lock-in.gaps", config.lock_in.gaps, at_least=3)
    harness.check_increasing("lock-in.rates", config.lock_in.rates)
    harness.check_positive("lock-in", config.lock_in)
    if config.masses[-1] >= 0.5 or config.lock_in.gaps[-1] >= 2:
        raise ValueError("--masses have to be below 1/2, and --lock-in.gaps below 2.")
    if len(config.times) != len(config.natural_times):
        raise ValueError("--times and --natural-times have to be equally many.")
    if config.num_others < 1 or config.max_step <= 0:
        raise ValueError("--num-others has to be 1 or more, and --max-step above 0.")

    def point(key: Key) -> dict[str, Array]:
        choice_key, noise_key = jax.random.split(key)
        return {**_discovery(config), **_survival(config, choice_key), **lock_in(config.lock_in, noise_key)}

    over_time = ("rule", "record")
    return harness.sweep(
        NAME,
        config,
        point,
        {},
        dims={
            "found": ("rule", "mass", "fraction"),
            "law_time": ("rule", "mass"),
            "right": over_time,
            "from_base": over_time,
            "to_base": over_time,
            "odds": (*over_time, "other"),
            "odds_law": (*over_time, "other"),
            "time": over_time,
            "limit_from_base": ("rule",),
            "noise_wrong": ("gap", "rate"),
            "noise_law": ("gap", "rate"),
            "unsettled": ("gap", "rate"),
            "threshold": ("gap",),
        },
        coords={
            "rule": np.array(RULES),
            "mass": np.array(config.masses),
            "fraction": np.array(config.fractions),
            "gap": np.array(config.lock_in.gaps),
            "rate": np.array(config.lock_in.rates),
        },
    )


def _walk(
    log_base: Float[Array, " N"],
    right: Float[Array, " N"],
    rule: str,
    times: Float[Array, " R"],
    max_step: float,
    measure: Callable[[Float[Array, " N"]], dict[str, Array]],
) -> dict[str, Array]:
    """Exact policy gradient on a table of answers; ``measure`` sees its logits."""
    policy, prompts = answers(log_base.shape[0])
    solve = {"damping": 0.0, "tolerance": 1e-12, "max_iterations": 2 * log_base.shape[0]}
    make = {"vanilla": gradient.policy_gradient, "natural": gradient.natural_gradient}[rule]
    made, _, _ = trajectories.run(
        lambda step: make(
            policy, prompts, jnp.zeros(1), right[None], learning_rate=step, **(solve if rule == "natural" else {})
        ),
        lambda logits: measure(logits[0]),
        log_base[None],
        key=jax.random.key(0),
        marks=times,
        max_step=max_step,
    )
    return made


def _discovery(config: Config) -> dict[str, Array]:
    """The right answer's probability on the way, and the law's time to one half."""
    right = jnp.zeros(config.num_others + 1).at[0].set(1.0)

    def one(rule: str, mass: Float[Array, ""]) -> tuple[Array, Array]:
        log_base = jnp.log(jnp.where(right > 0, mass, (1 - mass) / config.num_others))
        law = getattr(theory.time_to_half(mass, config.num_others), rule)
        times = law * jnp.asarray(config.fractions)
        found = _walk(log_base, right, rule, times, config.max_step, lambda x: {"p": jax.nn.softmax(x)[0]})
        return found["p"], law

    made = [jax.lax.map(lambda mass, rule=rule: one(rule, mass), jnp.asarray(config.masses)) for rule in RULES]
    found, law = jax.tree.map(lambda *x: jnp.stack(x), *made)
    return {"found": found, "law_time": law}


def _survival(config: Config, key: Key) -> dict[str, Array]:
    """Several right answers: odds against the likeliest, and both divergences from the base, over time."""
    num = len(RIGHT)
    base = jnp.asarray(RIGHT) * jnp.exp(0.1 * jax.random.normal(key, (num,)))
    base = jnp.sort(base, descending=True)
    others = jnp.full(config.num_others, (1 - base.sum()) / config.num_others)
    log_base = jnp.log(jnp.concatenate([base, others]))
    right = (jnp.arange(num + config.num_others) < num).astype(float)

    def measure(rule: str) -> Callable[[Array], dict[str, Array]]:
        def record(logits: Float[Array, " N"]) -> dict[str, Array]:
            log_policy = jax.nn.log_softmax(logits)
            rise = logits[0] - log_base[0] if rule == "vanilla" else 0.0
            return {
                "right": jnp.exp(log_policy) @ right,
                "from_base": numerics.kl_divergence(log_policy, log_base),
                "to_base": numerics.kl_divergence(log_base, log_policy),
                "odds": jnp.exp(log_policy[1:num] - log_policy[0]),
                "odds_law": theory.surviving_odds(log_base[0], log_base[1:num], rise),
            }

        return record

    times = jnp.array([config.times, config.natural_times])
    made = [
        _walk(log_base, right, rule, when, config.max_step, measure(rule))
        for rule, when in zip(RULES, times, strict=True)
    ]
    limits = jnp.array([-log_base[0], -jnp.log(base.sum())])
    return {**jax.tree.map(lambda *x: jnp.stack(x), *made), "time": times, "limit_from_base": limits}


def half_times(dataset: xr.Dataset) -> xr.DataArray:
    """Time to probability one half, in units of the law's."""
    odds = np.log(dataset.found / (1 - dataset.found))
    return boundaries.reached(odds, 0.0, "fraction").isel(seed=0)


def thresholds(config: Config, dataset: xr.Dataset) -> xr.DataArray:
    """Noise threshold in units of the law's, [bound, gap], all seeds pooled."""
    pooled = dataset[["noise_wrong"]].mean("seed")
    num_runs = config.lock_in.num_runs * dataset.sizes["seed"]
    return boundaries.from_dataset(pooled, rates="rate", num_runs=num_runs).noise


def exponent(config: Config, dataset: xr.Dataset) -> tuple[float, float]:
    """Of the threshold learning rate against the gap, with half its 95% interval."""
    found = thresholds(config, dataset).sel(bound="middle") * _threshold_law(dataset)
    (slope, _), covariance = np.polyfit(np.log(dataset.gap.values), np.log(found.values), 1, cov=True)
    return slope, np.sqrt(covariance[0, 0]) * stats.t.ppf(0.975, dataset.sizes["gap"] - 2)


def _threshold_law(dataset: xr.Dataset) -> xr.DataArray:
    return dataset.threshold.isel(seed=0)


def claims(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """Times, survivors, divergences and lock-in against their laws."""
    return [
        *_times(config, dataset),
        *_survivors(dataset),
        *_noise(config, dataset),
        harness.at_most("diverged points", 0.0, dataset.diverged.sum()),
    ]


def _times(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    times = half_times(dataset)
    # Natural gradient follows its flow at any step; a step of vanilla gradient lags by about its own length.
    lag = {"vanilla": config.max_step / dataset.law_time.isel(seed=0).sel(rule="vanilla"), "natural": 0 * times.mass}
    return [
        harness.near(
            f"{rule}: time to one half / law, base mass {mass:g}",
            1.0,
            times.sel(rule=rule, mass=mass),
            0.005 + lag[rule].sel(mass=mass),
        )
        for rule in RULES
        for mass in config.masses
    ]


def _survivors(dataset: xr.Dataset) -> list[harness.Claim]:
    error = abs(np.log(dataset.odds / dataset.odds_law)).max(["record", "other", "seed"])
    growth = dataset.to_base.isel(record=slice(-2, None)).diff("record").min(["record", "seed"])
    above = (dataset.from_base - dataset.limit_from_base).max(["record", "seed"])
    made = [
        harness.at_most(
            "vanilla: odds of another right answer, last / first recorded, largest",
            0.01,
            (dataset.odds.isel(record=-1) / dataset.odds.isel(record=0)).sel(rule="vanilla").max(),
        )
    ]
    for rule in RULES:
        made += [
            harness.at_most(f"{rule}: |log odds of right answers / law|, largest", 0.05, error.sel(rule=rule)),
            harness.at_most(f"{rule}: KL(policy‖base) - its limit, largest, nats", 1e-9, above.sel(rule=rule)),
            harness.at_most(f"{rule}: KL(base‖policy) still grows, minus the slowest", 0.0, -growth.sel(rule=rule)),
        ]
    return made


def _noise(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    found = thresholds(config, dataset)
    slope, error = exponent(config, dataset)
    small = dataset.gap.values[0]
    middle, high = (found.sel(gap=small, bound=bound).item() for bound in ("middle", "high"))
    return [
        harness.near(f"noise threshold / law, reward gap {small:g}", 1.0, middle, high - middle),
        harness.near(
            "exponent of the threshold learning rate against the gap, at equal mean reward",
            1.0,
            slope,
            max(error, 0.05),
        ),
        harness.at_most("largest share of runs that had not settled", 0.01, dataset.unsettled.mean("seed").max()),
    ]


def findings(config: Config, dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    law = dataset.law_time.isel(seed=0, mass=0)
    last = dataset.isel(record=-1).mean("seed")
    vanilla, natural = (last.odds.sel(rule=rule).values[0] for rule in RULES)
    slope, error = exponent(config, dataset)
    found = (thresholds(config, dataset).sel(bound="middle") * _threshold_law(dataset)).values
    return [
        f"A right answer of probability {config.masses[0]:g} takes vanilla policy gradient a time of "
        f"{law.sel(rule='vanilla').item():.3g} to find, natural gradient {law.sel(rule='natural').item():.2g}.",
        f"Of several right answers the second likeliest ends at odds of {vanilla:.2g} against the first under vanilla, "
        f"of {natural:.2g} under natural gradient.",
        f"KL(policy‖base) ends at {last.from_base.sel(rule='vanilla').item():.2f} and "
        f"{last.from_base.sel(rule='natural').item():.2f} nats, KL(base‖policy) at "
        f"{last.to_base.sel(rule='vanilla').item():.2f} and {last.to_base.sel(rule='natural').item():.0f}, growing.",
        f"REINFORCE settles on the worse of two answers in one run of ten from learning rate {found[0]:.2g} at a "
        f"reward gap of {config.lock_in.gaps[0]:g}, {found[-1]:.2g} at {config.lock_in.gaps[-1]:g}: the gap to the "
        f"power {slope:.2f} ± {error:.2f}.",
    ]


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, claims, findings)
