"""What is read from RL on a language model: S after a step and later against R² of the first direction, new words."""

import numpy as np
import xarray as xr

from experiments.shared.claim import EFFECT, Claim, at_most, grouped, near
from toypersona import datasets

ALONE = ", gates alone"
"""How the names of controls end."""

ONE_RATE = ", one rate for all"
"""How the name of a way ends that has the first direction of the one before the comma, but for the gates' rate."""

LATER = 0.1, 0.6
"""Nats of drift, some steps on, at which S is compared with R² once more."""

ERRORS = 3.0
"""Standard errors by which they may differ."""

TELLING = 1 / (EFFECT * ERRORS)
"""Standard error of S less R² up to which a run can go against the law: both lie between 0 and 1."""

CHANCE = 0.4
"""Correlation of two first directions, of independent answers, below which chance makes most of one."""

TOUCHING = 0.02
"""Nats of hull distance that few answers may show of a policy inside the hull."""

MANY = 0.05
"""Nats of hull distance that a new word is at least, to be named."""


def names(dataset: xr.Dataset) -> list[str]:
    """Of the ways to train, in their order."""
    return datasets.config_of(dataset)["names"]


def places(dataset: xr.Dataset, *, alone: bool) -> dict[str, int]:
    """The ways that train gates alone, or the others."""
    return {name: i for i, name in enumerate(names(dataset)) if name.endswith(ALONE) == alone}


def trained(dataset: xr.Dataset) -> xr.Dataset:
    """The runs that train adapters."""
    return dataset.isel(way=list(places(dataset, alone=False).values()))


def own_directions(dataset: xr.Dataset) -> dict[str, int]:
    """The ways among them whose first direction is no other's."""
    return {name: way for name, way in places(dataset, alone=False).items() if ONE_RATE not in name}


def reached(dataset: xr.Dataset) -> xr.DataArray:
    """Which drifts were reached: where one was not, the last answers stand again."""
    return dataset.step.diff("drift", label="upper").reindex(drift=dataset.drift, fill_value=1) > 0


def pooled(values: xr.DataArray, error: xr.DataArray, where: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """The mean along a run, and its standard error: answers at each drift are drawn anew."""
    num = where.sum("drift")
    return values.where(where).mean("drift"), (error.where(where) ** 2).sum("drift") ** 0.5 / num


WHEN = {"first": "after the first step", "later": f"at {LATER[0]:g} to {LATER[1]:g} nats"}
"""Where S is compared with R²: the law is one of weak steps, and each later step has a direction of its own."""


def measured_at(dataset: xr.Dataset, when: str) -> xr.DataArray:
    """Drifts of one place of ``WHEN``: that of the first step, or those within ``LATER`` that were reached."""
    if when == "first":
        return (dataset.step == 1) & (dataset.drift == 0)
    return reached(dataset) & (dataset.total >= LATER[0]) & (dataset.total <= LATER[1])


def against(dataset: xr.Dataset, when: str) -> xr.Dataset:
    """S of every run in one place of ``WHEN``, R², how far apart they are, and errors [way, seed]."""
    here = measured_at(dataset, when)
    measured, error = pooled(dataset.selection_fraction, dataset.selection_fraction_se, here)
    return xr.Dataset(
        {
            "measured": measured,
            "error": error,
            "predicted": dataset.predicted,
            "predicted_error": dataset.predicted_se,
            "difference": measured - dataset.predicted,
            "difference_error": np.hypot(error, dataset.predicted_se),
        }
    )


def new_words(dataset: xr.Dataset) -> list[tuple[str, float]]:
    """At one drift of one run: tokens that make most of the hull distance, and their nats an answer."""
    texts = datasets.config_of(dataset)["texts"]
    ranked = zip(dataset.new_token.values, dataset.new_nats.values, strict=True)
    return [
        (texts[int(token)].strip() or repr(texts[int(token)]), float(nats)) for token, nats in ranked if nats > MANY
    ]


def runs(dataset: xr.Dataset, when: str) -> xr.Dataset:
    """``against`` of the runs that train adapters."""
    return against(trained(dataset), when)


def missed(dataset: xr.Dataset, when: str) -> xr.DataArray:
    """Which of them miss the law [way, seed]; one that was not measured there does, too."""
    here = runs(dataset, when)
    return ~(abs(here.difference) <= ERRORS * here.difference_error)


def telling(dataset: xr.Dataset, when: str) -> xr.DataArray:
    """Which of them have an error so small that they could have gone against the law [way, seed]."""
    return runs(dataset, when).difference_error <= TELLING


def claims(dataset: xr.Dataset) -> list[Claim]:
    """L1 in every run, how many could have told, and what gates alone do."""
    alone = dataset.isel(way=list(places(dataset, alone=True).values()))
    compared = [
        claim
        for when, said in WHEN.items()
        for claim in grouped(
            f"S {said} is R² of the rule's first direction",
            [
                at_most(
                    "prediction",
                    f"runs of {missed(dataset, when).size} that miss it by more than {ERRORS:g} standard errors",
                    0.0,
                    missed(dataset, when).sum(),
                ),
                at_most(
                    "finding",
                    f"share of runs whose standard error is above {TELLING:.3f}, so that they could not tell",
                    0.5,
                    (~telling(dataset, when)).mean(),
                ),
            ],
        )
    ]
    return [
        *compared,
        at_most("theorem", "gates alone: hull distance, nats", TOUCHING, abs(alone.hull_distance)),
        near("theorem", "the base passes as inside: share of runs and drifts", 1.0, dataset.base_inside.mean()),
    ]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    compared = {when: against(dataset, when) for when in WHEN}
    said = []
    for name, way in places(dataset, alone=False).items():
        seeds = [
            _run({when: of.isel(way=way).sel(seed=seed) for when, of in compared.items()})
            for seed in dataset.seed.values
        ]
        last = dataset.isel(way=way, drift=-1, seed=0)
        new = ", ".join(f"{word!r} {nats:.2f}" for word, nats in new_words(last)) or "none"
        said.append(f"{name}: {' | '.join(seeds)}; new words at {float(last.total):.2f} nats: {new}.")
    said += [_misses(dataset, when) for when in WHEN]
    by_chance = _listed(dataset, trained(dataset).agreement < CHANCE)
    said.append(
        f"Another set of answers would have given another first direction (correlation below {CHANCE:g}) in "
        f"{by_chance}: there the direction is mostly chance, and S is R² of the one "
        "that was taken."
    )
    rate = crossing(dataset)
    low, high = float(rate.min()), float(rate.max())
    said.append(
        f"R² of a first step passes 1/2 where gates learn {low:.3g} to {high:.3g} times as fast as adapters: "
        "how much of weak RL is selection is set by learning rates."
    )
    return said


def _run(here: dict[str, xr.Dataset]) -> str:
    begun = here["first"]
    measured = ", ".join(f"{_value(of.measured, of.error)} {WHEN[when]}" for when, of in here.items())
    return f"R² {_value(begun.predicted, begun.predicted_error)}, S {measured}"


def _misses(dataset: xr.Dataset, when: str) -> str:
    """Which runs miss the law, and by how much."""
    of = trained(dataset)
    drifts = of.total.where(measured_at(of, when))
    found = _listed(dataset, missed(dataset, when), runs(dataset, when))
    tell = telling(dataset, when)
    return (
        f"S less R² {WHEN[when]} ({float(drifts.min()):.2f} to {float(drifts.max()):.2f} nats) is beyond {ERRORS:g} "
        f"standard errors in {found}; {int(tell.sum())} of {tell.size} have an error small enough to tell."
    )


def _listed(dataset: xr.Dataset, chosen: xr.DataArray, differences: xr.Dataset | None = None) -> str:
    """Runs by name and seed, with S less R² where that is given."""
    found = []
    for way, name in enumerate(places(dataset, alone=False)):
        for i, seed in enumerate(dataset.seed.values):
            if chosen.isel(way=way, seed=i):
                found.append(f"{name}, seed {seed}")
                if differences is not None:
                    one = differences.isel(way=way, seed=i)
                    found[-1] += f" ({_value(one.difference, one.difference_error)})"
    return ", ".join(found) or "no run"


def _value(mean: xr.DataArray, error: xr.DataArray) -> str:
    return f"{float(mean):.2f} ± {float(error):.2f}"


def crossing(dataset: xr.Dataset) -> xr.DataArray:
    """The learning rate of gates, in units of the adapters', at which R² is 1/2 [way, seed]; nan where it never is."""
    logs = np.log(dataset.gate_rate.values)
    return xr.apply_ufunc(
        lambda rising: np.exp(np.interp(0.5, rising, logs, left=np.nan, right=np.nan)),
        dataset.by_rate.isel(way=list(own_directions(dataset).values())),
        input_core_dims=[["gate_rate"]],
        vectorize=True,
    )
