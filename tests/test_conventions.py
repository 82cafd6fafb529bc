"""Licence, citation, changelog and make targets say the same as the project file."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml  # flax needs it, so it is always there

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

FIELDS = {
    *("abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords"),
    *("license", "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact"),
    *("repository-code", "title", "type", "url", "version"),
}
"""All that the schema of CFF 1.2.0 allows."""


def test_the_citation_is_of_this_project_and_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation) and citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"] and citation["title"].startswith(PROJECT["name"])
    assert citation["license"] == PROJECT["license"] and citation["authors"] == PROJECT["authors"]
    assert citation["type"] == "software" and set(citation) <= FIELDS
    released = f"## [{citation['version']}] - {citation['date-released']}"
    assert released in (ROOT / "CHANGELOG.md").read_text().splitlines()


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0" and PROJECT["license-files"] == ["LICENSE"]
    assert "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
    assert re.findall(r"^   (\d)\. ", text, re.MULTILINE) == list("123456789")


def test_the_changelog_has_this_version():
    headings = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" and headings[1] == PROJECT["version"]


def test_make_lists_every_target_with_a_line():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE)
    for given in ([], ["help"]):
        listed = subprocess.run(["make", "-s", *given], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert re.findall(r"^make ([a-z-]+) +\S", listed, re.MULTILINE) == targets
        assert max(map(len, listed.splitlines())) <= 80
        assert len({len(start) for start in re.findall(r"^make [a-z-]+ +", listed, re.MULTILINE)}) == 1, "aligned"
