"""Hints and a monitor of the thoughts: who is honest, who says so, who hides it, and where a fine stops the saying."""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
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
    axis.set_xticks(np.arange(columns) + 0.5, [f"{s:g}" for s in dataset.strength.values], fontsize=6)
    axis.set_yticks(np.arange(rows) + 0.5, [f"{fine:g}" for fine in dataset.fine.values], fontsize=6)
    axis.tick_params(length=0)


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
    axis.set_title("where saying stops: a balance, unless\na barrier keeps the code from being found", fontsize=7)
    axis.legend(fontsize=5.5, loc="lower right", handletextpad=0.1)


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
    axis.set_title(
        "silence costs nothing where the answer sees\nthe hint: odds fall by exp(−strength × fine)", fontsize=7
    )
    axis.legend(fontsize=5.5, loc="upper left", handletextpad=0.1)


def draw_accuracy(axis: Axes, dataset: xr.Dataset) -> None:
    """Right answers at the greatest strength against the fine, by rule, all seeds in a band."""
    end = dataset.accuracy.isel(strength=-1)
    for (rule, colour), dash in zip((LOOKS | {"GRPO": "purple"}).items(), (*style.DASHES, "-"), strict=False):
        here, shade = end.sel(rule=rule), style.COLOURS[colour]
        axis.plot(here.fine, here.mean("seed"), ls=dash, color=shade, label=rule)
        axis.fill_between(here.fine, here.min("seed"), here.max("seed"), color=shade, alpha=0.15, lw=0)
    strongest = float(dataset.strength[-1])
    axis.set(xlabel="fine for saying so", ylabel="right answers, hint shown", ylim=(0.55, 1.02))
    axis.set_title(f"strength {strongest:g}: a fine helps only\nthose who do not find a code", fontsize=7)
    axis.legend(fontsize=5.5, loc="upper left", bbox_to_anchor=(0.08, 0.66))


def print_lines(axis: Axes, dataset: xr.Dataset) -> None:
    """Transcripts of wrong hints in each cell, from the exact gradient."""
    axis.axis("off")
    points, style_of_text = readings.clearest(dataset), {"va": "top", "transform": axis.transAxes, "in_layout": False}
    for i, (cell, colour) in enumerate(COLOURS.items()):
        point = points.get(cell)
        where = "not reached" if point is None else f"fine {float(point.fine):g}, strength {float(point.strength):g}"
        axis.add_patch(Rectangle((i / 4, 0.95), 0.012, 0.06, color=colour, transform=axis.transAxes, clip_on=False))
        axis.text(i / 4 + 0.02, 1.0, f"{cell}: {where}", weight="bold", fontsize=5.3, **style_of_text)
        if point is not None:
            text = readings.lines_at(point.isel(line=slice(3)))
            axis.text(
                i / 4 + 0.02, 0.87, text, fontsize=5.2, family="DejaVu Sans Mono", linespacing=1.3, **style_of_text
            )


def draw(dataset: xr.Dataset) -> Figure:
    """Draw the maps of every rule and the control, the two laws, accuracy, and transcripts."""
    figure = plt.figure(figsize=(style.PAGE, 6.0), layout="constrained")
    grid = figure.add_gridspec(3, 1, height_ratios=[2.0, 2.3, 1.4])
    maps, laws, lines = (figure.add_subfigure(grid[row]) for row in range(3))
    axes = maps.subplots(1, len(MAPS) + 1, sharey=True)
    law = readings.balance(dataset)
    for axis, rule in zip(axes, MAPS, strict=False):
        draw_map(axis, dataset, readings.cells(dataset).sel(rule=rule), law.sel(rule=rule))
        axis.set_title(rule, fontsize=7)
    draw_map(axes[-1], dataset, readings.cells(dataset, "everywhere_"), None)
    axes[-1].set_title("exact, hint seen\neverywhere", fontsize=7)
    axes[0].set_ylabel("fine for saying so")
    maps.supxlabel("strength s = 1/β; line: fine at which the policies of both ends are worth the same", fontsize=8)
    handles = [Patch(color=colour, label=MEANING[cell]) for cell, colour in COLOURS.items()]
    maps.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=5.8, columnspacing=1.0, handlelength=1.2)
    draws = (draw_stops, draw_odds, draw_accuracy)
    for axis, draw_panel in zip(laws.subplots(1, 3), draws, strict=True):
        draw_panel(axis, dataset)
    print_lines(lines.subplots(), dataset)
    return figure


if __name__ == "__main__":
    style.main("hints", draw, __doc__)
