"""Arrays of numpy (``.npz``), log-probabilities in nats.

``log_policy`` [C, M], ``log_base`` [C, M] and ``log_personas`` [C, K, M] are of M responses that the policy said to
each prompt, ``base_log_base`` [C, B] and ``base_log_personas`` [C, K, B] of what the base said. Optional are
``log_prompts`` [C], ``personas`` [K] and ``prompts`` [C] (names), and next-word log-probabilities of the policy
``next_policy`` [C, M, T, V] and of personas ``next_personas`` [C, M, T, K, V], by which switching is told from novelty.
"""

import zipfile
from pathlib import Path

import numpy as np

from toypersona.readers.scored import ROUNDING, refused
from toypersona.readers.tables import Scores, Table

NEEDED = ("log_policy", "log_base", "log_personas", "base_log_base", "base_log_personas")
OPTIONAL = ("log_prompts", "personas", "prompts", "next_policy", "next_personas")


def read(path: Path) -> Table:
    """The table of a file.

    Raises:
        ValueError: it is damaged, or arrays are missing or do not fit.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as parts:
            found = {name: _exact(part) for name, part in parts.items()}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise refused(str(path), f"it is no whole .npz file of numbers ({error}).") from error
    for name in NEEDED:
        if name not in found:
            raise refused(str(path), f"it has no array {name}.")
    for name in found.keys() - {*NEEDED, *OPTIONAL}:
        raise refused(str(path), f"it has an array {name}, which is none of {', '.join((*NEEDED, *OPTIONAL))}.")
    _check(path, found)
    num_prompts, num_personas = found["log_personas"].shape[:2]
    names = {name: tuple(map(str, found[name])) for name in ("personas", "prompts") if name in found}
    samples, base = (found[name] for name in ("log_policy", "base_log_base"))
    if ("next_policy" in found) != ("next_personas" in found):
        raise refused(str(path), "it has only one of next_policy and next_personas: leave out both or none.")
    pair = tuple(found[name] for name in ("next_policy", "next_personas") if name in found)
    return Table(
        None,
        names.get("personas", tuple(f"persona {k + 1}" for k in range(num_personas))),
        names.get("prompts", tuple(f"prompt {c + 1}" for c in range(num_prompts))),
        found.get("log_prompts", np.full(num_prompts, -np.log(num_prompts))),
        Scores(samples, found["log_base"], found["log_personas"]),
        Scores(base, base, found["base_log_personas"]),
        next_words=(pair[0], pair[1]) if len(pair) == 2 else None,
    )


def _exact(values: np.ndarray) -> np.ndarray:
    """In float64, in which all is computed; what is no floating point number as it is."""
    return values.astype(np.float64) if np.issubdtype(values.dtype, np.floating) else values


def _check(path: Path, found: dict[str, np.ndarray]) -> None:
    """Refuse shapes and values that cannot be."""
    shape = found["log_personas"].shape
    if len(shape) != 3 or 0 in shape:
        raise refused(str(path), f"log_personas is {shape}: it has to be [prompts, personas, responses].")
    base = found["base_log_base"].shape
    if len(base) != 2:
        raise refused(str(path), f"base_log_base is {base}: it has to be [prompts, responses].")
    num_prompts, num_personas, num = shape
    wanted: dict[str, tuple[int, ...]] = dict.fromkeys(("log_policy", "log_base"), (num_prompts, num))
    wanted |= {"base_log_base": (num_prompts, base[1]), "base_log_personas": (num_prompts, num_personas, base[1])}
    wanted |= {"log_prompts": (num_prompts,), "personas": (num_personas,), "prompts": (num_prompts,)}
    for name, size in wanted.items():
        if name in found and found[name].shape != size:
            raise refused(str(path), f"{name} is {found[name].shape}, but by log_personas {shape} it has to be {size}.")
    for name, count in (("policy", num), ("base", base[1])):
        if count % 2 or count < 4:
            raise refused(str(path), f"{count} responses of the {name} to a prompt: an even number is needed, >= 4.")
    for name, values in found.items():
        if name in ("personas", "prompts"):
            continue
        if not np.issubdtype(values.dtype, np.floating):
            raise refused(str(path), f"{name} is of type {values.dtype}: log-probabilities are floating point numbers.")
        if np.isnan(values).any():
            raise refused(str(path), f"{name} has {np.isnan(values).sum()} nan: leave out what could not be scored.")
        if values.max() > ROUNDING:
            raise refused(str(path), f"{name} goes up to {values.max():.4g}, but log-probabilities are never above 0.")
        if name in ("log_policy", "base_log_base") and np.isneginf(values).any():
            raise refused(str(path), f"{name} has -inf: what was said has a probability under who said it.")
    if abs(np.exp(found.get("log_prompts", np.zeros(1))).sum() - 1) > ROUNDING:
        raise refused(str(path), "exp(log_prompts) does not add up to 1.")
