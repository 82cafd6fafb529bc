"""What is read from the map: its weak edge, its boundaries, and what the policy says at some places."""

import numpy as np
import xarray as xr

from experiments.shared import oracle
from experiments.shared.claim import DRAWS, ROUNDING, Claim, at_most, near
from toypersona import datasets, transcripts
from toypersona.measures import boundaries

WEAK = 0.2
"""The drift of weak RL grows as s²: by no more than this may it differ between the two weakest strengths."""


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The statements that the map has to satisfy."""
    gates_only = dataset.hull_distance.sel(rule=[rule for rule in dataset.rule.values if rule.endswith("/gates")])
    still = at_most("gates-only training: largest hull distance, nats (bound: rounding)", ROUNDING, gates_only)
    return [*_weak_edge(dataset), still, *_tilt_boundaries(dataset)]


def _weak_edge(dataset: xr.Dataset) -> list[Claim]:
    """L1: S(0+), extrapolated from the two weakest strengths, is cos² of the angle, to the size of the correction."""
    if not edge_is_weak(dataset):
        return []
    first, second = dataset.strength.values[:2]
    fraction = dataset.selection_fraction.sel(rule="tilt")
    slope = (fraction[..., 1] - fraction[..., 0]) / (second - first)
    limit = fraction[..., 0] - slope * first
    certificate = (dataset.gap / dataset.total).sel(rule="tilt")[..., 0]
    error = abs(limit - fraction[..., 0]) + certificate
    claims = []
    for angle in dataset.angle.values:
        what, law = f"weak edge of the tilt at {angle:g} degrees: S(0+) = cos²", np.cos(np.deg2rad(angle)) ** 2
        claims.append(near(what, law, limit.sel(angle=angle).mean(), error.sel(angle=angle).max()))
    return claims


def edge_is_weak(dataset: xr.Dataset) -> bool:
    """Whether the drift still grows as s² between the two weakest strengths, as the law supposes."""
    total = dataset.total.sel(rule="tilt")[..., :2] / dataset.strength[:2] ** 2
    return bool((np.abs(total[..., 1] / total[..., 0] - 1) < WEAK).all())


def _tilt_boundaries(dataset: xr.Dataset) -> list[Claim]:
    """Half and vertex of the tilt, first world and seed, against SciPy's, within their bounds."""
    one, strengths = dataset.isel(world=0, seed=0), tuple(dataset.strength.values)
    measured = boundaries.from_dataset(one.sel(rule="tilt"))
    hull = tuple(one[name].values for name in ("log_base", "log_personas", "log_prompts"))
    claims = []
    for angle in dataset.angle.values:
        solver = oracle.Tilt(one.reward_table.sel(angle=angle).values, *hull)
        for name, exact in (("half", solver.half(strengths)), ("vertex", solver.vertex(strengths))):
            _, middle, high = measured[name].sel(angle=angle).values
            error = high - middle if np.isfinite(middle) else 0.0
            what = f"{name} boundary of the tilt at {angle:g} degrees, first seed, by SciPy"
            claims.append(near(what, exact, middle, error))
    return claims


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    settings = datasets.settings_of(dataset)
    angle = min(dataset.angle.values, key=lambda degrees: abs(degrees - 30))
    tilt = dataset.sel(angle=angle, rule="tilt")
    at = boundaries.from_dataset(tilt, num_runs=settings["noise"]["num_runs"])
    persona = str(tilt.persona.values[datasets.config_of(dataset)["helpful"]])
    off_the_map = "The weakest strength is too strong for the law on the weak edge: start --strengths lower to test it."
    return [
        *([] if edge_is_weak(dataset) else [off_the_map]),
        f"At {angle:g}° RL is mostly persona selection up to strength {_range(at.half)}; "
        f"{persona.capitalize()}'s vertex is reached at {_range(at.vertex)}.",
        f"There, 100 samples could tell the policy from every mix of personas from strength "
        f"{_range(at.detectable.sel(samples=100))}, 10 000 from {_range(at.detectable.sel(samples=10_000))}.",
        f"REINFORCE on the gates alone locks onto a wrong persona in one run of ten from learning rate "
        f"{_range(at.noise)}.",
        f"Pretraining missed the true personas by {dataset.expert_divergence.max().item():.2g} nats per token at most "
        f"and the Bayes gates by {dataset.gate_divergence.max().item():.2g} nats.",
    ]


def _range(boundary: xr.DataArray) -> str:
    """A boundary with its 95% range over worlds and seeds."""
    low, middle, high = boundaries.over_draws(boundary)
    return f"{middle:.2g} ({low:.2g} to {high:.2g})" if np.isfinite(middle) else "beyond the map in most draws"


def drawn(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Geometric mean, least and greatest of a boundary over the draws that reach it and do not start beyond it."""
    reached = values.where(np.isfinite(values) & (values > 0))
    return np.exp(xr.ufuncs.log(reached).mean(DRAWS)), reached.min(DRAWS), reached.max(DRAWS)


def lines_at(point: xr.Dataset, num: int) -> list[str]:
    """The first lines that a policy says at one point: one rule, strength, angle, world and seed of the map."""
    names = datasets.config_of(point)
    units, prompts = names["units"], names["prompts"][int(point.world)]
    num_words, length = transcripts.num_words(units), names["settings"]["length"]
    lines = []
    for prompt, number in zip(point.line_prompt.values[:num], point.line_response.values[:num], strict=True):
        response = transcripts.response_at(number, num_words, length)
        lines.append(transcripts.line(units, names["separator"], prompts[prompt], response, between=" › "))
    return lines
