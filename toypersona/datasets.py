"""Labelled arrays on disk: the only file input and output of the package.

A sweep's dataset is an xarray Dataset in a zarr v3 store, one dimension per axis. It is cut into rectangular blocks
that are zarr chunks at the same time, so that each file has one writer; a block's entry in
the boolean ``done`` is written after all else: a run killed at any moment goes on from its last whole block.
"""

import hashlib
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
import zarr

from toypersona import __version__

DONE = "done"
_LABELS = "labels"
_PROVENANCE = "provenance"


class RunMismatch(ValueError):
    """A folder holds another run than the one asked for."""


def provenance(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the numbers of a run: its settings, the package's sources and the versions below them."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    versions = {name: metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
    return {
        "config": json.loads(json.dumps(config)),
        "versions": {"toypersona": __version__, "python": platform.python_version(), **versions},
        "source_sha256": digest,
    }


def _commit() -> str | None:
    """The commit of the sources, if they lie in a git checkout: told to the reader, never compared."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def create(
    path: Path,
    coords: Mapping[str, np.ndarray],
    variables: Mapping[str, tuple[Sequence[str], np.dtype]],
    chunks: Mapping[str, int],
    made_by: Mapping[str, Any],
) -> None:
    """Lay out an empty store; it appears under its name only when complete.

    Args:
        path: of the store.
        coords: coordinate values by dimension; strings are kept as labels in the attributes.
        variables: dimensions and dtype by name.
        chunks: block length by dimension; a dimension that is not named is not cut.
        made_by: ``provenance``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = {name: values.tolist() for name, values in coords.items() if values.dtype.kind == "U"}
    sizes = {name: len(values) for name, values in coords.items()}
    stored = {
        **{name: ((name,), values.dtype) for name, values in coords.items() if name not in labels},
        **variables,
    }
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        attributes = {_PROVENANCE: made_by, _LABELS: labels, "commit": _commit()}
        group = zarr.create_group(Path(folder) / path.name, zarr_format=3, attributes=attributes)
        for name, (dims, dtype) in stored.items():
            whole = tuple(sizes[dim] for dim in dims)
            array = group.create_array(
                name,
                shape=whole,
                chunks=tuple(min(chunks.get(dim, size), size) for dim, size in zip(dims, whole, strict=True)),
                dtype=dtype,
                dimension_names=tuple(dims),
            )
            if name in coords:
                array[...] = coords[name]
        os.rename(Path(folder) / path.name, path)


def write_block(path: Path, region: Mapping[str, slice], values: Mapping[str, np.ndarray]) -> None:
    """Write one block of every variable, then mark it done.

    Args:
        path: of the store.
        region: a slice for each dimension that is cut.
        values: the block by variable.
    """
    group = zarr.open_group(path, mode="r+", zarr_format=3)
    for name, block in [*values.items(), (DONE, np.ones([s.stop - s.start for s in region.values()], bool))]:
        array = _array(group, name)
        array[tuple(region.get(dim, slice(None)) for dim in array.metadata.dimension_names)] = block


def done(path: Path) -> np.ndarray:
    """Which grid points are written."""
    return np.asarray(_array(zarr.open_group(path, mode="r", zarr_format=3), DONE)[...])


def _array(group: zarr.Group, name: str) -> Any:
    return group[name]


def check_same(path: Path, made_by: Mapping[str, Any], coords: Mapping[str, np.ndarray]) -> None:
    """Refuse to go on with a store that another run made.

    Raises:
        RunMismatch: it says what differs and what to do; nothing is changed.
    """
    try:
        attributes = dict(zarr.open_group(path, mode="r", zarr_format=3).attrs)
        held: dict[str, Any] = dict(attributes[_PROVENANCE])
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise RunMismatch(f"{path} exists and is no dataset of toypersona: choose another --out.") from error
    different = _first_difference({**held, "axes": _axes(load(path, unfinished=True), coords)},
                                  {**made_by, "axes": {k: v.tolist() for k, v in coords.items()}})  # fmt: skip
    if different:
        raise RunMismatch(
            f"{path} holds another run ({different}); nothing was overwritten: choose another --out or remove it."
        )


def _axes(dataset: xr.Dataset, coords: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: dataset[name].values.tolist() if name in dataset.coords else None for name in coords}


def _first_difference(held: Any, asked: Any, name: str = "") -> str | None:
    if isinstance(held, dict) and isinstance(asked, dict):
        for key in sorted(held.keys() | asked.keys()):
            found = _first_difference(held.get(key), asked.get(key), f"{name}.{key}" if name else key)
            if found:
                return found
        return None
    if held == asked:
        return None
    if name == "source_sha256":
        return "made by other source code"
    shown = [text if len(text) <= 60 else f"{text[:57]}..." for text in (str(held), str(asked))]
    return f"{name} is {shown[0]} there and {shown[1]} here"


def load(path: Path, *, unfinished: bool = False) -> xr.Dataset:
    """Read a store into memory, string labels restored.

    Raises:
        ValueError: no store, or one whose run has not finished (unless ``unfinished``).
    """
    if not (path / "zarr.json").is_file():
        raise ValueError(f"There is no dataset at {path}: run the experiment with --out {path.parent} first.")
    with xr.open_zarr(path, consolidated=False, decode_times=False, mask_and_scale=False) as stored:
        dataset = stored.load()
    labels = {name: (name, np.array(values)) for name, values in dataset.attrs.pop(_LABELS).items()}
    missing = int((~dataset[DONE]).sum())
    if missing and not unfinished:
        raise ValueError(
            f"{path} lacks {missing} of {dataset[DONE].size} points: run the same command again to finish it."
        )
    return dataset.assign_coords(labels)


def config_of(dataset: xr.Dataset) -> dict[str, Any]:
    """The settings and names that a run was given."""
    return dataset.attrs[_PROVENANCE]["config"]


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that readers see the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        json.dump(content, file, indent=1, ensure_ascii=False, allow_nan=False)
        file.write("\n")
    os.replace(file.name, path)


def read_json(path: Path) -> Any:
    """Read JSON."""
    return json.loads(path.read_text())


def as_numpy(values: Mapping[str, jax.Array]) -> dict[str, np.ndarray]:
    """Device arrays by name, on the host."""
    return {name: np.asarray(value) for name, value in values.items()}
