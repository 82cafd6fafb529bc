import numpy as np
import pytest
import xarray as xr

from toypersona.measures import equal_drift


def paths(totals, **variables):
    along = ("rule", "seed", "record")
    return xr.Dataset(
        {"total": (along, totals), **{name: (along, values) for name, values in variables.items()}},
        coords={"record": np.arange(np.shape(totals)[-1])},
    )


def test_paths_at_equal_drift_are_read_linear_in_log_drift():
    totals = np.array([[[0.01, 0.1, 1.0], [0.2, 0.4, 0.5]]])
    found = equal_drift.at_spent(paths(totals, reward=[[[0.0, 1.0, 3.0], [1.0, 2.0, 3.0]]]), (0.1 * 10**0.5, 0.4, 2.0))
    np.testing.assert_allclose(found.reward[:, 0, 0], [2.0, 1 + 2 * (np.log10(0.4) + 1), np.nan])
    # The second path is asked between its first two records, and at its second.
    np.testing.assert_allclose(found.reward[:2, 0, 1], [1 + np.log(0.1 * 10**0.5 / 0.2) / np.log(2), 2.0])


def test_a_path_that_starts_beyond_a_drift_is_not_read_there():
    totals = np.array([[[0.5, 1.0, 0.4]]])
    found = equal_drift.at_spent(paths(totals, reward=[[[0.0, 1.0, 2.0]]]), (0.3, 0.7))
    assert np.isnan(found.reward[0].item())
    np.testing.assert_allclose(found.reward[1].item(), np.log(1.4) / np.log(2))


def test_intervals_at_equal_drift_count_rates_as_one_draw():
    rng = np.random.default_rng(0)
    fractions = np.repeat(rng.normal(0.5, 0.1, (1, 2000, 1, 1)), 2, axis=2) + np.zeros((1, 2000, 2, 3))
    dataset = xr.Dataset(
        coords={"seed": np.arange(2000)},
        data_vars={
            "total": (("rule", "seed", "rate", "record"), np.broadcast_to([0.1, 0.2, 0.4], fractions.shape)),
            "selection": (("rule", "seed", "rate", "record"), fractions * [0.1, 0.2, 0.4]),
        },
    )
    mean, error = equal_drift.at_equal_drift(dataset, (0.3,))
    np.testing.assert_allclose(mean.selection.item(), fractions.mean(), rtol=1e-9)
    np.testing.assert_allclose(error.selection.item(), 1.96 * 0.1 / np.sqrt(2000), rtol=0.1)
    few = equal_drift.at_equal_drift(dataset.isel(seed=slice(2)), (0.3,))[0]
    assert np.isnan(few.selection.item())
    # A fifth of the draws and one more never get there.
    missed = dataset.assign(total=dataset.total.where(dataset.total.seed >= 401, 0.1))
    assert np.isnan(equal_drift.at_equal_drift(missed, (0.3,))[0].selection.item())


def test_where_the_same_is_paid_is_read_between_records():
    rewards = np.array([[[0.0, 1.0, 3.0], [0.5, 0.4, 0.9]]])
    dataset = paths(np.array([[[0.1, 1.0, 2.0], [0.1, 0.5, 0.7]]]), reward=rewards)
    found = equal_drift.at_paid(dataset, (0.5, 2.0)).total[:, 0].values
    # From the start beyond a level is not at it.
    np.testing.assert_allclose(found, [[0.55, np.nan], [1.5, np.nan]])


def test_learning_rates_of_one_seed_are_one_draw():
    rng = np.random.default_rng(1)
    seeds, rates = rng.normal(0.5, 0.1, (300, 1)), rng.normal(0.0, 0.01, (300, 20))
    values = xr.DataArray((seeds + rates)[..., None] * [0.1, 0.2, 0.4], dims=("seed", "rate", "record"))
    dataset = xr.Dataset({"total": xr.DataArray([0.1, 0.2, 0.4], dims="record") + 0 * values, "selection": values})
    error = equal_drift.at_equal_drift(dataset, (0.3,))[1].selection.item()
    np.testing.assert_allclose(error, 1.97 * seeds.std() / np.sqrt(300), rtol=0.1)


def test_where_half_is_spent_and_where_a_value_turns_over():
    totals = np.array([[[0.1, 1.0, 10.0], [0.1, 1.0, 10.0]]])
    dataset = paths(
        totals, selection_fraction=[[[0.9, 0.6, 0.4], [0.9, 0.8, 0.7]]], gold=[[[1.0, 3.0, 1.0], [1, 2, 1.95]]]
    )
    np.testing.assert_allclose(equal_drift.half_spent(dataset).values, [[10**0.5, np.inf]])
    np.testing.assert_allclose(equal_drift.turn_spent(dataset, "gold").values, [[1.0, np.inf]])


def test_a_record_of_no_drift_or_an_unknown_one_is_no_place_to_read_from():
    """From 1e-300 nats a logarithm would reach 0.1 only at the next record, whatever that has spent."""
    totals = np.array([[[0.0, 1.0, 2.0], [np.nan, 1.0, 2.0], [0.0, 0.05, 0.2]]])
    dataset = paths(totals, reward=np.array([[[5.0, 7.0, 8.0], [5.0, 7.0, 8.0], [1.0, 2.0, 4.0]]]))
    found = equal_drift.at_spent(dataset, (0.1, 1.5)).reward[:, 0].values
    between = 7 + np.log(1.5) / np.log(2)
    np.testing.assert_allclose(found, [[np.nan, np.nan, 3.0], [between, between, np.nan]])
    low = dataset.astype(np.float32)
    np.testing.assert_allclose(equal_drift.at_spent(low, (0.1, 1.5)).reward[:, 0], found, rtol=1e-5)
    fractions = dataset.assign(selection_fraction=xr.full_like(dataset.total, 0.4))
    np.testing.assert_allclose(equal_drift.half_spent(fractions)[0], [1.0, 1.0, 0.05])
    with pytest.raises(ValueError, match="above 0 nats, not"):
        equal_drift.at_spent(dataset, (0.0, 0.1))


def test_what_turns_over_is_measured_by_its_size():
    """A share of a negative number lies above it: a reward that only rises was once said to turn at its end."""
    rising, falling, constant = [-3.0, -2.0, -1.0], [-1.0, -1.02, -1.2], [-1.0, -1.0, -1.0]
    unknown, diverged = [np.nan] * 3, [1.0, 2.0, np.nan]
    values = np.array([[rising, falling, constant, unknown, diverged]])
    found = equal_drift.turn_spent(paths(np.full((1, 5, 3), [0.1, 1.0, 10.0]), gold=values), "gold")
    np.testing.assert_allclose(found[0], [np.inf, 0.1, np.inf, np.nan, np.nan])


def test_of_a_single_draw_the_mean_is_known_and_its_interval_is_not():
    values = xr.DataArray([[1.0, np.nan]], dims=("seed", "drift"))
    mean, half = equal_drift.interval(values)
    np.testing.assert_array_equal(mean, [1.0, np.nan])
    assert half.isnull().all()
    several = xr.DataArray([[1.0, np.nan], [np.nan, np.nan]], dims=("seed", "drift"))
    assert all(each.isnull().all() for each in equal_drift.interval(several))
