"""A language model's answers: S of tilts against R², question by question, what detectors see, and a repaired base."""

from collections.abc import Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import language_model as readings
from figures import style
from figures.pages import Page, Panel, lettered
from toypersona import datasets

MARKS = "os^DvPX*<>hd"
COLOURS = (*style.COLOURS.values(), "#56B4E9")

NORMAL = 1.96
"""Standard errors of an interval that covers 95 of 100."""


def draw_law(axis: Axes, dataset: xr.Dataset) -> None:
    """Tilts at all questions, from either half; the law is the diagonal."""
    axis.plot([0, 1], [0, 1], color="black", lw=0.8)
    one = readings.tilts(readings.together(dataset)).isel(seed=0)
    for name, colour, mark in _looks(dataset):
        here = one.sel(reward=name).stack(point=["half", "policy"])
        bars = {"xerr": NORMAL * here.predicted_se, "yerr": NORMAL * here.selection_fraction_se}
        look = {"color": colour, "mfc": "none", "ms": 4, "elinewidth": 0.5}
        axis.errorbar(here.predicted, here.selection_fraction, fmt=mark, label=name, **bars, **look)
    axis.set(xlabel="R², from one half of the answers", ylabel="S of tilts, on the other half", ylim=(-0.25, 1.15))
    axis.legend()


def draw_selection(axis: Axes, dataset: xr.Dataset) -> None:
    """Nats at every single question."""
    one = readings.tilts(readings.single(dataset)).isel(seed=0)
    for name, colour, mark in _looks(dataset):
        here = one.sel(reward=name)
        axis.plot(
            readings.law(here).values.ravel(), here.selection.values.ravel(), mark, color=colour, ms=3, mfc="none"
        )
    most = float(np.nanmax(one.total))
    axis.plot([0, most], [0, most], color="black", lw=0.8)
    axis.set(xlabel="R² × drift, nats", ylabel="selection, nats")


def draw_alarms(axis: Axes, dataset: xr.Dataset) -> None:
    """Ln E against what the hull distance of the tilts makes of as many answers."""
    every = readings.together(dataset).isel(seed=0)
    for name, colour, mark in _looks(dataset):
        here = every.sel(reward=name)
        expected = here.num * (here.total - here.selection)
        axis.plot(expected.values.ravel(), here.log_e.values.ravel(), mark, color=colour, ms=3, mfc="none")
    axis.axhline(readings.ALARM, color="0.5", lw=0.8, ls="--")
    axis.set(xlabel="answers × hull distance, nats", ylabel="ln E, held-out answers")


def draw_repair(axis: Axes, dataset: xr.Dataset) -> None:
    """S of tilts of the base after shuffled lines: as given, in grey, and repaired."""
    one = readings.together(dataset).isel(seed=0)
    axis.plot([0, 1], [0, 1], color="black", lw=0.8)
    for name, colour, mark in _looks(dataset):
        here = one.sel(reward=name)
        where, error = float(here.shuffled_predicted), NORMAL * float(here.shuffled_selection_fraction_se)
        axis.errorbar(where, float(here.shuffled_selection_fraction), error, fmt=mark, color=colour, mfc="none", ms=4)
        axis.plot(where, float(here.shuffled_as_given), mark, color="0.6", ms=3)
    axis.set_yscale("symlog", linthresh=1.0)
    axis.set(xlabel="R² by repaired voices", ylabel="S (grey: voices as given)")


def _looks(dataset: xr.Dataset) -> Iterable[tuple[str, str, str]]:
    """Name, colour and marker of every reward."""
    return [
        (str(name), COLOURS[i % len(COLOURS)], MARKS[i % len(MARKS)]) for i, name in enumerate(dataset.reward.values)
    ]


def _panels(dataset: xr.Dataset) -> Iterable[Panel]:
    every, failing = readings.together(dataset), readings.failing(dataset)
    nats = datasets.settings_of(dataset)["nats"]
    num = dataset.sizes["reward"]
    yield Panel(
        draw_law,
        f"{num - len(failing)} of {num} rewards select R²",
        f"Selection fraction of tilts {nats[0]:g} to {nats[-1]:g} nats from the base, all questions together, against "
        "R². R² and the strength are read off one half of the answers, S off the other, and the other way round. Bars: "
        "95% intervals of the samples; one draw of the random score. The line is the law.",
    )
    yield Panel(
        draw_selection,
        "At single questions too",
        "Selection of the same tilts at each question alone, against R² × drift; without the tilts whose weighted "
        "answers are worth less than 50. The line is the law.",
    )
    alarmed = int((every.log_e >= readings.ALARM).isel(seed=0).sum())
    yield Panel(
        draw_alarms,
        f"{alarmed} of {every.log_e.isel(seed=0).size} policies raise an alarm",
        "Ln E against every mix of the voices, of answers that a tilt or best of n accepts from the half that it was "
        "not made from, against their number times the hull distance; above the dashed line a false alarm has a "
        "probability of one in twenty at most, if a policy that is known by samples sums to one or less; it is scaled "
        "down by three standard errors.",
    )
    off, _ = readings.misfit(every)
    yield Panel(
        draw_repair,
        f"A base {off:.1f} nats outside, repaired",
        f"Selection fraction of tilts {nats[0]:g} nats from the model after everybody's lines, by repaired voices and, "
        "in grey, by the voices as they are, against R². Bars: 95% intervals of the samples. The line is the law.",
    )


def draw(dataset: xr.Dataset) -> dict[str, Page]:
    """All panels."""
    return {"": Page("Answers of SmolLM2-135M in three voices", lettered(*_panels(dataset)), "ab;cd", 6.4)}


if __name__ == "__main__":
    style.main("language_model", draw, __doc__)
