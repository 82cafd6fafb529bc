"""A network without persona modules: weak RL by angle and by what it was trained on, stronger RL, and activations."""

from typing import Any

import xarray as xr

from experiments.claims import transformer as readings
from figures import network_panels, style
from figures.pages import BARS, SHADING, Page, Panel, lettered


def draw(dataset: xr.Dataset) -> dict[str, Any]:
    """Six panels."""
    makers = _angles, _gains, _laws, _walks, _readable, _stream
    panels = (make(dataset, f"{dataset.sizes['seed']} draws") for make in makers)
    page = Page("Does a network without persona modules select too?", lettered(*panels), "abc;def", 6.4)
    return {"": page}


def _angles(dataset: xr.Dataset, draws: str) -> Panel:
    at, usual = readings.middle_angle(dataset), readings.compared(dataset)[1]
    network = dataset.limit.sel(feature="feature", angle=at, network=usual, way="trained").mean("seed").item()
    title = (
        f"At {at:g}° the network's gradient selects {network:.2f}, the tilt {readings.tilt(dataset).sel(angle=at):.2f}"
    )
    says = (
        "Selection fraction of weak plain gradient on networks of which so many lines named their speaker, on "
        f"features of an untrained network, and on a table of next words, {draws}; dotted: the tilt."
    )
    return Panel(network_panels.draw_angles, title, says, SHADING)


def _gains(dataset: xr.Dataset, draws: str) -> Panel:
    at = readings.middle_angle(dataset)
    gains = {
        name: gain.sel(feature="feature", angle=at).mean("seed").item()
        for name, gain in readings.gains(dataset).items()
    }
    least = min(gains, key=lambda name: gains[name])
    title = f"Paid for the feature, the network selects more by {gains[least]:.2f} or more"
    if gains[least] <= 0:
        title = f"The network does not select more than {least}"
    says = (
        f"By how much the network's selection fraction exceeds that of others at {at:g}°, paired by draw, {draws}; for "
        "a reward of a feature and one of a number for every response."
    )
    return Panel(network_panels.draw_gains, title, says, BARS)


def _laws(dataset: xr.Dataset, draws: str) -> Panel:
    predicted, measured = readings.first_steps(dataset)
    off = float(abs(measured - predicted).max())
    says = (
        "Selection fraction of three small steps against R² of the rule's own direction, known before any step; a mark "
        f"for each rule, angle and each of {draws}."
    )
    return Panel(network_panels.draw_laws, f"The law holds in a network: off by {off:.1g} at most", says)


def _walks(dataset: xr.Dataset, draws: str) -> Panel:
    at = readings.carried_on(dataset)[0]
    halves = readings.halves(dataset).mean("seed")
    trained, not_so = (halves.sel(walk=walk).item() for walk in ("SGD", "untrained features"))
    title = f"Half is left at {trained:.1f} nats, on untrained features at {not_so:.1f}"
    says = f"Selection fraction of each rule at {at:g}° against the drift spent, means over {draws}."
    return Panel(network_panels.draw_walks, title, says)


def _readable(dataset: xr.Dataset, draws: str) -> Panel:
    read = dataset.readable.sel(held_out="histories").mean("seed")
    best, last = read.sel(reader="network").item(), read.isel(reader=-1)
    title = f"Activations tell who is talking: R² {best:.2f}"
    if best <= float(last):
        title = f"Activations tell no more than {last.reader.item()}: R² {best:.2f}"
    says = (
        "R² of reading who is talking by a linear map, at histories and at a prompt that the map was not fitted to, "
        f"from activations and from what else is known; {draws}."
    )
    return Panel(network_panels.draw_readable, title, says, BARS)


def _stream(dataset: xr.Dataset, draws: str) -> Panel:
    tell = {name: value.mean("seed").item() for name, value in readings.stream_correlations(dataset).items()}
    left = next(value for name, value in tell.items() if name.startswith("novelty, drift"))
    title = f"Activations move with drift ({tell['drift']:.2f}) more than with novelty ({left:.2f})"
    if abs(left) > 0.5 * abs(tell["drift"]):
        title = f"Activations move with drift ({tell['drift']:.2f}) and novelty ({left:.2f})"
    says = (
        f"Distance of activations off the plane of the personas against the drift spent, means over {draws}; in "
        "brackets rank correlations, with novelty once drift is taken out."
    )
    return Panel(network_panels.draw_stream, title, says)


if __name__ == "__main__":
    style.main("transformer", draw, __doc__)
