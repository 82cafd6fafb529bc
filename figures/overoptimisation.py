"""Gold and proxy against the root of the drift, what the drift is made of, and best of n against its bound."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from figures import style
from toypersona import datasets
from toypersona.measures import boundaries

NAME = "overoptimisation"
LOOKS = {"tilt": "black", "policy gradient": "blue", "best of n": "orange"}
TITLES = {"normal": "normal errors", "words": "normal, by words", "student": "heavy tails (Student t₂)"}


def draw_paid(axis: Axes, dataset: xr.Dataset, error: str) -> None:
    """Gold and proxy along all three ways, in the first draw; where gold turns over and where half is left."""
    one = dataset.sel(error=error).isel(seed=0, world=0)
    half, turn = boundaries.half_spent(one) ** 0.5, boundaries.turn_spent(one, "gold") ** 0.5
    for way, colour in LOOKS.items():
        here, shade = one.sel(way=way), style.COLOURS[colour]
        root = np.sqrt(here.total)
        axis.plot(root, here.gold, "-", color=shade, label="gold" if way == "tilt" else None)
        axis.plot(root, here.proxy, ":", color=shade, lw=0.9, label="proxy" if way == "tilt" else None)
        for place, marker in ((half.sel(way=way).item(), "o"), (turn.sel(way=way).item(), "v")):
            if np.isfinite(place):
                axis.plot(place, np.interp(place, root, here.gold), marker, color=shade, ms=4)
    axis.set(xlabel="√KL(policy‖base), √nats", ylabel="reward, standard deviations", title=TITLES[error])


def draw_fraction(axis: Axes, dataset: xr.Dataset, error: str) -> None:
    """Selection fraction along all three ways: every draw, and their mean at equal drift."""
    here = dataset.sel(error=error)
    for way, colour in LOOKS.items():
        shade = style.COLOURS[colour]
        for seed in here.seed.values:
            one = here.sel(way=way, seed=seed).isel(world=0)
            label = way if seed == here.seed.values[0] else None
            axis.plot(np.sqrt(one.total), one.selection_fraction, color=shade, lw=0.6, alpha=0.7, label=label)
    axis.axhline(0.5, color="black", lw=0.5)
    axis.set(xlabel="√KL(policy‖base), √nats", ylabel="selection fraction S", ylim=(0, 1.02))


def draw_bound(axis: Axes, dataset: xr.Dataset, nums: np.ndarray) -> None:
    """KL of best of n against its bound."""
    for error, dash in zip(TITLES, style.DASHES, strict=False):
        axis.plot(nums, dataset.sel(way="best of n", error=error).total.mean(("seed", "world")), ls=dash, label=error)
    axis.plot(nums, np.log(nums) - (nums - 1) / nums, "k:", label="ln n − (n−1)/n")
    axis.set(xscale="log", xlabel="n", ylabel="KL(best of n‖base), nats")
    axis.legend(loc="lower right", fontsize=5.5)


def draw_turns(axis: Axes, dataset: xr.Dataset) -> None:
    """Where gold turns over against where half of the drift is no longer selection, every draw."""
    half, turn = boundaries.half_spent(dataset) ** 0.5, boundaries.turn_spent(dataset, "gold") ** 0.5
    top = float(np.sqrt(dataset.total.max())) * 1.1
    for way, colour in LOOKS.items():
        x, y = (np.minimum(values.sel(way=way).values.ravel(), top) for values in (half, turn))
        axis.plot(x, y, "o", ms=2.5, color=style.COLOURS[colour], label=way)
    axis.plot([0, top], [0, top], "k:", lw=0.8)
    axis.set(xlabel="√KL where S = ½", ylabel="√KL of gold's peak")
    style.ticks(axis.yaxis, [0, 1, 2, 3, top])
    axis.yaxis.set_major_formatter(lambda value, _: "never" if value >= top - 1e-9 else f"{value:g}")


def main(data: Path, out: Path) -> None:
    """Draw all eight, errors as large as gold where there is a choice."""
    style.use()
    dataset = datasets.load(data / f"{NAME}.zarr")
    size = min(dataset["size"].values, key=lambda value: abs(value - 1))
    here = dataset.sel(size=size)
    nums = np.array(datasets.config_of(dataset)["settings"]["nums"])
    figure, axes = plt.subplots(2, 4, figsize=(style.PAGE, 3.6), layout="constrained")
    for i, error in enumerate(TITLES):
        draw_paid(axes[0, i], here, error)
        draw_fraction(axes[1, i], here, error)
    axes[0, 0].legend()
    axes[1, 0].legend(loc="upper right", fontsize=5.5)
    draw_bound(axes[0, 3], here, nums)
    draw_turns(axes[1, 3], dataset)
    style.save(figure, out, NAME)


if __name__ == "__main__":
    style.run(main, __doc__)
