"""One model a file: files of any format, joined on who said it, prompt and response.

Where the context is scored too, the last tokens are the response: as many as the model that said it took for it, and
the same ones. What is told apart by other tokens was cut differently where the response begins, and is refused.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toypersona.readers import completion_columns, completions, inspect_logs, lm_evaluation
from toypersona.readers.scored import BASE, POLICY, Key, Log, Response, Scored, opened, refused, rows

FORMATS = (
    "JSON lines with log_probs, .npz, an inspect log (.json), lm-evaluation-harness samples (.jsonl), completions of "
    "vLLM or OpenAI (.jsonl) and CSV with completion_logprob"
)


def format_of(path: Path) -> str:
    """Which of the formats a file has: ``own``, ``inspect``, ``samples``, ``completions`` or ``columns``.

    Raises:
        ValueError: none of them, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"PK"
    except OSError as error:
        raise refused(str(path), f"it cannot be read ({error.strerror}).") from error
    if packed and path.suffix != ".npz":
        raise refused(str(path), "it is packed: write an .eval log as JSON first, by `inspect log dump FILE`.")
    if packed or path.suffix == ".npz":
        return "arrays"
    text = opened(path)
    first = text.lstrip().split("\n", 1)[0]
    try:
        row = json.loads(first)
    except json.JSONDecodeError:
        row = _first_object(text) if first.startswith("{") else None
        if row is None and "," in first and not first.startswith(("{", "[")):
            return "columns"
        if first.startswith("{") and row is None:
            # Its reader says where it is broken.
            next(rows(path))
    if isinstance(row, dict):
        for name, mark in (("own", "log_probs"), ("own", "toypersona"), ("inspect", "eval"), ("samples", "resps")):
            if mark in row:
                return name
        if {"choices", "custom_id"} & row.keys():
            return "completions"
        if row.keys() & {"prompt_id", "response_id", "sampled_from"}:
            return "own"
    raise refused(str(path), f"its format is none of these: {FORMATS}.")


def _first_object(text: str) -> Any:
    """Of JSON over several lines."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        # An inspect log that was cut off is still one, and its reader says where.
        return {"eval": None} if error.lineno > 1 and '"eval"' in text else None


def read(paths: Mapping[str, Path]) -> Log:
    """All responses under all models.

    Args:
        paths: of each model, ``policy`` and ``base`` first; all other names are those of personas.

    Raises:
        ValueError: a file is damaged, or they do not score the same responses at the same temperature.
    """
    found: dict[str, dict[Key, Scored]] = {}
    temperatures: dict[str, float] = {}
    for model, path in paths.items():
        read_here, temperature = _of_one(path, f"the {model}" if model in (POLICY, BASE) else f"persona {model}")
        if temperature is not None:
            temperatures[model] = temperature
        found[model] = {}
        for scored in read_here:
            if scored.key in found[model]:
                raise refused(
                    scored.where, f"{scored.key} is there twice, as it was at {found[model][scored.key].where}."
                )
            found[model][scored.key] = scored
    for model, temperature in temperatures.items():
        if temperature != next(iter(temperatures.values())):
            raise refused(
                str(paths[model]),
                f"its temperature is {temperature:g}, but {next(iter(temperatures.values())):g} in "
                f"{paths[next(iter(temperatures))]}: at another temperature a model is another model.",
            )
    responses = [_joined(key, found, paths) for key in found[POLICY]]
    for model in found:
        for key in found[model].keys() - found[POLICY].keys():
            raise refused(found[model][key].where, f"{key} is missing in {paths[POLICY]}.")
    source = ", ".join(map(str, paths.values()))
    return Log(source, responses, next(iter(temperatures.values()), None))


def _of_one(path: Path, whose: str) -> tuple[list[Scored], float | None]:
    kind = format_of(path)
    if kind == "inspect":
        return inspect_logs.read(path, whose)
    readers = {"samples": lm_evaluation, "completions": completions, "columns": completion_columns}
    if kind not in readers:
        raise refused(str(path), "it has all models in one file: pass it without --policy, --base and --persona.")
    return readers[kind].read(path, whose), None


def _joined(key: Key, found: Mapping[str, Mapping[Key, Scored]], paths: Mapping[str, Path]) -> Response:
    said = found[POLICY][key]
    for model, path in paths.items():
        if key not in found[model]:
            raise refused(said.where, f"{key} is missing in {path}: all models have to score the same responses.")
    said = found[key.sampled_from][key]
    if said.whole:
        raise refused(
            said.where,
            f"{key} is scored with its context, and so nobody knows where it begins: let the {key.sampled_from}'s file "
            "be what it said, with logprobs.",
        )
    scores = {model: _as_said(each[key], said) for model, each in found.items()}
    personas = {model: scores[model] for model in paths if model not in (POLICY, BASE)}
    return Response(key, said.where, scores[POLICY], scores[BASE], personas, said.words, said.text)


def _as_said(scored: Scored, said: Scored) -> Any:
    """The log-probabilities of the response alone.

    Raises:
        ValueError: it is another text, or was cut into other tokens.
    """
    if scored.text is not None and said.text is not None and scored.text != said.text:
        raise refused(scored.where, f"its text is not that of the same response at {said.where}.")
    if not scored.whole:
        if scored.words and said.words and len(scored.words) == len(said.words) and scored.words != said.words:
            raise refused(
                scored.where,
                f"its tokens are not those that were sampled at {said.where}: score the sampled token ids, not their "
                "text, which may be cut into other tokens.",
            )
        return scored.log_probs
    num, words = said.log_probs.size, scored.words or ()
    if words[-num:] != said.words:
        raise refused(
            scored.where,
            f"its last {num} tokens are not those that were sampled at {said.where}: score the sampled token ids, not "
            "their text, which may be cut into other tokens where the response begins.",
        )
    return scored.log_probs[-num:]
