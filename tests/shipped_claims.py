"""What ``figures/out/claims.json`` says, and how its numbers are written in sentences."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parents[1] / "figures" / "out" / "claims.json"

LARRY, LAWS, THOUGHTS, VOICES = "larry_bob_alice", "laws", "thoughts", "language_model"


class Shipped:
    """Claims and findings by the folder and name of their dataset."""

    def __init__(self) -> None:
        """Of the shipped file."""
        self.all: dict[str, Any] = json.loads(SHIPPED.read_text())

    def claim(self, where: str, what: str) -> dict[str, Any]:
        """The one claim whose group and text contain this."""
        found = [one for one in self.all[where]["claims"] if what in f"{one['group']}: {one['what']}"]
        assert len(found) == 1, (where, what, [one["what"] for one in found])
        return found[0]

    def said(self, where: str, pattern: str) -> tuple[str, ...]:
        """The groups of a pattern in the findings."""
        text = " ".join(self.all[where]["findings"])
        found = re.search(pattern, text)
        assert found is not None, (where, pattern)
        return found.groups()

    def counts(self, kind: str) -> tuple[int, int]:
        """How many claims of a kind hold, and how many there are, in all datasets."""
        of = [one for each in self.all.values() for one in each["claims"] if one["kind"] == kind]
        return sum(one["holds"] for one in of), len(of)

    def failing(self) -> list[str]:
        """All that do not hold, in words."""
        return [
            f"{where.rpartition('/')[2]}, {one['group']}"
            for where, each in self.all.items()
            for one in each["claims"]
            if not one["holds"]
        ]


def percent(number: str | float) -> str:
    """A share as a percentage."""
    return f"{float(number):.0%}"


def plain(number: str | float) -> str:
    """A number as it is read: 9,390 and 0.0004, not 9.39e+03 and 4.0e-04; 2·10⁻⁶ below a ten thousandth."""
    text = str(number)
    if "e" not in text:
        return text.replace("-", "−")
    digits, _, power = text.partition("e")
    if int(power) < -4:
        raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"10{raised}" if digits == "1" else f"{digits}·10{raised}"
    return f"{Decimal(text).normalize():,f}".replace("-", "−")
