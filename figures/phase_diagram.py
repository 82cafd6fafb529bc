"""The map: what is left of selection at every strength and angle, the boundaries, and what the policy says there."""

from pathlib import Path

import matplotlib.pyplot as plt
import mpltern  # noqa: F401  (registers the ternary projection)
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from figures import style
from toypersona import datasets

NAME = "phase_diagram"
PLACES = ((30.0, 0.1), (30.0, 1.6), (30.0, 12.0), (75.0, 1.6), (75.0, 12.0))
"""(angle, strength) of the printed lines; the nearest recorded point is taken."""

BOUNDARIES = {
    "half: S = ½": (lambda d: d.half, "white", "-"),
    "vertex: one persona, w* ≥ 0.99": (lambda d: d.vertex, style.COLOURS["orange"], "--"),
    "100 samples can tell": (lambda d: d.detectable.sel(samples=100), style.COLOURS["purple"], "-."),
    "10 000 samples can tell": (lambda d: d.detectable.sel(samples=10_000), style.COLOURS["purple"], ":"),
}


def draw_map(axis: Axes, dataset: xr.Dataset, rule: str) -> None:
    """Selection fraction over strength and angle for one rule, averaged over worlds and seeds, with its boundaries."""
    one = dataset.sel(rule=rule)
    shade = one.selection_fraction.mean(["world", "seed"])
    mesh = axis.pcolormesh(one.strength, one.angle, shade, vmin=0, vmax=1, shading="nearest", rasterized=True)
    mesh.set_edgecolor("face")
    for label, (take, colour, dash) in BOUNDARIES.items():
        _draw_boundary(axis, take(one), label, colour, dash)
    axis.set(xscale="log", xlim=(one.strength[0], one.strength[-1]), yticks=one.angle)


def _draw_boundary(axis: Axes, values: xr.DataArray, label: str, colour: str, dash: str) -> None:
    """Mean over the draws that reach the boundary, and their range; angles that start beyond it are left out."""
    reached = values.where(np.isfinite(values) & (values > 0))
    middle = np.exp(np.log(reached).mean(["world", "seed"]))
    axis.plot(middle, values.angle, dash, color="black", lw=2.6)
    axis.plot(middle, values.angle, dash, color=colour, lw=1.5, label=label)
    low, high = reached.min(["world", "seed"]), reached.max(["world", "seed"])
    axis.fill_betweenx(values.angle, low, high, color=colour, alpha=0.25, lw=0)


def draw_weak_edge(axis: Axes, dataset: xr.Dataset) -> None:
    """The law on the map's left edge: S(0+) = cos²."""
    tilt = dataset.sel(rule="tilt").isel(strength=0)
    angles = np.linspace(0, 90, 200)
    axis.plot(np.cos(np.deg2rad(angles)) ** 2, angles, color="black", label="law: cos²")
    middle = tilt.selection_fraction.mean(["world", "seed"])
    axis.plot(middle, tilt.angle, "o", color=style.COLOURS["red"], ms=4, label=f"tilt, s = {tilt.strength.item():g}")
    axis.set(xlabel="selection fraction S", xlim=(-0.03, 1.03), yticks=tilt.angle, yticklabels=[])
    axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))


def draw_simplex(axis: Axes, dataset: xr.Dataset) -> None:
    """The path of the nearest persona mix, averaged over prompts' draws, as the strength grows."""
    tilt = dataset.sel(rule="tilt").isel(world=0).mean(["seed", "prompt"])
    for angle, colour, dash in zip((0.0, 30.0, 60.0, 90.0), style.COLOURS.values(), style.DASHES, strict=False):
        path = tilt.weights.sel(angle=angle, method="nearest")
        axis.plot(*path.transpose("persona", "strength").values, dash, color=colour, label=f"{float(path.angle):g}°")
        axis.plot(*path.isel(strength=-1).values[:, None], "o", color=colour, ms=3)
    for name, set_label in zip(tilt.persona.values, (axis.set_tlabel, axis.set_llabel, axis.set_rlabel), strict=True):
        set_label(name.capitalize())
    for side in (axis.taxis, axis.laxis, axis.raxis):
        side.set_ticks([])
        side.set_label_position("corner")
    axis.legend(loc="upper left", bbox_to_anchor=(0.78, 1.05), title="angle", title_fontsize=6.5)


def lines_at(dataset: xr.Dataset, angle: float, strength: float, num: int) -> list[str]:
    """Sample lines of the tilt, first world and seed, at the nearest point of the map."""
    names = datasets.config_of(dataset)
    here = dataset.sel(rule="tilt").isel(world=0, seed=0).sel(angle=angle, strength=strength, method="nearest")
    num_words = names["units"].index(".") + 1 if "." in names["units"] else len(names["units"])
    length = names["settings"]["length"]
    said = []
    for prompt, code in zip(here.line_prompt.values[:num], here.line_response.values[:num], strict=True):
        response = [names["units"][i] for i in np.unravel_index(code, (num_words,) * length)]
        response = response[: response.index(".")] if "." in response else response
        opening = [names["units"][i] for i in names["prompts"][0][prompt]]
        said.append(f"{names['separator'].join(opening)} › {names['separator'].join(response) or '(silence)'}")
    return said


def print_lines(axis: Axes, dataset: xr.Dataset) -> None:
    """What the policy says at the lettered places."""
    axis.axis("off")
    width = 1 / len(PLACES)
    for i, (angle, strength) in enumerate(PLACES):
        here = dataset.sel(rule="tilt", angle=angle, strength=strength, method="nearest")
        point = dataset.sel(rule="tilt").sel(angle=angle, strength=strength, method="nearest").isel(world=0, seed=0)
        heading = f"{'ABCDE'[i]}  {float(point.angle):g}°, s = {float(point.strength):.2g}, S = {float(point.selection_fraction):.2f}"
        axis.text(i * width, 1.0, heading, weight="bold", va="top", fontsize=6.3, transform=axis.transAxes)
        text = "\n".join(lines_at(dataset, angle, strength, 6))
        axis.text(i * width, 0.86, text, va="top", fontsize=5.6, linespacing=1.5, transform=axis.transAxes)
        del here


def main(data: Path, out: Path, name: str = NAME) -> None:
    """Draw the map and, on a page of its own, the same for every rule."""
    style.use()
    dataset = datasets.load(data / f"{NAME}.zarr")
    _draw_main(dataset, out, name)
    _draw_rules(dataset, out, f"{name}_rules")


def _draw_main(dataset: xr.Dataset, out: Path, name: str) -> None:
    figure = plt.figure(figsize=(style.PAGE, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(0.9, 2.4, 1.6), height_ratios=(3, 1.15))
    edge, chart = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    draw_map(chart, dataset, "tilt")
    draw_weak_edge(edge, dataset)
    edge.set(
        ylabel="angle of the reward to the personas, degrees", yticklabels=[f"{a:g}" for a in dataset.angle.values]
    )
    edge.set_ylim(chart.get_ylim())
    chart.set(xlabel="strength s = 1/β", yticklabels=[])
    chart.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    for letter, (angle, strength) in zip("ABCDE", PLACES, strict=True):
        here = dataset.sel(angle=angle, strength=strength, method="nearest")
        mark = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "black", "lw": 0.6}
        chart.text(float(here.strength), float(here.angle), letter, ha="center", va="center", fontsize=6.5, bbox=mark)
    figure.colorbar(chart.collections[0], ax=chart, label="selection fraction S", pad=0.01)
    if dataset.sizes["persona"] == 3:
        draw_simplex(figure.add_subplot(grid[0, 2], projection="ternary"), dataset)
    print_lines(figure.add_subplot(grid[1, :]), dataset)
    style.save(figure, out, name)


def _draw_rules(dataset: xr.Dataset, out: Path, name: str) -> None:
    rules = [rule for rule in dataset.rule.values if rule != "tilt"]
    figure, axes = plt.subplots(2, 3, figsize=(style.PAGE, 4.2), layout="constrained", sharex=True, sharey=True)
    for axis, rule in zip(axes.flat, rules, strict=True):
        draw_map(axis, dataset, rule)
        kind, scope = rule.split("/")
        axis.set_title(f"{kind} gradient, {scope}")
    axes[0, 0].set_ylabel("angle, degrees")
    axes[1, 0].set_ylabel("angle, degrees")
    time = datasets.config_of(dataset)["settings"]["gradients"]["vanilla_time"]
    for axis in axes[1]:
        axis.set_xlabel(f"strength s (vanilla: time / {time:g})")
    figure.colorbar(axes[0, 0].collections[0], ax=axes, label="selection fraction S")
    style.save(figure, out, name)


if __name__ == "__main__":
    given = style.arguments(__doc__)
    main(given.data, given.out)
