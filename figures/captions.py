"""The caption beside every figure: what each panel draws, of which draws, what was found, and how to make it again."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.shared import repeated
from figures.pages import Page, names
from toypersona import datasets, provenance


def written(
    name: str, end: str, page: Page, figure: Figure, dataset: xr.Dataset | Mapping[str, xr.Dataset], script: str
) -> str:
    """The caption of a page in Markdown.

    Args:
        name: of the experiment.
        end: what follows it in the name of the page's files.
        page: what is drawn.
        figure: as it was drawn, whose axes are named.
        dataset: that was drawn, or several by where they lie.
        script: that draws it.
    """
    if not isinstance(dataset, xr.Dataset):
        found = []
    elif end:
        found = [f"What was found: [{name}.md]({name}.md)."]
    else:
        claims = importlib.import_module(f"experiments.claims.{name}")
        found = ["Found:", "", *(f"- {_plain(sentence)}" for sentence in datasets.read(claims.findings, dataset))]
    lines = [f"# {page.title}", "", f"![{page.title}]({name}{end}.png)", ""]
    slides = names({end: page})
    for (slide, (_, letter)), axis in zip(slides.items(), figure.axes, strict=False):
        lines += [f"{_panel(letter, page, axis)} (`--slide {slide}`)", ""]
    several = {"": dataset} if isinstance(dataset, xr.Dataset) else dataset
    made = [line for where, each in several.items() for line in (*_made(name, each, where), "")]
    drawn = f"Drawn by `python -m figures.{script} --data DIR --out DIR`."
    return "\n".join([*lines, *found, "", *page.more, *([""] if page.more else []), *made, drawn, ""])


def _panel(letter: str, page: Page, axis: Axes) -> str:
    panel = page.panels[letter]
    sides = (("Horizontal", axis.get_xlabel()), ("Vertical", axis.get_ylabel()))
    axes = [f"{side} axis: {' '.join(label.split()).rstrip('.')}." for side, label in sides if label]
    parts = (f"**{letter}** *{panel.title.rstrip('.')}.* {panel.says}", *axes, panel.shading)
    return _plain(" ".join(filter(None, parts)))


def _made(name: str, dataset: xr.Dataset, where: str) -> list[str]:
    """Which draws there are, the command, and which dataset it was."""
    world = datasets.settings_of(dataset).get("world")
    of = [f"World: {world}."] if world else []
    if "seed" in dataset.dims:
        seeds = [f"{seed:g}" for seed in dataset.seed.values]
        several = f"{len(seeds)} independent draws, seeds" if len(seeds) > 1 else "one draw, seed"
        of = [*of, f"Drawn from {several} {', '.join(seeds)}."]
    command = repeated.command_of(Path(where).name or name, dataset)
    commit = dataset.attrs.get("commit") or "not known"
    return [
        " ".join(of),
        "",
        f"- computed by `{command} --out {f'DIR/{Path(where).parent}' if where else 'DIR'}`",
        f"- code: commit `{commit}`",
        f"- dataset: sha256 `{provenance.digest(dataset)}`",
    ]


def _plain(text: Any) -> str:
    """One line in which Markdown finds nothing to set."""
    return " ".join(str(text).split())
