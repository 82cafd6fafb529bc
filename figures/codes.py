"""What makes thoughts unreadable: agreement against the worth of cheap words, and where codes in them come in."""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claims import codes as readings
from experiments.claims import reasoning
from figures import style

KINDS = {readings.TWO: ("blue", "two conventions"), "best": ("red", "as many codes as voices")}
RULES = {"exact": "o", "annealed": "s", "plain gradient": "^", "RLOO": "v", "GRPO": "D"}


def draw_agreement(axis: Axes, dataset: xr.Dataset) -> None:
    """Agreement against worth: the law as lines, built starts as rings, every rule's runs as small marks."""
    starts, rules = readings.kind(dataset, "start"), readings.kind(dataset, "rule")
    for (name, (colour, label)), dash in zip(KINDS.items(), style.DASHES, strict=False):
        here = readings.lawful(dataset) if name == "best" else starts.sel(start=name)
        shade = style.COLOURS[colour]
        axis.plot(here.worth, here.agreement_law.mean("seed"), ls=dash, color=shade, label=f"law: {label}")
        axis.plot(here.worth, here.agreement.mean("seed"), "o", mfc="none", mec=shade, ms=6)
    width = float(np.diff(dataset.worth).min())
    for i, (rule, mark) in enumerate(RULES.items()):
        here = rules.sel(rule=rule)
        right = here.agreement.where(here.accuracy >= reasoning.RIGHT)
        x = here.worth + width * (i - 2) / 9
        axis.plot(x, right.transpose("worth", "seed"), mark, color="#777777", ms=2.5, lw=0, mew=0, zorder=1)
    axis.axhline(reasoning.UNREADABLE, color="black", lw=0.5, ls=":")
    axis.set(xlabel="worth w of the cheapest words", ylabel="agreement of reader and answer", ylim=(0, 1))


def draw_novelty(axis: Axes, dataset: xr.Dataset) -> None:
    """Agreement against novelty of every rule's right runs: as far outside the hull, read or not."""
    rules = readings.kind(dataset, "rule")
    for worth, shade in style.shades(dataset.worth.values).items():
        here = rules.sel(worth=worth)
        right = here.accuracy >= reasoning.RIGHT
        axis.plot(
            *(here[name].where(right).values.ravel() for name in ("novelty", "agreement")), "o", color=shade, ms=3
        )
        axis.plot([], [], "o", color=shade, ms=3, label=f"w = {worth:g}")
    axis.axhline(reasoning.UNREADABLE, color="black", lw=0.5, ls=":")
    axis.set(xlabel="novelty, nats outside the token hull", ylabel="agreement of reader and answer", ylim=(0, 1))


def draw_line(axis: Axes, dataset: xr.Dataset) -> None:
    """Cost of a thought against strength, annealed up and down, with the law's, from the codes keyed."""
    for cost, colour in zip(dataset.length_cost.values, style.COLOURS.values(), strict=False):
        here = dataset.isel(worth=0).sel(length_cost=cost)
        for path, (mark, filled) in zip(readings.PATHS, (("^", True), ("v", False)), strict=True):
            seen = here.sel(path=path).cost.mean("seed")
            axis.plot(
                here.strength,
                seen,
                mark,
                color=style.COLOURS[colour] if False else colour,
                ms=4,
                mfc=colour if filled else "none",
                lw=0,
            )
        law = here.sel(path=readings.PATHS[1]).cost_law.mean("seed")
        axis.plot(here.strength, law, color=colour, label=f"law, length cost {cost:g}")
        axis.axvline(readings.line(here.sel(path=readings.PATHS[0])).mean(), color=colour, lw=0.6, ls=":")
    axis.set(xscale="log", xlabel="strength s = 1/β", ylabel="mean cost of a thought")
    style.ticks(axis.xaxis, dataset.strength.values)
