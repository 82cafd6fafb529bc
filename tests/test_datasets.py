import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import zarr

from toypersona import datasets, provenance
from toypersona.datasets import Layout
from toypersona.outputs import Output

LAYOUT = Layout(
    coords={
        "strength": np.array([0.5, 1.0]),
        "seed": np.array([3, 1, 2]),
        "rule": np.array(["tilt", "natürlich/gates"]),
        "word": np.arange(2),
    },
    variables={
        "total": Output(np.zeros((), "f8"), ("strength", "seed", "rule"), {}, "drift", "nats"),
        "wins": Output(np.zeros((), "i4"), ("strength", "seed")),
    },
    block={"strength": 1, "seed": 2},
    constants={"table": Output(np.arange(4.0).reshape(2, 2), ("rule", "word"), {}, "a table", "")},
)
TOTAL = np.arange(12.0).reshape(2, 3, 2)
PLAN = {"chunk": 2, "options": [["name", 1]]}
WINS = np.arange(6, dtype=np.int32).reshape(2, 3)


def fill(store):
    for i in range(2):
        for part in (slice(0, 2), slice(2, 3)):
            region = (slice(i, i + 1), part)
            datasets.write_block(store, region, {"total": TOTAL[region], "wins": WINS[region]})


def made_by(**config):
    return provenance.of(config, [3, 1, 2])


def test_blocks_come_back_with_coordinates_and_attributes(tmp_path):
    path = tmp_path / "deep" / "run.zarr"
    datasets.create(path, LAYOUT, made_by(length=3, limit=float("inf")), PLAN)
    fill(path)
    dataset = datasets.load(path)
    np.testing.assert_array_equal(dataset.total, TOTAL)
    np.testing.assert_array_equal(dataset.wins, WINS)
    assert dataset.wins.dtype == np.int32
    assert dataset.rule.values.tolist() == ["tilt", "natürlich/gates"]
    assert datasets.config_of(dataset) == {"length": 3, "limit": float("inf")}
    assert dataset.total.sel(rule="natürlich/gates", seed=1, strength=0.5) == TOTAL[0, 1, 1]
    assert dataset.total.attrs == {"long_name": "drift", "units": "nats"} and dataset.wins.attrs == {
        "long_name": "wins"
    }
    assert dataset.strength.attrs == {"long_name": "strength s = 1/β"}
    assert dataset.table.dims == ("rule", "word") and dataset.table.attrs == {"long_name": "a table"}
    np.testing.assert_array_equal(dataset.table, [[0, 1], [2, 3]])


def test_settings_are_those_of_the_config(tmp_path):
    datasets.create(tmp_path / "run.zarr", LAYOUT, made_by(settings={"noise": {"num_runs": 3}}, labels=["a"]), PLAN)
    dataset = datasets.load(tmp_path / "run.zarr", unfinished=True)
    assert datasets.settings_of(dataset) == {"noise": {"num_runs": 3}}
    assert datasets.config_of(dataset)["labels"] == ["a"]


def test_what_is_the_same_at_every_point_is_there_before_any_point(tmp_path):
    datasets.create(tmp_path / "run.zarr", LAYOUT, made_by(), PLAN)
    np.testing.assert_array_equal(datasets.load(tmp_path / "run.zarr", unfinished=True).table, [[0, 1], [2, 3]])


def test_a_block_s_files_are_its_own_and_done_comes_last(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    datasets.create(path, LAYOUT, made_by(), PLAN)
    order = []
    array = datasets._array
    monkeypatch.setattr(datasets, "_array", lambda group, name: order.append(name) or array(group, name))
    region = (slice(1, 2), slice(2, 3))
    datasets.write_block(path, region, {"total": TOTAL[region], "wins": WINS[region]})
    assert order == ["total", "wins", "done"]
    chunks = {str(p.relative_to(path)) for name in order for p in (path / name / "c").rglob("*") if p.is_file()}
    assert chunks == {"total/c/1/1/0", "wins/c/1/1", "done/c/1/1"}


def test_an_unfinished_store_says_so_and_shows_what_it_has(tmp_path):
    path = tmp_path / "run.zarr"
    datasets.create(path, LAYOUT, made_by(), PLAN)
    region = (slice(0, 1), slice(0, 2))
    datasets.write_block(path, region, {"total": TOTAL[region], "wins": WINS[region]})
    with pytest.raises(ValueError, match="lacks 4 of 6 points: run the same command again to finish it."):
        datasets.load(path)
    part = datasets.load(path, unfinished=True)
    assert np.isnan(part.total.values[1]).all()
    np.testing.assert_array_equal(part.total.values[region], TOTAL[region])
    np.testing.assert_array_equal(datasets.done(path), part.done)


def broken(path, kind):
    if kind == "file":
        path.write_text("notes")
    elif kind != "missing":
        path.mkdir()
    if kind == "notes":
        (path / "thesis.txt").write_text("dear to me")
    if kind in ("torn", "list"):
        (path / "zarr.json").write_text("{" if kind == "torn" else "[]")
    if kind == "other zarr":
        zarr.create_group(path, zarr_format=3, overwrite=True, attributes={"labels": {}}).create_array(
            "x", shape=(2,), dtype="f8", dimension_names=("x",)
        )


@pytest.mark.parametrize("kind", ["file", "empty", "notes", "torn", "list", "other zarr"])
def test_a_path_that_holds_something_else_is_refused_and_left_alone(tmp_path, kind):
    path = tmp_path / "run.zarr"
    broken(path, kind)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(
        datasets.RunMismatch, match="exists and is no dataset of a sweep, or a damaged one; nothing was overwritten"
    ):
        datasets.check_same(path, LAYOUT, made_by(), PLAN)
    with pytest.raises(datasets.RunMismatch, match=rf"choose another --out, or remove it by rm -r {path}$"):
        datasets.check_config(path, {})
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "torn", "list", "other zarr"])
def test_loading_what_is_no_dataset(tmp_path, kind):
    broken(tmp_path / "run.zarr", kind)
    message = (
        "There is no dataset at .*run.zarr: run the experiment with --out" if kind == "missing" else "is no dataset"
    )
    with pytest.raises(ValueError, match=message):
        datasets.load(tmp_path / "run.zarr")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "notes").write_text("dear to me")
    with pytest.raises(ValueError, match="Cannot make a dataset at .*: choose another --out"):
        datasets.create(tmp_path / "notes" / "run.zarr", LAYOUT, made_by(), PLAN)
    assert os.listdir(tmp_path) == ["notes"]


@pytest.fixture
def finished(tmp_path):
    """A finished store, one of whose blocks is nothing but zeros."""
    path = tmp_path / "run.zarr"
    datasets.create(path, LAYOUT, made_by(), PLAN)
    fill(path)
    region = (slice(0, 1), slice(0, 2))
    datasets.write_block(path, region, {"total": 0 * TOTAL[region], "wins": 0 * WINS[region]})
    return path


def test_every_chunk_is_a_file_of_known_length_zeros_too(finished):
    assert datasets.finished(finished)
    for name, size in (("total", 1 * 2 * 2 * 8), ("wins", 1 * 2 * 4), ("done", 1 * 2)):
        assert [len(file.read_bytes()) for file in (finished / name / "c").rglob("*") if file.is_file()] == [size] * 4


@pytest.mark.parametrize("lost", ["total/c/1/0/0", "wins/c/1/0", "done/c/1/0"])
def test_a_block_that_lacks_a_file_is_not_done_and_written_again_is(finished, lost):
    (finished / lost).unlink()
    assert not datasets.finished(finished)
    np.testing.assert_array_equal(datasets.done(finished), [[1, 1, 1], [0, 0, 1]])
    with pytest.raises(ValueError, match="lacks 2 of 6 points: run the same command again to finish it"):
        datasets.load(finished)
    np.testing.assert_array_equal(datasets.load(finished, unfinished=True).done, [[1, 1, 1], [0, 0, 1]])
    region = (slice(1, 2), slice(0, 2))
    datasets.write_block(finished, region, {"total": TOTAL[region], "wins": WINS[region]})
    np.testing.assert_array_equal(datasets.load(finished).total.values[1], TOTAL[1])


@pytest.mark.parametrize("size", [0, 5])
@pytest.mark.parametrize("cut", ["total/c/0/1/0", "done/c/0/0", "strength/c/0", "table/c/0/0"])
def test_a_file_that_was_cut_short_is_named(finished, cut, size):
    whole = len((finished / cut).read_bytes())
    size = min(size, whole - 1)
    os.truncate(finished / cut, size)
    for read in (datasets.done, datasets.finished, datasets.load):
        with pytest.raises(ValueError, match=f"{cut} was cut short to {size} of {whole} bytes: .* or remove it by rm "):
            read(finished)


def test_what_a_killed_writer_left_of_a_block_is_no_damage(finished):
    (finished / "done/c/1/0").unlink()
    (finished / "total/c/1/0/0").write_bytes(b"torn")
    np.testing.assert_array_equal(datasets.done(finished), [[1, 1, 1], [0, 0, 1]])


@pytest.mark.parametrize("lost", ["strength/c/0", "table/c/0/0"])
def test_what_no_block_holds_cannot_be_computed_again(finished, lost):
    (finished / lost).unlink()
    with pytest.raises(ValueError, match=f"{lost} is missing: copy it again, or remove it by rm -r "):
        datasets.load(finished)


@pytest.mark.parametrize("name", ["total", "strength", "done"])
@pytest.mark.parametrize("how", [os.remove, lambda path: path.write_text("{")])
def test_a_variable_whose_description_is_lost_or_garbled(finished, name, how):
    how(finished / name / "zarr.json")
    for read in (datasets.load, lambda path: datasets.check_config(path, {}), datasets.finished):
        with pytest.raises(ValueError, match=rf"{finished} .*rm -r {finished}") as caught:
            read(finished)
        assert len(str(caught.value).splitlines()) == 1


def test_a_full_disk_loses_the_block_in_flight_only(finished, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "run.zarr/wins/c/1/1")

    (finished / "wins/c/1/1").unlink()
    before = datasets.done(finished)
    array = datasets._array
    monkeypatch.setattr(datasets, "_array", lambda group, name: full() if name == "wins" else array(group, name))
    region = (slice(1, 2), slice(2, 3))
    with pytest.raises(OSError, match="Cannot write to .*run.zarr .No space left on device.: what was computed before"):
        datasets.write_block(finished, region, {"total": TOTAL[region], "wins": WINS[region]})
    monkeypatch.setattr(datasets, "_array", array)
    np.testing.assert_array_equal(datasets.done(finished), before)


def test_a_store_of_old_whose_files_are_compressed_is_still_read(finished):
    attributes = json.loads((finished / "zarr.json").read_text())
    for name in ("computed", "given"):
        del attributes["attributes"][name]
    (finished / "zarr.json").write_text(json.dumps(attributes))
    total: Any = zarr.open_group(finished)["total"]
    packed: dict[str, Any] = {
        "shape": total.shape,
        "chunks": total.chunks,
        "dtype": "f8",
        "dimension_names": total.metadata.dimension_names,
    }
    zarr.open_group(finished).create_array("total", overwrite=True, **packed)[...] = TOTAL
    assert datasets.finished(finished)
    np.testing.assert_array_equal(datasets.load(finished).total, TOTAL)


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "repository" / "package"
    (folder / "rules").mkdir(parents=True)
    (folder / "provenance.py").write_text("x = 1\n")
    (folder / "rules" / "base.py").write_text("y = 1\n")
    monkeypatch.setattr(provenance, "__file__", str(folder / "provenance.py"))
    return folder


def same(path, made_by, layout=LAYOUT, plan=PLAN):
    datasets.check_same(path, layout, made_by, plan)


PROGRAM = {"program_sha256": "abc"}


def test_other_sources_and_another_commit_go_on_with_a_store(tmp_path, package, monkeypatch):
    path = tmp_path / "run.zarr"
    monkeypatch.setattr(provenance, "commit", lambda: "first")
    datasets.create(path, LAYOUT, made_by(rate=float("nan")), PLAN)
    monkeypatch.setattr(provenance, "commit", lambda: "second")
    same(path, made_by(rate=float("nan")))
    assert datasets.load(path, unfinished=True).attrs["commit"] == "first"
    (package / "rules" / "base.py").write_text("y = 2\n")
    same(path, made_by(rate=float("nan")))
    assert datasets.made_by_other_code(datasets.load(path, unfinished=True))


UNFINISHED_ONLY = {
    "versions": ({"versions": {**made_by()["versions"], "jax": "9.9.9"}}, r"versions.jax is .* there and 9.9.9 here"),
    "program": ({"program_sha256": "xyz"}, "another function or other arrays inside it"),
}


@pytest.mark.parametrize("what", UNFINISHED_ONLY)
def test_other_versions_and_another_program_finish_nothing_but_open_what_is_finished(tmp_path, what):
    change, message = UNFINISHED_ONLY[what]
    path, asked = tmp_path / "run.zarr", made_by(length=3) | PROGRAM
    datasets.create(path, LAYOUT, asked, PLAN)
    assert not datasets.finished(path)
    with pytest.raises(datasets.RunMismatch, match=message) as caught:
        same(path, asked | change)
    assert str(caught.value).endswith(f"or remove it by rm -r {path}")
    fill(path)
    assert datasets.finished(path)
    expected = pytest.warns(match="computed by another function") if what == "program" else contextlib.nullcontext()
    with expected:
        same(path, asked | change)


def test_another_plan_or_other_blocks_finish_nothing_but_open_what_is_finished(tmp_path):
    path, asked = tmp_path / "run.zarr", made_by() | PROGRAM
    datasets.create(path, LAYOUT, asked, PLAN)
    blocks = LAYOUT._replace(block={"strength": 2, "seed": 3})
    with pytest.raises(datasets.RunMismatch, match="plan.chunk is 2 there and 3 here"):
        same(path, asked, plan=PLAN | {"chunk": 3})
    with pytest.raises(datasets.RunMismatch, match=r"block\[0\] is 1 there and 2 here"):
        same(path, asked, blocks)
    fill(path)
    same(path, asked, blocks, PLAN | {"chunk": 3})


def test_other_settings_and_other_coordinates_are_refused_even_where_all_is_finished(tmp_path):
    path, asked = tmp_path / "run.zarr", made_by(settings={"noise": {"num_runs": 3}}) | PROGRAM
    datasets.create(path, LAYOUT, asked, PLAN)
    fill(path)
    with pytest.raises(datasets.RunMismatch, match=r"\(noise.num_runs is 3 there and 4 here\)"):
        same(path, made_by(settings={"noise": {"num_runs": 4}}) | PROGRAM)
    renamed = LAYOUT._replace(coords={**LAYOUT.coords, "rule": np.array(["tilt", "sft"])})
    with pytest.raises(datasets.RunMismatch, match=r"coords.rule\[1\] is natürlich/gates there and sft here"):
        same(path, asked, renamed)
    with pytest.raises(datasets.RunMismatch, match="seeds"):
        same(path, asked | {"seeds": [3, 1, 7]})


def test_settings_alone_are_compared_before_anything_is_computed(tmp_path):
    path = tmp_path / "my run.zarr"
    datasets.check_config(path, {"settings": {"length": 3}})
    datasets.create(path, LAYOUT, made_by(settings={"length": 3, "angles": [1.0, 2.0]}, labels=["a"]), PLAN)
    datasets.check_config(path, {"settings": {"length": 3, "angles": (1.0, 2.0)}})
    with pytest.raises(datasets.RunMismatch, match=r"angles has 2 values there and 1 here") as caught:
        datasets.check_config(path, {"settings": {"length": 3, "angles": (1.0,)}})
    assert str(caught.value).endswith(f"rm -r '{path}'"), "a path with a space is quoted"


def test_the_fingerprint_sees_what_is_said_to_python_names_and_borders(package):
    before = made_by()["code_sha256"]
    (package / "rules" / "base.py").write_text('"""A docstring."""\n\n# A comment.\ny = (\n    1\n)\n')
    (package / "notes.txt").write_text("no source")
    assert made_by()["code_sha256"] == before
    prints = [before]
    (package / "rules" / "base.py").rename(package / "rules" / "best.py")
    prints.append(made_by()["code_sha256"])
    (package / "provenance.py").write_text("x = 1\ny = 1\n")
    (package / "rules" / "best.py").write_text("")
    prints.append(made_by()["code_sha256"])
    (package / "extra.py").touch()
    prints.append(made_by()["code_sha256"])
    (package.with_name("experiments")).mkdir()
    (package.with_name("experiments") / "mine.py").write_text("z = 1\n")
    prints.append(made_by()["code_sha256"])
    assert len(set(prints)) == len(prints)
    assert made_by()["code_sha256"] == prints[-1]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_the_one_that_holds_the_sources(package, monkeypatch):
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)

    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "core.hooksPath=/dev/null"]
        command = ["git", "-C", str(package.parent), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(package.parents[1]))
    assert provenance.commit() is None
    git("init")
    git("commit", "--allow-empty", "-m", "somebody else's project")
    assert provenance.commit() is None
    git("add", ".")
    git("commit", "-m", "sources")
    assert provenance.commit() == git("rev-parse", "HEAD")


@pytest.mark.slow
def test_figures_can_read_without_jax():
    code = "import sys, toypersona.datasets; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
