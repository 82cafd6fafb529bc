"""Completions of vLLM or OpenAI, one JSON line each, alone or as ``vllm run-batch`` writes them (``custom_id``).

What a model said has ``logprobs.token_logprobs``; what it was only asked to score has ``prompt_logprobs`` (vLLM, with
``prompt_logprobs=0``), or with ``echo`` its prompt's before those of the tokens that it then made up.
"""

from pathlib import Path
from typing import Any

from toypersona.readers.scored import Scored, field, log_probs, named, refused, rows, understood


def read(path: Path, whose: str) -> list[Scored]:
    """All responses of a file under one model; those that were scored come with what stands before them."""
    return [understood(_one, where, row, whose) for where, row in rows(path)]


def _one(where: str, row: dict[str, Any], whose: str) -> Scored:
    body = field(row, "response", where, dict) if "response" in row else row
    body = body.get("body", body)
    key = named(row.get("custom_id", body.get("id")), where)
    if len(choices := field(body, "choices", where, list)) != 1:
        raise refused(where, f"it has {len(choices)} choices: ask for n=1, so that each has an id of its own.")
    if scored := choices[0].get("prompt_logprobs") or body.get("prompt_logprobs"):
        ids = choices[0].get("prompt_token_ids") or body.get("prompt_token_ids") or [None] * len(scored)
        pairs = [_token(place, number, where) for place, number in zip(scored[1:], ids[1:], strict=True)]
        scores = log_probs([value for _, value in pairs], where, whose)
        return Scored(key, where, scores, tuple(word for word, _ in pairs), whole=True)
    values, words = (field(choices[0], f"logprobs.{name}", where, list) for name in ("token_logprobs", "tokens"))
    if values and values[0] is None:
        made_up = len(values) - field(body, "usage.completion_tokens", where, int)
        return Scored(key, where, log_probs(values[1:made_up], where, whose), tuple(words[1:made_up]), None, True)
    return Scored(key, where, log_probs(values, where, whose), tuple(words), choices[0].get("text"))


def _token(place: dict[str, Any], number: int | None, where: str) -> tuple[str, Any]:
    if number is None and len(place) > 1:
        raise refused(where, "several tokens stand at one place of its prompt_logprobs: ask for prompt_logprobs=0.")
    found = place[str(number)] if number is not None else next(iter(place.values()))
    return str(found.get("decoded_token")), found["logprob"]
