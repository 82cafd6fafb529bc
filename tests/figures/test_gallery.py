"""The committed figures: each has a caption and stands in the gallery, whose links lead somewhere."""

import re
from pathlib import Path

import pytest

from figures import gallery

ROOT = Path(__file__).parents[2]
OUT, PAGE = ROOT / "figures" / "out", ROOT / "docs" / "gallery.md"


def test_the_gallery_is_that_of_the_committed_captions():
    assert PAGE.read_text() == gallery.gallery(OUT, PAGE)


def test_every_figure_stands_in_the_gallery_and_every_link_leads_to_a_file():
    links = re.findall(r"\]\((?![a-z]+:)([^)#]+)\)", PAGE.read_text())
    targets = {(PAGE.parent / link).resolve() for link in links}
    assert set(OUT.rglob("*.png")) <= targets
    assert not [target for target in targets if not target.exists()]


def test_a_figure_without_a_caption_is_refused(tmp_path):
    (tmp_path / "world").mkdir()
    for name in ("a.png", "a.md", "b.png"):
        (tmp_path / "world" / name).write_text("# A\n\n![A](a.png)\n")
    with pytest.raises(ValueError, match=r"No caption stands beside world/b\.png"):
        gallery.gallery(tmp_path, tmp_path / "gallery.md")
    (tmp_path / "world" / "b.png").unlink()
    made = gallery.gallery(tmp_path, tmp_path / "docs" / "gallery.md")
    (tmp_path / "world" / "slides").mkdir()
    (tmp_path / "world" / "slides" / "a_b.png").touch()
    assert gallery.gallery(tmp_path, tmp_path / "docs" / "gallery.md") == made
    assert "### A" in made and "![A](../world/a.png)" in made and "\n## world" in made
