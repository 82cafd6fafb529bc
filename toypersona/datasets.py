"""Labelled arrays on disk.

A sweep's dataset is an xarray Dataset in a zarr v3 store, one dimension per axis. Its grid is cut into rectangular
blocks that are zarr chunks at the same time, so that each file of numbers has one writer. A block's entry in the
boolean ``done`` is written after all else: a run killed at any moment goes on from its last whole block. What is
written follows from the settings and from the plan, which the store keeps: a resumed store equals an uninterrupted one
byte for byte. Files of numbers are not compressed, so that their length is known: a block is done if it says so and all
its files are there (a copy may lack some), and a file that was cut short is found before anybody reads it.
"""

import json
import math
import os
import shlex
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from toypersona import files, outputs, provenance
from toypersona.outputs import Output

Result = TypeVar("Result")

DONE = "done"
DIVERGED = "diverged"
_LABELS = "labels"
_PROVENANCE = "provenance"
_PLAN = "plan"
_COMPUTED, _GIVEN = "computed", "given"
_EVERY_CHUNK_A_FILE = {"array.write_empty_chunks": True}
"""By default chunks of nothing but zeros are not written, and so could not be told from those that were lost."""

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


def create(path: Path, layout: Layout, made_by: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Lay out an empty store on disk; it appears under its name only when complete.

    Args:
        path: of the store.
        layout: of the dataset.
        made_by: ``provenance.of``.
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
        raise ValueError(f"Cannot make a dataset at {path} ({files.why(error)}): choose another --out.") from error


def in_memory(layout: Layout, made_by: Mapping[str, Any], plan: Mapping[str, Any]) -> MemoryStore:
    """Lay out an empty store in memory; arguments as ``create``'s."""
    store = MemoryStore()
    _lay_out(store, layout, made_by, plan)
    return store


def _lay_out(store: Store, layout: Layout, made_by: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    labels = {name: values.tolist() for name, values in layout.coords.items() if values.dtype.kind == "U"}
    coords = {name: outputs.named(values, **{name: None}) for name, values in layout.coords.items()}
    # One chunk each, written here: the blocks cut the variables alone.
    whole = {**layout.constants, **{name: coord for name, coord in coords.items() if name not in labels}}
    done = Output(np.zeros((), bool), tuple(layout.block), {}, "computed")
    computed = {**layout.variables, DONE: done}
    attributes = {_PROVENANCE: made_by, _LABELS: labels, _PLAN: plan, "commit": provenance.commit()}
    attributes |= {_COMPUTED: sorted(computed), _GIVEN: sorted(whole)}
    group = zarr.create_group(store, zarr_format=3, attributes=attributes)
    for name, variable in {**whole, **computed}.items():
        shape = tuple(len(layout.coords[dim]) for dim in variable.dims)
        cut = {} if name in whole else layout.block
        words = outputs.described(name, variable._replace(value=np.zeros((1,) * len(shape))))
        with zarr.config.set(_EVERY_CHUNK_A_FILE):
            array = group.create_array(
                name,
                shape=shape,
                chunks=tuple(cut.get(dim, max(size, 1)) for dim, size in zip(variable.dims, shape, strict=True)),
                dtype=variable.value.dtype,
                fill_value=np.nan if variable.value.dtype.kind in "fc" else None,
                compressors=None,
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
        values: numbers ``[*block, ...]`` by variable.

    Raises:
        OSError: the disk is full, or gone; all blocks written before are kept.
    """
    try:
        group = zarr.open_group(store, mode="r+", zarr_format=3)
        with zarr.config.set(_EVERY_CHUNK_A_FILE):
            for name, block in values.items():
                _array(group, name)[region] = block
            _array(group, DONE)[region] = True
    except OSError as error:
        raise OSError(
            f"Cannot write to {store} ({files.why(error)}): what was computed before is kept; make room and run the "
            "same command again to go on."
        ) from error


def done(store: Store) -> np.ndarray:
    """Which grid points are written, all of their numbers.

    Raises:
        ValueError: it names what is missing or was cut short and cannot be computed again by itself.
    """
    arrays, attributes = _opened(store)
    block = arrays[DONE].chunks

    def of(place: tuple[int, ...]) -> Region:
        return tuple(slice(i * n, (i + 1) * n) for i, n in zip(place, block, strict=False))

    if not isinstance(store, Path) or _COMPUTED not in attributes:
        return np.asarray(arrays[DONE][...])
    everything = f"rm -r {shlex.quote(str(store))}"
    for name in attributes[_GIVEN]:
        for _, file in _lost(store, name, arrays[name], everything):
            raise ValueError(f"{file} is missing: copy it again, or remove it by {everything}.")
    lost = [of(place) for place, _ in _lost(store, DONE, arrays[DONE])]
    flags = np.asarray(arrays[DONE][...])
    for name in attributes[_COMPUTED]:
        # What a killed writer left of a block that is not done is written again.
        needed = lambda place: bool(flags[of(place)].any())  # noqa: E731
        lost += [of(place) for place, _ in _lost(store, name, arrays[name], needed=needed)]
    for region in lost:
        flags[region] = False
    return flags


def _opened(store: Store) -> tuple[dict[str, Any], dict[str, Any]]:
    """A store's arrays by name, and its attributes.

    Raises:
        RunMismatch: it is no dataset of a sweep, or a damaged one.
    """
    try:
        group = zarr.open_group(store, mode="r", zarr_format=3)
        attributes: dict[str, Any] = group.attrs.asdict()
        names = [*attributes.get(_COMPUTED, ()), *attributes.get(_GIVEN, ())] or [*group.array_keys()]
        arrays = {name: _array(group, name) for name in names}
        if arrays.keys() >= {DONE} and attributes.keys() >= {_PROVENANCE, _LABELS, _PLAN}:
            return arrays, attributes
        raise KeyError(DONE)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunMismatch(f"{store} exists and is no dataset of a sweep, or a damaged one; {way_out(store)}") from error


def _lost(
    path: Path,
    name: str,
    array: Any,
    way: str | None = None,
    needed: Callable[[tuple[int, ...]], bool] = lambda _: True,
) -> Iterator[tuple[tuple[int, ...], Path]]:
    """Places and names of the files that an array lacks, of those needed.

    Raises:
        ValueError: a file was cut short; ``way`` to remove it.
    """
    whole = math.prod(array.chunks) * array.dtype.itemsize
    for place in np.ndindex(array.cdata_shape) if array.size else ():
        if not needed(place):
            continue
        file = path / name / array.metadata.encode_chunk_key(place)
        if not file.exists():
            yield place, file
        elif (size := file.stat().st_size) != whole:
            way = way or f"rm {shlex.quote(str(file))} and run the same command again"
            raise ValueError(f"{file} was cut short to {size} of {whole} bytes: copy it again, or remove it by {way}.")


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
    return _opened(path)[1][_PLAN]


def check_same(path: Path, layout: Layout, made_by: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Refuse to go on with a store of another run, or with an unfinished one under another plan.

    A finished one may have been made by other code: then only its settings and what it holds have to be the same, and
    another program is warned of.

    Raises:
        RunMismatch: it says what differs and what to do; nothing is changed.
    """
    loose = ["code_sha256", *(("block", _PLAN, "versions", "program_sha256") if finished(path) else ())]
    held, asked = _describe(path), _describe(in_memory(layout, made_by, plan))
    _refuse(path, provenance.first_difference(held, asked | {name: held[name] for name in loose if name in held}))
    if held.get("program_sha256") != asked.get("program_sha256"):
        warnings.warn(f"{path} is finished and was computed by another function than this one.", stacklevel=4)


def check_config(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse, before anything is computed, to go on with a store that was given other settings.

    Args:
        path: of the store; there may be none.
        config: settings to be found among the store's.

    Raises:
        RunMismatch: as ``check_same``.
    """
    if path.exists():
        held, asked = _opened(path)[1][_PROVENANCE]["config"], json.loads(json.dumps(config))
        _refuse(path, provenance.first_difference({name: held.get(name, "absent") for name in asked}, asked))


def _refuse(path: Path, different: str | None) -> None:
    if different:
        raise RunMismatch(f"{path} holds another run ({different}); {way_out(path)}")


def way_out(store: Store) -> str:
    """What to do where a store is in the way, to end a sentence."""
    return f"nothing was overwritten: choose another --out, or remove it by rm -r {shlex.quote(str(store))}"


def _describe(store: Store) -> dict[str, Any]:
    """Everything that two runs must have in common to share a store."""
    arrays, attributes = _opened(store)
    variables = {n: f"{a.dtype} [{', '.join(a.metadata.dimension_names)}] {a.shape}" for n, a in arrays.items()}
    coords = {n: a[...].tolist() for n, a in arrays.items() if a.metadata.dimension_names == (n,)}
    own = {"coords": coords | attributes[_LABELS], "variables": variables, "block": list(arrays[DONE].chunks)}
    return {**attributes[_PROVENANCE], **own, _PLAN: attributes[_PLAN]}


def load(store: str | Store, *, unfinished: bool = False) -> xr.Dataset:
    """Open a store, string labels restored; numbers are read when they are used (``.load()`` reads all).

    Args:
        store: a path, or what ``in_memory`` made.
        unfinished: take what there is; what is missing has ``done`` False and reads nan or zero.

    Raises:
        ValueError: no store, a damaged one, or one whose run has not finished.
    """
    store = Path(store) if isinstance(store, str) else store
    if isinstance(store, Path) and not store.exists():
        raise ValueError(f"There is no dataset at {store}: run the experiment with --out {store.parent} first.")
    flags = done(store)
    dataset = xr.open_zarr(store, consolidated=False, chunks=None, decode_cf=False)
    labels = {name: (name, np.array(values)) for name, values in dataset.attrs.pop(_LABELS).items()}
    dataset = dataset.assign({DONE: dataset[DONE].copy(data=flags)})
    missing = int((~dataset[DONE]).sum())
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


def read(reading: Callable[[xr.Dataset], Result], dataset: xr.Dataset) -> Result:
    """What a function reads from a dataset.

    Raises:
        ValueError: the dataset was made by other code, and lacks what is read today.
    """
    try:
        return reading(dataset)
    except (KeyError, AttributeError) as error:
        if not made_by_other_code(dataset):
            raise
        raise ValueError(f"The dataset was made by other code and lacks {error}: run the experiment again.") from error


def made_by_other_code(dataset: xr.Dataset) -> bool:
    """Whether the code has changed since a dataset was begun."""
    return dataset.attrs[_PROVENANCE]["code_sha256"] != provenance.code_sha256()
