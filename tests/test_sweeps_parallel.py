"""One sweep on many devices, in many processes: the same bytes as on one."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from written import files

from toypersona import datasets

SCRIPT = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from toypersona import hulls, sweeps

if sys.argv[2] == "distributed":
    jax.distributed.initialize(sys.argv[3], 2, int(sys.argv[4]))
part = (int(sys.argv[3]), 2) if sys.argv[2] == "array" else None
assert len(jax.local_devices()) == int(sys.argv[5])

def experiment(key, *, strength):
    log_p = jax.nn.log_softmax(strength * jax.random.normal(key, (50,)))
    log_components = jax.nn.log_softmax(jax.random.normal(jax.random.fold_in(key, 1), (3, 50)))
    return {"distance": hulls.project(log_p, log_components).distance, "p": jnp.exp(log_p)}

dataset = sweeps.run(experiment, {"strength": np.linspace(0, 1, 5)}, seeds=[1, 2, 3], chunk=2, out=Path(sys.argv[1]),
                     part=part, progress=False)
print(int(dataset.done.sum()), dataset.done.size)
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT)

    def start(out, *arguments, devices=1):
        flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
        environment = os.environ | {"XLA_FLAGS": flags}
        padded = [*arguments, *["-"] * (3 - len(arguments)), str(devices)]
        command = [sys.executable, str(script), str(out), *padded]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def finish(process):
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return out.split()


@pytest.fixture(scope="module")
def alone(start, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "run.zarr"
    assert finish(start(out, "alone")) == ["15", "15"]
    return files(out)


@pytest.mark.slow
def test_four_devices_make_the_bytes_of_one(start, alone, tmp_path):
    assert finish(start(tmp_path / "run.zarr", "alone", devices=4)) == ["15", "15"]
    assert files(tmp_path / "run.zarr") == alone


@pytest.mark.slow
def test_two_distributed_processes_share_one_store(start, alone, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    both = [start(tmp_path / "run.zarr", "distributed", address, str(i)) for i in range(2)]
    seen = [finish(process) for process in both]
    assert ["15", "15"] in seen
    assert files(tmp_path / "run.zarr") == alone


@pytest.mark.slow
def test_the_tasks_of_a_job_array_share_one_store(start, alone, tmp_path):
    out = tmp_path / "run.zarr"
    done, size = finish(start(out, "array", "1"))
    assert 0 < int(done) < int(size)
    with pytest.raises(ValueError, match="run the same command again to finish it"):
        datasets.load(out)
    assert np.isnan(datasets.load(out, unfinished=True).distance.values).any()
    assert finish(start(out, "array", "0")) == ["15", "15"]
    assert files(out) == alone
