"""Sweeps: one jitted, vmapped function over a grid of hyperparameters and seeds, block by block, resumable.

Hyperparameters are traced, so other values of the same shapes compile nothing. The grid is cut into equal rectangular
blocks; one that overhangs the grid's edge is filled up by repeating a point and cut back afterwards: one program
serves all.
"""

import inspect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from tqdm import tqdm

from toypersona import compiling, datasets
from toypersona.compiling import DIVERGED, SEED, ExperimentFn, Plan, Program
from toypersona.datasets import Layout, Region, Store


def run(
    experiment_fn: ExperimentFn,
    axes: Mapping[str, ArrayLike],
    *,
    seeds: Sequence[int] | np.ndarray,
    chunk: int | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    part: tuple[int, int] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, ArrayLike] | None = None,
    infinite: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Evaluate a function on every point of a grid.

    Every point gets ``jax.random.key(seed)``: points that differ in hyperparameters only share their random numbers.
    A store that another function made, or the same one with other arrays inside, is refused.
    A point with a nan or an infinity in any output is kept and marked in the variable ``diverged``. Every local device
    computes a block at a time; only these blocks and the coordinates are in memory where ``out`` is given. Several
    processes may share one store: under ``jax.distributed`` each takes its part of the blocks by itself, the tasks of a
    job array say which is theirs. On devices of one kind all of this gives the same numbers, bit for bit. Ctrl-C stops
    it; the same call goes on from there.

    Args:
        experiment_fn: what to evaluate. The same object in a later sweep of the same shapes compiles nothing.
        axes: values of each hyperparameter, 1-d and numeric; they become dimensions in this order, ``seed`` follows.
        seeds: different integers.
        chunk: how many points at most are computed together (memory and the most that a kill loses grow with it).
            By default the fastest found in a tenth of the sweep's time, compiler options too (``compiling.measured``).
        out: a zarr store to write, or to continue, or merely to open; in memory if None.
        resume: go on with what the store holds; if False an existing store is refused.
        part: (i, n), compute every n-th block from the i-th on; this process's place among all by default.
        dims: names of each output's own dimensions; ``NAME_dim_0``, ... where missing.
        coords: values along those dimensions, numbers or strings; 0, 1, ... where missing.
        infinite: outputs in which an infinity is a value, such as a boundary that is not reached.
        config: whatever else decides the numbers, JSON-able: a store made with another one is refused.
        progress: show a progress bar, one tick a point.

    Returns:
        The dataset; from ``out`` numbers are read when they are used. Where other processes have not finished their
        parts, ``done`` is False.

    Raises:
        ValueError: a grid that is none, or names that do not fit.
        TypeError: the function does not return a dict of arrays.
        datasets.RunMismatch: ``out`` holds another run.
    """
    grid = _grid(axes, seeds, chunk)
    index, count = part or (jax.process_index(), jax.process_count())
    if not 0 <= index < count:
        raise ValueError(f"A sweep's part is (i, n) with 0 <= i < n, not {part}.")
    _check_arguments(experiment_fn, axes)
    dtypes = tuple((name, jnp.asarray(values).dtype) for name, values in sorted(grid.items()))
    program = compiling.trace(experiment_fn, dtypes, tuple(sorted(infinite)))
    made_by = datasets.provenance(config or {}, grid[SEED].tolist()) | {"program_sha256": program.fingerprint}
    layout = _layout(grid, program.outputs, dims or {}, coords or {})
    if out is None:
        plan = _plan(program, grid, chunk)
        store: Store = datasets.in_memory(_cut(layout, grid, plan), made_by, plan._asdict())
    else:
        store = Path(out)
        plan = _on_disk(store, layout, made_by, program, grid, chunk, resume)
    try:
        _compute(program, grid, plan, store, (index, count), progress)
    except KeyboardInterrupt as stop:
        if isinstance(store, Path):
            done = datasets.done(store)
            stop.add_note(f"{done.sum()} of {done.size} points are kept in {store}.")
        raise
    dataset = datasets.load(store, unfinished=count > 1)
    if not isinstance(store, Path):
        return dataset.load()
    if dataset[datasets.DONE].all():
        datasets.tidy(store)
    return dataset


def _on_disk(
    path: Path,
    layout: Layout,
    made_by: Mapping[str, Any],
    program: Program,
    grid: Mapping[str, np.ndarray],
    chunk: int | None,
    resume: bool,
) -> Plan:
    """Make the store or check that it is this run's; how its blocks are computed."""
    if path.exists() and not resume:
        raise datasets.RunMismatch(
            f"{path} exists and resume is off; nothing was overwritten: choose another --out or remove it."
        )
    if not path.exists():
        plan = _plan(program, grid, chunk)
        try:
            datasets.create(path, _cut(layout, grid, plan), made_by, plan._asdict())
        except ValueError:
            # Another process was faster.
            if not path.exists():
                raise
    # What was measured elsewhere or before still decides, because the numbers depend on it in their last bits.
    plan = Plan.of(datasets.plan(path)) if chunk is None else _plan(program, grid, chunk)
    datasets.check_same(path, _cut(layout, grid, plan), made_by, plan._asdict())
    return plan


def _plan(program: Program, grid: Mapping[str, np.ndarray], chunk: int | None) -> Plan:
    if chunk is not None:
        size = math.prod(block_shape(_shape(grid), chunk))
        return Plan(size, size, size)
    return compiling.measured(
        program,
        lambda size: _points(grid, tuple(slice(0, n) for n in block_shape(_shape(grid), size)), size),
        math.prod(_shape(grid)),
        jax.local_devices()[0],
    )


def _shape(grid: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    return tuple(len(values) for values in grid.values())


def _cut(layout: Layout, grid: Mapping[str, np.ndarray], plan: Plan) -> Layout:
    return layout._replace(block=dict(zip(grid, block_shape(_shape(grid), plan.chunk), strict=True)))


def _compute(
    program: Program,
    grid: Mapping[str, np.ndarray],
    plan: Plan,
    store: Store,
    part: tuple[int, int],
    progress: bool,
) -> None:
    """Compute and write every block of a part that the store lacks."""
    done = datasets.done(store)
    block = block_shape(done.shape, plan.chunk)
    num_batches = math.ceil(math.prod(block) / plan.batch)
    own = itertools.islice(_regions(done.shape, block), part[0], None, part[1])
    todo = [region for region in own if not done[region].all()]
    devices, diverged = jax.local_devices()[: len(todo)], 0
    with tqdm(total=done.size, initial=int(done.sum()), unit=" configurations", disable=not progress) as bar:
        bar.set_description("compiling")
        with ThreadPoolExecutor(max_workers=max(1, len(devices))) as pool:
            how = program, plan.capacity, plan.batch, plan.options
            programs = list(pool.map(lambda device: compiling.compiled(*how, device), devices))
        for first in range(0, len(todo), max(1, len(devices))):
            # Started one after the other, they run at the same time: dispatch does not wait.
            regions = todo[first : first + len(devices)]
            started = [
                evaluate(_points(grid, region, plan.capacity), num_batches)
                for evaluate, region in zip(programs, regions, strict=False)
            ]
            for region, outputs in zip(regions, started, strict=True):
                values = _fetch(outputs, region)
                datasets.write_block(store, region, values)
                diverged += int(values[DIVERGED].sum())
                bar.set_description("computing", refresh=False)
                bar.set_postfix({DIVERGED: diverged}, refresh=False)
                bar.update(done[region].size)


def _grid(axes: Mapping[str, ArrayLike], seeds: Sequence[int] | np.ndarray, chunk: int | None) -> dict[str, np.ndarray]:
    if chunk is not None and chunk < 1:
        raise ValueError(f"A sweep's chunk is at least 1 point, not {chunk}.")
    if SEED in axes:
        raise ValueError("A sweep's seeds are given as seeds=..., not as an axis.")
    grid = {name: np.asarray(values) for name, values in axes.items()} | {SEED: np.asarray(seeds)}
    for name, values in grid.items():
        if values.ndim != 1 or values.size == 0 or values.dtype.kind not in ("iu" if name == SEED else "fiub"):
            numbers = "integers" if name == SEED else "numbers"
            raise ValueError(
                f"The sweep's axis {name!r} has to be a list of one or more {numbers}, "
                f"not of shape {values.shape} and type {values.dtype}."
            )
        if len(np.unique(values)) != values.size:
            raise ValueError(f"The sweep's axis {name!r} repeats a value: leave each in once.")
    return grid


def _check_arguments(experiment_fn: ExperimentFn, axes: Mapping[str, ArrayLike]) -> None:
    signature = inspect.signature(experiment_fn)
    try:
        signature.bind(None, **axes)
    except TypeError as error:
        raise ValueError(
            f"The sweep's axes {list(axes)} do not fit its function ({error}), which takes {signature}."
        ) from error


def _layout(
    grid: Mapping[str, np.ndarray],
    outputs: Mapping[str, jax.ShapeDtypeStruct],
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, ArrayLike],
) -> Layout:
    """The dataset's layout, not cut into blocks yet."""
    own = {name: tuple(dims.get(name, (f"{name}_dim_{i}" for i in range(s.ndim)))) for name, s in outputs.items()}
    _check_names(grid, own, dims, coords)
    inner: dict[str, np.ndarray] = {}
    variables: dict[str, tuple[tuple[str, ...], np.dtype]] = {}
    for name, shape in outputs.items():
        if not isinstance(shape.dtype, np.dtype) or shape.dtype.kind not in "biufc":
            raise ValueError(f"The output {name!r} is of type {shape.dtype}, which no dataset holds: cast it.")
        if len(own[name]) != shape.ndim:
            raise ValueError(f"dims names {len(own[name])} dimensions of {name!r}, which has {shape.ndim}.")
        for dim, size in zip(own[name], shape.shape, strict=True):
            values = inner.setdefault(dim, np.asarray(coords.get(dim, np.arange(size))))
            if values.shape != (size,) or values.dtype.kind not in "fiubU":
                raise ValueError(
                    f"The dimension {dim!r} has {size} places in {name!r} and a coordinate of shape {values.shape} and "
                    f"type {values.dtype}: give as many numbers or strings, the same for every output."
                )
        variables[name] = ((*grid, *own[name]), shape.dtype)
    return Layout({**grid, **inner}, variables, {})


def _check_names(
    grid: Mapping[str, np.ndarray],
    own: Mapping[str, tuple[str, ...]],
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, ArrayLike],
) -> None:
    inner = {dim for names in own.values() for dim in names}
    for argument, given, known in (("dims", dims, own.keys()), ("coords", coords, inner)):
        if given.keys() - known:
            raise ValueError(f"{argument} names {sorted(given.keys() - known)}, but there is only {sorted(known)}.")
    names = [*grid, *inner, *own, datasets.DONE]
    wrong = sorted(name for name in set(names) if names.count(name) > 1 or not name.isidentifier())
    wrong += [name for name, own_dims in own.items() if len(set(own_dims)) < len(own_dims)]
    if wrong:
        raise ValueError(f"Axes, outputs and dimensions need different, plain names: rename {wrong}.")


def block_shape(shape: tuple[int, ...], chunk: int) -> tuple[int, ...]:
    """The block of at most ``chunk`` points that takes the grid's last axes whole and an equal part of the one before.

    Equal parts, so that the last one needs little filling up: 100 points in chunks of 64 are two blocks of 50.
    """
    block = []
    for size in reversed(shape):
        block.append(math.ceil(size / math.ceil(size / chunk)))
        chunk = chunk // size if size <= chunk else 1
    return tuple(reversed(block))


def _regions(shape: tuple[int, ...], block: tuple[int, ...]) -> Iterator[Region]:
    cuts = [
        [slice(start, min(start + length, size)) for start in range(0, size, length)]
        for size, length in zip(shape, block, strict=True)
    ]
    return itertools.product(*cuts)


def _points(grid: Mapping[str, np.ndarray], region: Region, size: int) -> dict[str, np.ndarray]:
    """The region's points in C order, the last one repeated up to [size]."""
    mesh = np.meshgrid(*(values[part] for values, part in zip(grid.values(), region, strict=True)), indexing="ij")
    which = np.minimum(np.arange(size), mesh[0].size - 1)
    return {name: values.reshape(-1)[which] for name, values in zip(grid, mesh, strict=True)}


def _fetch(outputs: Mapping[str, jax.Array], region: Region) -> dict[str, np.ndarray]:
    """One block's outputs, each [*block, ...], on the host, as soon as they are there."""
    shape = tuple(part.stop - part.start for part in region)
    values = {name: np.asarray(value) for name, value in outputs.items()}
    return {name: value[: math.prod(shape)].reshape(shape + value.shape[1:]) for name, value in values.items()}
