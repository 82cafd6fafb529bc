"""What is read from the leash: times, survivors, divergences and the noise threshold."""

import itertools

import numpy as np
import xarray as xr

from experiments.shared.claim import Claim, at_most, drawn, grouped, near, over_draws
from experiments.shared.terminal import number
from toypersona import datasets
from toypersona.measures import boundaries

SMALL = 0.25
"""Step of the logits up to which the law of the noise threshold, which is of small steps, is claimed: to the step's
square, as a part."""


def half_times(dataset: xr.Dataset) -> xr.DataArray:
    """Time to probability one half, in units of the law's [rule, mass]: the same in every seed."""
    odds = np.log(dataset.found / (1 - dataset.found))
    return boundaries.reached(odds, 0.0, "fraction").isel(seed=0)


def wrong_share(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Share of runs that settle on the worse answer, seeds pooled, and half its 95% interval [baseline, gap, rate]."""
    share = dataset.noise_wrong.mean("seed")
    return share, boundaries.CONFIDENCE * np.sqrt(share * (1 - share) / _num_runs(dataset))


def thresholds(dataset: xr.Dataset) -> xr.DataArray:
    """Noise threshold in units of the law's, [bound, baseline, gap], all seeds pooled."""
    pooled = dataset[["noise_wrong"]].mean("seed")
    return boundaries.from_dataset(pooled, rates="rate", num_runs=_num_runs(dataset)).noise


def threshold_rates(dataset: xr.Dataset) -> xr.DataArray:
    """The same as learning rates, [bound, baseline, gap]."""
    return thresholds(dataset) * dataset.threshold.isel(seed=0)


def read_thresholds(share: xr.DataArray) -> xr.DataArray:
    """Where runs [..., rate] first settle on the worse answer in one of ten; nan where they do not."""
    read = boundaries.reached(share, boundaries.WRONG, "rate")
    return read.where(np.isfinite(read) & (read > 0))


def step(dataset: xr.Dataset) -> xr.DataArray:
    """Root mean square step of the logits at the law's threshold, ``a sqrt(E[r²]) = gap / sqrt(E[r²])``."""
    return np.sqrt(dataset.gap * dataset.threshold).isel(seed=0, drop=True)


def exponents(dataset: xr.Dataset) -> xr.DataArray:
    """Of the threshold against the gap where steps are small, by every seed's own runs; nan if one is not reached."""
    log_rates = np.log(read_thresholds(dataset.noise_wrong) * dataset.threshold)
    small = step(dataset) <= SMALL
    log_gap = np.log(dataset.gap).where(small)
    centred = log_gap - log_gap.mean("gap")
    return xr.where(small, centred * log_rates, 0.0).sum("gap", skipna=False) / (centred**2).sum("gap")


def _num_runs(dataset: xr.Dataset) -> int:
    """Runs at each gap and rate, of all seeds."""
    return datasets.settings_of(dataset)["lock_in"]["num_runs"] * dataset.sizes["seed"]


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Times, survivors, divergences and lock-in against their laws."""
    return [
        *grouped("Time to one half, in units of the law's", _times(dataset)),
        *grouped("Several right answers", _survivors(dataset)),
        *grouped("REINFORCE that settles on the worse of two answers", _noise(dataset)),
    ]


def _times(dataset: xr.Dataset) -> list[Claim]:
    times = half_times(dataset)
    # Natural gradient follows its flow at any step; a step of vanilla gradient lags by about its own length.
    vanilla = datasets.settings_of(dataset)["max_step"] / dataset.law_time.isel(seed=0).sel(rule="vanilla")
    lag = {"vanilla": vanilla, "natural": 0 * times.mass}
    claims = []
    for rule, mass in itertools.product(dataset.rule.values, dataset.mass.values):
        what, error = f"{rule}: time to one half / law, base mass {mass:g}", 0.005 + lag[rule].sel(mass=mass)
        claims.append(near("theorem", what, 1.0, times.sel(rule=rule, mass=mass), error))
    return claims


def _survivors(dataset: xr.Dataset) -> list[Claim]:
    error = abs(np.log(dataset.odds / dataset.odds_law))
    growth = dataset.to_base.isel(record=slice(-2, None)).diff("record")
    above = dataset.from_base - dataset.limit_from_base
    fall = (dataset.odds.isel(record=-1) / dataset.odds.isel(record=0)).sel(rule="vanilla")
    claims = [at_most("theorem", "vanilla: odds of another right answer, last / first recorded, largest", 0.01, fall)]
    for rule in dataset.rule.values:
        claims += [
            at_most("theorem", f"{rule}: |log odds of right answers / law|, largest", 0.05, error.sel(rule=rule)),
            at_most("identity", f"{rule}: KL(policy‖base) - its limit, largest, nats", 1e-9, above.sel(rule=rule)),
            at_most("identity", f"{rule}: KL(base‖policy) still grows, minus the slowest", 0.0, -growth.sel(rule=rule)),
        ]
    return claims


def _noise(dataset: xr.Dataset) -> list[Claim]:
    # Both are read at the same few learning rates.
    law, seen = (read_thresholds(share) for share in (dataset.noise_law, dataset.noise_wrong))
    slopes, steps = exponents(dataset), step(dataset)
    made = []
    for baseline in dataset.baseline.values:
        of, small = f"baseline {baseline}", steps.sel(baseline=baseline) <= SMALL
        for gap in dataset.gap.values[small.values]:
            at = {"baseline": baseline, "gap": gap}
            what, missed = f"{of}: noise threshold / law, reward gap {gap:g}", steps.sel(at) ** 2
            made.append(drawn("prediction", what, law.sel(at), seen.sel(at), missed, possible=(0, 2)))
        what = f"{of}: exponent of the threshold learning rate against the gap"
        # From a threshold that does not depend on the gap to one that goes with its square.
        made.append(drawn("prediction", what, 1.0, slopes.sel(baseline=baseline), SMALL**2, possible=(0, 2)))
    both = (steps <= SMALL).all("baseline") & seen.notnull().all("baseline")
    predicted, measured = (
        (of.sel(baseline="mean reward") / of.sel(baseline="none")).where(both).mean("gap")
        for of in (dataset.threshold, seen * dataset.threshold)
    )
    most = predicted.mean().item()
    what = "threshold learning rate with the baseline / without: E[r²] / Var(r)"
    return [
        *made,
        drawn("prediction", what, predicted, measured, SMALL**2 * most, possible=(1, 2 * most)),
        at_most("finding", "largest share of runs that had not settled", 0.01, dataset.unsettled.mean("seed")),
    ]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    law = dataset.law_time.isel(seed=0, mass=0)
    last = dataset.isel(record=-1).mean("seed")
    vanilla, natural = (last.sel(rule=rule) for rule in ("vanilla", "natural"))
    slope, error, _ = over_draws(exponents(dataset).sel(baseline="none"))
    rates = threshold_rates(dataset).sel(bound="middle")
    lowest, *_, highest = (number(rate, 2) for rate in rates.sel(baseline="none").values)
    with_baseline = {"baseline": "mean reward", "gap": dataset.gap[-1]}
    gained = (rates.sel(baseline="mean reward") / rates.sel(baseline="none")).mean().item()
    return [
        f"A right answer of probability {law.mass.item():g} takes vanilla policy gradient a time of "
        f"{law.sel(rule='vanilla').item():.3g} to find, natural gradient {law.sel(rule='natural').item():.2g}.",
        f"Of several right answers the second likeliest ends at odds of {vanilla.odds.values[0]:.2g} against the first "
        f"under vanilla, of {natural.odds.values[0]:.2g} under natural gradient.",
        f"KL(policy‖base) ends at {vanilla.from_base.item():.2f} and {natural.from_base.item():.2f} nats, "
        f"KL(base‖policy) at {vanilla.to_base.item():.2f} and {natural.to_base.item():.0f}, growing.",
        f"REINFORCE settles on the worse of two answers in one run of ten from learning rate {lowest} at a reward gap "
        f"of {dataset.gap.values[0]:g}, {highest} at {dataset.gap.values[-1]:g}: the gap to the power "
        f"{number(slope, 3)} (standard error {number(error, 2)}). With the mean reward as baseline it stands "
        f"{gained:.1f} times the learning rate. The law is of small steps: at one of "
        f"{step(dataset).sel(with_baseline).item():.2g} the threshold is "
        f"{thresholds(dataset).sel(with_baseline).sel(bound='middle').item():.2g} times the law's.",
    ]
