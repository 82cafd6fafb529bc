"""What readers return, and how they read lines and numbers: whatever is wrong is one sentence with file and line.

A response is known by who said it (policy or base), its prompt and a name of its own. Formats that have one name only
write all three into it: ``PROMPT/RESPONSE``, and ``base/PROMPT/RESPONSE`` for what the base said.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROUNDING = 1e-5
"""Nats by which a log-probability may exceed 0 (as ``measures.sampled_inputs.ROUNDING``, which needs jax)."""

POLICY, BASE = "policy", "base"


class Key(NamedTuple):
    """Which response it is; ``step`` is of training, if several were logged."""

    sampled_from: str
    prompt: str
    response: str
    step: float | None = None

    def __str__(self) -> str:
        """As a sentence names it."""
        step = "" if self.step is None else f" of step {self.step:g}"
        return f"response {self.response} to prompt {self.prompt}{step} (said by the {self.sampled_from})"


class Scored(NamedTuple):
    """One response under one model.

    Attributes:
        where: file and line.
        log_probs: nats, their sum [] or one a token [T].
        words: the tokens' text.
        text: of the response.
        whole: what stands before the response is scored too, and how long that is is not known here.
    """

    key: Key
    where: str
    log_probs: np.ndarray
    words: tuple[str, ...] | None = None
    text: str | None = None
    whole: bool = False


class Response(NamedTuple):
    """One response under all models.

    Attributes:
        where: file and line.
        policy: log-probabilities, nats [] or [T]; None where the base said it and nobody asked the policy.
        base: the same under the base.
        personas: the same under each persona, by name.
        reward: what it is paid.
    """

    key: Key
    where: str
    policy: np.ndarray | None
    base: np.ndarray
    personas: Mapping[str, np.ndarray]
    words: tuple[str, ...] | None = None
    text: str | None = None
    reward: float | None = None


class Log(NamedTuple):
    """What was read.

    Attributes:
        source: the files, as a sentence names them.
        responses: in the order of the files.
        temperature: at which the responses were sampled and scored, if it was said.
        prompt_weights: probabilities of prompts up to a factor, if they were said.
        tokenizer: if it was said.
    """

    source: str
    responses: list[Response]
    temperature: float | None = None
    prompt_weights: Mapping[str, float] | None = None
    tokenizer: str | None = None


def refused(where: str, sentence: str) -> ValueError:
    """The error that names file and line."""
    return ValueError(f"{where}: {sentence}")


def opened(path: Path) -> str:
    """The text of a file, gzip or not.

    Raises:
        ValueError: it cannot be read, is empty, or is no text.
    """
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused(str(path), "it is no UTF-8 text, and no format that is read here.") from error
    except (OSError, EOFError) as error:
        raise refused(str(path), f"it cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if not text.strip():
        raise refused(str(path), "it is empty.")
    return text


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with its place; blank lines are none.

    Raises:
        ValueError: as ``opened``; a line is no JSON object.
    """
    for number, line in enumerate(opened(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise refused(where, f"it is no JSON ({error.msg}, column {error.colno}): was it cut off?") from error
            if not isinstance(row, dict):
                raise refused(where, "it has to be a JSON object, {...}.")
            yield where, row


def field(row: Any, name: str, where: str, *kinds: type) -> Any:
    """What an object has under a name, ``a.b`` for b in a.

    Raises:
        ValueError: it is not there, or of another kind.
    """
    value = row
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise refused(where, f"it has no {name}.")
        value = value[part]
    if kinds and (not isinstance(value, kinds) or isinstance(value, bool)):
        raise refused(where, f"its {name} is {_shown(value)}, which cannot be.")
    return value


def log_probs(value: Any, where: str, whose: str) -> np.ndarray:
    """Log-probabilities, a sum [] or one a token [T], as numbers or as strings of them; -inf is allowed.

    Raises:
        ValueError: they are none.
    """
    given = value if isinstance(value, list) else [value]
    if not given:
        raise refused(where, f"the log-probabilities under {whose} are an empty list: the end token is a token too.")
    try:
        if any(isinstance(x, bool | list | dict) or x is None for x in given):
            raise ValueError
        found = np.array([float(x) for x in given])
    except ValueError:
        raise refused(
            where, f"the log-probability under {whose} is {_shown(value)}: it has to be a number or a list of numbers."
        ) from None
    if np.isnan(found).any():
        raise refused(where, f"the log-probability under {whose} is nan: leave out what could not be scored.")
    if found.max() > ROUNDING:
        raise refused(
            where,
            f"the log-probability under {whose} is {found.max():.4g}, but the logarithm of a probability is never "
            "above 0: pass log-probabilities in nats, neither probabilities nor their negative logarithms.",
        )
    return found if isinstance(value, list) else found.reshape(())


def named(name: Any, where: str) -> Key:
    """Who said which response to which prompt, from one name.

    Raises:
        ValueError: it is not of the form.
    """
    parts = str(name).split("/")
    said_by = parts.pop(0) if parts[0] in (POLICY, BASE) and len(parts) > 2 else POLICY
    if len(parts) < 2 or not all(parts):
        raise refused(where, f"its id {name} has to be PROMPT/RESPONSE, or base/PROMPT/RESPONSE of what the base said.")
    return Key(said_by, "/".join(parts[:-1]), parts[-1])


def understood(one: Callable[..., Scored], where: str, row: Any, whose: str) -> Scored:
    """What ``one`` makes of a row.

    Raises:
        ValueError: it does, or what it looks for is somewhere else.
    """
    try:
        return one(where, row, whose)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        if str(error).startswith(where):
            raise
        raise refused(where, f"its parts do not stand where this format has them ({error}).") from error


def said_by(value: Any, where: str) -> str:
    """``policy`` or ``base``.

    Raises:
        ValueError: it is another.
    """
    if value not in (POLICY, BASE):
        raise refused(where, f'its sampled_from is {_shown(value)}: it has to be "policy" or "base".')
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 40 else f"{text[:36]} ..."
