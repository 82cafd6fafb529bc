"""What the README, its findings and the examples show is what runs."""

import re
from pathlib import Path

import readme_numbers
import said_commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FINDINGS = (ROOT / "docs" / "findings.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def test_its_paths_targets_and_flags_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", README + CONTRIBUTING, re.MULTILINE):
        assert f"\n{target}:" in makefile, target
    for text, folder in ((README, ROOT), (CONTRIBUTING, ROOT), (FINDINGS, ROOT / "docs")):
        for link in re.findall(r"\]\((?!https?:)(.*?)\)", text):
            assert (folder / link).is_file(), link
    for path in re.findall(r"examples/[a-z_]+\.[a-z]+", README + CONTRIBUTING):
        assert (ROOT / path).is_file(), path
    lines = said_commands.lines(README)
    assert sum("-m experiments" in line for line in lines) > 5
    for line in [*lines, *re.findall(r"`(python -m .*?)`", CONTRIBUTING)]:
        assert not said_commands.wrong(line), line


def test_contributing_names_what_there_is():
    """Paths with NAME are patterns; names in capitals are lists that the file beside them has."""
    for path in re.findall(r"`((?:toypersona|experiments|figures|tests|docs)/[\w/.]+)`", CONTRIBUTING):
        pattern = path.replace("NAME", "*")
        assert list(ROOT.glob(pattern)), path
    assert {"RULES", "WORLDS", "QUANTITIES", "SMALL", "MAPS", "LAWS", "TRAINING"} <= set(
        re.findall(r"`([A-Z]+)`", CONTRIBUTING)
    )
    for name, path in (
        ("RULES", "toypersona/rules/catalogue.py"),
        ("WORLDS", "toypersona/worlds/names.py"),
        ("QUANTITIES", "toypersona/outputs.py"),
        ("SMALL", "tests/experiments/test_laws.py"),
        ("TRAINING", "Makefile"),
    ):
        assert re.search(rf"^{name}[ :]", (ROOT / path).read_text(), re.MULTILINE), path


def test_the_tree_of_contributing_is_the_tree():
    tree = CONTRIBUTING.rpartition("## The tree")[2]
    for name in re.findall(r"^([a-z]+)/ ", tree, re.MULTILINE):
        assert (ROOT / name).is_dir()
    modules = {path.stem for path in (ROOT / "toypersona").glob("[a-z]*.py")} - {"types"}
    assert all(module in tree for module in modules)


def test_the_first_screen_has_the_map_two_commands_and_the_three_words():
    lines = README.splitlines()
    first = "\n".join(lines[:24])
    assert "\nmake map " in first and "\nmake test " in first and "1.4 GB" in first and "phase_diagram.png)" in first
    for word in ("selection", "switching", "novelty"):
        assert re.search(rf"^- \*\*{word}\*\*: .*\.$", first, re.MULTILINE), word
    assert len(lines) <= 106


def test_the_findings_have_a_row_for_every_experiment_but_the_maps():
    rows = re.findall(r"^\| \[`(\w+)`\]", FINDINGS, re.MULTILINE)
    commands = {path.stem for path in (ROOT / "experiments" / "claims").glob("[a-z]*.py")}
    assert len(rows) == len(set(rows)) and set(rows) == commands - {"phase_diagram", "pretraining"}


SETTINGS = {"0", "1", "0.01", "0.9", "0.4", "1%", "5%", "45°", "30°"}
"""Numbers of what was set, or that a claim has as its bound, in what the findings say was found."""


def unmade(text, made):
    """The numbers of a text beside those parts of it that are made, all of which it has to have."""
    text = " ".join(text.split())
    for name, sentence in made.items():
        assert sentence in text, (name, sentence)
        text = text.replace(sentence, "")
    return set(re.findall(r"(?<![\w.])\d[\d.e-]*[%°]?", text))


def test_the_answers_have_the_numbers_of_the_shipped_claims():
    answers = README[README.index("## The answer") : README.index("## Seven things")]
    answers = re.sub(r"^\d\. |\(figures.*?\)", "", answers, flags=re.MULTILINE)
    assert unmade(answers, readme_numbers.answers()) == set()


def test_the_findings_have_the_numbers_of_the_shipped_claims():
    """Every number in what was found stands in a part that is made from them."""
    left = FINDINGS[FINDINGS.index("Weak RL") :]
    made = readme_numbers.sentences()
    cells = [row.split(" | ")[-1] for row in re.findall(r"\| \[?`.*?\|(?= \||  |$)", " ".join(left.split("\n")))]
    assert len(cells) > 10
    unmade(left, made)
    for sentence in made.values():
        cells = [cell.replace(sentence, "") for cell in cells]
    numbers = {number for cell in cells for number in re.findall(r"(?<![\w.])\d[\d.e-]*[%°]?", cell)}
    assert numbers <= SETTINGS, numbers - SETTINGS
