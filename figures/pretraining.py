"""How far personas, gate and policy are from the truth, against the amount of text read."""

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.figure import Figure

from figures import style


def draw(dataset: xr.Dataset) -> Figure:
    """Means over seeds, and their range."""
    curves = {
        "experts: KL(persona‖expert), per token": dataset.expert_divergence.mean("persona"),
        "policy: KL(world‖policy), per token": dataset.policy_divergence,
        "gate: KL(Bayes posterior‖gate)": dataset.gate_divergence,
    }
    figure, axis = plt.subplots(figsize=(style.COLUMN, 2.6), layout="constrained")
    for (label, values), colour, dash in zip(curves.items(), style.COLOURS.values(), style.DASHES, strict=False):
        axis.plot(dataset.num_lines, values.mean("seed"), dash, color=colour, label=label, marker="o", markersize=2.5)
        axis.fill_between(dataset.num_lines, values.min("seed"), values.max("seed"), color=colour, alpha=0.2, lw=0)
    axis.set(xscale="log", yscale="log", xlabel="unlabelled lines of text", ylabel="divergence, nats")
    figure.legend(loc="outside upper left")
    return figure


if __name__ == "__main__":
    style.main("pretraining", draw, __doc__)
