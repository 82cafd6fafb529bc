"""Rewards as they are: their angle to the personas by length, rewards per word at any length, and right answers."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import natural_rewards as readings
from figures import style

LOOKS = {"words": "blue", "brevity": "green", "exploit": "red", "right answers": "purple", "log-odds": "black"}


def _band(axis: Axes, values: xr.DataArray, along: str, colour: str, label: str) -> None:
    """The mean over draws and its 95% interval."""
    mean, error = values.mean("seed"), values.std("seed", ddof=1)
    half = 1.96 * error / np.sqrt(values.sizes["seed"])
    axis.plot(values[along], mean, "o-", ms=3, color=style.COLOURS[colour], label=label)
    axis.fill_between(values[along], mean - half, mean + half, color=style.COLOURS[colour], alpha=0.2, lw=0)


def draw_angles(axis: Axes, dataset: xr.Dataset) -> None:
    """Degrees to the personas of every reward, all responses listed."""
    for name in dataset.reward.values:
        _band(axis, dataset.angle_as_it_is.sel(reward=name), "length", LOOKS.get(str(name), "orange"), str(name))
    style.ticks(axis.xaxis, dataset.length.values)
    axis.set(xlabel="T, words of a response", ylabel="angle to the personas, degrees", ylim=(-30, 92))
    axis.set_yticks([0, 30, 60, 90])
    axis.set_title("(a) Rewards as they are")
    axis.legend(loc="lower left", ncol=2)


def draw_long(axis: Axes, dataset: xr.Dataset) -> None:
    """The share of the variance between personas at any length, and its law."""
    for name in dataset.per_word.values:
        one = dataset.sel(per_word=name)
        _band(axis, one.between, "long", LOOKS[str(name)], f"{name}, exact sums")
        if not readings.datasets.config_of(dataset)["ends"]:
            law = one.between_law.mean("seed")
            axis.plot(dataset.long, law, color="black", lw=0.8, ls="--", label="T B/(T B + W)")
    axis.plot(dataset.length, dataset.share.sel(reward="words").mean("seed"), "k+", ms=6, label="words, R², listed")
    axis.set(xscale="log", xlabel="T, words of a response", ylabel="share of the variance", ylim=(0, 1))
    style.ticks(axis.xaxis, [1, 4, 16, 64, 256])
    axis.set_title("(b) Per word, any length")
    axis.legend(loc="upper left")


def draw_right(axis: Axes, dataset: xr.Dataset) -> None:
    """R² of right answers against what chance predicts."""
    _band(axis, dataset.share.sel(reward=readings.RIGHT), "length", "purple", "right answers, measured")
    axis.plot(dataset.length, dataset.chance.mean("seed"), "k--", lw=0.8, label="law: leverage by chance")
    style.ticks(axis.xaxis, dataset.length.values)
    axis.set(xlabel="T, words of a response", ylabel="R²", ylim=(0, None))
    axis.set_title("(c) Right by chance")
    axis.legend(loc="upper right")


if __name__ == "__main__":
    style.main("natural_rewards", style.panels(3, 2.6, draw_angles, draw_long, draw_right), __doc__)
