"""A language model's next token: R² against S of weak tilts, S as tilts get strong, and words that no voice says."""

import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import next_token as readings
from figures import style

LOOKS = {
    "Alice": ("black", "o"),
    "surely Alice": ("blue", "s"),
    "brevity": ("green", "^"),
    "asking": ("orange", "D"),
    "refusing": ("red", "v"),
    "letter k": ("purple", "P"),
    "random score": ("black", "x"),
}
SHOWN = ("Alice", "surely Alice", "brevity", "asking", "refusing")
"""Rewards whose new words are listed."""


def draw_weak(axis: Axes, dataset: xr.Dataset) -> None:
    """Every question and draw; the law is the diagonal."""
    axis.plot([0, 1], [0, 1], color="black", lw=0.8)
    measured = readings.limits(dataset)
    for name, (colour, marker) in LOOKS.items():
        points = (values.sel(reward=name).values.ravel() for values in (dataset.predicted, measured))
        axis.plot(*points, marker, color=style.COLOURS[colour], ms=4, mfc="none", label=name)
    axis.set(xlabel="predicted: R² of the reward", ylabel="measured: S(0+)", title="(a) Weak RL selects R²")
    axis.legend(loc="upper left")


def draw_strong(axis: Axes, dataset: xr.Dataset) -> None:
    """S against drift at the first question."""
    one = dataset.isel(question=0, seed=0)
    for (name, (colour, _)), dash in zip(LOOKS.items(), (*style.DASHES, "-", "--"), strict=False):
        here = one.sel(reward=name)
        axis.plot(here.total, here.selection_fraction, ls=dash, color=style.COLOURS[colour], label=name)
    axis.set(xscale="log", xlabel="drift KL(policy‖base), nats", ylabel="selection fraction S", ylim=(0, 1.02))
    axis.set_title("(b) Strong RL leaves the hull")


def draw_new(axis: Axes, dataset: xr.Dataset) -> None:
    """Tokens of the strongest tilts at the first question; in grey, the largest probability that a voice gives them."""
    one, row, names = dataset.isel(question=0, seed=0, drift=-1), 0, []
    for name in SHOWN:
        for text, share, most in readings.exceeding(one.sel(reward=name)):
            axis.barh(row, share, color=style.COLOURS[LOOKS[name][0]], height=0.7)
            axis.barh(row, most, color="0.6", height=0.3)
            names.append(f"{name}: {text}")
            row += 1
    axis.set_yticks(range(row), names, parse_math=False)
    axis.invert_yaxis()
    axis.set(xlabel="probability (grey: in any voice)", title="(c) What no voice would say")


if __name__ == "__main__":
    style.main("next_token", style.panels(3, 2.6, draw_weak, draw_strong, draw_new), __doc__)
