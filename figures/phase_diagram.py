"""The map: what is left of selection at every strength and angle, the boundaries, and what the policy says there."""

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from experiments.shared.terminal import number
from figures import map_panels, style
from figures.pages import AROUND_MEDIAN, Page, Panel, lettered
from toypersona import datasets
from toypersona.measures import boundaries


def draw(dataset: xr.Dataset) -> dict[str, Any]:
    """The map and, on a page of its own, the same for every rule."""
    panels = [_edge(dataset), _map(dataset)]
    layout, ratios = "ab", [1.3, 3.4]
    if "noise_wrong" in dataset:
        panels.append(_noise(dataset))
        layout, ratios = layout + "c", [*ratios, 0.9]
    if dataset.sizes["persona"] == 3:
        panels.append(_simplex(dataset))
        layout, ratios = layout + "abcd"[len(layout)], [*ratios, 1.7]
    panels.append(_lines(dataset))
    layout += ";" + "abcde"[len(layout)] * len(layout)
    look = {"width_ratios": ratios, "height_ratios": [3.0, 1.0]}
    return {
        "": Page(
            "Where RL stops selecting among personas",
            lettered(*panels),
            layout,
            4.6,
            look,
            bare="bc" if "noise_wrong" in dataset else "b",
        ),
        "_rules": _rules(dataset),
    }


def _edge(dataset: xr.Dataset) -> Panel:
    draws = dataset.kappa.mean([name for name in dataset.kappa.dims if name != "seed"])
    least, most = float(draws.min()), float(draws.max())
    more = "more than" if most < 1 else "less than" if least > 1 else "more or less than"
    says = (
        "Selection fraction at the weakest strength, of the tilt and of vanilla gradient, means over draws; lines: "
        "cos² of the angle, and the law of the mean persona gain κ; the title: its range over "
        "draws. Ticks on the right: the angles of rewards as they are."
    )
    return Panel(
        map_panels.draw_weak_edge, f"Weak gradient selects {more} the tilt: κ = {least:.2f} to {most:.2f}", says
    )


def _map(dataset: xr.Dataset) -> Panel:
    angle = dataset.angle.sel(angle=30, method="nearest").item()
    tilt = dataset.sel(angle=angle, rule="tilt")
    half = boundaries.over_draws(boundaries.from_dataset(tilt).half)[1]
    if np.isinf(half):
        title = f"At {angle:g}° RL mostly selects at every strength"
    elif half == 0:
        title = f"At {angle:g}° RL selects less than half at every strength"
    else:
        title = f"At {angle:g}° RL is mostly selection up to s = {number(half, 2)}"
    says = (
        f"Selection fraction S of the tilt, mean over {dataset.sizes['seed']} draws, at {dataset.sizes['strength']} "
        f"strengths and {dataset.sizes['angle']} angles, with the boundaries from which S is below one half, one "
        "persona is left, and 100 or 10 000 samples show that the policy is no mix of personas. A–E: places of the "
        "lines printed below."
    )
    return Panel(map_panels.draw_tilt, title, says, AROUND_MEDIAN, scale="selection fraction S")


def _noise(dataset: xr.Dataset) -> Panel:
    angle = dataset.angle.sel(angle=30, method="nearest").item()
    rate = float(map_panels.noise_boundary(dataset).sel(angle=angle).median("seed"))
    title = f"At {angle:g}° noise misleads from rate {number(rate, 2)}"
    if rate == 0:
        title = f"At {angle:g}° noise misleads at every rate"
    elif np.isinf(rate):
        title = f"At {angle:g}° noise misleads at no rate"
    says = (
        f"The learning rate from which {datasets.settings_of(dataset)['noise']['num_runs']} runs of REINFORCE on the "
        "gates settle on a wrong persona in one of ten."
    )
    return Panel(map_panels.draw_noise, title, says, AROUND_MEDIAN)


def _simplex(dataset: xr.Dataset) -> Panel:
    end = dataset.weights.sel(rule="tilt").isel(angle=0, strength=-1).mean(["seed", "prompt"])
    name = str(end.idxmax().item()).capitalize()
    title = f"At {float(end.angle):g}° the mix ends {float(end.max()):.0%} {name}"
    says = "Weights of the nearest mix, mean over prompts and draws, as the strength grows; dots: the strongest."
    return Panel(map_panels.draw_simplex, title, says, projection="ternary")


def _lines(dataset: xr.Dataset) -> Panel:
    says = f"Prompt › response at the lettered places, the first lines that draw {int(dataset.seed[0])} says there."
    return Panel(map_panels.print_lines, "What is said at A–E", says)


def _rules(dataset: xr.Dataset) -> Page:
    """A map for each rule and what it trains."""
    rules = [str(rule) for rule in dataset.rule.values if rule != "tilt"]
    scopes = len({rule.partition("/")[2] for rule in rules})
    angle = dataset.angle.sel(angle=30, method="nearest").item()
    time = datasets.settings_of(dataset)["gradients"]["vanilla_time"] * datasets.config_of(dataset).get("pace", 1.0)
    panels = []
    for rule in rules:
        kind, _, scope = rule.partition("/")
        one = dataset.selection_fraction.sel(rule=rule, angle=angle).isel(strength=-1).mean("seed")
        knob = "strength" if kind != "vanilla" else f"time / {time:g} in the place of the strength"
        title = f"{kind} gradient, {scope}: at {angle:g}° S ends at {float(one):.2f}"
        says = f"As the map, of {kind} gradient on {scope}, by {knob}."
        panels.append(
            Panel(partial(map_panels.draw_map, rule=rule), title, says, AROUND_MEDIAN, "selection fraction S")
        )
    rows = len(rules) // scopes
    letters = "abcdefghijklmnopqrstuvwxyz"[: len(rules)]
    layout = ";".join(letters[row * scopes : (row + 1) * scopes] for row in range(rows))
    bare = "".join(letter for i, letter in enumerate(letters) if i % scopes)
    return Page("The map, rule by rule", lettered(*panels), layout, 4.6, one_key=True, bare=bare)


if __name__ == "__main__":
    style.main("phase_diagram", draw, __doc__)
