"""Sweeps: one jitted, vmapped function over a grid of hyperparameters and seeds, block by block, resumable.

Hyperparameters are traced, so other values of the same shapes compile nothing. The grid is cut into equal rectangular
blocks; the last one of a row is filled up by repeating a point and cut back afterwards: one program serves all.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm import tqdm

from toypersona import datasets

SEED = "seed"
DIVERGED = "diverged"

ExperimentFn = Callable[..., dict[str, jax.Array]]
"""``(key, **hyperparameters) -> {name: array}`` for one point of the grid: pure, traced, named scalars in."""


def run(
    experiment_fn: ExperimentFn,
    axes: Mapping[str, np.ndarray],
    *,
    seeds: Sequence[int],
    chunk: int,
    out: Path | None = None,
    resume: bool = True,
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, np.ndarray] | None = None,
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Evaluate a function on every point of a grid.

    Every point gets ``jax.random.key(seed)``: points that differ in hyperparameters only share their random numbers.
    A point with a nan in any output is kept and marked in the variable ``diverged``.

    Args:
        experiment_fn: what to evaluate.
        axes: values of each hyperparameter, 1-d and numeric; they become dimensions in this order, ``seed`` follows.
        seeds: different integers.
        chunk: how many points at most are computed together (memory and the least that a kill loses grow with it).
        out: a zarr store to write, or to continue; in memory only if None.
        resume: go on with what the store holds; if False an existing store is refused.
        dims: names of each output's own dimensions; ``NAME_dim_0``, ... where missing.
        coords: values along those dimensions.
        config: whatever else decides the numbers, JSON-able: a store made with another one is refused.
        progress: show a progress bar, one tick a point.

    Returns:
        The dataset, in memory.

    Raises:
        ValueError: a grid that is none.
        TypeError: the function does not return a dict of arrays.
        datasets.RunMismatch: ``out`` holds another run.
    """
    grid = _check(axes, seeds, chunk)
    shapes = _output_shapes(experiment_fn, grid)
    layout = _layout(grid, shapes, dims or {}, coords or {})
    block = block_shape(tuple(len(values) for values in grid.values()), chunk)
    made_by = datasets.provenance(config or {})
    sink = _Memory(grid, layout) if out is None else _Store(Path(out), grid, layout, block, made_by, resume)
    todo = [region for region in _regions(grid, block) if not sink.has(region)]
    total = int(np.prod([len(values) for values in grid.values()]))
    left = sum(_size(region) for region in todo)
    with tqdm(total=total, initial=total - left, unit="point", disable=not progress) as bar:
        for region in todo:
            sink.write(region, _compute(experiment_fn, grid, region, block))
            bar.update(_size(region))
    return sink.dataset()


def _check(axes: Mapping[str, Any], seeds: Sequence[int], chunk: int) -> dict[str, np.ndarray]:
    if chunk < 1:
        raise ValueError(f"A sweep's chunk is at least 1 point, not {chunk}.")
    if SEED in axes:
        raise ValueError("A sweep's seeds are given as seeds=..., not as an axis.")
    grid = {name: np.asarray(values) for name, values in axes.items()} | {SEED: np.asarray(seeds)}
    for name, values in grid.items():
        if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "fiub":
            raise ValueError(f"The sweep's axis {name!r} has to be a list of one or more numbers.")
        if len(np.unique(values)) != values.size:
            raise ValueError(f"The sweep's axis {name!r} repeats a value.")
    return grid


def _output_shapes(experiment_fn: ExperimentFn, grid: Mapping[str, np.ndarray]) -> dict[str, jax.ShapeDtypeStruct]:
    scalars = {name: jax.ShapeDtypeStruct((), jnp.asarray(values).dtype) for name, values in grid.items()}
    shapes = jax.eval_shape(_seeded(experiment_fn), scalars)
    if not isinstance(shapes, dict) or not all(hasattr(value, "shape") for value in shapes.values()):
        raise TypeError("A sweep's function has to return a dict of arrays by name.")
    return shapes


def _seeded(experiment_fn: ExperimentFn) -> Callable[[Mapping[str, jax.Array]], dict[str, jax.Array]]:
    def point(hyperparameters: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        named = dict(hyperparameters)
        return experiment_fn(jax.random.key(named.pop(SEED)), **named)

    return point


def _layout(grid, shapes, dims, coords) -> dict[str, Any]:
    """Variables as (dimensions, dtype), and coordinates, of the finished dataset."""
    variables, inner = {}, {}
    for name, shape in shapes.items():
        own = tuple(dims.get(name, [f"{name}_dim_{i}" for i in range(len(shape.shape))]))
        if len(own) != len(shape.shape):
            raise ValueError(f"dims names {len(own)} dimensions of {name!r}, which has {len(shape.shape)}.")
        variables[name] = ((*grid, *own), np.dtype(shape.dtype))
        for dim, size in zip(own, shape.shape, strict=True):
            inner[dim] = np.asarray(coords.get(dim, np.arange(size)))
            if inner[dim].shape != (size,):
                raise ValueError(f"The coordinate {dim!r} has {inner[dim].size} values for {size} places in {name!r}.")
    variables[DIVERGED] = (tuple(grid), np.dtype(bool))
    return {"variables": variables, "coords": {**grid, **inner}}


def block_shape(shape: tuple[int, ...], chunk: int) -> tuple[int, ...]:
    """The largest block of at most ``chunk`` points that takes the grid's last axes whole and part of the one before."""
    block = []
    for size in reversed(shape):
        block.append(max(1, min(size, chunk)))
        chunk = chunk // size if block[-1] == size else 1
    return tuple(reversed(block))


Region = dict[str, slice]


def _regions(grid: Mapping[str, np.ndarray], block: tuple[int, ...]) -> Iterator[Region]:
    starts = [range(0, len(values), size) for values, size in zip(grid.values(), block, strict=True)]
    for corner in itertools.product(*starts):
        ends = [min(a + size, len(v)) for a, size, v in zip(corner, block, grid.values(), strict=True)]
        yield {name: slice(a, b) for name, a, b in zip(grid, corner, ends, strict=True)}


def _size(region: Region) -> int:
    return int(np.prod([s.stop - s.start for s in region.values()]))


@partial(jax.jit, static_argnums=0)
def _evaluate(experiment_fn: ExperimentFn, points: dict[str, jax.Array]) -> dict[str, jax.Array]:
    outputs = jax.vmap(_seeded(experiment_fn))(points)
    diverged = jnp.zeros(points[SEED].shape, bool)
    for value in outputs.values():
        if jnp.issubdtype(value.dtype, jnp.floating):
            diverged |= jnp.isnan(value).reshape(value.shape[0], -1).any(axis=1)
    return outputs | {DIVERGED: diverged}


def _compute(experiment_fn, grid, region: Region, block: tuple[int, ...]) -> dict[str, np.ndarray]:
    """One block's outputs, each [*block, ...]."""
    mesh = np.meshgrid(*(values[region[name]] for name, values in grid.items()), indexing="ij")
    shape, size = mesh[0].shape, int(np.prod(block))
    padded = np.resize(np.arange(mesh[0].size), size)
    padded[mesh[0].size :] = 0
    points = {name: jnp.asarray(values.reshape(-1)[padded]) for name, values in zip(grid, mesh, strict=True)}
    outputs = datasets.as_numpy(jax.block_until_ready(_evaluate(experiment_fn, points)))
    return {name: value[: mesh[0].size].reshape(shape + value.shape[1:]) for name, value in outputs.items()}


class _Memory:
    """Keeps the blocks in memory."""

    def __init__(self, grid: Mapping[str, np.ndarray], layout: Mapping[str, Any]) -> None:
        sizes = {name: len(values) for name, values in layout["coords"].items()}
        self.coords = layout["coords"]
        self.arrays = {
            name: (dims, np.empty([sizes[dim] for dim in dims], dtype))
            for name, (dims, dtype) in layout["variables"].items()
        }

    def has(self, region: Region) -> bool:
        return False

    def write(self, region: Region, values: Mapping[str, np.ndarray]) -> None:
        for name, block in values.items():
            self.arrays[name][1][tuple(region.values())] = block

    def dataset(self) -> xr.Dataset:
        return xr.Dataset(self.arrays, coords=self.coords)


class _Store:
    """Keeps the blocks in a zarr store, and knows which it already has."""

    def __init__(self, path, grid, layout, block, made_by, resume) -> None:
        if path.exists():
            if not resume:
                raise datasets.RunMismatch(f"{path} exists: choose another --out, remove it, or let it be continued.")
            datasets.check_same(path, made_by, layout["coords"])
        else:
            variables = layout["variables"] | {datasets.DONE: (tuple(grid), np.dtype(bool))}
            datasets.create(path, layout["coords"], variables, dict(zip(grid, block, strict=True)), made_by)
        self.path, self.done = path, datasets.done(path)

    def has(self, region: Region) -> bool:
        return bool(self.done[tuple(region.values())].all())

    def write(self, region: Region, values: Mapping[str, np.ndarray]) -> None:
        datasets.write_block(self.path, region, values)

    def dataset(self) -> xr.Dataset:
        return datasets.load(self.path)
