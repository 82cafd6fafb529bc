import numpy as np
import pytest
import xarray as xr
from scipy import stats

from toypersona.measures import curves

X = np.linspace(0.1, 2.0, 12)


def test_each_form_finds_its_own_coefficients_and_fits_only_itself():
    made = {
        curves.entropy_law: -0.7 * np.exp(X) + 3.0,
        curves.best_of_n_form: X * (1.3 - 0.4 * X),
        curves.rl_form: X * (0.9 - 0.3 * np.log(X)),
    }
    wanted = {curves.entropy_law: (0.7, 3.0), curves.best_of_n_form: (1.3, 0.4), curves.rl_form: (0.9, 0.3)}
    for form, values in made.items():
        np.testing.assert_allclose(form(X, values).coefficients, wanted[form], rtol=1e-9)
        for other in made:
            assert (1 - other(X, values).r_squared < 1e-12) == (other is form)


def test_a_parabola_is_numpy_s():
    values = np.random.default_rng(0).normal(size=X.size)
    found = curves.parabola(X, values)
    np.testing.assert_allclose(found.coefficients[::-1], np.polyfit(X, values, 2), rtol=1e-8)
    residual = ((values - np.polyval(np.polyfit(X, values, 2), X)) ** 2).sum()
    assert found.r_squared == pytest.approx(1 - residual / ((values - values.mean()) ** 2).sum())


def test_unknown_values_are_left_out_and_too_few_say_nothing():
    values = np.where(X > 1, np.nan, 2 * X)
    assert curves.best_of_n_form(X, values).coefficients == pytest.approx((2, 0))
    few = curves.best_of_n_form(X[:1], X[:1])
    assert np.isnan([*few.coefficients, few.r_squared]).all()


def test_the_contest_says_who_wins_and_from_where():
    root = np.linspace(0.2, 3.0, 20)
    gold = np.stack([root * (1 - 0.2 * root), root * (1 - 0.3 * np.log(root))]) + 1e-3 * np.sin(9 * root)
    drift = xr.DataArray(np.stack([root**2] * 2), dims=("rule", "gold_record"))
    dataset = xr.Dataset({"gold_drift": drift, "gold": drift.copy(data=gold)})
    for least in (0.0, 1.0):
        assert [*np.sign(curves.form_contest(dataset, least).log_ratio)] == [-1, 1]
    assert curves.form_contest(dataset, 2.9).log_ratio.isnull().all()


def test_support_rates_are_wu_s():
    counts = {
        name: xr.DataArray([np.nan, value], dims="record")
        for name, value in zip(("kept", "gained", "lost"), (6.0, 2.0, 4.0), strict=True)
    }
    rates = curves.support_rates(xr.Dataset(counts))
    assert (rates.SRR.item(), rates.NDR.item(), rates.NSCR.item()) == pytest.approx((0.6, 0.25, -1 / 6))


def test_partial_rank_correlation_is_that_of_what_a_regression_of_ranks_leaves():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(2, 40))
    x, y = z**3 + rng.normal(size=z.shape), np.exp(z) + rng.normal(size=z.shape)
    x[0, :5] = x[0, 5:10]
    of_x, of_y, of_z = (xr.DataArray(values, dims=("seed", "record")) for values in (x, y, z))
    found = curves.partial_rank_correlation(of_x, of_y, of_z, "record")
    plain = curves.rank_correlation(of_x, of_y, "record")
    for seed in range(2):
        a, b, given = (stats.rankdata(values[seed]) for values in (x, y, z))
        left = [ranks - np.polyval(np.polyfit(given, ranks, 1), given) for ranks in (a, b)]
        np.testing.assert_allclose(found[seed], np.corrcoef(*left)[0, 1], rtol=1e-9)
    assert (abs(found - plain) > 0.1).all(), "no power"


def test_of_what_the_given_decides_nothing_is_left():
    x, y = (xr.DataArray(values, dims="record") for values in (X, np.cos(9 * X)))
    assert np.isnan(curves.partial_rank_correlation(x, y, x**3, "record"))
    assert np.isnan(curves.partial_rank_correlation(x, y, xr.zeros_like(x), "record"))
