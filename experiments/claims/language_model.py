"""What is read from tilts of a language model's answers: selection against R² × drift, best of n, detectors, repair."""

import numpy as np
import xarray as xr

from experiments.shared.claim import Claim, at_most, grouped
from toypersona import datasets

ERRORS = 3.0
"""Standard errors within which selection has to be R² × drift."""

HOLD = 8
"""Rewards of which that has to be true at every drift, from either half."""

KNOWN = 0.1
"""Largest standard error of S at all questions together: a larger one could not go against a prediction."""

ALARM = float(np.log(20))
"""ln E from which an alarm is raised, false in one of twenty cases at most."""


def measured(dataset: xr.Dataset) -> xr.Dataset:
    """With nan where samples weigh too few answers, or no tilt is so far from the base."""
    found = {str(name): values.where(~dataset.void) for name, values in dataset.items() if _of_policies(values)}
    outer = [name for name in map(str, dataset) if name.startswith("shuffled_") and dataset[name].dtype.kind == "f"]
    return dataset.assign(found | {name: dataset[name].where(~dataset.shuffled_void) for name in outer})


def _of_policies(values: xr.DataArray) -> bool:
    return "policy" in values.dims and values.dtype.kind == "f"


def together(dataset: xr.Dataset) -> xr.Dataset:
    """All questions together."""
    return measured(dataset).isel(asked=-1)


def single(dataset: xr.Dataset) -> xr.Dataset:
    """Every question alone."""
    return measured(dataset).isel(asked=slice(None, -1))


def tilts(dataset: xr.Dataset) -> xr.Dataset:
    """The policies that are tilts."""
    names = [name for name in dataset.policy.values if name.startswith("tilt")]
    return dataset.sel(policy=names)


def best(dataset: xr.Dataset) -> xr.Dataset:
    """The policies that are best of n, ``n`` among the variables."""
    names = [name for name in dataset.policy.values if name.startswith("best")]
    return dataset.sel(policy=names).assign(n=("policy", [int(name.split()[-1]) for name in names]))


def law(dataset: xr.Dataset) -> xr.DataArray:
    """What L1 says that is selected, nats."""
    return dataset.predicted * dataset.total


def missed(dataset: xr.Dataset) -> xr.DataArray:
    """By how many standard errors S is above R², which is how selection misses R² × drift."""
    error = np.hypot(dataset.selection_fraction_se, dataset.predicted_se)
    return (dataset.selection_fraction - dataset.predicted) / np.maximum(error, 1e-6)


def worst(dataset: xr.Dataset) -> xr.DataArray:
    """The largest miss of every reward, over drifts, halves and draws; nan where nothing could be measured."""
    return abs(missed(tilts(together(dataset)))).max(["policy", "half", "seed"])


def bound(dataset: xr.Dataset) -> xr.DataArray:
    """L6: nats that best of n is from its base at most."""
    return np.log(dataset.n) - (dataset.n - 1) / dataset.n


def claims(dataset: xr.Dataset) -> list[Claim]:
    """L1 for most rewards, with errors that could have told; L6 for all."""
    every, most = together(dataset), worst(dataset)
    picked = best(every)
    return [
        *grouped(
            "Selection is R² × drift",
            [
                at_most(
                    "prediction",
                    f"rewards of {most.size} that miss it by more than {ERRORS:g} standard errors somewhere",
                    most.size - HOLD,
                    float((~(most <= ERRORS)).sum()),
                    possible=(0, most.size),
                ),
                at_most(
                    "finding",
                    "largest standard error of S at all questions",
                    KNOWN,
                    tilts(every).selection_fraction_se,
                    possible=(0, 1),
                ),
            ],
        ),
        at_most(
            "theorem",
            "best of n: KL above ln n - (n - 1)/n, standard errors",
            ERRORS + 1,
            ((picked.total - bound(picked)) / picked.total_se).max(),
        ),
    ]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    every = together(dataset)
    return [
        *_of_the_law(dataset, every),
        *_of_detectors(dataset, every),
        _of_best(best(every)),
        *_of_the_repair(every),
    ]


def misfit(every: xr.Dataset) -> tuple[float, float]:
    """How far the base after shuffled lines is from the hull, and its standard error, nats: whatever is rewarded."""
    return float(every.shuffled_misfit.mean()), float(every.shuffled_misfit_se.mean())


def failing(dataset: xr.Dataset) -> list[str]:
    """Rewards whose selection is not R² × drift somewhere, or could not be measured."""
    most = worst(dataset)
    return [str(name) for name in most.reward.values[~(most <= ERRORS).values]]


def _of_the_law(dataset: xr.Dataset, every: xr.Dataset) -> list[str]:
    each = missed(tilts(single(dataset)))
    kept = each.drop_sel(reward=failing(dataset))
    first, last = (kept.isel(policy=i) for i in (0, -1))
    said = [
        f"At single questions {int((abs(each) <= ERRORS).sum())} of {int(each.notnull().sum())} tilts that could be "
        f"measured select R² × drift within {ERRORS:g} standard errors; without rewards that fail, misses spread by "
        f"{float(first.std()):.2f} errors ({first.policy.item()}) to {float(last.std()):.2f} ({last.policy.item()}): "
        "by noise alone it would be 1.",
    ]
    for name in failing(dataset):
        one = tilts(every).sel(reward=name)
        share = lambda x: f"{float(x.min()):.2f} to {float(x.max()):.2f}"  # noqa: E731
        if one.selection_fraction.isnull().all():
            said.append(f"{name}: its tilts weigh too few answers to be measured.")
        else:
            said.append(f"It fails for {name}: R² {share(one.predicted)}, S {share(one.selection_fraction)}.")
    return said


def _of_detectors(dataset: xr.Dataset, every: xr.Dataset) -> list[str]:
    strongest = tilts(every).isel(policy=-1)
    alarmed = (strongest.log_e >= ALARM).mean(["half", "seed"])
    found = [str(name) for name in alarmed.reward.values[(alarmed == 1).values]]
    never = [str(name) for name in alarmed.reward.values[(alarmed == 0).values]]
    texts = datasets.config_of(dataset)["answers"]
    flat = strongest.best.where(strongest.proofs > 0).stack(case=["reward", "half", "seed"])
    said = [
        f"At {strongest.total.mean().item():.1f} nats {int(strongest.num.min())} to {int(strongest.num.max())} answers "
        f"raise an alarm of the e-value from either half for {', '.join(found) or 'no reward'}, never for "
        f"{', '.join(never) or 'none'}."
    ]
    if flat.notnull().any():
        at = flat.argmax("case").item()
        case = strongest.stack(case=["reward", "half", "seed"]).isel(case=at)
        text = _witness(texts, int(case.witness), 1 - int(case.half))
        said.append(
            f"A single answer that proves it: “{text}” is {float(case.best):.1f} nats likelier under the tilt for "
            f"{case.reward.item()} than in any voice."
        )
    return said


def _witness(texts: list[list[str]], place: int, half: int) -> str:
    """An answer by its place among those of one half, all questions in turn."""
    num = len(texts[0]) // 2
    return texts[place // num][half * num + place % num]


def _of_best(picked: xr.Dataset) -> str:
    told = [
        f"best of {int(one.n)} {float(one.total.mean()):.2f} nats (bound {float(bound(one)):.2f})"
        for one in (picked.isel(policy=i) for i in range(picked.sizes["policy"]))
    ]
    off = abs(missed(picked)).max(["policy", "half", "seed"])
    return (
        f"Mean drift of {', '.join(told)}; its S is R² within {ERRORS:g} standard errors for "
        f"{int((off <= ERRORS).sum())} of {off.size} rewards."
    )


def _of_the_repair(every: xr.Dataset) -> list[str]:
    off_by, error = misfit(every)
    off = (every.shuffled_selection_fraction - every.shuffled_predicted) / np.hypot(
        every.shuffled_selection_fraction_se, every.shuffled_predicted_se
    )
    low, high = float(every.shuffled_as_given.min()), float(every.shuffled_as_given.max())
    hold, known = int((abs(off) <= ERRORS).all("seed").sum()), int(off.notnull().all("seed").sum())
    return [
        f"After everybody's lines in one prompt the model is {off_by:.2f} ± {error:.2f} "
        f"nats an answer outside the hull. Unrepaired, S of its tilts would be "
        f"{low:.1f} to {high:.1f}; repaired it is R² within {ERRORS:g} standard errors for {hold} of "
        f"{known} rewards whose tilts weigh enough answers to be measured."
    ]
