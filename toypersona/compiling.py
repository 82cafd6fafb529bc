"""How one point's computation is compiled for many: how many points go side by side, with which compiler options.

Neither changes what is computed, but both decide how fast, by factors, and differently for every function: so they are
measured. Points side by side should fit a core's cache or fill a GPU; XLA's fast options for CPUs make some programs
several times as fast and others slower, and not every version knows them.
"""

import contextlib
import dataclasses
import hashlib
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

from toypersona import datasets

SEED = "seed"
DIVERGED = "diverged"

ExperimentFn = Callable[..., dict[str, jax.Array]]
"""``(key, **hyperparameters) -> {name: array}`` for one point of the grid: pure, traced, named scalars in."""

CPU_OPTIONS = (
    ("xla_cpu_experimental_ynn_fusion_type", "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"),
    ("xla_cpu_prefer_vector_width", 512),
)
CPU_CANDIDATES = ((8, ()), (32, CPU_OPTIONS), (8, CPU_OPTIONS), (32, ()), (128, CPU_OPTIONS), (128, ()))
OTHER_CANDIDATES = ((1024, ()), (8192, ()), (128, ()), (65536, ()))
TUNING_SHARE = 0.1
"""Measuring stops when it has taken this part of the time that the whole will take."""

BLOCK_SECONDS = 2.0
"""Time that a block of points should take: what a kill loses."""

BLOCK_BYTES, MOST_POINTS = 2**26, 2**16
"""Most bytes that the outputs of a block may have, and most points."""

PLANS = "toypersona-plans.json"


class Plan(NamedTuple):
    """How to evaluate many points.

    Attributes:
        chunk: points in a block.
        batch: points side by side; a block is gone through in batches.
        capacity: places for points in the compiled program, a multiple of ``batch``.
        options: compiler options, name and value.
    """

    chunk: int
    batch: int
    capacity: int
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Plan":
        """A plan that went through JSON."""
        return cls(**{**stored, "options": tuple(tuple(pair) for pair in stored["options"])})


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A traced experiment: what one point runs. Equal to itself only, so that compiled programs are found by it.

    Attributes:
        closed: the computation.
        arguments: names and dtypes of its scalars, by name.
        outputs: shapes and dtypes by name, ``DIVERGED`` among them.
    """

    closed: ClosedJaxpr
    arguments: tuple[tuple[str, np.dtype], ...]
    outputs: dict[str, jax.ShapeDtypeStruct]

    def __call__(self, point: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """One point."""
        values = jaxpr_as_fun(self.closed)(*(point[name] for name, _ in self.arguments))
        return dict(zip(sorted(self.outputs), values, strict=True))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every operation, and of the arrays that the function brought along."""
        # Addresses of functions differ from process to process.
        digest = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", str(self.closed.jaxpr)).encode())
        for const in _constants(self.closed):
            is_key = isinstance(const, jax.Array) and jnp.issubdtype(const.dtype, jax.dtypes.prng_key)
            digest.update(np.asarray(jax.random.key_data(const) if is_key else const).tobytes())
        return digest.hexdigest()


def _constants(closed: ClosedJaxpr) -> Iterator[Any]:
    yield from closed.consts
    for equation in closed.eqns:
        yield from (operand.val for operand in equation.invars if isinstance(operand, Literal))
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda x: isinstance(x, ClosedJaxpr)):
            if isinstance(inner, ClosedJaxpr):
                yield from _constants(inner)


@lru_cache(maxsize=32)
def trace(
    experiment_fn: ExperimentFn, arguments: tuple[tuple[str, np.dtype], ...], infinite: tuple[str, ...]
) -> Program:
    """Trace one point. Cached, so that another sweep of the same function and types compiles nothing.

    Args:
        experiment_fn: what to trace.
        arguments: names, in order, and dtypes of the hyperparameters and the seed.
        infinite: outputs in which an infinity is a value; elsewhere it marks the point as diverged, as nan always does.

    Raises:
        TypeError: the function does not return a dict of arrays.
        ValueError: one is called ``DIVERGED``, or ``infinite`` names none of them.
    """

    def point(hyperparameters: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        named = dict(hyperparameters)
        outputs: Any = experiment_fn(jax.random.key(named.pop(SEED)), **named)
        numbers = (jax.Array, np.ndarray, np.generic, bool, int, float)
        if not (isinstance(outputs, dict) and outputs and all(isinstance(v, numbers) for v in outputs.values())):
            raise TypeError("A sweep's function has to return a dict of one or more arrays by name.")
        if DIVERGED in outputs:
            raise ValueError(f"A sweep marks points that diverged itself: rename the output {DIVERGED!r}.")
        if set(infinite) - outputs.keys():
            raise ValueError(
                f"infinite names {sorted(set(infinite) - outputs.keys())}, but only {sorted(outputs)} are."
            )
        arrays = {name: jnp.asarray(value) for name, value in outputs.items()}
        real = {name: value for name, value in arrays.items() if jnp.issubdtype(value.dtype, jnp.inexact)}
        wrong = [(jnp.isnan(v) if name in infinite else ~jnp.isfinite(v)).any() for name, v in real.items()]
        return arrays | {DIVERGED: jnp.stack(wrong).any() if wrong else jnp.zeros((), bool)}

    scalars = {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in arguments}
    closed, outputs = jax.make_jaxpr(point, return_shape=True)(scalars)
    return Program(closed, arguments, outputs)


@lru_cache(maxsize=256)
def compiled(
    program: Program, capacity: int, batch: int, options: tuple[tuple[str, Any], ...], device: Any
) -> Callable[[Mapping[str, np.ndarray], int], dict[str, jax.Array]]:
    """The program for some batches of points: named arrays [capacity] and their number in, outputs [capacity, ...].

    How many batches there are is not compiled in, so that the same program serves trials and blocks that are not full.

    Raises:
        jax.errors.JaxRuntimeError: this version's compiler refuses an option.
    """

    def whole(points: Mapping[str, jax.Array], num_batches: jax.Array) -> dict[str, jax.Array]:
        if batch == capacity:
            return jax.vmap(program)(points)

        def turn(i: jax.Array, outputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
            some = {name: jax.lax.dynamic_slice_in_dim(values, i * batch, batch) for name, values in points.items()}
            return {
                name: jax.lax.dynamic_update_slice_in_dim(outputs[name], values, i * batch, 0)
                for name, values in jax.vmap(program)(some).items()
            }

        empty = {name: jnp.zeros((capacity, *one.shape), one.dtype) for name, one in program.outputs.items()}
        return jax.lax.fori_loop(0, num_batches, turn, empty)

    placed = jax.sharding.SingleDeviceSharding(device)
    given = {name: jax.ShapeDtypeStruct((capacity,), dtype, sharding=placed) for name, dtype in program.arguments}
    number = jax.ShapeDtypeStruct((), np.int32, sharding=placed)
    ready = jax.jit(whole, keep_unused=True).lower(given, number).compile(dict(options))
    return lambda points, num_batches: ready(*jax.device_put((points, np.int32(num_batches)), device))


def measured(
    program: Program,
    first: Callable[[int], Mapping[str, np.ndarray]],
    num_points: int,
    device: Any,
) -> Plan:
    """The plan that is fastest here, measured once and remembered beside jax's persistent compilation cache, if any.

    Args:
        program: what to compute.
        first: the first few points of the grid, as many as asked for (the last one repeated).
        num_points: in the whole grid.
        device: to measure on.
    """
    folder: str | None = getattr(jax.config, "jax_compilation_cache_dir", None)
    file = Path(folder) / PLANS if folder else None
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        known = datasets.read_json(file) if file else {}
    key = f"{program.fingerprint} {device.device_kind} jax {jax.__version__} {num_points.bit_length()}"
    if key in known:
        return Plan.of(known[key])
    num_bytes = sum(math.prod(output.shape) * output.dtype.itemsize for output in program.outputs.values())
    most = min(num_points, MOST_POINTS, max(1, BLOCK_BYTES // num_bytes))
    best, rate = max(_rates(program, first, num_points, most, device), key=lambda found: found[1])
    plan = best._replace(chunk=min(best.capacity, best.batch * max(1, int(BLOCK_SECONDS * rate) // best.batch)))
    if file:
        with contextlib.suppress(OSError):
            datasets.write_json(file, known | {key: plan._asdict()})
    return plan


def _rates(
    program: Program, first: Callable[[int], Mapping[str, np.ndarray]], num_points: int, most: int, device: Any
) -> Iterator[tuple[Plan, float]]:
    """Candidates, of a capacity of about ``most``, with their points per second, as long as trying pays."""
    begin, best = time.perf_counter(), 0.0
    candidates = CPU_CANDIDATES if device.platform == "cpu" else OTHER_CANDIDATES
    for batch, options in dict.fromkeys((min(batch, num_points), options) for batch, options in candidates):
        capacity = batch * max(1, most // batch)
        points = first(capacity)
        try:
            evaluate = compiled(program, capacity, batch, options, device)
            rate = batch / min(_seconds(evaluate, points) for _ in range(2))
        except jax.errors.JaxRuntimeError:
            # An option that this compiler does not know, or more points than fit the memory.
            if not (best or options):
                raise
            continue
        best = max(best, rate)
        yield Plan(capacity, batch, capacity, options), rate
        if time.perf_counter() - begin > TUNING_SHARE * num_points / best:
            return


def _seconds(evaluate: Callable, points: Mapping[str, np.ndarray]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(evaluate(points, 1))
    return time.perf_counter() - start
