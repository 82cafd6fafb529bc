"""The eight panels on six questions of the trainers' issue trackers."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy import stats

from experiments.claims import rl_curves as readings
from figures import style
from figures.rl_curves_page import TRUE

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
ASKED = ("blue", "orange", "green", "purple", "red")
ENDS = ("black", "orange", "blue")
RULES = {
    "policy gradient": "blue",
    "GRPO": "red",
    "RLOO, KL in reward": "green",
    "paid by chance": "black",
}


def draw_negative(axis: Axes, dataset: xr.Dataset) -> None:
    """Share of negative batches against n KL, every draw, on the law."""
    product = dataset.path_drift * dataset.batch
    axis.plot(product.values.ravel(), dataset.negative.transpose(*product.dims).values.ravel(), "o", ms=2.5)
    at = np.geomspace(product.min().item(), product.max().item(), 200)
    axis.plot(at, stats.norm.cdf(-np.sqrt(at / 2)), "k-", lw=0.8, label="Φ(−√(n KL/2))")
    axis.set(xscale="log", xlabel="responses × KL, nats", ylabel="batches with KL below 0")
    axis.legend()


def draw_samplers(axis: Axes, dataset: xr.Dataset) -> None:
    """Mean k1 against the exact KL by who sampled, means over draws and their interval."""
    drift = dataset.path_drift.mean("seed")
    for who, colour in SAMPLERS.items():
        style.band(axis, drift, readings.k1(dataset).sel(sampler=who), colour, label=who, marker="o", ms=2.5)
    axis.axhline(0.0, color="0.5", lw=0.5)
    axis.set(xlabel="exact KL, nats", ylabel="mean k1, nats")
    axis.legend()


def draw_entropy(axis: Axes, dataset: xr.Dataset) -> None:
    """Entropy gained at the first record against Cov(r, surprise), every draw, by what is paid for (next panel)."""
    gained = readings.entropy_gained(dataset).isel(time=0)
    for index, name in enumerate(dataset.asked.values):
        at = dataset.surprise.sel(asked=name), gained.sel(asked=name)
        axis.plot(*at, "o", ms=3, color=style.COLOURS[ASKED[index % len(ASKED)]], label=name)
    axis.axhline(0.0, color="0.5", lw=0.5)
    axis.axvline(0.0, color="0.5", lw=0.5)
    axis.set_xscale("symlog", linthresh=0.1)
    axis.set_yscale("symlog", linthresh=0.01)
    axis.margins(0.1)
    axis.set(xlabel="Cov(r, −log π₀), nats", ylabel="entropy gained, nats", xlim=(-0.7, 3))
    axis.legend()


def draw_broader(axis: Axes, dataset: xr.Dataset) -> None:
    """Entropy gained along policy gradient against the drift, means over draws and their interval."""
    gained, drift = readings.entropy_gained(dataset), dataset.entropy_drift.mean("seed")
    for index, name in enumerate(dataset.asked.values):
        look = {"label": name, "marker": "o", "ms": 2.5}
        style.band(axis, drift.sel(asked=name), gained.sel(asked=name), ASKED[index % len(ASKED)], **look)
    axis.axhline(0.0, color="0.5", lw=0.5)
    axis.set(xlabel="KL, nats", ylabel="entropy gained, nats")
    axis.legend()


def draw_pulls(axis: Axes, dataset: xr.Dataset) -> None:
    """By how much the mean gradient of each penalty misses that of KL, means over draws and their interval."""
    drift = dataset.path_drift.mean("seed")
    for way, colour in WAYS.items():
        missed = dataset.pull_missed.sel(way=way, target=TRUE)
        style.band(axis, drift, missed, colour, label=way, marker="o", ms=2.5)
    axis.set(xscale="log", xlabel="exact KL, nats", ylabel="missed, of KL's gradient")
    axis.legend()


def draw_ends(axis: Axes, dataset: xr.Dataset) -> None:
    """Where each leash ends under the graded reward, by coefficient, means over draws and their interval."""
    for end, colour, dash in zip(dataset.end.values, ENDS, style.DASHES, strict=False):
        style.band(
            axis, dataset.beta, dataset.end_drift.sel(paid="graded", end=end), colour, dash, end, marker="o", ms=3
        )
    axis.set(xscale="log", yscale="log", xlabel="coefficient β", ylabel="KL where it ends, nats")
    style.ticks(axis.xaxis, dataset.beta.values)
    axis.legend()


def draw_flat(axis: Axes, dataset: xr.Dataset) -> None:
    """Reward along each rule against its drift, with intervals over draws, and the least drift that it needs."""
    share = dataset.rule_paid / dataset.most_paid
    mean = dataset[["rule_drift", "least"]].mean("seed")
    for rule, colour in RULES.items():
        look = {"label": rule, "marker": "o", "ms": 2, "lw": 0.8}
        style.band(axis, mean.rule_drift.sel(rule=rule), share.sel(rule=rule), colour, **look)
    needed = mean.least.sel(rule="policy gradient"), share.sel(rule="policy gradient").mean("seed")
    axis.plot(*needed, "k:", lw=1.0, label="least KL that it needs")
    axis.set(xlabel="KL, nats", ylabel="reward, of the most")
    axis.legend()


def draw_same(axis: Axes, dataset: xr.Dataset) -> None:
    """S, and reward and entropy in parts of those at the first angle, of tilts that spend the same; with intervals."""
    at = dataset.isel(drift=-1)
    measures = {
        "selection S": (at.selection_fraction, "red"),
        "reward, of that at 0°": (at.same_paid / at.same_paid.isel(angle=0), "black"),
        "entropy, likewise": (at.same_entropy / at.same_entropy.isel(angle=0), "blue"),
    }
    for name, (values, colour) in measures.items():
        style.band(axis, at.angle, values, colour, label=name, marker="o", ms=2.5)
    axis.set(xlabel="angle, degrees", ylim=(-0.05, 1.25))
    axis.legend()
