"""The map: what is left of selection at every strength and angle, the boundaries, and what the policy says there."""

from typing import Any

import matplotlib.pyplot as plt
import mpltern  # noqa: F401  (registers the ternary projection)
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from experiments.claims import phase_diagram as readings
from figures import style
from toypersona import datasets
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
    curve = readings.curve(kappa, angles)
    blue = style.COLOURS["blue"]
    axis.plot(curve, angles, color=blue, label=f"law: κ = {kappa:.2f}")
    vanilla = dataset.selection_fraction.sel(rule=readings.VANILLA).isel(strength=0).mean("seed")
    axis.plot(vanilla, vanilla.angle, "^", color=blue, ms=4, label="vanilla gradient")
    # Where rewards lie as they are.
    for name, angle in dataset.unprepared.mean(["angle", "seed"]).to_series().items():
        if tilt.angle[0] <= angle <= tilt.angle[-1]:
            axis.plot([1.03, 1.08], [angle, angle], color="black", lw=0.8, clip_on=False)
            axis.text(1.1, angle, str(name).rpartition(":")[2][:10], fontsize=4.2, va="center")
    axis.set(xlabel="selection fraction S", xlim=(-0.03, 1.03), yticks=tilt.angle, yticklabels=[])
    axis.legend(loc="lower left", bbox_to_anchor=(-0.35, 1.0), fontsize=5.5)


def draw_noise(axis: Axes, dataset: xr.Dataset) -> None:
    """The learning rate from which REINFORCE on the gates locks onto a wrong persona in one run of ten."""
    noise = boundaries.from_dataset(dataset[["noise_wrong"]]).noise.sel(bound="middle")
    _draw_boundary(axis, noise, dataset.learning_rate, "s-", color=style.COLOURS["green"], ms=3)
    axis.set(
        xscale="log",
        xlim=dataset.learning_rate.values[[0, -1]],
        xlabel="learning rate",
        yticks=noise.angle,
        yticklabels=[],
    )
    axis.set_title("noise: REINFORCE\nlocks onto a\nwrong persona", fontsize=6.5)


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
    axis.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.25), title="angle of the reward", title_fontsize=6.5, ncols=2
    )


def _places(dataset: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Different recorded places of the printed lines by letter: on a coarse grid some fall together."""
    recorded = dict.fromkeys((float(here.angle), float(here.strength)) for here in (_at(dataset, p) for p in PLACES))
    return dict(zip("ABCDE", recorded, strict=False))


def _at(dataset: xr.Dataset, place: tuple[float, float]) -> xr.Dataset:
    """The recorded point of the tilt nearest to (angle, strength)."""
    return dataset.sel(rule="tilt").sel(angle=place[0], strength=place[1], method="nearest")


def print_lines(axis: Axes, dataset: xr.Dataset) -> None:
    """What the policy says at the lettered places."""
    axis.axis("off")
    look = {"va": "top", "transform": axis.transAxes, "in_layout": False}
    for i, (letter, place) in enumerate(_places(dataset).items()):
        here, x = _at(dataset.isel(seed=0), place), i / len(PLACES)
        angle, strength, fraction = (float(here[name]) for name in ("angle", "strength", "selection_fraction"))
        heading = f"{letter}  {angle:g}°, s = {strength:.2g}, S = {fraction:.2f}"
        axis.text(x, 1.0, heading, weight="bold", fontsize=6.3, **look)
        axis.text(x, 0.86, "\n".join(readings.lines_at(here, 6)), fontsize=5.2, linespacing=1.5, **look)


def draw(dataset: xr.Dataset) -> dict[str, Figure]:
    """The map and, on a page of its own, the same for every rule."""
    return {"": _draw_tilt(dataset), "_rules": _draw_rules(dataset)}


def _draw_tilt(dataset: xr.Dataset) -> Figure:
    figure = plt.figure(figsize=(style.PAGE, 4.4))
    columns = ((0.065, 0.12), (0.235, 0.345), (0.69, 0.09))
    edge, chart, noise = (figure.add_axes((left, 0.34, width, 0.54)) for left, width in columns)
    draw_map(chart, dataset, "tilt")
    draw_weak_edge(edge, dataset)
    if "noise_wrong" in dataset:
        draw_noise(noise, dataset)
    else:
        noise.set_axis_off()
    edge.set(
        ylabel="angle of the reward to the personas, degrees", yticklabels=[f"{a:g}" for a in dataset.angle.values]
    )
    edge.set_ylim(chart.get_ylim())
    noise.set_ylim(chart.get_ylim())
    chart.set(xlabel="strength s = 1/β", yticklabels=[])
    chart.legend(loc="lower left", bbox_to_anchor=(-0.08, 1.0), ncols=2, columnspacing=1.0, handlelength=2.4)
    for letter, place in _places(dataset).items():
        here = _at(dataset, place)
        mark = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "black", "lw": 0.6}
        chart.text(float(here.strength), float(here.angle), letter, ha="center", va="center", fontsize=6.5, bbox=mark)
    shades = figure.add_axes((0.59, 0.34, 0.012, 0.54))
    figure.colorbar(chart.collections[0], cax=shades, label="selection fraction S")
    if dataset.sizes["persona"] == 3:
        draw_simplex(figure.add_axes((0.815, 0.52, 0.14, 0.26), projection="ternary"), dataset)
    print_lines(figure.add_axes((0.02, 0.0, 0.97, 0.22)), dataset)
    return figure


def _draw_rules(dataset: xr.Dataset) -> Figure:
    rules = [rule for rule in dataset.rule.values if rule != "tilt"]
    scopes = len({rule.partition("/")[2] for rule in rules})
    figure, axes = plt.subplots(
        *(len(rules) // scopes, scopes),
        figsize=(style.PAGE, 4.4),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axis, rule in zip(axes.flat, rules, strict=True):
        draw_map(axis, dataset, rule)
        kind, scope = rule.split("/")
        axis.set_title(f"{kind} gradient, {scope}")
    time = datasets.settings_of(dataset)["gradients"]["vanilla_time"] * datasets.config_of(dataset).get("pace", 1.0)
    plt.setp(axes[:, 0], ylabel="angle, degrees")
    plt.setp(axes[1], xlabel=f"strength s (vanilla: time / {time:g})")
    figure.colorbar(axes[0, 0].collections[0], ax=axes, label="selection fraction S")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return figure


if __name__ == "__main__":
    style.main("phase_diagram", draw, __doc__)
