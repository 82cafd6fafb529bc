"""What the explorer's third tab shows before a file is dropped on it: a report that the command wrote."""

import json
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parent / "explorer_page" / "report.json"
"""Made by ``tests/figures/make_report.py``, where the simulated run is described."""

DIGITS = 3
"""Kept of every number; what is below ``LEAST`` is 0."""

LEAST = 1e-5

UNSEEN = ("token_hull_distance", "base_distance", "misfit")
"""Estimates that are not shown."""

LIT = 4
"""Words and responses that are kept of a step."""


def measured_data() -> dict[str, Any]:
    """The example, its numbers rounded, without what the page does not show."""
    example = json.loads(EXAMPLE.read_text(encoding="utf-8"), parse_float=_rounded)
    for step in example["steps"]:
        step.pop("words_by_prompt")
        for name in UNSEEN:
            step["estimates"].pop(name)
        step.update({name: step[name][:LIT] for name in ("words", "responses")})
    return {"example": example}


def _rounded(number: str) -> float:
    value = float(number)
    return float(f"{value:.{DIGITS}g}") if abs(value) >= LEAST else 0
