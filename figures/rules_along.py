"""A few rules along their drift: selection, what they are paid, and how often the right answer is found."""

import functools
from collections.abc import Mapping

import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import rules as readings
from figures import style
from figures.pages import SHADING, Page, Panel, lettered
from figures.rule_groups import REFERENCE

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

Looks = Mapping[str, str]
"""Colours by rule."""


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


def draw_curves(axis: Axes, _: xr.Dataset, *, read: tuple[xr.DataArray, xr.DataArray], rules: Looks) -> None:
    """Mean of one quantity against drift, and half of its interval."""
    style.curves(axis, *read, rules)
    axis.set(xscale="log", xlabel="drift spent, nats", ylabel="selection fraction S")
    axis.set_ylim(0, 1.02)
    axis.axhline(0.5, color="black", lw=0.5)
    axis.legend()


def draw_paid(axis: Axes, _: xr.Dataset, *, read: tuple[xr.DataArray, xr.DataArray], rules: Looks) -> None:
    """The reward as a share of the tilt's."""
    style.curves(axis, *read, rules)
    axis.axhline(1.0, color="black", lw=0.5)
    axis.set(xscale="log", xlabel="drift spent, nats", ylabel="reward / the tilt's")
    axis.legend()


def draw_passes(axis: Axes, dataset: xr.Dataset, *, gate: str, rules: Looks) -> None:
    """pass@k of the base and at equal drift."""
    base, mean = readings.base_passes(dataset), readings.at_levels(dataset)[0].passes.sel(gate=gate).isel(drift=-1)
    axis.plot(base.k, base, color="0.5", label="base")
    for (rule, colour), dash in zip(rules.items(), (*style.DASHES, "-"), strict=False):
        axis.plot(base.k, mean.sel(rule=rule), ls=dash, color=style.COLOURS[colour], label=rule)
    axis.set(xscale="log", ylim=(0, 1.02), xlabel="k", ylabel="pass@k")
    style.ticks(axis.xaxis, base.k.values)
    axis.legend()


def along(dataset: xr.Dataset) -> Page:
    """The page: selection with every gate, reward and pass@k with the first."""
    shown, gates, draws = looks(dataset), dataset.gate.values, f"{dataset.sizes['seed']} draws"
    dense, gate = readings.along_drift(dataset, 25), gates[0]
    first, last = (_at(dataset, at) for at in (0, -1))
    panels = [_selection(dense, first, each, shown, draws) for each in gates]
    paid = {rule: colour for rule, colour in shown.items() if rule not in ("paid by chance", "tilt")}
    share = last.share.sel(gate=gate, rule=[*paid])
    panels.append(
        Panel(
            functools.partial(draw_paid, read=_read(dense, "share", gate), rules=paid),
            f"Paid {share.min().item():.2f} to {share.max().item():.2f} of the tilt's at {last.drift.item():g} nats",
            f"Mean reward against the drift spent, as a share of what the tilt is paid there, the most that is "
            f"possible; gate {gate}; {draws}.",
            SHADING,
        )
    )
    right = {rule: colour for rule, colour in shown.items() if last.passes.sel(gate=gate, rule=rule).notnull().all()}
    once, base = last.passes.sel(gate=gate, rule=[*right]).isel(k=0), readings.base_passes(dataset)[0].item()
    panels.append(
        Panel(
            functools.partial(draw_passes, gate=gate, rules=shown),
            f"pass@1 is {base:.2f} in the base, then {once.min().item():.2f} to {once.max().item():.2f}",
            f"pass@k after {last.drift.item():g} nats: the probability that one of k answers is right; means over "
            f"{draws}; gate {gate}.",
        )
    )
    return Page("A few rules along their drift", lettered(*panels), "".join(lettered(*panels)), 2.6, one_key=True)


def _at(dataset: xr.Dataset, index: int) -> xr.Dataset:
    """Means at one of the drifts at which rules are compared."""
    return readings.at_levels(dataset.assign(share=dataset.reward / dataset.best_reward))[0].isel(drift=index)


def _read(dense: tuple[xr.Dataset, xr.Dataset], name: str, gate: str) -> tuple[xr.DataArray, xr.DataArray]:
    mean, half = (each[name].sel(gate=gate) for each in dense)
    return mean, half


def _selection(dense: tuple[xr.Dataset, xr.Dataset], first: xr.Dataset, gate: str, shown: Looks, draws: str) -> Panel:
    """S along the drift with one gate; its title names who selects most and least of the first drift."""
    weak = first.selection_fraction.sel(gate=gate, rule=[*shown]).dropna("rule")
    title = f"Gate {gate}"
    if weak.size > 1:
        order = weak.sortby(weak)
        ends = " to ".join(f"{order[at].item():.2f} ({order.rule.values[at]})" for at in (-1, 0))
        title = f"Gate {gate}: S at {first.drift.item():g} nats is {ends}"
    draw = functools.partial(draw_curves, read=_read(dense, "selection_fraction", gate), rules=shown)
    return Panel(draw, title, f"Selection fraction S against the drift spent, with a gate {gate}; {draws}.", SHADING)
