"""What the README shows is what runs."""

import re
from pathlib import Path

import pytest
import readme_numbers

from experiments import phase_diagram, rules

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_its_sweep_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "sweeps.run" in block)
    names = {}
    exec(code, names)
    assert names["dataset"].sizes["strength"] == 3 and (tmp_path / "results" / "mine.zarr").is_dir()
    assert (names["dataset"].hull_distance.diff("strength") > 0).all()


def test_its_paths_targets_and_flags_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile
    for link in re.findall(r"\]\((.*?)\)", README):
        assert (ROOT / link).is_file()
    settings = vars(phase_diagram.PRESETS["quick"]) | vars(rules.PRESETS["quick"])
    for flag in re.findall(r"--([a-z]+)", README):
        assert flag in {*settings, "help", "options"}


def test_its_tree_is_the_tree():
    tree = README.rpartition("## The tree")[2]
    for name in re.findall(r"^([a-z]+)/ ", tree, re.MULTILINE):
        assert (ROOT / name).is_dir()
    modules = {path.stem for path in (ROOT / "toypersona").glob("[a-z]*.py")} - {"types"}
    assert all(module in tree for module in modules)


def test_the_two_commands_stand_on_the_first_screen_and_its_words_are_explained():
    lines = README.splitlines()
    first = "\n".join(lines[:24])
    assert "\nmake map " in first and "\nmake test " in first and "1.4 GB" in first and len(lines) < 190
    table = README[README.index("| word | meaning |") : README.index("## The laws")]
    for word in ("expert", "gate", "base", "tilt", "nat", "hull", "vertex", "selection fraction", "novelty"):
        assert re.search(rf"^\|[^|]*\b{word}\b[^|]*\|", table, re.MULTILINE), word


SETTINGS = {"0", "1", "1e-12", "0.01", "0.9", "0.4", "10", "1%", "5%", "45°", "30°"}
"""Numbers of what was set, or that a claim has as its bound, in what the README says was found."""


def test_its_numbers_are_those_of_the_shipped_claims():
    """Every number in what was found stands in a part that is made from them."""
    made, found = readme_numbers.sentences(), README[README.index("**Found so far") : README.index("## Four things")]
    for name, sentence in made.items():
        assert sentence in README.replace("\n", " "), name
        found = found.replace("\n", " ").replace(sentence, "")
    cells = [row.split(" | ")[-1] for row in re.findall(r"\| \[?`.*?\|(?= \||  |$)", found)]
    assert len(cells) > 10
    left = {number for cell in cells for number in re.findall(r"(?<![\w.])\d[\d.e-]*[%°]?", cell)}
    assert left <= SETTINGS, left - SETTINGS
