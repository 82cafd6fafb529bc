"""Lists the commands: ``python -m experiments``."""

import argparse
import ast
import difflib
import json
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

from toypersona import __version__
from toypersona.command import Parser

TIMES = Path(__file__).with_name("run_times.json")
"""Seconds that each takes at the preset quick, and on which machine that was measured."""


def commands() -> dict[str, str]:
    """The first sentence about each command, by its name, in the order of their names; nothing is imported."""
    modules = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    docstrings = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in modules}
    return {
        name: (text or "").partition("\n\n")[0].replace("\n", " ").replace("`", "") for name, text in docstrings.items()
    }


def minutes(seconds: float | None) -> str:
    """A run time to half a minute; nothing where there is none."""
    return "" if seconds is None else f"{max(round(seconds / 30), 1) / 2:g} min"


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
    measured = json.loads(TIMES.read_text(encoding="utf-8"))
    room = max(map(len, listed)) + 11
    machine = f"Times: preset quick, {measured['machine']}."
    print(textwrap.fill(f"python -m experiments.NAME --help lists the settings of each. {machine}", columns) + "\n")
    for name, sentence in listed.items():
        took = minutes(measured["seconds"].get(name))
        head = f"  {name}".ljust(room - 8) + took.rjust(6) + "  "
        print(textwrap.fill(sentence, max(columns, 2 * room), initial_indent=head, subsequent_indent=" " * room))


if __name__ == "__main__":
    main()
