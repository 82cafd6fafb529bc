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
from conftest import files

from toypersona import datasets, programs, sweeps
from toypersona.outputs import Output, named

AXES = {"strength": np.array([0.1, 0.5, -1.0]), "order": np.array([1, 2])}
SEEDS = (3, 0, 7)
COORDS = {"rule": np.array(["tilt", "vanilla/gates"]), "persona": np.array([10.0, 20.0, 30.0])}


def plain(key, *, strength, order):
    """What is computed at one point."""
    noise = jax.random.normal(key, (2, 3))
    return {
        "reward": strength * order + noise.sum(),
        "weights": jnp.sqrt(jnp.abs(strength)) * noise,
        "count": order * jnp.arange(4, dtype=jnp.int32),
        "fell": strength < 0,
        "single": jnp.float32(0.5) * order.astype(jnp.float32),
    }


def experiment(key, *, strength, order):
    values = plain(key, strength=strength, order=order)
    return values | {"weights": named(values["weights"], "weight", None, **COORDS)}


def run(out=None, *, experiment_fn=experiment, axes=AXES, **changed):
    given = {"seeds": SEEDS, "chunk": 4, "config": {"length": 3}, "progress": False}
    return sweeps.run(experiment_fn, axes, out=out, **{**given, **changed})


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


def test_blocks_partition_any_grid():
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(rng.integers(1, 9, rng.integers(1, 5)).tolist())
        chunk = int(rng.integers(1, 40))
        block = sweeps.block_shape(shape, chunk)
        assert 1 <= np.prod(block) <= chunk
        cut = [i for i, (length, size) in enumerate(zip(block, shape, strict=True)) if length < size]
        if cut:
            assert block[: cut[-1]] == (1,) * cut[-1]
            assert (block[cut[-1]] + 1) * np.prod(block[cut[-1] + 1 :]) > chunk or shape[cut[-1]] > block[cut[-1]]
        visits = np.zeros(shape, int)
        for region in sweeps._regions(shape, block):
            visits[region] += 1
        assert (visits == 1).all()


def test_blocks_are_equal_parts_with_the_last_axes_whole():
    assert sweeps.block_shape((7, 3), 8) == (2, 3)
    assert sweeps.block_shape((5, 100), 64) == (1, 50)
    assert sweeps.block_shape((2, 3), 1000) == (2, 3)


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


def other_output(key, *, strength, order):
    return experiment(key, strength=strength, order=order) | {"single": order}


def weights_twice(key, *, strength, order):
    return plain(key, strength=strength, order=order) | {"weights": Output(jnp.ones((2, 2)), ("a", "a"))}


def weights_named(**dims):
    return lambda key, *, strength, order: (
        plain(key, strength=strength, order=order) | {"weights": named(jnp.ones((2, 3)), **dims)}
    )


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


def never(key, *, strength, order):
    raise AssertionError("was called")


BAD = {
    "chunk": ({"chunk": 0}, "chunk is at least 1"),
    "empty axis": ({"axes": AXES | {"order": np.array([])}}, "axis 'order' .* one or more numbers"),
    "table": ({"axes": AXES | {"order": np.ones((2, 2))}}, r"axis 'order' .* not of shape \(2, 2\)"),
    "scalar": ({"axes": AXES | {"order": 1.0}}, r"axis 'order' .* not of shape \(\)"),
    "words": ({"axes": AXES | {"order": np.array(["a"])}}, "axis 'order' .* numbers"),
    "repeated": ({"axes": AXES | {"order": np.array([1, 1])}}, "axis 'order' repeats"),
    "no seeds": ({"seeds": ()}, "axis 'seed' .* one or more integers"),
    "repeated seeds": ({"seeds": (1, 2, 1)}, "axis 'seed' repeats"),
    "fractional seeds": ({"seeds": np.array([0.5])}, "axis 'seed' .* integers"),
    "seed as axis": ({"axes": AXES | {"seed": np.array([1])}}, "seeds are given as seeds"),
    "unknown axis": ({"axes": AXES | {"strenght": np.array([1])}}, "do not fit its function .*strenght"),
    "missing axis": ({"axes": {"order": np.array([1])}}, "do not fit its function .*strength"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_grids_stop_before_the_function_is_called(tmp_path, what):
    changed, message = BAD[what]
    with pytest.raises(ValueError, match=message) as caught:
        run(tmp_path / "run.zarr", experiment_fn=never, **changed)
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


BAD_NAMES = {
    "number of dimensions": ({"experiment_fn": weights_named(a=None, b=None, c=None)}, "2 axes and is named with 3"),
    "dimension twice": ({"experiment_fn": weights_twice}, r"rename \['weights'\]"),
    "dimension is axis": ({"experiment_fn": weights_named(order=None, a=None)}, r"rename \['order'\]"),
    "dimension is output": ({"experiment_fn": weights_named(a=None, reward=None)}, r"rename \['reward'\]"),
    "dimension is a constant": (
        {"experiment_fn": weights_named(a=None, b=None), "constants": {"b": np.ones(3)}},
        r"rename \['b'\]",
    ),
    "two sizes": (
        {"experiment_fn": weights_named(a=None, count_dim_0=None)},
        "The dimension 'count_dim_0' of '.*' has other places than that of another output",
    ),
    "other coordinates": (
        {"experiment_fn": weights_named(**COORDS), "constants": {"table": named(np.ones(2), rule=["a", "b"])}},
        "The dimension 'rule' of 'weights' has other places than that of another output",
    ),
    "coordinate's length": (
        {"experiment_fn": weights_named(rule=["a"], b=None)},
        r"'rule' has 2 places .* shape \(1,\)",
    ),
    "coordinate's type": (
        {"experiment_fn": weights_named(rule=np.array(["a", "b"], object), b=None)},
        "'rule' has 2 places .* type object",
    ),
    "constant is an output": ({"constants": {"reward": np.ones(2)}}, r"rename \['reward'\]"),
    "constant along another grid": (
        {"constants": {"table": named(np.ones(2), order=[1, 3])}},
        "The dimension 'order' of 'table' has other places than that of another output",
    ),
    "constant along a part of the grid": (
        {"constants": {"table": named(np.ones(1), order=None)}},
        r"'order' has 1 places in 'table' and a coordinate of shape \(2,\)",
    ),
    "config": ({"config": {"where": object()}}, "config has to be JSON"),
    "infinite": ({"infinite": ("rewrad",)}, r"infinite names \['rewrad'\]"),
}


@pytest.mark.parametrize("what", BAD_NAMES)
def test_bad_names_stop_before_anything_is_written(tmp_path, what):
    changed, message = BAD_NAMES[what]
    with pytest.raises(ValueError, match=message) as caught:
        run(tmp_path / "run.zarr", **changed)
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "returned",
    [lambda: jnp.ones(3), lambda: {"a": {"b": jnp.ones(3)}}, lambda: {"a": "text"}, lambda: {}, lambda: None],
)
def test_what_is_no_dict_of_arrays(returned):
    with pytest.raises(TypeError, match="has to return a dict of one or more arrays by name"):
        sweeps.run(lambda key: returned(), {}, seeds=[0], chunk=1, progress=False)


@pytest.mark.parametrize("name", ["done", "diverged", "seed", "x", "a/b"])
def test_reserved_and_impossible_output_names(name):
    with pytest.raises(ValueError, match=f"rename .*'{name}'"):
        sweeps.run(lambda key, x: {name: x}, {"x": [1.0]}, seeds=[0], chunk=1, progress=False)


@pytest.mark.parametrize("cast", [lambda key: jnp.bfloat16(1), lambda key: key])
def test_types_no_dataset_holds(cast):
    with pytest.raises(ValueError, match="'a' is of type .*: cast it"):
        sweeps.run(lambda key: {"a": cast(key)}, {}, seeds=[0], chunk=1, progress=False)


def scaled_by(array):
    return lambda key, *, strength: {"value": strength * jnp.asarray(array).sum()}


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


def test_constants_and_words_are_kept_with_the_numbers(tmp_path):
    table = named(np.arange(6.0).reshape(2, 3), "a table", "nats", rule=COORDS["rule"], unit=None)
    along = named(np.array([5.0, 6.0]), order=None)
    constants = {"table": table, "weights_of_all": named(np.ones(3), persona=COORDS["persona"]), "along": along}
    for out in (None, tmp_path / "run.zarr"):
        dataset = run(out, constants=constants)
        assert dataset.along.sel(order=2) == 6
        assert dataset.table.dims == ("rule", "unit")
        assert dataset.table.attrs == {"long_name": "a table", "units": "nats"}
        np.testing.assert_array_equal(dataset.table.sel(rule="vanilla/gates"), [3, 4, 5])
        assert dataset.weights_of_all.dims == ("persona",)
        assert dataset.weights.attrs == {"long_name": "weight"}
        assert dataset.reward.attrs == {"long_name": "mean reward"}
        assert dataset.strength.attrs["long_name"] == "strength s = 1/β"


def test_dimensions_of_the_glossary_are_named_by_it():
    def budgets(key, *, strength):
        both = {"weights": jnp.ones((2, 4, 3)), "total": jnp.ones(2)}
        return named(both, record=[1, 5])

    dataset = sweeps.run(budgets, {"strength": [0.5]}, seeds=[0], chunk=1, progress=False)
    assert dataset.weights.dims == ("strength", "seed", "record", "prompt", "persona")
    assert dataset.total.dims == ("strength", "seed", "record") and dataset.record.values.tolist() == [1, 5]
    assert dataset.total.attrs["units"] == "nats"


def test_an_output_may_be_made_by_hand():
    by_hand = lambda key: {"x": Output(jnp.arange(2), ("a",), {"a": np.array(["b", "c"])})}  # noqa: E731
    dataset = sweeps.run(by_hand, {}, seeds=[0], chunk=1, progress=False)
    assert dataset.x.sel(a="c").values.tolist() == [1]
