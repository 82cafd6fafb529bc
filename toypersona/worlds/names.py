"""What worlds and their personas are called, known before a world is made and before jax is imported."""

from collections.abc import Sequence
from pathlib import Path

from toypersona.limits import nearest
from toypersona.options import MOST_PERSONAS, WorldOptions

WORLDS = ("larry_bob_alice", "speakers", "markov")
LARRY_BOB_ALICE, NUM_WORDS = ("larry", "bob", "alice"), 12
"""Its personas, and V."""
FOLDER = "text:"
"""Before the folder of a world of one's own texts."""


def of_people(world: str) -> bool:
    """Whether a world is made of lines that somebody brings: what its people can be told apart by is not known."""
    return world == "speakers" or world.startswith(FOLDER)


def folder(world: str) -> Path | None:
    """The folder of ``text:FOLDER``; of other names none."""
    return Path(world.removeprefix(FOLDER)) if world.startswith(FOLDER) else None


def personas(world: str, options: WorldOptions) -> tuple[str, ...]:
    """The personas of the world called one of ``WORLDS``, or ``text:FOLDER``, in its order.

    Raises:
        ValueError: an unknown world, no folder of texts, fewer than two personas or more than ``MOST_PERSONAS``.
    """
    if world == FOLDER:
        raise ValueError("The world text:FOLDER has to name its folder, with a .txt file of lines for each persona.")
    if own := folder(world):
        return tuple(file.stem for file in texts(own))
    if world == "larry_bob_alice":
        return LARRY_BOB_ALICE
    if world == "speakers":
        return speakers(options.speakers)
    if world == "markov":
        return numbered(options.markov.num_personas)
    raise ValueError(f"Unknown world {world!r}{nearest(world, (*WORLDS, 'text:FOLDER'))}")


def speakers(names: Sequence[str]) -> tuple[str, ...]:
    """Names of speakers as the plays have them, each once.

    Raises:
        ValueError: fewer than two or more than ``MOST_PERSONAS``.
    """
    known = tuple(dict.fromkeys(name.strip().lower() for name in names))
    if not 2 <= len(known) <= MOST_PERSONAS:
        given = ", ".join(known) or "none"
        raise ValueError(f"A world needs from 2 to {MOST_PERSONAS} different speakers, not {given}: name others.")
    return known


def numbered(num: int) -> tuple[str, ...]:
    """A, B, C, ...: personas whom nobody named."""
    return tuple(chr(ord("A") + i) if i < 26 else f"P{i}" for i in range(num))


def texts(folder: Path) -> list[Path]:
    """The text files of a folder, one for each persona.

    Raises:
        ValueError: no such folder, fewer than two files or more than ``MOST_PERSONAS``, or two for one persona.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}: name one with a .txt file of lines for each persona.")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".txt" and file.is_file())
    if not 2 <= len(files) <= MOST_PERSONAS:
        raise ValueError(f"{folder} holds {len(files)} .txt files: a world needs 2 to {MOST_PERSONAS}, one a persona.")
    if len({file.stem for file in files}) < len(files):
        raise ValueError(f"Two .txt files of {folder} have the same name but for its ending: rename one.")
    return files
