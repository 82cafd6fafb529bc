"""What survives of the comparison of rules: against policy gradient, in every world and with both gates."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import rules as readings
from figures import style
from figures.pages import BARS, Page, Panel, lettered
from figures.rule_groups import MARKERS, REFERENCE, STRIPES, draw_differences, draw_rows, grouped, on_slide
from figures.rules_table import difference
from toypersona import datasets

KINDS = {"drift": "at {level:g} nats", "paid": "at mean reward {level:g}"}
GREY = "0.3"


def columns(of_each: Mapping[str, xr.Dataset], kind: str) -> dict[str, xr.Dataset]:
    """The comparison with the reference in every world with every gate, at the last level."""
    found = {}
    for world, dataset in of_each.items():
        compared = readings.against(readings.selected(dataset)[kind].isel(level=-1), REFERENCE)
        found |= {f"{world}, gate {gate}": compared.sel(gate=gate) for gate in compared.gate.values}
    return found


def draw_world(axis: Axes, _: Any, *, gates: Mapping[str, xr.Dataset], groups: Mapping[str, list[str]]) -> None:
    """Differences with their 95% intervals in one world, a marker for each gate."""
    rows = draw_rows(axis, groups)
    for i, (gate, compared) in enumerate(gates.items()):
        marker = MARKERS.get(gate, "s")
        axis.plot([], [], marker, color=GREY, ms=3.2, label=f"gate {gate}")
        draw_differences(axis, compared, rows, marker, (0.05 if on_slide() else 0.2) * (len(gates) - 1 - 2 * i))
    axis.set_xlabel(f"S less {REFERENCE}'s")
    axis.legend()


def nearest(each: Mapping[str, xr.Dataset], order: list[str]) -> tuple[str, int]:
    """The rule that all columns have on the same side and most can tell, and how many can."""
    sides = xr.concat([np.sign(compared.difference.reindex(rule=order)) for compared in each.values()], "column")
    told = sum((compared.p.reindex(rule=order) < readings.SIGNIFICANT).astype(int) for compared in each.values())
    found = xr.DataArray(told).where(abs(sides.mean("column", skipna=False)) == 1, -1)
    return str(found.rule.values[int(found.values.argmax())]), int(found.max())


def survivors(of_each: Mapping[str, xr.Dataset], kind: str, order: list[str]) -> list[str]:
    """Sentences: which rules differ from the reference in the same direction everywhere, and which nearly does."""
    each, kept = columns(of_each, kind), readings.survivors(of_each, kind, REFERENCE)
    named = {sign: [rule for rule in order if kept.get(rule) == sign] for sign in (-1, 1)}
    name, told = nearest(each, order)
    return [
        *(
            f"Select {word} than {REFERENCE} in every column: {', '.join(named[sign]) or 'none'}."
            for sign, word in ((-1, "less"), (1, "more"))
        ),
        f"Nearest to it: {name}, of one sign in every column, told from none in {told} of {len(each)}.",
    ]


def _where(each: Mapping[str, xr.Dataset], kind: str) -> str:
    """Where rules are compared, in words.

    Raises:
        ValueError: it is not the same in every world.
    """
    levels = sorted({compared.level.item() for compared in each.values()})
    if len(levels) > 1:
        found = " and ".join(KINDS[kind].format(level=level) for level in levels)
        raise ValueError(f"The worlds compare their rules {found}: compute them with the same last level")
    return KINDS[kind].format(level=levels[0])


def _told_less(compared: xr.Dataset) -> xr.DataArray:
    """The differences of the rules that are told to select less than the reference."""
    return compared.difference.where((compared.p < readings.SIGNIFICANT) & (compared.difference < 0)).dropna("rule")


def table(of_each: Mapping[str, xr.Dataset], order: list[str]) -> str:
    """Markdown: every difference, and which rules differ in the same direction everywhere."""
    draws = min(dataset.sizes["seed"] for dataset in of_each.values())
    lines = [
        f"Written by `figures.rules_by_world`: selection fraction less {REFERENCE}'s, in pairs over {draws} worlds or "
        "texts, each with a base of its own, half a 95% interval behind ±; bold where they differ at 5% after Holm's "
        "correction for all rules.",
    ]
    for kind in KINDS:
        each = columns(of_each, kind)
        lines += ["", f"## {_where(each, kind).capitalize()}", ""]
        lines += [line for sentence in survivors(of_each, kind, order) for line in (sentence, "")]
        lines += [f"| rule | {' | '.join(each)} |", f"|---|{'---:|' * len(each)}"]
        for rule in order:
            cells = [difference(compared, rule) for compared in each.values()]
            lines.append(f"| {' | '.join([rule, *cells])} |")
    return "\n".join(lines) + "\n"


def page(of_each: Mapping[str, xr.Dataset], kind: str, groups: Mapping[str, list[str]]) -> Page:
    """One kind of comparison, a panel for each world."""
    panels, each = [], columns(of_each, kind)
    where = _where(each, kind)
    trained = [rule for rules in groups.values() for rule in rules]
    for world, dataset in of_each.items():
        gates = {str(gate): each[f"{world}, gate {gate}"] for gate in dataset.gate.values}
        told = {gate: _told_less(compared.sel(rule=trained)) for gate, compared in gates.items()}
        named = [f"{values.idxmin().item()} (gate {gate})" for gate, values in told.items() if values.size]
        least = f"least selected by {', '.join(named)}" if named else f"no rule selects less than {REFERENCE}"
        says = (
            f"S {where} less {REFERENCE}'s in the same draw; {dataset.sizes['seed']} worlds or texts, each with a base "
            "of its own. Red: less, blue: more, at 5% after Holm's correction for all rules; hollow: not told apart; "
            "none: not reached."
        )
        draw_panel = functools.partial(draw_world, gates=gates, groups=groups)
        panels.append(Panel(draw_panel, f"{world}: {least}", says, f"{BARS} {STRIPES}"))
    letters = lettered(*panels)
    more = [*(f"- {sentence}" for sentence in survivors(of_each, kind, trained)), "- [All differences](rules_table.md)"]
    title = f"Rules against {REFERENCE} in every world, {where}"
    return Page(title, letters, "".join(letters), 6.0, {"sharex": True}, True, "".join(letters)[1:], more=more)


def draw(of_each: Mapping[str, xr.Dataset]) -> dict[str, Page | str]:
    """Where the same drift is spent, where the same reward is paid, and the table."""
    of_each = {where.removesuffix("/rules"): dataset for where, dataset in of_each.items()}
    each = [compared.difference for compared in columns(of_each, "drift").values()]
    middle = xr.concat(each, "column", join="inner").mean("column")
    skipped = {REFERENCE, *datasets.config_of(next(iter(of_each.values())))["controls"]}
    # What no column reaches comes last.
    groups = grouped(middle.sel(rule=[rule for rule in middle.rule.values if rule not in skipped]).fillna(np.inf))
    pages = {end: page(of_each, kind, groups) for end, kind in {"": "drift", "_paid": "paid"}.items()}
    return {**pages, "_table.md": table(of_each, [rule for rules in groups.values() for rule in rules])}


if __name__ == "__main__":
    style.main("rules", draw, __doc__, several="*/rules.zarr", script="rules_by_world")
