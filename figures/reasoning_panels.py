"""The panels on thoughts: phases with transcripts, where the answer is encoded, defences, more bits."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from experiments.claims import codes
from experiments.claims import reasoning as readings
from figures import style
from toypersona import datasets

PARTS = {
    "read": style.COLOURS["blue"],
    "sharpening": "#9CCBE8",
    "keyed": style.COLOURS["orange"],
    "code": style.COLOURS["red"],
}
COLOURS = {"mixture": "#DDDDDD", "selected": PARTS["read"], "keyed": PARTS["keyed"], "coded": PARTS["code"]}
MAPS = ("exact", "annealed", "RLOO", "GRPO")
DEFENCES = {"exact": "black", "log-probability bonus": "purple", "frozen thoughts": "green", "gates only": "blue",
            "early stop": "red"}  # fmt: skip
MEANING = {
    "mixture": "mixture: the reader gets the largest part, all personas are there",
    "selected": "selected: the reader gets the largest part, a persona is selected away",
    "keyed": "keyed: the largest part takes knowing who speaks",
    "coded": "coded: the largest part is where the reader does not find it",
}
NUM_LINES = 3


def draw_map(axis: Axes, dataset: xr.Dataset, rule: str) -> None:
    """Phases over strength and length cost; each cell is cut into its seeds."""
    phases = dataset.phase.sel(rule=rule).transpose("length_cost", "strength", "seed").values.astype(int)
    num_seeds, colours = phases.shape[-1], list(COLOURS.values())
    for (row, column, i), phase in np.ndenumerate(phases):
        corner = (column + i / num_seeds, row)
        axis.add_patch(Rectangle(corner, 1 / num_seeds, 1, facecolor=colours[phase], edgecolor="none"))
    for edge in range(phases.shape[1] + 1):
        axis.axvline(edge, color="white", lw=1)
    for edge in range(phases.shape[0] + 1):
        axis.axhline(edge, color="white", lw=1)
    # Cells stand at equal distances, their strengths at their middles.
    places = np.log(dataset.strength.values), np.arange(phases.shape[1]) + 0.5
    line = codes.line(dataset, codes.likeliest(dataset)).mean("seed")
    for row, star in enumerate(line.values):
        if star < dataset.strength.values[-1]:
            axis.plot([np.interp(np.log(star), *places)] * 2, [row, row + 1], "k:", lw=1.2)
    axis.set(xlim=(0, phases.shape[1]), ylim=(0, phases.shape[0]), xlabel="strength s = 1/β", ylabel="length cost")
    some = slice(None, None, -(-phases.shape[1] // 5))
    axis.set_xticks((np.arange(phases.shape[1]) + 0.5)[some], [f"{s:g}" for s in dataset.strength.values[some]])
    axis.set_yticks(np.arange(phases.shape[0]) + 0.5, [f"{cost:g}" for cost in dataset.length_cost.values])
    axis.tick_params(length=0)
    handles: list[Artist] = [Patch(color=colour, label=MEANING[phase]) for phase, colour in COLOURS.items()]
    handles.append(Line2D([], [], color="black", ls=":", lw=1.2, label="s*: cheap codes come in by the law"))
    axis.legend(handles=handles)


def print_lines(axis: Axes, dataset: xr.Dataset) -> None:
    """One column of transcripts for each phase."""
    points, columns = readings.clearest(dataset, NUM_LINES), {}
    for phase in COLOURS:
        point = points.get(phase)
        where = "not reached" if point is None else f"cost {point.length_cost:g}, strength {point.strength:g}"
        columns[f"{phase}: {where}"] = [] if point is None else readings.lines_at(point, NUM_LINES).split("\n")
    style.columns(axis, columns, list(COLOURS.values()), "DejaVu Sans Mono")


def draw_information(axis: Axes, dataset: xr.Dataset, rule: str, cost: float) -> None:
    """Read, keyed and coded information stacked, a misled reader's below zero, and other rates on axes on the right.

    What is coded is drawn as sharpening and code.
    """
    here = dataset.sel(rule=rule, length_cost=cost).mean("seed")
    columns = np.arange(here.sizes["strength"])
    bottom = np.minimum(here.read.values, 0.0)
    for part, colour in PARTS.items():
        height = np.abs(here[part].values) if part == "read" else here[part].values
        axis.bar(columns, height, 0.8, bottom, color=colour, label=part)
        bottom = bottom + height
    axis.axhline(0, color="black", lw=0.4)
    other = axis.twinx()
    for name, look in (("accuracy", "k-"), ("agreement", "k--"), ("reliance", "k:")):
        other.plot(columns, here[name], look, lw=1, label=name)
    other.set(ylim=(-0.15, 1.08), yticks=(0, 0.5, 1))
    other.tick_params(length=2)
    other.xaxis.set_visible(False)
    other.set_ylabel("accuracy, agreement, reliance")
    other.spines["right"].set_visible(True)
    axis.set(ylim=(-0.15 * np.log(2), 1.08 * np.log(2)), ylabel="nats on the answer")
    some = slice(None, None, -(-len(columns) // 5))
    axis.set_xticks(columns[some], [f"{s:g}" for s in here.strength.values[some]])
    axis.set_xlabel("strength s = 1/β")
    (bars, bar_names), (lines, line_names) = (each.get_legend_handles_labels() for each in (axis, other))
    axis.legend(bars + lines, bar_names + line_names)


def draw_defences(axis: Axes, dataset: xr.Dataset) -> None:
    """Accuracy against agreement as the strength grows, at the greatest length cost, every seed's end a dot."""
    cost = dataset.length_cost.values[-1]
    for (rule, colour), dash in zip(DEFENCES.items(), style.DASHES, strict=True):
        here = dataset.sel(rule=rule, length_cost=cost)
        mean, shade = here.mean("seed"), style.COLOURS[colour]
        label = "none: KL coefficient alone" if rule == "exact" else rule
        axis.plot(mean.agreement, mean.accuracy, ls=dash, color=shade, marker=".", ms=3, label=label)
        end = here.isel(strength=-1)
        axis.plot(end.agreement, end.accuracy, "o", ms=3.5, mfc="none", mec=shade, lw=0)
    base = dataset.isel(length_cost=-1).mean("seed")
    axis.plot(base.base_agreement, base.base_accuracy, "k*", ms=7, label="base")
    axis.set(xlabel="agreement of reader and answer", ylabel="accuracy")
    axis.legend()


def draw_bits(axis: Axes, dataset: xr.Dataset) -> None:
    """Agreement against strength for different numbers of bits, at the greatest length cost."""
    settings, here = datasets.settings_of(dataset), dataset.isel(length_cost=-1)
    curves = {f"{rule}, {settings['num_bits']} bits": here.agreement.sel(rule=rule) for rule in ("exact", "RLOO")}
    curves |= {rule: here.agreement.sel(rule=rule) for rule in here.rule.values if rule.startswith("exact, ")}
    curves[f"RLOO, {settings['long']['num_bits']} bits (sampled)"] = here.long_agreement.where(readings.trained(here))
    looks = zip(style.COLOURS, (*style.DASHES, "-"), strict=True)
    for (label, values), (colour, dash) in zip(curves.items(), looks, strict=False):
        style.spread(axis, here.strength, values, colour, dash, label)
    nothing = here.long_agreement.where(~readings.trained(here)).transpose("strength", "seed")
    axis.plot(here.strength, nothing, "x", color="black", ms=3.5, lw=0)
    axis.plot([], [], "x", color="black", ms=3.5, lw=0, label="a draw that has learnt nothing")
    axis.axhline(0.5, color="black", lw=0.4)
    axis.set(xscale="log", xlabel="strength s = 1/β", ylabel="agreement of reader and answer")
    style.ticks(axis.xaxis, here.strength.values[:: -(-here.sizes["strength"] // 5)])
    axis.legend()
