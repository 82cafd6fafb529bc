"""What is read from over-optimisation: best of n's bound, what a weak tilt gains, and where gold is lost."""

import numpy as np
import xarray as xr

from experiments.claims.weak_limit import extrapolated
from experiments.shared.claim import Claim, at_most, drawn, drawn_at_most, each_at_most, grouped, near
from toypersona import datasets
from toypersona.measures import equal_drift

ERRORS = {"normal": "normal errors", "words": "errors by words", "student": "heavy-tailed errors"}
"""What the kinds of errors are called: independent, shared by responses that share words, and Student's."""

BETWEEN = 0.03
"""Proxy, in standard deviations, by which the tilt's may be misread between two of its strengths."""


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Best of n's bound, what a weak tilt gains, and whose gold is lost in the end."""
    largest = dataset["size"].values[-1]
    tilt = dataset.gold.sel(rule="tilt", size=largest)
    last = tilt.isel(record=-1)
    # Of draws whose peak is small a share would say nothing.
    lost = (0.5 * tilt.max("record") - last).sel(error="normal")
    others = dataset.sel(rule=[rule for rule in dataset.rule.values if rule != "tilt"])
    above = others.proxy - _tilts_proxy(dataset, others.total)
    of = f"errors of size {largest:g}: gold at the end"
    end = [
        drawn_at_most(
            "prediction",
            f"tilt, heavy-tailed {of}, less that under normal errors",
            0.0,
            last.sel(error="student") - last.sel(error="normal"),
        ),
        drawn_at_most("prediction", f"tilt, half of gold's peak, less normal {of}", 0.0, lost),
    ]
    root, gold, _ = at_equal_drift(as_large_as_gold(dataset))
    student = gold.sel(error="student")
    kind = ERRORS["student"].capitalize()
    what = f"{kind} as large as gold, sqrt(KL) of {root:.2g}: gold of the tilt less policy gradient's"
    apart = student.sel(rule="tilt") - student.sel(rule="policy gradient")
    end.append(drawn_at_most("finding", what, 0.0, apart))
    return [
        *grouped("Bounds", _bound(dataset)),
        *grouped(
            "Bounds",
            each_at_most("theorem", "proxy above the tilt's at the same drift, largest", BETWEEN, above, "rule"),
        ),
        *grouped("Weak tilt: gold for proxy is Cov/Var", _weak(dataset)),
        *grouped("Gold at the end", end),
    ]


def _bound(dataset: xr.Dataset) -> list[Claim]:
    """Nothing is above the bound of best of n; continuous rewards, which normal errors nearly are, reach it."""
    total, nums = dataset.total.sel(rule="best of n"), np.array(datasets.settings_of(dataset)["nums"])
    two = int(np.argmin(abs(nums - 2)))
    reached = (total / dataset.best_of_n_bound).isel(record=two).sel(error="normal")
    return [
        at_most(
            "theorem", "KL(best of n‖base) - (ln n - (n - 1)/n), largest, nats", 1e-9, total - dataset.best_of_n_bound
        ),
        near(
            "theorem", f"KL(best of n‖base) / its bound at n = {nums[two]:g}, normal errors", 1.0, reached.mean(), 0.02
        ),
    ]


def _weak(dataset: xr.Dataset) -> list[Claim]:
    """Gold for proxy along the tilt, extrapolated to no strength."""
    tilt = dataset.sel(rule="tilt")
    strengths = xr.DataArray(np.array(datasets.settings_of(dataset)["strengths"]), dims="record")
    limit, missed = extrapolated(tilt.gold / tilt.proxy, strengths, "record")
    rows = ((error, *(x.sel(error=error) for x in (tilt.slope, limit, missed))) for error in tilt.error.values)
    return [
        drawn("theorem", f"{error} errors", slope, seen, missed.mean(), possible=(0, 1))
        for error, slope, seen, missed in rows
    ]


def _tilts_proxy(dataset: xr.Dataset, total: xr.DataArray) -> xr.DataArray:
    """The proxy that the tilt has at some drifts, in nats."""
    tilt = dataset.sel(rule="tilt", drop=True)
    return xr.apply_ufunc(
        lambda at, total, proxy: np.interp(at, np.concatenate([[0.0], total]), np.concatenate([[0.0], proxy])),
        np.sqrt(total),
        np.sqrt(tilt.total),
        tilt.proxy,
        input_core_dims=[["record"]] * 3,
        output_core_dims=[["record"]],
        vectorize=True,
    )


def kept_at_end(dataset: xr.Dataset) -> xr.DataArray:
    """Gold at the strongest, as a share of its largest on the way (means over draws); ends lie at different drifts."""
    return dataset.gold.isel(record=-1).mean("seed") / dataset.gold.max("record").mean("seed")


def at_equal_drift(dataset: xr.Dataset) -> tuple[float, xr.DataArray, xr.DataArray]:
    """Root of the largest drift that all rules reach in all draws; gold there, and as a share of the peak before."""
    drift = dataset.total.max("record").min().item()
    gold = equal_drift.at_spent(dataset[["total", "gold"]], (drift,)).gold.squeeze("drift")
    peak = xr.ufuncs.maximum(dataset.gold.where(dataset.total <= drift).max("record"), gold)
    return drift**0.5, gold, gold.mean("seed") / peak.mean("seed")


def as_large_as_gold(dataset: xr.Dataset) -> xr.Dataset:
    """The runs whose error is nearest in size to gold."""
    return dataset.sel(size=1, method="nearest")


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

    def ends(**path: str) -> str:
        return (
            f"{path['rule']} {where(peak.sel(path))} and {where(half.sel(path))}, "
            f"{kept.sel(path).item():.0%} of gold's peak at the end"
        )

    root, gold, share = at_equal_drift(here)

    def equal(error: str, rule: str) -> str:
        at = {"error": error, "rule": rule}
        return f"{rule} {gold.sel(at).mean().item():.2f}, {share.sel(at).item():.0%} of its peak"

    return [
        *(
            f"{ERRORS[error].capitalize()}, size {here['size'].item():g}: gold turns over and S falls through 1/2 at "
            f"sqrt(KL) of {'; '.join(ends(error=error, rule=rule) for rule in here.rule.values)}."
            for error in here.error.values
        ),
        *(
            f"{ERRORS[error].capitalize()}: gold at the same sqrt(KL) of {root:.2g}, which all reach: "
            f"{'; '.join(equal(error, rule) for rule in here.rule.values)}."
            for error in here.error.values
        ),
    ]
