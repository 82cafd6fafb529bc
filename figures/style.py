"""One look for all figures, and files that are the same bytes whenever they are made again."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter
from matplotlib.transforms import blended_transform_factory

from figures import captions, pages
from figures.pages import Page
from toypersona import datasets, files
from toypersona.measures import equal_drift

COLUMN, PAGE = 3.4, 7.0
"""Widths in inches: one column, the whole page."""

COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "black": "#000000",
}
"""Okabe and Ito's, told apart by everybody; lines also differ in dash, so that they survive in grey."""

DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def _use() -> None:
    """Set matplotlib up: small sans serif, embedded text, no ornament."""
    mpl.use("Agg")
    mpl.rcParams.update(
        {
            "font.family": "DejaVu Sans",
            "font.size": 7.5,
            "axes.labelsize": 8,
            "axes.titlesize": 8,
            "legend.fontsize": 6.5,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "lines.linewidth": 1.3,
            "image.cmap": "cividis",
            "pdf.fonttype": 42,
            "svg.hashsalt": "toypersona",
            "savefig.dpi": 200,
        }
    )


def ticks(axis: Axis, values: Sequence[float]) -> None:
    """Label these values, as plain numbers, and nothing else: on short logarithmic axes powers of ten are too few."""
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def shades(values: Sequence[float]) -> dict[float, tuple[float, ...]]:
    """A colour from dark to light for each of several increasing values."""
    colours = plt.get_cmap("cividis")(np.linspace(0.0, 0.9, len(values)))
    return {value: tuple(colour) for value, colour in zip(values, colours, strict=True)}


def band(
    axis: Axes,
    x: Any,
    values: xr.DataArray,
    colour: str,
    dash: Any = "-",
    label: str = "",
    *,
    logs: bool = False,
    **look: Any,
) -> None:
    """The mean over draws and its 95% interval (Student): ``pages.SHADING`` in the caption.

    Args:
        axis: to draw on.
        x: of the other dimension.
        values: with the dimension ``seed`` and one other.
        colour: a name in ``COLOURS``.
        dash: of the line.
        label: in the legend.
        logs: whether mean and interval are those of the logarithms: ``pages.SHADING_OF_LOGS``.
        look: of the line.
    """
    mean, half = equal_drift.interval(np.log(values) if logs else values)
    middle, low, high = (np.exp(each) if logs else each for each in (mean, mean - half, mean + half))
    axis.plot(x, middle, ls=dash, color=COLOURS[colour], label=label, **look)
    axis.fill_between(x, low, high, color=COLOURS[colour], alpha=0.2, lw=0)


def spread(axis: Axes, x: Any, values: xr.DataArray, colour: str, dash: Any = "-", label: str = "") -> None:
    """The mean over draws and their range, ``pages.AROUND_MEAN`` in the caption; arguments as ``band``'s."""
    axis.plot(x, values.mean("seed"), ls=dash, color=COLOURS[colour], label=label)
    axis.fill_between(x, values.min("seed"), values.max("seed"), color=COLOURS[colour], alpha=0.15, lw=0)


def points(
    axis: Axes, x: Any, values: xr.DataArray, colour: str, marker: str = "o", label: str | None = None, **look: Any
) -> None:
    """The mean over draws and its 95% interval (Student) as marks with bars, ``pages.BARS`` in the caption.

    Arguments are ``band``'s.
    """
    mean, half = equal_drift.interval(values)
    look = {"ms": 3, "lw": 0.8, **look}
    axis.errorbar(x, mean, half, fmt=marker, color=COLOURS[colour], label=label, **look)


def curves(axis: Axes, mean: xr.DataArray, band: xr.DataArray, looks: Mapping[str, str]) -> None:
    """Means [rule, x] with a band on either side, for each rule that has a colour."""
    for (rule, colour), dash in zip(looks.items(), (*DASHES, "-"), strict=False):
        here, half, shade = mean.sel(rule=rule), band.sel(rule=rule), COLOURS[colour]
        x = here[here.dims[0]]
        axis.plot(x, here, ls=dash, color=shade, label=rule)
        axis.fill_between(x, here - half, here + half, color=shade, alpha=0.15, lw=0)


def columns(
    axis: Axes, texts: Mapping[str, Sequence[str]], marks: Sequence[str] = (), family: str = "sans-serif"
) -> None:
    """Lines of text under bold headings, side by side; on a slide two beside each other, of as many lines as fit.

    Args:
        axis: to write on, over the whole width of the page.
        texts: lines by their heading.
        marks: colours of squares before the headings.
        family: of the font.
    """
    axis.axis("off")
    on_slide = plt.rcParams["font.size"] >= pages.POINTS
    across = 2 if on_slide else len(texts)
    down = -(-len(texts) // across)
    # A slide has room for this many lines of 14 points below its title.
    most = 20 // down - 2 if on_slide else None
    place = blended_transform_factory(axis.figure.transFigure, axis.transAxes)
    look = {"va": "top", "in_layout": False, "linespacing": 1.4}
    below = {**look, "xycoords": place, "textcoords": "offset points", "annotation_clip": False}
    look["transform"] = place
    size = pages.POINTS if on_slide else 5.6
    for i, (heading, lines) in enumerate(texts.items()):
        x, y = 0.01 + 0.99 * (i % across) / across, 1 - i // across / down
        if marks:
            axis.text(x, y, "■", color=marks[i], fontsize=5.6, **look)
        axis.text(x + 0.02 * bool(marks), y, heading, weight="bold", fontsize=5.6, **look)
        shown = list(lines[:most])
        if len(shown) < len(lines) and "" in shown:
            # Whole paragraphs only.
            shown = shown[: len(shown) - 1 - shown[::-1].index("")]
        axis.annotate("\n".join(shown), (x, y), (0, -1.6 * size), fontsize=5.0, family=family, **below)


def _save(figure: Figure, out: Path, name: str) -> None:
    """Write NAME.pdf and NAME.png without dates or versions, and say where."""
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    figure.savefig(out / f"{name}.png", metadata={"Software": None})
    plt.close(figure)
    print(f"Figure {out / name}.pdf, {out / name}.png")


Draw = Callable[..., Figure | Mapping[str, Any]]


def main(
    name: str, draw: Draw, description: str | None, *, several: str | tuple[str, ...] = (), script: str | None = None
) -> None:
    """Draw the command line's ``--data DIR/NAME.zarr`` to its ``--out DIR``; exit 2 with one sentence without data.

    ``draw`` returns pages, texts and what is JSON-able by what follows NAME in the names of their files; a page has its
    caption beside it. It is given the dataset; or all those that the patterns ``several`` find in ``--data``, by where
    they lie. ``script`` is called as the experiment unless it is named.
    """
    parser = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = "folder of folders that the experiment wrote" if several else "folder that the experiment wrote"
    parser.add_argument("--data", type=Path, required=True, help=what)
    parser.add_argument("--out", type=Path, required=True, help="folder for PDF, PNG and caption")
    parser.add_argument(
        "--slide",
        metavar="PANEL",
        help="draw one panel alone, 16:9, to OUT/slides, by the name that the caption gives it",
    )
    given = parser.parse_args()
    try:
        dataset = _all_of(several, given.data) if several else datasets.load(given.data / f"{name}.zarr").load()
        files.check_writable(given.out)
        _use()
        drawn = draw(dataset) if isinstance(dataset, dict) else datasets.read(draw, dataset)
        drawn = drawn if isinstance(drawn, Mapping) else {"": drawn}
        if given.slide is None:
            for end, content in drawn.items():
                _write(given.out, name, end, content, dataset, script or name)
        else:
            _write_slide(given.out, name, given.slide, drawn, dataset)
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"{error.filename or given.out}: {files.why(error)}")


def _write(out: Path, name: str, end: str, content: Any, dataset: Any, script: str) -> None:
    """A page with its caption, a figure, a text or JSON."""
    if isinstance(content, Page):
        figure = pages.draw_page(content, dataset)
        caption = captions.written(name, end, content, figure, dataset, script)
        _save(figure, out, name + end)
        files.write_text(out / f"{name}{end}.md", caption)
    elif isinstance(content, Figure):
        _save(content, out, name + end)
    else:
        write = files.write_text if isinstance(content, str) else files.write_json
        write(out / f"{name}{end}", content)
        print(f"Text {out / name}{end}")


def _write_slide(out: Path, name: str, wanted: str, drawn: Mapping[str, Any], dataset: Any) -> None:
    """One panel of the pages, into a folder of its own: a slide has no caption, and no place in the gallery.

    Raises:
        ValueError: there is no such panel; it names those that there are.
    """
    with_panels = {end: page for end, page in drawn.items() if isinstance(page, Page)}
    found = pages.names(with_panels)
    if wanted not in found:
        raise ValueError(f"--slide {wanted}: the panels of {name} are {', '.join(found) or 'none'}")
    end, letter = found[wanted]
    _save(pages.draw_slide(with_panels[end].panels[letter], dataset), out / pages.SLIDES, f"{name}_{wanted}")


def _all_of(several: str | tuple[str, ...], folder: Path) -> dict[str, xr.Dataset]:
    """The finished datasets that a pattern, or each of several, finds in a folder, by their paths in it.

    Raises:
        ValueError: there is none.
    """
    patterns = (several,) if isinstance(several, str) else several
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern) if datasets.finished(path))
    if not paths:
        raise ValueError(
            f"{folder} has no finished {' and no '.join(patterns)}: run experiments into its folders first."
        )
    return {str(path.relative_to(folder).with_suffix("")): datasets.load(path).load() for path in paths}


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence, without its usage."""

    def error(self, message: str) -> NoReturn:
        """Exit 2."""
        self.exit(2, f"error: {message.rstrip('.')}.\n")
