"""Every rule at equal drift: what the drift is made of, what it pays, who still finds the right answer."""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claims import rules as readings
from figures import style
from toypersona import datasets

PARTS = {"selection": "blue", "switching": "orange", "novelty": "red"}
SHOWN = {
    "policy gradient": "black",
    "RLOO, clipped Adam": "blue",
    "best of 8, exact": "orange",
    "expert iteration": "red",
    "DPO": "green",
    "paid by chance": "purple",
}


def draw_parts(axis: Axes, mean: xr.Dataset, error: xr.Dataset, level: float) -> None:
    """What the same drift is made of, by rule."""
    known = mean.sel(drift=level).dropna("rule", subset=["selection"]).sortby("selection", ascending=False)
    rules, left = known.rule.values, 0.0
    for part, colour in PARTS.items():
        axis.barh(rules, known[part], left=left, color=style.COLOURS[colour], label=part, height=0.75)
        left = left + known[part]
    interval = error.selection.sel(drift=level, rule=rules)
    axis.errorbar(known.selection, rules, xerr=interval, fmt="none", ecolor="black", elinewidth=0.8)
    axis.set(xlim=(0, 1), xlabel=f"share of {level:g} nats of drift")
    axis.tick_params(axis="y", labelsize=6)
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncol=3)


def draw_curves(
    axis: Axes, mean: xr.Dataset, error: xr.Dataset, name: str, label: str, looks: dict[str, str] = SHOWN
) -> None:
    """One quantity against drift, with its interval."""
    style.curves(axis, mean[name], error[name], looks)
    axis.set(xscale="log", xlabel="drift spent, nats", ylabel=label)


def draw_passes(axis: Axes, dataset: xr.Dataset, mean: xr.Dataset, level: float) -> None:
    """pass@k of the base and at equal drift."""
    base = readings.base_passes(dataset)
    axis.plot(base.k, base, "k:", label="base")
    for rule in ("policy gradient", "best of 8, exact", "DPO"):
        axis.plot(base.k, mean.passes.sel(rule=rule, drift=level), color=style.COLOURS[SHOWN[rule]], label=rule)
    axis.set(xscale="log", ylim=(0, 1), xlabel="k", ylabel=f"pass@k at {level:g} nats")
    style.ticks(axis.xaxis, base.k.values)
    axis.legend(loc="lower right", fontsize=5.5)


def table(dataset: xr.Dataset, mean: xr.Dataset, error: xr.Dataset, level: float) -> str:
    """Markdown: rule × (exact counterpart, oracle, knob, what it does to the hull)."""
    known = datasets.config_of(dataset)["rules"]
    here, band = mean.sel(drift=level), error.sel(drift=level)
    lines = [
        f"Of {level:g} nats of KL(policy‖base), the share that selects, switches persona mid-sentence, and is said by "
        "nobody; half a 95% interval behind ±. Written by `figures.rules` from the dataset.",
        "",
        "| rule | exact counterpart | step agrees with | knob | selection | switching | novelty | routing, nats |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for rule in dataset.rule.values:
        cells = [rule, *(known[rule][name] or "–" for name in ("exact", "oracle", "knob"))]
        for name in (*PARTS, "routing_information"):
            value, half = here[name].sel(rule=rule).item(), band[name].sel(rule=rule).item()
            cells.append(f"{value:.2f} ± {half:.2f}" if np.isfinite(value) else "not reached")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(dataset: xr.Dataset) -> dict[str, Figure | str]:
    """All five panels, and the table to stand beside them."""
    level = readings.levels(dataset)[-1]
    mean, error = readings.at_levels(dataset)
    dense = readings.along_drift(dataset, 25)
    figure = plt.figure(figsize=(style.PAGE, 4.6), layout="constrained")
    axes = figure.subplot_mosaic([["parts", "S", "paid"], ["parts", "entropy", "passes"]], width_ratios=[1.5, 1, 1])
    draw_parts(axes["parts"], mean, error, level)
    draw_curves(axes["S"], *dense, "selection_fraction", "selection fraction S")
    axes["S"].axhline(0.5, color="black", lw=0.5)
    axes["S"].set_ylim(0, 1.02)
    paid = {rule: colour for rule, colour in SHOWN.items() if rule != "paid by chance"}
    draw_curves(axes["paid"], *dense, "paid", "reward / the tilt's at this drift", paid)
    draw_curves(axes["entropy"], *dense, "sequence_entropy", "entropy, nats a response")
    axes["entropy"].legend(fontsize=5.5)
    draw_passes(axes["passes"], dataset, mean, level)
    return {"": figure, ".md": table(dataset, mean, error, level)}


if __name__ == "__main__":
    style.main("rules", draw, __doc__)
