"""L3: how much RL a short and a long answer stand before they stop sounding like anyone.

Personas are Markov chains and the reward pays for words, so the tilt is exact at any length. Hull distance runs on
s sqrt(T), selection on sT: long answers leave the hull at weaker RL, after a longer stretch in which RL is selection.
Exact curves where personas can be told apart, sampled budgets where they overlap, three worlds that break the law.
Seeds draw what each word pays.

On 2 cores the preset quick takes a minute, paper eight.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Int
from scipy import stats

from experiments import base_model, harness, maps, tilted_chains
from toypersona import theory
from toypersona.measures import boundaries
from toypersona.types import Key
from toypersona.worlds import catalogue
from toypersona.worlds.world import END

NAME = "horizon"
LONG = 16.0
"""Lengths at which personas have been told apart: this many times the length where the weak plateau is 1/2."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(base_model.WorldSettings):
    """Settings of the horizons."""

    lengths: tuple[int, ...] = tuple(4**i for i in range(1, 10))
    """T of the exact curves; increasing."""
    sampled_lengths: tuple[int, ...] = tuple(4**i for i in range(1, 7))
    """T of the sampled budgets; increasing."""
    scaled: tuple[float, ...] = maps.geometric(0.02, 20.0, 49)
    """s sqrt(T) of the exact curves (s itself where only the last word pays); increasing."""
    sampled: tuple[float, ...] = maps.geometric(0.3, 10.0, 8)
    """s sqrt(T) of the sampled budgets; increasing."""
    selected: tuple[float, ...] = maps.geometric(0.1, 30.0, 13)
    """sT at which selection weights are compared."""
    num_samples: int = 500
    """Responses to each prompt at each sampled strength; even."""


SMALL = catalogue.Options(markov=catalogue.MarkovOptions(num_words=6, num_prompts=2, concentration=1.0))

PRESETS = {
    "quick": Config(world="markov", options=SMALL, num_worlds=2),
    "paper": Config(
        world="markov", options=SMALL, num_worlds=8, sampled=maps.geometric(0.1, 20.0, 12), num_samples=1000
    ),
}


def run(config: Config) -> xr.Dataset:
    """Compute all horizons, or continue or load those in ``config.out``."""
    for name in ("lengths", "sampled_lengths", "scaled", "sampled", "selected"):
        harness.check_increasing(name, getattr(config, name))
    if missing := set(config.sampled_lengths) - set(config.lengths):
        raise ValueError(f"--sampled-lengths have to be among --lengths, but {sorted(missing)} are not.")
    if config.num_samples < 4 or config.num_samples % 2:
        raise ValueError(f"--num-samples has to be an even number from 4, not {config.num_samples}.")
    bases = base_model.prepare(config)
    if END in bases.labels.units:
        raise ValueError(
            "Responses of this world end, so they do not grow with T: use --world markov, or a text of characters."
        )

    num_words = bases.world.log_experts.shape[-1]
    listed = tilted_chains.listed_lengths(config.sampled_lengths, num_words)

    def point(key: Key, *, world: Int[Array, ""]) -> dict[str, Array]:
        score_key, sample_key = jax.random.split(jax.random.fold_in(key, world))
        setting = tilted_chains.start(bases.of(world), jax.random.normal(score_key, (num_words,)))
        tends = theory.long_run(setting.log_gates, setting.log_experts, setting.log_prompts, setting.scores)
        at = jnp.asarray(config.sampled)
        return {
            **tilted_chains.exact(setting, config.lengths, jnp.asarray(config.scaled)),
            **tilted_chains.selected(setting, tends, config.lengths, jnp.asarray(config.selected)),
            **tilted_chains.sampled(setting, config.sampled_lengths, at, config.num_samples, sample_key),
            "weak": tilted_chains.weak(setting, config.lengths),
            "weak_law": tends.weak_limit(jnp.asarray(config.lengths, float)),
            **{name: getattr(tends, name) for name in ("means", "variances", "between", "within", "half")},
        }

    along = ("sampled_length", "sampled")
    per_sample = (*tilted_chains.kept(), "selection_fraction", "selection_fraction_se", "exact_total", "bound")
    return harness.sweep(
        NAME,
        config,
        point,
        {"world": np.arange(config.num_worlds)},
        dims={
            **{f"exact_{name}": ("case", "length", "scaled") for name in ("distortion", "fraction")},
            **{name: ("length", "selected", "persona") for name in ("selected_weights", "selected_law")},
            **{name: along for name in per_sample},
            **({"listed": ("listed_length", "sampled")} if listed else {}),
            "weak": ("length",),
            "weak_law": ("length",),
            "means": ("persona",),
            "variances": ("persona",),
        },
        coords={
            "case": np.array(tilted_chains.CASES),
            "length": np.array(config.lengths),
            "sampled_length": np.array(config.sampled_lengths),
            **({"listed_length": np.array(listed)} if listed else {}),
            "scaled": np.array(config.scaled),
            "sampled": np.array(config.sampled),
            "selected": np.array(config.selected),
            "persona": np.array(bases.labels.personas),
        },
    )


def half(dataset: xr.Dataset) -> xr.DataArray:
    """S = 1/2 by the exact curves, ``s sqrt(T)`` [draw, length]; nan where S starts below 1/2 or never falls to it."""
    exact = xr.Dataset({"selection_fraction": dataset.exact_fraction.sel(case="per word")})
    found = boundaries.from_dataset(exact, along="scaled").half.sel(bound="middle")
    found = found.stack(draw=("world", "seed")).transpose("draw", "length")
    return found.where((found > 0) & np.isfinite(found))


def exponents(dataset: xr.Dataset) -> np.ndarray:
    """Slope of log s at the half boundary against log T in each draw, where personas have been told apart."""
    found, slopes = half(dataset), []
    told_apart = (LONG * dataset.within / dataset.between).stack(draw=("world", "seed"))
    for curve, shortest in zip(found, told_apart, strict=True):
        kept = curve.where(curve.length >= shortest).dropna("length")
        if kept.size > 1:
            slopes.append(np.polyfit(np.log(kept.length), np.log(kept / np.sqrt(kept.length)), 1)[0])
    return np.array(slopes)


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Mean over draws and half of its 95% interval (Student's t), nan from fewer than two."""
    if values.size < 2:
        return np.nan, np.nan
    return float(values.mean()), float(stats.sem(values) * stats.t.ppf(0.975, values.size - 1))


def claims(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """The law, its agreement with samples, and what breaks it."""
    return [*_samples_agree(config, dataset), *_law(dataset), *_breaks(dataset)]


def _samples_agree(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """Samples against transfer matrices and against listing all responses, in standard errors."""
    allowed = dataset.fit_excess
    # Where all samples are the same response, what is too rare to be among them is the error.
    unseen = dataset.exact_total / config.num_samples
    total_error, error = (np.hypot(se, unseen) for se in (dataset.total_se, dataset.hull_distance_se))
    total = abs(dataset.total - dataset.exact_total) / total_error
    above = (dataset.hull_distance - allowed - dataset.bound) / error
    longest = dataset.sampled_length == dataset.sampled_length.max()
    apart = (abs(dataset.hull_distance - dataset.bound) - allowed) / error
    made = [
        harness.at_most("sampled total - exact, largest, in standard errors", 5.0, total.max()),
        harness.at_most("sampled hull distance - its bound, largest, in standard errors", 5.0, above.max()),
        harness.at_most(
            "longest sampled: hull distance - bound, either way, in standard errors",
            5.0,
            apart.where(longest, drop=True).max(),
        ),
        harness.at_most("share of bases that samples take for outside", 0.05, 1 - dataset.base_inside.mean()),
        harness.near("share of sampled budgets certified", 1.0, dataset.certified.mean(), 0.0),
        harness.at_most("diverged points", 0.0, dataset.diverged.sum()),
    ]
    if "listed" in dataset:
        listed = dataset.listed.rename(listed_length="sampled_length")
        exact = (abs(dataset.hull_distance - listed) - allowed) / error
        made.append(harness.at_most("sampled hull distance - all listed, in standard errors", 5.0, exact.max()))
    return made


def _law(dataset: xr.Dataset) -> list[harness.Claim]:
    last, longest = dataset.isel(length=-1), int(dataset.length[-1])
    told_apart = dataset.length >= LONG * dataset.within / dataset.between
    exact = told_apart & (dataset.length <= tilted_chains.WEAK_LENGTH)
    weak = abs(np.log(((1 - dataset.weak) / (1 - dataset.weak_law)).where(exact)))
    found = half(dataset)
    ends = found.isel(length=slice(-2, None))
    local = np.log(ends / np.sqrt(ends.length)).diff("length") / np.log(ends.length).diff("length")
    distance = dataset.exact_distortion.sel(case="per word", scaled=slice(0.3, 3.0)).isel(length=slice(-2, None))
    collapsed = abs(np.log(distance).diff("length")).max("scaled").median()
    weights = abs(last.selected_weights - last.selected_law).max()
    law = abs(found.isel(length=-1) / dataset.half.stack(draw=("world", "seed")) - 1)
    mean, error = _interval(exponents(dataset))
    local_mean, local_error = _interval(local.values[np.isfinite(local.values)])
    return [
        harness.near("exponent of the half boundary against T, fitted, mean over draws", -0.5, mean, min(error, 0.05)),
        harness.near("the same between the two longest T", -0.5, local_mean, min(local_error + 0.005, 0.05)),
        harness.at_most(f"half boundary x sqrt(T) / law - 1 at T = {longest}, median draw", 0.02, law.median()),
        harness.at_most("weak RL: |log (1 - S) / (1 - law)| where personas are told apart, largest", 0.05, weak.max()),
        harness.at_most("collapse on s sqrt(T): log ratio of distances, two longest T, median draw", 0.02, collapsed),
        harness.at_most(f"collapse on sT: selection weight - law at T = {longest}", 0.01, weights),
    ]


def _breaks(dataset: xr.Dataset) -> list[harness.Claim]:
    distances = xr.Dataset({"hull_distance": dataset.exact_distortion})
    told = boundaries.from_dataset(distances, along="scaled", samples=(100,)).detectable.sel(
        bound="middle", samples=100
    )
    # Distortion is the distance, and its S the selection fraction, only where personas can be told apart.
    moved = np.log(told.isel(length=-1) / told.isel(length=-2)) / np.log(dataset.length[-1] / dataset.length[-2])
    largest = dataset.exact_fraction.isel(length=slice(-2, None)).max(["length", "scaled"])
    made = []
    for case, predicted in (("per word", -0.5), ("equal means", -0.5), ("one persona", -0.5), ("last word", 0.0)):
        slopes = moved.sel(case=case).values.ravel() + (0.0 if case == "last word" else -0.5)
        what = f"{case}: exponent against T of the strength at which 100 samples tell"
        made.append(harness.near(what, predicted, slopes.mean(), 0.03))
    return [
        *made,
        *(
            harness.at_most(f"{case}: largest S at any strength, two longest T", 0.5, largest.sel(case=case).max())
            for case in ("equal means", "last word")
        ),
    ]


def findings(config: Config, dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    found = half(dataset)
    usual = found.length[(found.notnull().mean("draw") > 0.5).values]
    if usual.size < 2:
        return ["In most draws selection is never the larger part, at any length."]
    short, long = (int(usual[i]) for i in (0, -1))
    at = {length: (found.sel(length=length) / np.sqrt(length)).median().item() for length in (short, long)}
    crossing = (dataset.within / dataset.between).median().item()
    mean, error = _interval(exponents(dataset))
    return [
        f"An answer of {short} words is mostly persona selection up to strength {at[short]:.2g}, one of {long} only "
        f"up to {at[long]:.2g} (medians over draws): {long // short} times as long, it stands "
        f"{at[short] / at[long]:.0f} times less RL before it stops sounding like anyone.",
        f"Weak RL of answers shorter than about {crossing:.0f} words is not mostly selection: what one persona says "
        "differs more in pay than the personas do.",
        f"The half boundary falls as T to the power {mean:.3f} ± {error:.3f} (law: -1/2).",
        "Where all personas are paid alike or only the last word is paid there is no stretch of selection; then hull "
        "distance still runs on s sqrt(T) in the first case, and does not depend on T in the second.",
    ]


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, claims, findings)
