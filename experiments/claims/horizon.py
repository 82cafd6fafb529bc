"""What is read from the horizons: the half boundary against the length, the laws, and what breaks them."""

import numpy as np
import xarray as xr

from experiments.shared.claim import ERRORS, Claim, at_most, drawn, each_at_most, grouped, over_draws
from experiments.shared.terminal import number
from toypersona import datasets
from toypersona.measures import boundaries

FINITE = 0.02
"""What finite lengths leave of an exponent, and of the law at the longest."""

WEAK, APART = 0.05, 0.01
"""What weak RL's log (1 - S) may miss where personas are told apart, and a selection weight at the longest length."""

LONG = 16.0
"""Lengths at which personas have been told apart: this many times the length where the weak plateau is 1/2."""

READ = 0.1
"""Part of a boundary by which it may be misread between two of few strengths."""

WEAK_LENGTH = 65_536
"""Rounding of the chains' rows adds up to 1e-16 T nats: there up to a hundredth of so weak a distortion."""


def half(dataset: xr.Dataset) -> xr.DataArray:
    """S = 1/2 by the exact curves, ``s sqrt(T)`` [seed, length]; nan where S starts below 1/2 or never falls to it."""
    exact = xr.Dataset({"selection_fraction": dataset.exact_fraction.sel(case="per word")})
    crossed = boundaries.from_dataset(exact, along="scaled").half.sel(bound="middle")
    crossed = crossed.transpose("seed", "length")
    return crossed.where((crossed > 0) & np.isfinite(crossed))


def sampled_half(dataset: xr.Dataset) -> xr.DataArray:
    """The same by samples, with its 95% bounds [bound, sampled_length, seed]; nan where it is not crossed."""
    kept = dataset[["selection_fraction", "selection_fraction_se"]]
    crossed = boundaries.from_dataset(kept, along="sampled").half
    crossed = crossed.transpose("bound", "sampled_length", "seed")
    return crossed.where((crossed.sel(bound="low") > 0) & np.isfinite(crossed.sel(bound="high")))


def distance_law(dataset: xr.Dataset) -> xr.DataArray:
    """The law of the hull distance, nats: ``s² T sigma²/2`` of the persona that is paid best."""
    return 0.5 * dataset.variances.isel(persona=dataset.means.argmax("persona")) * dataset.scaled**2


def exponents(dataset: xr.Dataset) -> xr.DataArray:
    """Slope of log s at the half boundary against log T of every seed, where the best has been told from the next."""
    slopes = []
    for curve in half(dataset).where(runner_up_apart(dataset)):
        kept = curve.dropna("length")
        enough = kept.size > 1
        slopes.append(np.polyfit(np.log(kept.length), np.log(kept / np.sqrt(kept.length)), 1)[0] if enough else np.nan)
    return dataset.seed.astype(float).copy(data=slopes)


def _told_apart(dataset: xr.Dataset) -> xr.DataArray:
    """Where answers are so long that what all personas are paid differs more than what one is paid."""
    return dataset.length >= LONG * dataset.within / dataset.between


def runner_up_apart(dataset: xr.Dataset) -> xr.DataArray:
    """Where the persona that is paid best can be told from the next: strong RL has nobody else left to choose."""
    best = dataset.means.max("persona")
    lead = best - dataset.means.where(dataset.means < best).max("persona")
    return dataset.length >= LONG * dataset.within / lead**2


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The law, its agreement with samples, and what breaks it."""
    return [
        *grouped("The law", _law(dataset)),
        *grouped("The half boundary by samples of the policy alone, in units of the law's", _sampled_law(dataset)),
        *grouped("Where it breaks", _breaks(dataset)),
        *grouped("Samples against transfer matrices", _samples_agree(dataset)),
    ]


def _samples_agree(dataset: xr.Dataset) -> list[Claim]:
    """Samples against transfer matrices and against listing all responses, in standard errors."""
    allowed = dataset.fit_excess
    # Where all samples are the same response, what is too rare to be among them is the error.
    unseen = dataset.exact_total / datasets.settings_of(dataset)["num_samples"]
    total_error, error = (np.hypot(se, unseen) for se in (dataset.total_se, dataset.hull_distance_se))
    total = abs(dataset.total - dataset.exact_total) / total_error
    vague = ERRORS * np.maximum(total_error, error) > dataset.exact_total / 2
    above = (dataset.hull_distance - allowed - dataset.bound) / error
    apart = ((abs(dataset.hull_distance - dataset.bound) - allowed) / error).isel(sampled_length=-1)
    claims = [
        at_most("theorem", "sampled total - exact, largest, in standard errors", ERRORS, total),
        at_most("theorem", "sampled hull distance - its bound, largest, in standard errors", ERRORS, above),
        at_most("theorem", "longest sampled: hull distance - bound, either way, in standard errors", ERRORS, apart),
        # Where so many standard errors are half of the drift, agreement to them says little.
        at_most(
            "finding", f"share of budgets with {ERRORS:g} standard errors above half of the drift", 0.25, vague.mean()
        ),
        at_most("theorem", "share of bases that samples take for outside", 0.05, 1 - dataset.base_inside.mean()),
    ]
    if "listed" in dataset:
        listed = dataset.listed.rename(listed_length="sampled_length")
        exact = (abs(dataset.hull_distance - listed) - allowed) / error
        claims.append(at_most("theorem", "sampled hull distance - all listed, in standard errors", ERRORS, exact))
    return claims


def _sampled_law(dataset: xr.Dataset) -> list[Claim]:
    """Measured by fitted hull distances from samples; predicted from the personas' moments per word."""
    crossed = sampled_half(dataset).sel(bound="middle") / dataset.half
    apart = runner_up_apart(dataset)
    return [
        drawn("prediction", f"T = {length}", 1.0, ratio.where(apart.sel(length=length)), READ, possible=(0, 2))
        for length in crossed.sampled_length.values
        if (ratio := crossed.sel(sampled_length=length)).where(apart.sel(length=length)).notnull().mean() >= 0.5
    ]


def weak_missed(dataset: xr.Dataset) -> xr.DataArray:
    """|log (1 - S) / (1 - law)| of weak RL where personas are told apart, nan elsewhere."""
    exact = _told_apart(dataset) & (dataset.length <= WEAK_LENGTH)
    return abs(np.log(((1 - dataset.weak) / (1 - dataset.weak_law)).where(exact)))


def _law(dataset: xr.Dataset) -> list[Claim]:
    last, longest = dataset.isel(length=-1), int(dataset.length[-1])
    weak = weak_missed(dataset)
    crossed = half(dataset).where(runner_up_apart(dataset))
    ends = crossed.isel(length=slice(-2, None))
    local = (np.log(ends / np.sqrt(ends.length)).diff("length") / np.log(ends.length).diff("length")).squeeze("length")
    distance = dataset.exact_distortion.sel(case="per word", scaled=slice(0.3, 3.0)).isel(length=slice(-2, None))
    collapsed = abs(np.log(distance).diff("length")).max("scaled").median()
    weights = abs(last.selected_weights - last.selected_law)
    law = abs(crossed.isel(length=-1) / dataset.half - 1)
    fitted = "exponent of the half boundary against T, fitted, mean over draws"
    return [
        drawn("theorem", fitted, -0.5, exponents(dataset), FINITE, possible=(-1, 0)),
        drawn("theorem", "the same between the two longest T", -0.5, local, FINITE, possible=(-1, 0)),
        at_most("theorem", f"half boundary x sqrt(T) / law - 1 at T = {longest}, median draw", 0.02, law.median()),
        at_most(
            "theorem",
            "weak RL: |log (1 - S) / (1 - law)| where personas are told apart, largest",
            WEAK,
            weak.max().item(),
        ),
        at_most(
            "theorem", "collapse on s sqrt(T): log ratio of distances, two longest T, median draw", 0.02, collapsed
        ),
        at_most("theorem", f"collapse on sT: selection weight - law at T = {longest}", APART, weights),
    ]


def _breaks(dataset: xr.Dataset) -> list[Claim]:
    distances = xr.Dataset({"hull_distance": dataset.exact_distortion})
    told = boundaries.from_dataset(distances, along="scaled").detectable.sel(bound="middle", samples=100)
    # Distortion is the distance, and its S the selection fraction, only where personas can be told apart.
    moved = np.log(told.isel(length=-1) / told.isel(length=-2)) / np.log(dataset.length[-1] / dataset.length[-2])
    largest = dataset.exact_fraction.isel(length=slice(-2, None)).max(["length", "scaled"])
    claims = []
    for case, predicted in (("per word", -0.5), ("equal means", -0.5), ("one persona", -0.5), ("last word", 0.0)):
        slopes = moved.sel(case=case) + (0.0 if case == "last word" else -0.5)
        what = f"{case}: exponent against T of the strength at which 100 samples tell"
        claims.append(drawn("theorem", what, predicted, slopes, FINITE, possible=(-1, 0)))
    unmoved = largest.sel(case=["equal means", "last word"])
    return [*claims, *each_at_most("theorem", "largest S at any strength, two longest T", 0.5, unmoved, "case")]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    crossed = half(dataset)
    usual = crossed.length[(crossed.notnull().mean("seed") > 0.5).values]
    if usual.size < 2:
        return ["In most draws selection is never the larger part, at any length."]
    short, long = (int(usual[i]) for i in (0, -1))
    at = {length: (crossed.sel(length=length) / np.sqrt(length)).median().item() for length in (short, long)}
    crossing = (dataset.within / dataset.between).median().item()
    mean, error, _ = over_draws(exponents(dataset))
    return [
        f"An answer of {short} words is mostly persona selection up to strength {at[short]:.2g}, one of {long} only "
        f"up to {at[long]:.2g} (medians over draws): {long // short} times as long, that "
        f"strength is {at[short] / at[long]:.0f} times smaller.",
        f"Weak RL of answers shorter than about {crossing:.0f} words is not mostly selection: what one persona says "
        "differs more in pay than the personas do.",
        f"Once the best paid persona can be told from the next, the half boundary falls as T to the power "
        f"{number(mean, 3)} (standard error {number(error, 2)}; law: -1/2).",
        "Where all personas are paid alike or only the last word is paid there is no stretch of selection; then hull "
        "distance still runs on s sqrt(T) in the first case, and does not depend on T in the second.",
    ]
