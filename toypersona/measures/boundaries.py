"""Where the transition is: four boundaries along a strength axis, each with a meaning of its own.

- half: selection stops being the larger part, S falls through 1/2.
- vertex: selection is used up, the nearest mix is one persona, ``max_k w*_k >= 0.99``.
- detectable: n samples can tell the policy from every persona mix, ``n d_prompt >= ln(1/alpha) + C (K - 1)/2``: Stein's
  bound, and the price of not knowing which mix (``detection``).
- noise: a sampled rule locks onto a wrong persona in one run of ten.

A boundary is a strength: 0 where it is passed from the start, inf where it is not reached. Read from datasets, without
jax, so that figures draw what claims check.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from toypersona import detection

VERTEX = 0.99
ALPHA = 0.05
WRONG = 0.1
SAMPLES = (1, 100, 10_000)

CONFIDENCE = 1.96
"""Standard errors on either side of a 95% interval."""

INTERPOLATION = 0.25
"""Error of a boundary between two records, in units of their distance on a logarithmic axis."""

BOUNDS = ("low", "middle", "high")


def crossing(strengths: Float[np.ndarray, " R"], values: Float[np.ndarray, "*batch R"], level: float) -> np.ndarray:
    """The first strength at which ``values`` reaches ``level`` from below, linear in log strength between records.

    Args:
        strengths: positive, increasing [R].
        values: [..., R]; a nan counts as below. After one, or after -inf, a boundary lies at the record that is above.
        level: in the units of ``values``.

    Returns:
        [...]: 0 where the first value is there already, inf where none is.
    """
    above = values >= level
    index = above.argmax(axis=-1)[..., None]
    before = np.maximum(index - 1, 0)
    upper, lower = (np.take_along_axis(values, i, axis=-1) for i in (index, before))
    known = np.isfinite(lower) & (upper > lower)
    fraction = np.where(known, level - lower, 1.0) / np.where(known, upper - lower, 1.0)
    log_strengths = np.log(strengths)
    inside = np.exp(log_strengths[before] + fraction * (log_strengths[index] - log_strengths[before]))
    return np.where(above.any(axis=-1), np.where(index == 0, 0.0, inside)[..., 0], np.inf)


def reached(curve: xr.DataArray, level: float, along: str) -> xr.DataArray:
    """``crossing`` of labelled curves, at the values of their dimension ``along``.

    Raises:
        ValueError: they have no such dimension, or it does not increase from above 0.
    """
    if along not in curve.dims:
        raise ValueError(f"The dimension {along!r} is none of {', '.join(map(str, curve.dims))}: name it with along=.")
    strengths = curve[along].values.astype(float)
    if not (np.diff(strengths, prepend=0.0) > 0).all():
        raise ValueError(f"Boundaries are read along increasing values above 0: sort by {along!r} and leave out 0.")
    return xr.apply_ufunc(lambda values: crossing(strengths, values, level), curve, input_core_dims=[[along]])


def from_dataset(
    dataset: xr.Dataset,
    *,
    along: str = "strength",
    samples: Sequence[int] = SAMPLES,
    rates: str = "learning_rate",
    num_runs: int | float | None = None,
    mixes: tuple[int, int] = (1, 1),
) -> xr.Dataset:
    """The boundaries of every curve in a dataset, as many of the four as it has the variables for.

    Args:
        dataset: ``selection_fraction`` gives half, ``largest_weight`` (max_k w*_k averaged over prompts) vertex,
            ``hull_distance`` (nats) detectable, ``noise_wrong`` (share of runs) noise; those named ``NAME_se`` are
            standard errors.
        along: the dimension of strengths.
        samples: n of the detectable boundary.
        rates: the dimension of learning rates.
        num_runs: how many runs each ``noise_wrong`` is the share of, for its standard error.
        mixes: C prompts, each with weights of its own that nobody knows, and K personas: for detectable, which is
            Stein's bound alone, of a mix that is known, unless they are given.

    Returns:
        ``half``, ``vertex``, ``detectable`` (with a dimension ``samples``) and ``noise``, with the dimensions of their
        curves but ``along``, and a dimension ``bound``: low, middle, high. Low and high enclose the curve's 95% band
        and the error of reading a boundary between two records.

    Raises:
        ValueError: no such dimension, or none of these variables.
    """
    boundaries = {}
    if "selection_fraction" in dataset:
        error = dataset.get("selection_fraction_se", 0.0)
        boundaries["half"] = _boundary(-dataset.selection_fraction, error, along, -0.5)
    if "largest_weight" in dataset:
        # The rest of the weight falls off exponentially or runs straight into a face of the simplex: a logarithm would
        # interpolate the one well and the weight itself the other; a root misses neither by much.
        rest = -np.sqrt(np.maximum(1 - dataset.largest_weight, 0.0))
        boundaries["vertex"] = _boundary(rest, 0.0, along, -np.sqrt(1 - VERTEX))
    if "hull_distance" in dataset:
        # Distances are powers of a weak strength.
        distance = np.maximum(dataset.hull_distance.astype(float), 1e-300)
        error = dataset.get("hull_distance_se", 0.0) / distance
        nats = detection.boundary(ALPHA, *mixes).nats
        each = [_boundary(np.log(distance), error, along, np.log(nats / n)) for n in samples]
        boundaries["detectable"] = xr.concat(each, xr.DataArray(np.array(samples), dims="samples", name="samples"))
    if "noise_wrong" in dataset:
        error = np.sqrt(WRONG * (1 - WRONG) / num_runs) if num_runs else 0.0
        boundaries["noise"] = _boundary(dataset.noise_wrong, error, rates, WRONG)
    if not boundaries:
        raise ValueError("This dataset has none of selection_fraction, largest_weight, hull_distance and noise_wrong.")
    return xr.Dataset(boundaries)


def _boundary(curve: xr.DataArray, error: xr.DataArray | float, along: str, level: float) -> xr.DataArray:
    """Low, middle and high strength at which a curve with a standard error reaches a level from below."""
    bands = [curve + CONFIDENCE * error, curve, curve - CONFIDENCE * error]
    bounds = [reached(band, level, along) for band in bands]
    strengths = curve[along].values
    step = (strengths[1:] / strengths[:-1]).max(initial=1.0) ** INTERPOLATION
    widened = [bounds[0] / step, bounds[1], bounds[2] * step]
    return xr.Dataset(dict(zip(BOUNDS, widened, strict=True))).to_dataarray("bound")


def over_draws(boundary: xr.DataArray) -> tuple[float, float, float]:
    """Low, middle and high strength of a boundary over its draws: the median, and what encloses their middle 95%.

    The boundary is one variable of ``from_dataset``, with no dimension left but ``bound``, ``world`` and ``seed``.
    """
    pooled = [name for name in boundary.dims if name != "bound"]
    # No interpolation between draws: some may be infinite.
    low, middle, high = (
        float(boundary.sel(bound=bound).quantile(quantile, pooled, method="closest_observation"))
        for bound, quantile in zip(BOUNDS, (0.025, 0.5, 0.975), strict=True)
    )
    return low, middle, high
