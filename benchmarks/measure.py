"""What every benchmark shares: interleaved timing, this machine's roofs, and a report that ends in one JSON line.

On a CPU everything runs on one core, to which the process is pinned before anything else is imported: rates are per
core, and implementations with thread pools do not meet others without.
"""

import os

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import argparse  # noqa: E402  (the thread pools read the environment when they are imported)
import dataclasses  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Mapping, Sequence  # noqa: E402
from importlib import metadata  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from toypersona import programs  # noqa: E402

FMA_LANES = 4096
"""Numbers that the FMA roof keeps in the first cache."""

FMAS = 64
"""Multiply-adds on each of them between two loads."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """One implementation.

    Attributes:
        run: does the work and waits for it; returns what the correctness gate compares.
        units: how much work one call does (a slow peer may do a part of it).
        compile_s: seconds that compiling took, 0 if nothing was.
    """

    run: Callable[[], np.ndarray]
    units: float
    compile_s: float = 0.0


def installed(name: str) -> bool:
    """Whether an optional peer can be imported."""
    return importlib.util.find_spec(name) is not None


def prepared(make: Callable[[], Callable[[], np.ndarray]], units: float) -> Peer:
    """A peer whose first call compiles: its time is told apart."""
    start = time.perf_counter()
    run = make()
    run()
    return Peer(run, units, time.perf_counter() - start)


def fastest(
    make: Callable[[int, tuple], Callable[[], np.ndarray]], batches: Sequence[int], units: float
) -> tuple[str, dict[str, Peer]]:
    """Ours as a sweep would compile it: the name of the fastest batch and compiler options, and all that were tried.

    Args:
        make: (batch, compiler options) to what runs it.
        batches: sizes to try.
        units: how much work one call does.
    """
    cpu = jax.devices()[0].platform == "cpu"
    options = {"default options": ()} | ({"tuned options": programs.CPU_OPTIONS} if cpu else {})
    tries = {
        f"ours, batches of {batch}, {name}": prepared(lambda batch=batch, given=given: make(batch, given), units)
        for batch in batches
        for name, given in options.items()
    }
    return max(tries, key=lambda name: max(rates({name: tries[name]}, 2)[name])), tries


def check(peers: Mapping[str, Peer], tolerance: float) -> None:
    """The correctness gate: everybody computes what the first does, or the first part of it along each axis.

    Raises:
        SystemExit: somebody does not.
    """
    reference = next(iter(peers.values())).run()
    for name, peer in peers.items():
        found = peer.run()
        error = np.abs(found - reference[tuple(map(slice, found.shape))]).max()
        if not error <= tolerance:
            raise SystemExit(f"{name} differs by {error:.2g} from {next(iter(peers))}: no timing of wrong numbers.")


def rates(peers: Mapping[str, Peer], rounds: int) -> dict[str, list[float]]:
    """Units per second of every peer in every round; the peers take turns."""
    found: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, peer in peers.items():
            start = time.perf_counter()
            peer.run()
            found[name].append(peer.units / (time.perf_counter() - start))
    return found


def best_of(call: Callable[[], Any], repeats: int = 7) -> float:
    """Seconds of the fastest of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times)


def roofs() -> dict[str, float]:
    """This machine's speed in this run: copying (GB/s), fused multiply-add and matrix product (Gflop/s, float32).

    A compiler's chain of multiply-adds may stay below what a matrix product reaches: the larger is the peak.
    """
    large = jnp.ones(2**25, jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    small = jnp.ones(FMA_LANES, jnp.float32)
    chain = jax.jit(lambda x: jax.lax.fori_loop(0, 2_000, lambda i, y: _many_fmas(y), x))
    square = jnp.ones((2048, 2048), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    jax.block_until_ready((copy(large), chain(small), product(square)))
    return {
        "copy_gb_s": 2 * large.nbytes / best_of(lambda: copy(large)) / 1e9,
        "fma_gflop_s": 2_000 * FMAS * 2 * FMA_LANES / best_of(lambda: chain(small)) / 1e9,
        "gemm_gflop_s": 2 * 2048**3 / best_of(lambda: product(square)) / 1e9,
    }


def _many_fmas(y: jax.Array) -> jax.Array:
    for _ in range(FMAS):
        y = y * 0.999 + 0.001
    return y


def report(
    name: str, peers: Mapping[str, Peer], measured: Mapping[str, list[float]], unit: str, **more: Any
) -> dict[str, Any]:
    """Print a table and one JSON line; the first peer is ours, ratios are of its rate to the others'."""
    ours = next(iter(measured))
    rows = {}
    print(f"\n{name}, {unit} per second on {machine()}")
    print(f"{'implementation':44s} {'rate':>12s} {'ours / it: min':>15s} {'median':>8s} {'max':>8s} {'compile s':>10s}")
    for peer, found in measured.items():
        ratios = sorted(a / b for a, b in zip(measured[ours], found, strict=True))
        rows[peer] = {
            "rate": statistics.median(found),
            "ratio_min": ratios[0],
            "ratio_median": statistics.median(ratios),
            "ratio_max": ratios[-1],
            "compile_s": peers[peer].compile_s,
        }
        print("{:44s} {:12,.0f} {:15.1f} {:8.1f} {:8.1f} {:10.1f}".format(peer, *rows[peer].values()))
    return line(name, {f"{unit}/s": rows[ours]["rate"]}, rows=rows, **more)


def line(name: str, headline: Mapping[str, float], **content: Any) -> dict[str, Any]:
    """Print what was found as one JSON line that names the machine; later runs are held against the headline."""
    named = {"benchmark": name, "full": "--full" in sys.argv, "machine": machine(), "versions": versions()}
    made = named | {"headline": dict(headline), **content}
    print(json.dumps(made))
    return made


def machine() -> str:
    """What the numbers were measured on."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return f"one core of {model.partition(':')[2].strip() or platform.processor()}"


def versions() -> dict[str, str]:
    """Of everything that takes part and is there."""
    names = ("jax", "jaxlib", "numpy", "scipy", "torch", "cvxpy", "clarabel")
    return {name: metadata.version(name) for name in names if installed(name)} | {"python": platform.python_version()}


def arguments(description: str | None) -> argparse.Namespace:
    """``--quick`` (the default) or ``--full``, and where the JSON goes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="under a minute (the default)")
    size.add_argument("--full", action="store_true", help="all sizes and more rounds")
    parser.add_argument("--out", type=Path, help="a file to add the JSON lines to")
    return parser.parse_args()


def peak_bytes() -> int:
    """Most memory that this process has had, Python and XLA together."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def process(module: str, *given: int, **environment: str) -> dict[str, Any]:
    """What ``python -m module --work ...`` prints as JSON: work in a process of its own.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-m", module, "--work", *map(str, given)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def keep(lines: list[dict[str, Any]], out: Path | None) -> None:
    """Add the lines to a file."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
