"""What makes thoughts unreadable: agreement against the worth of cheap words, and where codes in them come in."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import codes as readings
from experiments.claims import reasoning
from figures import style
from figures.pages import Page, Panel, lettered

RULES = {"exact": "o", "annealed": "s", "plain gradient": "^", "RLOO": "v", "GRPO": "D"}
GREY = "#777777"


def draw_agreement(axis: Axes, dataset: xr.Dataset) -> None:
    """Agreement against worth: the law as lines, built starts as rings, every right run of a rule as a small mark."""
    two = readings.kind(dataset, "start").sel(start=readings.TWO)
    kinds = {"own and opposite": (two, "blue", "-"), "as many codes as voices": (readings.lawful(dataset), "red", "--")}
    for name, (here, colour, dash) in kinds.items():
        shade = style.COLOURS[colour]
        axis.plot(here.worth, here.agreement_law.mean("seed"), ls=dash, color=shade, label=f"law: {name}")
        axis.plot(here.worth, here.agreement.mean("seed"), "o", mfc="none", mec=shade, ms=5, lw=0)
    width = float(np.diff(dataset.worth).min())
    for i, (rule, mark) in enumerate(RULES.items()):
        right = _right(dataset).agreement.sel(rule=rule).transpose("worth", "seed")
        if right.isnull().all():
            continue
        axis.plot(dataset.worth + width * (i - 2) / 9, right, mark, color=GREY, ms=2.5, lw=0, mew=0, zorder=1)
        axis.plot([], [], mark, color=GREY, ms=3, lw=0, mew=0, label=rule)
    axis.axhline(reasoning.UNREADABLE, color="black", lw=0.5, ls=":")
    axis.set(xlabel="worth w of the cheapest words", ylabel="agreement of reader and answer", ylim=(0, 1))
    axis.legend()


def _right(dataset: xr.Dataset) -> xr.Dataset:
    """The runs of the rules that end right."""
    rules = readings.kind(dataset, "rule")
    return rules.where(rules.accuracy >= reasoning.RIGHT)


def draw_novelty(axis: Axes, dataset: xr.Dataset) -> None:
    """Agreement against novelty of every right run of a rule: as far outside the hull, read or not."""
    for worth, shade in style.shades(dataset.worth.values).items():
        here = _right(dataset).sel(worth=worth)
        axis.plot(
            here.novelty.values.ravel(), here.agreement.values.ravel(), "o", color=shade, ms=3, label=f"{worth:g}"
        )
    axis.axhline(reasoning.UNREADABLE, color="black", lw=0.5, ls=":")
    axis.set(xlabel="novelty, nats a response", ylabel="agreement of reader and answer", ylim=(0, 1))
    axis.legend(title="worth w")


def _speakers(dataset: xr.Dataset) -> xr.Dataset:
    """At the least worth, the draws in which annealing ends in codes."""
    spoken = readings.annealed(dataset).agreement.isel(worth=0).notnull()
    return dataset.isel(worth=0, seed=np.flatnonzero(spoken))


def draw_line(axis: Axes, dataset: xr.Dataset) -> None:
    """Mean cost of a thought against strength, annealed up and down, with the law of the codes keyed and its s*."""
    here = _speakers(dataset)
    for cost, colour, dash in zip(here.length_cost.values, style.COLOURS.values(), style.DASHES, strict=False):
        at = here.sel(length_cost=cost)
        for path, mark, face in zip(readings.PATHS, ("^", "v"), (colour, "none"), strict=True):
            axis.plot(at.strength, at.cost.sel(path=path).mean("seed"), mark, color=colour, mfc=face, ms=4, lw=0)
        law = at.cost_law.sel(path=readings.PATHS[1]).mean("seed")
        axis.plot(at.strength, law, ls=dash, color=colour, label=f"law, length cost {cost:g}")
        down = at.sel(path=readings.PATHS[1])
        axis.axvline(float(readings.line(down, down.keyed_codes).mean()), color=colour, lw=0.6, ls=":")
    for path, mark, face in zip(readings.PATHS, ("^", "v"), ("black", "none"), strict=True):
        axis.plot([], [], mark, color="black", mfc=face, ms=4, lw=0, label=path)
    axis.set(xscale="log", xlabel="strength s = 1/β", ylabel="mean cost of a thought", ylim=(0, None))
    style.ticks(axis.xaxis, here.strength.values[:: -(-here.sizes["strength"] // 6)])
    axis.legend()


def _by_novelty(far: float, near: float) -> str:
    """The largest novelty of a read run, and the least of an unreadable one, nats; nan where there is no such run."""
    if not np.isfinite(near):
        return "No right run is unreadable here"
    if not np.isfinite(far):
        return "Every right run is unreadable here"
    if far < near:
        return f"Thoughts are read up to {far:.1f} nats of novelty, and unreadable from {near:.1f} on"
    return f"From {near:.1f} to {far:.1f} nats of novelty thoughts are read or unreadable: novelty does not tell"


def _by_strength(dataset: xr.Dataset) -> str:
    """Where cheap codes come in on the way down, and s*, at the greatest length cost; means over draws."""
    down = _speakers(dataset).sel(path=readings.PATHS[1]).isel(length_cost=-1)
    seen, law = (float(each.mean()) for each in (readings.came_in(down), readings.line(down, down.keyed_codes)))
    if not np.isfinite(seen):
        return "Cheap codes do not come in here"
    by_law = f", s* = {law:.2g} by the law" if np.isfinite(law) else ""
    return f"At length cost {down.length_cost.item():g} cheap codes come in at s = {seen:.2g}{by_law}"


def draw(dataset: xr.Dataset) -> dict[str, Any]:
    """Three panels."""
    draws, worths = f"{dataset.sizes['seed']} draws", dataset.worth.values
    two = readings.kind(dataset, "start").sel(start=readings.TWO).agreement.mean("seed")
    right = _right(dataset)
    read = right.agreement > reasoning.UNREADABLE
    far, near = float(right.novelty.where(read).max()), float(right.novelty.where(~read).min())
    panels = (
        Panel(
            draw_agreement,
            f"Agreement goes from {float(two[0]):.2f} to {float(two[-1]):.2f} as cheap words are worth more",
            "How often the reader's answer is the policy's, by what Larry's words tell the reader (w); lines: laws of "
            f"two kinds of codes; rings: policies trained from starts built of these codes, means over {draws}; grey: "
            "every run of a rule that ends right.",
        ),
        Panel(
            draw_novelty,
            _by_novelty(far, near),
            "Agreement of reader and answer against novelty, a mark for each run of a rule that ends right; dotted: "
            "below it thoughts are called unreadable.",
        ),
        Panel(
            draw_line,
            _by_strength(dataset),
            f"Mean cost of a thought, annealed up and down, at w = {worths[0]:g}, means over the "
            f"{_speakers(dataset).sizes['seed']} of {draws} that end in codes; lines: the law; dotted: the strength s* "
            "from which on cheap codes are the likelier by the law. The title: where they are as measured.",
        ),
    )
    return {"": Page("What makes thoughts unreadable", lettered(*panels), "abc", 3.6)}


if __name__ == "__main__":
    style.main("codes", draw, __doc__)
