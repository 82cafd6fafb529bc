"""Rewards as they are: their angle to the personas by length, rewards per word at any length, and right answers."""

from typing import Any

import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import natural_rewards as readings
from figures import style
from figures.pages import SHADING, Page, Panel, lettered
from toypersona import datasets

LOOKS = {"words": "blue", "brevity": "green", "exploit": "red", "right answers": "purple", "log-odds": "black"}


def draw_angles(axis: Axes, dataset: xr.Dataset) -> None:
    """Degrees to the personas of every reward, all responses listed."""
    for name in dataset.reward.values:
        values, colour = dataset.angle_as_it_is.sel(reward=name), LOOKS.get(str(name), "orange")
        style.band(axis, dataset.length, values, colour, label=str(name), marker="o", ms=3)
    style.ticks(axis.xaxis, dataset.length.values)
    axis.set(xlabel="T, words of a response", ylabel="angle to the personas, degrees", ylim=(0, 92))
    axis.set_yticks([0, 30, 60, 90])
    axis.legend()


def draw_long(axis: Axes, dataset: xr.Dataset) -> None:
    """The share of the variance between personas at any length, and its law."""
    for name in dataset.per_word.values:
        one = dataset.sel(per_word=name)
        style.band(axis, dataset.long, one.between, LOOKS[str(name)], label=f"{name}, exact sums", marker="o", ms=3)
        if not datasets.config_of(dataset)["ends"]:
            law = one.between_law.mean("seed")
            axis.plot(dataset.long, law, color="black", lw=0.8, ls="--", label="T B/(T B + W)")
    axis.plot(dataset.length, dataset.share.sel(reward="words").mean("seed"), "k+", ms=6, label="words, R², listed")
    axis.set(xscale="log", xlabel="T, words of a response", ylabel="share of the variance", ylim=(0, 1))
    style.ticks(axis.xaxis, [1, 4, 16, 64, 256])
    axis.legend()


def draw_right(axis: Axes, dataset: xr.Dataset) -> None:
    """R² of right answers against what chance predicts."""
    share = dataset.share.sel(reward=readings.RIGHT)
    style.band(axis, dataset.length, share, "purple", label="right answers, measured", marker="o", ms=3)
    axis.plot(dataset.length, dataset.chance.mean("seed"), "k--", lw=0.8, label="law: leverage by chance")
    style.ticks(axis.xaxis, dataset.length.values)
    axis.set(xlabel="T, words of a response", ylabel="R²", ylim=(0, None))
    axis.legend()


def draw(dataset: xr.Dataset) -> dict[str, Any]:
    """Three panels."""
    draws = f"{dataset.sizes['seed']} draws"
    angles, last = dataset.angle_as_it_is.mean("seed").isel(length=-1), int(dataset.length[-1])
    near, far = angles.reward[int(angles.values.argmin())].item(), angles.reward[int(angles.values.argmax())].item()
    ends = f"{angles.sel(reward=near).item():.0f}° ({near}) to {angles.sel(reward=far).item():.0f}° ({far})"
    words = dataset.between.sel(per_word="words").mean("seed")
    first, end = (f"{float(words[i]):.2g} at T = {int(words.long[i])}" for i in (0, -1))
    grown = float(words[-1] - words[0])
    course = "grow with length" if grown > 0.02 else "fall with length" if grown < -0.02 else "stay"
    right = dataset.share.sel(reward=readings.RIGHT).mean("seed").isel(length=-1).item()
    law = "" if datasets.config_of(dataset)["ends"] else "; dashed: the law where answers never end"
    panels = (
        Panel(
            draw_angles,
            f"At T = {last} from {ends}",
            f"Degrees between rewards as they are and what depends on who is talking alone; all responses listed, "
            f"{draws}. 0°: a persona's own reward; 90°: one that tells no persona from another.",
            SHADING,
        ),
        Panel(
            draw_long,
            f"Words {course}: {first}, {end}",
            "The share of a reward's variance that is between personas, by exact sums over responses of any length, "
            f"{draws}; crosses: R² with all responses listed{law}.",
            SHADING,
        ),
        Panel(
            draw_right,
            f"Right answers: R² = {right:.2g} at T = {last}, about what chance gives"
            if abs(right - float(dataset.chance.mean("seed").isel(length=-1))) < 0.3 * right
            else f"Right answers: R² = {right:.2g} at T = {last}, not what chance gives",
            f"R² of rewards that pay for one right answer a prompt, {draws}, and what a random answer would have.",
            SHADING,
        ),
    )
    return {"": Page("Where rewards lie that nobody prepared", lettered(*panels), "abc", 3.0)}


if __name__ == "__main__":
    style.main("natural_rewards", draw, __doc__)
