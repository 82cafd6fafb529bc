"""Larry, Bob and Alice as a pretrained language model plays them: eight lines of each, and then a stranger's question.

A small model goes on in the voice of the lines that it has just read; told in a sentence who it is, it does not. The
same eight questions come before everybody's lines, so that answers alone tell who is talking. Lines are ended by a line
break, and so is an answer.
"""

from collections.abc import Iterable
from importlib import resources

import numpy as np

from toypersona.worlds import names

NAMES = names.LARRY_BOB_ALICE
TEMPERATURE = 0.7
"""Of every voice: its logits are divided by this. At 1 a small model often says nothing that makes sense."""


def lines(name: str) -> list[tuple[str, str]]:
    """Eight questions and what this voice answers.

    Raises:
        FileNotFoundError: there is no such voice.
    """
    return list(zip(_read("questions"), _read(name), strict=True))


def shuffled(order: int) -> list[tuple[str, str]]:
    """Everybody's lines in one random order: after these it is open who is talking."""
    every = [line for name in NAMES for line in lines(name)]
    return [every[i] for i in np.random.default_rng(order).permutation(len(every))]


def questions() -> list[str]:
    """What is asked: none of the questions of the lines."""
    return _read("asked")


def prompt(spoken: Iterable[tuple[str, str]], question: str) -> str:
    """What the model reads: lines, and a question whose answer it has to begin, with a space."""
    before = "".join(f"Stranger: {asked}\nAnswer: {said}\n" for asked, said in spoken)
    return f"{before}Stranger: {question}\nAnswer:"


def _read(name: str) -> list[str]:
    folder = resources.files("toypersona.worlds") / "lines" / "voices"
    return (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
