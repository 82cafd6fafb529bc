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


INTRODUCTION = f"""Written by `figures.rules` from the dataset: what the drift KL(policy‖base) of every rule is made \
of at the same drift, half a 95% interval behind ±.

*k3 in loss* is the penalty of GRPO's paper (Shao et al. 2024), TRL's before version 1.10 and Tunix's: its gradient is \
that of KL(base‖policy). *Corrected k3* (DeepSeek-V3.2, 2025), weighted with the ratio of new to old policy, is TRL's \
since 1.10: its gradient is that of KL(policy‖base).

*Less {REFERENCE}*: the selection fraction less that of {REFERENCE} in the same draw, at the same drift, and where the \
mean reward is the same; bold where they differ at 5% after Holm's correction for all rules.
"""


def table(dataset: xr.Dataset) -> str:
    """Markdown, for each gate: rule × (exact counterpart, oracle, knob, what it does to the hull)."""
    known, level = datasets.config_of(dataset)["rules"], readings.levels(dataset)[-1]
    selected = {name: values.isel(level=-1) for name, values in readings.selected(dataset).items()}
    apart = {name: readings.against(values, REFERENCE) for name, values in selected.items() if REFERENCE in known}
    paid = selected["paid"].level.item()
    heads = (*PARTS, f"less {REFERENCE}", f"the same at reward {paid:g}", "routing, nats")
    each = [each.sel(drift=level) for each in readings.at_levels(dataset)]
    lines = [INTRODUCTION]
    for gate in dataset.gate.values:
        here, band = (values.sel(gate=gate) for values in each)
        lines += [
            f"## Gate {gate}, at {level:g} nats",
            "",
            f"| rule | exact counterpart | step agrees with | knob | {' | '.join(heads)} |",
            f"|---|---|---|---|{'---:|' * len(heads)}",
        ]
        for rule in dataset.rule.values:
            cells = [rule, *(known[rule][name] or "–" for name in ("exact", "oracle", "knob"))]
            cells += [_interval(here[part].sel(rule=rule), band[part].sel(rule=rule)) for part in PARTS]
            cells += [difference(apart[name].sel(gate=gate), rule) if name in apart else "–" for name in selected]
            cells.append(_interval(here.routing_information.sel(rule=rule), band.routing_information.sel(rule=rule)))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _interval(value: xr.DataArray, half: xr.DataArray) -> str:
    return f"{value.item():.2f} ± {half.item():.2f}" if np.isfinite(value) else "not reached"


def difference(compared: xr.Dataset, rule: str) -> str:
    """A difference with its interval, as a cell of a table; bold where it is told from none."""
    if rule == REFERENCE:
        return "–"
    here = compared.sel(rule=rule)
    if not np.isfinite(here.difference):
        return "not reached"
    text = f"{here.difference.item():+.2f} ± {here.half.item():.2f}"
    return f"**{text}**" if here.p < readings.SIGNIFICANT else text


def draw_gate(dataset: xr.Dataset) -> Figure:
    """All five panels, of one gate."""
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
    draw_curves(axes["paid"], *dense, "share", "reward / the tilt's at this drift", paid)
    draw_curves(axes["entropy"], *dense, "sequence_entropy", "entropy, nats a response", shown)
    axes["entropy"].legend(fontsize=5.5)
    draw_passes(axes["passes"], dataset, mean, level)
    return figure


def draw(dataset: xr.Dataset) -> dict[str, Figure | str]:
    """A page for every gate, the fitted one first, and the table to stand beside them."""
    first, *others = dataset.gate.values
    pages = {"": draw_gate(dataset.sel(gate=first))}
    pages |= {f"_gate_{gate}": draw_gate(dataset.sel(gate=gate)) for gate in others}
    return {**pages, ".md": table(dataset)}


if __name__ == "__main__":
    style.main("rules", draw, __doc__)
