"""How far personas, gate and policy are from the truth, against the amount of text read."""

from pathlib import Path

import matplotlib.pyplot as plt

from figures import style
from toypersona import datasets

NAME = "pretraining"


def main(data: Path, out: Path, name: str = NAME) -> None:
    """Draw it."""
    style.use()
    dataset = datasets.load(data / f"{NAME}.zarr")
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
    style.save(figure, out, name)


if __name__ == "__main__":
    style.run(main, __doc__)
