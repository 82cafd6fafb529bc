import itertools
import os
import re
import signal
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from sweeping import AXES, COORDS, SEEDS, experiment, other_output, plain, run, weights_named
from written import files

from toypersona import datasets, programs, sweeps
from toypersona.outputs import named


@pytest.mark.slow_but("4", "5")
@pytest.mark.parametrize("chunk", [1, 4, 5, 100])
def test_equals_a_plain_loop(chunk):
    dataset = run(chunk=chunk)
    for (i, strength), (j, order), (k, seed) in itertools.product(
        enumerate(AXES["strength"]), enumerate(AXES["order"]), enumerate(SEEDS)
    ):
        expected = plain(jax.random.key(seed), strength=jnp.asarray(strength), order=jnp.asarray(order))
        for name, value in expected.items():
            found = dataset[name].values[i, j, k]
            assert found.dtype == value.dtype
            np.testing.assert_allclose(found, value, rtol=1e-13)
    assert dataset.done.values.all()
    assert not dataset.diverged.values.any()


@pytest.mark.parametrize("on_disk", [False, True])
def test_dimensions_coordinates_and_attributes(tmp_path, on_disk):
    dataset = run(tmp_path / "run.zarr" if on_disk else None)
    assert dataset.weights.dims == ("strength", "order", "seed", "rule", "persona")
    assert dataset["count"].dims == ("strength", "order", "seed", "count_dim_0")
    for name, values in (AXES | COORDS | {"seed": np.array(SEEDS), "count_dim_0": np.arange(4)}).items():
        assert dataset[name].values.tolist() == values.tolist()
    assert dataset.weights.sel(rule="vanilla/gates", order=2, persona=20.0).shape == (3, 3)
    assert datasets.config_of(dataset) == {"length": 3}
    assert dataset.attrs["provenance"]["seeds"] == list(SEEDS)
    assert set(dataset.attrs["provenance"]["versions"]) == {"python", "jax", "jaxlib", "numpy", "toypersona"}


def test_memory_disk_and_reload_are_the_same(tmp_path):
    stored = run(tmp_path / "run.zarr")
    for other in (run(), datasets.load(tmp_path / "run.zarr"), run(str(tmp_path / "run.zarr"))):
        xr.testing.assert_identical(stored, other)
        assert {name: value.dtype for name, value in stored.variables.items()} == {
            name: value.dtype for name, value in other.variables.items()
        }


def test_traced_once_whatever_the_edges_and_the_values():
    counted = chex.assert_max_traces(experiment, n=1)
    run(experiment_fn=counted, chunk=4)
    other = run(experiment_fn=counted, chunk=4, axes={"strength": AXES["strength"] + 1, "order": np.array([5, 4])})
    expected = plain(jax.random.key(7), strength=jnp.asarray(1.1), order=jnp.asarray(4))
    np.testing.assert_allclose(other.weights.values[0, 1, 2], expected["weights"], rtol=1e-13)


@pytest.mark.slow_but("4")
@pytest.mark.parametrize("chunk", [4, 18])
def test_a_diverged_point_is_kept_marked_and_counted(capsys, monkeypatch, tmp_path, chunk):
    def some_diverge(key, *, strength, order):
        values = plain(key, strength=strength, order=order)
        lost = (strength == 0.5) & (order == 2) & (values["reward"] > 0)
        weights = values["weights"].at[1, 2].set(jnp.where(lost, jnp.nan, 1.0))
        return values | {"weights": named(weights, None, None, **COORDS)}

    sound = run(chunk=chunk)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    dataset = run(tmp_path / "run.zarr", experiment_fn=some_diverge, chunk=chunk, progress=True)
    expected = ((sound.strength == 0.5) & (sound.order == 2) & (sound.reward > 0)).values
    assert 0 < expected.sum() < 3
    np.testing.assert_array_equal(dataset.diverged.values, expected)
    np.testing.assert_array_equal(np.isnan(dataset.weights.values[..., 1, 2]), expected)
    np.testing.assert_array_equal(dataset.reward.values, sound.reward.values)
    np.testing.assert_array_equal(dataset.weights.values[..., 0, :], sound.weights.values[..., 0, :])
    shown = capsys.readouterr().err
    assert f"diverged={expected.sum()}" in shown
    assert "18/18 points" in shown and shown.strip().startswith("compiling ...")
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", shown) if line.startswith("computing")]
    assert all(len(line) <= 80 for line in lines)
    # How long it will take is said once a block is computed.
    assert "<" not in lines[0] and all("<" in line for line in lines if " 0/18" not in line)


def test_no_progress_bar_where_stderr_is_no_terminal(capfd):
    run(experiment_fn=plain, progress=True)
    assert capfd.readouterr() == ("", "")


def test_infinity_is_divergence_where_it_is_no_value_and_complex_nan_is():
    def edge(key, *, x):
        return {"far": jnp.inf * x, "z": jnp.where(x > 1, jnp.nan, x) + 1j, "zero": -0.0 * x, "y": jnp.exp(1000.0 * x)}

    given = {"seeds": range(1), "chunk": 2, "progress": False}
    dataset = sweeps.run(edge, {"x": [0.1, 2.0]}, infinite=("far", "y"), **given)
    assert dataset.diverged.values.tolist() == [[False], [True]]
    assert sweeps.run(edge, {"x": [0.1, 0.9]}, infinite=("far",), **given).diverged.values.tolist() == [[False], [True]]
    assert np.isposinf(dataset.far.values).all()
    assert np.signbit(dataset.zero.values).all()


def test_without_axes_and_without_a_progress_bar(capsys):
    dataset = sweeps.run(lambda key: {"x": jax.random.uniform(key)}, {}, seeds=[4], chunk=1, progress=False)
    assert dataset.x.values == [jax.random.uniform(jax.random.key(4))]
    assert capsys.readouterr() == ("", "")


def test_each_file_of_numbers_has_one_writer(monkeypatch, tmp_path):
    write, written = datasets.write_block, []

    def watched(store, region, values):
        before = files(store)
        write(store, region, values)
        written.append({name for name, content in files(store).items() if before.get(name) != content})

    monkeypatch.setattr(datasets, "write_block", watched)
    run(tmp_path / "run.zarr", chunk=2)
    assert len(written) == 12
    assert len(set.union(*written)) == sum(map(len, written))


def test_an_interrupted_sweep_goes_on_where_it_stopped(monkeypatch, tmp_path):
    write, regions, allowed = datasets.write_block, [], 3

    def interrupted(store, region, values):
        if len(regions) == allowed:
            raise KeyboardInterrupt
        regions.append(region)
        write(store, region, values)

    monkeypatch.setattr(datasets, "write_block", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop:
        run(tmp_path / "run.zarr")
    assert stop.value.__notes__ == [f"9 of 18 points are kept in {tmp_path / 'run.zarr'}."]
    with pytest.raises(ValueError, match="lacks 9 of 18 points: run the same command again"):
        datasets.load(tmp_path / "run.zarr")
    part = datasets.load(tmp_path / "run.zarr", unfinished=True)
    np.testing.assert_array_equal(np.isnan(part.reward.values), ~part.done.values)
    allowed = 100
    xr.testing.assert_identical(run(tmp_path / "run.zarr"), run())
    assert len(regions) == 6 + 6  # the store's, each once, and those of the comparison
    assert len(set(map(str, regions[:6]))) == 6


def test_a_block_that_a_copy_lacks_is_computed_again(monkeypatch, tmp_path):
    whole = run(tmp_path / "run.zarr")
    before, written = files(tmp_path), []
    (tmp_path / "run.zarr/reward/c/1/0/0").unlink()
    write_block = datasets.write_block
    monkeypatch.setattr(datasets, "write_block", lambda *given: written.append(given[1]) or write_block(*given))
    xr.testing.assert_identical(run(tmp_path / "run.zarr"), whole)
    assert written == [(slice(1, 2), slice(0, 1), slice(0, 3))] and files(tmp_path) == before


def test_a_finished_sweep_is_opened_not_computed(monkeypatch, tmp_path):
    first = run(tmp_path / "run.zarr")
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def never(*_):
        raise AssertionError("was compiled")

    monkeypatch.setattr(programs, "compiled", never)
    xr.testing.assert_identical(run(tmp_path / "run.zarr", chunk=7), first)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


SCRIPT = """
import sys, time
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from toypersona import datasets, programs, sweeps
jax.config.update("jax_enable_x64", True)
write, count = datasets.write_block, 0

class Stalls(dict):
    def items(self):
        for i, item in enumerate(super().items()):
            if i == 2:
                print("in the middle of a block", flush=True)
                time.sleep(100)
            yield item

def write_block(store, region, values):
    global count
    count += 1
    write(store, region, Stalls(values) if sys.argv[2:] == [str(count)] else values)

def experiment(key, *, a, b):
    return {"x": a * jax.random.normal(key, (50,)), "y": jnp.sin(a + b), "z": b}

datasets.write_block = write_block
sweeps.run(experiment, {"a": np.linspace(0, 1, 5), "b": np.arange(3)}, seeds=[1, 2], chunk=4, out=Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_kill_9_loses_the_block_in_flight_only_and_leaves_no_trace(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    start = [sys.executable, str(script)]
    (tmp_path / "a").mkdir()
    killed, whole = tmp_path / "a" / "run.zarr", tmp_path / "b" / "run.zarr"
    with (
        subprocess.Popen([*start, str(whole)], stderr=subprocess.DEVNULL) as undisturbed,
        subprocess.Popen([*start, str(killed), "4"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == b"in the middle of a block\n"
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert undisturbed.wait() == 0
    # The fourth block was in flight: the first three hold 4, 2 (at the grid's edge) and 4 points.
    assert datasets.done(killed).sum() == 10
    # What a kill within a file's writing leaves behind, by either way of writing files.
    (killed / "x" / "c" / "2" / "0" / "0").mkdir(parents=True, exist_ok=True)
    (killed / "x" / "c" / "2" / "0" / "0" / "0").write_bytes(b"torn")
    (killed / "x" / "c" / "2" / "0" / "0" / "0.0123.partial").write_bytes(b"torn")
    before = {path: path.stat().st_mtime_ns for path in (killed / "done" / "c").rglob("*") if path.is_file()}
    subprocess.run([*start, str(killed)], check=True, stderr=subprocess.DEVNULL)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert files(killed) == files(whole)
    assert os.listdir(killed.parent) == ["run.zarr"]


MISMATCHES = {
    "config": ({"config": {"length": 4}}, r"config.length is 3 there and 4 here"),
    "config key": ({"config": {"length": 3, "beta": None}}, r"config.beta is absent there and None here"),
    "axis": (
        {"axes": AXES | {"strength": np.array([0.1, 0.5, -2.0])}},
        r"coords.strength\[2\] is -1.0 there and -2.0 here",
    ),
    "axis length": ({"axes": AXES | {"order": np.array([1])}}, r"coords.order has 2 values there and 1 here"),
    "axis type": ({"axes": AXES | {"order": np.array([1.0, 2.0])}}, r"variables.count|variables.order"),
    "seeds": ({"seeds": (3, 0, 8)}, r"seed\[2\] is 7 there and 8 here"),
    "labels": (
        {"experiment_fn": weights_named(**COORDS | {"rule": ["tilt", "natural"]})},
        r"coords.rule\[1\] is vanilla/gates there and natural here",
    ),
    "output": ({"experiment_fn": other_output}, r"variables.single is float32 .* there and int64 .* here"),
    "dims": (
        {"experiment_fn": weights_named(rule=COORDS["rule"], voice=None)},
        r"coords.persona is \[.*\] there and absent here",
    ),
    "constants": ({"constants": {"table": np.ones(2)}}, r"coords.table_dim_0 is absent there and \[0, 1\] here"),
    "resume": ({"resume": False}, "exists and resume is off"),
}


@pytest.mark.slow_but("axis", "config", "resume", "output")
@pytest.mark.parametrize("what", MISMATCHES)
def test_another_run_s_store_is_refused_and_left_alone(tmp_path, what):
    changed, difference = MISMATCHES[what]
    run(tmp_path / "run.zarr")
    before = files(tmp_path)
    with pytest.raises(datasets.RunMismatch, match=difference) as caught:
        run(tmp_path / "run.zarr", **changed)
    assert str(caught.value).startswith(str(tmp_path / "run.zarr"))
    store = tmp_path / "run.zarr"
    assert str(caught.value).endswith(f"nothing was overwritten: choose another --out, or remove it by rm -r {store}")
    assert files(tmp_path) == before


def test_an_unfinished_store_is_continued_in_its_own_blocks_only(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "write_block", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run.zarr", chunk=2)
    with pytest.raises(datasets.RunMismatch, match=r"block\[2\] is 2 there and 3 here"):
        run(tmp_path / "run.zarr", chunk=3)


def scaled_by(array):
    return lambda key, *, strength: {"value": strength * jnp.asarray(array).sum()}


@pytest.mark.slow
def test_a_store_of_another_function_is_opened_with_a_warning_if_finished(tmp_path):
    axes = {"strength": np.array([1.0, 2.0])}
    given = {"seeds": (0,), "chunk": 1, "out": tmp_path / "run.zarr", "progress": False}
    first = sweeps.run(scaled_by(np.arange(3.0)), axes, **given)
    np.testing.assert_array_equal(sweeps.run(scaled_by(np.arange(3.0)), axes, **given).value, first.value)
    before = files(tmp_path)
    for other in (scaled_by(np.array([0.0, 1.0, 2.5])), lambda key, *, strength: {"value": strength * 2.0}):
        with pytest.warns(UserWarning, match="run.zarr is finished and was computed by another function"):
            opened = sweeps.run(other, axes, **given)
        xr.testing.assert_identical(opened, first)
    assert files(tmp_path) == before


def test_a_store_of_another_function_is_refused_if_unfinished(monkeypatch, tmp_path):
    axes = {"strength": np.array([1.0, 2.0])}
    given = {"seeds": (0,), "chunk": 1, "out": tmp_path / "run.zarr", "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "write_block", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sweeps.run(scaled_by(np.arange(3.0)), axes, **given)
    before = files(tmp_path)
    for other in (scaled_by(np.array([0.0, 1.0, 2.5])), lambda key, *, strength: {"value": strength * 2.0}):
        with pytest.raises(datasets.RunMismatch, match="another function or other arrays inside it.*rm -r"):
            sweeps.run(other, axes, **given)
    assert files(tmp_path) == before
    assert sweeps.run(scaled_by(np.arange(3.0)), axes, **given).value.values.ravel().tolist() == [3.0, 6.0]
