"""How many claims of a folder hold, and which do not; with --all each of them, in one table.

It reads every ``NAME.claims.json`` below the folder and says of each dataset how many predictions, findings and checks
hold, and which claims do not or cannot tell. Exit code 0: all hold; 1: one does not hold, or its data cannot tell; 2:
the folder holds no claims, or a file of them is damaged.
"""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from experiments.shared import terminal
from experiments.shared.claim import CHECKS, COUNTED, Claim, Kind
from toypersona.command import Parser

ENDING = ".claims.json"
COLUMNS = {"predictions": COUNTED[:1], "findings": COUNTED[1:], "checks": CHECKS}
"""Kinds of claims in each column."""

TYPES = {"bool": (bool,), "float": (int, float, type(None))}
"""What the JSON of a claim has for each type of a field, else text; null is a number that is infinite or not known."""


def read(folder: Path) -> dict[str, list[Claim]]:
    """The claims of each dataset below a folder, by its path there.

    Raises:
        ValueError: there are none, or a file of them is damaged.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: pass one that experiments have written to, as results/quick.")
    found = {path: _claims(path) for path in sorted(folder.rglob(f"*{ENDING}"))}
    if not found:
        raise ValueError(f"{folder} holds no claims: pass a folder that experiments have written to, as results/quick.")
    return {path.relative_to(folder).as_posix().removesuffix(ENDING): claims for path, claims in found.items()}


def _claims(path: Path) -> list[Claim]:
    try:
        claims = [_claim(row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged or of another version: run its experiment again.") from error
    if not claims:
        raise ValueError(f"{path} is empty: run its experiment again.")
    return claims


def _claim(row: dict[str, Any]) -> Claim:
    """From its JSON, where null stands for what is infinite or not known."""
    values: dict[str, Any] = {name: row[name] for name in Claim.__dataclass_fields__}
    for name, field in Claim.__dataclass_fields__.items():
        if type(values[name]) not in TYPES.get(field.type, (str,)):
            raise TypeError(f"{name} is of another type")
        if values[name] is None:
            values[name] = math.inf if name == "freedom" else math.nan
    if values["kind"] not in get_args(Kind) or values["relation"] not in ("=", "≤"):
        raise ValueError("a kind or a relation that no claim has")
    return Claim(**values)


def table(of_each: dict[str, list[Claim]]) -> str:
    """How many claims of each kind hold, a dataset a line, and of all; then those that do not hold."""
    everything = [each for claims in of_each.values() for each in claims]
    rows = [("claims that hold", *COLUMNS)]
    for name, claims in {**of_each, "all": everything}.items():
        counted = ([each for each in claims if each.kind in kinds] for kinds in COLUMNS.values())
        rows.append((name, *(f"{sum(c.holds for c in of)} of {len(of)}" if of else "" for of in counted)))
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([first.ljust(sizes[0]), *map(str.rjust, numbers, sizes[1:])]).rstrip() for first, *numbers in rows
    ]
    for name, claims in of_each.items():
        failed = terminal.failures(claims)
        lines += ["", f"{name}:", *failed] if failed else []
    return "\n".join(lines)


def everything(of_each: dict[str, list[Claim]]) -> str:
    """Each claim with its numbers, by its dataset, and below them what ``table`` says."""
    blocks = [f"{name}:\n{terminal.table(claims)}" for name, claims in of_each.items()]
    return "\n\n".join([*blocks, table(of_each)])


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Print the table of the folder that the command line names, and exit."""
    text, _, more = (__doc__ or "").replace("`", "").partition("\n\n")
    parser = Parser(prog="python -m experiments.results", description=text, epilog=more)
    parser.add_argument("folder", type=Path, metavar="DIR", help="that experiments have written to, as results/quick")
    parser.add_argument("--all", action="store_true", help="show each claim with its numbers, not their counts alone")
    given = parser.parse_args(arguments)
    try:
        found = read(given.folder)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(everything(found) if given.all else table(found))
    sys.exit(0 if all(each.holds for claims in found.values() for each in claims) else 1)


if __name__ == "__main__":
    main()
