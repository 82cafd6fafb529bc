"""Gold and proxy against the root of the drift, what the drift is made of, and best of n against its bound."""

import functools

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import overoptimisation as readings
from figures import style
from toypersona import datasets

LOOKS = {"tilt": "black", "policy gradient": "blue", "best of n": "orange"}
TITLES = {"normal": "normal errors", "words": "normal, by words", "student": "heavy tails (Student t₂)"}


def draw_paid(axis: Axes, dataset: xr.Dataset, error: str) -> None:
    """Gold and proxy along all three rules, in the first draw; where gold turns over and where half is left."""
    one = readings.as_large_as_gold(dataset).sel(error=error).isel(seed=0)
    turn, half = readings.turns(one)
    for rule, colour in LOOKS.items():
        here, shade = one.sel(rule=rule), style.COLOURS[colour]
        root = np.sqrt(here.total)
        axis.plot(root, here.gold, "-", color=shade, label="gold" if rule == "tilt" else None)
        axis.plot(root, here.proxy, ":", color=shade, lw=0.9, label="proxy" if rule == "tilt" else None)
        for place, marker in ((half.sel(rule=rule).item(), "o"), (turn.sel(rule=rule).item(), "v")):
            if np.isfinite(place):
                axis.plot(place, np.interp(place, root, here.gold), marker, color=shade, ms=4)
    axis.set(xlabel="√KL(policy‖base), √nats", ylabel="reward, standard deviations", title=TITLES[error])
    if error == "normal":
        axis.legend()


def draw_fraction(axis: Axes, dataset: xr.Dataset, error: str) -> None:
    """Selection fraction along all three rules, every draw."""
    here = readings.as_large_as_gold(dataset).sel(error=error)
    for rule, colour in LOOKS.items():
        shade = style.COLOURS[colour]
        for seed in here.seed.values:
            one = here.sel(rule=rule, seed=seed)
            label = rule if seed == here.seed.values[0] else None
            axis.plot(np.sqrt(one.total), one.selection_fraction, color=shade, lw=0.6, alpha=0.7, label=label)
    axis.axhline(0.5, color="black", lw=0.5)
    axis.set(xlabel="√KL(policy‖base), √nats", ylabel="selection fraction S", ylim=(0, 1.02))
    if error == "normal":
        axis.legend(loc="upper right", fontsize=5.5)


def draw_bound(axis: Axes, dataset: xr.Dataset) -> None:
    """KL of best of n against its bound."""
    nums = datasets.settings_of(dataset)["nums"]
    best = readings.as_large_as_gold(dataset).sel(rule="best of n").total.mean("seed")
    for error, dash in zip(TITLES, style.DASHES, strict=False):
        axis.plot(nums, best.sel(error=error), ls=dash, label=error)
    axis.plot(nums, dataset.best_of_n_bound, "k:", label="ln n − (n−1)/n")
    axis.set(xscale="log", xlabel="n", ylabel="KL(best of n‖base), nats")
    axis.legend(loc="lower right", fontsize=5.5)


def draw_turns(axis: Axes, dataset: xr.Dataset) -> None:
    """Where gold turns over against where half of the drift is no longer selection, every draw."""
    turn, half = readings.turns(dataset)
    top = float(np.sqrt(dataset.total.max())) * 1.1
    for rule, colour in LOOKS.items():
        x, y = (np.minimum(values.sel(rule=rule).values.ravel(), top) for values in (half, turn))
        axis.plot(x, y, "o", ms=2.5, color=style.COLOURS[colour], label=rule)
    axis.plot([0, top], [0, top], "k:", lw=0.8)
    axis.set(xlabel="√KL where S = ½", ylabel="√KL of gold's peak")
    style.ticks(axis.yaxis, [0, 1, 2, 3, top])
    axis.yaxis.set_major_formatter(lambda value, _: "never" if value >= top - 1e-9 else f"{value:g}")


PANELS = (
    *(functools.partial(draw_paid, error=error) for error in TITLES),
    draw_bound,
    *(functools.partial(draw_fraction, error=error) for error in TITLES),
    draw_turns,
)

if __name__ == "__main__":
    style.main("overoptimisation", style.panels(4, 3.6, *PANELS), __doc__)
