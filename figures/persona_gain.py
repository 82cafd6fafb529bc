"""The persona gain: predicted against measured, the curves over the angle, and what the gate's learning rate does."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import persona_gain as readings
from figures import style

GATES = {"network": "blue", "table": "red"}
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
    axis.legend(loc="upper left", fontsize=6)


def draw_curves(axis: Axes, dataset: xr.Dataset) -> None:
    """S(0+) over the angle: the law's curve, and what small steps measure."""
    seen = readings.limits(dataset)[0]
    angles = np.linspace(0.0, 90.0, 181)
    axis.plot(angles, np.cos(np.deg2rad(angles)) ** 2, color="black", label="tilt: cos²")
    for gate, colour in GATES.items():
        kappa = dataset.kappa.sel(gate=gate, rule="gate × 1").mean().item()
        axis.plot(
            angles[:-1],
            readings.curve(kappa, angles[:-1]),
            color=style.COLOURS[colour],
            label=f"{gate}: κ = {kappa:.2f}",
        )
        points = seen.sel(gate=gate, rule="gate × 1")
        middle, spread = points.mean("seed"), points.std("seed")
        axis.errorbar(dataset.angle, middle, spread, fmt="o", color=style.COLOURS[colour], ms=3, lw=0.8)
    axis.plot(dataset.angle, seen.sel(rule="tilt").mean(["gate", "seed"]), "ko", ms=3)
    axis.set(xlabel="angle of the reward, degrees", ylabel="S(0+)", ylim=(-0.03, 1.03))
    axis.legend(loc="lower left")


def draw_rates(axis: Axes, dataset: xr.Dataset) -> None:
    """S(0+) at 45 degrees as the gate learns faster: the law from the kernels at rates 0 and 1."""
    at = dataset.angle.sel(angle=45, method="nearest").item()
    seen, law = readings.limits(dataset)[0].sel(angle=at), readings.two_kernels(dataset)
    rates = dataset.gate_rate.sel(rule=law.rule).values
    moving = rates > 0
    for gate, colour in GATES.items():
        curve = readings.curve(law.sel(gate=gate), at).mean("seed").values
        points = seen.sel(gate=gate, rule=law.rule)
        axis.plot(rates[moving], curve[moving], color=style.COLOURS[colour], label=f"gate {gate}")
        axis.errorbar(
            rates[moving],
            points.mean("seed").values[moving],
            points.std("seed").values[moving],
            fmt="o",
            color=style.COLOURS[colour],
            ms=3,
            lw=0.8,
        )
    axis.set(
        xscale="log",
        xlabel="gate's learning rate / experts'",
        ylabel=f"S(0+) at {at:g}°",
        ylim=(-0.03, 1.03),
    )
    axis.legend(loc="upper left")


if __name__ == "__main__":
    style.main("persona_gain", style.panels(3, 2.5, draw_diagonal, draw_curves, draw_rates), __doc__)
