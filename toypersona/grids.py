"""Grids of points, and the rectangular blocks that they are cut into."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from toypersona.datasets import Region
from toypersona.programs import SEED

MOST_POINTS = 1_000_000_000
"""Of a grid: which of them are done is held in memory."""


def checked(
    axes: Mapping[str, ArrayLike], seeds: Sequence[int] | np.ndarray, chunk: int | None
) -> dict[str, np.ndarray]:
    """The axes and, last, the seeds of a sweep.

    Raises:
        ValueError: there is something else than a few different numbers on an axis, or a chunk that is no number.
    """
    if chunk is not None and not (isinstance(chunk, int | np.integer) and chunk >= 1):
        raise ValueError(f"A sweep's chunk is a whole number of points from 1 on, not {chunk!r}.")
    if not isinstance(axes, Mapping):
        raise ValueError(f"A sweep's axes are values by name, such as {{'strength': [0.1, 1.0]}}, not {axes!r}.")
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
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise ValueError(f"The sweep's axis {name!r} has a nan in it: leave it out.")
        if len(np.unique(values)) != values.size:
            raise ValueError(f"The sweep's axis {name!r} repeats a value: leave each in once.")
    if not 0 <= grid[SEED].min() <= grid[SEED].max() < 2**32:
        raise ValueError(f"A sweep's seeds are whole numbers from 0 to {2**32 - 1:,}: choose others.")
    if math.prod(shape(grid)) > MOST_POINTS:
        raise ValueError(f"A sweep has at most {MOST_POINTS:,} points, not {math.prod(shape(grid)):,}: split it.")
    return grid


def shape(grid: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """How many values each axis has."""
    return tuple(len(values) for values in grid.values())


def block_shape(shape: tuple[int, ...], chunk: int) -> tuple[int, ...]:
    """The block of at most ``chunk`` points that takes the grid's last axes whole and an equal part of the one before.

    Equal parts, so that the last one needs little filling up: 100 points in chunks of 64 are two blocks of 50.
    """
    block = []
    for size in reversed(shape):
        block.append(math.ceil(size / math.ceil(size / chunk)))
        chunk = chunk // size if size <= chunk else 1
    return tuple(reversed(block))


def regions(shape: tuple[int, ...], block: tuple[int, ...]) -> Iterator[Region]:
    """The blocks of a grid of this shape, the last of a row cut off at the edge."""
    cuts = [
        [slice(start, min(start + length, size)) for start in range(0, size, length)]
        for size, length in zip(shape, block, strict=True)
    ]
    return itertools.product(*cuts)


def points(grid: Mapping[str, np.ndarray], region: Region, size: int) -> dict[str, np.ndarray]:
    """The region's points in C order, the last one repeated up to [size]."""
    mesh = np.meshgrid(*(values[part] for values, part in zip(grid.values(), region, strict=True)), indexing="ij")
    which = np.minimum(np.arange(size), mesh[0].size - 1)
    return {name: values.reshape(-1)[which] for name, values in zip(grid, mesh, strict=True)}


def batches(grid: Mapping[str, np.ndarray], region: Region, batch: int) -> Iterator[dict[str, np.ndarray]]:
    """The region's points, so many at a time."""
    num_batches = math.ceil(math.prod(part.stop - part.start for part in region) / batch)
    filled = points(grid, region, num_batches * batch)
    for i in range(num_batches):
        yield {name: values[i * batch : (i + 1) * batch] for name, values in filled.items()}
