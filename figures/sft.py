"""What fine-tuning on few or many lines does, and whether a persona is still there after SFT and after RL."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from figures import style
from toypersona import datasets

NAME = "sft"
DRAWS = ("world", "seed")
LOOKS = {"SFT": ("blue", "-"), "RL": ("orange", "--")}


def draw_learning(axis: Axes, dataset: xr.Dataset) -> None:
    """Selection fraction while few or many lines are read again and again."""
    mean = dataset.selection_fraction.mean(DRAWS)
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
            values = here[name].mean(DRAWS)
            spread = here[name].std(DRAWS)
            label = f"{demonstrator}: {'hull distance' if name == 'hull_distance' else 'KL(demonstrator‖policy)'}"
            axis.errorbar(
                end.lines, values, spread, fmt=f"{marker}{dash}", ms=3, color=style.COLOURS[colour], label=label
            )
    axis.set(xscale="log", yscale="log", xlabel="lines", ylabel="nats at the end")
    style.ticks(axis.xaxis, end.lines.values)
    axis.legend(fontsize=5.5)


def draw_presence(axis: Axes, dataset: xr.Dataset, called: str) -> None:
    """Weight of the persona called after none, one, ... of his words."""
    mean = dataset.mean(DRAWS)
    axis.plot(mean.words, mean.base_presence, "k:", marker="o", ms=3, label="base")
    for way, (colour, dash) in LOOKS.items():
        for level, width in zip(mean.drift.values, np.linspace(0.6, 2.0, mean.sizes["drift"]), strict=True):
            here = mean.sel(tuned=way, drift=level)
            if abs(np.log(here.spent / level)) < 0.25:
                colours = style.COLOURS[colour]
                axis.plot(
                    here.words,
                    here.presence,
                    dash,
                    marker="o",
                    ms=3,
                    lw=width,
                    color=colours,
                    label=f"{way}, {level:g} nats",
                )
    axis.set(xticks=mean.words.values, ylim=(0, 1), xlabel=f"words of {called} said (0: prompts like his)")
    axis.set_ylabel(f"weight of {called} in what follows")
    axis.legend(fontsize=5.5)


def draw_back(axis: Axes, dataset: xr.Dataset, called: str) -> None:
    """How fast fine-tuning on his lines brings him back."""
    mean = dataset.mean(DRAWS)
    for way, (colour, dash) in LOOKS.items():
        for level, width in zip(mean.drift.values, np.linspace(0.6, 2.0, mean.sizes["drift"]), strict=True):
            here = mean.sel(tuned=way, drift=level)
            if abs(np.log(here.spent / level)) < 0.25:
                axis.plot(here.back, here.back_absence, dash, lw=width, color=style.COLOURS[colour])
    axis.plot(mean.back, mean.new_absence, color=style.COLOURS["red"], ls="-.", label="a stranger, from the base")
    axis.axhline(float(mean.base_absence) + np.log(2), color="black", lw=0.5, label="half his weight in the base")
    axis.set(xscale="log", yscale="log", xlabel=f"steps of SFT on {called}'s lines", ylabel="KL(wanted‖policy), nats")
    axis.legend(fontsize=5.5)


def main(data: Path, out: Path) -> None:
    """Draw all four."""
    style.use()
    dataset = datasets.load(data / f"{NAME}.zarr")
    called = datasets.config_of(dataset)["called"].capitalize()
    figure, axes = plt.subplots(2, 2, figsize=(style.PAGE, 4.6), layout="constrained")
    draw_learning(axes[0, 0], dataset)
    draw_ends(axes[0, 1], dataset)
    draw_presence(axes[1, 0], dataset, called)
    draw_back(axes[1, 1], dataset, called)
    style.save(figure, out, NAME)


if __name__ == "__main__":
    style.run(main, __doc__)
