"""Hints and a monitor of the thoughts: who is honest, who says so, who hides it, and where a fine stops the saying."""

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from experiments.claims import hints as readings
from figures import hint_panels, style
from figures.pages import AROUND_MEAN, Page, Panel, lettered


def draw(dataset: xr.Dataset) -> dict[str, Any]:
    """The maps of every rule and the control with transcripts, and the laws on a page of their own."""
    cells = {rule: readings.cells(dataset).sel(rule=rule) for rule in hint_panels.MAPS}
    maps = [_map(dataset, rule, found) for rule, found in cells.items()]
    control = _ends("the answer sees the hint", readings.cells(dataset, "everywhere_"))
    says = "As a, where the answer sees the hint too, so that nothing has to be said; exact gradient."
    maps.append(Panel(hint_panels.draw_control, control, says))
    says = "What is thought and answered at wrong hints under the exact gradient, where each kind is clearest."
    maps.append(Panel(hint_panels.print_lines, "What honest, blatant, obfuscated and silent mean", says))
    look = {"height_ratios": [1.0, 1.0, 0.95]}
    return {
        "": Page(
            "Does a fine on saying so stop the use of hints?", lettered(*maps), "abc;def;ggg", 5.6, look, True, "bcef"
        ),
        "_laws": Page("Where a fine stops the saying", lettered(*_laws(dataset)), "abc", 3.2),
    }


def _map(dataset: xr.Dataset, rule: str, found: xr.DataArray) -> Panel:
    says = (
        f"What {rule} ends in at each strength and fine; the stripes of a cell are its {dataset.sizes['seed']} draws; "
        "line: the fine at which the policies of no fine and of the greatest are worth the same."
    )
    return Panel(partial(hint_panels.draw_rule, rule=rule), _ends(rule, found), says)


def _ends(name: str, found: xr.DataArray) -> str:
    """What most draws end in at the greatest strength and fine."""
    end = found.isel(strength=-1, fine=-1)
    counts = np.bincount(end.values.astype(int).ravel(), minlength=len(readings.CELLS))
    return f"{name}: ends {readings.CELLS[int(counts.argmax())]} {counts.max()}/{counts.sum()}"


def _laws(dataset: xr.Dataset) -> list[Panel]:
    draws, strength = f"{dataset.sizes['seed']} draws", float(dataset.strength[-1])
    predicted, measured = (
        values.sel(rule="annealed").isel(strength=slice(1, None))
        for values in (readings.balance(dataset), readings.stops(dataset))
    )
    off = float(abs(measured - predicted).mean())
    fell = readings.fallen(dataset.everywhere_recall).isel(fine=slice(1, None))
    slope = float((fell / (dataset.strength * fell.fine)).isel(strength=0).mean())
    end = dataset.accuracy.isel(strength=-1, fine=-1).mean("seed")
    best, worst = end.idxmax("rule").item(), end.idxmin("rule").item()
    balance = f"On average saying stops {off:.2g} from where both ends are worth the same, annealed"
    return [
        Panel(
            hint_panels.draw_stops,
            balance if np.isfinite(off) else "Annealed, saying never stops here",
            "The fine at which half of the saying is left, against that at which the policies of no fine and of the "
            f"greatest are worth the same; a mark for each strength and each of {draws}; dotted: from here on strong "
            "RL without a code is honest.",
        ),
        Panel(
            hint_panels.draw_odds,
            f"Where silence is free, the log-odds of saying fall by {slope:.2f} × strength × fine",
            "How far the log-odds of saying so fall, against strength times fine, means over draws; the line has slope "
            f"one; {draws}.",
        ),
        Panel(
            hint_panels.draw_accuracy,
            f"Under the greatest fine {best} is right {float(end.max()):.2f}, {worst} {float(end.min()):.2f}",
            f"Right answers at strength {strength:g} where a hint is shown, {draws}.",
            AROUND_MEAN,
        ),
    ]


if __name__ == "__main__":
    style.main("hints", draw, __doc__)
