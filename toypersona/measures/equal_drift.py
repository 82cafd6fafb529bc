"""Paths of different rules where they have spent the same drift: what is fair to compare. Needs no jax."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from toypersona.measures.boundaries import crossing


def at_spent(dataset: xr.Dataset, drifts: Sequence[float]) -> xr.Dataset:
    """Every variable where the drift spent, ``total``, first reaches each of some levels: paths at equal drift.

    Args:
        dataset: ``total`` in nats and whatever else was recorded with the dimension ``record``.
        drifts: levels, nats, above 0.

    Returns:
        The others with a dimension ``drift`` in the place of ``record``, linear in log drift between two records; nan
        where a path never spends so much, or had spent nothing, or nothing known, at the record before.

    Raises:
        ValueError: a level that is no drift.
    """
    if not all(0 < level < np.inf for level in drifts):
        raise ValueError(f"Drifts to compare at have to be above 0 nats, not {tuple(drifts)}.")
    spent = dataset.total.astype(float)
    log_drifts = xr.DataArray(np.log(drifts), {"drift": np.array(drifts)})
    return _where(dataset.drop_vars("total"), np.log(spent.where(spent > 0)), log_drifts)


def at_paid(dataset: xr.Dataset, rewards: Sequence[float]) -> xr.Dataset:
    """Every variable where the mean ``reward`` first reaches each of some levels, with a dimension ``paid``.

    Linear in the reward between two records; otherwise as ``at_spent``.
    """
    levels = xr.DataArray(np.array(rewards, float), {"paid": np.array(rewards)})
    return _where(dataset.drop_vars("reward"), dataset.reward.astype(float), levels)


def _where(dataset: xr.Dataset, values: xr.DataArray, levels: xr.DataArray) -> xr.Dataset:
    """All that was recorded, where ``values`` first reach each level after the first record."""
    others = {name: recorded for name, recorded in dataset.data_vars.items() if "record" in recorded.dims}

    def at(level: xr.DataArray) -> xr.Dataset:
        passed = values >= level
        upper = passed.argmax("record")
        lower = xr.ufuncs.maximum(upper - 1, 0)
        before, after = values.isel(record=lower, drop=True), values.isel(record=upper, drop=True)
        known = passed.any("record") & (upper > 0) & before.notnull()
        share = (level - before) / xr.where(known, after - before, 1.0)

        def between(recorded: xr.DataArray) -> xr.DataArray:
            # Flags such as certified have no middle.
            numbers = recorded.astype(float)
            first, last = numbers.isel(record=lower, drop=True), numbers.isel(record=upper, drop=True)
            return (first + share * (last - first)).where(known)

        return xr.Dataset({name: between(recorded) for name, recorded in others.items()})

    (dim,) = levels.dims
    return xr.concat([at(level.drop_vars(dim)) for level in levels], levels[dim])


REACHED = 0.8
"""Share of the draws that have to reach a drift, or a rule would be compared on others than its rivals."""


def independent(values: xr.DataArray | xr.Dataset) -> Any:
    """One value for each seed: learning rates share its random numbers, and are averaged."""
    return values.mean("rate") if "rate" in values.dims else values


def interval(values: Any, least: int | float | None = None) -> tuple[Any, Any]:
    """Means over ``seed`` and half of their 95% intervals (Student); nan where fewer than ``least`` are known.

    At least two, unless there is a single draw: its mean is known, its interval is not.
    """
    count = values.notnull().sum("seed")
    known = count >= (min(2, values.sizes["seed"]) if least is None else max(2, least))
    several = count.where(known & (count >= 2))
    error = values.std("seed", ddof=1) / np.sqrt(several)
    return values.mean("seed").where(known), error * xr.apply_ufunc(stats.t.ppf, 0.975, several - 1)


def at_equal_drift(dataset: xr.Dataset, drifts: Sequence[float]) -> tuple[xr.Dataset, xr.Dataset]:
    """``at_spent`` over draws: means, and half of their 95% intervals (Student).

    Arguments as in ``at_spent``; ``selection``, ``switching`` and ``novelty`` are read as shares of ``total``. Both are
    nan where fewer than three draws, or than ``REACHED`` of them, reach the drift.
    """
    numbers = [name for name, values in dataset.data_vars.items() if "record" in values.dims and name != "weights"]
    parts = {name: dataset[name] / dataset.total for name in ("selection", "switching", "novelty") if name in dataset}
    at_level = independent(at_spent(dataset[numbers].assign(parts), drifts))
    return interval(at_level, max(3, REACHED * at_level.sizes["seed"]))


def half_spent(dataset: xr.Dataset) -> xr.DataArray:
    """The drift, nats of ``total``, at which ``selection_fraction`` first falls through 1/2; inf where it does not.

    Where nothing was spent there is no fraction.
    """
    moved = dataset.total > 0
    return xr.apply_ufunc(
        lambda total, fraction: crossing(total, -fraction, -0.5),
        dataset.total.where(moved, 1.0).astype(float),
        dataset.selection_fraction.where(moved),
        input_core_dims=[["record"]] * 2,
        vectorize=True,
    )


def turn_spent(dataset: xr.Dataset, name: str, *, loss: float = 0.05) -> xr.DataArray:
    """The drift, in nats of ``total``, of a variable's largest value; inf where no more than ``loss`` of it is lost.

    It is nan where no value is known, or not the last.
    """
    values = dataset[name]
    largest, last = values.max("record"), values.isel(record=-1, drop=True)
    # Of its size: a share of what is negative would be lost at once.
    lost = last < largest - loss * abs(largest)
    place = values.fillna(-np.inf).argmax("record")
    return dataset.total.isel(record=place, drop=True).where(lost, np.inf).where(last.notnull())
