"""Names of curves, written where they end instead of in a legend; and lists of names as a reader says them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

TOP = 0.97
"""Of the names' heights, as a share of the axes': above them is the title."""


class End(NamedTuple):
    """The last point of a curve, in data coordinates, with its name and colour."""

    name: str
    x: float
    y: float
    colour: Any


def apart(heights: Sequence[float] | np.ndarray, gap: float) -> np.ndarray:
    """Heights in the same order, moved as little as keeps neighbours ``gap`` apart, and between 0 and 1."""
    order = np.argsort(heights, kind="stable")
    wanted = np.array(heights, float)[order] - gap * np.arange(len(order))
    # Pooled: whoever has to be above the next one shares its place with it (isotonic regression).
    blocks: list[list[float]] = []
    for height in wanted:
        blocks.append([height, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (low, few), (high, more) = blocks[-2:]
            blocks[-2:] = [[(few * low + more * high) / (few + more), few + more]]
    placed = np.concatenate([np.full(int(count), height) for height, count in blocks]) + gap * np.arange(len(order))
    steps = gap * np.arange(len(order))
    placed = np.minimum(placed, TOP - steps[::-1])
    placed = np.maximum(placed, steps)
    moved = np.empty(len(order))
    moved[order] = placed
    return moved


def at_ends(axis: Axes, ends: Sequence[End], *, gap: float = 0.08) -> None:
    """Write the names right of the axes, at the heights of the curves' ends; called when the limits are set.

    Args:
        axis: of the panel.
        ends: of the curves.
        gap: between names, as a share of the height of the axes.
    """
    if not ends:
        return
    place = axis.transData + axis.transAxes.inverted()
    heights = apart([float(place.transform((end.x, end.y))[1]) for end in ends], gap)
    size = plt.rcParams["legend.fontsize"]
    for end, height in zip(ends, heights, strict=True):
        look = {"color": end.colour, "fontsize": size, "va": "center", "transform": axis.transAxes}
        axis.text(1.02, height, end.name, **look)


def listed(names: Sequence[str], none: str = "none") -> str:
    """``a``, ``a and b``, or ``a, b and c``."""
    *first, last = names or [none]
    return f"{', '.join(first)} and {last}" if first else last
