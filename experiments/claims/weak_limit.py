"""What is read from the scatter plot of weak RL: S(0+) against its prediction, and what is left over."""

import xarray as xr

from experiments.shared.claim import Claim, at_most, drawn, grouped

EXTRAPOLATED = 1e-3
"""What three small drifts may miss of S(0+)."""

SECOND_ORDER = 0.02
"""What terms of higher order leave of the first order in s at the smallest drifts."""


MOVING = 1e-4
"""What has to be left over at the smallest drift for its order in s to be read: less is rounding."""


def limits(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """S(0+) from the three smallest drifts, and what its last correction was."""
    return extrapolated(dataset.selection_fraction, dataset.drift, "drift")


def extrapolated(values: xr.DataArray, at: xr.DataArray, along: str) -> tuple[xr.DataArray, xr.DataArray]:
    """The limit at 0 of what was recorded at small ``at``: by a parabola through the first three records (Lagrange).

    With it, by how much that differs from a straight line through the first two.
    """
    v, x = ([each.isel({along: i}, drop=True) for i in range(3)] for each in (values, at))
    line = (v[0] * x[1] - v[1] * x[0]) / (x[1] - x[0])
    terms = [v[i] * x[j] * x[k] / ((x[j] - x[i]) * (x[k] - x[i])) for i, j, k in ((0, 1, 2), (1, 0, 2), (2, 0, 1))]
    parabola = terms[0] + terms[1] + terms[2]
    return parabola, abs(parabola - line)


def residual(dataset: xr.Dataset) -> xr.DataArray:
    """What is left over at every drift, |S - R²|."""
    return abs(dataset.selection_fraction - dataset.predicted)


def order(dataset: xr.Dataset) -> xr.DataArray:
    """The order in s of what is left over, of each draw: median of the cases in ``moving``."""
    left = residual(dataset).where(moving(dataset))
    return xr.ufuncs.log2(left.isel(drift=1) / left.isel(drift=0)).median(["rule", "world"])


def moving(dataset: xr.Dataset) -> xr.DataArray:
    """The cases whose order can be read [world, seed, rule]."""
    return residual(dataset).isel(drift=0, drop=True) > MOVING


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Prediction and measurement agree, rule by rule, and what is left over is of first order."""
    measured, correction = limits(dataset)
    difference = abs(measured - dataset.predicted)
    claims = []
    gates = [rule for rule in dataset.rule.values if rule.endswith("/gates")]
    for rule in dataset.drop_sel(rule=gates).rule.values:
        one = difference.sel(rule=rule)
        claims.append(at_most("theorem", f"{rule}, of {one.size}", EXTRAPOLATED, one))
    what = f"order in s of what is left over, median of those above {MOVING:g}"
    others = [
        at_most("theorem", "last correction of S(0+), any case, largest", 0.05, correction),
        drawn("theorem", what, 1.0, order(dataset), SECOND_ORDER, possible=(0, 2)),
        at_most("identity", "gates only: predicted 1 - R²", 1e-9, abs(1 - dataset.predicted.sel(rule=gates))),
    ]
    return [*grouped("|S(0+) - R²|, largest", claims), *grouped("Checks", others)]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    measured, _ = limits(dataset)
    gap = abs(measured - dataset.predicted).max().item()
    return [
        f"{dataset.predicted.size} cases: predicted and measured S(0+) differ by {gap:.1e} at most.",
        *(
            f"{rule}: S(0+) from {low:.2f} to {high:.2f}, median {middle:.2f}."
            for rule in dataset.rule.values
            for low, middle, high in [dataset.predicted.sel(rule=rule).quantile([0.05, 0.5, 0.95]).values]
        ),
    ]
