"""Scale: one sweep of 1 to 100,000 configurations on one and more devices, with its memory. float64.

A configuration trains a mixture of four bigram experts over 512 responses by exact policy gradient for 20 steps and
projects the result onto the hull; the sweep goes to disk as users' do, in blocks of the default size. Every size is a
process of its own. A device has one core.
"""

from benchmarks import measure

# isort: split
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from toypersona import hulls, numerics, sweeps
from toypersona.policies import mixture
from toypersona.rules import gradient
from toypersona.rules.rule import Task

K, V, T, STEPS = 4, 8, 3, 20
MEMORY = 2e9
"""Bytes that a sweep of any size has to fit in."""


def experiment(key: jax.Array, *, learning_rate: jax.Array, kl_coefficient: jax.Array) -> dict[str, jax.Array]:
    """One configuration: drift, hull distance and weights after training."""
    prompts, log_prompts = jnp.zeros((1, 1), int), jnp.zeros(1)
    speakers = mixture.mixture(prompts, num_personas=K, num_units=V, num_words=V, length=T, gate="table")
    params_key, reward_key = jax.random.split(key)
    params = speakers.policy.init(params_key)
    log_base, log_personas = speakers.policy.log_probs(params, prompts[0]), speakers.log_personas(params, prompts[0])
    task = Task(speakers.policy, prompts, log_prompts, jax.random.normal(reward_key, (1, V**T)))
    rule = gradient.policy_gradient(
        task, learning_rate=learning_rate, kl_coefficient=kl_coefficient, log_base=log_base[None]
    )
    state = jax.lax.fori_loop(0, STEPS, lambda i, state: rule.update(key, state)[0], rule.init(params))
    log_policy = speakers.policy.log_probs(state.params, prompts[0])
    nearest = hulls.project(log_policy, log_personas)
    return {
        "total": numerics.kl_divergence(log_policy, log_base),
        "hull_distance": nearest.distance,
        "weights": nearest.weights,
    }


def work(num: int, devices: int) -> None:
    """Run one sweep in this process and print what it took as JSON."""
    if hasattr(os, "sched_setaffinity"):
        # Before jax starts its threads, which keep what they find.
        os.sched_setaffinity(0, range(devices))
    start = time.perf_counter()
    rates = np.geomspace(0.01, 1.0, max(1, num // 10))
    axes = {"learning_rate": rates, "kl_coefficient": np.array([0.0, 0.5]) if num > 1 else np.array([0.5])}
    with tempfile.TemporaryDirectory() as folder:
        given = {"seeds": range(5 if num > 1 else 1), "out": Path(folder) / "run.zarr", "progress": False}
        dataset = sweeps.run(experiment, axes, **given)
        took = time.perf_counter() - start
        mean = float(dataset.hull_distance.mean())
    found = {
        "points": dataset.done.size,
        "devices": len(jax.local_devices()),
        "seconds": took,
        "peak_bytes": measure.peak_bytes(),
    }
    print(json.dumps(found | {"mean_hull_distance": mean, "diverged": int(dataset.diverged.sum())}))


def main(sizes: list[int], device_counts: list[int]) -> dict:
    """Every size on one device, the largest on more."""
    print(f"{'points':>8s}{'devices':>9s}{'seconds':>9s}{'points/s':>10s}{'peak MB':>9s}")
    rows = []
    for num, devices in [(num, 1) for num in sizes] + [(sizes[-1], devices) for devices in device_counts[1:]]:
        flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        row = measure.process("benchmarks.scale", num, devices, **flags)
        rows.append(row | {"rate": row["points"] / row["seconds"]})
        print(
            f"{row['points']:8d}{row['devices']:9d}{row['seconds']:9.1f}{rows[-1]['rate']:10,.0f}"
            f"{row['peak_bytes'] / 1e6:9.0f}",
            flush=True,
        )
    rates = {f"points/s of {row['points']:,} on {row['devices']}": row["rate"] for row in rows[2:]}
    line = measure.line("scale", rates, rows=rows)
    if max(row["peak_bytes"] for row in rows) > MEMORY:
        raise SystemExit(f"A sweep took more than {MEMORY / 1e9:g} GB.")
    return line


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    if sys.argv[1:2] == ["--work"]:
        work(*map(int, sys.argv[2:]))
    else:
        chosen = measure.arguments(__doc__)
        cores = os.cpu_count() or 1
        counts = [2**i for i in range(cores.bit_length()) if 2**i <= cores]
        sizes = [1, 100, 10_000] + ([100_000] if chosen.full else [])
        measure.keep([main(sizes, counts)], chosen.out)
