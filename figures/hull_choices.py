"""The choice of a hull: S under other divergences, with one choice of persona for all prompts, with other personas."""

from typing import Any

import numpy as np
import xarray as xr

from experiments.claims import hull_choices as readings
from figures import hull_panels, style
from figures.pages import AROUND_MEAN, SHADING, Page, Panel, lettered

REVERSE = "KL(mix‖policy)"
WILSON = "Bars: Wilson's 95% interval of a share of draws of samples."


def draw(dataset: xr.Dataset) -> dict[str, Any]:
    """Six panels."""
    panels = (
        _fractions(dataset),
        _boundaries(dataset),
        _common(dataset),
        _personas(dataset),
        _entry(dataset),
        _flags(dataset),
    )
    page = Page("Does it matter how distance and hull are chosen?", lettered(*panels), "abc;def", 6.2)
    return {"": page}


def _fractions(dataset: xr.Dataset) -> Panel:
    start = dataset.selection_fraction.sel(rule="tilt").isel(strength=0)
    ends = dataset.strong_limit.mean("seed")
    spread = [float((x.max("divergence") - x.min("divergence")).max()) for x in (start.mean("seed"), ends)]
    says = (
        f"Selection fraction of the tilt at {_angles(dataset)}, by the divergence that the nearest mix and the drift "
        f"are measured with, {_draws(dataset)}: the larger the angle, the lower the "
        "curve; triangles on the right: the limit of the strongest tilt."
    )
    title = f"Divergences differ by {spread[0]:.2f} in S at first, by {spread[1]:.2f} in the end"
    return Panel(hull_panels.draw_fractions, title, says, SHADING)


def _boundaries(dataset: xr.Dataset) -> Panel:
    angle = hull_panels.middle_angle(dataset)
    ratio = readings.against_shipped(readings.half(dataset)).sel(angle=angle, rule="tilt")
    values = np.sort(ratio.sel(divergence=REVERSE).dropna("seed").values)
    times = values[(values.size - 1) // 2] if values.size else np.nan
    title = f"Half at {angle:g}°: {times:.2g} times as far under {REVERSE}"
    if not np.isfinite(times):
        title = f"Half at {angle:g}°: never reached under {REVERSE}" if values.size else f"No half at {angle:g}°"
    says = (
        "Strengths from which selection is below one half, or one persona is left, under other divergences, divided by "
        f"those under {readings.SHIPPED}; a mark for each of {_draws(dataset)}."
    )
    return Panel(hull_panels.draw_boundaries, title, says)


def _common(dataset: xr.Dataset) -> Panel:
    lost = (dataset.first_order - readings.weak(dataset.common_fraction)).mean("seed")
    says = (
        "Selection fraction of weak RL with a mix for every prompt against odds that change alike at all prompts; a "
        f"mark for each of {_draws(dataset)} and {_angles(dataset)}; crosses: the tilt of a reward for words."
    )
    return Panel(hull_panels.draw_common, f"One choice for all prompts costs up to {float(lost.max()):.2f} of S", says)


def _personas(dataset: xr.Dataset) -> Panel:
    angle = hull_panels.middle_angle(dataset)
    fraction = dataset.given_selection_fraction.sel(angle=angle).isel(strength=0).mean("seed")
    dropped = [f"without {name}" for name in dataset.dropped.values]
    below = all(float(fraction.sel(personas=name)) < 0 for name in dropped)
    title = f"{'A' if below else 'Not always does a'} missing persona hide{'s' if below else ''} weak selection"
    says = (
        f"Selection fraction of the tilt at {angle:g}° against drift where the hull is made of other personas, "
        f"{_draws(dataset)}: the right ones, one left out, a stranger added, blurred, or without memory; not shown "
        "below -1."
    )
    return Panel(hull_panels.draw_personas, title, says, AROUND_MEAN)


def _entry(dataset: xr.Dataset) -> Panel:
    law, seen = readings.entry(dataset)
    off = float((seen / law).median())
    says = (
        "Drift from which a little wrong hull shows selection as the larger part, against the law, b the distance of "
        f"the base from that hull; a mark for each of {_draws(dataset)}, hull and angle."
    )
    title = f"A misfit b hides weak selection: measured {off:.2f} of the law" if np.isfinite(off) else "A misfit b"
    return Panel(hull_panels.draw_entry, title, says)


def _flags(dataset: xr.Dataset) -> Panel:
    seen = float(readings.clear(dataset).mean())
    title = f"Samples flag {seen:.0%} of the clearly wrong hulls" if np.isfinite(seen) else "No hull is clearly wrong"
    says = (
        "Share of draws of samples that flag the base as outside of the hull, by how far it is outside; grey: "
        f"{readings.CLEAR:.0%} of the drift; {readings.num_flags(dataset)} draws of samples each."
    )
    return Panel(hull_panels.draw_flags, title, says, WILSON)


def _draws(dataset: xr.Dataset) -> str:
    return f"{dataset.sizes['seed']} draws"


def _angles(dataset: xr.Dataset) -> str:
    return f"{', '.join(f'{angle:g}' for angle in dataset.angle.values)}°"


if __name__ == "__main__":
    style.main("hull_choices", draw, __doc__)
