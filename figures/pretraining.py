"""How far personas, gate and policy are from the truth, against the amount of text read."""

from typing import Any

import xarray as xr
from matplotlib.axes import Axes

from figures import style
from figures.pages import SHADING_OF_LOGS, Page, Panel, lettered


def curves(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """What is drawn, each [seed, num_lines], nats."""
    return {
        "experts: KL(persona‖expert), per token": dataset.expert_divergence.mean("persona"),
        "policy: KL(world‖policy), per token": dataset.policy_divergence,
        "gate: KL(Bayes posterior‖gate)": dataset.gate_divergence,
    }


def draw_divergences(axis: Axes, dataset: xr.Dataset) -> None:
    """Means over draws with their interval, both axes logarithmic."""
    for (label, values), colour, dash in zip(curves(dataset).items(), style.COLOURS, style.DASHES, strict=False):
        style.band(axis, dataset.num_lines, values, colour, dash, label, logs=True, marker="o", ms=2.5)
    axis.set(xscale="log", yscale="log", xlabel="unlabelled lines of text", ylabel="divergence, nats")
    style.ticks(axis.xaxis, dataset.num_lines.values[:: -(-dataset.sizes["num_lines"] // 4)])
    axis.legend()


def draw(dataset: xr.Dataset) -> dict[str, Any]:
    """One panel."""
    first, last = (dataset.isel(num_lines=i) for i in (0, -1))
    error = [float(each.expert_divergence.mean()) for each in (first, last)]
    title = (
        f"From {int(first.num_lines):,} to {int(last.num_lines):,} lines the experts' error falls "
        f"from {error[0]:.2g} to {error[1]:.2g} nats a token"
    )
    if error[1] >= error[0]:
        title = f"More lines do not help: the experts' error is {error[1]:.2g} nats a token at most text"
    says = (
        "Divergences from the truth of experts (mean over personas), of the whole policy and of the gate, fitted to "
        f"lines of which nobody says who wrote them; geometric means over "
        f"{dataset.sizes['seed']} draws of text and fit."
    )
    panel = Panel(draw_divergences, title, says, SHADING_OF_LOGS)
    return {
        "": Page("Pretraining: personas are recovered from text alone", lettered(panel), "a", 3.0, width=style.COLUMN)
    }


if __name__ == "__main__":
    style.main("pretraining", draw, __doc__)
