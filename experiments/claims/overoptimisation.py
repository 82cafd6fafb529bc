"""What is read from over-optimisation: best of n's bound, what a weak tilt gains, and where gold is lost."""

import numpy as np
import xarray as xr

from experiments.shared import claim
from experiments.shared.claim import Claim
from toypersona import datasets
from toypersona.measures import equal_drift


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Best of n's bound, what a weak tilt gains, and whose gold is lost in the end."""
    largest = dataset["size"].values[-1]
    tilt = kept_at_end(dataset).sel(rule="tilt", size=largest)
    return [
        *_bound(dataset),
        *_weak(dataset),
        *(
            claim.at_most(f"{rule}: proxy above the tilt's at the same drift, largest", 0.02, _above(dataset, rule))
            for rule in dataset.rule.values
            if rule != "tilt"
        ),
        claim.at_most(
            f"tilt, Student errors of size {largest:g}: gold kept at the end, share of its peak",
            0.5,
            tilt.sel(error="student"),
        ),
        claim.at_most(
            f"tilt, normal errors of size {largest:g}: gold lost at the end, share of its peak",
            0.5,
            1 - tilt.sel(error="normal"),
        ),
    ]


def _bound(dataset: xr.Dataset) -> list[Claim]:
    """Nothing is above the bound of best of n; continuous rewards, which normal errors nearly are, reach it."""
    total, nums = dataset.total.sel(rule="best of n"), np.array(datasets.settings_of(dataset)["nums"])
    two = int(np.argmin(abs(nums - 2)))
    reached = (total / dataset.best_of_n_bound).isel(record=two).sel(error="normal")
    return [
        claim.at_most(
            "KL(best of n‖base) - (ln n - (n - 1)/n), largest, nats", 1e-9, (total - dataset.best_of_n_bound).max()
        ),
        claim.near(f"KL(best of n‖base) / its bound at n = {nums[two]:g}, normal errors", 1.0, reached.mean(), 0.02),
    ]


def _weak(dataset: xr.Dataset) -> list[Claim]:
    """Gold for proxy along the tilt, extrapolated from the two weakest strengths to none, to the correction's size."""
    tilt = dataset.sel(rule="tilt")
    ratio = tilt.gold / tilt.proxy
    first, second = datasets.settings_of(dataset)["strengths"][:2]
    weak, next_one = (ratio.isel(record=i) for i in (0, 1))
    limit = weak - (next_one - weak) / (second - first) * first
    return [
        claim.near(
            f"weak tilt, {error} errors: gold for proxy, Cov/Var",
            tilt.slope.sel(error=error).mean(),
            limit.sel(error=error).mean(),
            abs(limit - weak).sel(error=error).max(),
        )
        for error in dataset.error.values
    ]


def _above(dataset: xr.Dataset, rule: str) -> xr.DataArray:
    """How much more proxy than the tilt's at the same drift, at most."""
    here, tilt = dataset.sel(rule=rule), dataset.sel(rule="tilt")
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


def as_large_as_gold(dataset: xr.Dataset) -> xr.Dataset:
    """The runs whose error is nearest in size to gold."""
    return dataset.sel(size=min(dataset["size"].values, key=lambda size: abs(size - 1)))


def turns(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Root of the drift where gold turns over, and where S falls through 1/2; root nats, inf where they do not."""
    return equal_drift.turn_spent(dataset, "gold") ** 0.5, equal_drift.half_spent(dataset) ** 0.5


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    here = as_large_as_gold(dataset)
    (peak, half), kept = turns(here), kept_at_end(here)

    def where(places: xr.DataArray) -> str:
        middle = float(places.quantile(0.5, method="closest_observation"))
        return "never" if np.isinf(middle) else f"{middle:.1f}" if middle else "0"

    lines = []
    for error in here.error.values:
        parts = [
            f"{rule} {where(peak.sel(error=error, rule=rule))} and {where(half.sel(error=error, rule=rule))}, "
            f"{kept.sel(error=error, rule=rule).item():.0%} of gold's peak left at the end"
            for rule in here.rule.values
        ]
        lines.append(
            f"{error.capitalize()} errors of size {here['size'].item():g}: gold turns over and S falls through 1/2 at "
            f"sqrt(KL) of {'; '.join(parts)}."
        )
    return lines
