"""Pages of lettered panels, and slides of one of them: both call the same functions.

A panel is drawn on axes that it is given. What stands around it is put there afterwards, where there is room: its
letter, its title, and its legend, below the axes on a page and beside them on a slide.
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import mpltern  # noqa: F401  (registers the ternary projection)
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox, ScaledTranslation

WIDTH = 7.0
"""Inches of a page."""

SLIDES = "slides"
"""The folder, in that of the pages, into which slides are written."""

SLIDE, POINTS = (10.0, 5.625), 14.0
"""Inches of a slide, 16:9, and the size of its text."""

SHADING = "Shading: 95% interval of the mean over the draws (Student)."
BARS = "Error bars: 95% interval of the mean over the draws (Student)."
SHADING_OF_LOGS = "Shading: 95% interval of the geometric mean over the draws (Student, of logarithms)."
AROUND_MEAN = "Shading: the range over all draws, around their mean."
AROUND_MEDIAN = "Shading: the range over all draws, around their median."
"""What shading and bars may mean; the first two unless there is a reason."""

BESIDE = 0.35
"""Of a slide's width may be taken by a legend beside the axes: a wider one goes below them."""

GAP = 3.0
"""Points between axes and what stands around them."""


class Panel(NamedTuple):
    """One panel.

    Attributes:
        draw: on axes, from the dataset; a legend may be anywhere, it is moved.
        title: the finding, true of this dataset, in a few words.
        says: for the caption, what is drawn, of how many draws; sentences.
        shading: what shading and bars mean; empty where there are none.
        scale: label of the colour scale of the first mesh or image, if there is one.
        projection: of the axes.
    """

    draw: Callable[[Any, xr.Dataset], None]
    title: str
    says: str
    shading: str = ""
    scale: str = ""
    projection: str | None = None


class Page(NamedTuple):
    """One figure.

    Attributes:
        title: what it is about; stands in the caption.
        panels: by letter.
        layout: of the letters, rows parted by ``;``, as ``Figure.subplot_mosaic`` takes it.
        height: inches.
        look: other arguments of ``subplot_mosaic``, such as ``width_ratios``.
        one_key: whether the panels share one legend and one colour scale.
        bare: letters of panels whose vertical axis is labelled by their neighbour on the left.
        width: inches.
        more: further lines of the caption, Markdown.
    """

    title: str
    panels: Mapping[str, Panel]
    layout: str
    height: float
    look: Mapping[str, Any] = {}  # noqa: RUF012
    one_key: bool = False
    bare: str = ""
    width: float = WIDTH
    more: Sequence[str] = ()


def lettered(*panels: Panel) -> dict[str, Panel]:
    """The panels by letters, from a on."""
    return dict(zip("abcdefghijklmnopqrstuvwxyz", panels, strict=False))


def draw_page(page: Page, dataset: xr.Dataset) -> Figure:
    """All panels of a page."""
    figure = plt.figure(figsize=(page.width, page.height), layout="constrained")
    kinds: Any = {letter: {"projection": panel.projection} for letter, panel in page.panels.items() if panel.projection}
    axes = figure.subplot_mosaic(page.layout, per_subplot_kw=kinds, **page.look)
    if axes.keys() != page.panels.keys():
        raise TypeError(f"{page.layout} does not lay out the panels {', '.join(page.panels)}")
    for letter, panel in page.panels.items():
        panel.draw(axes[letter], dataset)
    if page.one_key:
        _share_key(figure, list(axes.values()), next(panel.scale for panel in page.panels.values()))
    else:
        for letter, panel in page.panels.items():
            _draw_scale(figure, axes[letter], panel.scale)
    for letter, axis in axes.items():
        axis.annotate(
            letter,
            (0, 1),
            (-4 * GAP, 2 * GAP),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            weight="bold",
            fontsize=9,
            annotation_clip=False,
        )
        axis.set_title(page.panels[letter].title, loc="left")
        if letter in page.bare:
            axis.tick_params(labelleft=False)
            axis.yaxis.label.set_visible(False)
    _arrange(figure, list(axes.values()), beside=False)
    return figure


def draw_slide(panel: Panel, dataset: xr.Dataset) -> Figure:
    """One panel, 16:9, no text below 14 points, lines and marks as much larger than on a page."""
    usual = plt.rcParams["font.size"]
    sizes = ("font.size", "axes.labelsize", "axes.titlesize", "legend.fontsize", "xtick.labelsize", "ytick.labelsize")
    with plt.rc_context(
        dict.fromkeys(sizes, POINTS) | dict.fromkeys(("xtick.major.pad", "ytick.major.pad"), POINTS / 2)
    ):
        figure = plt.figure(figsize=SLIDE, layout="constrained")
        axis = figure.add_subplot(projection=panel.projection)
        panel.draw(axis, dataset)
        _draw_scale(figure, axis, panel.scale)
        axis.set_title(panel.title, loc="left", fontsize=1.25 * POINTS, weight="bold")
        _enlarge(figure, POINTS / usual)
        _arrange(figure, [axis], beside=len(figure.axes) == 1)
    return figure


def names(pages: Mapping[str, Page]) -> dict[str, tuple[str, str]]:
    """What ``--slide`` takes: a letter, after the end of the name of a page that is not the first, with both."""
    return {f"{end}_{letter}".lstrip("_"): (end, letter) for end, page in pages.items() for letter in page.panels}


def _draw_scale(figure: Figure, axes: Axes | list[Axes], label: str) -> None:
    if label:
        first = axes[0] if isinstance(axes, list) else axes
        mesh = next(each for each in (*first.collections, *first.images) if each.get_array() is not None)
        figure.colorbar(mesh, ax=axes, label=label, pad=0.02)


def _share_key(figure: Figure, axes: list[Axes], scale: str) -> None:
    """One legend below all panels, of everything that theirs hold, and one colour scale."""
    entries: dict[str, Any] = {}
    for axis in axes:
        if legend := axis.get_legend():
            entries |= _entries(axis, legend)
            legend.remove()
    _draw_scale(figure, axes, scale)
    make = lambda columns: figure.legend(  # noqa: E731
        entries.values(), entries.keys(), loc="outside lower center", ncols=columns
    )
    _widest(make, len(entries), figure.bbox.width)


def _entries(axis: Axes, legend: Legend) -> dict[str, Any]:
    """What a legend explains, by its labels: as it was drawn, or as the legend was given it."""
    labels = [text.get_text() for text in legend.get_texts()]
    drawn = axis.get_legend_handles_labels()
    return dict(zip(labels, drawn[0] if drawn[1] == labels else legend.legend_handles, strict=True))


def _enlarge(figure: Figure, factor: float) -> None:
    """Lines, their outlines and marks grow with the text; no text is smaller than ``POINTS``."""
    outlines = {}
    for artist in figure.findobj():
        if isinstance(artist, Text):
            artist.set_fontsize(max(POINTS, artist.get_fontsize()))
        elif isinstance(artist, Line2D):
            artist.set(linewidth=factor * artist.get_linewidth(), markersize=factor * artist.get_markersize())
            outlines |= {id(effect): effect for effect in artist.get_path_effects() or ()}
        elif isinstance(artist, Collection):
            artist.set_linewidth((factor * np.atleast_1d(artist.get_linewidth())).tolist())
    for effect in outlines.values():
        effect._gc = {**effect._gc, "linewidth": factor * effect._gc["linewidth"]}


def _arrange(figure: Figure, axes: Sequence[Axes], *, beside: bool) -> None:
    """Wrap titles to their room, and move legends off the axes."""
    # As one line a title would take the room of its neighbours' axes.
    titles = [axis._left_title for axis in axes]  # pyright: ignore[reportAttributeAccessIssue]
    for axis, title in zip(axes, titles, strict=True):
        title.set_visible(False)
        # It may be wider than the axes in which it stands until it is moved.
        if legend := axis.get_legend():
            legend.set_in_layout(False)
    figure.draw_without_rendering()
    for axis, title in zip(axes, titles, strict=True):
        title.set_visible(True)
        _wrap(axis)
    for axis in axes:
        if legend := axis.get_legend():
            _move(axis, legend, beside=beside)


def _wrap(axis: Axes) -> None:
    """The title in lines that end before the panel on the right begins."""
    title = axis._left_title  # pyright: ignore[reportAttributeAccessIssue]
    text, here = title.get_text(), axis.bbox
    room = _next(axis) - here.x0
    letters = len(text) * max(room, here.width) / max(title.get_window_extent().width, 1.0)
    for sign in "=<>≤≥±":
        text = text.replace(f" {sign} ", f"\N{NO-BREAK SPACE}{sign}\N{NO-BREAK SPACE}")
    fill = lambda width: textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)  # noqa: E731
    widest = max(12, int(letters))
    # As few lines as there is room for, as even as they can be.
    even = min(width for width in range(1, widest + 1) if len(fill(width)) == len(fill(widest)))
    title.set_text("\n".join(fill(even)))
    # It needs room above the axes, but must not make them narrower: lines of blanks in the middle keep the room.
    axis.set_title("\n".join([" "] * len(fill(even))), fontsize=title.get_fontsize())


def _next(axis: Axes) -> float:
    """Where the panel on the right begins, or the page ends, in pixels, less a gap for its letter."""
    others = [other for other in axis.figure.axes if other.bbox.x0 > axis.bbox.x1 and not hasattr(other, "_colorbar")]
    starts = [_outer(other, "y").x0 for other in others if _in_a_row(axis, other)]
    return min([*starts, axis.figure.bbox.x1]) - 6 * GAP * axis.figure.dpi / 72


def _in_a_row(one: Axes, other: Axes) -> bool:
    return one.bbox.y0 < other.bbox.y1 and other.bbox.y0 < one.bbox.y1


def _outer(axis: Axes, side: str) -> Any:
    """What the axes and the labels of one of their sides cover, in pixels."""
    labels = getattr(axis, f"{side}axis").get_tightbbox() if axis.axison else None
    return Bbox.union([axis.bbox, labels]) if labels is not None else axis.bbox


def _move(axis: Axes, legend: Legend, *, beside: bool) -> None:
    """A legend to the right of its axes, or below them in as many columns as there is room for."""
    entries, figure, here = _entries(axis, legend), axis.figure, axis.bbox
    look = {
        "title": legend.get_title().get_text() or None,
        "fontsize": max(text.get_fontsize() for text in legend.get_texts()),
        "title_fontsize": legend.get_title().get_fontsize(),
        "borderaxespad": 0.0,
        "borderpad": 0.0,
    }
    beside = beside and legend.get_window_extent().width <= BESIDE * figure.bbox.width
    legend.remove()
    around, left = axis.get_tightbbox() or here, _outer(axis, "y").x0
    right = max([here.x1, *(_outer(each, "y").x1 for each in figure.axes if each.bbox.bounds == here.bounds)])
    # In inches from a corner of the axes, which may still be made smaller.
    if beside:
        look |= {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
        shift = (right - here.x1) / figure.dpi + GAP / 36, 0.0
    else:
        look |= {"loc": "upper left", "bbox_to_anchor": (0.0, 0.0)}
        shift = (left - here.x0) / figure.dpi, (around.y0 - here.y0) / figure.dpi - GAP / 72
    look["bbox_transform"] = axis.transAxes + ScaledTranslation(*shift, figure.dpi_scale_trans)
    make = lambda columns: axis.legend(entries.values(), entries.keys(), ncols=columns, **look)  # noqa: E731
    if beside:
        make(1)
    else:
        _widest(make, len(entries), max(right, _next(axis)) - left)
        _keep_room(axis, shift[1])


def _keep_room(axis: Axes, below: float) -> None:
    """For the legend that begins so many inches below the axes: it must not make them narrower, so a blank stands in.

    Layout heeds the blank at the legend's lower edge, and not the legend.
    """
    legend = axis.get_legend()
    assert legend is not None
    legend.set_in_layout(False)
    down = 72 * (below - legend.get_window_extent().height / axis.figure.dpi)
    axis.annotate(" ", (0, 0), (0, down), xycoords="axes fraction", textcoords="offset points", fontsize=1)


def _widest(make: Callable[[int], Legend], num: int, room: float) -> None:
    """The legend with the most columns, up to six, that fits into the room, in pixels."""
    for most in range(min(num, 6), 0, -1):
        # As many rows as that takes, and no more columns than they need.
        columns = -(-num // -(-num // most))
        legend = make(columns)
        if columns == 1 or legend.get_window_extent().width <= room:
            return
        legend.remove()
