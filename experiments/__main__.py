"""Lists the commands: ``python -m experiments``."""

import ast
import shutil
import textwrap
from pathlib import Path


def commands() -> dict[str, str]:
    """The first sentence about each command, by its name, in the order of their names; nothing is imported."""
    modules = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    docstrings = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in modules}
    return {name: (text or "").partition("\n\n")[0].replace("\n", " ") for name, text in docstrings.items()}


def main() -> None:
    """Print them."""
    listed, columns = commands(), shutil.get_terminal_size((80, 24)).columns
    room = max(map(len, listed)) + 4
    print("python -m experiments.NAME --help lists the settings of each:\n")
    for name, sentence in listed.items():
        head = f"  {name}".ljust(room)
        print(textwrap.fill(sentence, max(columns, 2 * room), initial_indent=head, subsequent_indent=" " * room))


if __name__ == "__main__":
    main()
