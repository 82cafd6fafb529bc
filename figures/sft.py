"""What fine-tuning on few or many lines does, and whether a persona is still there after SFT and after RL."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claims import sft as readings
from figures import style
from toypersona import datasets

LOOKS = {"SFT": ("blue", "-"), "RL": ("orange", "--")}


def draw_learning(axis: Axes, dataset: xr.Dataset) -> None:
    """Selection fraction while few or many lines are read again and again."""
    mean = dataset.selection_fraction.mean("seed")
    for lines, colour in style.shades(dataset.lines.values).items():
        here = mean.sel(lines=lines)
        axis.plot(here.step, here.sel(demonstrator="persona"), "-", color=colour, label=f"{lines:g}")
        axis.plot(here.step, here.sel(demonstrator="stranger"), ":", color=colour, lw=0.8)
    axis.axhline(0.5, color="black", lw=0.5)
    axis.set(xscale="log", ylim=(0, 1.02), xlabel="steps of SFT", ylabel="selection fraction S")
    axis.legend(title="lines (dotted: a stranger's)", ncol=2)


def draw_ends(axis: Axes, dataset: xr.Dataset) -> None:
    """Hull distance at the end, against the number of lines."""
    end = dataset.isel(step=-1)
    for demonstrator, (colour, marker) in {"persona": ("blue", "o"), "stranger": ("red", "s")}.items():
        here = end.sel(demonstrator=demonstrator)
        for name, dash in (("hull_distance", "-"), ("missed", ":")):
            values = here[name].mean("seed")
            spread = here[name].std("seed")
            label = f"{demonstrator}: {'hull distance' if name == 'hull_distance' else 'KL(demonstrator‖policy)'}"
            axis.errorbar(
                end.lines, values, spread, fmt=f"{marker}{dash}", ms=3, color=style.COLOURS[colour], label=label
            )
    axis.set(xscale="log", yscale="log", xlabel="lines", ylabel="nats at the end")
    style.ticks(axis.xaxis, end.lines.values)
    axis.legend(fontsize=5.5)


def draw_presence(axis: Axes, dataset: xr.Dataset) -> None:
    """Weight of the persona called after none, one, ... of his words."""
    called, base = _called(dataset), dataset.base_presence.mean("seed")
    axis.plot(base.words, base, "k:", marker="o", ms=3, label="base")
    for label, here, look in _reached(dataset):
        axis.plot(here.words, here.presence, marker="o", ms=3, label=label, **look)
    axis.set(xticks=base.words.values, ylim=(0, 1), xlabel=f"words of {called} said (0: prompts like his)")
    axis.set_ylabel(f"weight of {called} in what follows")
    axis.legend(fontsize=5.5)


def _called(dataset: xr.Dataset) -> str:
    return datasets.config_of(dataset)["called"].capitalize()


def _reached(dataset: xr.Dataset) -> Iterator[tuple[str, xr.Dataset, dict[str, Any]]]:
    """Every rule at every drift that it reached: what to call it, the means, and how to draw them."""
    mean = readings.mean_at_drift(dataset)
    for rule, (colour, dash) in LOOKS.items():
        for level, width in zip(mean.drift.values, np.linspace(0.6, 2.0, mean.sizes["drift"]), strict=True):
            here = mean.sel(rule=rule, drift=level)
            if np.isfinite(here.spent):
                yield f"{rule}, {level:g} nats", here, {"ls": dash, "lw": width, "color": style.COLOURS[colour]}


def draw_back(axis: Axes, dataset: xr.Dataset) -> None:
    """How fast fine-tuning on his lines brings him back."""
    for _, here, look in _reached(dataset):
        axis.plot(here.back, here.back_absence, **look)
    new, enough = dataset.new_absence.mean("seed"), readings.back_again(dataset).mean()
    axis.plot(new.back, new, color=style.COLOURS["red"], ls="-.", label="a stranger, from the base")
    axis.axhline(float(enough), color="black", lw=0.5, label="half his weight in the base")
    axis.set(xscale="log", yscale="log", xlabel=f"steps of SFT on {_called(dataset)}'s lines")
    axis.set_ylabel("KL(wanted‖policy), nats")
    axis.legend(fontsize=5.5)


def draw_by_name(axis: Axes, dataset: xr.Dataset) -> None:
    """What training costs a network's voices: called by his name, and by nobody; draws, and their means."""
    near, mean = readings.near_drift(dataset), readings.mean_at_drift(dataset)
    for rule, (colour, _) in LOOKS.items():
        for name, label, dash in (("name", f"by {_called(dataset)}'s name", "-"), ("nobody", "by nobody", ":")):
            values, shade = near[f"{name}_absence"].sel(rule=rule), style.COLOURS[colour]
            axis.plot(values.drift, values.transpose("drift", "seed"), "o", color=shade, ms=1.5, mew=0, alpha=0.5)
            means = mean[f"{name}_absence"].sel(rule=rule)
            axis.plot(means.drift, means, dash, color=shade, marker="D", ms=3.5, label=f"{rule}, called {label}")
    axis.set(xscale="log", yscale="log", xlabel="drift, KL(policy‖base), nats")
    axis.set_ylabel(f"KL(base‖policy) at {_called(dataset)}'s prompts, nats")
    style.ticks(axis.xaxis, near.drift.values)
    axis.legend(fontsize=5.5)


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """A page for every policy, and one more for a network."""
    pages = {"": style.panels(2, 4.6, draw_learning, draw_ends, draw_presence, draw_back)(dataset)}
    if "name_absence" in dataset:
        figure, axis = plt.subplots(figsize=(style.COLUMN, 2.6), layout="constrained")
        draw_by_name(axis, dataset)
        pages["_by_name"] = figure
    return pages


if __name__ == "__main__":
    style.main("sft", draw, __doc__)
