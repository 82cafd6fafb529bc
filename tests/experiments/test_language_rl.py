"""The whole experiment on a tiny model: trained, measured from what was kept, and drawn."""

import gzip
import json

import jax
import numpy as np
import pytest
import small
from tiny_language_model import MODEL

from experiments import language_rl
from experiments.claims import language_rl as readings
from experiments.shared import trained, voice_runs
from toypersona import datasets
from toypersona.policies import model_file
from toypersona.worlds import voices

REWARDS = ("Alice", "brevity", "random score")
"""Those that a model of seven letters can be paid for."""

NOT_OF_A_TINY_ONE = ("runs of", "share of runs")
"""Claims of L1, which few answers of a model of seven letters cannot tell."""


@pytest.fixture
def tiny(monkeypatch):
    """A tiny model in the place of the large one, and few words to read."""
    every = voices.lines
    monkeypatch.setattr(voices, "lines", lambda name: every(name)[:1])
    monkeypatch.setattr(model_file, "load", lambda: MODEL)
    monkeypatch.setattr(language_rl, "REWARDS", REWARDS)
    monkeypatch.setattr(voice_runs, "NUM", 60)
    monkeypatch.setattr(voice_runs, "LENGTH", 3)


@pytest.mark.slow
def test_what_is_trained_is_measured_again_from_its_file(tiny, monkeypatch, tmp_path, capsys):
    anew, again = tmp_path / "anew", tmp_path / "again"
    with jax.debug_key_reuse(False):
        small.run(language_rl, f"--preset rl --gate-rate 5 --seeds 0 --out {anew}", capsys)
        monkeypatch.setattr(trained, "SHIPPED", anew / "trained.npz")
        small.run(language_rl, f"--seeds 0 --out {again}", capsys)
    small.assert_claims_hold(language_rl, again, NOT_OF_A_TINY_ONE, num=8)
    small.assert_drawn(language_rl, again)
    one, other = (datasets.load(out / "language_rl.zarr").load() for out in (anew, again))
    for name in ("total", "hull_distance", "predicted", "agreement", "paid"):
        np.testing.assert_allclose(one[name], other[name], atol=0.02)
    alone = other.isel(way=list(readings.places(other, alone=True).values()))
    # Gates alone: adapters have nothing to predict, and all is selection.
    np.testing.assert_allclose(alone.predicted, 1.0, atol=1e-6)
    np.testing.assert_allclose(alone.selection_fraction.where(alone.total > 0.05, 1.0), 1.0, atol=0.05)
    (file,) = again.glob("answers/Alice-0.jsonl.gz")
    header, *rows = map(json.loads, gzip.decompress(file.read_bytes()).decode().splitlines())
    assert header["temperature"] == voices.TEMPERATURE
    assert {row["sampled_from"] for row in rows} == {"base", "policy"}


def test_wrong_inputs_are_refused_in_a_sentence(monkeypatch, tmp_path, capsys):
    def refused(arguments):
        code, said = small.run(language_rl, f"--out {tmp_path / 'out'} {arguments}", capsys)
        assert code == 2
        assert said.err.count("\n") == 1
        return said.err

    assert "whose answers are kept: add --train" in refused("--seeds 7")
    assert "there are 8" in refused("--preset rl --seeds 0 8")
    assert "--rates" in refused("--rates 10 5")
    assert "--gate-rate" in refused("--gate-rate 0")
    monkeypatch.setattr(trained, "SHIPPED", tmp_path / "none.npz")
    assert "check it out again" in refused("")
