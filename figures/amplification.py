"""Entropy's change against its formula, and which of several right personas is left."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from figures import style

LOOKS = {
    "policy gradient": "black",
    "natural gradient": "blue",
    "RLOO": "green",
    "RLOO, KL in reward": "purple",
    "GRPO": "orange",
    "expert iteration": "red",
}


def draw_entropy(axis: Axes, dataset: xr.Dataset) -> None:
    """Measured against predicted, every rule and draw."""
    for paid, colour in zip(dataset.paid.values, style.COLOURS.values(), strict=False):
        here = dataset.sel(paid=paid)
        axis.plot(here.formula.values.ravel(), here.change.values.ravel(), "o", ms=2.5, color=colour, label=paid)
    ends = [float(dataset.formula.min()), float(dataset.formula.max())]
    axis.plot(ends, ends, "k:", lw=0.8)
    axis.axhline(0, color="black", lw=0.3)
    axis.set(xlabel="−Cov(log π, d), nats per √nat", ylabel="entropy's change, nats per √nat")
    axis.legend(title="paid for")


def draw_largest(axis: Axes, dataset: xr.Dataset) -> None:
    """Share of the largest of the right personas on the way."""
    style.curves(axis, dataset.largest.mean("seed"), dataset.largest.std("seed"), LOOKS)
    axis.set(xscale="log", xlabel="steps", ylabel="share of the largest right persona", ylim=(0.5, 1.02))
    axis.legend(fontsize=5.5)


def draw_shares(axis: Axes, dataset: xr.Dataset) -> None:
    """Share at the end against the base, every prompt and draw, and the conservation law."""
    end = dataset.isel(record=-1)
    base = dataset.base_share.values.ravel()
    for rule, colour in LOOKS.items():
        axis.plot(base, end.share.sel(rule=rule).values.ravel(), "o", ms=2.5, color=style.COLOURS[colour])
    order = np.argsort(base)
    axis.plot(base[order], end.law.values.ravel()[order], "k:", lw=0.8, label="conservation law")
    axis.plot([0.5, 1], [0.5, 1], "k-", lw=0.4, label="kept")
    axis.set(xlabel="share of the likeliest in the base", ylabel="its share at the end", ylim=(-0.02, 1.02))
    axis.legend(loc="center left", fontsize=5.5)


if __name__ == "__main__":
    style.main("amplification", style.panels(3, 2.4, draw_entropy, draw_largest, draw_shares), __doc__)
