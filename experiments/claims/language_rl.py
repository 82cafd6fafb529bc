"""What is read from RL on a language model: S against R² of the rule's first direction, controls, and new words."""

import numpy as np
import xarray as xr

from experiments.shared.claim import Claim, at_most, grouped, near
from toypersona import datasets

ALONE = ", gates alone"
"""How the names of controls end."""

WEAK = 0.1, 0.6
"""Nats of drift at which S is compared with R²."""

ERRORS = 3.0
"""Standard errors by which they may differ."""

KNOWN = 0.15
"""Largest standard error of S less R²: a larger one could not go against a law."""

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


def reached(dataset: xr.Dataset) -> xr.DataArray:
    """Which drifts were reached: where one was not, the last answers stand again."""
    return dataset.step.diff("drift", label="upper").reindex(drift=dataset.drift, fill_value=1) > 0


def weak(dataset: xr.Dataset) -> xr.DataArray:
    """Drifts at which S is compared with R²: from a tenth of a nat to half a nat or a little more."""
    return reached(dataset) & (dataset.total >= WEAK[0]) & (dataset.total <= WEAK[1])


def pooled(values: xr.DataArray, error: xr.DataArray, where: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """The mean along a run, and its standard error: answers at each drift are drawn anew."""
    num = where.sum("drift")
    return values.where(where).mean("drift"), (error.where(where) ** 2).sum("drift") ** 0.5 / num


WHEN = {"first": "after the first step", "weak": f"at {WEAK[0]:g} to {WEAK[1]:g} nats"}
"""Where S is compared with R²: the law is one of weak steps; later steps go in directions of their own."""


def against(dataset: xr.Dataset, when: str) -> xr.Dataset:
    """S of every run in one place of ``WHEN``, R², how far apart they are, and errors [way, seed]."""
    here = weak(dataset) if when == "weak" else (dataset.step == 1) & (dataset.drift == 0)
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
    return against(dataset, when).isel(way=list(places(dataset, alone=False).values()))


def missed(dataset: xr.Dataset, when: str) -> xr.DataArray:
    """Which of them miss the law [way, seed]; one that was not measured there does, too."""
    here = runs(dataset, when)
    return ~(abs(here.difference) <= ERRORS * here.difference_error)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """L1 in every run, with errors that could have told, and what gates alone do."""
    alone = dataset.isel(way=list(places(dataset, alone=True).values()))
    compared = [
        claim
        for when, said in WHEN.items()
        for claim in grouped(
            f"S {said} is R² of the rule's own direction",
            [
                at_most(
                    "prediction",
                    f"runs of {missed(dataset, when).size} that miss it by more than {ERRORS:g} standard errors",
                    0.0,
                    missed(dataset, when).sum(),
                ),
                at_most("finding", "largest standard error", KNOWN, runs(dataset, when).difference_error),
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
    places_of = {when: against(dataset, when) for when in WHEN}
    every = places(dataset, alone=False)
    said = []
    for name, way in every.items():
        run, here = dataset.isel(way=way), {when: each.isel(way=way) for when, each in places_of.items()}
        each = " | ".join(_run({when: of.sel(seed=seed) for when, of in here.items()}) for seed in dataset.seed.values)
        last = run.isel(drift=-1, seed=0)
        new = ", ".join(f"{word!r} {nats:.2f}" for word, nats in new_words(last)) or "none"
        said.append(f"{name}: {each}; new words at {float(last.total):.2f} nats: {new}.")
    said += [_missing(dataset, when) for when in WHEN]
    alike = dataset.agreement.isel(way=list(every.values()))
    said.append(
        f"First directions of two independent sets of answers have a correlation of {float(alike.min()):.2f} to "
        f"{float(alike.max()):.2f}: where it is small, R² is that of noise."
    )
    rate = crossing(dataset)
    low, high = float(rate.min()), float(rate.max())
    said.append(
        f"R² of a first step passes 1/2 where gates learn {low:.3g} to {high:.3g} times as fast as adapters: "
        "how much of weak RL is selection is set by learning rates."
    )
    return said


def _run(here: dict[str, xr.Dataset]) -> str:
    first = here["first"]
    measured = ", ".join(f"{_value(of.measured, of.error)} {WHEN[when]}" for when, of in here.items())
    return f"R² {_value(first.predicted, first.predicted_error)}, S {measured}"


def _missing(dataset: xr.Dataset, when: str) -> str:
    """Which runs miss the law, and by how much."""
    here, absent = runs(dataset, when), missed(dataset, when)
    found = [
        f"{name}, seed {seed} ({_value(one.difference, one.difference_error)})"
        for way, name in enumerate(places(dataset, alone=False))
        for seed in dataset.seed.values
        if bool(absent.isel(way=way).sel(seed=seed))
        for one in [here.isel(way=way).sel(seed=seed)]
    ]
    return f"S less R² {WHEN[when]} is beyond {ERRORS:g} standard errors in {', '.join(found) or 'no run'}."


def _value(mean: xr.DataArray, error: xr.DataArray) -> str:
    return f"{float(mean):.2f} ± {float(error):.2f}"


def crossing(dataset: xr.Dataset) -> xr.DataArray:
    """The learning rate of gates, in units of the adapters', at which R² is 1/2 [way, seed]; nan where it never is."""
    trained = dataset.isel(way=list(places(dataset, alone=False).values()))
    logs = np.log(dataset.gate_rate.values)
    return xr.apply_ufunc(
        lambda rising: np.exp(np.interp(0.5, rising, logs, left=np.nan, right=np.nan)),
        trained.by_rate,
        input_core_dims=[["gate_rate"]],
        vectorize=True,
    )
