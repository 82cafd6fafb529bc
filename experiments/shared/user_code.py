"""Code that users bring: features of rewards and rules, named ``FILE.py:FUNCTION``."""

from __future__ import annotations

import hashlib
import importlib.util
import numbers
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toypersona import transcripts
from toypersona.limits import nearest
from toypersona.worlds import names

if TYPE_CHECKING:
    from toypersona.bases import Base, Pretrained
    from toypersona.types import Array, Float, Key

Feature = Callable[["Key", "Base", "Array | int"], "Float[Array, 'C N']"]
"""``(key, base of one world, that world's number) -> [C, N]``."""


def feature(name: str, pretrained: Pretrained) -> Feature:
    """A built-in feature, or ``FILE.py:FUNCTION`` with ``FUNCTION(prompt, response) -> float`` on lists of words.

    The response is what is said before the end, so it may be empty. A user's function is called once for each prompt
    and response of every world, before anything is compiled.

    Raises:
        ValueError: no such feature, file or function; a feature that this world does not have; a value that is not a
            finite number.
    """
    import jax.numpy as jnp

    from toypersona import rewards

    if built_in := rewards.BUILT_IN.get(name):
        return lambda key, base, world: built_in(key, base.prompts, base.responses, base.labels)
    table = jnp.asarray(_tabulated(imported("feature", name), pretrained, name))
    return lambda key, base, world: table[world]


def sha256(name: str) -> str | None:
    """A hash of the file that ``FILE.py:FUNCTION`` names, or of the texts of ``text:FOLDER``; else None."""
    kind, _, rest = name.rpartition(":")
    files = names.texts(Path(rest)) if kind == "text" else [Path(kind)] if kind.endswith(".py") else []
    contents = [file.name.encode() + file.read_bytes() for file in files if file.is_file()]
    return hashlib.sha256(b"\0".join(contents)).hexdigest() if contents else None


def imported(flag: str, name: str) -> Callable[..., Any]:
    """The function that a flag names as ``FILE.py:FUNCTION``.

    Raises:
        ValueError: no such file or function.
    """
    file, _, function_name = name.rpartition(":")
    if not file or not function_name:
        raise ValueError(f"--{flag} has to be FILE.py:FUNCTION, not {name!r}.")
    path = Path(file)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ValueError(f"--{flag} names the file {path}, which is not a Python file that exists.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"--{flag} names {path}, which fails when imported: {what}.") from error
    if not callable(getattr(module, function_name, None)):
        functions = [own for own, value in vars(module).items() if callable(value) and not own.startswith("_")]
        hint = nearest(function_name, functions) if functions else "."
        raise ValueError(f"{path} has no function {function_name!r} for --{flag}{hint}")
    return getattr(module, function_name)


def _tabulated(
    function: Callable[[list[str], list[str]], float], pretrained: Pretrained, name: str
) -> Float[np.ndarray, "W C N"]:
    units = pretrained.labels.units
    responses = [transcripts.said(units, response) for response in np.asarray(pretrained.responses)]
    prompts = [[transcripts.spelt(units, prompt) for prompt in world] for world in np.asarray(pretrained.world.prompts)]

    def value(prompt: list[str], response: list[str]) -> float:
        paid = function(prompt, response)
        if not isinstance(paid, numbers.Real) or not np.isfinite(paid):
            raise ValueError(f"--feature {name} returned {paid!r} for {prompt} and {response}, not a finite number.")
        return float(paid)

    return np.array([[[value(p, x) for x in responses] for p in world] for world in prompts])
