"""Six panels, a question of the trainers' issue trackers each, and the page that answers them."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from experiments.claims import rl_curves as readings
from figures import style
from figures.rl_curves_page import TRUE, page

SAMPLERS = {
    "the policy": "black",
    "temperature 0.7": "blue",
    "temperature 1.3": "red",
    "an earlier policy": "orange",
    "the base": "purple",
}
WAYS = {
    "k2 in loss, by response": "black",
    "k2 in loss, by token": "green",
    "k3 in loss, by token": "orange",
    "k3 in loss, by response": "red",
}
ENDS = ("black", "orange", "blue")
RULES = {
    "policy gradient": "blue",
    "GRPO": "red",
    "RLOO, KL in reward": "green",
    "paid by chance": "black",
}


def draw_negative(axis: Axes, dataset: xr.Dataset) -> None:
    """Share of negative batches against n KL, every draw, on the law."""
    product = dataset.path_drift * dataset["size"]
    axis.plot(product.values.ravel(), dataset.negative.transpose(*product.dims).values.ravel(), "o", ms=2.5)
    at = np.geomspace(product.min().item(), product.max().item(), 200)
    axis.plot(at, stats.norm.cdf(-np.sqrt(at / 2)), "k-", lw=0.8, label="law: Φ(−√(n KL/2))")
    axis.set(xscale="log", xlabel="responses × KL, nats", ylabel="batches with KL below 0")
    axis.set_title("1. A negative KL is noise\nbelow some 5 nats a batch")
    axis.legend(loc="upper right")


def draw_samplers(axis: Axes, dataset: xr.Dataset) -> None:
    """Mean k1 against the exact KL by who sampled, means over draws."""
    mean = xr.Dataset({"k1": readings.k1(dataset), "drift": dataset.path_drift}).mean("seed")
    for who, colour in SAMPLERS.items():
        axis.plot(mean.drift, mean.k1.sel(sampler=who), "o-", ms=2.5, color=style.COLOURS[colour], label=who)
    axis.axhline(0.0, color="0.5", lw=0.5)
    axis.set(xlabel="exact KL(policy‖base), nats", ylabel="mean k1, nats")
    axis.set_title("1. ... or somebody else\nhas sampled")
    axis.legend(fontsize=5.5, loc="upper left")


def draw_entropy(axis: Axes, dataset: xr.Dataset) -> None:
    """Entropy gained at the first record against Cov(r, surprise), every draw, by what is paid for."""
    gained = readings.entropy_gained(dataset).isel(time=0)
    colours = [style.COLOURS[name] for name in ("blue", "orange", "green", "purple", "red")]
    for index, name in enumerate(dataset.asked.values):
        at = dataset.surprise.sel(asked=name), gained.sel(asked=name)
        axis.plot(*at, "o", ms=3, color=colours[index % len(colours)], label=name)
    axis.axhline(0.0, color="0.5", lw=0.5)
    axis.axvline(0.0, color="0.5", lw=0.5)
    axis.set_xscale("symlog", linthresh=0.1)
    axis.set_yscale("symlog", linthresh=0.01)
    axis.set(xlabel="Cov(reward, −log π₀), nats", ylabel="entropy gained, nats")
    axis.set_title("2. Entropy rises where what\nis paid is surprising")
    axis.legend(fontsize=5.5, loc="upper left")


def draw_pulls(axis: Axes, dataset: xr.Dataset) -> None:
    """By how much the mean gradient of each penalty misses that of KL, means over draws."""
    mean = dataset[["pull_missed", "path_drift"]].mean("seed")
    for way, colour in WAYS.items():
        missed = mean.pull_missed.sel(way=way, target=TRUE)
        axis.plot(mean.path_drift, missed, "o-", ms=2.5, color=style.COLOURS[colour], label=way)
    axis.set(xscale="log", xlabel="exact KL, nats", ylabel="missed, of KL's gradient")
    axis.set_title("3. k3's gradient is that of\nthe other divergence")
    axis.legend(fontsize=5.5, loc="upper left")


def draw_ends(axis: Axes, dataset: xr.Dataset) -> None:
    """Where each leash ends under the graded reward, by coefficient, means over draws."""
    mean = dataset.end_drift.sel(paid="graded").mean("seed")
    for end, colour, dash in zip(dataset.end.values, ENDS, style.DASHES, strict=False):
        axis.plot(mean.beta, mean.sel(end=end), "o", ls=dash, ms=3, color=style.COLOURS[colour], label=end)
    axis.set(xscale="log", yscale="log", xlabel="coefficient β", ylabel="KL where it ends, nats")
    style.ticks(axis.xaxis, dataset.beta.values)
    axis.set_title("4. The same β is three\ndifferent leashes")
    axis.legend(fontsize=5, loc="lower left")


def draw_flat(axis: Axes, dataset: xr.Dataset) -> None:
    """Drift along each rule against its reward, and the least that the reward needs, means over draws."""
    share = (dataset.rule_paid / dataset.most_paid).mean("seed")
    mean = dataset[["rule_drift", "least"]].mean("seed")
    for rule, colour in RULES.items():
        shade = style.COLOURS[colour]
        axis.plot(mean.rule_drift.sel(rule=rule), share.sel(rule=rule), "o-", ms=2, lw=0.8, color=shade, label=rule)
    needed = mean.least.sel(rule="policy gradient"), share.sel(rule="policy gradient")
    axis.plot(*needed, "k:", lw=1.0, label="least KL that it needs")
    axis.set(xlabel="KL(policy‖base), nats", ylabel="reward, of the most")
    axis.set_title("5. Drift goes on that no\nreward pays for")
    axis.legend(fontsize=5.5, loc="lower right")


PANELS = (draw_negative, draw_samplers, draw_entropy, draw_pulls, draw_ends, draw_flat)


def draw(dataset: xr.Dataset) -> dict[str, Figure | str]:
    """The panels, and the page."""
    return {"": style.panels(3, 4.4, *PANELS)(dataset), ".md": page(dataset)}


if __name__ == "__main__":
    style.main("rl_curves", draw, __doc__)
