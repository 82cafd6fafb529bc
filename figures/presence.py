"""Whether a persona is still there after SFT and RL: after his words, by SFT on his lines, called by his name."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import sft as readings
from figures import style
from figures.labels import End, at_ends
from figures.pages import SHADING, Panel
from toypersona import datasets
from toypersona.measures import equal_drift

LOOKS = {"SFT": ("blue", "-"), "RL": ("orange", "--")}


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
    axis.axhline(enough, color="black", lw=0.5)
    ends.append(End("half his weight\nin the base", float(new.back[-1]), enough, "black"))
    axis.set(xscale="log", yscale="log", xlabel=f"steps of SFT on {_called(dataset)}'s lines")
    axis.set_ylabel("KL(wanted‖policy), nats")
    at_ends(axis, ends, gap=0.1)


def panels(dataset: xr.Dataset) -> Iterable[Panel]:
    """What is left of him by his prompts and after his words, and how fast he comes back."""
    called, draws = _called(dataset), f"{dataset.sizes['seed']} draws"
    mean, base, words = readings.mean_at_drift(dataset), dataset.base_presence.mean("seed"), dataset.words.values[-1]
    found = [(level, rule) for level in mean.drift.values for rule in LOOKS
             if np.isfinite(mean.spent.sel(rule=rule, drift=level))]  # fmt: skip
    level, rule = found[-1] if found else (np.nan, "")
    title = f"Whether {called} is still there"
    if found:
        left = mean.presence.sel(rule=rule, drift=level) / base
        title = (
            f"{rule}, {level:g} nats: {called}'s weight is {left[0].item():.0%} of the base's, {left[-1].item():.0%} "
            "after his words"
        )
    yield Panel(
        draw_presence,
        title,
        f"Weight of {called} in what follows at prompts like his (0), and after up to {words} of his words, in the "
        f"base and after SFT and RL to several drifts (widths of lines); {draws}. The title: of his weight before.",
        SHADING,
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


def by_name(dataset: xr.Dataset) -> Panel:
    """Of a network: what it loses where he is named."""
    mean, called = readings.mean_at_drift(dataset), _called(dataset)
    kept = (mean.name_absence / mean.nobody_absence).values
    low, high = np.nanmin(kept), np.nanmax(kept)
    says = (
        f"What the network lost of what it said at {called}'s prompts, called by his name and called by nobody, "
        f"against the drift; small: each of {dataset.sizes['seed']} networks, diamonds: means where all came near it."
    )
    return Panel(
        draw_by_name, f"By name {called} loses {low:.2f} to {high:.2f} of what the network loses called by nobody", says
    )
