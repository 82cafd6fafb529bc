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

from toypersona import datasets, files

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


def curves(axis: Axes, mean: xr.DataArray, band: xr.DataArray, looks: Mapping[str, str]) -> None:
    """Means [rule, x] with a band on either side, for each rule that has a colour."""
    for (rule, colour), dash in zip(looks.items(), (*DASHES, "-"), strict=False):
        here, half, shade = mean.sel(rule=rule), band.sel(rule=rule), COLOURS[colour]
        x = here[here.dims[0]]
        axis.plot(x, here, ls=dash, color=shade, label=rule)
        axis.fill_between(x, here - half, here + half, color=shade, alpha=0.15, lw=0)


def panels(
    num_columns: int, height: float, *draws: Callable[[Axes, xr.Dataset], None]
) -> Callable[[xr.Dataset], Figure]:
    """A page of panels, row by row, each drawn by a function of its axes and the dataset; height in inches."""

    def draw(dataset: xr.Dataset) -> Figure:
        rows = len(draws) // num_columns
        figure, axes = plt.subplots(rows, num_columns, figsize=(PAGE, height), layout="constrained")
        for axis, draw_panel in zip(axes.flat, draws, strict=True):
            draw_panel(axis, dataset)
        return figure

    return draw


def _save(figure: Figure, out: Path, name: str) -> None:
    """Write NAME.pdf and NAME.png without dates or versions, and say where."""
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / f"{name}.pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    figure.savefig(out / f"{name}.png", metadata={"Software": None})
    plt.close(figure)
    print(f"Figure {out / name}.pdf, {out / name}.png")


Draw = Callable[..., Figure | Mapping[str, Any]]


def main(name: str, draw: Draw, description: str | None, *, several: str | None = None) -> None:
    """Draw the command line's ``--data DIR/NAME.zarr`` to its ``--out DIR``; exit 2 with one sentence without data.

    ``draw`` returns one figure, or figures, texts and what is JSON-able by what follows NAME in the names of their
    files. It is given the dataset; or all those that the pattern ``several`` finds in ``--data``, by where they lie.
    """
    parser = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = "folder of folders that the experiment wrote" if several else "folder that the experiment wrote"
    parser.add_argument("--data", type=Path, required=True, help=what)
    parser.add_argument("--out", type=Path, required=True, help="folder for the PDF and the PNG")
    folders = parser.parse_args()
    try:
        dataset = _all_of(several, folders.data) if several else datasets.load(folders.data / f"{name}.zarr").load()
        files.check_writable(folders.out)
        _use()
        drawn = draw(dataset) if isinstance(dataset, dict) else datasets.read(draw, dataset)
        for end, content in (drawn if isinstance(drawn, Mapping) else {"": drawn}).items():
            if isinstance(content, Figure):
                _save(content, folders.out, name + end)
            else:
                write = files.write_text if isinstance(content, str) else files.write_json
                write(folders.out / f"{name}{end}", content)
                print(f"Text {folders.out / name}{end}")
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"{error.filename or folders.out}: {files.why(error)}")


def _all_of(pattern: str, folder: Path) -> dict[str, xr.Dataset]:
    """The finished datasets that a pattern finds in a folder, by their paths in it.

    Raises:
        ValueError: there is none.
    """
    paths = sorted(path for path in folder.glob(pattern) if datasets.finished(path))
    if not paths:
        raise ValueError(f"{folder} has no finished {pattern}: run experiments into its folders first.")
    return {str(path.relative_to(folder).with_suffix("")): datasets.load(path).load() for path in paths}


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence, without its usage."""

    def error(self, message: str) -> NoReturn:
        """Exit 2."""
        self.exit(2, f"error: {message.rstrip('.')}.\n")
