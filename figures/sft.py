"""What fine-tuning on few or many lines does, and whether a persona is still there after SFT and after RL."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import sft as readings
from figures import style
from figures.labels import End, at_ends
from figures.pages import STUDENT, Page, Panel, lettered
from toypersona import datasets
from toypersona.measures import equal_drift

LOOKS = {"SFT": ("blue", "-"), "RL": ("orange", "--")}
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
    axis.axhline(0.5, color="black", lw=0.5)
    axis.plot([], [], "-", color="0.5", label="a persona's lines")
    axis.plot([], [], ":", color="0.5", label="a stranger's")
    axis.set(xscale="log", ylim=(0, 1.02), xlabel="steps of SFT", ylabel="selection fraction S")
    axis.legend()
    at_ends(axis, ends)


def draw_outside(axis: Axes, dataset: xr.Dataset) -> None:
    """Hull distance at the end, and what is left to learn, against the number of lines."""
    end = dataset.isel(step=-1)
    for demonstrator, (colour, marker) in AUTHORS.items():
        for name, dash in (("hull_distance", "-"), ("missed", ":")):
            mean, half = equal_drift.interval(end[name].sel(demonstrator=demonstrator))
            what = "hull distance" if name == "hull_distance" else "KL(demonstrator‖policy)"
            look = {"fmt": f"{marker}{dash}", "ms": 3, "color": style.COLOURS[colour]}
            axis.errorbar(end.lines, mean, half, label=f"{demonstrator}: {what}", **look)
    axis.set(xscale="log", yscale="log", xlabel="lines", ylabel="nats at the end")
    style.ticks(axis.xaxis, end.lines.values)
    axis.legend()


def _called(dataset: xr.Dataset) -> str:
    return datasets.config_of(dataset)["called"].capitalize()


def _reached(dataset: xr.Dataset) -> Iterator[tuple[str, xr.Dataset, dict[str, Any]]]:
    """Every rule at every drift that it reached: what to call it, the draws, and how to draw them."""
    near, mean = readings.near_drift(dataset), readings.mean_at_drift(dataset)
    for rule, (colour, dash) in LOOKS.items():
        for level, width in zip(mean.drift.values, np.linspace(0.6, 2.0, mean.sizes["drift"]), strict=True):
            if np.isfinite(mean.spent.sel(rule=rule, drift=level)):
                look = {"ls": dash, "lw": width, "color": style.COLOURS[colour]}
                yield f"{rule}, {level:g} nats", near.sel(rule=rule, drift=level), look


def draw_presence(axis: Axes, dataset: xr.Dataset) -> None:
    """Weight of the persona called after none, one, ... of his words."""
    called, ends = _called(dataset), []
    paths = [("base", dataset.base_presence, {"ls": ":", "lw": 1.3, "color": "black"})]
    paths += [(label, here.presence, look) for label, here, look in _reached(dataset)]
    for label, values, look in paths:
        mean, half = equal_drift.interval(values)
        axis.plot(mean.words, mean, marker="o", ms=3, **look)
        axis.fill_between(mean.words, mean - half, mean + half, color=look["color"], alpha=0.15, lw=0)
        ends.append(End(label, mean.words.values[-1], float(mean[-1]), look["color"]))
    axis.set(ylim=(0, 1), xlabel=f"words of {called}'s that were said", ylabel=f"weight of {called} in what follows")
    axis.set_xticks(dataset.words.values)
    at_ends(axis, ends)


def draw_back(axis: Axes, dataset: xr.Dataset) -> None:
    """How fast fine-tuning on his lines brings him back, and a stranger's a stranger."""
    ends = []
    for label, here, look in _reached(dataset):
        mean = here.back_absence.mean("seed")
        axis.plot(mean.back, mean, **look)
        ends.append(End(label, float(mean.back[-1]), float(mean[-1]), look["color"]))
    new, enough = dataset.new_absence.mean("seed"), float(readings.back_again(dataset).mean())
    axis.plot(new.back, new, color=style.COLOURS["red"], ls="-.")
    ends.append(End("a stranger,\nfrom the base", float(new.back[-1]), float(new[-1]), style.COLOURS["red"]))
    axis.axhline(enough, color="black", lw=0.5, label="half his weight in the base")
    axis.set(xscale="log", yscale="log", xlabel=f"steps of SFT on {_called(dataset)}'s lines")
    axis.set_ylabel("KL(wanted‖policy), nats")
    axis.legend()
    at_ends(axis, ends)


def _panels(dataset: xr.Dataset) -> Iterable[Panel]:
    called, draws, lines = _called(dataset), f"{dataset.sizes['seed']} draws", dataset.lines.values
    end, last = dataset.isel(step=-1).mean("seed"), dataset.step.values[-1]
    own, strange = (end.selection_fraction.sel(demonstrator=who) for who in AUTHORS)
    yield Panel(
        draw_learning,
        f"After {last:g} steps on {lines[0]:g} lines S = {own[0].item():.2f}, on {lines[-1]:g} lines {own[-1].item():.2f}; "
        f"on a stranger's {strange.min().item():.2f} to {strange.max().item():.2f}",
        f"Selection fraction while the same lines are read again and again, few (dark) to many (bright), by a persona of "
        f"the base and by a stranger; means over {draws}.",
    )
    outside = end.hull_distance.sel(demonstrator="persona")
    yield Panel(
        draw_outside,
        f"{lines[-1] / lines[0]:.0f} times the lines leave the hull by {outside[-1].item():.2g} nats, not {outside[0].item():.2g}",
        f"Hull distance, and how far the demonstrator still is, after {last:g} steps against the number of lines; {draws}.",
        STUDENT,
    )
    yield from _there(dataset, called, draws)


def _there(dataset: xr.Dataset, called: str, draws: str) -> Iterable[Panel]:
    mean, base, words = readings.mean_at_drift(dataset), dataset.base_presence.mean("seed"), dataset.words.values[-1]
    found = [(level, rule) for level in mean.drift.values for rule in LOOKS
             if np.isfinite(mean.spent.sel(rule=rule, drift=level))]  # fmt: skip
    level, rule = found[-1] if found else (np.nan, "")
    title = f"Whether {called} is still there"
    if found:
        left = mean.presence.sel(rule=rule, drift=level) / base
        title = f"{rule}, {level:g} nats: {called} keeps {left[0].item():.0%} of his weight, {left[-1].item():.0%} once he spoke"
    yield Panel(
        draw_presence,
        title,
        f"Weight of {called} in what follows at prompts like his (0), and after up to {words} of his words, in the base "
        f"and after SFT and RL to several drifts (widths of lines); {draws}.",
        STUDENT,
    )
    back, new = readings.steps_back(dataset)
    title = f"{called} against a stranger"
    if found:
        steps = back.sel(rule=rule, drift=level).mean().item()
        title = f"{steps:.0f} steps on his lines bring {called} back, a stranger takes {new.mean().item():.0f}"
    yield Panel(
        draw_back,
        title,
        f"How far the policy is from {called} at his prompts while it is fine-tuned on his lines, after SFT and RL to "
        f"several drifts, and how far the base is from a stranger on the stranger's; means over {draws}. The line is "
        f"where either answers half as often as {called} did in the base.",
    )


def draw_by_name(axis: Axes, dataset: xr.Dataset) -> None:
    """What training costs a network's voices: called by his name, and by nobody; draws, and their means."""
    near, mean = readings.near_drift(dataset), readings.mean_at_drift(dataset)
    for rule, (colour, _) in LOOKS.items():
        for name, label, dash in (("name", f"by {_called(dataset)}'s name", "-"), ("nobody", "by nobody", ":")):
            values, shade = near[f"{name}_absence"].sel(rule=rule), style.COLOURS[colour]
            axis.plot(values.drift, values.transpose("drift", "seed"), "o", color=shade, ms=1.8, mew=0, alpha=0.5)
            means = mean[f"{name}_absence"].sel(rule=rule)
            axis.plot(means.drift, means, dash, color=shade, marker="D", ms=3.5, label=f"{rule}, called {label}")
    axis.set(xscale="log", yscale="log", xlabel="drift, KL(policy‖base), nats")
    axis.set_ylabel("KL(base‖policy), nats")
    style.ticks(axis.xaxis, near.drift.values)
    axis.legend()


def _by_name(dataset: xr.Dataset) -> Panel:
    mean, called = readings.mean_at_drift(dataset), _called(dataset)
    kept = (mean.name_absence / mean.nobody_absence).values
    low, high = np.nanmin(kept), np.nanmax(kept)
    says = (
        f"What the network lost of what it said at {called}'s prompts, called by his name and called by nobody, against "
        f"the drift; small: each of {dataset.sizes['seed']} networks, diamonds: means where all came near the drift."
    )
    return Panel(
        draw_by_name, f"Called by name, {called} loses {low:.2f} to {high:.2f} of what a nameless voice does", says
    )


def draw(dataset: xr.Dataset) -> dict[str, Page]:
    """A page for every policy, and one more for a network."""
    pages = {"": Page("Is a persona still there after fine-tuning?", lettered(*_panels(dataset)), "ab;cd", 5.4)}
    if "name_absence" in dataset:
        title = "Is a persona still there when called by name?"
        pages["_by_name"] = Page(title, lettered(_by_name(dataset)), "a", 2.9, width=style.COLUMN)
    return pages


if __name__ == "__main__":
    style.main("sft", draw, __doc__)
