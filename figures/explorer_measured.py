"""What the explorer's third tab shows before a file is dropped on it: a report that the command wrote."""

import json
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parent / "explorer_page" / "report.json"
"""Made by ``tests/figures/make_report.py``, where the simulated run is described."""

DIGITS = 3
"""Kept of every number; what is below ``LEAST`` is 0."""

LEAST = 1e-5

WORDS = 3
"""That are kept of each prompt."""


def measured_data() -> dict[str, Any]:
    """The example, its numbers rounded, with the brightest words of each prompt alone."""
    example = json.loads(EXAMPLE.read_text(encoding="utf-8"), parse_float=_rounded)
    for step in example["steps"]:
        step["words_by_prompt"] = {prompt: words[:WORDS] for prompt, words in step["words_by_prompt"].items()}
    return {"example": example}


def _rounded(number: str) -> float:
    value = float(number)
    return float(f"{value:.{DIGITS}g}") if abs(value) >= LEAST else 0
