import jax
import numpy as np
import pytest

from toypersona.options import MarkovOptions, TextOptions, WorldOptions
from toypersona.worlds import catalogue, markov, names


def test_every_name_is_a_world():
    for name in names.WORLDS:
        world, labels = catalogue.load(name, WorldOptions(), key=jax.random.key(0))
        assert world.log_gates.shape[-1] == len(labels.personas)


def test_options_reach_their_world():
    world, _ = catalogue.load("markov", WorldOptions(markov=MarkovOptions(num_words=4, order=2)), key=jax.random.key(0))
    np.testing.assert_array_equal(
        world.log_experts, markov.markov(jax.random.key(0), num_words=4, order=2)[0].log_experts
    )
    options = WorldOptions(speakers=("hamlet", "ophelia"), text=TextOptions(max_units=5))
    world, labels = catalogue.load("speakers", options, key=jax.random.key(0))
    assert labels.personas == ("hamlet", "ophelia")
    assert world.log_experts.shape[-1] == 5


def test_the_defaults_are_those_of_the_worlds():
    default, by_options = (markov.markov(jax.random.key(0), **options)[0] for options in ({}, vars(MarkovOptions())))
    jax.tree.map(np.testing.assert_array_equal, default, by_options)


def test_a_folder_is_a_world(tmp_path):
    (tmp_path / "ann.txt").write_text("hey yes\nhey you\n")
    (tmp_path / "ben.txt").write_text("oi no\n")
    _, labels = catalogue.load(f"text:{tmp_path}", WorldOptions(), key=jax.random.key(0))
    assert labels.personas == ("ann", "ben")


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match="'speaker': did you mean speakers"):
        catalogue.load("speaker", WorldOptions(), key=jax.random.key(0))
    with pytest.raises(ValueError, match="'zzz': it is one of .*text:FOLDER"):
        catalogue.load("zzz", WorldOptions(), key=jax.random.key(0))
