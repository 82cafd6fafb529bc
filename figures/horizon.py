"""L3: hull distance runs on s sqrt(T), selection on sT, so long answers leave the hull at weaker RL."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import horizon as readings
from figures import style
from toypersona.measures import boundaries

DRAW = {"seed": 0}
"""The draw whose curves are shown; boundaries are shown of all."""


def draw_fraction(axis: Axes, dataset: xr.Dataset) -> None:
    """S at every length: exact where personas can be told apart, samples with two standard errors."""
    one = dataset.isel(DRAW)
    shades = style.shades(one.length.values)
    for length in one.sampled_length.values:
        shade = shades[length]
        axis.plot(one.scaled, one.exact_fraction.sel(case="per word", length=length), color=shade)
        sampled = one.sel(sampled_length=length)
        error = 2 * sampled.selection_fraction_se
        axis.errorbar(one.sampled, sampled.selection_fraction, error, fmt="o", ms=2, lw=0.6, color=shade)
    axis.axhline(0.5, color="black", lw=0.5)
    axis.set(xscale="log", xlabel="s √T", ylabel="selection fraction S", ylim=(-0.05, 1.05))


def draw_distance(axis: Axes, dataset: xr.Dataset) -> None:
    """Hull distance collapses on s sqrt(T); its law for the persona that pays best."""
    one = dataset.isel(DRAW)
    shades = style.shades(one.length.values)
    for length, shade in shades.items():
        curve = one.exact_distortion.sel(case="per word", length=length)
        axis.plot(one.scaled, curve, color=shade, lw=0.9, label=f"T = {length}")
    axis.plot(one.scaled, readings.distance_law(one), "k:", label="law: s²Tσ²/2")
    for length in one.sampled_length.values:
        axis.plot(one.sampled, one.hull_distance.sel(sampled_length=length), "o", ms=2, color=shades[length])
    axis.set(xscale="log", yscale="log", xlabel="s √T", ylabel="hull distance, nats", ylim=(1e-4, 1e2))
    axis.legend(fontsize=4.8, labelspacing=0.15, loc="upper left", borderpad=0.0)


def draw_weights(axis: Axes, dataset: xr.Dataset) -> None:
    """Selection weights collapse on sT."""
    one = dataset.isel(DRAW)
    shades = style.shades(one.length.values)
    for persona, dash in zip(one.persona.values, style.DASHES, strict=False):
        for length, shade in shades.items():
            axis.plot(one.selected, one.selected_weights.sel(length=length, persona=persona), dash, color=shade, lw=0.8)
        law = one.selected_law.isel(length=-1).sel(persona=persona)
        axis.plot(one.selected, law, "x", color="black", ms=3, label="law: gₖ exp(sTμₖ)/Z" if dash == "-" else None)
    axis.set(xscale="log", xlabel="s T", ylabel="weight of each persona")
    axis.legend()


def draw_half(axis: Axes, dataset: xr.Dataset) -> None:
    """The strength at the half boundary against T in all draws, by exact curves and by samples."""
    exact, sampled = readings.half(dataset), readings.sampled_half(dataset)
    for curve in exact / np.sqrt(exact.length):
        axis.plot(exact.length, curve, color=style.COLOURS["blue"], lw=0.8, alpha=0.7)
    shown = sampled.sel(bound="middle").notnull().values
    lengths = np.broadcast_to(sampled.sampled_length.values[:, None], shown.shape)[shown]
    strengths = sampled / np.sqrt(sampled.sampled_length)
    low, middle, high = (strengths.sel(bound=name).values[shown] for name in boundaries.BOUNDS)
    error = [middle - low, high - middle]
    axis.errorbar(lengths, middle, error, fmt="o", ms=2.5, lw=0.7, color=style.COLOURS["red"], label="sampled")
    longest = exact.length.values[exact.length >= 64]
    law = dataset.half.median().item()
    axis.plot(longest, law / np.sqrt(longest), "k:", label="law: T to the −½")
    axis.set(xscale="log", yscale="log", xlabel="T, words", ylabel="strength at which S = ½")
    axis.legend()


def draw_plateau(axis: Axes, dataset: xr.Dataset) -> None:
    """S of weak RL against T in all draws, and its law."""
    draws = dataset[["weak", "weak_law"]]
    for i in range(draws.sizes["seed"]):
        one = draws.isel(seed=i)
        axis.plot(one.length, one.weak, color=style.COLOURS["blue"], lw=0.9, label=None if i else "exact")
        axis.plot(one.length, one.weak_law, "k:", lw=0.9, label=None if i else "law: T/(T + T*)")
    axis.set(xscale="log", xlabel="T, words", ylabel="S(0+), the weak plateau")
    axis.legend(fontsize=5.5, loc="upper left", bbox_to_anchor=(0.0, 1.02))


def draw_breaks(axis: Axes, dataset: xr.Dataset) -> None:
    """What breaks the law, at the longest sampled length."""
    one = dataset.isel(DRAW)
    length = one.sampled_length.values[-1]
    for case, colour, dash in zip(one.case.values, style.COLOURS.values(), style.DASHES, strict=False):
        axis.plot(one.scaled, one.exact_fraction.sel(case=case, length=length), dash, color=colour, label=case)
    axis.axhline(0.5, color="black", lw=0.5)
    axis.set(xscale="log", xlabel="s √T (last word: s)", ylabel=f"S at T = {length}", ylim=(-0.05, 1.05))
    axis.legend()


PANELS = (draw_fraction, draw_distance, draw_weights, draw_half, draw_plateau, draw_breaks)

if __name__ == "__main__":
    style.main("horizon", style.panels(3, 4.4, *PANELS), __doc__)
