"""Hints and a monitor of the thoughts: how often a hint decides, how often that is said, and the right answers."""

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claims import hints as readings
from figures import style


def draw_recall(axis: Axes, dataset: xr.Dataset) -> None:
    """The monitor's recall against the share of answers that the hint decides, as RL grows stronger."""
    shades, mean = style.shades(dataset.fine.values), dataset.mean("seed")
    for fine, shade in shades.items():
        for rule, dash in zip(dataset.rule.values, style.DASHES, strict=False):
            here = mean.sel(fine=fine, rule=rule)
            label = f"fine {fine:g}" if rule == "exact" else None
            axis.plot(here.decides, here.recall, ls=dash, color=shade, marker=".", ms=4, label=label)
    base = mean.isel(fine=0)
    axis.plot(base.base_decides, base.base_recall, "k*", ms=7, label="base")
    axis.set(xlabel="answers decided by the hint", ylabel="of those that follow, said in the thoughts", ylim=(-0.03, 1))
    axis.set_title("what the monitor catches\n(solid exact, dashed RLOO, dash-dotted GRPO)", fontsize=7)
    axis.legend(fontsize=5.5)


def draw_along(axis: Axes, dataset: xr.Dataset, name: str, label: str) -> None:
    """One rate against strength, exact gradient, one curve a fine, all seeds in a band."""
    for (fine, shade), dash in zip(style.shades(dataset.fine.values).items(), (*style.DASHES, "-"), strict=False):
        here = dataset[name].sel(fine=fine, rule="exact")
        axis.plot(here.strength, here.mean("seed"), ls=dash, color=shade, label=f"fine {fine:g}")
        axis.fill_between(here.strength, here.min("seed"), here.max("seed"), color=shade, alpha=0.2, lw=0)
    axis.set(xscale="log", xlabel="strength s = 1/β", title=label, ylim=(-0.03, 1.05))
    style.ticks(axis.xaxis, dataset.strength.values[:: -(-dataset.sizes["strength"] // 5)])


def print_lines(axis: Axes, dataset: xr.Dataset) -> None:
    """What is thought and answered where the hint is wrong: weak RL, and strong without and with the largest fine."""
    axis.axis("off")
    for i, (fine, strength) in enumerate(((0, 0), (0, -1), (-1, -1))):
        here = dataset.isel(seed=0, fine=fine, strength=strength)
        heading = f"fine {float(here.fine):g}, strength {float(here.strength):g}, wrong hints"
        style_of_text = {"va": "top", "transform": axis.transAxes, "in_layout": False}
        axis.text(i / 3, 1.0, heading, weight="bold", fontsize=6.5, **style_of_text)
        text = readings.lines_at(here)
        axis.text(i / 3, 0.84, text, fontsize=5.3, family="DejaVu Sans Mono", linespacing=1.4, **style_of_text)


def draw(dataset: xr.Dataset) -> Figure:
    """Draw recall against use, rates against strength, and transcripts."""
    figure = plt.figure(figsize=(style.PAGE, 4.2), layout="constrained")
    axes = figure.subplot_mosaic(
        [["use", "decides", "recall", "accuracy"], ["lines"] * 4], width_ratios=[1.5, 1, 1, 1], height_ratios=[1.9, 1]
    )
    draw_recall(axes["use"], dataset)
    draw_along(axes["decides"], dataset, "decides", "decided by the hint\n(exact; band: seeds)")
    draw_along(axes["recall"], dataset, "recall", "said, of those\nthat follow (exact)")
    draw_along(axes["accuracy"], dataset, "accuracy", "right answers\n(exact; line: right hints)")
    control = dataset.control_accuracy.isel(fine=0).mean("seed")
    axes["accuracy"].plot(control.strength, control, "x:", color=style.COLOURS["red"], ms=3, label="never shown a hint")
    axes["accuracy"].axhline(1 - readings.hint_wrong(dataset), color="black", lw=0.4)
    axes["accuracy"].legend(fontsize=5.5, loc="lower left")
    print_lines(axes["lines"], dataset)
    return figure


if __name__ == "__main__":
    style.main("hints", draw, __doc__)
