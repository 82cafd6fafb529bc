"""The table of rules: what their drift is made of, at the same drift, and how they differ from policy gradient."""

import numpy as np
import xarray as xr

from experiments.claims import rules as readings
from experiments.shared.claim import PARTS
from figures.rule_groups import REFERENCE
from toypersona import datasets

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
