"""What is read from the map: its weak edge, its boundaries, and what the policy says at some places."""

from collections.abc import Iterable

import numpy as np
import xarray as xr

from experiments.claims.persona_gain import curve
from experiments.claims.weak_limit import extrapolated
from experiments.shared import oracle, terminal
from experiments.shared.claim import ROUNDING, Claim, Kind, at_most, drawn, grouped, near
from toypersona import datasets, detection, transcripts
from toypersona.measures import boundaries

RESIDUAL = 1e-2
"""Part of any prompt's own move by which a step of natural gradient may miss what it solves."""

SATURATED = 0.99
"""Largest weight of a persona from which gates are so sure that nothing tells how they should move."""

VANILLA = "vanilla/both"
"""Plain policy gradient on all parameters."""

ONE_NUMBER, TOLD = 0.01, 0.05
"""S(0+) by which one persona gain for the whole curve may miss, and by which it has to differ from the tilt's, or
nothing is learnt from it."""

READING = 1e-3
"""Part of a boundary by which two solvers may differ in it."""

MANY, LOW, LOWEST = 10_000, 0.08, 0.05
"""Samples of the detectable boundary that is predicted, strengths up to which the lowest order is held against it, and
part of it by which that may miss."""

WEAK = 0.2
"""The drift of weak RL grows as s²: by no more than this may it differ between the two weakest strengths."""


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The statements that the map has to satisfy."""
    edges = {
        "Weak edge of the tilt: S(0+) = cos² of the angle": _weak_edge,
        "Weak edge of vanilla gradient: S(0+) = R² of its direction": _vanilla_edge,
        "Weak edge of vanilla gradient: S(0+) by its persona gain": _gain,
    }
    weak = edge_is_weak(dataset)
    return [
        *(each for heading, edge in edges.items() if weak for each in grouped(heading, edge(dataset))),
        *grouped("Boundaries of the tilt, first seed: against SciPy's", _tilt_boundaries(dataset)),
        *grouped(f"Strength from which {MANY:,} samples can tell the tilt from every mix", _detectable(dataset)),
        *grouped("Training of gates only", _gates_only(dataset)),
        *grouped("Natural gradient, before gates saturate", [_natural(dataset)]),
    ]


def _gates_only(dataset: xr.Dataset) -> list[Claim]:
    """Of policies that have gates."""
    rules = [rule for rule in dataset.rule.values if rule.endswith("/gates")]
    if not rules:
        return []
    off = dataset.hull_distance.sel(rule=rules)
    return [at_most("theorem", "largest hull distance, nats (bound: rounding)", ROUNDING, off)]


def _natural(dataset: xr.Dataset) -> Claim:
    rules = [rule for rule in dataset.rule.values if rule.startswith("natural/")]
    natural = dataset[["residual", "largest_weight"]].sel(rule=rules)
    at = natural.stack(at=natural.residual.dims)
    return solved(at.residual[(at.largest_weight < SATURATED).values])


def solved(residual: xr.DataArray) -> Claim:
    """That natural gradient was what its name says, at every prompt, at nearly all records."""
    what = f"share of records up to which a step missed more than {RESIDUAL:.0%} of a prompt's own move"
    return at_most("theorem", what, 0.05, (residual.fillna(np.inf) > RESIDUAL).mean())


def _weak_edge(dataset: xr.Dataset) -> list[Claim]:
    """L1: S(0+) of the tilt is cos² of the angle."""
    tilt = dataset.sel(rule="tilt")
    return _edge("theorem", tilt, tilt.strength, _cos2(dataset), dataset.angle.values)


def _vanilla_edge(dataset: xr.Dataset) -> list[Claim]:
    """L1 for vanilla gradient: S(0+) is R² of its direction."""
    vanilla = dataset.sel(rule=VANILLA)
    return _edge("theorem", vanilla, np.sqrt(vanilla.total), dataset.vanilla_limit, dataset.angle.values)


def _gain(dataset: xr.Dataset) -> list[Claim]:
    """One number for the whole curve, ``1/(1 + kappa² tan²)``, where that is not the tilt's."""
    vanilla, law = dataset.sel(rule=VANILLA), gain_law(dataset)
    # Whether draws are too different to tell is known before any step.
    alike = [
        drawn(
            "prediction", "", law.sel(angle=a), dataset.vanilla_limit.sel(angle=a), ONE_NUMBER, possible=(0, 1)
        ).can_tell
        for a in law.angle.values
    ]
    told = (abs(law - _cos2(dataset)).mean("seed").values > TOLD) & alike
    return _edge("prediction", vanilla, np.sqrt(vanilla.total), law, law.angle.values[told], ONE_NUMBER)


def gain_law(dataset: xr.Dataset) -> xr.DataArray:
    """S(0+) of vanilla gradient by its persona gain alone, at every angle and seed."""
    return curve(dataset.kappa, dataset.angle)


def _cos2(dataset: xr.Dataset) -> xr.DataArray:
    return np.cos(np.deg2rad(dataset.angle)) ** 2


def _edge(
    kind: Kind, rule: xr.Dataset, along: xr.DataArray, law: xr.DataArray, angles: Iterable[float], beside: float = 0.0
) -> list[Claim]:
    """S, extrapolated from the weakest records to none, is its law."""
    limit, missed = extrapolated(rule.selection_fraction, along, "strength")
    missed = missed + (rule.gap / rule.total).isel(strength=0)
    claims = []
    for angle in angles:
        wanted, seen, allowed = (values.sel(angle=angle) for values in (law, limit, missed))
        claims.append(drawn(kind, f"S(0+) at {angle:g}°", wanted, seen, allowed.mean() + beside, possible=(0, 1)))
    return claims


def edge_is_weak(dataset: xr.Dataset) -> bool:
    """Whether the drift still grows as s² between the two weakest strengths, as the law supposes."""
    total = dataset.total.sel(rule="tilt")[..., :2] / dataset.strength[:2] ** 2
    return bool((np.abs(total[..., 1] / total[..., 0] - 1) < WEAK).all())


def mixes(dataset: xr.Dataset) -> tuple[int, int]:
    """How many prompts have weights of their own, and how many personas there are: nobody knows the mix."""
    return dataset.sizes["prompt"], dataset.sizes["persona"]


def _detectable(dataset: xr.Dataset) -> list[Claim]:
    """It takes ``sqrt(2 (ln(1/alpha) + C (K - 1)/2) / n) / sin(theta)``, where that is weak and on the map.

    For the hull distance of weak RL is ``s² sin²(theta) / 2`` of a standardised reward.
    """
    tilt, nats = dataset.sel(rule="tilt"), detection.boundary(boundaries.ALPHA, *mixes(dataset)).nats
    seen = boundaries.from_dataset(tilt, mixes=mixes(dataset)).detectable.sel(samples=MANY, bound="middle")
    sine, strengths = np.sin(np.deg2rad(dataset.angle)), dataset.strength.values
    law = np.sqrt(2 * nats / MANY) / sine.where(sine > 0)
    return [
        drawn("theorem", f"at {angle:g}°", at, seen.sel(angle=angle), LOWEST * at, possible=(0, 2 * at))
        for angle, at in zip(dataset.angle.values, law.values, strict=True)
        if strengths[1] < at < min(strengths[-1], LOW)
    ]


def _tilt_boundaries(dataset: xr.Dataset) -> list[Claim]:
    """Half and vertex of the tilt, first seed, read from the map and from SciPy's curves at its strengths."""
    one, strengths = dataset.isel(seed=0), tuple(dataset.strength.values)
    hull = tuple(one[name].values for name in ("log_base", "log_personas", "log_prompts"))
    curves = [oracle.Tilt(reward, *hull).curves(strengths) for reward in one.reward_table.values]
    names = ["selection_fraction", "largest_weight"]
    measured = one[names].sel(rule="tilt").transpose("angle", "strength")
    exact = xr.Dataset(
        {n: measured[n].copy(data=values) for n, values in zip(names, np.swapaxes(curves, 0, 1), strict=True)}
    )
    read = [boundaries.from_dataset(each).sel(bound="middle") for each in (exact, measured)]
    claims, alone = [], 0
    for angle in dataset.angle.values:
        for name in ("half", "vertex"):
            law, seen = (float(each[name].sel(angle=angle)) for each in read)
            on_the_map = [0 < value < np.inf for value in (law, seen)]
            if all(on_the_map):
                claims.append(near("theorem", f"{name} boundary at {angle:g}°", law, seen, READING * law))
            elif any(on_the_map):
                alone += 1
    return [*claims, at_most("theorem", "boundaries that only one of the two has on the map", 0.0, alone)]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    angle = dataset.angle.sel(angle=30, method="nearest").item()
    tilt = dataset.sel(angle=angle, rule="tilt")
    at = boundaries.from_dataset(tilt, num_runs=_num_runs(dataset), mixes=mixes(dataset))
    known = boundaries.from_dataset(tilt).detectable
    noise = []
    if "noise" in at:
        where = _place(at.noise, axis="learning rate")
        noise = [f"At {angle:g}° REINFORCE on the gates alone locks onto a wrong persona in one run of ten {where}."]
    persona = str(tilt.persona.values[datasets.config_of(dataset)["helpful"]])
    half = _place(at.half, "up to", "at no strength", "at every strength")
    off_the_map = "The weakest strength is too strong for the law on the weak edge: start --strengths lower to test it."
    kappa = dataset.kappa
    lies = [f"{name} at {dataset.unprepared.sel(feature=name).mean().item():.0f}°" for name in dataset.feature.values]
    return [
        *([] if edge_is_weak(dataset) else [off_the_map]),
        f"Plain policy gradient has a persona gain of {kappa.mean().item():.2f} ({kappa.min().item():.2f} to "
        f"{kappa.max().item():.2f}; the tilt 1): a smaller one selects more.",
        f"Rewards as they are lie to the personas: {', '.join(lies)}; a persona's answers at 0°.",
        f"At {angle:g}° RL is mostly persona selection {half}; "
        f"{persona.capitalize()}'s vertex is reached {_place(at.vertex, 'at')}.",
        f"There, 100 samples could tell the policy from every mix of personas "
        f"{_place(at.detectable.sel(samples=100))}, 10 000 {_place(at.detectable.sel(samples=10_000))}; from a known "
        f"mix, 10 000 {_place(known.sel(samples=10_000))}.",
        *noise,
        f"Pretraining missed the true personas by {dataset.expert_divergence.max().item():.2g} nats per token at most "
        f"and the Bayes gates by {dataset.gate_divergence.max().item():.2g} nats.",
    ]


def _num_runs(dataset: xr.Dataset) -> float:
    """Runs of one prompt that tell as much as those of all prompts, each of which is a bandit of its own."""
    evenness = (np.exp(2 * dataset.log_prompts)).sum("prompt").max().item()
    return datasets.settings_of(dataset)["noise"]["num_runs"] / evenness


def _place(
    boundary: xr.DataArray, where: str = "from", at_once: str = "", never: str = "", *, axis: str = "strength"
) -> str:
    """A boundary with its 95% range over seeds; in words where it is off the map or anywhere on it."""
    low, middle, high = boundaries.over_draws(boundary)
    if low == 0 and np.isinf(high):
        return f"{where} a {axis} that is not known"
    if np.isinf(middle):
        return f"{never or f'at no {axis}'} of the map, in most draws"
    if middle == 0:
        return f"{at_once or f'at every {axis}'} of the map, in most draws"
    first = terminal.number(low, 2) if low else "the first"
    last = terminal.number(high, 2) if np.isfinite(high) else "beyond the map"
    return f"{where} {axis} {terminal.number(middle, 2)} ({first} to {last})"


def across(boundary: xr.DataArray, along: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Median, least and greatest of a boundary over the draws, nan where half of them do not have it on the map.

    A draw that never reaches it, or is beyond it from the start, counts: the range then ends at the edge of the map.
    """
    low, middle, high = (boundary.quantile(q, "seed", method="closest_observation") for q in (0.0, 0.5, 1.0))
    middle = middle.where(np.isfinite(middle) & (middle > 0))
    first, last = along.values[[0, -1]]
    return middle, low.clip(first, last), high.clip(first, last)


def lines_at(point: xr.Dataset, num: int) -> list[str]:
    """The first lines that a policy says at one point: one rule, strength, angle and seed of the map."""
    names = datasets.config_of(point)
    units, settings = names["units"], names["settings"]
    num_words, length = transcripts.num_words(units), settings["length"]
    prompts = names["prompts"][settings["seeds"].index(int(point.seed))]
    lines = []
    for prompt, number in zip(point.line_prompt.values[:num], point.line_response.values[:num], strict=True):
        response = transcripts.response_at(int(number), num_words, length)
        lines.append(transcripts.line(units, names["separator"], prompts[prompt], response, between=" › "))
    return lines
