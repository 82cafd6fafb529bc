import numpy as np
import pytest
import xarray as xr

from toypersona.measures import boundaries

STRENGTHS = np.geomspace(0.1, 10.0, 200)


def dataset(**curves):
    return xr.Dataset({name: ("strength", values) for name, values in curves.items()}, {"strength": STRENGTHS})


def bounds(boundary):
    return boundary.sel(bound=list(boundaries.BOUNDS)).values


def test_crossing_of_a_known_curve():
    np.testing.assert_allclose(boundaries.crossing(STRENGTHS, np.log(STRENGTHS), 1.0), np.e, rtol=1e-6)


@pytest.mark.parametrize(
    "values, expected", [(np.ones(200), 0.0), (-np.ones(200), np.inf), (np.full(200, np.nan), np.inf)]
)
def test_passed_from_the_start_or_never(values, expected):
    assert boundaries.crossing(STRENGTHS, values, 0.5) == expected
    flat = bounds(boundaries.from_dataset(dataset(selection_fraction=-values + 1)).half)
    np.testing.assert_array_equal(flat, expected)


def test_crossings_of_a_hundred_random_lines():
    rng = np.random.default_rng(0)
    slope, at = rng.uniform(0.1, 10, 100), rng.uniform(0.2, 9, 100)
    values = slope[:, None] * (np.log(STRENGTHS) - np.log(at)[:, None])
    np.testing.assert_allclose(boundaries.crossing(STRENGTHS, values, 0.0), at, rtol=1e-10)


def test_the_named_boundaries():
    found = boundaries.from_dataset(
        dataset(
            selection_fraction=1 / (1 + STRENGTHS**2),
            hull_distance=STRENGTHS**2 / 2,
            largest_weight=1 - 0.5 * np.exp(-STRENGTHS),
        )
    )
    exact = {"half": 1.0, "vertex": np.log(50), "detectable": np.sqrt(0.02 * np.log(20))}
    found["detectable"] = found.detectable.sel(samples=100)
    for name, value in exact.items():
        low, middle, high = bounds(found[name])
        np.testing.assert_allclose(middle, value, rtol=1e-3)
        assert low < middle < high < 1.02 * low


def test_a_standard_error_widens_a_boundary_by_as_much_as_the_slope_says():
    curve = 1 - np.log(STRENGTHS)
    found = boundaries.from_dataset(dataset(selection_fraction=curve, selection_fraction_se=np.full(200, 0.05)))
    low, middle, high = np.log(bounds(found.half))
    np.testing.assert_allclose([middle - low, high - middle], 1.96 * 0.05, atol=0.01)


def test_noise_is_as_uncertain_as_few_runs_are():
    rates = np.geomspace(0.1, 10.0, 50)
    made = xr.Dataset({"noise_wrong": ("learning_rate", 0.02 * rates)}, {"learning_rate": rates})
    few, many = (bounds(boundaries.from_dataset(made, num_runs=n).noise) for n in (100, 10_000))
    np.testing.assert_allclose([few[1], many[1]], 5.0, rtol=1e-2)
    assert few[0] < many[0] < 5 < many[2] < few[2]


def test_draws_are_pooled_and_infinities_kept():
    scale = xr.DataArray([1.0] * 9 + [1e-3], dims="seed")
    fraction = 1 / (1 + scale * dataset().strength ** 2)
    low, middle, high = boundaries.over_draws(
        boundaries.from_dataset(fraction.to_dataset(name="selection_fraction")).half
    )
    np.testing.assert_allclose([low, middle], 1.0, rtol=0.01)
    assert high == np.inf


def test_wrong_input():
    with pytest.raises(ValueError, match="'knob' is none of strength"):
        boundaries.from_dataset(dataset(selection_fraction=np.ones(200)), along="knob")
    with pytest.raises(ValueError, match="has none of"):
        boundaries.from_dataset(dataset(other=np.ones(200)))


def paths(totals, **variables):
    along = ("rule", "seed", "record")
    return xr.Dataset(
        {"total": (along, totals), **{name: (along, values) for name, values in variables.items()}},
        coords={"record": np.arange(np.shape(totals)[-1])},
    )


def test_paths_at_equal_drift_are_read_linear_in_log_drift():
    totals = np.array([[[0.01, 0.1, 1.0], [0.2, 0.4, 0.5]]])
    found = boundaries.at_spent(paths(totals, reward=[[[0.0, 1.0, 3.0], [1.0, 2.0, 3.0]]]), (0.1 * 10**0.5, 0.4, 2.0))
    np.testing.assert_allclose(found.reward[:, 0, 0], [2.0, 1 + 2 * (np.log10(0.4) + 1), np.nan])
    # The second path is asked between its first two records, and at its second.
    np.testing.assert_allclose(found.reward[:2, 0, 1], [1 + np.log(0.1 * 10**0.5 / 0.2) / np.log(2), 2.0])


def test_a_path_that_starts_beyond_a_drift_is_not_read_there():
    totals = np.array([[[0.5, 1.0, 0.4]]])
    found = boundaries.at_spent(paths(totals, reward=[[[0.0, 1.0, 2.0]]]), (0.3, 0.7))
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
    mean, error = boundaries.at_equal_drift(dataset, (0.3,))
    np.testing.assert_allclose(mean.selection.item(), fractions.mean(), rtol=1e-9)
    np.testing.assert_allclose(error.selection.item(), 1.96 * 0.1 / np.sqrt(2000), rtol=0.1)
    few = boundaries.at_equal_drift(dataset.isel(seed=slice(2)), (0.3,))[0]
    assert np.isnan(few.selection.item())
    # A fifth of the draws and one more never get there.
    missed = dataset.assign(total=dataset.total.where(dataset.total.seed >= 401, 0.1))
    assert np.isnan(boundaries.at_equal_drift(missed, (0.3,))[0].selection.item())


def test_seeds_of_one_world_are_one_draw_where_there_are_worlds():
    rng = np.random.default_rng(1)
    worlds, seeds = rng.normal(0.5, 0.1, (300, 1)), rng.normal(0.0, 0.01, (300, 20))
    values = xr.DataArray((worlds + seeds)[..., None] * [0.1, 0.2, 0.4], dims=("world", "seed", "record"))
    dataset = xr.Dataset({"total": xr.DataArray([0.1, 0.2, 0.4], dims="record") + 0 * values, "selection": values})
    error = boundaries.at_equal_drift(dataset, (0.3,))[1].selection.item()
    np.testing.assert_allclose(error, 1.97 * worlds.std() / np.sqrt(300), rtol=0.1)


def test_where_half_is_spent_and_where_a_value_turns_over():
    totals = np.array([[[0.1, 1.0, 10.0], [0.1, 1.0, 10.0]]])
    dataset = paths(
        totals, selection_fraction=[[[0.9, 0.6, 0.4], [0.9, 0.8, 0.7]]], gold=[[[1.0, 3.0, 1.0], [1, 2, 1.95]]]
    )
    np.testing.assert_allclose(boundaries.half_spent(dataset).values, [[10**0.5, np.inf]])
    np.testing.assert_allclose(boundaries.turn_spent(dataset, "gold").values, [[1.0, np.inf]])
