"""Worlds by name, for command lines."""

from toypersona.options import WorldOptions
from toypersona.types import Key
from toypersona.worlds import larry_bob_alice, markov, names, speakers, text
from toypersona.worlds.world import Labels, World


def load(name: str, options: WorldOptions, *, key: Key) -> tuple[World, Labels]:
    """The world called one of ``names.WORLDS``, or ``text:FOLDER``; the key draws a random one and nothing else.

    Raises:
        ValueError: an unknown name, or options that make no world.
    """
    names.personas(name, options)
    if folder := names.folder(name):
        return text.from_folder(folder, options.text)
    if name == "larry_bob_alice":
        return larry_bob_alice.larry_bob_alice()
    if name == "speakers":
        return speakers.speakers(options.speakers, options.text)
    return markov.markov(key, **vars(options.markov))
