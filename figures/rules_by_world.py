"""What survives of the comparison of rules: against policy gradient, in every world and with both gates."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claims import rules as readings
from figures import style
from figures.rules import REFERENCE, difference
from toypersona import datasets

KINDS = {"drift": "at {level:g} nats", "paid": "at mean reward {level:g}"}
COLOURS = ("blue", "red", "green", "orange", "purple")


def columns(of_each: Mapping[str, xr.Dataset], kind: str) -> dict[str, xr.Dataset]:
    """The comparison with the reference in every world with every gate, at the last level."""
    found = {}
    for world, dataset in of_each.items():
        compared = readings.against(readings.selected(dataset)[kind].isel(level=-1), REFERENCE)
        found |= {f"{world}, gate {gate}": compared.sel(gate=gate) for gate in compared.gate.values}
    return found


def draw_differences(axis: Axes, of_each: Mapping[str, xr.Dataset], kind: str, order: list[str]) -> None:
    """Differences with their 95% intervals; filled where they differ after Holm's correction."""
    each = columns(of_each, kind)
    for i, ((name, compared), colour) in enumerate(zip(each.items(), COLOURS, strict=False)):
        here, shade = compared.reindex(rule=order), style.COLOURS[colour]
        height = np.arange(len(order)) + 0.14 * (i - (len(each) - 1) / 2)
        axis.errorbar(here.difference, height, xerr=here.half, fmt="none", ecolor=shade, elinewidth=0.6)
        told = (here.p < readings.SIGNIFICANT).values
        axis.plot(here.difference[told], height[told], "o", color=shade, ms=2.5, label=name)
        axis.plot(here.difference[~told], height[~told], "o", color=shade, ms=2.5, mfc="white", mew=0.6)
    axis.axvline(0, color="black", lw=0.6)
    level = readings.selected(next(iter(of_each.values())))[kind].level.values[-1]
    axis.set(xlabel=f"S less {REFERENCE}'s, {KINDS[kind].format(level=level)}")
    axis.set_yticks(range(len(order)), order, fontsize=5.5)
    axis.set_ylim(-0.7, len(order) - 0.3)
    for row in range(0, len(order), 2):
        axis.axhspan(row - 0.5, row + 0.5, color="black", alpha=0.04, lw=0)


def nearest(each: Mapping[str, xr.Dataset], order: list[str]) -> tuple[str, int]:
    """The rule that all columns have on the same side and most can tell, and how many can."""
    sides = xr.concat([np.sign(compared.difference.reindex(rule=order)) for compared in each.values()], "column")
    told = sum((compared.p.reindex(rule=order) < readings.SIGNIFICANT).astype(int) for compared in each.values())
    found = xr.DataArray(told).where(abs(sides.mean("column", skipna=False)) == 1, -1)
    return str(found.rule.values[int(found.values.argmax())]), int(found.max())


def table(of_each: Mapping[str, xr.Dataset], order: list[str]) -> str:
    """Markdown: every difference, and which rules differ in the same direction everywhere."""
    draws = min(dataset.sizes["seed"] for dataset in of_each.values())
    lines = [
        f"Written by `figures.rules_by_world`: selection fraction less {REFERENCE}'s, in pairs over {draws} worlds or "
        "texts, each with a base of its own, half a 95% interval behind ±; bold where they differ at 5% after Holm's "
        "correction for all rules.",
    ]
    for kind, where in KINDS.items():
        each = columns(of_each, kind)
        level = readings.selected(next(iter(of_each.values())))[kind].level.values[-1]
        said = {-1.0: "less", 1.0: "more"}
        kept = readings.survivors(of_each, kind, REFERENCE)
        lines += ["", f"## {where.format(level=level).capitalize()}", ""]
        for sign, word in said.items():
            named = [rule for rule in order if kept.get(rule) == sign]
            lines.append(f"Select {word} than {REFERENCE} in every column: {', '.join(named) or 'none'}.")
            lines.append("")
        name, told = nearest(each, order)
        lines += [f"Nearest to it: {name}, of one sign in every column, told from none in {told} of {len(each)}.", ""]
        lines += [f"| rule | {' | '.join(each)} |", f"|---|{'---:|' * len(each)}"]
        for rule in reversed(order):
            cells = [difference(compared, rule) for compared in each.values()]
            lines.append(f"| {' | '.join([rule, *cells])} |")
    return "\n".join(lines) + "\n"


def draw(of_each: Mapping[str, xr.Dataset]) -> dict[str, Figure | str]:
    """Both comparisons side by side, and the table."""
    of_each = {where.removesuffix("/rules"): dataset for where, dataset in of_each.items()}
    first = next(iter(of_each.values()))
    skipped = {REFERENCE, *datasets.config_of(first)["controls"]}
    each = [compared.difference for compared in columns(of_each, "drift").values()]
    # What no column reaches comes first.
    middle = xr.concat(each, "column", join="inner").mean("column").fillna(-1.0)
    order = [str(rule) for rule in middle.sortby(middle).rule.values if rule not in skipped]
    figure, axes = plt.subplots(1, 2, figsize=(style.PAGE, 6.4), layout="constrained", sharey=True)
    for axis, kind in zip(axes, KINDS, strict=True):
        draw_differences(axis, of_each, kind, order)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return {"": figure, ".md": table(of_each, order)}


if __name__ == "__main__":
    style.main("rules", draw, __doc__, several="*/rules.zarr")
