"""Worlds by name, for command lines."""

import difflib
from pathlib import Path

from toypersona.options import WorldOptions
from toypersona.types import Key
from toypersona.worlds import larry_bob_alice, markov, speakers, text
from toypersona.worlds.world import Labels, World

NAMES = ("larry_bob_alice", "speakers", "markov")


def load(name: str, options: WorldOptions, *, key: Key) -> tuple[World, Labels]:
    """The world called one of ``NAMES``, or ``text:FOLDER``; the key draws a random one, the others do not use it.

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
