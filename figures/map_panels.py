"""The panels of the map: selection over strength and angle, boundaries, laws of its edge, and what is said there."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from experiments.claims import phase_diagram as readings
from figures import style
from toypersona.measures import boundaries

PLACES = ((30.0, 0.1), (30.0, 1.6), (30.0, 12.0), (75.0, 1.6), (75.0, 12.0))
"""(angle, strength) of the printed lines; the nearest recorded point is taken."""

BOUNDARIES = {
    "half: S = ½": (lambda d: d.half, "white", "-"),
    "vertex: one persona, w* ≥ 0.99": (lambda d: d.vertex, style.COLOURS["orange"], "--"),
    "100 samples can tell": (lambda d: d.detectable.sel(samples=100), style.COLOURS["purple"], "-."),
    "10 000 samples can tell": (lambda d: d.detectable.sel(samples=10_000), style.COLOURS["purple"], ":"),
}


def draw_map(axis: Axes, dataset: xr.Dataset, rule: str) -> None:
    """Selection fraction over strength and angle for one rule, averaged over seeds, with its boundaries."""
    one = dataset.sel(rule=rule)
    shade = one.selection_fraction.mean("seed")
    mesh = axis.pcolormesh(one.strength, one.angle, shade, vmin=0, vmax=1, shading="nearest", rasterized=True)
    mesh.set_edgecolor("face")
    found = boundaries.from_dataset(one, mixes=readings.mixes(dataset)).sel(bound="middle")
    outline = [withStroke(linewidth=2.6, foreground="black")]
    for label, (take, colour, dash) in BOUNDARIES.items():
        _draw_boundary(axis, take(found), one.strength, dash, color=colour, lw=1.5, label=label, path_effects=outline)
    axis.set(xscale="log", xlim=(one.strength[0], one.strength[-1]), yticks=one.angle)
    axis.set(xlabel="strength s", ylabel="angle of the reward, degrees")
    axis.legend()


def draw_tilt(axis: Axes, dataset: xr.Dataset) -> None:
    """The tilt's map with the places whose lines are printed."""
    draw_map(axis, dataset, "tilt")
    axis.set(xlabel="strength s = 1/β", ylim=_angles(dataset))
    for letter, place in places(dataset).items():
        here = _at(dataset, place)
        mark = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "black", "lw": 0.6}
        axis.text(float(here.strength), float(here.angle), letter, ha="center", va="center", fontsize=6.5, bbox=mark)


def _angles(dataset: xr.Dataset) -> tuple[float, float]:
    """From the lower edge of the map to its upper one: half a step beyond the angles."""
    angles = dataset.angle.values
    first, last = (angles[1] - angles[0]) / 2, (angles[-1] - angles[-2]) / 2
    return angles[0] - first, angles[-1] + last


def _draw_boundary(
    axis: Axes, values: xr.DataArray, along: xr.DataArray, dash: str, *, color: str, **look: Any
) -> None:
    """Median and range over all draws: where one does not reach the boundary the range runs to the edge."""
    middle, low, high = readings.across(values, along)
    axis.plot(middle, values.angle, dash, color=color, **look)
    axis.fill_betweenx(values.angle, low, high, color=color, alpha=0.25, lw=0)


def draw_weak_edge(axis: Axes, dataset: xr.Dataset) -> None:
    """The laws on the map's left edge: cos² of the tilt, and vanilla gradient's by its persona gain."""
    tilt = dataset.sel(rule="tilt").isel(strength=0)
    angles = np.linspace(0, 90, 200)
    axis.plot(np.cos(np.deg2rad(angles)) ** 2, angles, color="black", label="law: cos²")
    middle = tilt.selection_fraction.mean("seed")
    axis.plot(middle, tilt.angle, "o", color=style.COLOURS["red"], ms=4, label=f"tilt, s = {tilt.strength.item():g}")
    kappa = dataset.kappa.mean().item()
    blue = style.COLOURS["blue"]
    axis.plot(readings.curve(kappa, angles), angles, color=blue, label=f"law: κ = {kappa:.2f}")
    vanilla = dataset.selection_fraction.sel(rule=readings.VANILLA).isel(strength=0).mean("seed")
    axis.plot(vanilla, vanilla.angle, "^", color=blue, ms=4, label="vanilla gradient")
    for i, (name, angle) in enumerate(unprepared(dataset).items()):
        axis.plot([1.03, 1.09], [angle, angle], color="black", lw=0.8, clip_on=False)
        shift = {"xytext": (2, 3 * (i % 2) - 1.5), "textcoords": "offset points"}
        axis.annotate(name[:9], (1.09, angle), **shift, fontsize=5, va="center", annotation_clip=False)
    axis.set(xlabel="selection fraction S", xlim=(-0.03, 1.03), ylim=_angles(dataset), yticks=tilt.angle)
    axis.set_xticks([0.0, 0.5, 1.0], ["0", "½", "1"])
    axis.set_ylabel("angle of the reward, degrees")
    axis.legend()


def unprepared(dataset: xr.Dataset) -> dict[str, float]:
    """Where on the map rewards lie as they are, degrees, from the least."""
    means = dataset.unprepared.mean(["angle", "seed"]).to_series().sort_values()
    first, last = dataset.angle.values[[0, -1]]
    return {str(name).rpartition(":")[2]: float(angle) for name, angle in means.items() if first <= angle <= last}


def draw_noise(axis: Axes, dataset: xr.Dataset) -> None:
    """The learning rate from which REINFORCE on the gates locks onto a wrong persona in one run of ten."""
    noise = noise_boundary(dataset)
    _draw_boundary(axis, noise, dataset.learning_rate, "s-", color=style.COLOURS["green"], ms=3)
    axis.set(xscale="log", xlim=dataset.learning_rate.values[[0, -1]], xlabel="learning rate")
    axis.set(ylabel="angle of the reward, degrees", ylim=_angles(dataset), yticks=noise.angle)
    style.ticks(axis.xaxis, dataset.learning_rate.values[[0, -1]])


def noise_boundary(dataset: xr.Dataset) -> xr.DataArray:
    """The learning rate [angle, seed] from which one run in ten settles on a wrong persona."""
    return boundaries.from_dataset(dataset[["noise_wrong"]]).noise.sel(bound="middle")


def draw_simplex(axis: Any, dataset: xr.Dataset) -> None:
    """The path of the nearest persona mix, averaged over prompts' draws, as the strength grows."""
    tilt = dataset.sel(rule="tilt").mean(["seed", "prompt"])
    angles = dict.fromkeys(float(tilt.angle.sel(angle=angle, method="nearest")) for angle in (0.0, 30.0, 60.0, 90.0))
    for angle, colour, dash in zip(angles, style.COLOURS.values(), style.DASHES, strict=False):
        path = tilt.weights.sel(angle=angle)
        axis.plot(*path.transpose("persona", "strength").values, dash, color=colour, label=f"{float(path.angle):g}°")
        axis.plot(*path.isel(strength=-1).values[:, None], "o", color=colour, ms=3)
    for name, set_label in zip(tilt.persona.values, (axis.set_tlabel, axis.set_llabel, axis.set_rlabel), strict=True):
        set_label(name.capitalize())
    for side in (axis.taxis, axis.laxis, axis.raxis):
        side.set_ticks([])
        side.set_label_position("corner")
    axis.legend()


def places(dataset: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Different recorded places of the printed lines by letter: on a coarse grid some fall together."""
    recorded = dict.fromkeys((float(here.angle), float(here.strength)) for here in (_at(dataset, p) for p in PLACES))
    return dict(zip("ABCDE", recorded, strict=False))


def _at(dataset: xr.Dataset, place: tuple[float, float]) -> xr.Dataset:
    """The recorded point of the tilt nearest to (angle, strength)."""
    return dataset.sel(rule="tilt").sel(angle=place[0], strength=place[1], method="nearest")


def print_lines(axis: Axes, dataset: xr.Dataset) -> None:
    """What the policy says at the lettered places."""
    columns = {}
    for letter, place in places(dataset).items():
        here = _at(dataset.isel(seed=0), place)
        angle, strength, fraction = (float(here[name]) for name in ("angle", "strength", "selection_fraction"))
        columns[f"{letter}  {angle:g}°, s={strength:.2g}, S={fraction:.2f}"] = readings.lines_at(here, 6)
    style.columns(axis, columns)
