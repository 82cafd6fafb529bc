"""What fine-tuning on few or many lines does, and whether a persona is still there after SFT and after RL."""

from collections.abc import Iterable

import xarray as xr
from matplotlib.axes import Axes

from figures import presence, style
from figures.labels import End, at_ends
from figures.pages import BARS, Page, Panel, lettered
from toypersona.measures import equal_drift

AUTHORS = {"persona": ("blue", "o"), "stranger": ("red", "s")}


def draw_learning(axis: Axes, dataset: xr.Dataset) -> None:
    """Selection fraction while few or many lines are read again and again."""
    mean, ends = dataset.selection_fraction.mean("seed"), []
    for lines, shade in style.shades(dataset.lines.values).items():
        here = mean.sel(lines=lines)
        axis.plot(here.step, here.sel(demonstrator="persona"), "-", color=shade)
        axis.plot(here.step, here.sel(demonstrator="stranger"), ":", color=shade, lw=0.8)
        last = here.sel(demonstrator="persona").isel(step=-1)
        ends.append(End(f"{lines:g} lines", last.step.item(), last.item(), shade))
    strange = mean.sel(demonstrator="stranger").isel(step=-1).mean()
    ends.append(End("a stranger's, dotted", dataset.step.values[-1], strange.item(), "0.3"))
    axis.axhline(0.5, color="black", lw=0.5)
    axis.set(xscale="log", ylim=(0, 1.02), xlabel="steps of SFT", ylabel="selection fraction S")
    at_ends(axis, ends)


def draw_outside(axis: Axes, dataset: xr.Dataset) -> None:
    """Hull distance at the end, and what is left to learn, against the number of lines."""
    end = dataset.isel(step=-1)
    for demonstrator, (colour, marker) in AUTHORS.items():
        for name, dash in (("hull_distance", "-"), ("missed", ":")):
            mean, half = equal_drift.interval(end[name].sel(demonstrator=demonstrator))
            what = "hull distance" if name == "hull_distance" else "KL(demonstrator‖policy)"
            look = {
                "color": style.COLOURS[colour],
                "ls": dash,
                "marker": marker,
                "ms": 3,
                "label": f"{demonstrator}: {what}",
            }
            axis.errorbar(end.lines, mean, half, fmt="none", ecolor=style.COLOURS[colour], elinewidth=0.8)
            axis.plot(end.lines, mean, **look)
    axis.set(xscale="log", yscale="log", xlabel="lines", ylabel="nats at the end")
    style.ticks(axis.xaxis, end.lines.values)
    axis.legend()


def _panels(dataset: xr.Dataset) -> Iterable[Panel]:
    draws, lines = f"{dataset.sizes['seed']} draws", dataset.lines.values
    end, last = dataset.isel(step=-1).mean("seed"), dataset.step.values[-1]
    own, strange = (end.selection_fraction.sel(demonstrator=who) for who in AUTHORS)
    yield Panel(
        draw_learning,
        f"S ends at {own[0].item():.2f} on {lines[0]:g} lines, {own[-1].item():.2f} on {lines[-1]:g}; "
        f"on a stranger's at {strange.max().item():.2f} at most",
        "Selection fraction while the same lines are read again and again, few (dark) to many (bright), by a persona "
        f"of the base and by a stranger; means over {draws}.",
    )
    outside = end.hull_distance.sel(demonstrator="persona")
    yield Panel(
        draw_outside,
        f"{outside[0].item():.2g} nats outside the hull after {lines[0]:g} lines, {outside[-1].item():.2g} after "
        f"{lines[-1]:g}",
        f"Hull distance, and how far the demonstrator still is, after {last:g} steps against the number of lines; "
        f"{draws}.",
        BARS,
    )


def draw(dataset: xr.Dataset) -> dict[str, Page]:
    """A page for every policy, and one more for a network."""
    pages = {
        "": Page(
            "Is a persona still there after fine-tuning?",
            lettered(*_panels(dataset), *presence.panels(dataset)),
            "ab;cd",
            5.4,
        )
    }
    if "name_absence" in dataset:
        title = "Is a persona still there when called by name?"
        pages["_by_name"] = Page(title, lettered(presence.by_name(dataset)), "a", 2.9, width=style.COLUMN)
    return pages


if __name__ == "__main__":
    style.main("sft", draw, __doc__)
