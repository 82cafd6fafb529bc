"""Who cries wolf inside the hull, who sees the exit first, and the laws of the e-value and of the e-process."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import detectors as readings
from figures import style
from figures.pages import BARS, Page, Panel, lettered
from toypersona import datasets, detection
from toypersona.measures import equal_drift

KINDS = {"mixture": ("blue", "o"), "transformer": ("orange", "s")}
LOOKS = {
    "proof": ("black", "-"),
    "e-process": ("blue", "-"),
    "e-value": ("blue", "--"),
    "held-out distance": ("green", "-."),
    "split likelihood ratio": ("purple", "--"),
    "classifier": ("purple", ":"),
    "perplexity": ("red", "-"),
    "entropy": ("red", "--"),
}


def draw_wolves(axis: Axes, dataset: xr.Dataset) -> None:
    """Alarms inside the hull at the nominal level, on the largest drift and most samples."""
    there = readings.strongest(dataset)
    for shift, (kind, (colour, _)) in zip((-0.2, 0.2), KINDS.items(), strict=True):
        share = there.inside.sel(kind=kind)
        place = np.arange(share.sizes["detector"]) + shift
        _bars(axis, place, share, colour, kind)
    last = there.sizes["detector"]
    _bars(axis, np.array([last + 0.2]), there.activations_inside.expand_dims("detector"), KINDS["transformer"][0])
    axis.axvline(readings.level(dataset), color="black", ls=":", lw=0.8)
    axis.set_yticks(range(last + 1), [*there.detector.values, "activations"])
    axis.invert_yaxis()
    axis.set(xlim=(0, 1.02), xlabel="false alarms, share of samples inside the hull")
    axis.legend()


def _bars(axis: Axes, places: np.ndarray, share: xr.DataArray, colour: str, label: str = "") -> None:
    mean, half = equal_drift.interval(share)
    look = {"error_kw": {"lw": 0.8}, "height": 0.38, "color": style.COLOURS[colour]}
    axis.barh(places, mean, xerr=half.fillna(0.0), label=label, **look)


def draw_exits(axis: Axes, dataset: xr.Dataset) -> None:
    """Power against the number of samples, over all rewards, drifts and kinds, at equal false alarms (``seen``)."""
    power = _power(dataset).mean("seed")
    num = dataset.samples * readings.sizes(dataset)[0]
    for name, (colour, dash) in LOOKS.items():
        axis.plot(num, power.sel(detector=name), ls=dash, color=style.COLOURS[colour], label=name)
    axis.set(xscale="log", xlabel="samples", ylabel="power outside", ylim=(-0.03, 1.03))
    axis.set_yticks([0.0, 0.5, 1.0])
    axis.legend()


def _power(dataset: xr.Dataset) -> xr.DataArray:
    """Power at equal false alarms [detector, samples, seed], mean over kinds, angles and drifts."""
    return readings.seen(readings.compared(dataset)).mean(["kind", "angle", "aim"])


def draw_law(axis: Axes, dataset: xr.Dataset) -> None:
    """The e-value's power against n d, and the normal law."""
    nats = np.geomspace(0.3, 300, 200)
    prompts, personas = readings.sizes(dataset)
    alpha = readings.level(dataset)
    axis.plot(nats, detection.power(1, nats, prompts, personas, alpha=alpha), color="black", label="normal law")
    spent = readings.nats(dataset)
    for kind, (colour, marker) in KINDS.items():
        x, y = xr.broadcast(spent.sel(kind=kind), dataset.outside.sel(kind=kind, detector="e-value"))
        axis.plot(
            x.values.ravel(), y.values.ravel(), marker, color=style.COLOURS[colour], ms=2.5, mfc="none", label=kind
        )
    boundary = detection.boundary(alpha, prompts, personas)
    axis.axvline(boundary.stein, color="grey", ls=":", lw=0.8)
    axis.axvline(boundary.nats, color="grey", ls="--", lw=0.8)
    axis.text(0.93 * boundary.stein, 1.06, "known mix", fontsize=5.5, ha="right")
    axis.text(1.08 * boundary.nats, 1.06, "any mix", fontsize=5.5)
    axis.set(xscale="log", xlim=(0.3, 300), xlabel="n d, nats", ylabel="power of the e-value", ylim=(-0.03, 1.14))
    axis.set_yticks([0.0, 0.5, 1.0])
    axis.legend()


def draw_stops(axis: Axes, dataset: xr.Dataset) -> None:
    """When e-processes stop, against ln(1/alpha)/d."""
    alpha, longest = (datasets.settings_of(dataset)[name] for name in ("stop_alpha", "longest"))
    growth = np.geomspace(3e-3, 1, 50)
    axis.plot(growth, detection.stopping_time(growth, alpha=alpha), color="black", label="ln(1/α)/d")
    for kind, (colour, marker) in KINDS.items():
        one = dataset.sel(kind=kind)
        x, y = (values.values.ravel() for values in (one.growth, one.stopped.where(one.stopped < longest)))
        axis.plot(x, y, marker, color=style.COLOURS[colour], ms=3, mfc="none", label=kind)
    axis.set(xscale="log", yscale="log", xlabel="hull distance d, nats a sample", ylabel="samples until it stops")
    axis.legend()


def draw(dataset: xr.Dataset) -> dict[str, Any]:
    """Four panels."""
    there, alpha, draws = readings.strongest(dataset), readings.level(dataset), f"{dataset.sizes['seed']} draws"
    wrong = there.inside.mean("seed").sel(detector=["perplexity", "e-value"]).max("kind")
    num = dataset.samples * readings.sizes(dataset)[0]
    power = _power(dataset).mean("seed").isel(samples=-1)
    nats = detection.boundary(alpha, *readings.sizes(dataset)).nats
    stop = datasets.settings_of(dataset)["stop_alpha"]
    off = float(readings.stopping(dataset).mean())
    panels = (
        Panel(
            draw_wolves,
            f"Inside the hull perplexity alarms on {float(wrong[0]):.0%}, the e-value on {float(wrong[1]):.0%}",
            f"Share of samples of mixes of personas that alarm a detector set to level {alpha:g} (dotted), on mixes "
            f"that drifted about {float(there.aim):g} nats, {int(num[-1]):,} samples each, {draws}.",
            BARS,
        ),
        Panel(
            draw_exits,
            f"At {int(num[-1]):,} samples: e-value {float(power.sel(detector='e-value')):.2f}, "
            f"perplexity {float(power.sel(detector='perplexity')):.2f}",
            "Share of policies outside of the hull that a detector sees, at equal false alarms if nothing is "
            f"guaranteed; mean over kinds of policy, rewards, drifts and {draws}.",
        ),
        Panel(
            draw_law,
            f"The e-value sees from n d = {nats:.2g} nats on",
            "Power of the e-value against the number of samples n times the hull distance d; a mark for each kind, "
            f"reward, drift and number of samples, and each of {draws}. Dashed: seen from here on by the law; dotted: "
            "if the mix were known.",
        ),
        Panel(
            draw_stops,
            f"The e-process stops at {off:.2f} ln(1/α)/d",
            f"When e-processes of level {stop:g} stop, against the hull distance; a mark for each kind, reward, drift "
            f"and each of {draws}. Runs end at {datasets.settings_of(dataset)['longest']:,} samples and count as "
            "stopped there: marks near it lie too low.",
        ),
    )
    return {"": Page("Would one know, from samples?", lettered(*panels), "ab;cd", 5.6)}


if __name__ == "__main__":
    style.main("detectors", draw, __doc__)
