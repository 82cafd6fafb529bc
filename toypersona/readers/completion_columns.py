"""Tables with the columns ``prompt``, ``completion`` and ``completion_logprob`` (CSV), as bayesft makes them.

Without further columns prompts and responses are known by their text. ``sampled_from`` says what the base said, and
``response_id`` tells apart responses of the same words.
"""

import collections
import csv
import io
from pathlib import Path

from toypersona.readers.scored import POLICY, Key, Scored, log_probs, opened, refused, said_by

COLUMNS = ("prompt", "completion", "completion_logprob")


def read(path: Path, whose: str) -> list[Scored]:
    """All responses of a file under one model."""
    table = csv.DictReader(io.StringIO(opened(path), newline=""), strict=True)
    for name in COLUMNS:
        if name not in (table.fieldnames or ()):
            raise refused(f"{path}, line 1", f"it has no column {name}.")
    found, counts = [], collections.Counter()
    try:
        for row in table:
            where = f"{path}, line {table.line_num}"
            if None in row or None in row.values():
                raise refused(where, "it has not as many cells as line 1: was it cut off?")
            said = said_by(row.get("sampled_from") or POLICY, where)
            counts[same := (said, row["prompt"], row["completion"])] += 1
            name = row.get("response_id") or f"{row['completion']}#{counts[same]}"
            scores = log_probs(row["completion_logprob"], where, whose)
            found.append(Scored(Key(said, row["prompt"], name), where, scores, None, row["completion"]))
    except csv.Error as error:
        raise refused(f"{path}, line {table.line_num}", f"it is no CSV ({error}).") from error
    return found
