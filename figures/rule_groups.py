"""Rules in groups by what they do, a row each, and how much more or less than policy gradient each one selects."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import rules as readings
from figures import style
from figures.pages import POINTS

REFERENCE = "policy gradient"
"""The rule from which all others are told."""

GROUPS = {
    "follow policy gradient": (
        *("REINFORCE", "REINFORCE, mean", "RLOO", "RLOO, k1 in loss", "GRPO", "GRPO, M = 2", "Dr. GRPO"),
        *("PPO, token", "PPO, sequence", "PPO, token, 16 epochs"),
    ),
    "with a penalty or a bonus": (
        *("RLOO, KL in reward", "RLOO, k2 in loss", "RLOO, entropy", "GRPO, k3 in loss", "GRPO, corrected k3"),
    ),
    "held back": ("RLOO, clipped Adam", "RLOO, gates only"),
    "imitate their best": (*("expert iteration", "rejection", "best of 8", "best of 8, exact", "best of 64"),),
    "learn from preferences": ("DPO", "DPO, β = 0.1"),
    "imitate a persona": ("SFT", "SFT, 64 lines"),
    "the optimum": ("tilt",),
}
"""Every rule that is compared, by what it does."""

OTHERS = "yours"
"""The group of rules that are in none."""

COLOURS = {-1: style.COLOURS["red"], 1: style.COLOURS["blue"], 0: "0.5"}
"""Of rules that select less, more, or are not told from the reference."""

SIGNS = {-1: "selects less", 1: "selects more", 0: "not told apart"}
"""What they are called."""

STRIPES = "Grey stripes: every other group of rules."

Groups = Mapping[str, Sequence[str]]
"""The rules of each group."""

MARKERS = {"network": "o", "table": "^"}
"""By gate."""


def grouped(values: xr.DataArray) -> dict[str, list[str]]:
    """The rules of each group, least value first, unknown ones last; a rule that no group has is one of the others.

    Args:
        values: a number for each ``rule``, by which they are ordered.
    """
    order = [str(rule) for rule in values.sortby(values).rule.values]
    known = {rule for rules in GROUPS.values() for rule in rules}
    groups = {group: [rule for rule in order if rule in rules] for group, rules in GROUPS.items()}
    groups[OTHERS] = [rule for rule in order if rule not in known]
    return {group: rules for group, rules in groups.items() if rules}


def heights(groups: Groups) -> tuple[dict[str, float], dict[str, float]]:
    """Rows from the top down: of every rule, and of the name of every group above its rules."""
    rules, names, row = {}, {}, 0.0
    for group, members in groups.items():
        names[group] = row
        rules |= {rule: row - 0.9 - i for i, rule in enumerate(members)}
        row -= len(members) + 1.1
    return rules, names


def narrow_heights(groups: Groups) -> tuple[dict[str, float], dict[str, float]]:
    """The same where there is no room for the names of rules: those of a group side by side in one row."""
    names = {group: -float(row) for row, group in enumerate(groups)}
    spread = {group: np.linspace(0.35, -0.35, len(members) + 2)[1:-1] for group, members in groups.items()}
    rules = {
        rule: names[group] + float(up)
        for group, members in groups.items()
        for rule, up in zip(members, spread[group], strict=True)
    }
    return rules, names


def on_slide() -> bool:
    """Whether text is so large that rules can have no names."""
    return plt.rcParams["font.size"] >= POINTS


def draw_rows(axis: Axes, groups: Groups, own: Sequence[str] = ()) -> dict[str, float]:
    """Rows of an empty panel, every other group shaded: its name above those of its rules; the user's own are bold.

    On a slide there are the names of groups alone. Returns the rows of the rules.
    """
    rules, names = narrow_heights(groups) if on_slide() else heights(groups)
    rows = names if on_slide() else rules | {f"{group}:": at for group, at in names.items()}
    axis.set_yticks([*rows.values()], [*rows], fontsize=5.5)
    axis.tick_params(axis="y", length=0)
    for label in axis.get_yticklabels():
        name = label.get_text()
        label.set(weight="bold" if name in own else "normal", style="normal" if name in rules else "italic")
    tops = [at + 0.5 for at in names.values()]
    bottoms = [*tops[1:], min(rules.values()) - 0.6]
    for top, bottom in [*zip(tops, bottoms, strict=True)][::2]:
        axis.axhspan(bottom, top, color="black", alpha=0.05, lw=0)
    axis.set_ylim(bottoms[-1], tops[0])
    return rules


def draw_differences(
    axis: Axes, compared: xr.Dataset, rows: Mapping[str, float], marker: str, shift: float = 0
) -> None:
    """How much more each rule selects than the reference: mean and 95% interval of the draws' differences.

    Args:
        axis: of the panel.
        compared: ``difference``, ``half`` and ``p`` of each ``rule``, as ``readings.against`` has them.
        rows: the height of each rule.
        marker: of the points; filled and in colour where the rule is told from the reference.
        shift: of all rows.
    """
    here = compared.reindex(rule=[*rows])
    told, at = (here.p < readings.SIGNIFICANT).values, np.array([*rows.values()]) + shift
    for sign, colour in COLOURS.items():
        axis.plot([], [], "s", color=colour, mfc=colour if sign else "white", ms=3.5, label=SIGNS[sign])
        chosen = told & (np.sign(here.difference.values) == sign) if sign else ~told
        look = {"color": colour, "mfc": colour if sign else "white", "ms": 3.2, "mew": 0.8, "lw": 0.8}
        axis.errorbar(here.difference[chosen], at[chosen], xerr=here.half[chosen], fmt=marker, **look)
    axis.axvline(0.0, color="black", lw=0.6)
