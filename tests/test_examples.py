"""The examples are what they say, and run as they stand."""

import re
import runpy
from pathlib import Path

import pytest

from experiments.shared import user_code
from toypersona import datasets

FOLDER = Path(__file__).parents[1] / "examples"
OWN = FOLDER / "own.py"


def test_the_feature_of_the_examples_counts_its_word():
    friendly = user_code.imported("--feature", f"{OWN}:friendly")
    assert friendly(["hello"], ["friend", "you", "friend"]) == 2 and friendly([], []) == 0


@pytest.mark.slow
def test_the_sweep_of_the_examples_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(FOLDER / "sweep.py"))
    dataset = datasets.load(tmp_path / "results" / "mine.zarr")
    assert dataset.sizes["strength"] == 3 and (dataset.hull_distance.diff("strength") > 0).all()
    assert re.search(r"^10\.0 +0\.\d", capsys.readouterr().out, re.MULTILINE)
