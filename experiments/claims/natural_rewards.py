"""What is read from rewards as they are: how much of each tells who is talking, and how that grows with the answer."""

import numpy as np
import xarray as xr

from experiments.shared.claim import DRAWS, Claim, at_most, grouped, near
from toypersona import datasets

RIGHT = "right answers"
LAW = 0.1
"""Part of a share by which a law of averages may miss."""

ENDLESS = 16
"""Words from which moments per word of an endless answer say what a long one does."""


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What right answers and rewards per word tell of who is talking, at every length."""
    made = []
    for length in dataset.length.values:
        law, seen = dataset.chance.sel(length=length), dataset.share.sel(reward=RIGHT, length=length)
        allowed = 3 * _error(seen - law) + LAW * law.mean()
        made.append(
            near(
                "prediction",
                f"{RIGHT}, {length} words: R²",
                law.mean(),
                seen.mean(),
                allowed,
                possible=(0, 2 * law.mean()),
            )
        )
    words = dataset.sel(per_word="words")
    if datasets.config_of(dataset)["ends"]:
        made += _ended(dataset)
    else:
        for length in words.long.values[words.long.values >= ENDLESS]:
            law, seen = (x.sel(long=length) for x in (words.between_law, words.between))
            what = f"words, {length} of them: share of the variance between personas, T B/(T B + W)"
            made.append(
                near(
                    "prediction",
                    what,
                    law.mean(),
                    seen.mean(),
                    3 * _error(seen - law) + LAW / 2 * law.mean(),
                    possible=(0, 1),
                )
            )
    both = words.between.sel(long=dataset.length.values).rename(long="length")
    listed = dataset.share.sel(reward="words")
    return [
        *grouped("Rewards as they are, by length", made),
        *grouped(
            "Bounds",
            [
                at_most("theorem", "words: variance between personas less R²", 1e-4, both - listed),
                at_most(
                    "finding",
                    "words: R² at one word less R² at the most, mean",
                    0.0,
                    (listed.isel(length=0) - listed.isel(length=-1)).mean(),
                ),
            ],
        ),
    ]


def _ended(dataset: xr.Dataset) -> list[Claim]:
    """Answers that end: padding is paid too, so that words come to pay for brevity alone."""
    made, last = [], dataset.long.values[-1]
    rest = dataset.between.sel(long=last)
    words, brevity = rest.sel(per_word="words"), rest.sel(per_word="brevity")
    what = f"words, {last} of them: share between personas, that of brevity"
    made.append(
        near(
            "prediction",
            what,
            brevity.mean(),
            words.mean(),
            3 * _error(words - brevity) + LAW * brevity.mean(),
            possible=(0, 1),
        )
    )
    return made


def _error(values: xr.DataArray) -> float:
    """Standard error over the draws."""
    return float(values.std(ddof=1)) / np.sqrt(values.size)


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    angles, first, last = dataset.angle_as_it_is.mean(DRAWS), dataset.length.values[0], dataset.length.values[-1]
    said = [
        f"{name}: {angles.sel(reward=name, length=first).item():.0f}° at one word, "
        f"{angles.sel(reward=name, length=last).item():.0f}° at {last}."
        for name in dataset.reward.values
    ]
    long = dataset.between.mean(DRAWS)
    shares = "; ".join(
        f"{name} {', '.join(f'{long.sel(per_word=name, long=n).item():.2f} at {n}' for n in long.long.values[::2])}"
        for name in dataset.per_word.values
    )
    return [*said, f"Share of the variance between personas, by length: {shares}."]
