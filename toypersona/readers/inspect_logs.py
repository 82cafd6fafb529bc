"""Evaluation logs of inspect (``.json``) with ``prompt_logprobs``: one sample for each response, in its prompt.

The sample's id is ``PROMPT/RESPONSE``, and ``metadata.num_target_tokens`` says how many of the last tokens of the
prompt are the response, as its own scorer ``target_perplexity`` wants it.
"""

import json
from pathlib import Path
from typing import Any

from toypersona.readers.scored import Scored, field, log_probs, named, opened, refused, understood


def read(path: Path, whose: str) -> tuple[list[Scored], float | None]:
    """All responses of a log under one model, and the temperature that it was run at."""
    try:
        log = json.loads(opened(path))
    except json.JSONDecodeError as error:
        raise refused(f"{path}, line {error.lineno}", f"it is no JSON ({error.msg}): was it cut off?") from error
    if field(log, "status", str(path), str) != "success":
        raise refused(str(path), f"its status is {log['status']}: run the evaluation to its end.")
    settings = [log.get("plan", {}).get("config", {}), log.get("eval", {}).get("model_generate_config", {})]
    temperature = next((each["temperature"] for each in settings if each.get("temperature") is not None), None)
    samples = enumerate(field(log, "samples", str(path), list), start=1)
    return [understood(_one, f"{path}, sample {number}", row, whose) for number, row in samples], temperature


def _one(where: str, row: dict[str, Any], whose: str) -> Scored:
    number = field(row, "metadata.num_target_tokens", where, int)
    choices = field(row, "output.choices", where, list)
    tokens = field(choices[0] if choices else {}, "prompt_logprobs.content", where, list)
    if not 0 < number <= len(tokens):
        raise refused(where, f"its num_target_tokens is {number}, but its prompt has {len(tokens)} scored tokens.")
    last = tokens[-number:]
    values = log_probs([field(token, "logprob", where) for token in last], where, whose)
    words = tuple(str(token.get("token")) for token in last)
    return Scored(named(row.get("id"), where), where, values, words, row["metadata"].get("target_text"))
