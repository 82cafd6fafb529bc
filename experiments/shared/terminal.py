"""What an experiment prints, fitted to the terminal: claims in a table, findings in words. Plain text, no colours."""

import itertools
import math
import shutil
import textwrap
from collections.abc import Iterable, Sequence

from experiments.shared.claim import CHECKS, COUNTED, ROUNDING, Claim

UNKNOWN = (80, 24)
"""Columns and lines where output is no terminal."""

NARROW = 80
"""Columns that a table needs at least."""

HEADER = ("predicted", "measured", "std. error", "allowance", "fails at", "holds")


def width() -> int:
    """Columns to print in."""
    return max(NARROW, shutil.get_terminal_size(UNKNOWN).columns)


def number(value: float, digits: int = 4, infinite: str = "not reached") -> str:
    """A number, in words where digits would not say what it is: unknown, infinite, or no more than rounding."""
    if math.isnan(value):
        return "not known"
    if math.isinf(value):
        return infinite
    if 0 < abs(value) < ROUNDING:
        return f"below {ROUNDING:g}"
    # Rounded, then printed: 640, not 6.4e+02.
    return f"{float(f'{value:.{digits}g}'):g}"


def wrapped(text: str, columns: int, first: str = "", others: str = "") -> list[str]:
    """Lines of a text; words are never cut."""
    return textwrap.wrap(
        text, columns, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )


def table(claims: Sequence[Claim], columns: int | None = None) -> str:
    """The claims under their headings, which say of what kind they are; numbers stand to the right of what is claimed.

    Args:
        claims: those of one group side by side.
        columns: of the terminal, asked for unless given.
    """
    columns = columns or width()
    cells = [_cells(each) for each in claims]
    sizes = [max(map(len, column)) for column in zip(HEADER, *cells, strict=True)]
    # Where numbers leave a claim too little room, they stand below it.
    room = columns - sum(sizes) - 2 * len(sizes)
    beside = room >= columns // 3
    lines = [_right(HEADER, sizes, columns)]
    for heading, rows in itertools.groupby(zip(claims, cells, strict=True), key=lambda row: _heading(row[0])):
        lines += wrapped(heading, columns)
        for each, numbers in rows:
            text = wrapped(each.what, room if beside else columns, "  ", "    ")
            numbers = _right(numbers, sizes, columns)
            lines += [text[0] + numbers[len(text[0]) :], *text[1:]] if beside else [*text, numbers]
    return "\n".join(lines)


def _heading(claim: Claim) -> str:
    return f"{claim.group} ({claim.kind})" if claim.group else claim.kind.capitalize()


def _cells(claim: Claim) -> tuple[str, ...]:
    bound = claim.relation == "≤"
    measured = number(claim.measured, infinite="infinite" if bound else "not reached")
    fails_at = "" if bound else number(claim.fails_at if math.isfinite(claim.within) else math.nan)
    error, allowance = (number(x, 2, infinite="not known") if x else "" for x in (claim.uncertainty, claim.allowance))
    return f"{claim.relation} {number(claim.predicted)}", measured, error, allowance, fails_at, claim.verdict


def _right(cells: Iterable[str], sizes: Iterable[int], columns: int) -> str:
    *numbers, last = zip(cells, sizes, strict=True)
    aligned = [cell.rjust(size) for cell, size in numbers] + [last[0].ljust(last[1])]
    return "  ".join(aligned).rjust(columns).rstrip()


def findings(sentences: Iterable[str], columns: int | None = None) -> str:
    """What a reader should take away, a paragraph each."""
    columns = columns or width()
    return "\n".join(line for sentence in sentences for line in wrapped(sentence, columns, "- ", "  "))


def verdict(claims: Sequence[Claim], columns: int | None = None) -> str:
    """How many claims of each kind hold, those that say something of the world first, and each that does not hold."""
    columns, counts = columns or width(), []
    for kinds in (*((kind,) for kind in COUNTED), CHECKS):
        of = [each for each in claims if each.kind in kinds]
        name = kinds[0] if kinds != CHECKS else "check"
        if of:
            counts.append(f"{sum(each.holds for each in of)} of {len(of)} {name}{'s' * (len(of) != 1)}")
    lines = [f"{', '.join(counts)} hold", *failures(claims, columns)]
    if any(not each.can_tell and each.freedom < 1 for each in claims):
        lines += wrapped("One seed has no standard error: give --seeds two or more.", columns, "  ", "    ")
    return "\n".join(lines)


def failures(claims: Iterable[Claim], columns: int | None = None) -> list[str]:
    """Each claim that does not hold, or cannot tell, with its numbers: lines of text."""
    columns, lines = columns or width(), []
    for each in claims:
        if not each.holds:
            predicted, measured, *_ = _cells(each)
            error = number(each.within, 2, infinite="not known")
            of, within = f"{each.group}: " if each.group else "", f" ± {error}" if each.relation == "=" else ""
            fails = "does not hold" if each.can_tell else "cannot tell"
            text = f"{of}{each.what}: predicted {predicted.removeprefix('= ')}{within}, measured {measured}"
            lines += wrapped(f"{fails}: {text}", columns, "  ", "    ")
    return lines
