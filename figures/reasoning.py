"""When thoughts stop being readable: phases with transcripts, where the answer is encoded, defences, more bits."""

from functools import partial
from typing import Any

import xarray as xr

from experiments.claims import reasoning as readings
from figures import reasoning_panels, style
from figures.pages import AROUND_MEAN, Page, Panel, lettered


def draw(dataset: xr.Dataset) -> dict[str, Any]:
    """Phases with transcripts, and on pages of their own where the answer is encoded, and what keeps it readable."""
    phases = [_map(dataset, rule) for rule in reasoning_panels.MAPS]
    says = "Bits, thoughts, what the reader concludes, and the answer, where each phase is clearest; exact gradient."
    phases.append(Panel(reasoning_panels.print_lines, "What is thought in each phase", says))
    free, costly = dataset.length_cost.values[[0, -1]]
    shown = (("exact", free), ("exact", costly), ("annealed", costly), ("RLOO", costly))
    parts = lettered(*(_information(dataset, *where) for where in shown))
    kept = lettered(_defences(dataset), _bits(dataset))
    look = {"height_ratios": [1.0, 1.2]}
    title = "When is the answer right and the thought unreadable?"
    return {
        "": Page(title, lettered(*phases), "abcd;eeee", 4.4, look, one_key=True, bare="bcd"),
        "_parts": Page("Where the answer is encoded", parts, "ab;cd", 4.6, one_key=True),
        "_defences": Page("What keeps thoughts readable", kept, "ab", 3.6),
    }


def _map(dataset: xr.Dataset, rule: str) -> Panel:
    end = readings.unreadable(dataset).sel(rule=rule).isel(length_cost=-1, strength=-1)
    title = f"{rule}: unreadable {int(end.sum())}/{end.size} at the end"
    says = (
        f"Phases of {rule} over strength and length cost; the stripes of a cell are its {dataset.sizes['seed']} draws. "
        "The title counts draws that are right and unreadable at the greatest strength and cost."
    )
    return Panel(partial(reasoning_panels.draw_map, rule=rule), title, says)


def _information(dataset: xr.Dataset, rule: str, cost: float) -> Panel:
    end = dataset.sel(rule=rule, length_cost=cost).isel(strength=-1).mean("seed")
    title = f"{rule}, length cost {cost:g}: ends with agreement {float(end.agreement):.2f}"
    says = (
        "Nats on the answer that are read, sharpened, keyed and coded, stacked (below zero: the reader is misled), and "
        f"accuracy, agreement and reliance on the axis on the right; {rule} at length cost {cost:g}, means over "
        f"{dataset.sizes['seed']} draws."
    )
    return Panel(partial(reasoning_panels.draw_information, rule=rule, cost=cost), title, says)


def _defences(dataset: xr.Dataset) -> Panel:
    cost = float(dataset.length_cost[-1])
    ends = dataset.isel(length_cost=-1, strength=-1).sel(rule=list(reasoning_panels.DEFENCES)).mean("seed")
    readable = ends.accuracy.where(ends.agreement >= readings.READABLE)
    title = f"At length cost {cost:g} no defence ends readable"
    if readable.notnull().any():
        best = readable.idxmax("rule").item()
        who = "Even without a defence" if best == "exact" else f"With {best}"
        title = f"{who} thoughts end readable, {float(readable.max()):.0%} of the answers right"
    says = (
        f"Accuracy against agreement as the strength grows from the base to the rings, at length cost {cost:g}; lines: "
        f"means over {dataset.sizes['seed']} draws, rings: each draw at the greatest strength. Readable is an "
        f"agreement of {readings.READABLE:g} or more."
    )
    return Panel(reasoning_panels.draw_defences, title, says)


def _bits(dataset: xr.Dataset) -> Panel:
    here = dataset.isel(length_cost=-1, strength=-1)
    learnt = readings.trained(here)
    title = f"On more bits {int(learnt.sum())} of {learnt.size} draws learn"
    if learnt.any():
        title += f", and end with agreement {float(here.long_agreement.where(learnt).mean()):.2f}"
    says = (
        "Agreement of reader and answer for different numbers of bits, at the greatest length cost. Of the sampled "
        "RLOO the draws that learn anything; crosses: those that learn nothing."
    )
    return Panel(reasoning_panels.draw_bits, title, says, AROUND_MEAN)


if __name__ == "__main__":
    style.main("reasoning", draw, __doc__)
