"""L1: what weak RL selects, rule by rule, and how little the law R² misses of it."""

from collections.abc import Iterable

import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import weak_limit as readings
from figures import style
from figures.labels import End, at_ends
from figures.pages import Page, Panel, lettered

SCOPES = {"tilt": ("black", "o"), "gates": ("green", "^"), "experts": ("orange", "s"), "both": ("blue", "D")}
"""Colours and markers by what a rule trains."""

KINDS = {"tilt": "-", "vanilla": "-", "natural": "--", "adam": ":"}
"""Dashes by the direction of a rule."""


def _scope(rule: str) -> str:
    return rule.partition("/")[2] or rule


def _moving(dataset: xr.Dataset) -> list[str]:
    """Rules that do more than train gates, which can only select."""
    return [rule for rule in dataset.rule.values if _scope(rule) != "gates"]


def draw_selected(axis: Axes, dataset: xr.Dataset) -> None:
    """A row for each rule: measured S(0+) of the middle nine tenths of the cases, and their median."""
    rules = sorted(dataset.rule.values, key=lambda rule: [*SCOPES].index(_scope(rule)))
    measured, _ = readings.limits(dataset)
    for row, rule in enumerate(rules):
        colour, marker = SCOPES[_scope(rule)]
        low, middle, high = measured.sel(rule=rule).quantile([0.05, 0.5, 0.95]).values
        axis.plot([low, high], [-row, -row], "-", color=style.COLOURS[colour], lw=2.0, alpha=0.35)
        axis.plot(middle, -row, marker, color=style.COLOURS[colour], ms=4)
    axis.set_yticks([-row for row in range(len(rules))], rules)
    axis.tick_params(axis="y", length=0)
    axis.set(xlim=(-0.02, 1.03), xlabel="S(0+)")


def draw_missed(axis: Axes, dataset: xr.Dataset) -> None:
    """What the law misses of every case; the lines are where the claim would fail."""
    measured, _ = readings.limits(dataset)
    missed, unit = measured - dataset.predicted, readings.EXTRAPOLATED
    shown = {_scope(rule): [name for name in dataset.rule.values if _scope(name) == _scope(rule)]
             for rule in dataset.rule.values}  # fmt: skip
    for scope, rules in shown.items():
        colour, marker = SCOPES[scope]
        x, y = dataset.predicted.sel(rule=rules).values.ravel(), missed.sel(rule=rules).values.ravel() / unit
        axis.plot(x, y, marker, ms=2.5, mew=0, color=style.COLOURS[colour], label=scope, rasterized=True)
    for bound in (-1, 1):
        axis.axhline(bound, color="black", lw=0.8, ls="--", label="bound" if bound == 1 else None)
    axis.set(xlim=(-0.02, 1.02), xlabel="R², the law", ylabel="(S(0+) − R²) / bound")
    most = 1.15 * max(1.0, float(abs(missed).max()) / unit)
    axis.set_ylim(-most, most)
    axis.legend()


def draw_left(axis: Axes, dataset: xr.Dataset) -> None:
    """Median of what is left over at every step for each rule, and the middle half of all cases."""
    left, x = readings.residual(dataset), dataset.drift.values
    low, high = left.sel(rule=_moving(dataset)).quantile([0.25, 0.75], ["world", "seed", "rule"]).values
    axis.fill_between(x, low, high, color="0.85", lw=0)
    ends = []
    for rule in _moving(dataset):
        (colour, marker), dash = SCOPES[_scope(rule)], KINDS[rule.partition("/")[0]]
        middle = left.sel(rule=rule).median(["world", "seed"]).values
        axis.plot(x, middle, marker=marker, ls=dash, color=style.COLOURS[colour], ms=3, lw=0.9)
        ends.append(End(rule, x[-1], middle[-1], style.COLOURS[colour]))
    axis.set(xscale="log", yscale="log", xlabel="size of the step, √(2 KL)", ylabel="|S − R²|")
    style.ticks(axis.xaxis, x)
    at_ends(axis, ends, gap=0.075)


def _panels(dataset: xr.Dataset) -> Iterable[Panel]:
    measured, _ = readings.limits(dataset)
    middle = {
        scope: measured.sel(rule=[rule for rule in dataset.rule.values if _scope(rule) == scope]).median().item()
        for scope in dict.fromkeys(map(_scope, dataset.rule.values))
    }
    cases = f"{dataset.sizes['world'] * dataset.sizes['seed']} random worlds and rewards"
    yield Panel(
        draw_selected,
        "Selected, median: " + ", ".join(f"{scope} {value:.2f}" for scope, value in middle.items()),
        f"Measured S(0+), extrapolated from the three smallest steps, rule by rule: marks: median of {cases}; lines: "
        "the middle nine tenths of them.",
    )
    missed, bound = abs(measured - dataset.predicted), readings.EXTRAPOLATED
    worst, beyond = missed.max().item(), int((missed > bound).sum())
    yield Panel(
        draw_missed,
        f"The law R² misses {beyond:,} of {measured.size:,} cases by more than {bound:g}, the worst by {worst:.1e}"
        if beyond
        else f"The law R² misses none of {measured.size:,} cases by more than {worst:.1e}",
        f"S(0+) less its prediction R², in units of the claim's bound, {bound:g}, against R²: a point for each rule in "
        f"each of {cases}. Dashed: the bound.",
    )
    order, guess = readings.order(dataset).mean().item(), readings.order(dataset).std().item()
    share = readings.moving(dataset).mean().item()
    yield Panel(
        draw_left,
        f"What is left at finite steps shrinks with the step to the power {order:.2f}",
        f"|S − R²| at {dataset.sizes['drift']} sizes of the first step, median of {cases} for each rule (gates alone "
        f"leave nothing). The power is that between the two smallest steps in the {share:.0%} of all cases in which "
        f"more than {readings.MOVING:g} is left at the smallest, its standard deviation over draws {guess:.1g}.",
        "Shading: the middle half of all cases of all these rules.",
    )


def draw(dataset: xr.Dataset) -> dict[str, Page]:
    """All panels."""
    return {"": Page("L1: the selection fraction of weak RL", lettered(*_panels(dataset)), "abc", 3.1)}


if __name__ == "__main__":
    style.main("weak_limit", draw, __doc__)
