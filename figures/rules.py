"""Every rule at equal drift: who selects less than policy gradient, what the rest is, what it pays, what is found."""

import functools
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import rules as readings
from figures import style
from figures.pages import BARS, Page, Panel, lettered
from figures.rule_groups import (
    MARKERS,
    REFERENCE,
    STRIPES,
    draw_differences,
    draw_rows,
    grouped,
    narrow_heights,
    on_slide,
)
from figures.rules_along import along
from figures.rules_table import table
from toypersona import datasets

SOME = 0.01
"""Share of the drift from which on it is asked of what kind it is."""

REST = {"switching": "orange", "novelty": "purple"}
MORE = (
    "- Every number: [rules_table.md](rules_table.md)",
    "- A few rules along their drift: [rules_along.md](rules_along.md)",
)

Rows = Mapping[str, list[str]]


def compared(dataset: xr.Dataset) -> xr.Dataset:
    """Of each rule and gate, the selection fraction less the reference's, or itself where that is not compared."""
    if REFERENCE in dataset.rule.values:
        return readings.against(readings.selected(dataset)["drift"].isel(level=-1), REFERENCE)
    mean, half = (each.selection_fraction.isel(drift=-1) for each in readings.at_levels(dataset))
    return xr.Dataset({"difference": mean, "half": half, "p": half.where(False)})


def draw_gate(axis: Axes, dataset: xr.Dataset, *, gate: str, groups: Rows) -> None:
    """How much more every rule selects than policy gradient, with one gate."""
    both = compared(dataset)
    rows, here = draw_rows(axis, groups, readings.own(dataset)), both.sel(gate=gate)
    draw_differences(axis, here, rows, MARKERS.get(gate, "o"))
    for rule, at in rows.items():
        if not np.isfinite(here.difference.sel(rule=rule)) and not on_slide():
            axis.text(
                0.98, at, "not reached", transform=axis.get_yaxis_transform(), fontsize=5.5, ha="right", va="center"
            )
    less = f" less {REFERENCE}'s" if REFERENCE in dataset.rule.values else ""
    ends = [float((both.difference - both.half).min()), float((both.difference + both.half).max())]
    margin = 0.06 * (ends[1] - ends[0])
    axis.set(xlabel=f"S{less}", xlim=(ends[0] - margin, ends[1] + margin))
    axis.legend()


def draw_rest(axis: Axes, dataset: xr.Dataset, *, groups: Rows) -> None:
    """What is not selection: a bar for every gate, by rule; on a slide the means of groups."""
    rows, gates = draw_rows(axis, groups, readings.own(dataset)), dataset.gate.values
    mean = readings.at_levels(dataset)[0].isel(drift=-1)
    alike = {rule: [rule] for rule in rows}
    if on_slide():
        rows, alike = narrow_heights(groups)[1], groups
    for i, gate in enumerate(gates):
        at, left = np.array([*rows.values()]) + 0.8 * ((len(gates) - 1) / 2 - i) / len(gates), 0.0
        for part, colour in REST.items():
            share = np.array([mean[part].sel(gate=gate, rule=rules).mean().item() for rules in alike.values()])
            look = {"color": style.COLOURS[colour], "alpha": 1.0 if i == 0 else 0.45, "label": f"{part}, gate {gate}"}
            axis.barh(at, share, left=left, height=0.72 / len(gates), **look)
            left = left + share
    axis.set(xlim=(0, None), xlabel="share of the drift")
    axis.legend()


def by_rule(dataset: xr.Dataset) -> Page:
    """All rules in groups, each gate beside the other."""
    found, level = compared(dataset), readings.levels(dataset)[-1]
    trained = [rule for rule in found.rule.values if rule not in datasets.config_of(dataset)["controls"]]
    found, draws = found.sel(rule=trained), dataset.sizes["seed"]
    order = found.difference.isel(gate=0)
    groups = grouped(order.fillna(np.inf))
    rest = readings.at_levels(dataset)[0].isel(drift=-1)
    shown = rest.novelty + rest.switching > SOME
    mostly = bool(shown.any() and (rest.novelty > rest.switching).where(shown, True).all())
    where = f"after {level:g} nats of drift, KL(policy‖base)"
    panels = []
    for gate in found.gate.values:
        signs = readings.signs(found.sel(gate=gate))
        less, more = (int((signs == sign).sum()) for sign in (-1, 1))
        reached = int(found.difference.sel(gate=gate).notnull().sum())
        title = f"Gate {gate}: {less} of {reached} rules select less than {REFERENCE}, {more} more"
        if reached < signs.size:
            title += f"; {signs.size - reached} not reached"
        says = (
            f"Selection fraction S {where}, less that of {REFERENCE} in the same draw, with a gate {gate}; {draws} "
            "draws of text and fit. Red: less, blue: more, at 5% after Holm's correction for all rules; grey and "
            "hollow: not told apart; not reached: rules that do not drift so far."
        )
        if REFERENCE not in dataset.rule.values:
            title, says = f"Gate {gate}: what is selection", f"Selection fraction S {where}, with a gate {gate}."
        panels.append(Panel(functools.partial(draw_gate, gate=gate, groups=groups), title, says, f"{BARS} {STRIPES}"))
    panels.append(
        Panel(
            functools.partial(draw_rest, groups=groups),
            "The rest is mostly novelty" if mostly else "The rest: switching and novelty",
            f"What is not selection {where}, means over {draws} draws: switching persona mid-sentence, and novelty.",
            STRIPES,
        )
    )
    letters = lettered(*panels)
    title, layout = "Every rule at equal drift, in groups by what it does", "".join(letters)
    return Page(title, letters, layout, 5.6, one_key=True, bare=layout[1:], more=MORE)


def draw(dataset: xr.Dataset) -> dict[str, Page | str]:
    """All rules, few along their drift, and the table."""
    return {"": by_rule(dataset), "_along": along(dataset), "_table.md": table(dataset)}


if __name__ == "__main__":
    style.main("rules", draw, __doc__)
