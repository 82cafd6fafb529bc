import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import files


def test_json_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "run.claims.json"
    content = [{"what": "S(0+) = cos²", "measured": 0.25, "holds": True, "error": None}]
    files.write_json(path, content)
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


def test_a_tree_comes_back_as_it_was_and_appears_whole(tmp_path):
    tree = {"gate": jnp.arange(3.0), "experts": (jnp.ones((2, 2), jnp.float32), jnp.array(7))}
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
    path = tmp_path / "deep" / "abc"
    files.keep_tree(path, tree)
    assert os.listdir(path.parent) == ["abc"]
    found = files.kept_tree(path, like)
    jax.tree.map(np.testing.assert_array_equal, found, tree)
    assert jax.tree.map(lambda x: x.dtype, found) == jax.tree.map(lambda x: x.dtype, tree)


def test_a_tree_that_is_there_already_stays(tmp_path):
    like = {"x": jax.ShapeDtypeStruct((2,), jnp.float64)}
    files.keep_tree(tmp_path / "abc", {"x": jnp.zeros(2)})
    files.keep_tree(tmp_path / "abc", {"x": jnp.ones(2)})
    np.testing.assert_array_equal(files.kept_tree(tmp_path / "abc", like)["x"], 0)
    assert os.listdir(tmp_path) == ["abc"]


def test_a_tree_for_which_there_is_no_room_is_not_kept_and_nothing_breaks(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.warns(match="Cannot keep .*abc .No space left on device.: it will be computed again"):
        files.keep_tree(tmp_path / "abc", {"x": jnp.zeros(2)})
    (tmp_path / "notes").touch()
    with pytest.warns(match="Cannot keep .*abc .(Not a directory|File exists)"):
        files.keep_tree(tmp_path / "notes" / "abc", {"x": jnp.zeros(2)})
    assert os.listdir(tmp_path) == ["notes"]


def test_a_damaged_tree_is_named(tmp_path):
    like = {"x": jax.ShapeDtypeStruct((2,), jnp.float64)}
    files.keep_tree(tmp_path / "abc", {"x": jnp.zeros(2)})
    for file in (tmp_path / "abc").rglob("*"):
        if file.is_file():
            os.truncate(file, 3)
    for path in (tmp_path / "abc", tmp_path / "absent"):
        with pytest.raises(
            ValueError, match=f"Cannot read {path}, which an earlier run kept: remove it by rm -r {path}"
        ):
            files.kept_tree(path, like)


@pytest.mark.parametrize("name", ["file", "file/sub", "n" * 300, "a\0b"])
def test_a_folder_that_cannot_be_written_to_is_refused_and_nothing_is_left(tmp_path, name):
    (tmp_path / "file").write_text("dear to me")
    with pytest.raises(ValueError, match=r"^Cannot write to .* \(.*\): choose another folder.$"):
        files.check_writable(tmp_path / name)
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_can_be_made_is_not_made(tmp_path):
    files.check_writable(tmp_path / "a" / "b")
    assert not os.listdir(tmp_path)


def test_a_full_disk_is_refused(tmp_path, monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(ValueError, match="No space left on device"):
        files.check_writable(tmp_path)


def test_files_are_read_without_jax():
    code = "import sys, toypersona.files; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
