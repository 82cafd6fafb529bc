"""What the explorer's map needs of a world, read from its dataset: who says which word next, and of one the map.

Personas that are Markov chains are told by the first word's and the next word's probabilities. Of all V^T answers the
page multiplies them out again, and it computes every reward from one score a word. The first world's map is there at
once; the page computes that of another when it is asked for.
"""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from toypersona import datasets, transcripts

EXACT = 1e-9
"""By how much, in nats and in rewards of variance 1, what the page will compute may miss what the dataset holds."""

TITLES = {"larry_bob_alice": "Larry, Bob and Alice", "speakers": "Iago, Falstaff and Rosalind", "markov": "Random"}


def map_data(worlds: dict[str, xr.Dataset]) -> dict[str, Any]:
    """The tables and reward of every world, first seed, and of the first one the tilt's map.

    Raises:
        ValueError: a world's personas are no chains of order 1, or its reward pays for no words.
    """
    return {"worlds": [_world(name, each.isel(seed=0), not at) for at, (name, each) in enumerate(worlds.items())]}


def _world(name: str, one: xr.Dataset, with_map: bool) -> dict[str, Any]:
    names, settings = datasets.config_of(one), datasets.settings_of(one)
    length, num_words = settings["length"], transcripts.num_words(names["units"])
    first, following = _chains(name, one.log_personas.values, num_words, length)
    scores = _scores(name, one, num_words, length)
    return {
        "name": name,
        "title": TITLES.get(name, name),
        **{key: names[key] for key in ("personas", "units", "separator", "helpful")},
        "prompts": names["prompts"][settings["seeds"].index(int(one.seed))],
        "length": length,
        **{key: _decimals(one[key].values, 9) for key in ("log_prompts", "log_gates")},
        **{key: _decimals(values, 9) for key, values in (("first", first), ("next", following))},
        "scores": _decimals(scores, 12),
        "angles": one.angle.values.tolist(),
        "strengths": one.strength.values.tolist(),
        "map": _map(one.sel(rule="tilt")) if with_map else None,
    }


def _map(tilt: xr.Dataset) -> list[dict[str, list]]:
    """What shade and boundaries are read from, angle by angle."""
    rows = tilt.transpose("angle", "strength", ...)
    names = {"fraction": rows.selection_fraction, "largest": rows.largest_weight}
    # Distances of weak RL are small, and a boundary is read from their logarithms.
    hull = [[float(f"{d:.6g}") for d in row] for row in rows.hull_distance.values]
    shades = {name: _decimals(values.values, 6) for name, values in names.items()} | {"hull": hull}
    return [{name: values[i] for name, values in shades.items()} for i in range(rows.sizes["angle"])]


def _decimals(values: np.ndarray, decimals: int) -> list:
    """Nested lists of rounded numbers."""
    return np.round(values, decimals).tolist()


def _chains(
    name: str, log_personas: Float[np.ndarray, "C K N"], num_words: int, length: int
) -> tuple[Float[np.ndarray, "D K V"], Float[np.ndarray, "K V V"]]:
    """Log-probabilities of the first word at every prompt, once if they are the same at all, and of the next word."""
    num_prompts, num_personas, _ = log_personas.shape
    listed = log_personas.reshape(num_prompts, num_personas, num_words, num_words, -1)
    pairs = np.logaddexp.reduce(listed, axis=-1)
    first = np.logaddexp.reduce(pairs, axis=-1)
    following = (pairs - first[..., None])[0]
    answers = first
    for _ in range(length - 1):
        last = np.arange(answers.shape[-1]) % num_words
        answers = (answers[..., None] + following[:, last]).reshape(num_prompts, num_personas, -1)
    missed = np.abs(answers - log_personas).max()
    if not missed <= EXACT:  # NaN too
        raise ValueError(f"The personas of {name} are no Markov chains of order 1: the explorer cannot hold them.")
    shared = np.ptp(first, axis=0).max() < EXACT
    return (first[:1] if shared else first), following


def _scores(name: str, one: xr.Dataset, num_words: int, length: int) -> Float[np.ndarray, " V"]:
    """A score for each word whose sum is what the reward at 90 degrees is made of; the size is not told by it.

    That reward is the part of the sum that is orthogonal, under the base, to the personas' likelihood ratios. So is
    that part of how often each word was said, and the scores are the regression of the one on the other.
    """
    paid = one.reward_table.sel(angle=90.0).values
    words = np.stack(np.unravel_index(np.arange(num_words**length), (num_words,) * length))
    counts = (words[..., None] == np.arange(num_words)).sum(axis=0).astype(float)
    rows, values = [], []
    for base, personas, reward in zip(one.log_base.values, one.log_personas.values, paid, strict=True):
        root = np.exp(base / 2)[:, None]
        hull = np.linalg.qr(np.exp(personas - base / 2).T)[0]
        rows.append(root * counts - hull @ (hull.T @ (root * counts)))
        values.append(root[:, 0] * reward)
    left, right = np.concatenate(rows), np.concatenate(values)
    scores = np.linalg.lstsq(left, right, rcond=None)[0]
    if not np.abs(left @ scores - right).max() <= EXACT:
        raise ValueError(f"The reward of {name} pays for no words: the explorer needs the feature words.")
    return scores - scores.mean()
