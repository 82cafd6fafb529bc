"""What is kept on disk is found again by what was computed, and from what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxpr_as_fun

from toypersona import artefacts


def entries(folder):
    return sorted(path for path in folder.glob("*/*"))


def times(factor):
    return lambda x, key: {"x": factor * x, "drawn": jax.random.normal(jax.random.wrap_key_data(key), (2,))}


def data(seed):
    return jax.random.key_data(jax.random.key(seed))


OTHERS = {
    "none": (times(2), (jnp.arange(3.0), data(0))),
    "computation": (times(3), (jnp.arange(3.0), data(0))),
    "last digits": (times(np.float64(2.0000000000000004)), (jnp.arange(3.0), data(0))),
    "an array inside": (times(jnp.array([2.0, 2.0, 2.1])), (jnp.arange(3.0), data(0))),
    "argument": (times(2), (jnp.arange(3.0) + 1, data(0))),
    "key": (times(2), (jnp.arange(3.0), data(1))),
    "shape": (times(2), (jnp.arange(4.0), data(0))),
}


@pytest.fixture(scope="module")
def kept_others(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    for number, (compute, arguments) in enumerate(OTHERS.values()):
        found = artefacts.kept(compute, [arguments], folder)[0]
        jax.tree.map(np.testing.assert_array_equal, found, compute(*arguments))
        assert len(entries(folder)) == number + 1
    return folder


@pytest.mark.parametrize("name", OTHERS)
def test_kept_results_are_found_by_computation_and_arguments(kept_others, nothing_computed, name):
    compute, arguments = OTHERS[name]
    found = artefacts.kept(compute, [arguments], kept_others)[0]
    jax.tree.map(np.testing.assert_array_equal, found, compute(*arguments))


def test_programs_of_what_was_kept_are_those_of_what_was_computed(tmp_path):
    first, again = (artefacts.kept(lambda x: {"x": x + 1}, [(jnp.zeros(2),)], tmp_path)[0]["x"] for _ in range(2))
    assert not first.committed and not again.committed


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = artefacts.kept(lambda x: x + 1, [(jnp.zeros(2),)], None)[0]
    np.testing.assert_array_equal(found, 1)
    assert not list(tmp_path.iterdir())


def by_key(folder, num):
    keys = jax.random.split(jax.random.key(5), 4)[:num]
    return artefacts.for_each_key(lambda key: {"drawn": jax.random.normal(key, (2,))}, keys, folder)


def test_results_for_each_key_are_found_by_it(tmp_path):
    found = by_key(tmp_path, 3)
    for i in (2, 0, 1):
        expected = jax.random.normal(jax.random.split(jax.random.key(5), 4)[i], (2,))
        np.testing.assert_array_equal(found.at(jax.random.split(jax.random.key(5), 4)[i])["drawn"], expected)
        traced = jax.jit(lambda seed, i=i: found.at(jax.random.split(jax.random.key(seed), 4)[i])["drawn"])
        np.testing.assert_array_equal(traced(5), expected)
    assert len(entries(tmp_path)) == 3


def test_each_key_is_kept_by_itself(tmp_path, nothing_computed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(artefacts, "jaxpr_as_fun", jaxpr_as_fun)
        three = by_key(tmp_path, 3)
    jax.tree.map(np.testing.assert_array_equal, by_key(tmp_path, 2).results["drawn"], three.results["drawn"][:2])
    with pytest.raises(AssertionError, match="was computed"):
        by_key(tmp_path, 4)
