"""Labelled arrays on disk.

A sweep's dataset is an xarray Dataset in a zarr v3 store, one dimension per axis. Its grid is cut into rectangular
blocks that are zarr chunks at the same time, so that each file of numbers has one writer. A block's entry in the
boolean ``done`` is written after all else: a run killed at any moment goes on from its last whole block. What is
written follows from the settings and from the plan, which the store keeps: a resumed store equals an uninterrupted one
byte for byte.
"""

import ast
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from toypersona import __version__, outputs
from toypersona.outputs import Output

DONE = "done"
DIVERGED = "diverged"
_LABELS = "labels"
_PROVENANCE = "provenance"
_PLAN = "plan"

Region = tuple[slice, ...]
"""A slice for each dimension of the grid."""

Store = Path | MemoryStore
"""Where a dataset is: on disk, or in memory."""


class RunMismatch(ValueError):
    """A folder holds another run than the one asked for."""


class Layout(NamedTuple):
    """A dataset without its numbers.

    Attributes:
        coords: coordinate values by dimension, numbers or strings; strings are kept in the attributes, because zarr v3
            has no settled way to store them as an array.
        variables: by name, the grid's dimensions first; only the types of their values are used.
        block: block length by dimension of the grid, in the grid's order; the other dimensions are not cut.
        constants: variables that are the same at every point of the grid, with their numbers.
    """

    coords: Mapping[str, np.ndarray]
    variables: Mapping[str, Output]
    block: Mapping[str, int]
    constants: Mapping[str, Output] = {}  # noqa: RUF012


def provenance(config: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
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
        tree = ast.parse(source.read_bytes())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [line for line in body if not _is_text(line)]  # pyright: ignore[reportAttributeAccessIssue]
        digest.update(f"{source.relative_to(package.parent).as_posix()}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _commit() -> str | None:
    """The commit of the sources, if one holds them: told to the reader, never compared."""
    here = Path(__file__)
    # The second name fails where the enclosing repository is somebody else's and only happens to contain this package.
    command = ["git", "-C", str(here.parent), "rev-parse", "HEAD", f"HEAD:./{here.name}"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError):
        return None


def create(path: Path, layout: Layout, made_by: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Lay out an empty store on disk; it appears under its name only when complete.

    Args:
        path: of the store.
        layout: of the dataset.
        made_by: ``provenance``.
        plan: how the blocks are computed, JSON-able; kept for whoever goes on with the store.

    Raises:
        ValueError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            _lay_out(Path(folder) / path.name, layout, made_by, plan)
            os.rename(Path(folder) / path.name, path)
    except OSError as error:
        raise ValueError(f"Cannot make a dataset at {path} ({error}): choose another --out.") from error


def in_memory(layout: Layout, made_by: Mapping[str, Any], plan: Mapping[str, Any]) -> MemoryStore:
    """Lay out an empty store in memory; arguments as ``create``'s."""
    store = MemoryStore()
    _lay_out(store, layout, made_by, plan)
    return store


def _lay_out(store: Store, layout: Layout, made_by: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    labels = {name: values.tolist() for name, values in layout.coords.items() if values.dtype.kind == "U"}
    attributes = {_PROVENANCE: made_by, _LABELS: labels, _PLAN: plan, "commit": _commit()}
    group = zarr.create_group(store, zarr_format=3, attributes=attributes)
    coords = {name: outputs.named(values, **{name: None}) for name, values in layout.coords.items()}
    # One chunk each, written here: the blocks cut the variables alone.
    whole = {**layout.constants, **{name: coord for name, coord in coords.items() if name not in labels}}
    done = Output(np.zeros((), bool), tuple(layout.block), {}, "computed")
    for name, variable in {**whole, **layout.variables, DONE: done}.items():
        shape = tuple(len(layout.coords[dim]) for dim in variable.dims)
        cut = {} if name in whole else layout.block
        words = outputs.described(name, variable._replace(value=np.zeros((1,) * len(shape))))
        array = group.create_array(
            name,
            shape=shape,
            chunks=tuple(cut.get(dim, max(size, 1)) for dim, size in zip(variable.dims, shape, strict=True)),
            dtype=variable.value.dtype,
            fill_value=np.nan if variable.value.dtype.kind in "fc" else None,
            dimension_names=variable.dims,
            attributes={key: getattr(words, key) for key in ("long_name", "units") if getattr(words, key)},
        )
        if name in whole:
            array[...] = np.asarray(variable.value)


def write_block(store: Store, region: Region, values: Mapping[str, np.ndarray]) -> None:
    """Write one block of every variable, then mark it done.

    Args:
        store: made by ``create`` or ``in_memory``.
        region: the block.
        values: numbers [*block, ...] by variable.
    """
    group = zarr.open_group(store, mode="r+", zarr_format=3)
    for name, block in values.items():
        _array(group, name)[region] = block
    _array(group, DONE)[region] = True


def done(store: Store) -> np.ndarray:
    """Which grid points are written."""
    return np.asarray(_array(zarr.open_group(store, mode="r", zarr_format=3), DONE)[...])


def finished(path: Path) -> bool:
    """Whether there is a store in which every point is written."""
    return path.exists() and bool(done(path).all())


def tidy(path: Path) -> None:
    """Remove the temporary files of killed writers; safe once every block is done, for then nobody writes."""
    for left in path.rglob("*.partial"):
        left.unlink(missing_ok=True)


def _array(group: zarr.Group, name: str) -> Any:
    return group[name]


def plan(path: Path) -> dict[str, Any]:
    """How the blocks of a store are computed, as ``create`` was told.

    Raises:
        RunMismatch: the folder holds something else.
    """
    try:
        attributes: dict[str, Any] = zarr.open_group(path, mode="r", zarr_format=3).attrs.asdict()
        return attributes[_PLAN]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _no_dataset(path) from error


def program_of(path: Path) -> str:
    """The fingerprint of the program that computes a store."""
    return str(_describe(path)["program_sha256"])


def _no_dataset(store: Store) -> RunMismatch:
    return RunMismatch(f"{store} exists and is no dataset of a sweep; {way_out(store)}")


def check_same(path: Path, layout: Layout, made_by: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Refuse to go on with a store of another run, or with an unfinished one under another plan.

    A finished one may have been made by other code: then only its settings and what it holds have to be the same.

    Raises:
        RunMismatch: it says what differs and what to do; nothing is changed.
    """
    held, asked = _describe(path), _describe(in_memory(layout, made_by, plan))
    loose = ["code_sha256"]
    if finished(path):
        loose += ["block", _PLAN, "versions", "program_sha256"]
    _refuse(path, _first_difference(held, asked | {name: held[name] for name in loose if name in held}))


def check_config(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse, before anything is computed, to go on with a store that was given other settings.

    Args:
        path: of the store; there may be none.
        config: settings to be found among the store's.

    Raises:
        RunMismatch: as ``check_same``.
    """
    if path.exists():
        held, asked = _describe(path)["config"], json.loads(json.dumps(config))
        _refuse(path, _first_difference({name: held.get(name, "absent") for name in asked}, asked))


def _refuse(path: Path, different: str | None) -> None:
    if different:
        raise RunMismatch(f"{path} holds another run ({different}); {way_out(path)}")


def way_out(store: Store) -> str:
    """What to do where a store is in the way, to end a sentence."""
    return f"nothing was overwritten: choose another --out, or remove it by rm -r {shlex.quote(str(store))}"


def _describe(store: Store) -> dict[str, Any]:
    """Everything that two runs must have in common to share a store."""
    try:
        group = zarr.open_group(store, mode="r", zarr_format=3)
        attributes: dict[str, Any] = group.attrs.asdict()
        arrays: dict[str, Any] = dict(group.arrays())
        variables = {n: f"{a.dtype} [{', '.join(a.metadata.dimension_names)}] {a.shape}" for n, a in arrays.items()}
        coords = {n: a[...].tolist() for n, a in arrays.items() if a.metadata.dimension_names == (n,)}
        own = {"coords": coords | attributes[_LABELS], "variables": variables, "block": list(arrays[DONE].chunks)}
        return {**attributes[_PROVENANCE], **own, _PLAN: attributes[_PLAN]}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _no_dataset(store) from error


def _first_difference(held: Any, asked: Any, name: str = "") -> str | None:
    if isinstance(held, list) and isinstance(asked, list):
        if len(held) != len(asked):
            return f"{_plain(name)} has {len(held)} values there and {len(asked)} here"
        differences = (_first_difference(*pair, f"{name}[{i}]") for i, pair in enumerate(zip(held, asked, strict=True)))
        return next(filter(None, differences), None)
    if isinstance(held, dict) and isinstance(asked, dict):
        keys = sorted(held.keys() | asked.keys(), key=lambda k: (k.endswith("_sha256"), k))
        differences = (_first_difference(held.get(k, "absent"), asked.get(k, "absent"), f"{name}.{k}") for k in keys)
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


def load(store: str | Store, *, unfinished: bool = False) -> xr.Dataset:
    """Open a store, string labels restored; numbers are read when they are used (``.load()`` reads all).

    Args:
        store: a path, or what ``in_memory`` made.
        unfinished: take what there is; what is missing has ``done`` False and reads nan or zero.

    Raises:
        ValueError: no store, or one whose run has not finished.
    """
    try:
        dataset = xr.open_zarr(store, consolidated=False, chunks=None, decode_cf=False)
        labels = {name: (name, np.array(values)) for name, values in dataset.attrs.pop(_LABELS).items()}
        missing = int((~dataset[DONE]).sum())
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"There is no dataset at {store}: run the experiment with --out {Path(str(store)).parent} first."
        ) from error
    if missing and not unfinished:
        raise ValueError(
            f"{store} lacks {missing} of {dataset[DONE].size} points: run the same command again to finish it."
        )
    return dataset.assign_coords(labels)


def config_of(dataset: xr.Dataset) -> dict[str, Any]:
    """The settings and names that a run was given."""
    return dataset.attrs[_PROVENANCE]["config"]


def settings_of(dataset: xr.Dataset) -> dict[str, Any]:
    """The settings that a run was given, groups of them as dicts."""
    return config_of(dataset)["settings"]


def made_by_other_code(dataset: xr.Dataset) -> bool:
    """Whether the code has changed since a dataset was begun."""
    return dataset.attrs[_PROVENANCE]["code_sha256"] != code_sha256()
