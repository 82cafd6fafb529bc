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


def test_not_knowing_the_mix_makes_it_later_to_tell():
    """By C (K - 1)/2 nats of all samples together."""
    distances = dataset(hull_distance=STRENGTHS**2 / 2)
    told = boundaries.from_dataset(distances, mixes=(6, 3)).detectable.sel(samples=100)
    np.testing.assert_allclose(bounds(told)[1], np.sqrt(0.02 * (np.log(20) + 6)), rtol=1e-3)


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


def test_after_what_is_not_known_a_boundary_is_the_record_itself():
    strengths = np.array([1.0, 10.0, 100.0])
    values = np.array([[np.nan, 2.0, 3.0], [-np.inf, 2.0, 3.0], [np.nan, np.nan, 0.5], [0.0, np.nan, 2.0]])
    np.testing.assert_allclose(boundaries.crossing(strengths, values, 1.0), [10.0, 10.0, np.inf, 100.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_record_and_nothing_to_detect(dtype):
    curves = {"selection_fraction": [0.9], "largest_weight": [1.0], "hull_distance": [0.0], "hull_distance_se": [0.0]}
    one = xr.Dataset({name: ("strength", np.array(x, dtype)) for name, x in curves.items()}, {"strength": [1.0]})
    found = boundaries.from_dataset(one)
    np.testing.assert_array_equal(bounds(found.half), np.inf)
    np.testing.assert_array_equal(bounds(found.vertex), 0.0)
    np.testing.assert_array_equal(found.detectable, np.inf)


@pytest.mark.parametrize("strengths", [[0.0, 1.0, 2.0], [3.0, 2.0, 1.0], [1.0, 1.0, 2.0], [np.nan, 1.0, 2.0]])
def test_strengths_in_another_order_are_refused(strengths):
    curve = xr.DataArray([0.0, 1.0, 2.0], {"strength": strengths}, "strength")
    with pytest.raises(ValueError, match="sort by 'strength' and leave out 0"):
        boundaries.reached(curve, 0.5, "strength")
