"""Lists the commands: ``python -m experiments``."""

import argparse
import ast
import difflib
import re
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

from toypersona import __version__
from toypersona.command import Parser

TAKES = r"On 2 cores the preset quick takes ([^.,]+)"
"""How the docstring of each experiment says its run time."""


def commands() -> dict[str, str]:
    """The first sentence about each command and its run time, by its name, in the order of their names.

    Nothing is imported.
    """
    modules = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    docstrings = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in modules}
    return {name: _said(text or "") for name, text in docstrings.items()}


def _said(text: str) -> str:
    first, takes = text.partition("\n\n")[0], re.search(TAKES, " ".join(text.split()))
    return " ".join(first.replace("`", "").split()) + (f" ({takes[1]})" if takes else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print them."""
    parser = Parser(prog="python -m experiments", description="List the experiments and how long each takes.")
    parser.add_argument("--version", action="version", version=f"toypersona {__version__}")
    parser.add_argument("name", nargs="?", help=argparse.SUPPRESS)
    listed, asked = commands(), parser.parse_args(arguments).name
    if asked is not None:
        close = [asked] if asked in listed else difflib.get_close_matches(asked, listed, 1)
        parser.error(f"{asked} is not run like this: python -m experiments.{(close or ['NAME'])[0]} --help says how.")
    columns = shutil.get_terminal_size((80, 24)).columns
    room = max(map(len, listed)) + 4
    print("python -m experiments.NAME --help lists the settings of each.")
    print("In brackets: how long the preset quick takes on 2 CPU cores.\n")
    for name, sentence in listed.items():
        head = f"  {name}".ljust(room)
        print(textwrap.fill(sentence, max(columns, 2 * room), initial_indent=head, subsequent_indent=" " * room))


if __name__ == "__main__":
    main()
