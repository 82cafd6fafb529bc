"""RL of a language model: S against R² of the rule's first direction, S along drift, learning rates, and new words."""

from collections.abc import Iterable

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from experiments.claims import language_rl as readings
from figures import style
from figures.labels import End, at_ends
from figures.pages import Page, Panel, lettered
from toypersona import datasets

COLOURS = ("black", "blue", "red", "green", "orange", "purple")
"""Of the ways to train, in their order; controls have that of the way whose reward they share."""

MARKERS = ("o", "s", "^", "D", "v", "P")
"""Of seeds, each of which has a question of its own."""

SAID = 3
"""New words shown of each way."""

ERRORS = "Error bars: 1.96 standard errors."


def looks(dataset: xr.Dataset) -> dict[str, str]:
    """The colour of every way."""
    trained = dict(zip(readings.places(dataset, alone=False), COLOURS, strict=False))
    controls = readings.places(dataset, alone=True)
    return trained | {name: trained.get(name.removesuffix(readings.ALONE), "black") for name in controls}


def draw_law(axis: Axes, dataset: xr.Dataset) -> None:
    """Every run after its first step; the law is the diagonal. Dotted: to S at larger drifts."""
    axis.plot([0, 1], [0, 1], color="black", lw=0.8)
    first, last = (readings.against(dataset, when) for when in readings.WHEN)
    for name, colour in looks(dataset).items():
        way, alone = readings.names(dataset).index(name), name.endswith(readings.ALONE)
        for marker, seed in zip(MARKERS, dataset.seed.values, strict=False):
            one, later = (each.isel(way=way).sel(seed=seed) for each in (first, last))
            look = {"color": style.COLOURS[colour], "lw": 0.7}
            axis.plot([one.predicted] * 2, [one.measured, later.measured], ls=":", **look)
            axis.plot(one.predicted, later.measured, "_", ms=5, **look)
            axis.errorbar(
                one.predicted,
                one.measured,
                1.96 * one.error,
                1.96 * one.predicted_error,
                fmt=marker,
                ms=4,
                mfc="none" if alone else None,
                label=name if marker == MARKERS[0] and not alone else None,
                **look,
            )
    axis.set(xlabel="R² of the rule's first direction", ylabel="selection fraction S")
    axis.legend()


def draw_walks(axis: Axes, dataset: xr.Dataset) -> None:
    """S along the drift of every run."""
    ends, reached = [], readings.reached(dataset)
    for name, way in readings.places(dataset, alone=False).items():
        colour = style.COLOURS[looks(dataset)[name]]
        for dash, seed in zip(style.DASHES, dataset.seed.values, strict=False):
            here = dataset.isel(way=way).sel(seed=seed).where(reached.isel(way=way).sel(seed=seed), drop=True)
            axis.errorbar(
                here.total, here.selection_fraction, 1.96 * here.selection_fraction_se, ls=dash, color=colour, lw=0.9
            )
        first = dataset.isel(way=way, drift=-1, seed=0)
        ends.append(End(name, float(first.total), float(first.selection_fraction), colour))
    axis.set(xlabel="drift KL(policy‖base), nats", ylabel="selection fraction S", ylim=(-0.1, 1.1))
    at_ends(axis, ends, gap=0.09)


def draw_rates(axis: Axes, dataset: xr.Dataset) -> None:
    """R² of the first direction against the gates' learning rate."""
    for name, way in readings.own_directions(dataset).items():
        for dash, seed in zip(style.DASHES, dataset.seed.values, strict=False):
            values = dataset.by_rate.isel(way=way).sel(seed=seed)
            axis.plot(dataset.gate_rate, values, ls=dash, color=style.COLOURS[looks(dataset)[name]])
    axis.set(
        xscale="log",
        xlabel="learning rate of gates,\nin units of the adapters'",
        ylabel="R² of a first step",
        ylim=(-0.02, 1.02),
    )


def draw_words(axis: Axes, dataset: xr.Dataset) -> None:
    """New words at the largest drift of the first seed, by their nats."""
    rows = []
    for name, way in readings.places(dataset, alone=False).items():
        for word, nats in readings.new_words(dataset.isel(way=way, seed=0, drift=-1))[:SAID]:
            axis.barh(len(rows), nats, color=style.COLOURS[looks(dataset)[name]], height=0.7)
            rows.append(f"{name}: {word}")
    axis.set_yticks(range(len(rows)), rows, parse_math=False)
    axis.tick_params(axis="y", length=0)
    axis.invert_yaxis()
    axis.set_xlabel("nats an answer")


def _panels(dataset: xr.Dataset) -> Iterable[Panel]:
    trained = readings.trained(dataset)
    within = {when: int((~readings.missed(dataset, when)).sum()) for when in readings.WHEN}
    num = trained.sizes["way"] * trained.sizes["seed"]
    telling = {when: int(readings.telling(dataset, when).sum()) for when in readings.WHEN}
    yield Panel(
        draw_law,
        f"S is R² after a step in {within['first']} of {num} runs, later in {within['later']}",
        "Selection fraction after the first step against R² of its direction, predicted from answers of the base (less "
        "what a fit explains by chance, so that it may be below 0); dotted, to a bar: the mean of all drifts "
        f"{readings.WHEN['later']}. A marker for each seed: its runs share question, answers of the base and random "
        f"numbers; hollow: gates alone. The line is the law; within {readings.ERRORS:g} standard errors of it are "
        f"{within['first']} of {num} runs after a step and {within['later']} later; {telling['first']} and "
        f"{telling['later']} have an error small enough to go against it. Hollow ones do not count.",
        ERRORS,
    )
    later = readings.measured_at(trained, "later")
    lowest = trained.selection_fraction.where(later).mean(("drift", "seed"))
    least = list(readings.places(dataset, alone=False))[int(lowest.argmin("way"))]
    yield Panel(
        draw_walks,
        f"Least selection: {least}, {float(lowest.min()):.2f}",
        "Selection fraction against drift, a line for each run, dashed for the second seed; the least is that of "
        "the mean over both.",
        ERRORS,
    )
    rate = readings.crossing(dataset)
    yield Panel(
        draw_rates,
        f"Selection or not: gates {float(rate.min()):.3g} to {float(rate.max()):.3g} times as fast",
        "R² of a first step against the learning rate of the gates, the same for all adapters; dashed: second seed. "
        "Alice with one rate for all is on Alice's line, at 1.",
    )
    new = [readings.new_words(trained.isel(way=way, seed=0, drift=-1)) for way in range(trained.sizes["way"])]
    yield Panel(
        draw_words,
        f"New words in {sum(map(bool, new))} of {len(new)} runs of the first seed",
        "Tokens said more often than by any mix: those that make most of the hull distance at the largest drift of the "
        f"first seed, up to {SAID} of each way "
        f"of more than {readings.MANY:g} nats an answer.",
    )


def table(dataset: xr.Dataset) -> str:
    """Sample answers of every way and seed at every drift, in Markdown."""
    held, reached = datasets.config_of(dataset), readings.reached(dataset)
    rows = [
        "# What a language model says along RL",
        "",
        "Answers are samples, not selected; every voice is among them that speaks often.",
        "",
    ]
    for way, name in enumerate(held["names"]):
        for s, question in enumerate(held["questions"]):
            rows += [f"## {name}, seed {s}", "", f"*{question}*", "", "| nats | answers |", "|---:|---|"]
            base, *kept = held["lines"][way][s]
            rows.append(f"| 0 | {_cell(base)} |")
            here = dataset.isel(way=way, seed=s)
            shown = np.flatnonzero(reached.isel(way=way, seed=s).values)
            rows += [f"| {float(here.total[d]):.2f} | {_cell(kept[d])} |" for d in shown]
            rows.append("")
    return "\n".join(rows)


def _cell(lines: list[str]) -> str:
    return "<br>".join(line.replace("|", "\\|") for line in lines)


def draw(dataset: xr.Dataset) -> dict[str, Page | str]:
    """All panels, and the sample answers."""
    title = "RL of SmolLM2-135M in three voices, by low-rank adapters and gates"
    page = Page(
        title,
        lettered(*_panels(dataset)),
        "ab;cd",
        5.6,
        more=["- Sample answers: [language_rl_answers.md](language_rl_answers.md)"],
    )
    return {"": page, "_answers.md": table(dataset)}


if __name__ == "__main__":
    style.main("language_rl", draw, __doc__)
