"""A traced experiment, and how it is compiled: batch size and compiler options.

Neither changes what is computed but in the last bits, and both decide how fast. Points that take long are computed one
by one, short ones in batches that fit a core's cache or fill a GPU; the first few points tell which.
"""

import contextlib
import dataclasses
import hashlib
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun

from toypersona import lanes, outputs
from toypersona.datasets import DIVERGED
from toypersona.outputs import Output

SEED = "seed"

ExperimentFn = Callable[..., dict[str, Any]]
"""``(key, **hyperparameters) -> {name: array or Output}`` for one point of the grid: pure, traced, named scalars in."""

Evaluate = Callable[[Mapping[str, np.ndarray]], dict[str, jax.Array]]
"""A compiled program: named arrays [batch] in, outputs [batch, ...]."""

CPU_OPTIONS = (
    ("xla_cpu_experimental_ynn_fusion_type", "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"),
    ("xla_cpu_prefer_vector_width", 512),
)
"""Compiler options on a CPU for many short points side by side, which fill ``lanes``."""

_LEVEL = "xla_backend_optimization_level"
# Versions of jax after 0.10 do not know this option.
_OLD_EMITTERS = (("xla_cpu_use_fusion_emitters", False),) if jax.__version__.startswith("0.10.") else ()

MOST_EQUATIONS = 30_000
"""Size of a program up to which it compiles sooner by XLA's old emitters, whose time grows by the square of it: of
25,000 equations (``reasoning``) in 35 instead of 55 CPU seconds, of 54,000 (``rules``) in 129 instead of 60."""

CPU_BATCH, BATCH = 32, 1024
"""Short points computed side by side, on a CPU and elsewhere."""

HEAVY = 0.05
"""Seconds from which a point is computed by itself on a CPU: more of them would not share its cache."""

BLOCK_SECONDS = 2.0
"""Time that a block of points should take: what a kill loses."""

BLOCK_BYTES, MOST_POINTS = 2**26, 2**16
"""Most bytes that the outputs of a block may have, and most points."""

SAVED = "/jax/compilation_cache/compile_time_saved_sec"
"""What jax records where it finds a program on disk."""


class Plan(NamedTuple):
    """How to evaluate many points.

    Attributes:
        chunk: points in a block, which is written at once.
        batch: points computed side by side; a block is gone through in batches.
        options: compiler options, name and value.
    """

    chunk: int
    batch: int
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Plan":
        """A plan that went through JSON."""
        return cls(**{**stored, "options": tuple(tuple(pair) for pair in stored["options"])})


class Begun(NamedTuple):
    """A plan, and what was computed to find it.

    Attributes:
        plan: how to evaluate all points.
        points: those that it was measured on, as a program takes them; none where nothing was measured.
        results: their outputs.
    """

    plan: Plan
    points: Mapping[str, np.ndarray] = {}
    results: Mapping[str, jax.Array] = {}

    def known(self, points: Mapping[str, np.ndarray]) -> bool:
        """Whether these are the points whose results are there."""
        if points.keys() != self.points.keys():
            return False
        return all(np.array_equal(values, self.points[name]) for name, values in points.items())


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A traced experiment: what one point runs. Equal to itself only, so that compiled programs are found by it.

    Attributes:
        closed: the computation.
        arguments: names and dtypes of its scalars, by name.
        outputs: by name, ``DIVERGED`` among them, each with its shape and dtype for a value.
        compiling: seconds that compiling one point took each time that it was asked for, for the first time first.
    """

    closed: ClosedJaxpr
    arguments: tuple[tuple[str, np.dtype], ...]
    outputs: dict[str, Output]
    compiling: list[float] = dataclasses.field(default_factory=list)

    def __call__(self, point: Mapping[str, jax.Array]) -> dict[str, jax.Array | np.ndarray]:
        """One point."""
        values = jaxpr_as_fun(self.closed)(*(point[name] for name, _ in self.arguments))
        return dict(zip(sorted(self.outputs), values, strict=True))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every operation, and of the arrays that the function brought along."""
        return fingerprint(self.closed)


def fingerprint(closed: ClosedJaxpr, arguments: Any = ()) -> str:
    """A hash of a traced computation: its operations, the arrays that it brought along, those it is called with."""
    # Addresses of functions differ from process to process.
    digest = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", str(closed.jaxpr)).encode())
    for const in (*_constants(closed), *jax.tree.leaves(arguments)):
        is_key = isinstance(const, jax.Array) and jnp.issubdtype(const.dtype, jax.dtypes.prng_key)
        digest.update(np.asarray(jax.random.key_data(const) if is_key else const).tobytes())
    return digest.hexdigest()


def _constants(closed: ClosedJaxpr) -> Iterator[Any]:
    yield from closed.consts
    for equation in closed.eqns:
        yield from (operand.val for operand in equation.invars if isinstance(operand, Literal))
        for inner in _inner(equation):
            if isinstance(inner, ClosedJaxpr):
                yield from _constants(inner)


def _inner(equation: JaxprEqn) -> Iterator[ClosedJaxpr | Jaxpr]:
    """The computations that an operation calls."""
    leaves = jax.tree.leaves(equation.params, is_leaf=lambda x: isinstance(x, ClosedJaxpr | Jaxpr))
    return (each for each in leaves if isinstance(each, ClosedJaxpr | Jaxpr))


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
    names: dict[str, Output] = {}

    def point(hyperparameters: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        scalars = dict(hyperparameters)
        returned: Any = experiment_fn(jax.random.key(scalars.pop(SEED)), **scalars)
        numbers = (jax.Array, np.ndarray, np.generic, bool, int, float, Output)
        if not (isinstance(returned, dict) and returned and all(isinstance(v, numbers) for v in returned.values())):
            raise TypeError("A sweep's function has to return a dict of one or more arrays by name.")
        if DIVERGED in returned:
            raise ValueError(f"A sweep marks points that diverged itself: rename the output {DIVERGED!r}.")
        if set(infinite) - returned.keys():
            raise ValueError(
                f"infinite names {sorted(set(infinite) - returned.keys())}, but only {sorted(returned)} are."
            )
        names.update({name: outputs.described(name, value) for name, value in returned.items()})
        arrays = {name: jnp.asarray(output.value) for name, output in names.items()}
        real = {name: value for name, value in arrays.items() if jnp.issubdtype(value.dtype, jnp.inexact)}
        wrong = [(jnp.isnan(v) if name in infinite else ~jnp.isfinite(v)).any() for name, v in real.items()]
        names[DIVERGED] = outputs.described(DIVERGED, False)
        return arrays | {DIVERGED: jnp.stack(wrong).any() if wrong else jnp.zeros((), bool)}

    scalars = {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in arguments}
    closed, shapes = jax.make_jaxpr(point, return_shape=True)(scalars)
    return Program(closed, arguments, {name: names[name]._replace(value=shape) for name, shape in shapes.items()})


@lru_cache(maxsize=64)
def compiled(program: Program, batch: int, options: tuple[tuple[str, Any], ...], device: Any) -> Evaluate:
    """The program for ``batch`` points side by side."""
    placed = jax.sharding.SingleDeviceSharding(device)
    points = {name: jax.ShapeDtypeStruct((batch,), dtype, sharding=placed) for name, dtype in program.arguments}
    # One point is no batch of one: it is traced once, its branches stay branches, and it is compiled sooner.
    ready = made(jax.vmap(program) if batch > 1 else partial(_alone, program), options, points)
    return lambda values: ready(jax.device_put(dict(values), device))


def num_equations(traced: ClosedJaxpr | Jaxpr) -> int:
    """How many operations are traced, those inside others too."""
    return sum(1 + sum(map(num_equations, _inner(equation))) for equation in traced.eqns)


def lean_options(closed: ClosedJaxpr) -> tuple[tuple[str, Any], ...]:
    """Compiler options on a CPU for points computed one by one; empty if a level is chosen in ``XLA_FLAGS``.

    Up to ``MOST_EQUATIONS`` compiling takes half or two thirds of the time that it takes by XLA's own options, a point
    0.9 to 1.3 times (``weak_limit`` 0.9, ``leash`` 1.08, ``exploit`` 1.13, ``phase_diagram`` 1.3).
    """
    if _LEVEL in os.environ.get("XLA_FLAGS", ""):
        return ()
    return ((_LEVEL, 1), *(_OLD_EMITTERS if num_equations(closed) <= MOST_EQUATIONS else ()))


def made(
    function: Callable[..., Any], options: Mapping[str, Any] | Sequence[tuple[str, Any]], *arguments: Any
) -> jax.stages.Compiled:
    """A function compiled for arguments of these shapes and types, and no others.

    Args:
        function: of arrays.
        options: the compiler's, by name. Where ``CPU_OPTIONS`` are among them, what is vmapped fills lanes on a CPU
            (``lanes.filled``). If this version's compiler does not know one it is given none of them, and lanes are
            not filled.
        arguments: arrays, or their shapes and types.
    """
    options = dict(options)
    fill = dict(CPU_OPTIONS).items() <= options.items() and jax.default_backend() == "cpu"
    with lanes.filled() if fill else contextlib.nullcontext():
        lowered = jax.jit(function, keep_unused=True).lower(*arguments)
    try:
        return lowered.compile(options)
    except jax.errors.JaxRuntimeError:
        if not options:
            raise
        return made(function, (), *arguments)


def _alone(program: Program, points: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """A batch of one point: arrays [1] in, outputs [1, ...]."""
    return jax.tree.map(lambda x: jnp.asarray(x)[None], program(jax.tree.map(lambda x: x[0], points)))


def measured(program: Program, first: Callable[[int], Mapping[str, np.ndarray]], num_points: int, device: Any) -> Begun:
    """Batch size, block size and compiler options for a sweep on this device.

    One point is compiled and timed, and is not computed again where it is a block's first. Batches with the fast
    options for CPUs pay where points are short and many: 3 to 5 times the rate on ``benchmarks.scale``. The
    experiments' points are neither: there the options gain nothing (``phase_diagram``: 32.8 and 31.7 CPU seconds) and
    take as long again to compile (``weak_limit``: 15 and 30).

    Args:
        program: what to compute.
        first: the first few points of the grid, as many as asked for (the last one repeated).
        num_points: in the whole grid.
        device: to measure on.
    """
    num_bytes = sum(math.prod(one.value.shape) * one.value.dtype.itemsize for one in program.outputs.values())
    most = min(num_points, MOST_POINTS, max(1, BLOCK_BYTES // num_bytes))

    def timed(batch: int, options: tuple[tuple[str, Any], ...]) -> tuple[Begun, float]:
        evaluate, points = compiled(program, batch, options, device), first(batch)
        seconds, results = _clocked(evaluate, points)
        # The first call also sets up what later ones find: that counts unless it fills a block alone.
        if seconds < BLOCK_SECONDS / 2:
            seconds, results = _clocked(evaluate, points)
        batches = max(1, min(int(BLOCK_SECONDS / seconds), most // batch))
        return Begun(Plan(batch * batches, batch, options), points, results), seconds

    if device.platform != "cpu":
        return timed(min(BATCH, most), ())[0]
    start = time.perf_counter()
    with _saved() as saved:
        single, seconds = timed(1, lean_options(program.closed))
    # A batch of them would have to be compiled even where this program is kept, on disk or by this process.
    program.compiling.append(time.perf_counter() - start + sum(saved))
    if seconds >= HEAVY or seconds * num_points <= program.compiling[0]:
        return single
    return timed(min(CPU_BATCH, most), CPU_OPTIONS)[0]


@contextlib.contextmanager
def _saved() -> Iterator[list[float]]:
    """Seconds of each compilation that programs kept on disk save meanwhile."""
    saved: list[float] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event == SAVED:
            saved.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield saved
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def _clocked(evaluate: Evaluate, points: Mapping[str, np.ndarray]) -> tuple[float, dict[str, jax.Array]]:
    """Seconds that points take, and their outputs."""
    start = time.perf_counter()
    results = jax.block_until_ready(evaluate(points))
    return time.perf_counter() - start, results
