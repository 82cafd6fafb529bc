"""Three rungs on one diagonal: what R² says that weak RL selects, and what it did, in toys and in a real model."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import language_model as answers
from experiments.claims import language_rl, next_token, transformer, weak_limit
from figures import style
from figures.pages import Page, Panel, lettered

WHERE = {
    "laws/weak_limit": "a mixture of personas, exact",
    "larry_bob_alice/transformer": "a transformer, exact",
    "language_model/next_token": "SmolLM2-135M, next word, exact",
    "language_model/language_model": "SmolLM2-135M, whole answers tilted, sampled",
    "language_model/language_rl": "SmolLM2-135M, RL by adapters and gates, sampled",
}
"""Where the datasets lie, and what they are of."""

LOOKS = {
    "laws/weak_limit": ("black", ".", 1.5),
    "larry_bob_alice/transformer": ("blue", "s", 3.0),
    "language_model/next_token": ("green", "^", 3.5),
    "language_model/language_model": ("orange", "D", 3.5),
    "language_model/language_rl": ("red", "o", 4.0),
}
"""Colour, marker and its size."""


def pairs(where: str, dataset: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """R², S, and 1.96 standard errors of both, 0 of what is exact; of every case [N]."""
    if where.endswith("language_rl"):
        law = language_rl.runs(dataset, "first")
        values = law.predicted, law.measured, 1.96 * law.predicted_error, 1.96 * law.error
    elif where.endswith("language_model"):
        one = answers.tilts(answers.together(dataset)).isel(policy=0, seed=0)
        error = one.predicted_se, one.selection_fraction_se
        values = one.predicted, one.selection_fraction, 1.96 * error[0], 1.96 * error[1]
    else:
        known = {
            "weak_limit": lambda: (dataset.predicted, weak_limit.limits(dataset)[0]),
            "transformer": lambda: transformer.first_steps(dataset),
            "next_token": lambda: (dataset.predicted.isel(seed=0), next_token.limits(dataset).isel(seed=0)),
        }
        values = (*known[where.split("/")[1]](), xr.DataArray(0.0), xr.DataArray(0.0))
    flat = [np.ravel(each) for each in xr.broadcast(*values)]
    known_both = np.isfinite(flat[0]) & np.isfinite(flat[1])
    return flat[0][known_both], flat[1][known_both], flat[2][known_both], flat[3][known_both]


def draw_diagonal(axis: Axes, every: Any) -> None:
    """All rungs; the law is the diagonal."""
    axis.plot([0, 1], [0, 1], color="grey", lw=0.8)
    for where, dataset in _known(every):
        colour, marker, size = LOOKS[where]
        x, y, x_error, y_error = pairs(where, dataset)
        look = {"color": style.COLOURS[colour], "ms": size, "label": WHERE[where]}
        if y_error.any():
            axis.errorbar(x, y, y_error, x_error, fmt=marker, lw=0.7, **look)
        else:
            axis.plot(x, y, marker, mfc="none" if size > 2 else None, **look)
    axis.set(xlabel="R² of the direction, before any training", ylabel="selection fraction S, measured")
    axis.legend()


def _known(every: Mapping[str, xr.Dataset]) -> Iterator[tuple[str, xr.Dataset]]:
    return ((where, every[where]) for where in WHERE if where in every)


def says(every: Mapping[str, xr.Dataset]) -> str:
    """How far each rung is from the law."""
    told = []
    for where, dataset in _known(every):
        x, y, x_error, y_error = pairs(where, dataset)
        off, error = abs(y - x), np.hypot(x_error, y_error) / 1.96
        said = f"off by {off.max():.0e} at most"
        if error.any():
            said = f"within 3 standard errors in {int((off <= 3 * error).sum())}, off by {off.max():.2f} at most"
        if where.endswith("language_rl"):
            said += f" ({language_rl.WHEN['later']} {int(language_rl.missed(dataset, 'later').sum())} miss it)"
        told.append(f"{WHERE[where]}: {x.size} cases, {said}")
    return "; ".join(told) + "."


def draw(every: Mapping[str, xr.Dataset]) -> dict[str, Page]:
    """One panel, for a slide."""
    panel = Panel(
        draw_diagonal,
        "R² before training is what weak RL selects",
        f"Selection fraction against R² of the direction in which the policy moves, by rung: {says(every)} Exact cases "
        "are S(0+); answers are of the weakest tilt, either half; runs of RL are measured after their first step.",
        "Error bars: 1.96 standard errors.",
    )
    return {"": Page("Three rungs on one diagonal", lettered(panel), "a", 3.6, width=4.5)}


if __name__ == "__main__":
    style.main("rungs", draw, __doc__, several=tuple(f"{where}.zarr" for where in WHERE))
