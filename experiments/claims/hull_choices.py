"""What is read from the choices of a hull: where S begins and ends under each, and what wrong personas do to it."""

import numpy as np
import xarray as xr

from experiments.shared.claim import ROUNDING, Claim, at_most, drawn, drawn_at_most, grouped, wilson
from toypersona import datasets
from toypersona.measures import boundaries

SHIPPED = "KL(policy‖mix)"
"""The divergence of the drift budget."""

INSIDE = 1e-9
"""Nats of the base's distance up to which a hull holds it."""

WEAK, SLOPE, STRONG = 0.01, 0.01, 0.01
"""By how much S at the weakest records may differ from its limit, its slope there, and S at the strongest tilt."""

PROPORTION, ENTRY = 0.1, 0.1
"""Part of the base's distance, and of a drift, by which a law to lowest order may miss."""

LOW = 0.2
"""Nats of drift up to which that law, of the lowest order, is claimed."""

CLEAR = 0.05
"""Part of the drift by which the base is outside from which the check has to notice."""


def weak(fraction: xr.DataArray) -> xr.DataArray:
    """S(0+), linear in the strength, from the two weakest records, of which the second is twice the first."""
    return 2 * fraction.isel(strength=0, drop=True) - fraction.isel(strength=1, drop=True)


def half(dataset: xr.Dataset) -> xr.DataArray:
    """The strength from which selection is the smaller part, of each divergence, rule, angle and draw."""
    return boundaries.from_dataset(dataset[["selection_fraction"]]).half.sel(bound="middle", drop=True)


def vertex(dataset: xr.Dataset) -> xr.DataArray:
    """Likewise where the nearest mix is one persona."""
    return boundaries.from_dataset(dataset[["largest_weight"]]).vertex.sel(bound="middle", drop=True)


def against_shipped(boundary: xr.DataArray) -> xr.DataArray:
    """Boundaries of the other divergences over that of the drift budget, draw by draw; nan where that starts beyond."""
    shipped = boundary.sel(divergence=SHIPPED, drop=True)
    return boundary.drop_sel(divergence=SHIPPED) / shipped.where((shipped > 0) & np.isfinite(shipped))


def right(dataset: xr.Dataset) -> list[str]:
    """The choices of personas whose hull holds the base, in every draw."""
    return [str(name) for name in dataset.personas.values[(dataset.misfit <= INSIDE).all("seed").values]]


def blurred(dataset: xr.Dataset) -> list[str]:
    """The hulls that are a little wrong, from the least on."""
    return [str(name) for name in dataset.personas.values if str(name).startswith("blurred")]


def entry(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Drift from which S of a little wrong hull is above 1/2, predicted and measured, nats; angles where S(0+) > 1/2.

    Predicted is ``b / (cos² - 1/2)``, b the base's distance. Measured where ``total (S - 1/2)`` passes 0, which is
    linear in the drift by the same law, between two records.
    """
    angles = dataset.angle[np.cos(np.deg2rad(dataset.angle)) ** 2 > 0.55]
    one = dataset.sel(personas=blurred(dataset), angle=angles)
    law = one.misfit / (np.cos(np.deg2rad(angles)) ** 2 - 0.5)
    total = one.total.sel(divergence=SHIPPED, rule="tilt", drop=True)
    left = total * (one.given_selection_fraction - 0.5)
    before = (left < 0).cumprod("strength").sum("strength") - 1
    known = (before >= 0) & (before < left.sizes["strength"] - 1)
    first = before.clip(0, left.sizes["strength"] - 2)
    low, high, start, end = (x.isel(strength=first + i) for x in (left, total) for i in (0, 1))
    return law, (start - low / (high - low) * (end - start)).where(known)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What every choice has to satisfy."""
    return [
        *grouped("Other divergences", _divergences(dataset)),
        *grouped("One choice of persona for all prompts", _common(dataset)),
        *grouped("Other personas", _personas(dataset)),
    ]


def _divergences(dataset: xr.Dataset) -> list[Claim]:
    tilt = dataset.selection_fraction.sel(rule="tilt")
    first, second = (tilt.isel(strength=i, drop=True) for i in (0, 1))
    slope = (second - first) / float(dataset.strength[1] - dataset.strength[0])
    made = []
    for name in dataset.divergence.values:
        one = dataset.sel(divergence=name)
        off = abs(weak(one.selection_fraction) - one.first_order)
        made += [
            at_most("theorem", f"{name}: largest |S(0+) - R²|, all rules and angles", WEAK, off, possible=(0, 1)),
            at_most(
                "theorem", f"{name}: |dS/ds - law| of the tilt", SLOPE, abs(slope.sel(divergence=name) - one.weak_slope)
            ),
            at_most(
                "theorem",
                f"{name}: |S - law| of the strongest tilt",
                STRONG,
                abs(one.strong - one.strong_limit),
                possible=(0, 1),
            ),
        ]
    return made


def _common(dataset: xr.Dataset) -> list[Claim]:
    common, shipped = dataset.common_fraction, dataset.selection_fraction.sel(divergence=SHIPPED)
    off = abs(weak(common) - dataset.common_first_order)
    return [
        at_most("theorem", "largest |S(0+) - R² of one regression for all prompts|", WEAK, off, possible=(0, 1)),
        at_most(
            "theorem",
            "the same of a reward for words",
            WEAK,
            abs(weak(dataset.common_words) - dataset.common_words_limit),
            possible=(0, 1),
        ),
        at_most("theorem", "S above that with a mix for every prompt", 1e-6, common - shipped),
        at_most(
            "theorem",
            "the base's distance from one mix less I(prompt; persona), nats",
            ROUNDING,
            dataset.one_mix_distance - dataset.information,
        ),
    ]


def _personas(dataset: xr.Dataset) -> list[Claim]:
    fraction, made = dataset.given_selection_fraction, []
    for name in dataset.dropped.values:
        seen, law = dataset.misfit.sel(personas=f"without {name}"), dataset.in_proportion.sel(dropped=name)
        what = f"without {name}: the base's distance, nats, were its place shared out in proportion"
        made.append(drawn("prediction", what, law, seen, PROPORTION * law.mean(), possible=(0, 2 * law.mean())))
    laws, drifts = entry(dataset)
    for name in blurred(dataset):
        for angle in laws.angle.values:
            law, seen = (x.sel(personas=name, angle=angle) for x in (laws, drifts))
            what = f"{name}, {angle:g}°: drift from which S is above 1/2 / law"
            if law.mean() <= LOW:
                made.append(drawn("prediction", what, 1.0, seen / law, ENTRY, possible=(0, 2)))
    same = abs(fraction.sel(personas="and their mean") - fraction.sel(personas="all"))
    return [
        *made,
        at_most("theorem", "a mix of the others added: change of S", 1e-6, same),
        at_most(
            "theorem",
            "a stranger added: fall of S",
            1e-6,
            fraction.sel(personas="all") - fraction.sel(personas="and a stranger"),
        ),
        at_most(
            "finding",
            "right personas: largest share of draws flagged",
            0.02,
            dataset.flagged.sel(personas=right(dataset)).mean("seed"),
        ),
        drawn_at_most(
            "finding", f"base outside by {CLEAR:.0%} of the drift or more: share not flagged", 0.05, 1 - clear(dataset)
        ),
    ]


def clear(dataset: xr.Dataset) -> xr.DataArray:
    """Share of draws flagged where a little wrong hull leaves the base outside by ``CLEAR`` of the drift, else nan."""
    off = dataset.misfit >= CLEAR * dataset.sampled_total
    return dataset.flagged.where(off).sel(personas=blurred(dataset))


def num_flags(dataset: xr.Dataset) -> int:
    """Draws of samples behind each share that is flagged, all seeds together."""
    return datasets.settings_of(dataset)["num_draws"] * dataset.sizes["seed"]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    halves, corners = against_shipped(half(dataset)), vertex(dataset)
    angle = dataset.angle.sel(angle=30, method="nearest").item()
    said = []
    for name in halves.divergence.values:
        ratios = [
            f"{_middle(halves.sel(divergence=name, rule=rule, angle=angle))} ({rule})" for rule in halves.rule.values
        ]
        said.append(f"Half at {angle:g}° under {name}, times that under {SHIPPED}: {', '.join(ratios)}.")
    never = xr.ufuncs.isinf(corners).mean("seed").sel(angle=angle)
    gradient = never.sel(rule="policy gradient")
    shares = ", ".join(
        f"{gradient.sel(divergence=name).item():.0%} under {name}" for name in gradient.divergence.values
    )
    common, shipped = weak(dataset.common_fraction), dataset.first_order
    both = [x.sel(angle=angle).mean("seed") for x in (shipped, common)]
    weakest = "; ".join(
        f"{r} {both[0].sel(rule=r).item():.2f} and {both[1].sel(rule=r).item():.2f}" for r in dataset.rule.values
    )
    num = num_flags(dataset)
    flags = dataset.flagged.mean("seed")
    calm = float(flags.sel(personas=right(dataset)).mean())
    low, high = wilson(calm * len(right(dataset)) * num, len(right(dataset)) * num)
    part = (dataset.misfit / dataset.sampled_total).mean("seed")
    little = ", ".join(
        f"{flags.sel(personas=name).item():.2f} ({_interval(flags.sel(personas=name).item(), num)}) at "
        f"{part.sel(personas=name).item():.1%}"
        for name in blurred(dataset)
    )
    return [
        *said,
        f"No vertex of plain policy gradient at {angle:g}°: in {shares} of the draws.",
        f"Weak RL at {angle:g}° selects, by a mix for every prompt and by odds that change alike at all: {weakest}.",
        f"The base is {dataset.one_mix_distance.mean().item():.2f} nats from any one mix for all prompts, of "
        f"{dataset.information.mean().item():.2f} that prompts tell of who answers: S against that hull is below 0 "
        "wherever RL spent less.",
        f"Right personas, one of them superfluous: {calm:.3f} of the draws flagged ({low:.3f} to {high:.3f}).",
        f"Share flagged, by the part of the drift by which the base is outside: {little}.",
    ]


def _interval(share: float, num: int) -> str:
    low, high = wilson(share * num, num)
    return f"{low:.2f} to {high:.2f}"


def _middle(ratio: xr.DataArray) -> str:
    """The median over draws, in words where it is none, and their range."""
    values = np.sort(ratio.values[np.isfinite(ratio.values) | np.isinf(ratio.values)])
    if not values.size:
        return "no half"
    middle = values[(values.size - 1) // 2]
    ends = [f"{value:.2f}" if np.isfinite(value) else "never" for value in (values[0], values[-1])]
    return f"{middle:.2f} ({ends[0]} to {ends[1]})" if np.isfinite(middle) else f"never ({ends[0]} to {ends[1]})"
