"""Which of several right personas wins, by rule, and where entropy falls or rises at first."""

from collections.abc import Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from figures import style
from figures.labels import End, at_ends, listed
from figures.pages import SHADING, Page, Panel, lettered
from toypersona import datasets
from toypersona.measures import equal_drift

LOOKS = {
    "natural gradient": "blue",
    "RLOO, KL in reward": "purple",
    "policy gradient": "black",
    "RLOO": "green",
    "GRPO": "orange",
    "expert iteration": "red",
}
LAWS = {"natural gradient": "natural_law", "policy gradient": "law"}
"""Exact rules, and the variable that predicts the share of the likeliest."""

ALONE = 0.95
"""Mean share of the largest right persona from which on it is said to win."""

STAYED = 0.02
"""How far the share of the likeliest may have moved, mean over prompts and draws, where all are said to stay."""


def draw_largest(axis: Axes, dataset: xr.Dataset) -> None:
    """Share of the largest of the right personas on the way."""
    mean, half = equal_drift.interval(dataset.largest)
    style.curves(axis, mean, half, LOOKS)
    axis.set(xscale="log", xlabel="steps", ylabel="share of the largest", ylim=(0.5, 1.02))
    last = mean.isel(record=-1)
    at_ends(axis, [End(rule, float(mean.record[-1]), last.sel(rule=rule).item(), style.COLOURS[colour])
                   for rule, colour in LOOKS.items()])  # fmt: skip


def draw_shares(axis: Axes, dataset: xr.Dataset) -> None:
    """A row for the base and for every rule: the share of the likeliest at each prompt in each draw."""
    end = dataset.isel(record=-1)
    rows = {"base": (dataset.base_share, "0.5")}
    rows |= {rule: (end.share.sel(rule=rule), style.COLOURS[colour]) for rule, colour in LOOKS.items()}
    for row, (rule, (shares, colour)) in enumerate(rows.items()):
        values = np.sort(shares.values.ravel())
        axis.plot(values, np.linspace(-0.3, 0.3, values.size) - row, "o", ms=2.2, color=colour, mew=0)
        if rule in LAWS:
            law = np.sort(end[LAWS[rule]].values.ravel())
            axis.plot(law, np.linspace(-0.3, 0.3, law.size) - row, "-", color="0.6", lw=0.8)
    axis.axvline(0.5, color="black", lw=0.5)
    axis.set_yticks([-row for row in range(len(rows))], [*rows])
    axis.tick_params(axis="y", length=0)
    axis.set(xlim=(-0.03, 1.03), xlabel="the likeliest's share at the end")


def draw_entropy(axis: Axes, dataset: xr.Dataset) -> None:
    """A row for what is paid for: entropy's first change by every rule and draw, and its formula."""
    colours = dict(zip(dataset.direction.values, [*style.COLOURS.values(), "0.5", "0.7"], strict=False))
    shift = np.linspace(0.3, -0.3, dataset.sizes["direction"])
    for row, paid in enumerate(dataset.paid.values):
        for (direction, colour), up in zip(colours.items(), shift, strict=True):
            here, at = dataset.sel(paid=paid, direction=direction), np.full(dataset.sizes["seed"], up - row)
            label = None if row else direction
            axis.plot(here.formula, at, "|", ms=5, mew=0.7, color="0.6")
            axis.plot(here.change, at, "o", ms=2, mew=0, color=colour, label=label)
    axis.axvline(0, color="black", lw=0.6)
    axis.set_yticks([-row for row in range(dataset.sizes["paid"])], [*dataset.paid.values])
    axis.tick_params(axis="y", length=0)
    axis.set(xlabel="entropy's change, nats for a √nat of drift", ylim=(0.5 - dataset.sizes["paid"], 0.5))
    axis.legend()


def _outcomes(dataset: xr.Dataset) -> tuple[list[str], list[str]]:
    """Rules under which one right persona wins, and rules under which all stay as they were."""
    end = dataset.isel(record=-1)
    moved = abs(end.share - dataset.base_share).mean(["prompt", "seed"])
    alone = [rule for rule in LOOKS if end.largest.sel(rule=rule).mean() > ALONE]
    return alone, [rule for rule in LOOKS if moved.sel(rule=rule) < STAYED and rule not in alone]


def _panels(dataset: xr.Dataset) -> Iterable[Panel]:
    draws, steps = dataset.sizes["seed"], datasets.settings_of(dataset)["num_steps"]
    alone, stayed = _outcomes(dataset)
    yield Panel(
        draw_largest,
        f"One right persona wins under {listed(alone, 'no rule')}; all stay under {listed(stayed, 'no rule')}",
        f"All right personas are paid the same. Share of the largest of them, mean over prompts, in the course of "
        f"{steps} steps on the gates, by {len(LOOKS)} of the {dataset.sizes['rule']} rules that were trained; "
        f"{draws} draws of text and fit, and of sampled rules the mean of several runs.",
        SHADING,
    )
    other = {rule: 1 - dataset.won.sel(rule=rule).mean().item() for rule in alone}
    found = ", ".join(f"{rule} {share:.0%}" for rule, share in other.items())
    yield Panel(
        draw_shares,
        f"How often the winner is not the base's likeliest: {found}" if alone else "The likeliest persona's share",
        "Share, among the right personas, of the one that the base has most often: in the base, and at the end by "
        f"rule; a point for each prompt of each of {draws} draws, in order. Grey lines: laws of the exact rules. The "
        "title: share of the runs.",
    )
    least = dataset.change.min(["seed", "direction"])
    rises = [str(paid) for paid in dataset.paid.values if least.sel(paid=paid) > 0]
    yield Panel(
        draw_entropy,
        f"Paid for {' or '.join(rises)}, entropy rises by any rule" if rises else "Entropy's first change",
        f"Entropy's first change along the first step of each rule, by what is paid for; points: measured, {draws} "
        "draws; grey ticks: the formula −Cov(log π, d), d the rule's direction.",
    )


def draw(dataset: xr.Dataset) -> dict[str, Page]:
    """All panels."""
    panels = lettered(*_panels(dataset))
    return {"": Page("Which of several right personas wins", panels, "ab;cc", 4.6)}


if __name__ == "__main__":
    style.main("amplification", draw, __doc__)
