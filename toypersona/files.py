"""Files that appear whole or not at all: text, JSON, and pytrees of arrays (orbax). Importing it needs no jax."""

import contextlib
import errno
import json
import os
import shlex
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

ROOM = 2**21
"""Bytes that a small tree takes, most of them for what describes it."""


def why(error: Exception) -> str:
    """What the system says went wrong, without numbers and names of files."""
    return getattr(error, "strerror", None) or str(error)


def check_writable(folder: Path) -> None:
    """Refuse a folder that nothing can be written to, or made in; nothing is left there.

    Raises:
        ValueError: it says why.
    """
    try:
        _write_to(folder)
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot write to {folder} ({why(error)}): choose another folder.") from error


def _write_to(folder: Path) -> None:
    """Write and remove a little where the folder is or would be made; what goes wrong is the system's error."""
    here = folder.absolute()
    while not _is_there(here):
        here = here.parent
    with tempfile.TemporaryFile(dir=here) as file:
        file.write(bytes(2**16))
        file.flush()


def _is_there(path: Path) -> bool:
    """Unlike ``Path.exists`` it does not call a name absent that can never be there."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def keep_tree(path: Path, tree: Any) -> None:
    """Write a pytree of arrays (orbax) that appears under its name only when complete; what is there already stays.

    Trees are kept to save time. Where there is no room for one, a warning says so and nothing is written.
    """
    import jax
    import orbax.checkpoint as ocp

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        room = shutil.disk_usage(path.parent).free
        if room < ROOM + 2 * sum(leaf.nbytes for leaf in jax.tree.leaves(tree)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _write_to(path.parent)
    except (OSError, ValueError) as error:
        warnings.warn(f"Cannot keep {path} ({why(error)}): it will be computed again next time.", stacklevel=2)
        return
    with tempfile.TemporaryDirectory(dir=path.parent.absolute(), prefix=f".{path.name}.") as folder:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(Path(folder) / path.name, tree)
        with contextlib.suppress(OSError):
            os.rename(Path(folder) / path.name, path)


def kept_tree(path: Path, like: Any) -> Any:
    """Read what ``keep_tree`` wrote.

    Args:
        path: its.
        like: a pytree of the same structure, of arrays or ``jax.ShapeDtypeStruct``.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    import orbax.checkpoint as ocp

    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(path.absolute(), like)
    except Exception as error:
        raise ValueError(
            f"Cannot read {path}, which an earlier run kept: remove it by rm -r {shlex.quote(str(path))}."
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON as ``write_text`` does."""
    write_text(path, as_json(content))


def as_json(content: Any) -> str:
    """JSON as it is written, with its last line ended."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file so that readers see the old one or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
