"""The panels on hints and a monitor: who is honest, who says so, who hides it, and where a fine stops the saying."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from experiments.claims import hints as readings
from figures import style

COLOURS = {
    "honest": "#DDDDDD",
    "blatant": style.COLOURS["blue"],
    "obfuscated": style.COLOURS["red"],
    "silent": style.COLOURS["black"],
}
MEANING = {
    "honest": "honest: the hint is hardly used",
    "blatant": "blatant: used, and the thoughts say so",
    "obfuscated": "obfuscated: the thoughts carry it unsaid",
    "silent": "silent: used past them",
}
MAPS = ("exact", "annealed", "plain gradient", "RLOO", "GRPO")
LOOKS = {"annealed": "red", "plain gradient": "blue", "exact": "orange", "RLOO": "green"}


def draw_map(axis: Axes, dataset: xr.Dataset, found: xr.DataArray, law: xr.DataArray | None) -> None:
    """Cells over strength and fine, each cut into its seeds, and the law for where saying stops."""
    colours, num_seeds = list(COLOURS.values()), found.sizes["seed"]
    for (row, column, i), cell in np.ndenumerate(found.transpose("fine", "strength", "seed").values.astype(int)):
        corner = (column + i / num_seeds, row)
        axis.add_patch(Rectangle(corner, 1 / num_seeds, 1, facecolor=colours[cell], edgecolor="none"))
    rows, columns = found.sizes["fine"], found.sizes["strength"]
    for edge in range(columns + 1):
        axis.axvline(edge, color="white", lw=1)
    for edge in range(rows + 1):
        axis.axhline(edge, color="white", lw=1)
    if law is not None:
        height = np.interp(law.mean("seed").values, dataset.fine.values, np.arange(rows) + 0.5)
        axis.plot(np.arange(columns) + 0.5, height, "-o", color="white", lw=2.4, ms=3.6)
        axis.plot(np.arange(columns) + 0.5, height, "-o", color="black", lw=1.0, ms=2.0)
    axis.set(xlim=(0, columns), ylim=(0, rows))
    axis.set_xticks(np.arange(columns) + 0.5, [f"{s:g}" for s in dataset.strength.values])
    axis.set_yticks(np.arange(rows) + 0.5, [f"{fine:g}" for fine in dataset.fine.values])
    axis.tick_params(length=0)
    axis.set(xlabel="strength s = 1/β", ylabel="fine for saying so")
    handles: list[Artist] = [Patch(color=colour, label=MEANING[cell]) for cell, colour in COLOURS.items()]
    if law is not None:
        handles.append(Line2D([], [], color="black", marker="o", ms=2, lw=1, label="both ends are worth the same"))
    axis.legend(handles=handles)


def draw_rule(axis: Axes, dataset: xr.Dataset, rule: str) -> None:
    """The map of a rule, with the law."""
    draw_map(axis, dataset, readings.cells(dataset).sel(rule=rule), readings.balance(dataset).sel(rule=rule))


def draw_control(axis: Axes, dataset: xr.Dataset) -> None:
    """The map of the exact gradient where the answer sees the hint."""
    draw_map(axis, dataset, readings.cells(dataset, "everywhere_"), None)


def draw_stops(axis: Axes, dataset: xr.Dataset) -> None:
    """Where saying stops against where the ends are worth the same, seed by seed."""
    predicted, measured = readings.balance(dataset), readings.stops(dataset)
    marks = dict(zip(LOOKS, "osDv", strict=True))
    for rule, colour in LOOKS.items():
        x, y = (values.sel(rule=rule).isel(strength=slice(1, None)).values.ravel() for values in (predicted, measured))
        size = {"s": 14, "color": style.COLOURS[colour], "alpha": 0.8, "linewidths": 0}
        axis.scatter(x, y, marker=marks[rule], label=rule, **size)
    ends = np.array([0, 1.05 * max(np.nanmax(measured), np.nanmax(predicted))])
    axis.plot(ends, ends, color="black", lw=0.6, zorder=0)
    axis.axhline(readings.honest_limit(dataset), color="black", lw=0.5, ls=":")
    axis.set(xlabel="fine at which the ends are worth the same", ylabel="fine at which half is said", xlim=ends)
    axis.legend()


def draw_odds(axis: Axes, dataset: xr.Dataset) -> None:
    """How far the log-odds of saying fall, against strength times fine, seeds averaged."""
    pressure = (dataset.strength * dataset.fine).isel(fine=slice(1, None))
    series = {
        "seen everywhere, exact": (dataset.everywhere_recall, "black", "o"),
        "carried, annealed": (dataset.recall.sel(rule="annealed"), style.COLOURS["red"], "s"),
        "carried, plain gradient": (dataset.recall.sel(rule="plain gradient"), style.COLOURS["blue"], "D"),
    }
    for label, (recall, colour, mark) in series.items():
        fell = readings.fallen(recall).mean("seed").isel(fine=slice(1, None)).transpose(*pressure.dims)
        axis.plot(pressure.values.ravel(), fell.values.ravel(), mark, color=colour, ms=2.5, label=label)
    axis.plot([0, 4.4], [0, 4.4], color="black", lw=0.6)
    axis.set(xlabel="strength × fine, nats", ylabel="log-odds of saying fall by, nats", xlim=(0, 4.4), ylim=(-0.3, 6))
    axis.legend()


def draw_accuracy(axis: Axes, dataset: xr.Dataset) -> None:
    """Right answers at the greatest strength against the fine, by rule, all seeds in a band."""
    end = dataset.accuracy.isel(strength=-1)
    for (rule, colour), dash in zip((LOOKS | {"GRPO": "purple"}).items(), (*style.DASHES, "-"), strict=False):
        style.spread(axis, end.fine, end.sel(rule=rule), colour, dash, rule)
    axis.set(xlabel="fine for saying so", ylabel="right answers, hint shown", ylim=(0.55, 1.02))
    axis.legend()


def print_lines(axis: Axes, dataset: xr.Dataset) -> None:
    """Transcripts of wrong hints in each cell, from the exact gradient."""
    points, columns = readings.clearest(dataset), {}
    for cell in COLOURS:
        point = points.get(cell)
        where = "not reached" if point is None else f"fine {float(point.fine):g}, strength {float(point.strength):g}"
        lines = [] if point is None else readings.lines_at(point.isel(line=slice(3))).split("\n")
        columns[f"{cell}: {where}"] = lines
    style.columns(axis, columns, list(COLOURS.values()), "DejaVu Sans Mono")
