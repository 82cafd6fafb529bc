"""The format of its own: JSON lines, one response a line, with its log-probabilities under all models.

::

    {"prompt_id": "p1", "response_id": "1", "sampled_from": "policy",
     "log_probs": {"policy": -3.1, "base": -4.2, "personas": {"larry": -9.0, "bob": -3.3}}}

Each of them is a sum or a list, one a token, the end token included. ``tokens``, ``response``, ``reward`` and ``step``
may be added; what the base said needs no log-probability under the policy. The first line may be a header,
``{"toypersona": 1, "temperature": 1.0, "tokenizer": "...", "prompt_weights": {"p1": 2, "p2": 1}}``. gzip is read too.
"""

import math
from pathlib import Path
from typing import Any

from toypersona.readers.scored import BASE, Key, Log, Response, field, log_probs, refused, rows, said_by

VERSION = 1
"""What the header says under ``toypersona``."""

KNOWN = {
    *("prompt_id", "response_id", "sampled_from", "log_probs"),
    *("tokens", "response", "reward", "weight", "step", "prompt", "metadata"),
}


def read(path: Path) -> Log:
    """All responses of a file.

    Raises:
        ValueError: it is damaged; it says where.
    """
    header: dict[str, Any] = {}
    found: list[Response] = []
    for number, (where, row) in enumerate(rows(path)):
        if "toypersona" in row:
            if number or row["toypersona"] != VERSION:
                why = "a header has to be the first line" if number else f"its toypersona has to be {VERSION}"
                raise refused(where, f"{why}.")
            header = row
        else:
            found.append(_response(where, row))
    if not found:
        raise refused(str(path), "it has a header and no responses.")
    return Log(str(path), found, *_header(header, f"{path}, line 1"))


def _header(row: dict[str, Any], where: str) -> tuple[float | None, dict[str, float] | None, str | None]:
    temperature, weights = row.get("temperature"), row.get("prompt_weights")
    if isinstance(temperature, dict):
        if len(set(temperature.values())) > 1:
            raise refused(
                where,
                "its temperatures differ between models: sample and score all of them at the same one, because at "
                "another temperature a model is another model.",
            )
        temperature = next(iter(temperature.values()), None)
    if temperature is not None:
        temperature = _number({"temperature": temperature}, "temperature", where)
    if weights is not None:
        field(row, "prompt_weights", where, dict)
        weights = {prompt: _number(weights, prompt, where) for prompt in weights}
        for prompt, weight in weights.items():
            if weight < 0:
                raise refused(where, f"the weight of prompt {prompt} is below 0.")
    return temperature, weights, row.get("tokenizer")


def _number(row: dict[str, Any], name: str, where: str) -> float:
    value = row[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise refused(where, f"its {name} is {value}, which is no number.")
    return float(value)


def _response(where: str, row: dict[str, Any]) -> Response:
    for name in row.keys() - KNOWN:
        raise refused(where, f"it has a field {name}, which is none of {', '.join(sorted(KNOWN))}.")
    key = Key(
        said_by(field(row, "sampled_from", where), where),
        str(field(row, "prompt_id", where, str, int)),
        str(field(row, "response_id", where, str, int)),
        _number(row, "step", where) if row.get("step") is not None else None,
    )
    if row.get("weight", 1) != 1:
        raise refused(
            where,
            f"its weight is {row['weight']}: responses count once each, so draw them in proportion to their weights, "
            "and give weights of prompts in the header.",
        )
    models, personas = field(row, "log_probs", where, dict), field(row, "log_probs.personas", where, dict)
    if not personas:
        raise refused(where, "its log_probs.personas is empty: a hull needs at least one persona.")
    unasked = key.sampled_from == BASE and models.get("policy") is None
    words = row.get("tokens")
    return Response(
        key,
        where,
        None if unasked else log_probs(field(row, "log_probs.policy", where), where, "the policy"),
        log_probs(field(row, "log_probs.base", where), where, "the base"),
        {name: log_probs(value, where, f"persona {name}") for name, value in personas.items()},
        None if words is None else tuple(str(word) for word in field(row, "tokens", where, list)),
        row.get("response"),
        _number(row, "reward", where) if row.get("reward") is not None else None,
    )
