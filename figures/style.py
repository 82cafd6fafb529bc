"""One look for all figures, and files that are the same bytes whenever they are made again."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

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


def use() -> None:
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


def save(figure: Figure, out: Path, name: str) -> None:
    """Write NAME.pdf and NAME.png without dates or versions, and say where."""
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    figure.savefig(out / f"{name}.png", metadata={"Software": None})
    plt.close(figure)
    print(f"Figure {out / name}.pdf, {out / name}.png")


def run(draw: Callable[[Path, Path], None], description: str | None) -> None:
    """Draw from the command line's ``--data DIR`` to its ``--out DIR``; exit 2 with one sentence without data."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that the experiment wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the PDF and the PNG")
    given = parser.parse_args()
    try:
        draw(given.data, given.out)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
