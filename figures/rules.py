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
REFERENCE = "policy gradient"
SHOWN = {
    REFERENCE: "black",
    "RLOO, clipped Adam": "blue",
    "best of 8, exact": "orange",
    "expert iteration": "red",
    "tilt": "green",
    "paid by chance": "purple",
}


OWN = ("red", "orange", "green", "purple", "blue")
"""Colours of the user's own rules, whichever rule had them before."""


def looks(dataset: xr.Dataset) -> dict[str, str]:
    """The rules whose curves are drawn, and their colours: the user's own, those above, or all if they are so few."""
    rules = list(dataset.rule.values)
    shown = {colour: rule for rule, colour in SHOWN.items() if rule in rules}
    shown |= dict(zip(OWN, readings.own(dataset), strict=False))
    others = [rule for rule in rules if rule not in shown.values()]
    free = [colour for colour in style.COLOURS if colour not in shown]
    if len(others) <= len(free):
        shown |= dict(zip(free, others, strict=False))
    return {rule: colour for colour, rule in shown.items()}


def draw_parts(axis: Axes, mean: xr.Dataset, error: xr.Dataset, level: float, own: list[str]) -> None:
    """What the same drift is made of, by rule; the user's own are in bold."""
    known = mean.sel(drift=level).dropna("rule", subset=["selection"]).sortby("selection", ascending=False)
    rules, left = known.rule.values, 0.0
    for part, colour in PARTS.items():
        axis.barh(rules, known[part], left=left, color=style.COLOURS[colour], label=part, height=0.75)
        left = left + known[part]
    interval = error.selection.sel(drift=level, rule=rules)
    axis.errorbar(known.selection, rules, xerr=interval, fmt="none", ecolor="black", elinewidth=0.8)
    axis.set(xlim=(0, 1), xlabel=f"share of {level:g} nats of drift")
    axis.tick_params(axis="y", labelsize=6)
    axis.set_yticks(range(len(rules)), rules)
    for name in axis.get_yticklabels():
        name.set_fontweight("bold" if name.get_text() in own else "normal")
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncol=3)


def draw_curves(axis: Axes, mean: xr.Dataset, error: xr.Dataset, name: str, label: str, shown: dict[str, str]) -> None:
    """One quantity against drift, with its interval."""
    style.curves(axis, mean[name], error[name], shown)
    axis.set(xscale="log", xlabel="drift spent, nats", ylabel=label)


def draw_passes(axis: Axes, dataset: xr.Dataset, mean: xr.Dataset, level: float) -> None:
    """pass@k of the base and at equal drift."""
    base = readings.base_passes(dataset)
    axis.plot(base.k, base, "k:", label="base")
    left_out = {"RLOO, clipped Adam", "expert iteration", "paid by chance"}
    for rule, colour in looks(dataset).items():
        if rule not in left_out:
            axis.plot(base.k, mean.passes.sel(rule=rule, drift=level), color=style.COLOURS[colour], label=rule)
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
        "*k3 in loss* is the penalty of GRPO's paper (Shao et al. 2024), TRL's before version 1.10 and Tunix's: its "
        "gradient is that of KL(base‖policy). *Corrected k3* (DeepSeek-V3.2, 2025), weighted with the ratio of new to "
        "old policy, is TRL's since 1.10: its gradient is that of KL(policy‖base).",
        "",
        f"*Less {REFERENCE}*: the selection fraction less that of {REFERENCE} in the same draw; bold where they differ "
        "at 5% after Holm's correction for all rules.",
        "",
        f"| rule | exact counterpart | step agrees with | knob | selection | less {REFERENCE} | switching | novelty | "
        "routing, nats |",
        "|---|---|---|---|---:|---:|---:|---:|---:|",
    ]
    compared = readings.against(dataset, REFERENCE).sel(drift=level) if REFERENCE in known else None
    for rule in dataset.rule.values:
        cells = [rule, *(known[rule][name] or "–" for name in ("exact", "oracle", "knob"))]
        for name in (*PARTS, "routing_information"):
            value, half = here[name].sel(rule=rule).item(), band[name].sel(rule=rule).item()
            cells.append(f"{value:.2f} ± {half:.2f}" if np.isfinite(value) else "not reached")
        cells.insert(5, _difference(compared, rule))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _difference(compared: xr.Dataset | None, rule: str) -> str:
    if compared is None or rule == REFERENCE:
        return "–"
    here = compared.sel(rule=rule)
    if not np.isfinite(here.difference):
        return "not reached"
    text = f"{here.difference.item():+.2f} ± {here.half.item():.2f}"
    return f"**{text}**" if here.p < 0.05 else text


def draw(dataset: xr.Dataset) -> dict[str, Figure | str]:
    """All five panels, and the table to stand beside them."""
    level = readings.levels(dataset)[-1]
    mean, error = readings.at_levels(dataset)
    dense = readings.along_drift(dataset, 25)
    figure = plt.figure(figsize=(style.PAGE, 4.6), layout="constrained")
    axes = figure.subplot_mosaic([["parts", "S", "paid"], ["parts", "entropy", "passes"]], width_ratios=[1.5, 1, 1])
    draw_parts(axes["parts"], mean, error, level, readings.own(dataset))
    shown = looks(dataset)
    draw_curves(axes["S"], *dense, "selection_fraction", "selection fraction S", shown)
    axes["S"].axhline(0.5, color="black", lw=0.5)
    axes["S"].set_ylim(0, 1.02)
    paid = {rule: colour for rule, colour in shown.items() if rule != "paid by chance"}
    draw_curves(axes["paid"], *dense, "paid", "reward / the tilt's at this drift", paid)
    draw_curves(axes["entropy"], *dense, "sequence_entropy", "entropy, nats a response", shown)
    axes["entropy"].legend(fontsize=5.5)
    draw_passes(axes["passes"], dataset, mean, level)
    return {"": figure, ".md": table(dataset, mean, error, level)}


if __name__ == "__main__":
    style.main("rules", draw, __doc__)
