"""Curves of the literature fitted by least squares, and how well they fit. Needs no jax.

- Entropy and reward along training, ``R = -a e^H + b`` (Cui et al. 2025).
- Gold reward against the root of the drift d: ``d (alpha - beta d)`` for best of n, ``d (alpha - beta ln d)`` for RL
  (Gao, Schulman and Hilton 2023).
- What is forgotten against a divergence: a parabola (Shenfeld, Pari and Agrawal 2025).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

EARLY = 5
"""Records from which the end of a path is foretold: of eight geometrically spaced ones an eighth of the way."""

ROUNDING = 1e-12
"""A share of a variance below which nothing is left of it."""

Values = Float[np.ndarray, " R"]


class Fit(NamedTuple):
    """A curve that is linear in its coefficients.

    Attributes:
        coefficients: one for each term.
        residual: sum of squared residuals.
        r_squared: 1 - residual / sum of squares about the mean; nan where the values are all the same.
    """

    coefficients: Float[np.ndarray, " P"]
    residual: float
    r_squared: float


def fit(terms: Sequence[Values], values: Values) -> Fit:
    """Least squares over the places where all is finite; nan where there are fewer than terms."""
    design, known = np.stack(terms, axis=1), np.isfinite(values)
    known &= np.isfinite(design).all(axis=1)
    if known.sum() < len(terms):
        return Fit(np.full(len(terms), np.nan), np.nan, np.nan)
    design, values = design[known], values[known]
    coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
    residual, spread = (float(x @ x) for x in (values - design @ coefficients, values - values.mean()))
    return Fit(coefficients, residual, 1 - residual / spread if spread else np.nan)


def entropy_law(entropy: Values, reward: Values) -> Fit:
    """``R = -a e^H + b``, coefficients (a, b)."""
    return fit((-np.exp(entropy), np.ones_like(entropy)), reward)


def best_of_n_form(root: Values, gold: Values) -> Fit:
    """``d (alpha - beta d)``, coefficients (alpha, beta)."""
    return fit((root, -(root**2)), gold)


def rl_form(root: Values, gold: Values) -> Fit:
    """``d (alpha - beta ln d)``, coefficients (alpha, beta)."""
    return fit((root, -root * np.log(root)), gold)


def parabola(x: Values, y: Values) -> Fit:
    """``p0 + p1 x + p2 x²``."""
    return fit((np.ones_like(x), x, x**2), y)


def entropy_fit(dataset: xr.Dataset) -> xr.Dataset:
    """Of ``R = -a e^H + b`` along each path: ``r_squared``, a (``price``), b (``ceiling``) and ``missed``.

    The last is by how much a fit to the first ``EARLY`` records misses the reward at the end, as a share of it. Of a
    dataset with ``token_entropy`` (nats) and ``reward`` along ``record``.
    """

    def missed(entropy: np.ndarray, reward: np.ndarray) -> float:
        a, b = entropy_law(entropy[:EARLY], reward[:EARLY]).coefficients
        return abs(b - a * np.exp(entropy[-1]) - reward[-1]) / abs(reward[-1])

    path = [["record"]] * 2
    reads = {
        "r_squared": lambda h, r: entropy_law(h, r).r_squared,
        "price": lambda h, r: entropy_law(h, r).coefficients[0],
        "ceiling": lambda h, r: entropy_law(h, r).coefficients[1],
        "missed": missed,
    }
    return xr.Dataset(
        {
            name: xr.apply_ufunc(read, dataset.token_entropy, dataset.reward, input_core_dims=path, vectorize=True)
            for name, read in reads.items()
        }
    )


def form_contest(dataset: xr.Dataset, least: float = 0.0) -> xr.Dataset:
    """Of both of Gao's forms the R² [error, rule, seed], and ``log_ratio``, half the difference of AIC a record.

    Below 0 ``d (alpha - beta d)``, the form for best of n, fits better. Of a dataset with ``gold`` and ``gold_drift``
    (nats) along ``gold_record``, from a root of the drift ``least`` on; nan where fewer than four records are.
    """

    def contest(drift: np.ndarray, gold: np.ndarray) -> tuple[float, float, float]:
        far = np.sqrt(drift) >= least
        if far.sum() < 4:
            return np.nan, np.nan, np.nan
        fits = [form(np.sqrt(drift[far]), gold[far]) for form in (best_of_n_form, rl_form)]
        return fits[0].r_squared, fits[1].r_squared, np.log(fits[0].residual / fits[1].residual) / 2

    names = ("best_of_n_form", "rl_form", "log_ratio")
    core = [["gold_record"]] * 2
    found = xr.apply_ufunc(
        contest, dataset.gold_drift, dataset.gold, input_core_dims=core, output_core_dims=[[]] * 3, vectorize=True
    )
    return xr.Dataset(dict(zip(names, found, strict=True)))


def predicted_by(dataset: xr.Dataset, divergence: str, lost: str) -> xr.DataArray:
    """R² of a parabola in a divergence for what is forgotten, every rule and record of a draw [seed].

    Over both gates together where the dataset holds both.
    """
    dims = [dim for dim in ("gate", "rule", "record") if dim in dataset[divergence].dims]
    flat = dataset[[divergence, lost]].stack(at=dims)
    read = lambda x, y: parabola(x, y).r_squared  # noqa: E731
    return xr.apply_ufunc(read, flat[divergence], flat[lost], input_core_dims=[["at"]] * 2, vectorize=True)


def support_rates(dataset: xr.Dataset) -> xr.Dataset:
    """SRR, NDR and NSCR at the end of every path [gate, rule, seed]."""
    kept, gained, lost = (dataset[name].isel(record=-1) for name in ("kept", "gained", "lost"))
    return xr.Dataset(
        {
            "SRR": kept / (kept + lost),
            "NDR": gained / (kept + gained),
            "NSCR": (gained - lost) / (kept + gained + lost),
        }
    )


def rank_correlation(x: xr.DataArray, y: xr.DataArray, along: str) -> xr.DataArray:
    """Spearman's, along a dimension; nan where one of the two is the same everywhere."""

    def read(x: np.ndarray, y: np.ndarray) -> float:
        varied = np.ptp(x) > 0 and np.ptp(y) > 0
        return float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1]) if varied else np.nan

    return xr.apply_ufunc(read, x, y, input_core_dims=[[along]] * 2, vectorize=True)


def partial_rank_correlation(x: xr.DataArray, y: xr.DataArray, given: xr.DataArray, along: str) -> xr.DataArray:
    """Spearman's of what the ranks of ``given`` leave of the ranks of x and y, taken out linearly, along a dimension.

    ``(r_xy - r_xz r_yz) / sqrt((1 - r_xz²) (1 - r_yz²))``; nan where nothing is left of one of the two, or one of the
    three is the same everywhere.
    """
    together, of_x, of_y = (rank_correlation(*pair, along) for pair in ((x, y), (x, given), (y, given)))
    left = (1 - of_x**2) * (1 - of_y**2)
    return (together - of_x * of_y) / np.sqrt(left.where(left > ROUNDING))
