"""The panels on a network without persona modules: weak RL, stronger RL, and activations."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import transformer as readings
from figures import style
from toypersona.measures import equal_drift

WALKS = {
    "tilt": "black",
    "SGD": "blue",
    "Adam": "purple",
    "RLOO": "green",
    "GRPO": "green",
    "natural gradient": "black",
    "untrained features": "orange",
    "table": "red",
    "mixture": "red",
}
KINDS = {
    "vanilla": ("SGD", "blue", "o"),
    "adam": ("Adam", "purple", "^"),
    "natural": ("natural gradient", "black", "s"),
}


def draw_angles(axis: Axes, dataset: xr.Dataset) -> None:
    """S(0+) of plain gradient over the angle."""
    few, many = readings.compared(dataset)
    limit = dataset.limit.sel(feature="feature")
    axis.plot(dataset.angle, readings.tilt(dataset), color="black", ls=":", label="tilt: cos²")
    shown = {
        f"network, {many}": (many, "trained", "blue", "-"),
        **({f"network, {few}": (few, "trained", "blue", "--")} if few != many else {}),
        "untrained features": (many, readings.untrained(dataset), "orange", "-."),
        "table of next words": (many, "table", "red", "-"),
    }
    for label, (network, way, colour, dash) in shown.items():
        style.band(axis, dataset.angle, limit.sel(network=network, way=way), colour, dash, label)
    axis.set(xlabel="angle of the reward, degrees", ylabel="S(0+)", ylim=(-0.03, 1.03))
    axis.set_yticks([0.0, 0.5, 1.0])
    axis.legend()


def draw_gains(axis: Axes, dataset: xr.Dataset) -> None:
    """What plain gradient on the network selects more than others, at 60 degrees, paired by seed."""
    at = readings.middle_angle(dataset)
    for row, gain in enumerate(readings.gains(dataset).values()):
        for shift, (feature, colour) in zip((0.15, -0.15), (("feature", "blue"), ("noise", "green")), strict=True):
            each = gain.sel(feature=feature, angle=at)
            mean, half = equal_drift.interval(each)
            colour = style.COLOURS[colour]
            axis.plot(each, np.full(each.size, row + shift), ".", color=colour, ms=2.5, alpha=0.5)
            axis.errorbar(
                mean, row + shift, xerr=half, fmt="o", color=colour, ms=3.5, label=feature if row == 0 else None
            )
    axis.axvline(0.0, color="grey", lw=0.6)
    axis.set_yticks(
        range(len(readings.gains(dataset))),
        [
            f"less {name}".replace(" with ", "\nwith ").replace(" on ", "\non ").replace(" of next", "\nof next")
            for name in readings.gains(dataset)
        ],
        fontsize=5.5,
    )
    axis.set(xlabel=f"S(0+) gained, {at:g}°")
    axis.legend(title="paid for")


def draw_laws(axis: Axes, dataset: xr.Dataset) -> None:
    """L1: predicted before any step, measured by small ones."""
    predicted, measured = readings.first_steps(dataset)
    axis.plot([0, 1], [0, 1], color="grey", lw=0.6)
    for kind, (label, colour, marker) in KINDS.items():
        x, y = (values.sel(kind=kind).values.reshape(-1) for values in (predicted, measured))
        axis.plot(x, y, marker, color=style.COLOURS[colour], ms=3, label=label, mfc="none")
    axis.set(xlabel="R² of the rule's direction", ylabel="S(0+) measured")
    axis.legend()


def draw_walks(axis: Axes, dataset: xr.Dataset) -> None:
    """S over the drift spent at the smallest angle."""
    walks = readings.carried_on(dataset)[1]
    for number, (walk, colour) in enumerate(WALKS.items()):
        one = walks.sel(walk=walk)
        dash = style.DASHES[(0, 0, 1, 2, 3, 2, 0, 0, 1)[number]]
        axis.plot(
            one.total.mean("seed"),
            one.selection_fraction.mean("seed"),
            ls=dash,
            color=style.COLOURS[colour],
            label=walk,
        )
    axis.axhline(0.5, color="grey", lw=0.6)
    axis.set(
        xlabel="drift, nats",
        ylabel="selection fraction S",
        xlim=(0, 3.2),
        ylim=(-0.05, 1),
    )
    axis.set_yticks([0.0, 0.5, 1.0])
    axis.legend()


def draw_readable(axis: Axes, dataset: xr.Dataset) -> None:
    """What can be read of the personas."""
    for row, reader in enumerate(dataset.reader.values):
        for shift, (place, colour) in zip((0.15, -0.15), (("histories", "blue"), ("prompt", "orange")), strict=True):
            mean, half = equal_drift.interval(dataset.readable.sel(reader=reader, held_out=place))
            label = f"held-out {place}" if row == 0 else None
            axis.errorbar(mean, row + shift, xerr=half, fmt="o", color=style.COLOURS[colour], ms=3.5, label=label)
    axis.axvline(0.0, color="grey", lw=0.6)
    axis.set_yticks(
        range(dataset.reader.size),
        [str(reader).replace(" ", "\n", 1) for reader in dataset.reader.values],
        fontsize=5.5,
    )
    axis.set(xlabel="R² of reading who is talking", ylim=(2.6, -0.6))
    axis.legend()


def draw_stream(axis: Axes, dataset: xr.Dataset) -> None:
    """The distance off the persona plane against total drift."""
    for rule, colour in zip(dataset.rule.values, ("blue", "purple", "green", "orange", "black"), strict=True):
        off, total = dataset.off.sel(rule=rule), dataset.total.sel(walk=rule)
        x, y = (values.mean("seed").values.reshape(-1) for values in (total, off))
        axis.plot(x, y, ".", color=style.COLOURS[colour], ms=4, label=str(rule))
    axis.set(xlabel="total drift, nats", ylabel="off the persona plane")
    axis.legend()
