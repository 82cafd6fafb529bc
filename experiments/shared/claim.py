"""Checked statements, and those that every dataset has to satisfy. Without jax."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat

from toypersona.worlds import names

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr

PARTS = ("selection", "switching", "novelty")
ROUNDING = 1e-12
"""Nats by which the parts of a drift budget may miss their sum, or fall below 0."""

ERRORS = 5.0
"""Standard errors within which an estimate has to agree with its exact value, the largest of many differences."""

Kind = Literal["identity", "theorem", "prediction", "finding"]
"""What could make a claim false: the code alone (identity), the numerics (theorem: it is proven), nature, where an
approximate law might not have held (prediction), or these worlds and settings (finding)."""

COUNTED: tuple[Kind, ...] = ("prediction", "finding")
CHECKS: tuple[Kind, ...] = ("theorem", "identity")
"""Kinds that say something of the world, and those that test the code."""

LEVEL = 0.99
"""Probability of the interval around the mean of independent draws (Student) within which its prediction has to lie:
of a hundred predictions that are true one fails."""

EFFECT = 5.0
"""What is possible has to be so many times what is allowed: else too little would go against a prediction."""

Range = tuple[SupportsFloat, SupportsFloat]
"""The values that a quantity can take, from the first to the second."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """One checked statement; numbers in the units that ``what`` names.

    ``kind``: what could make it false. ``relation``: "=" to the prediction, or "≤", a bound. ``uncertainty``: the
    standard error of what is measured over independent draws, with ``freedom`` degrees of freedom; 0 of what is not
    drawn. ``allowance``: what numerics, or an approximation that is named, may miss beside it. ``can_tell``: whether
    the measurement could have gone against it: one that is not known cannot, nor one that leaves too little of what is
    possible, and such a claim does not hold. ``group``: a heading over claims that belong together.
    """

    kind: Kind
    what: str
    predicted: float
    measured: float
    uncertainty: float
    holds: bool
    relation: str = "="
    can_tell: bool = True
    group: str = ""
    allowance: float = 0.0
    freedom: float = math.inf

    @property
    def within(self) -> float:
        """How far from its prediction a measurement may lie: half of the interval of ``LEVEL``, and the allowance."""
        return _interval(self.uncertainty, self.freedom) + self.allowance

    @property
    def fails_at(self) -> float:
        """The value nearest to the measured one from which on the claim does not hold."""
        if self.relation == "≤":
            return self.predicted
        return self.predicted + math.copysign(self.within, self.measured - self.predicted)

    @property
    def verdict(self) -> str:
        """In a word or two."""
        return ("yes" if self.holds else "NO") if self.can_tell else "cannot tell"

    def jsonable(self) -> dict[str, Any]:
        """JSON has no infinity: a boundary that is not reached reads null."""
        values = vars(self) | {"fails_at": self.fails_at}
        infinite = (key for key, value in values.items() if isinstance(value, float) and not math.isfinite(value))
        return values | dict.fromkeys(infinite)


def _interval(error: float, freedom: float, *, sides: int = 2) -> float:
    """How far the interval of ``LEVEL`` reaches from a mean with a standard error, on both sides or on one."""
    if not error:
        return 0.0
    if not freedom > 0:
        return math.inf
    # All of scipy.stats takes longer to import than claims to check.
    from scipy import special

    return error * float(special.stdtrit(freedom, 1 - (1 - LEVEL) / sides))


def near(
    kind: Kind,
    what: str,
    predicted: SupportsFloat,
    measured: SupportsFloat,
    allowance: SupportsFloat = 0.0,
    *,
    error: SupportsFloat = 0.0,
    freedom: float = math.inf,
    possible: Range | None = None,
) -> Claim:
    """The claim that a measurement agrees with its prediction.

    It cannot tell where one of them is not finite, or what is allowed is above a fifth of what is possible.

    Args:
        kind: what could make it false.
        what: is measured.
        predicted: before it was measured.
        measured: mean, if it is drawn.
        allowance: what numerics, or a named approximation, may miss.
        error: standard error of ``measured``, or of its difference to what was predicted draw by draw.
        freedom: of the standard error, degrees of freedom.
        possible: the values that it could have had.
    """
    expected, seen, numerics, spread = map(float, (predicted, measured, allowance, error))
    claim = Claim(kind, what, expected, seen, spread, holds=False, allowance=numerics, freedom=freedom)
    known = all(map(math.isfinite, (claim.within, expected, seen)))
    can_tell = known and (possible is None or EFFECT * claim.within <= float(possible[1]) - float(possible[0]))
    agrees = abs(seen - expected) <= claim.within
    return dataclasses.replace(claim, holds=can_tell and agrees, can_tell=can_tell)


def drawn(
    kind: Kind,
    what: str,
    predicted: SupportsFloat | xr.DataArray,
    measured: xr.DataArray,
    allowance: SupportsFloat = 0.0,
    *,
    possible: Range | None = None,
) -> Claim:
    """``near`` of the mean over draws, one for each ``seed``, of a prediction too where each draw has its own.

    Other dimensions are averaged first. It cannot tell where less than half of the draws, or two, are known.
    """
    import xarray as xr

    law = xr.DataArray(float(predicted)) if not isinstance(predicted, xr.DataArray) else predicted
    law, seen = (values.mean([name for name in values.dims if name != "seed"]) for values in (law, measured))
    mean, error, freedom = over_draws(seen - law)
    expected = law.where(seen.notnull()).mean()
    return near(
        kind, what, expected, float(expected) + mean, allowance, error=error, freedom=freedom, possible=possible
    )


def over_draws(values: xr.DataArray) -> tuple[float, float, int]:
    """Mean over ``seed``, its standard error and degrees of freedom; nan where less than half, or two, are known."""
    known = values.dropna("seed").values
    if known.size < max(2, values.sizes["seed"] / 2):
        return math.nan, math.nan, 0
    return float(known.mean()), float(known.std(ddof=1) / math.sqrt(known.size)), known.size - 1


def mean_of(values: xr.DataArray, digits: int = 2) -> str:
    """``over_draws`` in words: the mean ± its standard error."""
    mean, error, _ = over_draws(values)
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def wilson(num: SupportsFloat, of: int) -> tuple[float, float]:
    """Wilson's 95% interval (1927) of a share that is so many of how many."""
    from scipy import stats

    interval = stats.binomtest(round(float(num)), of).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def drawn_at_most(
    kind: Kind, what: str, bound: SupportsFloat, measured: xr.DataArray, *, possible: Range | None = None
) -> Claim:
    """``at_most`` of the mean over draws, one for each ``seed``: its whole interval lies below the bound."""
    mean, error, freedom = over_draws(measured.mean([name for name in measured.dims if name != "seed"]))
    made = at_most(kind, what, bound, mean, possible=possible)
    below = mean + _interval(error, freedom, sides=1) <= float(bound)
    return dataclasses.replace(made, uncertainty=error, freedom=freedom, holds=made.holds and below)


def at_most(
    kind: Kind,
    what: str,
    bound: SupportsFloat,
    measured: SupportsFloat | xr.DataArray,
    *,
    possible: Range | None = None,
) -> Claim:
    """The claim that a measurement, or the largest of several (nan aside), does not exceed a bound.

    It cannot tell where less than half was measured, or the bound leaves less than half of what is possible above it.
    """
    import xarray as xr

    values = measured if isinstance(measured, xr.DataArray) else xr.DataArray(float(measured))
    limit, largest = float(bound), float(values.max())
    known = math.isfinite(limit) and float(values.notnull().mean()) >= 0.5
    can_tell = known and not _covers(-math.inf, limit, possible)
    return Claim(kind, what, limit, largest, 0.0, can_tell and largest <= limit, "≤", can_tell)


def within_errors(what: str, difference: xr.DataArray, error: xr.DataArray, *, possible: Range) -> Claim:
    """The claim that all estimates agree with their exact values to ``ERRORS`` of their standard errors.

    It cannot tell if so many of the largest standard error, on either side, are more than half of what is possible.

    Args:
        what: is estimated.
        difference: estimates less exact values.
        error: their standard errors.
        possible: the values that the quantity itself can take.
    """
    told, (least, greatest) = at_most("theorem", what, ERRORS, abs(difference) / error), possible
    covered = 2 * ERRORS * float(error.max())
    can_tell = told.can_tell and not _covers(0.0, covered, (0.0, float(greatest) - float(least)))
    return dataclasses.replace(told, can_tell=can_tell, holds=told.holds and can_tell)


def _covers(low: float, high: float, possible: Range | None) -> bool:
    """Whether a range covers more than half of what is possible."""
    if possible is None:
        return False
    least, greatest = map(float, possible)
    return min(high, greatest) - max(low, least) > (greatest - least) / 2


def each_at_most(kind: Kind, what: str, bound: SupportsFloat, measured: xr.DataArray, along: str) -> list[Claim]:
    """``at_most`` for every value along a dimension, whose name comes before ``what``."""
    return [at_most(kind, f"{name}: {what}", bound, measured.sel({along: name})) for name in measured[along].values]


def grouped(heading: str, claims: Iterable[Claim]) -> list[Claim]:
    """The claims under a heading."""
    return [dataclasses.replace(each, group=heading) for each in claims]


def standard(dataset: xr.Dataset) -> list[Claim]:
    """What has to be true of every dataset: certified, not diverged; parts that add up, none of them negative."""
    from toypersona import datasets

    claims = []
    if set(PARTS) <= set(dataset):
        parts = dataset[list(PARTS)].to_dataarray("part")
        missed = abs(parts.sum("part", skipna=False) - dataset.total).values.max()
        claims += [
            at_most("identity", "selection + switching + novelty - total, nats", ROUNDING, missed),
            at_most("theorem", "most negative part of the budget, nats (bound: rounding)", ROUNDING, -parts),
        ]
    for name in sorted(str(name) for name in dataset if str(name).endswith("certified")):
        of = f" ({name.removesuffix('certified').strip('_')})" if name != "certified" else ""
        claims.append(near("theorem", f"share of points certified{of}", 1.0, dataset[name].mean(), 0.0))
    claims.append(at_most("identity", "diverged points", 0.0, dataset[datasets.DIVERGED].sum()))
    return [*_people(dataset), *grouped("Every dataset", claims)]


def _people(dataset: xr.Dataset) -> list[Claim]:
    """That bases fitted to people's lines are made of these people."""
    from toypersona import datasets

    measured = "gate_divergence" in dataset and dataset.gate_divergence.dims == ("seed",)
    if not measured or not names.of_people(datasets.settings_of(dataset)["world"]):
        return []
    experts = each_at_most("finding", "the expert's error, nats per token", 0.1, dataset.expert_divergence, "persona")
    gates = at_most("finding", "the gates' error against Bayes' rule, nats", 0.03, dataset.gate_divergence)
    return grouped("Pretraining found the people", [gates, *experts])
