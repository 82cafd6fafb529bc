"""What is read from tilts of a language model's next token: S against R², and the words that no voice says."""

import numpy as np
import xarray as xr

from experiments.claims.weak_limit import EXTRAPOLATED, extrapolated
from experiments.shared.claim import Claim, at_most, each_at_most, grouped
from toypersona import datasets

WEAK, SLIGHT = 1e-4, 0.01
"""Nats below which a tilt is weak, and what S may then miss of R²: a skewed reward's drift soon tells."""

LESS_WEAK = 1e-3
"""Nats up to which it is also said."""

NEW = 0.05
"""By how much a token has to exceed its probability in every voice to be called new."""


def limits(dataset: xr.Dataset) -> xr.DataArray:
    """S(0+) from the three weakest tilts."""
    return extrapolated(dataset.selection_fraction, dataset.drift, "drift")[0]


def missed(dataset: xr.Dataset) -> xr.DataArray:
    """|S - R²| at every drift."""
    return abs(dataset.selection_fraction - dataset.predicted)


def weak(dataset: xr.Dataset) -> xr.Dataset:
    """The tilts of ``--weak``."""
    return dataset.sel(drift=slice(None, datasets.settings_of(dataset)["weak"][-1]))


def exceeding(dataset: xr.Dataset) -> list[tuple[str, float, float]]:
    """At one point: the new tokens in writing, each with its probability and the largest that any voice gives it."""
    texts = datasets.config_of(dataset)["texts"]
    ranked = zip(dataset.new_token.values, dataset.new_share.values, dataset.excess.values, strict=True)
    return [
        (texts[token].strip() or repr(texts[token]), share, share - over) for token, share, over in ranked if over > NEW
    ]


def claims(dataset: xr.Dataset) -> list[Claim]:
    """L1 at every question and reward; extrapolated, and as seen at weak drifts."""
    limit, near = abs(limits(dataset) - dataset.predicted), weak(dataset)
    cases = "largest at any question"
    return [
        *grouped("|S(0+) - R²|", each_at_most("theorem", cases, EXTRAPOLATED, limit, "reward")),
        *grouped(
            f"|S - R²| below {WEAK:g} nats",
            [
                *each_at_most("theorem", f"{cases} and drift", SLIGHT, missed(near), "reward"),
                at_most("theorem", "largest drift of them, nats", WEAK, near.total),
            ],
        ),
        at_most("identity", "Alice: 1 - R²", 1e-9, abs(1 - dataset.predicted.sel(reward="Alice"))),
    ]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    told, error = dataset.answer_information, dataset.answer_information_se
    mean, spread = float(told.mean()), float(np.sqrt((error**2).sum())) / told.size
    low, high = float(dataset.information.min()), float(dataset.information.max())
    less = missed(dataset).where(dataset.total < LESS_WEAK).max("drift").isel(seed=0)
    most = str(less.reward.values[less.max("question").values.argmax()])
    said = [
        f"Of ln 3 = 1.10 nats that could tell who speaks, an answer tells {mean:.2f} ± {spread:.2f}, its first token "
        f"{low:.2f} to {high:.2f}.",
        f"Up to {LESS_WEAK:g} nats S and R² differ by more than {SLIGHT:g} in {int((less > SLIGHT).sum())} of "
        f"{less.size} cases, by {float(less.max()):.3f} at most ({most}).",
    ]
    return [*said, *(_of_reward(dataset.isel(seed=0), str(name)) for name in dataset.reward.values)]


def _of_reward(dataset: xr.Dataset, name: str) -> str:
    """What a reward selects, weak and strong, and the new words of the strongest tilt at the first question."""
    one = dataset.sel(reward=name)
    strong, first = one.isel(drift=-1), one.isel(drift=-1, question=0)
    share = lambda values: f"{float(values.min()):.2f} to {float(values.max()):.2f}"  # noqa: E731
    new = ", ".join(f"{text} {share:.2f} (voices {most:.2f})" for text, share, most in exceeding(first)) or "none"
    return (
        f"{name}: R² {share(one.predicted)}; at {share(strong.total)} nats S {share(strong.selection_fraction)}; "
        f"new at the first question: {new}."
    )
