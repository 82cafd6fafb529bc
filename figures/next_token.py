"""A language model's next token: R² against S of weak tilts, S as tilts get strong, and words that no voice says."""

from collections.abc import Iterable

import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import next_token as readings
from figures import style
from figures.labels import End, at_ends
from figures.pages import Page, Panel, lettered
from toypersona import datasets

LOOKS = {
    "Alice": (style.COLOURS["black"], "o"),
    "surely Alice": (style.COLOURS["blue"], "s"),
    "brevity": (style.COLOURS["green"], "^"),
    "asking": (style.COLOURS["orange"], "D"),
    "refusing": (style.COLOURS["red"], "v"),
    "letter k": (style.COLOURS["purple"], "P"),
    "random score": ("#56B4E9", "x"),
}
"""Colours, the seventh Okabe and Ito's sky blue, and markers."""

SAID = 2
"""New tokens shown of each reward: those that exceed every voice by most."""


def draw_weak(axis: Axes, dataset: xr.Dataset) -> None:
    """Every question and draw; the law is the diagonal."""
    axis.plot([0, 1], [0, 1], color="black", lw=0.8)
    measured = readings.limits(dataset)
    for name, (colour, marker) in LOOKS.items():
        points = (values.sel(reward=name).values.ravel() for values in (dataset.predicted, measured))
        axis.plot(*points, marker, color=colour, ms=4, mfc="none", label=name)
    axis.set(xlabel="R² of the reward, the law", ylabel="S(0+)")
    axis.legend()


def draw_strong(axis: Axes, dataset: xr.Dataset) -> None:
    """S against drift at the first question."""
    one, ends = _first(dataset), []
    for (name, (colour, _)), dash in zip(LOOKS.items(), (*style.DASHES, "-", "--"), strict=True):
        here = one.sel(reward=name)
        axis.plot(here.total, here.selection_fraction, ls=dash, color=colour)
        ends.append(End(name, here.total.values[-1], here.selection_fraction.values[-1], colour))
    axis.set(xscale="log", xlabel="drift KL(policy‖base), nats", ylabel="selection fraction S", ylim=(-0.02, 1.02))
    at_ends(axis, ends, gap=0.085)


def draw_new(axis: Axes, dataset: xr.Dataset) -> None:
    """Tokens of the strongest tilts at the first question; in grey, the largest probability that a voice gives them."""
    names = []
    for name, found in _new(dataset).items():
        for text, share, most in found[:SAID]:
            axis.barh(len(names), share, color=LOOKS[name][0], height=0.7)
            axis.barh(len(names), most, color="0.6", height=0.3)
            names.append(f"{name}: {text}")
    axis.set_yticks(range(len(names)), names, parse_math=False)
    axis.tick_params(axis="y", length=0)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1), xlabel="probability\n(grey: in any voice)")


def _first(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(question=0, seed=0)


def _new(dataset: xr.Dataset) -> dict[str, list[tuple[str, float, float]]]:
    """The new tokens of every reward's strongest tilt at the first question."""
    strongest = _first(dataset).isel(drift=-1)
    return {name: readings.exceeding(strongest.sel(reward=name)) for name in LOOKS}


def _panels(dataset: xr.Dataset) -> Iterable[Panel]:
    asked, drawn = dataset.sizes["question"], dataset.sizes["seed"]
    worst = abs(readings.limits(dataset) - dataset.predicted).max().item()
    yield Panel(
        draw_weak,
        f"Weak RL selects R², to {worst:.0e}",
        f"Selection fraction of the weakest tilts, extrapolated to no drift, against R²: a mark for each of {asked} "
        f"questions; the random score has one for each of {drawn} draws as well. The line is the law.",
    )
    alice = _first(dataset).sel(reward="Alice")
    begins, ends = (alice.selection_fraction.values[i] for i in (0, -1))
    first = datasets.config_of(dataset)["questions"][0]
    yield Panel(
        draw_strong,
        f"Paid for Alice alone: S from {begins:.2f} to {ends:.2f} at {alice.total.values[-1]:.1f} nats",
        f"Selection fraction of the tilt against drift at the first question, *{first}*; one draw of the random score. "
        "*Alice* pays the probability that she speaks, *surely Alice* its logarithm.",
    )
    new = sum(map(bool, _new(dataset).values()))
    yield Panel(
        draw_new,
        f"Strong tilts say new words under {new} of {len(LOOKS)} rewards",
        "Tokens of the strongest tilts at that question whose probability exceeds that in every voice by more than "
        f"{readings.NEW:g}, the first {SAID} of each reward; grey: the largest probability that a voice gives them.",
    )


def draw(dataset: xr.Dataset) -> dict[str, Page]:
    """All panels."""
    title = "The next token of SmolLM2-135M in three voices"
    return {"": Page(title, lettered(*_panels(dataset)), "abc", 3.1, {"width_ratios": (1, 0.9, 0.8)})}


if __name__ == "__main__":
    style.main("next_token", draw, __doc__)
