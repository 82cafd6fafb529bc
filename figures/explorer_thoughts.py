"""What the explorer's second tab needs of the reasoning world's dataset: measures, and transcripts packed as text."""

from typing import Any

import numpy as np
import xarray as xr

from experiments.claims import reasoning as readings
from toypersona import datasets, transcripts

MEASURES = ("read", "sharpening", "keyed", "code", "accuracy", "agreement", "cost")
"""Drawn; those of the base as well."""

NUM_SEEDS = 2
"""Draws that are shown of all there are."""

STEP = 0.1
"""Nats that one letter of a ratio stands for."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
"""Digits from 0 to 63. Of ratios the one in the middle is 0, the first and the last stand for all that is beyond."""

ZERO = 2000
"""Thousandths that are added to what two letters stand for: it may be negative."""

SPOKEN = ("speaker", "length_cost", "strength", "seed")


def thoughts_data(dataset: xr.Dataset) -> dict[str, Any]:
    """Measures and transcripts of every rule, length cost, strength and draw.

    Returns:
        Names and values of the axes. In the order rule, length cost, strength, seed, as one text each: ``measures`` by
        name and ``shares`` (then by persona), two letters a number (``_packed``); ``phase``, a digit a number;
        ``lines``, records of one length (then by line, ``_records``). ``base``, by name, has a number a seed;
        ``prompts`` are the bits of [length cost][seed][line]; ``clear`` is the clearest point of each phase, as places
        of its length cost, strength and seed.

    Raises:
        ValueError: the dataset has no transcripts of every rule, or numbers that two letters cannot say.
    """
    if "line_ratio" not in dataset:
        raise ValueError("This dataset has transcripts of one rule only: run experiments.reasoning again.")
    config = datasets.config_of(dataset)
    shown = dataset.isel(seed=slice(NUM_SEEDS))
    policies = shown.sel(rule=shown.speaker.values).transpose("rule", *SPOKEN[1:], ...)
    base = shown.isel(length_cost=0)
    return {
        "rules": config["rules"],
        "defences": config["defences"],
        "phases": config["phases"],
        "words": config["units"][: config["units"].index("0")],
        "personas": shown.persona.values.tolist(),
        "costs": shown.length_cost.values.tolist(),
        "strengths": shown.strength.values.tolist(),
        "seeds": shown.seed.values.tolist(),
        "measures": {name: _packed(policies[name]) for name in MEASURES},
        "base": {name: _packed(base[f"base_{name}"]) for name in MEASURES},
        "shares": _packed(policies.share),
        "phase": "".join(map(str, policies.phase.values.astype(int).reshape(-1))),
        "prompts": _bits(shown, config["units"]),
        "lines": _records(shown),
        "step": STEP,
        "letters": LETTERS,
        "zero": ZERO,
        "clear": _clear(shown),
    }


def _packed(values: xr.DataArray) -> str:
    """Two letters a number: thousandths.

    Raises:
        ValueError: a number is too large, or not known.
    """
    numbers = np.rint(1000 * values.values.reshape(-1)) + ZERO
    if not ((numbers >= 0) & (numbers < len(LETTERS) ** 2)).all():
        raise ValueError(f"{values.name} is not between -2 and 2 everywhere, which is what two letters can say.")
    return "".join(_pair(int(number)) for number in numbers)


def _pair(number: int) -> str:
    """Two letters, for a number below 64²."""
    return LETTERS[number // len(LETTERS)] + LETTERS[number % len(LETTERS)]


def _bits(dataset: xr.Dataset, units: list[str]) -> list[list[list[str]]]:
    """The bits of every prompt; they are the same for all rules and strengths."""
    prompts = dataset.line_prompt.isel(speaker=0, strength=0).transpose("length_cost", "seed", "line", "unit").values
    return [[["".join(transcripts.spelt(units, row)[:-1]) for row in seed] for seed in cost] for cost in prompts]


def _records(dataset: xr.Dataset) -> str:
    """Of every line: what is said, two letters; the reader's thousandths of odd, two; the ratio of each word, one.

    What is said is one number: digits to the base ``num_words`` for the words and the answer, then one for who speaks.
    """
    each = dataset[["line_tokens", "line_persona", "line_reader", "line_ratio"]].transpose(*SPOKEN, "line", "place")
    length, num_personas = each.sizes["place"], dataset.sizes["persona"]
    num_words, middle = datasets.config_of(dataset)["units"].index("0"), len(LETTERS) // 2
    if num_words**length * num_personas > len(LETTERS) ** 2:
        raise ValueError(f"{length - 1} thoughts are too many for what two letters can say: run it with 3 bits.")
    tokens = each.line_tokens.values.reshape(-1, length).astype(int)
    said = tokens @ num_words ** np.arange(length - 1, -1, -1) * num_personas + each.line_persona.values.reshape(-1)
    ratios = np.clip(np.rint(each.line_ratio.values / STEP) + middle, 0, len(LETTERS) - 1).astype(int)
    odd = np.rint(1000 * each.line_reader.values).astype(int).reshape(-1)
    return "".join(
        _pair(int(words)) + _pair(int(thousandths)) + "".join(LETTERS[i] for i in letters)
        for words, thousandths, letters in zip(said, odd, ratios.reshape(-1, length), strict=True)
    )


def _clear(dataset: xr.Dataset) -> dict[str, list[int]]:
    """Where the exact gradient shows each phase most clearly."""
    points = readings.clearest(dataset, dataset.sizes["line"])
    axes = ("length_cost", "strength", "seed")
    return {
        phase: [dataset[axis].values.tolist().index(point[axis].item()) for axis in axes]
        for phase, point in points.items()
    }
