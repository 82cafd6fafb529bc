"""Samples of lm-evaluation-harness (``--log_samples``): log-probabilities are strings, and each filter has a row.

The task is of type ``loglikelihood``, with one response for each document. ``doc`` has ``prompt_id``, ``response_id``
and, of what the base said, ``sampled_from``; without them prompts are the documents, with one response each.
"""

from pathlib import Path
from typing import Any

from toypersona.readers.scored import POLICY, Key, Scored, field, log_probs, refused, rows, said_by, understood


def read(path: Path, whose: str) -> list[Scored]:
    """All responses of a file under one model, once each."""
    found: dict[tuple[Any, ...], Scored] = {}
    for where, row in rows(path):
        identity = (field(row, "doc_id", where), row.get("filter"))
        if identity in found:
            raise refused(where, f"doc_id {identity[0]} is there twice: two runs were written into one file.")
        found[identity] = understood(_one, where, row, whose)
    first = min((str(name) for _, name in found), default="")
    return [scored for (_, name), scored in found.items() if str(name) == first]


def _one(where: str, row: dict[str, Any], whose: str) -> Scored:
    doc, answers = field(row, "doc", where, dict), field(row, "resps", where, list)
    if len(answers) != 1:
        raise refused(
            where, f"it has {len(answers)} answers: those of a list are not sampled; score one sampled response a doc."
        )
    if not isinstance(answers[0][0], list | tuple) or len(answers[0][0]) != 2:
        raise refused(where, "its resps are no log-probabilities: use a task of output_type loglikelihood.")
    text = field(row, "arguments.gen_args_0.arg_1", where, str)
    prompt, name = str(doc.get("prompt_id", row["doc_id"])), str(doc.get("response_id", row["doc_id"]))
    key = Key(said_by(doc.get("sampled_from", POLICY), where), prompt, name)
    return Scored(key, where, log_probs(answers[0][0][0], where, whose), None, text)
