"""The site: ``make site`` builds docs/ with Sphinx. Nothing is fetched, and warnings are errors."""

import collections
import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain

project = html_title = "toypersona"
author = copyright = "The toypersona authors"
version = release = version_of("toypersona")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
html_theme = "sphinx_book_theme"
html_theme_options = {"use_download_button": False, "navbar_persistent": []}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
myst_heading_anchors = 3
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
# Other projects' names lead nowhere, as nothing is fetched; a type variable is no page.
nitpick_ignore_regex = [("py:.*", r"(?!toypersona).*|.*\.Result")]


def skipped(app: Sphinx, what: str, name: str, value: object, skip: bool, options: Any) -> bool | None:
    """A NamedTuple's fields are told once, in its docstring."""
    return True if isinstance(value, collections._tuplegetter) else None  # pyright: ignore[reportAttributeAccessIssue]


def signature(
    app: Sphinx, what: str, name: str, value: Any, options: Any, arguments: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Arrays by their shapes, ``Float[Array, 'C N']``."""
    return tuple(text and text.replace("jaxlib._jax.Array", "Array") for text in (arguments, returned))  # type: ignore


def described(app: Sphinx, what: str, name: str, value: object, options: Any, lines: list[str]) -> None:
    """A constant's docstring is a sentence, in which a colon separates no type."""
    if what in ("attribute", "data", "property"):
        lines.insert(0, "")


TOP = {"index": "README.md", "contributing": "CONTRIBUTING.md"}
"""Pages that have a file of the folder above for what stands before their second heading."""


def pointed(app: Sphinx, page: str, source: list[str]) -> None:
    """Files at the top become pages; a link to other Markdown outside leads to the file itself."""
    folder = (Path(app.srcdir) / page).parent
    if page in TOP:
        text = re.sub(r"\]\((?!\w+:|#)", "](../", (folder.parent / TOP[page]).read_text(encoding="utf-8"))
        source[0] = f"{text.replace('](../docs/', '](')}\n{''.join(source[0].partition('## ')[1:])}"

    def link(found: re.Match[str]) -> str:
        outside = not (folder / found[1]).resolve().is_relative_to(app.srcdir)
        return f"](path:{found[1]})" if outside else found[0]

    source[0] = re.sub(r"\]\((?!\w+:)([^)#\s]+\.md)\)", link, source[0])


def opened(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """A link to a file, such as the explorer, opens it; a picture opens in full size."""
    body = context.get("body", "").replace(' download=""', "")
    context["body"] = re.sub(r'(?<!">)<img [^>]*src="([^"]+)"[^>]*>', r'<a href="\1">\g<0></a>', body)


def setup(app: Sphinx) -> None:
    """Connect these, and call fields what they are called here."""
    for field in PythonDomain.directives["class"].doc_field_types:  # pyright: ignore[reportAttributeAccessIssue]
        if field.name == "variable":
            field.label = "Fields"
    app.connect("autodoc-skip-member", skipped)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", described, priority=400)
    app.connect("source-read", pointed)
    app.connect("html-page-context", opened)
