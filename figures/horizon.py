"""L3: hull distance runs on s sqrt(T), selection on sT, so long answers leave the hull at weaker RL."""

from collections.abc import Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import horizon as readings
from experiments.shared.claim import over_draws
from experiments.shared.terminal import number
from figures import style
from figures.labels import End, at_ends
from figures.pages import Page, Panel, lettered
from toypersona.measures import boundaries

DRAW = {"seed": 0}
"""The draw whose curves are shown; boundaries and plateaus are shown of all."""


def draw_half(axis: Axes, dataset: xr.Dataset) -> None:
    """The strength at the half boundary against T in all draws, in units of each draw's law at one word."""
    exact, sampled = (each / dataset.half for each in (readings.half(dataset), readings.sampled_half(dataset)))
    exact = (exact / np.sqrt(exact.length)).transpose("seed", "length")
    apart = readings.runner_up_apart(dataset).transpose("seed", "length")
    for i in range(exact.sizes["seed"]):
        look = {"color": style.COLOURS["blue"], "lw": 0.9}
        axis.plot(exact.length, exact[i].where(apart[i]), label=None if i else "exact", **look)
        axis.plot(exact.length, exact[i], alpha=0.3, label=None if i else "exact, short answers", **look)
    strengths = (sampled / np.sqrt(sampled.sampled_length)).transpose("bound", "sampled_length", "seed")
    shown = strengths.sel(bound="middle").notnull().values
    lengths = np.broadcast_to(sampled.sampled_length.values[:, None], shown.shape)[shown]
    low, middle, high = (strengths.sel(bound=name).values[shown] for name in boundaries.BOUNDS)
    error = [middle - low, high - middle]
    axis.errorbar(lengths, middle, error, fmt="o", ms=2.5, lw=0.7, color=style.COLOURS["red"])
    axis.plot([], [], "o", ms=2.5, color=style.COLOURS["red"], label="from samples")
    axis.plot(exact.length, 1 / np.sqrt(exact.length), "k:", label="law: T to the −½")
    axis.set(xscale="log", yscale="log", xlabel="T, words", ylabel="strength at which S = ½")
    axis.legend()


def draw_plateau(axis: Axes, dataset: xr.Dataset) -> None:
    """S of weak RL against T in units of T*, in all draws, and its law."""
    scaled = dataset.length / (dataset.within / dataset.between)
    for i in range(dataset.sizes["seed"]):
        look = {"color": style.COLOURS["blue"], "ms": 2.5, "mew": 0, "label": None if i else "exact"}
        axis.plot(scaled.isel(seed=i), dataset.weak.isel(seed=i), "o", **look)
    x = np.geomspace(scaled.min().item(), scaled.max().item(), 200)
    axis.plot(x, x / (1 + x), "k:", label="law: T/(T + T*)")
    axis.axhline(0.5, color="black", lw=0.5)
    axis.set(xscale="log", xlabel="T / T*", ylabel="S of weak RL, S(0+)", ylim=(-0.02, 1.02))
    axis.legend()


def draw_fraction(axis: Axes, dataset: xr.Dataset) -> None:
    """S at every length: exact where personas can be told apart, samples with their interval."""
    one, ends = dataset.isel(DRAW), []
    shades = style.shades(one.sampled_length.values)
    for length, shade in shades.items():
        exact = one.exact_fraction.sel(case="per word", length=length)
        axis.plot(one.scaled, exact, color=shade, lw=1.0)
        ends.append(End(f"T = {length}", one.scaled.values[-1], float(exact[-1]), shade))
        sampled = one.sel(sampled_length=length)
        error = 1.96 * sampled.selection_fraction_se
        axis.errorbar(one.sampled, sampled.selection_fraction, error, fmt="o", ms=2, lw=0.6, color=shade)
    axis.axhline(0.5, color="black", lw=0.5)
    axis.set(xscale="log", xlabel="s √T", ylabel="selection fraction S", ylim=(-0.05, 1.05))
    at_ends(axis, ends)


def draw_distance(axis: Axes, dataset: xr.Dataset) -> None:
    """Hull distance collapses on s sqrt(T); its law for the persona that pays best."""
    one, ends = dataset.isel(DRAW), []
    lengths = one.length.values[::2]
    for length, shade in style.shades(lengths).items():
        curve = one.exact_distortion.sel(case="per word", length=length)
        axis.plot(one.scaled, curve, color=shade, lw=1.0)
        ends.append(End(f"T = {length}", one.scaled.values[-1], min(float(curve[-1]), 1e2), shade))
    law = readings.distance_law(one)
    axis.plot(one.scaled, law, "k:")
    ends.append(End("law: s²Tσ²/2", one.scaled.values[-1], min(float(law[-1]), 1e2), "black"))
    axis.set(xscale="log", yscale="log", xlabel="s √T", ylabel="hull distance, nats", ylim=(1e-4, 1e2))
    at_ends(axis, ends)


def draw_weights(axis: Axes, dataset: xr.Dataset) -> None:
    """Selection weights collapse on sT: one colour for each persona, one dash for each length."""
    one = dataset.isel(DRAW)
    lengths = one.length.values[[1, len(one.length) // 2, -1]]
    for persona, colour in zip(one.persona.values, style.COLOURS.values(), strict=False):
        here = one.sel(persona=persona)
        for length, dash in zip(lengths, (":", "--", "-"), strict=True):
            axis.plot(one.selected, here.selected_weights.sel(length=length), dash, color=colour, lw=1.0)
        axis.plot(one.selected, here.selected_law.isel(length=-1), "x", color=colour, ms=3)
        axis.plot([], [], "-", color=colour, label=f"persona {persona}")
    for length, dash in zip(lengths, (":", "--", "-"), strict=True):
        axis.plot([], [], dash, color="0.5", lw=1.0, label=f"T = {length}")
    axis.plot([], [], "x", color="0.5", ms=3, label="law")
    axis.set(xscale="log", xlabel="s T", ylabel="weight of each persona", ylim=(-0.02, 1.02))
    axis.legend()


def draw_breaks(axis: Axes, dataset: xr.Dataset) -> None:
    """What breaks the law, at the longest sampled length."""
    one = dataset.isel(DRAW)
    length = one.sampled_length.values[-1]
    for case, colour, dash in zip(one.case.values, style.COLOURS.values(), style.DASHES, strict=False):
        axis.plot(one.scaled, one.exact_fraction.sel(case=case, length=length), ls=dash, color=colour, label=case)
    axis.axhline(0.5, color="black", lw=0.5)
    axis.set(xscale="log", xlabel="s √T (last word: s)", ylabel=f"S at T = {length}", ylim=(-0.05, 1.05))
    axis.legend()


def _panels(dataset: xr.Dataset) -> Iterable[Panel]:
    draws, one = f"{dataset.sizes['seed']} random worlds", dataset.isel(DRAW)
    slope, error, _ = over_draws(readings.exponents(dataset))
    title = f"Mostly selection up to a strength ∝ T to the {number(slope, 3)} ± {number(error, 1)}"
    says = (
        "Strength at which S falls through ½, in units of what each draw's law says of one word, against the length of "
        f"answers; {draws}. Faint: answers too short to tell the best paid persona from the next; the exponent is "
        "fitted to the others, ± its standard error."
    )
    yield Panel(
        draw_half, title if np.isfinite(slope) else "Selection ends at a strength", says, "Bars: 95% by the samples."
    )
    missed = readings.weak_missed(dataset).max().item()
    title = f"S of weak RL {'is' if missed <= readings.WEAK else 'is not'} T/(T+T*) in long answers"
    yield Panel(
        draw_plateau,
        title if np.isfinite(missed) else "S of weak RL, and T/(T+T*)",
        "S of weak RL against T in units of T*, the length at which what one persona says varies in pay as much as the "
        f"personas do; {draws}. Where T is {readings.LONG:g} T* or more 1 − S is off the law by up to {missed:.1%}.",
    )
    top = one.exact_fraction.sel(case="per word").max("scaled")
    short, long = (int(one.sampled_length[i]) for i in (0, -1))
    yield Panel(
        draw_fraction,
        f"S reaches {top.sel(length=long).item():.2f} at T = {long}, {top.sel(length=short).item():.2f} at T = {short}",
        "S against s√T, first draw: lines by transfer matrices, points from samples.",
        "Bars: 95% by the samples.",
    )
    weak = one.exact_distortion.sel(case="per word").sel(scaled=1.0, method="nearest")
    spread = (weak / readings.distance_law(one).sel(scaled=1.0, method="nearest")).isel(length=slice(-2, None))
    yield Panel(
        draw_distance,
        f"Hull distance runs on s√T: {spread[-1].item():.2f} of the law at T = {int(one.length[-1])}"
        if abs(np.log(spread[-1] / spread[0])) <= readings.FINITE
        else f"Hull distance is {spread[-1].item():.2f} of the law at T = {int(one.length[-1])}",
        "Distance from the hull against s√T at several lengths, first draw, and the law of the best paid persona; the "
        "title has both at s√T = 1.",
    )
    apart = abs(one.selected_weights - one.selected_law).isel(length=-1).max().item()
    yield Panel(
        draw_weights,
        f"Selection runs on sT: the longest answers miss the law by {apart:.1g}"
        if apart <= readings.APART
        else f"The longest answers' weights miss the law on sT by {apart:.1g}",
        "Weight of each persona (a colour) in the nearest mix against sT, first draw, and the law gₖ exp(sTμₖ)/Z.",
    )
    length = int(one.sampled_length[-1])
    most = dataset.exact_fraction.sel(length=length).max("scaled").mean("seed")
    kept = [str(case) for case in most.case.values if most.sel(case=case) > 0.5]
    yield Panel(
        draw_breaks,
        f"Only pay {' or '.join(kept)} is ever mostly selection" if kept else "No pay is mostly selection",
        f"S against strength at T = {length}, first draw: paid per word, with equal means for all personas, for the "
        "last word alone, and with one persona alone.",
    )


def draw(dataset: xr.Dataset) -> dict[str, Page]:
    """All panels."""
    panels = lettered(*_panels(dataset))
    return {"": Page("L3: how long answers may be before RL leaves the hull", panels, "abc;def", 5.6)}


if __name__ == "__main__":
    style.main("horizon", draw, __doc__)
