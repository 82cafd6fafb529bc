"""The persona gain: predicted against measured, the curves over the angle, and what the gate's learning rate does."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import persona_gain as readings
from figures import style
from figures.pages import BARS, Page, Panel, lettered

GATES = {"network": "blue", "table": "red"}
USUAL = "gate × 1"
"""Plain policy gradient."""

RULES = {"tilt": "o", "natural gradient": "s"}


def draw_diagonal(axis: Axes, dataset: xr.Dataset) -> None:
    """Kappa of every draw, gate, rule and rate where the law is claimed."""
    lines = [0.02, 3.0]
    axis.plot(lines, lines, color="black", lw=0.8)
    for (gate, rule), (law, seen) in readings.by_rule(dataset).items():
        marker = RULES.get(rule, "^")
        axis.plot(
            law.values, seen.mean("angle").values, marker, color=style.COLOURS[GATES[gate]], ms=3, mew=0, alpha=0.6
        )
    for gate, colour in GATES.items():
        axis.plot([], [], "^", color=style.COLOURS[colour], label=f"gradient, gate {gate}", ms=3)
    for rule, marker in RULES.items():
        axis.plot([], [], marker, color="grey", label=rule, ms=3)
    axis.set(xscale="log", yscale="log", xlabel="κ predicted", ylabel="κ measured")
    axis.legend()


def draw_curves(axis: Axes, dataset: xr.Dataset) -> None:
    """S(0+) over the angle: the law's curve, and what small steps measure."""
    seen = readings.limits(dataset)[0]
    angles = np.linspace(0.0, 90.0, 181)
    axis.plot(angles, np.cos(np.deg2rad(angles)) ** 2, color="black", label="tilt: cos²")
    for gate, colour in GATES.items():
        kappa = dataset.kappa.sel(gate=gate, rule=USUAL).mean().item()
        law = readings.curve(kappa, angles[:-1])
        axis.plot(angles[:-1], law, color=style.COLOURS[colour], label=f"{gate}: κ = {kappa:.2f}")
        style.points(axis, dataset.angle, seen.sel(gate=gate, rule=USUAL), colour)
    axis.plot(dataset.angle, seen.sel(rule="tilt").mean(["gate", "seed"]), "ko", ms=3)
    axis.set(xlabel="angle of the reward, degrees", ylabel="S(0+)", ylim=(-0.03, 1.03))
    axis.legend()


def draw_rates(axis: Axes, dataset: xr.Dataset) -> None:
    """S(0+) near 45 degrees as the gate learns faster: the law from the kernels at rates 0 and 1."""
    at = middle_angle(dataset)
    seen, law = readings.limits(dataset)[0].sel(angle=at), readings.two_kernels(dataset)
    law = law.sel(rule=law.rule[dataset.gate_rate.sel(rule=law.rule).values > 0])
    rates = dataset.gate_rate.sel(rule=law.rule)
    for gate, colour in GATES.items():
        curve = readings.curve(law.sel(gate=gate), at).mean("seed")
        axis.plot(rates, curve, color=style.COLOURS[colour], label=f"gate {gate}")
        style.points(axis, rates, seen.sel(gate=gate, rule=law.rule), colour)
    axis.set(xscale="log", xlabel="gate's learning rate / experts'", ylabel=f"S(0+) at {at:g}°", ylim=(-0.03, 1.03))
    style.ticks(axis.xaxis, rates.values)
    axis.legend()


def middle_angle(dataset: xr.Dataset) -> float:
    """The measured angle nearest to 45 degrees."""
    return dataset.angle.sel(angle=45, method="nearest").item()


def draw(dataset: xr.Dataset) -> dict[str, Any]:
    """Three panels."""
    pairs = readings.by_rule(dataset).values()
    off = max(float(abs(seen.mean("angle") / law - 1).max()) for law, seen in pairs)
    at_angle = max(float(abs(seen / law - 1).max()) for law, seen in pairs)
    kappas = [dataset.kappa.sel(gate=gate, rule=USUAL).mean().item() for gate in GATES]
    at, rates = middle_angle(dataset), dataset.gate_rate.where(np.isfinite(dataset.gate_rate), drop=True)
    fastest = readings.limits(dataset)[0].sel(angle=at, rule=rates.rule[int(rates.values.argmax())]).mean("seed")
    number, angles = f"{dataset.sizes['seed']} draws", f"{dataset.sizes['angle']} angles"
    panels = (
        Panel(
            draw_diagonal,
            f"κ predicted before any step is {off:.0%} off at most",
            "The persona gain κ by the law from the rule's kernel at the start, against that of small steps (mean over "
            f"{angles}), a mark for each of {number}, gate, rule and rate; at a single angle it is up to "
            f"{at_angle:.0%} off. Left out: Adam, the gate alone, and rules under which a persona's own "
            "reward leads out of the hull.",
        ),
        Panel(
            draw_curves,
            f"Two gates of one base: κ = {kappas[0]:.2f} and {kappas[1]:.2f}",
            f"Selection fraction of weak plain gradient and of the tilt, {number}; lines: the law of mean κ.",
            BARS,
        ),
        Panel(
            draw_rates,
            f"A fast gate selects: S(0+) is {float(fastest.min()):.2f} or more"
            if float(fastest.min()) > 0.5
            else f"Even a fast gate selects only {float(fastest.min()):.2f}",
            f"Selection fraction of weak plain gradient at {at:g}° as the gate learns faster than the experts, "
            f"{number}; lines: the law from the kernels at rates 0 and 1 alone.",
            BARS,
        ),
    )
    return {"": Page("The persona gain says how much weak RL selects", lettered(*panels), "abc", 2.9)}


if __name__ == "__main__":
    style.main("persona_gain", draw, __doc__)
