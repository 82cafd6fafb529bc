"""Checked statements, and those that every dataset has to satisfy. Without jax."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, SupportsFloat

import xarray as xr

from toypersona import datasets

PARTS = ("selection", "switching", "novelty")
DRAWS = ("world", "seed")
"""Dimensions of a dataset along which its points are random draws."""

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
        infinite = (key for key, value in vars(self).items() if isinstance(value, float) and not math.isfinite(value))
        return vars(self) | dict.fromkeys(infinite)


def near(what: str, predicted: SupportsFloat, measured: SupportsFloat, uncertainty: SupportsFloat) -> Claim:
    """The claim that a measurement agrees with its prediction within the uncertainty."""
    expected, seen, allowed = float(predicted), float(measured), float(uncertainty)
    return Claim(what, expected, seen, allowed, bool(seen == expected or abs(seen - expected) <= allowed))


def at_most(what: str, bound: SupportsFloat, measured: SupportsFloat | xr.DataArray) -> Claim:
    """The claim that a measurement, or the largest of several (nan aside), does not exceed a bound."""
    limit, largest = float(bound), float(measured.max() if isinstance(measured, xr.DataArray) else measured)
    return Claim(what, limit, largest, 0.0, largest <= limit, "≤")


def each_at_most(what: str, bound: SupportsFloat, measured: xr.DataArray, along: str) -> list[Claim]:
    """``at_most`` for every value along a dimension, whose name comes before ``what``."""
    return [at_most(f"{name}: {what}", bound, measured.sel({along: name})) for name in measured[along].values]


def standard(dataset: xr.Dataset) -> list[Claim]:
    """What has to be true of every dataset: certified, not diverged; parts that add up, none of them negative."""
    claims = []
    if set(PARTS) <= set(dataset):
        parts = dataset[list(PARTS)].to_dataarray("part")
        missed = abs(parts.sum("part", skipna=False) - dataset.total).values.max()
        claims += [
            at_most("selection + switching + novelty - total, nats", ROUNDING, missed),
            at_most("most negative part of the budget, nats (bound: rounding)", ROUNDING, -parts),
        ]
    for name in sorted(str(name) for name in dataset if str(name).endswith("certified")):
        of = f" ({name.removesuffix('certified').strip('_')})" if name != "certified" else ""
        claims.append(near(f"share of points certified{of}", 1.0, dataset[name].mean(), 0.0))
    return [*claims, at_most("diverged points", 0.0, dataset[datasets.DIVERGED].sum())]


def table(claims: Sequence[Claim]) -> str:
    """The claims as a person reads them."""
    rows = [("claim", "predicted", "measured", "uncertainty", "holds")]
    for c in claims:
        uncertainty = "" if c.relation == "≤" else f"{c.uncertainty:.2g}"
        numbers = f"{c.relation} {c.predicted:.4g}", f"{c.measured:.4g}", uncertainty
        rows.append((c.what, *numbers, "yes" if c.holds else "NO"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
