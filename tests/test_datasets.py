import json
import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest
import zarr

from toypersona import datasets, files
from toypersona.datasets import Layout

LAYOUT = Layout(
    coords={
        "strength": np.array([0.5, 1.0]),
        "seed": np.array([3, 1, 2]),
        "rule": np.array(["tilt", "natürlich/gates"]),
    },
    variables={"total": (("strength", "seed", "rule"), np.dtype("f8")), "wins": (("strength", "seed"), np.dtype("i4"))},
    block={"strength": 1, "seed": 2},
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
    return datasets.provenance(config, [3, 1, 2])


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
    with pytest.raises(datasets.RunMismatch, match="exists and is no dataset of a sweep; nothing was overwritten"):
        datasets.check_same(path, LAYOUT, made_by(), PLAN)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "torn", "list", "other zarr"])
def test_loading_what_is_no_dataset(tmp_path, kind):
    broken(tmp_path / "run.zarr", kind)
    with pytest.raises(ValueError, match="There is no dataset at .*run.zarr: run the experiment with --out"):
        datasets.load(tmp_path / "run.zarr")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "notes").write_text("dear to me")
    with pytest.raises(ValueError, match="Cannot make a dataset at .*: choose another --out"):
        datasets.create(tmp_path / "notes" / "run.zarr", LAYOUT, made_by(), PLAN)
    assert os.listdir(tmp_path) == ["notes"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "repository" / "package"
    (folder / "rules").mkdir(parents=True)
    (folder / "datasets.py").write_text("x = 1\n")
    (folder / "rules" / "base.py").write_text("y = 1\n")
    monkeypatch.setattr(datasets, "__file__", str(folder / "datasets.py"))
    return folder


def test_other_sources_or_versions_refuse_another_commit_does_not(tmp_path, package, monkeypatch):
    path = tmp_path / "run.zarr"
    monkeypatch.setattr(datasets, "_commit", lambda: "first")
    datasets.create(path, LAYOUT, made_by(rate=float("nan")), PLAN)
    monkeypatch.setattr(datasets, "_commit", lambda: "second")
    datasets.check_same(path, LAYOUT, made_by(rate=float("nan")), PLAN)
    assert datasets.load(path, unfinished=True).attrs["commit"] == "first"
    (package / "notes.txt").write_text("no source")
    datasets.check_same(path, LAYOUT, made_by(rate=float("nan")), PLAN)
    asked = made_by(rate=float("nan"))
    with pytest.raises(datasets.RunMismatch, match=r"versions.jax is .* there and 9.9.9 here"):
        datasets.check_same(path, LAYOUT, asked | {"versions": asked["versions"] | {"jax": "9.9.9"}}, PLAN)
    (package / "rules" / "base.py").write_text("y = 2\n")
    with pytest.raises(datasets.RunMismatch, match="made by other source code"):
        datasets.check_same(path, LAYOUT, made_by(rate=float("nan")), PLAN)


def test_the_fingerprint_sees_content_names_and_borders(package):
    prints = [made_by()["source_sha256"]]
    (package / "rules" / "base.py").rename(package / "rules" / "best.py")
    prints.append(made_by()["source_sha256"])
    (package / "datasets.py").write_text("x = 1\ny")
    (package / "rules" / "best.py").write_text(" = 1\n")
    prints.append(made_by()["source_sha256"])
    (package / "extra.py").touch()
    prints.append(made_by()["source_sha256"])
    assert len(set(prints)) == len(prints)
    assert made_by()["source_sha256"] == prints[-1]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_the_one_that_holds_the_sources(package, monkeypatch):
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)

    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "core.hooksPath=/dev/null"]
        command = ["git", "-C", str(package.parent), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(package.parents[1]))
    assert datasets._commit() is None
    git("init")
    git("commit", "--allow-empty", "-m", "somebody else's project")
    assert datasets._commit() is None
    git("add", ".")
    git("commit", "-m", "sources")
    assert datasets._commit() == git("rev-parse", "HEAD")


def test_json_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "run.claims.json"
    content = [{"what": "S(0+) = cos²", "measured": 0.25, "holds": True, "error": None}]
    files.write_json(path, content)
    assert datasets.read_json(path) == content
    assert json.loads(path.read_text(encoding="utf-8")) == content
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    before = path.read_bytes()
    for bad in ([float("nan")], [object()]):
        with pytest.raises((ValueError, TypeError)):
            files.write_json(path, bad)

    def disk_full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", disk_full)
    with pytest.raises(OSError, match="no space left"):
        files.write_json(path, [])
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_figures_can_read_without_jax():
    code = "import sys, toypersona.datasets; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
