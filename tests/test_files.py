import json
import os
import stat
import subprocess
import sys

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


def test_files_are_read_without_jax():
    code = "import sys, toypersona.files; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
