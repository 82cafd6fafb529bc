"""Sweeps: one jitted, vmapped function over a grid of hyperparameters and seeds, block by block, resumable.

Hyperparameters are traced, so other values of the same shapes compile nothing. The grid is cut into equal rectangular
blocks; one that overhangs the grid's edge is filled up by repeating a point and cut back afterwards: one program
serves all.
"""

import functools
import inspect
import itertools
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from tqdm import tqdm

from toypersona import datasets, files, grids, outputs, programs, provenance
from toypersona.datasets import DIVERGED, Layout, Region, Store
from toypersona.outputs import Output
from toypersona.programs import SEED, Begun, Evaluate, ExperimentFn, Plan, Program

COMPILING = "{desc}"
COMPUTING = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} points [{elapsed}{postfix}]"
REMAINING = COMPUTING.replace("{elapsed}", "{elapsed}<{remaining}")
"""What the progress bar shows: how long it will still take is known when one block is computed."""


def run(
    experiment_fn: ExperimentFn,
    axes: Mapping[str, ArrayLike],
    *,
    seeds: Sequence[int] | np.ndarray,
    chunk: int | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    part: tuple[int, int] | None = None,
    infinite: Sequence[str] = (),
    constants: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Evaluate a function on every point of a grid.

    Every point gets ``jax.random.key(seed)``: points that differ in hyperparameters only share their random numbers.
    A store that another function made, or the same one with other arrays inside, is refused while it is unfinished;
    a finished one is opened, with a warning if another function would be evaluated now.
    A point with a nan or an infinity in any output is kept and marked in the variable ``diverged``. Every local device
    computes a block at a time; only these blocks and the coordinates are in memory where ``out`` is given. Several
    processes may share one store: under ``jax.distributed`` each takes its part of the blocks by itself, the tasks of a
    job array say which is theirs. On devices of one kind all of this gives the same numbers, bit for bit. Ctrl-C stops
    it; the same call goes on from there.

    Args:
        experiment_fn: what to evaluate; its outputs are named where they are made (``outputs.named``). The same object
            in a later sweep of the same shapes compiles nothing.
        axes: values of each hyperparameter, 1-d and numeric; they become dimensions in this order, ``seed`` follows.
        seeds: different integers.
        chunk: how many points at most are computed together and then kept (memory and the most that a kill loses grow
            with it). By default what suits the platform and the time that a point takes (``programs.measured``).
        out: a zarr store to write, or to continue, or merely to open; in memory if None.
        resume: go on with what the store holds; if False an existing store is refused.
        part: (i, n), compute every n-th block from the i-th on; this process's place among all by default.
        infinite: outputs in which an infinity is a value, such as a boundary that is not reached.
        constants: arrays, or outputs named like those of the function, to keep with the numbers; the grid's dimensions
            only where they are named.
        config: whatever else decides the numbers, JSON-able: a store made with another one is refused.
        progress: show a progress bar where stderr is a terminal, one tick a point.

    Returns:
        The dataset; from ``out`` numbers are read when they are used. Where other processes have not finished their
        parts, ``done`` is False.

    Raises:
        ValueError: a grid that is none, or names that do not fit.
        TypeError: the function does not return a dict of arrays.
        datasets.RunMismatch: ``out`` holds another run.
    """
    grid = grids.checked(axes, seeds, chunk)
    index, count = _part(part)
    _check_arguments(experiment_fn, axes)
    if out is not None and not Path(out).exists():
        files.check_writable(Path(out).parent)
    dtypes = tuple((name, jnp.asarray(values).dtype) for name, values in sorted(grid.items()))
    with _bar(math.prod(grids.shape(grid)), progress) as bar:
        program = programs.trace(experiment_fn, dtypes, tuple(sorted(infinite)))
        made_by = provenance.of(config or {}, grid[SEED].tolist()) | {"program_sha256": program.fingerprint}
        layout = _layout(grid, program.outputs, constants or {})
        if out is None:
            begun = _begun(program, grid, chunk)
            store: Store = datasets.in_memory(_cut(layout, grid, begun.plan), made_by, begun.plan._asdict())
        else:
            store = Path(out)
            begun = _on_disk(store, layout, made_by, program, grid, chunk, resume)
        try:
            _compute(program, grid, begun, store, (index, count), bar)
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


def _bar(total: int, progress: bool) -> tqdm:
    """A progress bar as wide as the terminal, a line of words as long as it is compiled; none where stderr is none."""
    return tqdm(
        total=total,
        desc="compiling ...",
        bar_format=COMPILING,
        dynamic_ncols=True,
        # The mean over all blocks: the last one alone may be a short one.
        smoothing=0,
        miniters=1,
        disable=None if progress else True,
    )


def _on_disk(
    path: Path,
    layout: Layout,
    made_by: Mapping[str, Any],
    program: Program,
    grid: Mapping[str, np.ndarray],
    chunk: int | None,
    resume: bool,
) -> Begun:
    """Make the store or check that it is this run's; how its blocks are computed."""
    if path.exists() and not resume:
        raise datasets.RunMismatch(f"{path} exists and resume is off; {datasets.way_out(path)}")
    begun = None
    if not path.exists():
        begun = _begun(program, grid, chunk)
        try:
            datasets.create(path, _cut(layout, grid, begun.plan), made_by, begun.plan._asdict())
        except ValueError:
            # Another process was faster.
            if not path.exists():
                raise
    # What was measured elsewhere or before still decides, because the numbers depend on it in their last bits.
    plan = Plan.of(datasets.plan(path)) if chunk is None else _begun(program, grid, chunk).plan
    datasets.check_same(path, _cut(layout, grid, plan), made_by, plan._asdict())
    return begun if begun is not None and begun.plan == plan else Begun(plan)


def _begun(program: Program, grid: Mapping[str, np.ndarray], chunk: int | None) -> Begun:
    if chunk is not None:
        size = math.prod(grids.block_shape(grids.shape(grid), chunk))
        return Begun(Plan(size, size))
    return programs.measured(
        program,
        lambda size: grids.points(grid, tuple(slice(0, n) for n in grids.block_shape(grids.shape(grid), size)), size),
        math.prod(grids.shape(grid)),
        jax.local_devices()[0],
    )


def _cut(layout: Layout, grid: Mapping[str, np.ndarray], plan: Plan) -> Layout:
    return layout._replace(block=dict(zip(grid, grids.block_shape(grids.shape(grid), plan.chunk), strict=True)))


def _compute(
    program: Program,
    grid: Mapping[str, np.ndarray],
    begun: Begun,
    store: Store,
    part: tuple[int, int],
    bar: tqdm,
) -> None:
    """Compute and write every block of a part that the store lacks."""
    plan = begun.plan
    done = datasets.done(store)
    own = itertools.islice(grids.regions(done.shape, grids.block_shape(done.shape, plan.chunk)), part[0], None, part[1])
    todo = [region for region in own if not done[region].all()]
    devices, diverged = jax.local_devices()[: len(todo)], 0
    with ThreadPoolExecutor(max_workers=max(1, len(devices))) as pool:
        compile_on = functools.partial(programs.compiled, program, plan.batch, plan.options)
        compiled = list(pool.map(compile_on, devices))
    # The clock starts with the first block: what is left is told from blocks alone.
    bar.reset()
    bar.initial = bar.n = int(done.sum())
    bar.bar_format = COMPUTING
    bar.set_description_str("computing")

    def outputs_of(points: Mapping[str, np.ndarray], evaluate: Evaluate) -> Mapping[str, jax.Array]:
        if not begun.known(points):
            return evaluate(points)
        # What was there before says nothing of the time that is left.
        bar.initial += plan.batch
        return begun.results

    for first in range(0, len(todo), max(1, len(devices))):
        # Started one after the other, they run at the same time: dispatch does not wait.
        regions = todo[first : first + len(devices)]
        started = [
            [outputs_of(points, evaluate) for points in grids.batches(grid, region, plan.batch)]
            for evaluate, region in zip(compiled, regions, strict=False)
        ]
        for region, results in zip(regions, started, strict=True):
            values = _fetch(results, region)
            datasets.write_block(store, region, values)
            diverged += int(values[DIVERGED].sum())
            if diverged:
                bar.set_postfix({DIVERGED: diverged}, refresh=False)
            bar.bar_format = REMAINING
            bar.update(done[region].size)


def _part(part: tuple[int, int] | None) -> tuple[int, int]:
    """This process's number and how many there are."""
    if part is None:
        return jax.process_index(), jax.process_count()
    whole = isinstance(part, Sequence) and len(part) == 2 and all(isinstance(one, int) for one in part)
    if not whole or not 0 <= part[0] < part[1]:
        raise ValueError(f"A sweep's part is (i, n) with 0 <= i < n, not {part!r}.")
    return part[0], part[1]


def _check_arguments(experiment_fn: ExperimentFn, axes: Mapping[str, ArrayLike]) -> None:
    if not callable(experiment_fn):
        raise ValueError(f"A sweep's function is one of a key and the axes by name, not {experiment_fn!r}.")
    signature = inspect.signature(experiment_fn)
    try:
        signature.bind(None, **axes)
    except TypeError as error:
        raise ValueError(
            f"The sweep's axes {list(axes)} do not fit its function ({error}), which takes {signature}."
        ) from error


def _layout(grid: Mapping[str, np.ndarray], results: Mapping[str, Output], constants: Mapping[str, Any]) -> Layout:
    """The dataset's layout, not cut into blocks yet."""
    fixed = {name: outputs.described(name, value) for name, value in constants.items()}
    _check_names(grid, results, fixed)
    every = {**results, **fixed}
    inner: dict[str, np.ndarray] = {}
    for name, output in every.items():
        for dim, size in zip(output.dims, output.value.shape, strict=True):
            values = output.coords.get(dim, grid.get(dim))
            inner.setdefault(dim, np.arange(size))
            if values is not None and (values.shape != (size,) or values.dtype.kind not in "fiubU"):
                raise ValueError(
                    f"The dimension {dim!r} has {size} places in {name!r} and a coordinate of shape {values.shape} and "
                    f"type {values.dtype}: give as many numbers or strings."
                )
            if inner[dim].size != size or (values is not None and _differs(grid, every, dim, values)):
                raise ValueError(f"The dimension {dim!r} of {name!r} has other places than that of another output.")
            inner[dim] = inner[dim] if values is None else values
    variables = {name: output._replace(dims=(*grid, *output.dims)) for name, output in results.items()}
    return Layout(inner | dict(grid), variables, {}, fixed)


def _differs(grid: Mapping[str, np.ndarray], every: Mapping[str, Output], dim: str, values: np.ndarray) -> bool:
    others = [output.coords[dim] for output in every.values() if dim in output.coords]
    others += [grid[dim]] if dim in grid else []
    return any(other.shape != values.shape or (other != values).any() for other in others)


def _check_names(
    grid: Mapping[str, np.ndarray], results: Mapping[str, Output], constants: Mapping[str, Output]
) -> None:
    every = [*results.items(), *constants.items()]
    for name, output in every:
        dtype = output.value.dtype
        if not isinstance(dtype, np.dtype) or dtype.kind not in "biufc":
            raise ValueError(f"The output {name!r} is of type {dtype}, which no dataset holds: cast it.")
        if len(output.dims) != len(output.value.shape):
            raise ValueError(f"{name!r} has {len(output.value.shape)} axes and is named with {len(output.dims)}.")
    # Constants may lie along the grid; what is computed at a point may not.
    own, fixed = ({dim for output in of.values() for dim in output.dims} for of in (results, constants))
    names = [*grid, *(own | (fixed - grid.keys())), *results, *constants, datasets.DONE]
    wrong = sorted(name for name in set(names) if names.count(name) > 1 or not name.isidentifier())
    wrong += [name for name, output in every if len(set(output.dims)) < len(output.dims)]
    if wrong:
        raise ValueError(f"Axes, outputs and dimensions need different, plain names: rename {wrong}.")


def _fetch(results: Sequence[Mapping[str, jax.Array]], region: Region) -> dict[str, np.ndarray]:
    """One block's outputs, each [*block, ...], on the host, as soon as they are there."""
    shape = tuple(part.stop - part.start for part in region)
    values = {name: np.concatenate([result[name] for result in results]) for name in results[0]}
    return {name: value[: math.prod(shape)].reshape(shape + value.shape[1:]) for name, value in values.items()}
