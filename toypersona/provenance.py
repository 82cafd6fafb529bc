"""Where the numbers of a run come from, and how two runs differ."""

import ast
import functools
import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from toypersona import __version__


def of(config: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Where the numbers of a run come from: its settings and seeds, the code and the versions below it.

    Raises:
        ValueError: the config has no JSON form.
    """
    try:
        settings = json.loads(json.dumps(config))
    except (TypeError, ValueError) as error:
        raise ValueError(f"A sweep's config has to be JSON, to be stored with its numbers, but: {error}.") from error
    versions = {name: metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
    return {
        "config": settings,
        "seeds": list(seeds),
        "versions": {"toypersona": __version__, "python": platform.python_version(), **versions},
        "code_sha256": code_sha256(),
    }


def code_sha256() -> str:
    """A hash of what the package and the experiments beside it say to Python: comments and docstrings do not count."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    experiments = package.with_name("experiments")
    for source in sorted([*package.rglob("*.py"), *experiments.glob("*.py"), *experiments.glob("shared/*.py")]):
        of_code = _hash_without_text(source.read_bytes())
        digest.update(f"{source.relative_to(package.parent).as_posix()}\n{of_code}\n".encode())
    return digest.hexdigest()


@functools.cache
def _hash_without_text(source: bytes) -> str:
    """Of one file; kept, because every store and figure of a process asks and to parse all takes half a second."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]  # pyright: ignore[reportAttributeAccessIssue]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def commit() -> str | None:
    """The commit of the sources, if one holds them: told to the reader, never compared."""
    here = Path(__file__)
    # The second name fails where the enclosing repository is somebody else's and only happens to contain this package.
    command = ["git", "-C", str(here.parent), "rev-parse", "HEAD", f"HEAD:./{here.name}"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError):
        return None


def digest(dataset: xr.Dataset) -> str:
    """A hash of all values, with their names, dimensions and types: equal datasets have the same, however stored."""
    state = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        values = np.ascontiguousarray(variable.values)
        values = values.astype(values.dtype.newbyteorder("<"))
        state.update(f"{name} {variable.dims} {values.shape} {values.dtype.str}\n".encode())
        state.update(values.tobytes())
    return state.hexdigest()


def first_difference(held: Any, asked: Any, name: str = "") -> str | None:
    """Where two descriptions of runs differ first, in words; None where they do not."""
    if isinstance(held, list) and isinstance(asked, list):
        if len(held) != len(asked):
            return f"{_plain(name)} has {len(held)} values there and {len(asked)} here"
        differences = (first_difference(*pair, f"{name}[{i}]") for i, pair in enumerate(zip(held, asked, strict=True)))
        return next(filter(None, differences), None)
    if isinstance(held, dict) and isinstance(asked, dict):
        keys = sorted(held.keys() | asked.keys(), key=lambda k: (k.endswith("_sha256"), k))
        differences = (first_difference(held.get(k, "absent"), asked.get(k, "absent"), f"{name}.{k}") for k in keys)
        return next(filter(None, differences), None)
    # As text too, because nan equals nothing.
    if held == asked or str(held) == str(asked):
        return None
    if ".sources." in name:
        return f"what --{name.rpartition('.')[2].replace('_', '-')} names has changed"
    if name.endswith("_sha256"):
        return "another function or other arrays inside it"
    shown = [text if len(text) <= 60 else f"{text[:57]}..." for text in (str(held), str(asked))]
    return f"{_plain(name)} is {shown[0]} there and {shown[1]} here"


def _plain(name: str) -> str:
    """A path into the provenance as the user named it."""
    return re.sub(r"^\.?(config\.)?settings\.|^\.", "", name)
