"""The panels on the choice of a hull: other divergences, one choice of persona for all prompts, other personas."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import hull_choices as readings
from figures import style

DIVERGENCES = {"KL(policy‖mix)": "blue", "4 Hellinger²": "green", "KL(mix‖policy)": "red"}
RULES = {"tilt": "o", "policy gradient": "s", "policy gradient, gate table": "^"}
SHORT = {"tilt": "tilt", "policy gradient": "gradient", "policy gradient, gate table": "gate table"}


def draw_fractions(axis: Axes, dataset: xr.Dataset) -> None:
    """S of the tilt at every angle under each divergence, and where it ends."""
    tilt = dataset.selection_fraction.sel(rule="tilt")
    for name, colour in DIVERGENCES.items():
        for angle in dataset.angle.values:
            label = name if angle == dataset.angle.values[0] else ""
            style.band(axis, dataset.strength, tilt.sel(divergence=name, angle=angle), colour, label=label)
            end = dataset.strong_limit.sel(divergence=name, angle=angle).mean("seed")
            axis.plot([dataset.strength[-1] * 1.6], [end], "<", color=style.COLOURS[colour], ms=3)
    axis.axhline(0.5, color="grey", lw=0.6)
    axis.set(xscale="log", xlabel="strength s of the tilt", ylabel="S", ylim=(0, 1))
    axis.legend()


def draw_boundaries(axis: Axes, dataset: xr.Dataset) -> None:
    """Half and vertex under the other divergences, times the drift budget's."""
    angle, never = middle_angle(dataset), 30.0
    places, names = [], []
    for boundary, read in (("half", readings.half), ("vertex", readings.vertex)):
        ratios = readings.against_shipped(read(dataset)).sel(angle=angle)
        for rule in dataset.rule.values:
            for offset, name in ((-0.15, "4 Hellinger²"), (0.15, "KL(mix‖policy)")):
                values = ratios.sel(rule=rule, divergence=name).values.ravel()
                values = np.minimum(values[~np.isnan(values)], never)
                at = np.full(values.size, len(places) + offset)
                axis.plot(values, at, RULES[str(rule)], color=style.COLOURS[DIVERGENCES[name]], ms=3, mew=0, alpha=0.5)
                if values.size:
                    axis.plot([np.sort(values)[(values.size - 1) // 2]], at[:1], "|", color="black", ms=7)
            places.append(len(places))
            names.append(f"{boundary},\n{SHORT[str(rule)]}")
    axis.axvline(1.0, color="black", lw=0.6)
    axis.set(xscale="log", yticks=places, yticklabels=names, xlim=(0.5, 40))
    axis.set(xlabel="strength / KL(policy‖mix)'s")
    axis.set_xticks([0.5, 1, 3, 10, 30], ["½", "1", "3", "10", "never"])
    axis.minorticks_off()
    axis.invert_yaxis()
    for name in ("4 Hellinger²", "KL(mix‖policy)"):
        axis.plot([], [], "o", ms=3, color=style.COLOURS[DIVERGENCES[name]], label=name)
    axis.plot([], [], "k|", ms=7, label="median")
    axis.legend()


def draw_common(axis: Axes, dataset: xr.Dataset) -> None:
    """S(0+) with a mix for every prompt against odds that change alike at all."""
    common = readings.weak(dataset.common_fraction)
    for rule in map(str, dataset.rule.values):
        marker = RULES[rule]
        one, other = dataset.first_order.sel(rule=rule), common.sel(rule=rule)
        axis.plot(one.values.ravel(), other.values.ravel(), marker, ms=3, mew=0, alpha=0.6, label=SHORT[rule])
    axis.plot(
        dataset.words_limit.values.ravel(),
        readings.weak(dataset.common_words).values.ravel(),
        "k+",
        ms=5,
        label="tilt, words",
    )
    axis.plot([0, 1], [0, 1], color="black", lw=0.6)
    axis.set(xlabel="S(0+), a mix each prompt", ylabel="S(0+), odds alike at all prompts", xlim=(0, 1), ylim=(0, 1))
    axis.legend()


def draw_personas(axis: Axes, dataset: xr.Dataset) -> None:
    """S of the tilt with wrong personas."""
    angle = middle_angle(dataset)
    total = dataset.total.sel(divergence=readings.SHIPPED, rule="tilt", angle=angle).mean("seed")
    fraction = dataset.given_selection_fraction.sel(angle=angle)
    looks = {"all": "black", "and a stranger": "blue", "without memory": "red"}
    for name, colour in looks.items():
        style.spread(axis, total, fraction.sel(personas=name), colour, label=name)
    for i, name in enumerate(dataset.dropped.values):
        label = "one left out" if i == 0 else ""
        style.spread(axis, total, fraction.sel(personas=f"without {name}"), "orange", style.DASHES[i], label)
    for name, dash in zip(readings.blurred(dataset)[1:], style.DASHES, strict=False):
        style.spread(axis, total, fraction.sel(personas=name), "green", dash, name)
    axis.axhline(0.5, color="grey", lw=0.6)
    axis.set(xscale="log", xlim=(1e-3, None), ylim=(-1, 1.05), yticks=[-1, 0, 1], xlabel="drift, nats", ylabel="S")
    axis.legend()


def draw_entry(axis: Axes, dataset: xr.Dataset) -> None:
    """From which drift on a little wrong hull shows selection: predicted against measured."""
    law, seen = readings.entry(dataset)
    for angle, colour in zip(law.angle.values, ("blue", "green", "orange"), strict=False):
        pair = [x.sel(angle=angle).transpose("personas", ...).values.ravel() for x in (law, seen)]
        axis.plot(*pair, "o", color=style.COLOURS[colour], ms=3, mew=0, alpha=0.6, label=f"{angle:g}°")
    ends = [float(law.min()) / 1.5, float(law.max()) * 1.5]
    axis.plot(ends, ends, color="black", lw=0.6)
    axis.set(xscale="log", yscale="log", xlabel="b/(cos² − ½), nats", ylabel="drift from which S > ½, nats")
    axis.legend()


def draw_flags(axis: Axes, dataset: xr.Dataset) -> None:
    """How often the sampled check flags the base, by how far it is outside."""
    part, flagged = dataset.misfit / dataset.sampled_total, dataset.flagged
    num = readings.num_flags(dataset)
    looks = {"blurred": "green", "without": "orange"}
    for start, colour in looks.items():
        names = [str(name) for name in dataset.personas.values if str(name).startswith(start)]
        x = part.sel(personas=names).mean("seed").values
        y = flagged.sel(personas=names).mean("seed").values
        error = np.abs(np.array([readings.wilson(share * num, num) for share in y]).T - y)
        axis.errorbar(x, y, error, fmt="o", color=style.COLOURS[colour], ms=3, lw=0.8, label=start)
    y = flagged.sel(personas=readings.right(dataset)).mean(["seed", "personas"]).item()
    axis.plot([0.0], [y], "k>", ms=4, label="right (at 0)", transform=axis.get_yaxis_transform(), clip_on=False)
    axis.axvline(readings.CLEAR, color="grey", lw=0.6)
    axis.set(xscale="log", xlabel="distance of the base / drift", ylabel="share of draws flagged", ylim=(-0.03, 1.03))
    axis.legend()


def middle_angle(dataset: xr.Dataset) -> float:
    """The measured angle nearest to 30 degrees."""
    return float(dataset.angle.sel(angle=30.0, method="nearest"))
