"""Who cries wolf inside the hull, who sees the exit first, and the laws of the e-value and of the e-process."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import detectors as readings
from figures import style
from toypersona import datasets, detection

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
    there = readings.strongest(dataset).mean("seed")
    for shift, (kind, (colour, _)) in zip((-0.2, 0.2), KINDS.items(), strict=True):
        share = there.inside.sel(kind=kind)
        axis.barh(np.arange(share.size) + shift, share, height=0.38, color=style.COLOURS[colour], label=kind)
    last = there.sizes["detector"]
    axis.barh(last + 0.2, there.activations_inside, height=0.38, color=style.COLOURS[KINDS["transformer"][0]])
    axis.axvline(readings.level(dataset), color="black", ls=":", lw=0.8)
    axis.set_yticks(range(last + 1), [*there.detector.values, "activations"])
    axis.invert_yaxis()
    axis.set(xlim=(0, 1.02), xlabel="false alarms", title=f"a  inside the hull, near {float(there.aim):g} nats")
    axis.legend(loc="upper right")


def draw_exits(axis: Axes, dataset: xr.Dataset) -> None:
    """Power against the number of samples, over all rewards, drifts and kinds, at equal false alarms (``seen``)."""
    power = readings.seen(readings.compared(dataset)).mean(["seed", "kind", "angle", "aim"])
    num = dataset.samples * readings.sizes(dataset)[0]
    for name, (colour, dash) in LOOKS.items():
        axis.plot(num, power.sel(detector=name), ls=dash, color=style.COLOURS[colour], label=name)
    axis.set(xscale="log", xlabel="samples", ylabel="power outside", ylim=(0, 1.75))
    axis.set_yticks([0.0, 0.5, 1.0])
    axis.set_title("b  who sees the exit first")
    axis.legend(ncols=2, fontsize=5.2, loc="upper left")


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
    axis.text(boundary.stein, 1.04, "known mix", fontsize=5.2, ha="right")
    axis.text(boundary.nats, 1.04, "any mix", fontsize=5.2)
    axis.set(xscale="log", xlim=(0.3, 300), xlabel="n d, nats", ylabel="power of the e-value", ylim=(-0.03, 1.12))
    axis.set_title("c  one law for all")
    axis.legend(loc="center right")


def draw_stops(axis: Axes, dataset: xr.Dataset) -> None:
    """When e-processes stop, against ln(1/alpha)/d."""
    alpha, longest = (datasets.settings_of(dataset)[name] for name in ("stop_alpha", "longest"))
    growth = np.geomspace(3e-3, 1, 50)
    axis.plot(growth, detection.stopping_time(growth, alpha=alpha), color="black", label="ln(1/α)/d")
    for kind, (colour, marker) in KINDS.items():
        one = dataset.sel(kind=kind)
        x, y = (values.values.ravel() for values in (one.growth, one.stopped.where(one.stopped < longest)))
        axis.plot(x, y, marker, color=style.COLOURS[colour], ms=3, mfc="none")
    axis.set(xscale="log", yscale="log", xlabel="hull distance d, nats a sample", ylabel="samples until it stops")
    axis.set_title(f"d  the e-process at level {alpha:g}")
    axis.legend()


if __name__ == "__main__":
    style.main("detectors", style.panels(2, 4.6, draw_wolves, draw_exits, draw_law, draw_stops), __doc__)
