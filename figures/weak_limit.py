"""L1: predicted against measured selection fraction of weak RL, and what is left over as the step grows."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import weak_limit as readings
from figures import style

KINDS = {"tilt": "black", "vanilla": "blue", "natural": "orange", "adam": "green"}
SCOPES = {"tilt": "o", "gates": "^", "experts": "s", "both": "D"}


def _look(rule: str) -> tuple[str, str]:
    kind, _, scope = rule.partition("/")
    return style.COLOURS[KINDS[kind]], SCOPES[scope or kind]


def draw_scatter(axis: Axes, dataset: xr.Dataset) -> None:
    """Every world, reward, rule and scope; the law is the diagonal."""
    measured, _ = readings.limits(dataset)
    axis.plot([0, 1], [0, 1], color="black", lw=0.8, label="law: R²")
    for rule in dataset.rule.values:
        colour, marker = _look(rule)
        points = dataset.predicted.sel(rule=rule).values.ravel(), measured.sel(rule=rule).values.ravel()
        axis.plot(*points, marker, color=colour, ms=2.2, alpha=0.6, mew=0, label=rule, rasterized=True)
    axis.set(xlabel="predicted: R² of the rule's direction", ylabel="measured: S(0+)")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=2)


def draw_residuals(axis: Axes, dataset: xr.Dataset) -> None:
    """Median of what is left over at every drift, and the middle half of the worlds."""
    left = readings.residual(dataset)
    for rule in dataset.rule.values:
        if rule.endswith("/gates"):
            continue
        colour, marker = _look(rule)
        low, middle, high = left.sel(rule=rule).quantile([0.25, 0.5, 0.75], ["world", "seed"]).values
        axis.plot(dataset.drift, middle, f"{marker}-", color=colour, ms=3, lw=0.8)
        axis.fill_between(dataset.drift, low, high, color=colour, alpha=0.1, lw=0)
    guide = np.array([dataset.drift.values[0], dataset.drift.values[-1]])
    axis.plot(guide, 0.02 * guide, "k:", label="first order")
    axis.set(xscale="log", yscale="log", xlabel="size of the step, √(2 KL(policy‖base))", ylabel="|S − R²|")
    style.ticks(axis.xaxis, dataset.drift.values)
    axis.legend()


if __name__ == "__main__":
    style.main("weak_limit", style.panels(2, 2.9, draw_scatter, draw_residuals), __doc__)
