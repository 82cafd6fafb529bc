"""What makes thoughts unreadable: agreement against the worth of cheap words, and where codes in them come in."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import codes as readings
from experiments.claims import reasoning
from figures import style

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
    axis.set_title("(a) read by what cheap words are worth\n(rings: trained from starts built of codes)")
    axis.legend(loc="lower right", fontsize=5.5)


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
    axis.set(xlabel="novelty, nats a response", ylim=(0, 1))
    axis.set_title("(b) as far outside the hull,\nread or not (right runs)")
    axis.legend(title="worth w", title_fontsize=5.5, fontsize=5.5, ncols=2, loc="lower left")


def draw_line(axis: Axes, dataset: xr.Dataset) -> None:
    """Mean cost of a thought against strength, annealed up and down, with the law of the codes keyed and its s*."""
    spoken = readings.annealed(dataset).agreement.isel(worth=0).notnull()
    here = dataset.isel(worth=0, seed=np.flatnonzero(spoken))
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
    axis.set_title(f"(c) cheap codes come in at s*\n(dotted; w = {here.worth.item():g}, seeds in codes)")
    style.ticks(axis.xaxis, here.strength.values[:: -(-here.sizes["strength"] // 6)])
    axis.legend(loc="upper right", fontsize=5.5)


if __name__ == "__main__":
    style.main("codes", style.panels(3, 2.6, draw_agreement, draw_novelty, draw_line), __doc__)
