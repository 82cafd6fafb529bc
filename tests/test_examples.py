"""The examples are what they say, and run as they stand."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.shared import user_code
from toypersona import datasets

FOLDER = Path(__file__).parents[1] / "examples"
OWN = FOLDER / "own.py"
TOUR = FOLDER / "tour.py"


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


def test_the_tour_is_in_percent_format():
    """What jupytext asks for: a header with the format's name, then cells; text in them is commented."""
    text = TOUR.read_text()
    header, *cells = re.split(r"^# %%", text, flags=re.MULTILINE)
    assert "format_name: percent" in header and header.startswith("# ---") and header.rstrip().endswith("# ---")
    assert 12 <= len(cells) <= 22
    for cell in cells:
        first, *lines = cell.rstrip().split("\n")
        assert first in ("", " [markdown]")
        assert all(line.startswith("#") for line in lines) if first else any(not line.startswith("#") for line in lines)
    assert any(cell.startswith(" [markdown]\n# # ") for cell in cells), "a title"


@pytest.mark.slow
def test_the_tour_runs_as_a_script(tmp_path):
    """Its sentences are asserted in it."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(FOLDER.parent),
        "MPLBACKEND": "agg",
        "HOME": str(tmp_path),
    }
    ran = subprocess.run([sys.executable, TOUR], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "RLOO, gates only  S at 0.5 nats: 1.00" in ran.stdout and not list(tmp_path.glob("*.png"))


@pytest.mark.slow
def test_the_tour_is_a_notebook():
    jupytext = pytest.importorskip("jupytext", reason="it is in the group site")
    notebook = jupytext.read(TOUR)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) >= 8 and len(notebook.cells) == TOUR.read_text().count("\n# %%")
    assert notebook.metadata["kernelspec"]["language"] == "python"
    names = {"__file__": str(TOUR)}
    # The first cells only, one after the other in one namespace, as Jupyter runs them: the script's test runs all.
    for cell in cells[:4]:
        exec(compile(cell, "cell", "exec"), names)
    assert names["alice"] == 2
