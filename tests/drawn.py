"""What every page and slide has to be: lettered, legends beside the data, text that can be read."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from figures import pages

SMALLEST, OF_SLIDES = 5.0, 14.0
"""Points of text."""


def texts(figure: Figure) -> list[Text]:
    """All text that can be seen: ticks beyond the ends of an axis cannot."""
    sides = [side for axis in figure.axes for side in (axis.xaxis, axis.yaxis)]
    ticks = {id(tick) for side in sides for tick in side._update_ticks()}  # pyright: ignore[reportAttributeAccessIssue]
    beyond = {
        id(label)
        for side in sides
        for tick in (*side.get_major_ticks(), *side.get_minor_ticks())
        if id(tick) not in ticks or not (side.get_visible() and side.axes.axison) or hasattr(side.axes, "taxis")
        for label in (tick.label1, tick.label2)
    }
    shown = [text for text in figure.findobj(Text) if id(text) not in beyond and text.get_visible()]
    return [text for text in shown if text.get_text().strip()]


def legends(figure: Figure):
    """Those of the axes and of the figure."""
    return [legend for axis in figure.axes if (legend := axis.get_legend())] + figure.legends


def assert_legends_beside_data(figure: Figure) -> None:
    """No legend on any axes, to a pixel."""
    figure.draw_without_rendering()
    for legend in legends(figure):
        box = legend.get_window_extent()
        for axis in figure.axes:
            inside = axis.bbox
            across = min(box.x1, inside.x1) - max(box.x0, inside.x0)
            up = min(box.y1, inside.y1) - max(box.y0, inside.y0)
            assert min(across, up) < 1, f"a legend lies on {axis.get_title(loc='left')}"


def assert_texts_apart(figure: Figure) -> None:
    """No text lies on another, or is cut off by the edge: to two pixels of a hundred an inch."""
    figure.draw_without_rendering()
    slack, page = 0.02 * figure.dpi, figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    for i, (text, box) in enumerate(boxes):
        cut = max(page.x0 - box.x0, page.y0 - box.y0, box.x1 - page.x1, box.y1 - page.y1)
        assert cut < slack, f"{text!r} is cut off"
        for other, there in boxes[:i]:
            across = min(box.x1, there.x1) - max(box.x0, there.x0)
            up = min(box.y1, there.y1) - max(box.y0, there.y0)
            assert min(across, up) < slack, f"{text!r} lies on {other!r}"


def shaded(axis: Axes) -> bool:
    """Whether there is a band or an error bar, or a stripe of the axes that no legend names."""
    bands = any(isinstance(each, FillBetweenPolyCollection) for each in axis.collections)
    bars = any(isinstance(each, ErrorbarContainer) for each in axis.containers)
    stripes = any(
        patch.get_data_transform() == axis.get_yaxis_transform("grid") and str(patch.get_label() or "_").startswith("_")
        for patch in axis.patches
    )
    return bands or bars or stripes


def assert_shading_is_said(figure: Figure, panels) -> None:
    """A panel says what its shading and bars mean if it has some, and only then."""
    for (letter, panel), axis in zip(panels.items(), figure.axes, strict=False):
        assert bool(panel.shading) == shaded(axis), f"{letter}, {panel.title}: {panel.shading or 'nothing'!r}"


def assert_lettered(figure: Figure, letters) -> None:
    """Every panel has its letter and its title, no text is too small, no legend on data."""
    bold = [text.get_text() for text in texts(figure) if text.get_fontweight() == "bold" and text.get_fontsize() == 9]
    assert bold == list(letters)
    for axis, _ in zip(figure.axes, letters, strict=False):
        assert axis.get_title(loc="left")
    assert min(float(text.get_fontsize()) for text in texts(figure)) >= SMALLEST
    assert_legends_beside_data(figure)


def assert_page(figure: Figure, panels) -> None:
    """It is lettered, says what shading is, and no text is in the way of another.

    Args:
        figure: the page.
        panels: by letter.
    """
    assert_shading_is_said(figure, panels)
    assert_lettered(figure, panels)
    assert_texts_apart(figure)


def assert_wide(figure: Figure) -> None:
    """16:9, large text, no legend on data."""
    width, height = figure.get_size_inches()
    assert abs(width / height - 16 / 9) < 1e-9
    assert min(float(text.get_fontsize()) for text in texts(figure)) >= OF_SLIDES
    assert_legends_beside_data(figure)


def assert_slide(figure: Figure) -> None:
    """It is wide, and no text is in the way of another."""
    assert_wide(figure)
    assert_texts_apart(figure)


def assert_drawn(page: pages.Page, dataset) -> None:
    """As a page, and each panel as a slide."""
    assert_page(pages.draw_page(page, dataset), page.panels)
    for panel in page.panels.values():
        assert_slide(pages.draw_slide(panel, dataset))
        plt.close("all")
