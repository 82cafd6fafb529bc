"""A report as one figure: the budget, the nearest mixes, what lights up; several steps are curves over training."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from toypersona.reports import Report

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
"""Okabe and Ito's, told apart by everybody."""

LOOK: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}

SHOWN = 8
"""Prompts and words in a panel."""

INTERVAL = 1.96
"""Standard errors of a 95% interval."""


def draw(reports: Sequence["Report"], path: Path) -> None:
    """Write a PNG, the same bytes whenever it is drawn again."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(9.0, 6.0), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, 2).flat
        if len(reports) > 1:
            panels = (_drift_path, _fraction_path, _mix_path, _evidence_path)
            for axis, panel in zip(axes, panels, strict=True):
                panel(axis, reports)
                axis.set_xlabel("step of training")
        else:
            for axis, panel in zip(axes, (_budget, _mixes, _ratios, _words), strict=True):
                panel(axis, reports[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # Words may be of any script; the font has not all of them.
            warnings.filterwarnings("ignore", message=".*[Gg]lyph.*missing")
            figure.savefig(path, dpi=160, metadata={"Software": None})


def _budget(axis: Axes, report: "Report") -> None:
    names = ["total", "selection", "hull_distance", "switching", "novelty"]
    names = [name for name in names if math.isfinite(report.value(name)[0])]
    values, errors = np.array([report.value(name) for name in names]).reshape(-1, 2).T
    colours = ("#777777", *COLOURS)[: len(names)]
    if not names:
        _empty(axis, "No part of the drift is finite.")
    axis.barh(range(len(names)), values, xerr=INTERVAL * errors, color=colours, ecolor="black", capsize=2, height=0.6)
    axis.set_yticks(range(len(names)), ["drift" if name == "total" else name.replace("_", " ") for name in names])
    axis.invert_yaxis()
    if report.floor is not None:
        axis.axvline(report.floor.total, color="black", ls=":", lw=1)
    axis.set_xlabel("nats a response (bars: 95% intervals)")
    fraction = report.value("selection_fraction")
    axis.set_title(
        f"Drift budget: S = {fraction[0] + 0.0:.2f} ± {fraction[1]:.2f}"
        if math.isfinite(fraction[0])
        else "Drift budget"
    )


def _mixes(axis: Axes, report: "Report") -> None:
    read, rho = report.table, np.exp(report.table.log_prompts)
    names, rows = ["base, all", "policy, all"], [rho @ report.base_weights, report.pooled_weights]
    if len(read.prompts) > 1:
        names += [_short(prompt, 18) for prompt in read.prompts[:SHOWN]]
        rows += list(report.budget.weights[:SHOWN])
    left = np.zeros(len(rows))
    for k, persona in enumerate(read.personas):
        widths = np.array([row[k] for row in rows])
        axis.barh(
            range(len(rows)), widths, left=left, color=COLOURS[k % len(COLOURS)], height=0.7, label=_short(persona, 16)
        )
        left += widths
    axis.set_yticks(range(len(rows)), names)
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xlabel("weight in the nearest mix")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=7)


def _ratios(axis: Axes, report: "Report") -> None:
    from toypersona.reports import to_mix

    before = report.base_weights if report.repaired else None
    ratio = to_mix(report.table.samples, np.asarray(report.budget.weights), before)
    ratio = ratio[np.isfinite(ratio)]
    if ratio.size:
        axis.hist(ratio, bins=min(60, max(10, ratio.size // 10)), color=COLOURS[0])
    else:
        _empty(axis, "Of no response is log π/m* finite.")
    axis.axvline(0, color="black", lw=0.8)
    axis.set_xlabel("log π/m* of a response, nats")
    axis.set_ylabel("responses")
    axis.set_title("How much likelier than under the nearest mix")


def _words(axis: Axes, report: "Report") -> None:
    if report.words:
        shown = [(repr(word.word), word.nats) for word in report.words if math.isfinite(word.nats)]
        axis.set_xlabel("nats a response (part of log π/m*)")
        axis.set_title("Words that light up")
    else:
        shown = [(f"{one.prompt}: {one.response}", one.nats) for one in report.lit if math.isfinite(one.nats)]
        axis.set_xlabel("log π/m*, nats")
        axis.set_title("Responses that light up")
    shown = shown[:SHOWN]
    if not shown:
        _empty(axis, "Nothing lights up: no response is\nlikelier than under the nearest mix.")
    axis.barh(range(len(shown)), [nats for _, nats in shown], color=COLOURS[3], height=0.6)
    axis.set_yticks(range(len(shown)), [_short(name, 24) for name, _ in shown])
    axis.invert_yaxis()


def _empty(axis: Axes, says: str) -> None:
    """A panel with nothing to draw, in words."""
    axis.text(0.5, 0.5, says, transform=axis.transAxes, ha="center", va="center", color="#555555")


def _steps(reports: Sequence["Report"]) -> np.ndarray:
    return np.array([report.table.step for report in reports])


def _curve(axis: Axes, reports: Sequence["Report"], name: str, colour: str, label: str) -> None:
    values, errors = np.array([report.value(name) for report in reports]).T
    axis.plot(_steps(reports), values, "o-", color=colour, ms=3, label=label)
    axis.fill_between(
        _steps(reports), values - INTERVAL * errors, values + INTERVAL * errors, color=colour, alpha=0.2, lw=0
    )


def _drift_path(axis: Axes, reports: Sequence["Report"]) -> None:
    for name, colour, label in zip(
        ("total", "selection", "hull_distance"),
        ("#777777", *COLOURS),
        ("drift", "selection", "hull distance"),
        strict=False,
    ):
        _curve(axis, reports, name, colour, label)
    axis.set_ylabel("nats a response")
    axis.set_title("Drift budget (shaded: 95% intervals)")
    axis.legend(fontsize=7)


def _fraction_path(axis: Axes, reports: Sequence["Report"]) -> None:
    _curve(axis, reports, "selection_fraction", COLOURS[0], "S")
    axis.axhline(0.5, color="black", ls=":", lw=1)
    axis.set_ylim(min(0.0, axis.get_ylim()[0]), 1.05)
    axis.set_title("Selection fraction S; dotted: half")


def _mix_path(axis: Axes, reports: Sequence["Report"]) -> None:
    for k, persona in enumerate(reports[0].table.personas):
        axis.plot(
            _steps(reports),
            [each.pooled_weights[k] for each in reports],
            "o-",
            ms=3,
            color=COLOURS[k % len(COLOURS)],
            label=persona,
        )
    axis.set_ylim(0, 1)
    axis.set_ylabel("weight")
    axis.set_title("Nearest mix, mean over prompts")
    axis.legend(fontsize=7)


def _evidence_path(axis: Axes, reports: Sequence["Report"]) -> None:
    axis.plot(_steps(reports), [each.log_evidence / math.log(10) for each in reports], "o-", ms=3, color=COLOURS[3])
    axis.axhline(math.log10(20), color="black", ls=":", lw=1)
    axis.set_ylabel("evidence, log₁₀")
    axis.set_title("Evidence that no mix says this; dotted: one in 20")


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    # Two dollar signs would be a formula.
    return (text if len(text) <= most else f"{text[: most - 3]}...").replace("$", r"\$")
