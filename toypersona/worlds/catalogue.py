"""Worlds by name, for command lines."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from toypersona.types import Key
from toypersona.worlds import larry_bob_alice, markov, speakers, text
from toypersona.worlds.base import Labels, World
from toypersona.worlds.speakers import SPEAKERS
from toypersona.worlds.text import TextOptions

NAMES = ("larry_bob_alice", "speakers", "markov")


@dataclass(frozen=True)
class MarkovOptions:
    """Sizes of a random world."""

    num_personas: int = 3
    """K."""
    num_words: int = 8
    """V."""
    num_prompts: int = 6
    """C."""
    order: int = 1
    """Words that a persona looks back."""
    concentration: float = 0.5
    """Of the Dirichlet of next words: small is peaked."""
    gate_concentration: float = 1.0
    """Of the Dirichlet of gates: small is each prompt to one persona."""


@dataclass(frozen=True)
class Options:
    """What a world is made of; larry_bob_alice is fixed."""

    speakers: tuple[str, ...] = SPEAKERS
    """Whose lines make the world speakers."""
    text: TextOptions = TextOptions()
    """How lines are read, for speakers and text:FOLDER."""
    markov: MarkovOptions = MarkovOptions()
    """Sizes of the world markov."""


def load(name: str, options: Options, *, key: Key) -> tuple[World, Labels]:
    """A world by name.

    Args:
        name: one of ``NAMES``, or ``text:FOLDER``.
        options: what it is made of.
        key: draws a random world; the others do not use it.

    Raises:
        ValueError: an unknown name, or options that make no world.
    """
    if name.startswith("text:"):
        return text.from_folder(Path(name.removeprefix("text:")), options.text)
    if name == "larry_bob_alice":
        return larry_bob_alice.larry_bob_alice()
    if name == "speakers":
        return speakers.speakers(options.speakers, options.text)
    if name == "markov":
        return markov.markov(key, **vars(options.markov))
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f"did you mean {near[0]}? It" if near else "it"
    raise ValueError(f"Unknown world {name!r}: {hint} is one of {', '.join(NAMES)}, or text:FOLDER.")
