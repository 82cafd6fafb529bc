"""Gold and proxy against the root of the drift, what the drift is made of, and best of n against its bound."""

import functools
from collections.abc import Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import overoptimisation as readings
from figures import style
from figures.pages import BARS, SHADING, Page, Panel, lettered
from toypersona import datasets
from toypersona.measures import equal_drift

LOOKS = {"policy gradient": "blue", "best of n": "orange", "tilt": "black"}
ERRORS = readings.ERRORS
ROOT = "√KL, √nats"
POINTS = 40
"""Drifts at which means over draws are drawn."""


def along(dataset: xr.Dataset, error: str, rule: str) -> xr.Dataset:
    """The draws of one rule at common drifts [seed, root], nan beyond what a draw spends."""
    one = readings.as_large_as_gold(dataset).sel(error=error, rule=rule)
    roots = np.linspace(float(one.total.min() ** 0.5) + 0.02, float(one.total.max() ** 0.5), POINTS)
    at = equal_drift.at_spent(one[["total", "gold", "proxy", "selection_fraction"]], (roots**2).tolist())
    return at.assign_coords(drift=roots).rename(drift="root")


def _draw_mean(axis: Axes, values: xr.DataArray, colour: str, label: str) -> None:
    """Mean over the draws and its interval, where most draws have come so far."""
    mean, half = equal_drift.interval(values, equal_drift.REACHED * values.sizes["seed"])
    axis.plot(mean.root, mean, color=style.COLOURS[colour], label=label)
    axis.fill_between(mean.root, mean - half, mean + half, color=style.COLOURS[colour], alpha=0.15, lw=0)


def _gold_range(dataset: xr.Dataset) -> tuple[float, float]:
    """Of the mean gold along all paths that are drawn, zero included."""
    gold = readings.as_large_as_gold(dataset).gold.mean("seed")
    return min(0.0, float(gold.min())), float(gold.max())


def draw_paid(axis: Axes, dataset: xr.Dataset, error: str) -> None:
    """Gold and proxy along all three rules."""
    for rule, colour in LOOKS.items():
        at = along(dataset, error, rule)
        _draw_mean(axis, at.gold, colour, rule)
        proxy = equal_drift.interval(at.proxy, equal_drift.REACHED * at.sizes["seed"])[0]
        axis.plot(at.root, proxy, ":", color=style.COLOURS[colour], lw=0.9)
    axis.plot([], [], "-", color="0.5", label="gold")
    axis.plot([], [], ":", color="0.5", label="proxy")
    axis.set(xlabel=ROOT, ylabel="reward, std. dev.")
    low, high = _gold_range(dataset)
    axis.set_ylim(low - 0.1 * (high - low), high + 0.6 * (high - low))
    axis.legend()


def draw_equal(axis: Axes, dataset: xr.Dataset) -> None:
    """Gold where all rules have spent the same: a row for each error and rule."""
    _, gold, _ = readings.at_equal_drift(readings.as_large_as_gold(dataset))
    mean, half = equal_drift.interval(gold)
    for i, (rule, colour) in enumerate(LOOKS.items()):
        rows = [0.22 * (1 - i) - row for row in range(len(ERRORS))]
        x, bars = (values.sel(rule=rule).reindex(error=[*ERRORS]) for values in (mean, half))
        axis.errorbar(x, rows, xerr=bars, fmt="o", ms=3.5, lw=1.0, color=style.COLOURS[colour], label=rule)
    axis.axvline(0, color="black", lw=0.5)
    names = [name.removeprefix("errors ").removesuffix(" errors") for name in ERRORS.values()]
    axis.set_yticks([-row for row in range(len(ERRORS))], names)
    axis.tick_params(axis="y", length=0)
    axis.set(xlabel="gold, std. dev.", ylim=(0.5 - len(ERRORS), 0.5))
    axis.legend()


def draw_fraction(axis: Axes, dataset: xr.Dataset, error: str) -> None:
    """Selection fraction along all three rules."""
    for rule, colour in LOOKS.items():
        _draw_mean(axis, along(dataset, error, rule).selection_fraction, colour, rule)
    axis.axhline(0.5, color="black", lw=0.5)
    axis.set(xlabel=ROOT, ylabel="selection fraction S", ylim=(0, 1.02))
    axis.legend()


def draw_bound(axis: Axes, dataset: xr.Dataset) -> None:
    """KL of best of n against its bound."""
    nums = datasets.settings_of(dataset)["nums"]
    best = readings.as_large_as_gold(dataset).sel(rule="best of n").total.mean("seed")
    axis.plot(nums, dataset.best_of_n_bound, "--", color="0.5", label="ln n − (n−1)/n")
    for error, colour in zip(ERRORS, ("green", "purple", "red"), strict=True):
        axis.plot(nums, best.sel(error=error), color=style.COLOURS[colour], label=f"best of n: {ERRORS[error]}")
    axis.set(xscale="log", xlabel="n", ylabel="KL(best of n‖base), nats")
    axis.legend()


def _panels(dataset: xr.Dataset) -> Iterable[Panel]:
    here = readings.as_large_as_gold(dataset)
    draws, kept = dataset.sizes["seed"], readings.kept_at_end(here).sel(rule="tilt")
    size = f"errors {here['size'].item():g} times as large as gold"
    for error, name in ERRORS.items():
        title = f"{name.capitalize()}: the tilt ends with {kept.sel(error=error).item():.0%} of its peak gold"
        says = (
            f"Gold (solid) and proxy (dotted, it may leave the panel) under {name}, {size}, against the root of the "
            f"drift; means over {draws} draws, as far as {equal_drift.REACHED:.0%} of them come. The title: gold at "
            "the strongest tilt over the largest on its way, each of the draw's own, means over draws; the ends of "
            "some draws lie beyond the curve."
        )
        yield Panel(functools.partial(draw_paid, error=error), title, says, SHADING)
    root, gold, _ = readings.at_equal_drift(here)
    left = gold.sel(error="student").mean("seed")
    listed = ", ".join(f"{rule} {left.sel(rule=rule).item():.2f}" for rule in LOOKS)
    says = f"Gold where every rule has spent √KL = {root:.2g} ({size}); means over {draws} draws."
    yield Panel(draw_equal, f"{ERRORS['student'].capitalize()}, √KL = {root:.2g}: {listed}", says, BARS)
    _, half = readings.turns(here)
    for error, name in ERRORS.items():
        last = half.sel(error=error, rule="policy gradient")
        middle = float(last.quantile(0.5, method="closest_observation"))
        until = f"until √KL = {middle:.1f}"
        if middle in (0, np.inf):
            until = "to the end" if middle else "nowhere"
        says = (
            f"Selection fraction along the same paths, {name}; means over {draws} draws. The title: where S of policy "
            "gradient falls through ½, median over draws."
        )
        title = f"{name.capitalize()}: policy gradient mostly selects {until}"
        yield Panel(functools.partial(draw_fraction, error=error), title, says, SHADING)
    nums = np.array(datasets.settings_of(dataset)["nums"])
    share = (here.total.sel(rule="best of n", error="normal") / dataset.best_of_n_bound).mean("seed")
    two = int(np.argmin(abs(nums - 2)))
    title = (
        f"KL of best of n: {share[two].item():.2f} of its bound at n = {nums[two]:.2g}, at last {share[-1].item():.2f}"
    )
    says = f"KL of best of n against its bound ln n − (n−1)/n; means over {draws} draws, {size}."
    yield Panel(draw_bound, title, says)


def draw(dataset: xr.Dataset) -> dict[str, Page]:
    """All panels."""
    page = Page(
        "Where gold is lost to the proxy", lettered(*_panels(dataset)), "abcd;efgh", 4.8, one_key=True, bare="bcfg"
    )
    return {"": page}


if __name__ == "__main__":
    style.main("overoptimisation", draw, __doc__)
