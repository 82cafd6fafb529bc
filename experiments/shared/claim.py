"""Checked statements, and those that every dataset has to satisfy. Without jax."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, SupportsFloat

import xarray as xr

from toypersona import datasets

PARTS = ("selection", "switching", "novelty")
ROUNDING = 1e-12
"""Nats by which the parts of a drift budget may miss their sum, or fall below 0."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """One checked statement; numbers in the units that ``what`` names.

    ``relation``: "=" to the prediction within the uncertainty, or "≤", a bound.
    """

    what: str
    predicted: float
    measured: float
    uncertainty: float
    holds: bool
    relation: str = "="

    def jsonable(self) -> dict[str, Any]:
        """JSON has no infinity: a boundary that is not reached reads null."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in dataclasses.asdict(self).items()
        }


def near(what: str, predicted: SupportsFloat, measured: SupportsFloat, uncertainty: SupportsFloat) -> Claim:
    """The claim that a measurement agrees with its prediction within the uncertainty."""
    expected, seen, allowed = float(predicted), float(measured), float(uncertainty)
    return Claim(what, expected, seen, allowed, bool(seen == expected or abs(seen - expected) <= allowed))


def at_most(what: str, bound: SupportsFloat, measured: SupportsFloat) -> Claim:
    """The claim that a measurement does not exceed a bound."""
    return Claim(what, float(bound), float(measured), 0.0, bool(float(measured) <= float(bound)), "≤")


def standard(dataset: xr.Dataset) -> list[Claim]:
    """What has to be true of every dataset: certified, not diverged, parts that are none below 0 and add up."""
    claims = []
    if set(PARTS) <= set(dataset):
        parts = [dataset[name] for name in PARTS]
        missed = abs((sum(parts) - dataset.total).values).max()
        claims += [
            at_most("selection + switching + novelty - total, nats", ROUNDING, missed),
            at_most(
                "most negative part of the budget, nats (bound: certificate)",
                ROUNDING,
                -min(part.min().item() for part in parts),
            ),
        ]
    if "certified" in dataset:
        claims.append(near("share of points certified", 1.0, dataset.certified.mean(), 0.0))
    return [*claims, at_most("diverged points", 0.0, dataset[datasets.DIVERGED].sum())]


def table(claims: Sequence[Claim]) -> str:
    """The claims as a person reads them."""
    rows = [("claim", "predicted", "measured", "uncertainty", "holds")]
    rows += [
        (
            c.what,
            f"{c.relation} {c.predicted:.4g}",
            f"{c.measured:.4g}",
            "" if c.relation == "≤" else f"{c.uncertainty:.2g}",
            "yes" if c.holds else "NO",
        )
        for c in claims
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
