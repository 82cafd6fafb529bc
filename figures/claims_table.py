"""All claims of all experiments in one table: by kind, and each prediction and finding with its numbers.

Reads the datasets under ``--data`` (in folders, as ``make figures`` leaves them) and writes ``claims.md`` to read and
``claims.json``, which holds every claim and finding, for tests that compare texts with them.
"""

import importlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from experiments.shared import claim
from experiments.shared.terminal import number
from figures import style
from toypersona import datasets

KINDS = (*claim.COUNTED, *claim.CHECKS)


def read(name: str, dataset: xr.Dataset) -> tuple[list[claim.Claim], list[str]]:
    """The claims and findings of an experiment's dataset."""
    readings = importlib.import_module(f"experiments.claims.{name}")
    claims = [*datasets.read(readings.claims, dataset), *claim.standard(dataset)]
    return claims, datasets.read(readings.findings, dataset)


def counts(of_each: Mapping[str, list[claim.Claim]]) -> list[str]:
    """Markdown: how many claims of each kind there are, and how many of them hold."""
    lines = [f"| experiment | {' | '.join(f'{kind}s'.replace('ys', 'ies') for kind in KINDS)} |", "|---|" + "---:|" * 4]
    total: Counter[str] = Counter()
    for name, claims in of_each.items():
        cells = []
        for kind in KINDS:
            of = [each for each in claims if each.kind == kind]
            held = sum(each.holds for each in of)
            total.update({kind: len(of), f"{kind} holds": held})
            cells.append(_share(held, len(of)))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    cells = [_share(total[f"{kind} holds"], total[kind]) for kind in KINDS]
    return [*lines, f"| **all** | {' | '.join(f'**{cell}**' for cell in cells)} |"]


def _share(held: int, num: int) -> str:
    return "" if not num else str(num) if held == num else f"{held} of {num}"


def rows(name: str, claims: list[claim.Claim]) -> list[str]:
    """Markdown: every claim that counts, with its numbers."""
    lines = [f"### {name}", "", "| | predicted | measured | std. error | allowance | fails at | holds |"]
    lines.append("|---|---:|---:|---:|---:|---:|---|")
    for each in claims:
        if each.kind in claim.COUNTED:
            error, allowance = (number(x, 2) if x else "" for x in (each.uncertainty, each.allowance))
            what = f"{each.group}: {each.what}" if each.group else each.what
            values = number(each.predicted), number(each.measured), error, allowance, number(each.fails_at)
            cells = (
                f"{each.kind}: {what}".replace("|", "\\|"),
                f"{each.relation} {values[0]}",
                *values[1:],
                each.verdict,
            )
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def draw(of_each: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """The table to read, and everything to compare with."""
    found = {where: read(Path(where).name, dataset) for where, dataset in of_each.items()}
    claims = {where: made for where, (made, _) in found.items()}
    counted = [(where, made) for where, made in claims.items() if any(each.kind in claim.COUNTED for each in made)]
    text = [
        "# What is claimed",
        "",
        "Written by `figures.claims_table`. A *prediction* was made by a law that might not have held, a *finding* is "
        "a statement about these worlds and settings: both could have been refused by what was measured. *Theorems* "
        "test numerics and *identities* the code: they are checks. An equality allows for the interval of "
        f"{claim.LEVEL:.0%} of the mean over independent draws (Student) and an allowance, for numerics or a named "
        f"approximation; a claim that allows more than 1/{claim.EFFECT:g} of what was possible cannot tell, and does "
        "not hold.",
        "",
        *counts(claims),
        "",
        "## Predictions and findings",
        "",
        *(line for where, made in counted for line in rows(where, made)),
    ]
    everything = {
        where: {"claims": [each.jsonable() for each in made], "findings": said} for where, (made, said) in found.items()
    }
    return {".md": "\n".join(text), ".json": everything}


if __name__ == "__main__":
    style.main("claims", draw, __doc__, several="*/*.zarr")
