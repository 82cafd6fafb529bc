"""What is read from the network: which laws survive without persona modules, and what its activations tell."""

import numpy as np
import xarray as xr
from scipy import stats

from experiments.claims.weak_limit import extrapolated
from experiments.shared.claim import Claim, at_most, drawn_at_most, grouped
from toypersona.measures import curves, equal_drift

EXACT = 1e-4
"""What three small steps may miss of S(0+)."""

PLAIN = ("SGD", "untrained features", "table", "mixture")
"""Walks of plain policy gradient: what differs is the parametrisation alone."""


def interval(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean over seeds, and half of its 95% interval (Student)."""
    num = values.sizes["seed"]
    return values.mean("seed"), values.std("seed", ddof=1) / np.sqrt(num) * stats.t.ppf(0.975, num - 1)


def middle_angle(dataset: xr.Dataset) -> float:
    """The angle nearest to 60 degrees, where the tilt selects a quarter."""
    return float(min(dataset.angle.values.tolist(), key=lambda degrees: abs(degrees - 60)))


def first_steps(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """S(0+) of each kind of rule by R² of its direction, and measured by three small steps."""
    return dataset.first_order, extrapolated(dataset.first_selection_fraction, dataset.drift, "drift")[0]


def tilt(dataset: xr.Dataset) -> xr.DataArray:
    """S(0+) of the tilt, cos² of the angle."""
    return np.cos(np.deg2rad(dataset.angle)) ** 2


def named_share(dataset: xr.Dataset) -> tuple[str, str]:
    """The networks of the smallest and the largest share of lines that name their speaker."""
    shares = [str(name) for name in dataset.network.values if str(name).endswith("of lines named")]
    return shares[0], shares[-1]


def gains(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """By how much S(0+) of plain gradient on the trained network exceeds others', paired by seed.

    With the hull of the true personas, which every network has: [seed, feature, angle].
    """
    few, many = named_share(dataset)
    limit = dataset.limit.sel(hull="truth")
    own = limit.sel(network=many, way="trained")
    compared = {
        "the tilt": tilt(dataset),
        "the same base on untrained features": limit.sel(network=many, way=untrained(dataset)),
        "a table of next words": limit.sel(network=many, way="table"),
    }
    if few != many:
        compared[f"a network with {few}"] = limit.sel(network=few, way="trained")
    return {
        name: (own - other).drop_vars(["network", "way", "hull"], errors="ignore") for name, other in compared.items()
    }


def untrained(dataset: xr.Dataset) -> str:
    """The way whose features are those of the network before any training."""
    return str(dataset.way.values[0])


def halves(dataset: xr.Dataset) -> xr.DataArray:
    """Nats at which S falls through 1/2 [walked, walk, seed]; 0 where it is below from the first step on."""
    spent = equal_drift.half_spent(dataset)
    below = dataset.selection_fraction.isel(record=0, drop=True) < 0.5
    return spent.where(~below, 0.0)


def stream_correlations(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Spearman's correlation of the distance off the persona plane with what else was measured on the walks, by seed.

    With total drift, and with hull distance and novelty, total drift taken out.
    """
    walks = dataset[["total", "hull_distance", "novelty"]].sel(walk=dataset.rule.values).rename(walk="rule")
    together = xr.merge([walks, dataset[["off", "along"]]], join="exact").stack(place=("walked", "rule", "record"))
    off, total = together.off, together.total
    return {
        "total drift": curves.rank_correlation(off, total, "place"),
        "hull distance, total drift taken out": curves.partial_rank_correlation(
            off, together.hull_distance, total, "place"
        ),
        "novelty, total drift taken out": curves.partial_rank_correlation(off, together.novelty, total, "place"),
    }


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What holds without modules, and what does not."""
    return [
        *grouped("L1 in a network: S(0+) = R² of the rule's own direction", _first(dataset)),
        *grouped("Persona gain: S(0+) of plain gradient less that of others, true personas", _gains(dataset)),
        *grouped("Stronger RL: nats at which half of the drift is no selection", _halves(dataset)),
        *grouped("Activations, and a prompt that was not read", _inside(dataset)),
    ]


def _first(dataset: xr.Dataset) -> list[Claim]:
    predicted, measured = first_steps(dataset)
    names = {"vanilla": "SGD", "adam": "Adam", "natural": "natural gradient"}
    off = abs(predicted - measured)
    steps = [at_most("theorem", f"|S(0+) - R²|, {names[kind]}, largest", EXACT, off.sel(kind=kind)) for kind in names]
    damped = abs(predicted.sel(kind="natural") - np.cos(np.deg2rad(dataset.walked)) ** 2)
    return [
        *steps,
        at_most("prediction", "|S(0+) - cos²|, natural gradient: more parameters than next words", 0.1, damped),
    ]


def _gains(dataset: xr.Dataset) -> list[Claim]:
    at, made = middle_angle(dataset), []
    for name, gain in gains(dataset).items():
        for feature in dataset.feature.values:
            one = gain.sel(angle=at, feature=feature)
            made.append(
                drawn_at_most(
                    "prediction", f"less {name}, {feature}, {at:g} degrees: minus the gain", 0.0, -one, possible=(-1, 1)
                )
            )
    return made


def _halves(dataset: xr.Dataset) -> list[Claim]:
    spent, angle = halves(dataset), float(dataset.walked.values[0])
    ratio = lambda walk: spent.sel(walk=walk) - spent.sel(walk="SGD")  # noqa: E731
    return [
        drawn_at_most(
            "prediction", f"{walk} less SGD on the network, {angle:g} degrees, nats", 0.0, ratio(walk).sel(walked=angle)
        )
        for walk in ("untrained features", "table")
    ]


def _inside(dataset: xr.Dataset) -> list[Claim]:
    tell, read = stream_correlations(dataset), dataset.readable
    own, *others = (read.sel(reader=reader, held_out="histories") for reader in dataset.reader.values)
    return [
        *(
            drawn_at_most("prediction", f"R² at held-out histories: {name} less the network", 0.0, other - own)
            for name, other in zip(dataset.reader.values[1:], others, strict=True)
        ),
        drawn_at_most(
            "prediction",
            "minus Spearman's correlation of the distance off the persona plane with total drift",
            -0.7,
            -tell["total drift"],
        ),
        drawn_at_most(
            "finding",
            "KL at a prompt that was not read, less that of a network that reads no prompt, nats",
            0.0,
            dataset.unseen - dataset.others,
        ),
    ]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    return []
