"""The gallery: every figure in a folder with its caption, in one page of Markdown."""

import argparse
import os
import re
from pathlib import Path

from figures import pages
from toypersona import files

HEAD = """# Gallery

Every figure with its caption. Each caption is written by the script that draws the figure, from the dataset that is
drawn. One panel alone, 16:9 and with large text, is written into a folder `slides` by the command that drew the figure
with the words that stand at the end of the panel's caption.
"""


def gallery(folder: Path, page: Path) -> str:
    """The page's Markdown.

    Args:
        folder: of figures and captions, searched with the folders in it.
        page: where it will stand; its links start there.

    Raises:
        ValueError: a figure without a caption.
    """
    figures = sorted(path for path in folder.rglob("*.png") if path.parent.name != pages.SLIDES)
    bare = [str(figure.relative_to(folder)) for figure in figures if not figure.with_suffix(".md").exists()]
    if bare:
        raise ValueError(f"No caption stands beside {', '.join(bare)}: draw them again")
    parts, last = [HEAD], None
    for figure in figures:
        place = figure.parent.relative_to(folder).as_posix()
        if place != last:
            parts.append(f"## {'All worlds together' if place == '.' else place.replace('_', ' ')}\n")
            last = place
        parts.append(_section(figure, page))
    return "\n".join(parts)


def _section(figure: Path, page: Path) -> str:
    """A caption as a section of the page: its title one level down, its links as from there."""
    here = Path(os.path.relpath(figure.parent, page.parent)).as_posix()
    text = figure.with_suffix(".md").read_text(encoding="utf-8")
    text = re.sub(r"\]\((?![a-z]+:)([^)#]+)\)", rf"]({here}/\1)", text)
    return re.sub(r"^# ", "### ", text)


def main() -> None:
    """Write the gallery of ``--figures`` to ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", type=Path, required=True, help="folder of figures and captions")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    given = parser.parse_args()
    try:
        files.write_text(given.out, gallery(given.figures, given.out))
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}.\n")
    print(f"Gallery {given.out}")


if __name__ == "__main__":
    main()
