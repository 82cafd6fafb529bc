"""Eight panels on six questions of the trainers' issue trackers, and the page that answers them."""

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
ASKED = [style.COLOURS[name] for name in ("blue", "orange", "green", "purple", "red")]
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
    axis.set_title("1. A negative KL:\nnoise below 5 nats")
    axis.legend(loc="upper right")


def draw_samplers(axis: Axes, dataset: xr.Dataset) -> None:
    """Mean k1 against the exact KL by who sampled, means over draws."""
    mean = xr.Dataset({"k1": readings.k1(dataset), "drift": dataset.path_drift}).mean("seed")
    for who, colour in SAMPLERS.items():
        axis.plot(mean.drift, mean.k1.sel(sampler=who), "o-", ms=2.5, color=style.COLOURS[colour], label=who)
    axis.axhline(0.0, color="0.5", lw=0.5)
    axis.set(xlabel="exact KL, nats", ylabel="mean k1, nats", ylim=(-4.5, 9))
    axis.set_title("1. ... or others\nhave sampled")
    axis.legend(fontsize=5, loc="upper left")


def draw_entropy(axis: Axes, dataset: xr.Dataset) -> None:
    """Entropy gained at the first record against Cov(r, surprise), every draw, by what is paid for (next panel)."""
    gained = readings.entropy_gained(dataset).isel(time=0)
    for index, name in enumerate(dataset.asked.values):
        at = dataset.surprise.sel(asked=name), gained.sel(asked=name)
        axis.plot(*at, "o", ms=3, color=ASKED[index % len(ASKED)], label=name)
    axis.axhline(0.0, color="0.5", lw=0.5)
    axis.axvline(0.0, color="0.5", lw=0.5)
    axis.set_xscale("symlog", linthresh=0.1)
    axis.set_yscale("symlog", linthresh=0.01)
    axis.margins(0.1)
    axis.set(xlabel="Cov(r, −log π₀), nats", ylabel="entropy gained, nats", xlim=(-0.7, 3))
    axis.set_title("2. Entropy rises if\nsurprises pay")


def draw_broader(axis: Axes, dataset: xr.Dataset) -> None:
    """Entropy gained along policy gradient against the drift, means over draws."""
    mean = xr.Dataset({"gained": readings.entropy_gained(dataset), "drift": dataset.entropy_drift}).mean("seed")
    for index, name in enumerate(dataset.asked.values):
        here = mean.sel(asked=name)
        axis.plot(here.drift, here.gained, "o-", ms=2.5, color=ASKED[index % len(ASKED)], label=name)
    axis.axhline(0.0, color="0.5", lw=0.5)
    axis.set(xlabel="KL, nats", ylabel="entropy gained, nats")
    axis.set_title("2. ... and falls\nonce they are learnt")
    axis.legend(fontsize=5, loc="lower left")


def draw_pulls(axis: Axes, dataset: xr.Dataset) -> None:
    """By how much the mean gradient of each penalty misses that of KL, means over draws."""
    mean = dataset[["pull_missed", "path_drift"]].mean("seed")
    for way, colour in WAYS.items():
        missed = mean.pull_missed.sel(way=way, target=TRUE)
        axis.plot(mean.path_drift, missed, "o-", ms=2.5, color=style.COLOURS[colour], label=way)
    axis.set(xscale="log", xlabel="exact KL, nats", ylabel="missed, of KL's gradient", ylim=(-0.1, 4.5))
    axis.set_title("3. k3 pulls at the\nother divergence")
    axis.legend(fontsize=5, loc="upper left")


def draw_ends(axis: Axes, dataset: xr.Dataset) -> None:
    """Where each leash ends under the graded reward, by coefficient, means over draws."""
    mean = dataset.end_drift.sel(paid="graded").mean("seed")
    for end, colour, dash in zip(dataset.end.values, ENDS, style.DASHES, strict=False):
        axis.plot(mean.beta, mean.sel(end=end), "o", ls=dash, ms=3, color=style.COLOURS[colour], label=end)
    axis.set(xscale="log", yscale="log", xlabel="coefficient β", ylabel="KL where it ends, nats", ylim=(0.3, 300))
    style.ticks(axis.xaxis, dataset.beta.values)
    axis.set_title("4. One β is three\ndifferent leashes")
    axis.legend(fontsize=5, loc="upper left")


def draw_flat(axis: Axes, dataset: xr.Dataset) -> None:
    """Drift along each rule against its reward, and the least that the reward needs, means over draws."""
    share = (dataset.rule_paid / dataset.most_paid).mean("seed")
    mean = dataset[["rule_drift", "least"]].mean("seed")
    for rule, colour in RULES.items():
        shade = style.COLOURS[colour]
        axis.plot(mean.rule_drift.sel(rule=rule), share.sel(rule=rule), "o-", ms=2, lw=0.8, color=shade, label=rule)
    needed = mean.least.sel(rule="policy gradient"), share.sel(rule="policy gradient")
    axis.plot(*needed, "k:", lw=1.0, label="least KL that it needs")
    axis.set(xlabel="KL, nats", ylabel="reward, of the most", ylim=(-0.75, 1.05))
    axis.set_title("5. Drift that no\nreward pays for")
    axis.legend(fontsize=4.5, loc="lower right")


def draw_same(axis: Axes, dataset: xr.Dataset) -> None:
    """S, and reward and entropy in parts of those at the first angle, of the tilts that spend the same; all draws."""
    at = dataset.isel(drift=-1)
    measures = {
        "selection S": (at.selection_fraction, "red"),
        "reward, of that at 0°": (at.same_paid / at.same_paid.isel(angle=0), "black"),
        "entropy, likewise": (at.same_entropy / at.same_entropy.isel(angle=0), "blue"),
    }
    for name, (values, colour) in measures.items():
        for seed in dataset.seed.values:
            label = name if seed == dataset.seed.values[0] else None
            axis.plot(at.angle, values.sel(seed=seed), "o-", ms=2, lw=0.7, color=style.COLOURS[colour], label=label)
    axis.set(xlabel="angle, degrees", ylim=(-0.05, 1.6))
    axis.set_title(f"6. All {at.drift.item():g} nat: old\nvoices, or new ones")
    axis.legend(fontsize=5, loc="upper right")


PANELS = (
    draw_negative, draw_samplers, draw_entropy, draw_broader, draw_pulls, draw_ends, draw_flat, draw_same,
)  # fmt: skip


def draw(dataset: xr.Dataset) -> dict[str, Figure | str]:
    """The panels, and the page."""
    return {"": style.panels(4, 4.4, *PANELS)(dataset), ".md": page(dataset)}


if __name__ == "__main__":
    style.main("rl_curves", draw, __doc__)
