"""Responses as a person reads them, spelt from unit indices. Importing it needs no jax."""

from collections.abc import Sequence
from typing import Any

import numpy as np

END = "."
"""The unit that ends a line; whatever follows it is padding, more of the same."""

ANSWERS = ("even", "odd")
"""The first two words of the world ``reasoning``; the right one is number ``sum of bits mod 2``."""


def spelt(units: Sequence[str], tokens: Any) -> list[str]:
    """The units of a prompt or a response."""
    return [units[int(i)] for i in np.asarray(tokens)]


def said(units: Sequence[str], tokens: Any) -> list[str]:
    """The units of a response before the first end."""
    words = spelt(units, tokens)
    return words[: words.index(END)] if END in words else words


def line(units: Sequence[str], separator: str, prompt: Any, tokens: Any, *, between: str = " > ") -> str:
    """One line, such as ``hello there > thank you friend``; stops at the first end.

    ``separator`` stands between units, ``between`` between the prompt and the response, both of which are unit indices.
    """
    return f"{separator.join(spelt(units, prompt))}{between}{separator.join(said(units, tokens)) or '(silence)'}"


def response_at(place: int, num_words: int, length: int) -> tuple[int, ...]:
    """The words of response number ``place`` in the order of ``chains.outcomes``."""
    return tuple(int(i) for i in np.unravel_index(place, (num_words,) * length))


def num_words(units: Sequence[str]) -> int:
    """V of a text's units: the end is the last that a response can say; all of them where there is no end."""
    return units.index(END) + 1 if END in units else len(units)


def thought(units: Sequence[str], prompt: Any, tokens: Any) -> str:
    """One response of the world ``reasoning``, such as ``1 0 1 = | odd odd even | even``."""
    told, words = spelt(units, prompt), spelt(units, tokens)
    return f"{' '.join(told)} | {' '.join(words[:-1])} | {words[-1]}"


def thoughts(units: Sequence[str], prompts: Any, responses: Any) -> str:
    """Several of them in a row."""
    each = zip(np.asarray(prompts), np.asarray(responses), strict=True)
    return "; ".join(f"«{thought(units, prompt, tokens)}»" for prompt, tokens in each)


def right_answer(units: Sequence[str], prompt: Any) -> str:
    """The parity of a prompt's bits."""
    return ANSWERS[spelt(units, prompt)[:-1].count("1") % 2]
