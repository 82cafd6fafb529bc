"""What is read from the network: which laws survive without persona modules, and what its activations tell."""

import numpy as np
import xarray as xr

from experiments.claims.weak_limit import extrapolated
from experiments.shared.claim import Claim, at_most, drawn_at_most, grouped, mean_of
from toypersona import datasets
from toypersona.measures import curves, equal_drift

EXACT = 1e-5
"""What three small steps may miss of S(0+)."""

ORTHOGONAL = {"feature": "paid for the feature", "noise": "paid for single answers"}
"""What rewards pay for beside the personas: the feature, or a number for every response."""


def middle_angle(dataset: xr.Dataset) -> float:
    """The angle nearest to 60 degrees, where the tilt selects a quarter."""
    return dataset.angle.sel(angle=60, method="nearest").item()


def first_steps(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """S(0+) of each kind of rule by R² of its direction, and measured by three small steps."""
    return dataset.first_order, extrapolated(dataset.first_selection_fraction, dataset.drift, "drift")[0]


def tilt(dataset: xr.Dataset) -> xr.DataArray:
    """S(0+) of the tilt, cos² of the angle."""
    return np.cos(np.deg2rad(dataset.angle)) ** 2


def compared(dataset: xr.Dataset) -> tuple[str, str]:
    """The network of the fewest lines that name their speaker, and the one with which RL goes on."""
    return str(dataset.network.values[0]), f"{datasets.settings_of(dataset)['network']['tagged']:g} of lines named"


def gains(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """By how much S(0+) of plain gradient on the network exceeds others', paired by seed [seed, feature, angle].

    With the hull of the true personas, which every network has.
    """
    few, usual = compared(dataset)
    own = dataset.limit.sel(network=usual, way="trained", drop=True)
    others = {
        "the tilt": tilt(dataset),
        "itself on untrained features": dataset.limit.sel(network=usual, way=untrained(dataset), drop=True),
        "a table of next words": dataset.limit.sel(network=usual, way="table", drop=True),
        f"a network with {few}": dataset.limit.sel(network=few, way="trained", drop=True),
    }
    return {name: own - other for name, other in others.items() if few != usual or "network" not in name}


def untrained(dataset: xr.Dataset) -> str:
    """The way that trains the features of the network as it was before pretraining."""
    return str(dataset.way.values[0])


def carried_on(dataset: xr.Dataset) -> tuple[float, xr.Dataset]:
    """The walks at the angle nearest to 30 degrees, and that angle."""
    walks = dataset.sel(walked=30, method="nearest")
    return walks.walked.item(), walks


def halves(dataset: xr.Dataset) -> xr.DataArray:
    """Nats at which S falls through 1/2 [walk, seed] on the walks ``carried_on``.

    0 where it is below from the first step on; where it never falls, the drift at the end, which is less.
    """
    walks = carried_on(dataset)[1]
    spent, end = equal_drift.half_spent(walks), walks.total.isel(record=-1, drop=True)
    below = walks.selection_fraction.isel(record=0, drop=True) < 0.5
    return xr.ufuncs.minimum(spent, end).where(~below, 0.0)


def stream_correlations(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Rank correlation of the distance off the persona plane with what else was measured on the walks, by seed.

    Over rules and records together everything grows with the number of steps: so also over rules after equally many
    steps, mean of all, and what is left of novelty and hull distance once drift is taken out.
    """
    walks = dataset[["total", "novelty", "hull_distance"]].sel(walk=dataset.rule.values).rename(walk="rule")
    together = xr.merge([walks, dataset[["off"]]], join="exact")
    pooled, steps = together.stack(place=("walked", "rule", "record")), together.record.broadcast_like(together.off)
    by_rule = together.stack(place=("walked", "rule"))
    found = {"drift": curves.rank_correlation(pooled.off, pooled.total, "place")}
    found["the number of steps"] = curves.rank_correlation(
        pooled.off, steps.stack(place=("walked", "rule", "record")), "place"
    )
    for name in ("total", "novelty"):
        which = "drift" if name == "total" else name
        each = curves.rank_correlation(by_rule.off, by_rule[name], "place")
        found[f"{which} after equally many steps"] = each.mean("record")
    for name in ("novelty", "hull_distance"):
        left = curves.partial_rank_correlation(pooled.off, pooled[name], pooled.total, "place")
        found[f"{name.replace('_', ' ')}, drift taken out,"] = left
    return found


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What holds without modules, and what does not."""
    return [
        *grouped("L1 in a network: S(0+) = R² of the rule's own direction", _first(dataset)),
        *grouped("Persona gain: S(0+) of plain gradient less that of others, true personas", _gains(dataset)),
        *grouped("Stronger RL: nats at which half of the drift is no selection", _halves(dataset)),
    ]


def _first(dataset: xr.Dataset) -> list[Claim]:
    predicted, measured = first_steps(dataset)
    names = {"vanilla": "SGD", "adam": "Adam", "natural": "natural gradient"}
    off = abs(predicted - measured)
    return [at_most("theorem", f"|S(0+) - R²|, {names[kind]}, largest", EXACT, off.sel(kind=kind)) for kind in names]


def _gains(dataset: xr.Dataset) -> list[Claim]:
    at = middle_angle(dataset)
    return [
        drawn_at_most(
            "prediction",
            f"{name} less the network, {ORTHOGONAL[feature]}, {at:g} degrees",
            0.0,
            -gain.sel(angle=at, feature=feature),
            possible=(-1, 1),
        )
        for name, gain in gains(dataset).items()
        for feature in dataset.feature.values
        if feature == "feature" or "network" not in name
    ]


def _halves(dataset: xr.Dataset) -> list[Claim]:
    spent, angle = halves(dataset), carried_on(dataset)[0]
    sooner = spent.sel(walk="untrained features") - spent.sel(walk="SGD")
    most = float(spent.max())
    what = f"SGD on untrained features less SGD on the network, {angle:g} degrees"
    return [drawn_at_most("prediction", what, 0.0, sooner, possible=(-most, most))]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    few, usual = compared(dataset)
    at = middle_angle(dataset)
    ways = {"trained": "the network", untrained(dataset): "it on untrained features", "table": "a table"}
    said = []
    for feature in dataset.feature.values:
        here = dataset.limit.sel(angle=at, feature=feature)
        each = [f"{name} {mean_of(here.sel(network=usual, way=way))}" for way, name in ways.items()]
        each += [f"a network with {few} {mean_of(here.sel(network=few, way='trained'))}"] if few != usual else []
        said.append(
            f"{ORTHOGONAL[feature].capitalize()}, {at:g} degrees: weak plain gradient selects, tilt "
            f"{np.cos(np.deg2rad(at)) ** 2:.2f}, {', '.join(each)}."
        )
    pure = dataset.angle.values[0] == 0
    affine = dataset.limit.isel(angle=0, feature=0).sel(network=usual, way="trained")
    by_name = dataset.limit_by_name.sel(way="trained", angle=at, feature="feature")
    early = dataset.early_limit.sel(network=usual, angle=at, feature="feature")
    angle, walks = carried_on(dataset)
    spent, natural = halves(dataset), walks.first_order.sel(kind="natural")
    tell, misfit = stream_correlations(dataset), dataset.base_misfit.sel(network=usual)
    read, left = dataset.readable, walks.reading.sel(rule="SGD").isel(record=-1)
    return [
        *said,
        f"As the network was after {', '.join(str(step) for step in dataset.early.values)} steps of pretraining: "
        f"{', '.join(mean_of(early.sel(early=step)) for step in dataset.early.values)}; with the hull of those called "
        f"by name it selects {mean_of(by_name)}.",
        *(
            [f"A reward at 0 degrees: {mean_of(affine)} is selection; the rest leaves the hull at first order."]
            if pure
            else []
        ),
        f"Natural gradient, as damped here, at {angle:g} degrees: {mean_of(natural)}, the tilt "
        f"{np.cos(np.deg2rad(angle)) ** 2:.2f}.",
        f"Half of the drift is no selection, {angle:g} degrees, from so many nats on (where a walk ends, at least): "
        + ", ".join(f"{walk} {mean_of(spent.sel(walk=walk))}" for walk in dataset.walk.values)
        + ".",
        "Who is talking, read from the activations at histories (at a prompt) held out: "
        + "; ".join(
            f"{reader} R² {mean_of(read.sel(reader=reader, held_out='histories'))} "
            f"({mean_of(read.sel(reader=reader, held_out='prompt'))})"
            for reader in dataset.reader.values
        )
        + f"; the network's reading after SGD to the end {mean_of(left)}.",
        "Rank correlation of the distance off the persona plane: with "
        + ", ".join(f"{name} {mean_of(value)}" for name, value in tell.items())
        + ".",
        f"At a prompt that it never read the network is {mean_of(dataset.unseen)} nats off, {mean_of(dataset.seen)} "
        f"if it did; its mean law at the other prompts {mean_of(dataset.others)}.",
        f"The base is {mean_of(misfit.sel(span='truth'))} nats from mixes of the true personas, "
        f"{mean_of(misfit.sel(span='names'))} of itself called by names, "
        f"{mean_of(misfit.sel(span='own prompts'))} of itself at their own prompts.",
    ]
