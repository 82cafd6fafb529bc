"""Compilation: what a sweep's first result waits for, in a first process, in the next one, and with other values.

The sweep is ``benchmarks.scale``'s, of 40 points in memory. Hyperparameters are traced: other values compile nothing. A
value fixed in the function is compiled into it: that is the contrast. Times run from the end of the imports.
"""

from benchmarks import measure

# isort: split
import json
import statistics
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.scale import experiment
from toypersona import sweeps

WARM = 0.3
"""Seconds in which a new process with a warm cache has to compute."""


def work(cache: str) -> None:
    """Sweep in this process and print the seconds as JSON."""
    start = time.perf_counter()
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    given = {"seeds": range(2), "progress": False}
    coefficients = {"kl_coefficient": np.linspace(0.0, 1.0, 4)}
    found = {}
    for name, rates in (("first sweep", np.linspace(0.1, 1.0, 5)), ("other values", np.linspace(0.2, 2.0, 5))):
        dataset = sweeps.run(experiment, {"learning_rate": rates} | coefficients, **given)
        assert not dataset.diverged.any()
        found[name] = time.perf_counter() - start
        start = time.perf_counter()
    rate = jnp.asarray(0.3)
    fixed = lambda key, *, kl_coefficient: experiment(key, learning_rate=rate, kl_coefficient=kl_coefficient)  # noqa: E731
    sweeps.run(fixed, coefficients, **given)
    print(json.dumps(found | {"a value fixed in the function": time.perf_counter() - start}))


def main(rounds: int) -> dict:
    """A first process, then some with the cache it left."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "benchmarks.compile", "--work", cache]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(1 + rounds)
        ]
    rows = {f"{name}, empty cache": [seconds] for name, seconds in runs[0].items()}
    rows |= {f"{name}, warm cache": [run[name] for run in runs[1:]] for name in runs[0]}
    print(f"{'seconds':48s}{'min':>8s}{'median':>8s}{'max':>8s}")
    for name, seconds in rows.items():
        print(f"{name:48s}{min(seconds):8.2f}{statistics.median(seconds):8.2f}{max(seconds):8.2f}")
    warm = statistics.median(rows["first sweep, warm cache"])
    print(f"A new process with a warm cache computes after {warm:.2f} s; the aim is {WARM:g} s.")
    return measure.line("compile", {"seconds, warm cache": warm}, seconds=rows)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2])
    else:
        chosen = measure.arguments(__doc__)
        measure.keep([main(7 if chosen.full else 3)], chosen.out)
