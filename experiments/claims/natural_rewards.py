"""What is read from rewards as they are: how much of each tells who is talking, and how that grows with the answer."""

import numpy as np
import xarray as xr

from experiments.shared.claim import Claim, at_most, drawn, grouped, mean_of
from toypersona import datasets

RIGHT = "right answers"
LAW = 0.1
"""Part of a share by which a law of averages may miss."""

ENDLESS = 16
"""Words from which moments per word of an endless answer say what a long one does, and others have ended."""


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What right answers and rewards per word tell of who is talking, at every length."""
    right, words = dataset.share.sel(reward=RIGHT), dataset.sel(per_word="words")
    made = []
    for length in dataset.length.values:
        law, what = dataset.chance.sel(length=length), f"{RIGHT}, T = {length}: R²"
        made.append(_predicted(what, law, right.sel(length=length), LAW * law.mean(), 2 * law.mean()))
    if datasets.config_of(dataset)["ends"]:
        # Once answers have ended nothing more is paid.
        first, *rest = words.long.values[words.long.values >= ENDLESS]
        for length in rest:
            law, seen = (words.between.sel(long=n, drop=True) for n in (first, length))
            what = f"words, T = {length}: variance between personas, as at T = {first}"
            made.append(drawn("theorem", what, law, seen, LAW / 2 * law.mean(), possible=(0, 1)))
    else:
        for length in words.long.values[words.long.values >= ENDLESS]:
            law, seen = (x.sel(long=length) for x in (words.between_law, words.between))
            what = f"words, T = {length}: variance between personas, T B/(T B + W)"
            made.append(_predicted(what, law, seen, LAW / 2 * law.mean(), 1.0))
    listed = dataset.share.sel(reward="words")
    shared = np.intersect1d(dataset.length, dataset.long)
    both = words.between.sel(long=shared).rename(long="length")
    return [
        *grouped("Rewards as they are, by length", made),
        at_most(
            "theorem", "words: part of the variance between personas less R²", 1e-4, both - listed.sel(length=shared)
        ),
    ]


def _predicted(
    what: str, law: xr.DataArray, seen: xr.DataArray, allowance: xr.DataArray, most: xr.DataArray | float
) -> Claim:
    return drawn("prediction", what, law, seen, allowance, possible=(0, most))


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    first, last = (dataset.isel(length=i).angle_as_it_is for i in (0, -1))
    said = [
        f"{name}: {mean_of(first.sel(reward=name), 1)}° at one word, {mean_of(last.sel(reward=name), 1)}° at "
        f"{last.length.item()}."
        for name in dataset.reward.values
    ]
    long = dataset.between.mean("seed")
    shares = "; ".join(
        f"{name} {', '.join(f'{long.sel(per_word=name, long=n).item():.2f} at {n}' for n in long.long.values[::2])}"
        for name in dataset.per_word.values
    )
    return [*said, f"Share of the variance between personas, by length: {shares}."]
