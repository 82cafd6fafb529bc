"""The explorer: one page that opens from disk and asks for nothing, written from the datasets of the map and thoughts.

What is computed while somebody drags is computed by the page, in ``figures/explorer_page/core.js``.
"""

import json
import re
from pathlib import Path
from typing import Any

import xarray as xr

from figures import style
from figures.explorer_data import map_data
from figures.explorer_measured import measured_data
from figures.explorer_thoughts import thoughts_data

PAGE = Path(__file__).parent / "explorer_page"
EXACT = ("core", "rewards", "sampling")
"""Scripts without a page: they run anywhere."""

DRAWN = (
    *("shared", "heat", "simplex", "parts", "answers", "controls", "stops", "map"),
    *("thoughts", "report", "measured", "main"),
)
STYLES = ("style", "tabs")
WORLDS = ("larry_bob_alice", "speakers")
"""Shown on the map, as far as their datasets are there."""


def draw(datasets: dict[str, xr.Dataset]) -> dict[str, str]:
    """The page, from every dataset of a folder by its path in it."""
    maps = {name: datasets[f"{name}/phase_diagram"] for name in WORLDS if f"{name}/phase_diagram" in datasets}
    thoughts = datasets.get("thoughts/reasoning")
    return {
        ".html": written(
            {
                "map": map_data(maps),
                "thoughts": None if thoughts is None else thoughts_data(thoughts),
                "measured": measured_data(),
            }
        )
    }


def written(data: dict[str, Any]) -> str:
    """The page with its data and scripts inside."""
    # A script ends at the first "</", also inside of a string.
    inlined = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    parts = [f'<script id="{name}">\n{_slim((PAGE / f"{name}.js").read_text())}</script>' for name in (*EXACT, *DRAWN)]
    parts.insert(1, f"<script>tp.data={inlined};</script>")
    styles = "".join(_slim_style((PAGE / f"{name}.css").read_text()) for name in STYLES)
    page = (PAGE / "page.html").read_text()
    return page.replace("/*STYLE*/", styles).replace("<!--SCRIPTS-->", "\n".join(parts))


def _slim(source: str) -> str:
    """Without indents, comments that have lines of their own, and empty lines; no text may go over several lines."""
    lines = (
        line.strip() for line in re.sub(r"^\s*/\*\*.*?\*/\n", "", source, flags=re.DOTALL | re.MULTILINE).splitlines()
    )
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))


def _slim_style(source: str) -> str:
    """Without spaces that do not count: no selector or text of the sheets has one beside a comma or after a colon."""
    return re.sub(r"\s*([{};,]|:(?= ))\s*", r"\1", source).replace(";}", "}")


if __name__ == "__main__":
    style.main("explorer", draw, __doc__, several=("*/phase_diagram.zarr", "thoughts/reasoning.zarr"))
