"""The pages of docs/: their code runs, their links lead somewhere, their numbers are the shipped ones."""

import importlib
import importlib.util
import re
from pathlib import Path
from urllib.parse import unquote

import docs_numbers
import pytest

from experiments import job_array, phase_diagram, rules

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    str(path.relative_to(DOCS)): path.read_text(encoding="utf-8")
    for path in sorted(DOCS.rglob("*.md"))
    if path.parent.name not in ("api", "_build")
}
STANDING_IN = {"scoring.md": "test_scoring.py"}
"""Pages whose code needs what is not installed, and the tests that run it on stand-ins."""

SLOW = {"drift_budget.md", "own_people.md", "own_rule.md", "sweeps.md"}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


WITH_CODE = [page for page in PAGES if blocks(page, "python") and page not in STANDING_IN]


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow if page in SLOW else []) for page in WITH_CODE]
)
def test_its_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)


def test_code_that_is_run_elsewhere_is():
    for page, test in STANDING_IN.items():
        assert blocks(page, "python") and page in (ROOT / "tests" / test).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """Of all headings, as forges and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, text: str) -> list[str]:
    """The links and pictures of a page that lead nowhere."""
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        where, _, anchor = unquote(link).partition("#")
        target = (page.parent / where).resolve() if where else page
        if re.match(r"https?://", link):
            continue
        if not target.is_file() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            lost.append(link)
    return lost


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page):
    assert not broken(DOCS / page, PAGES[page])


def test_a_broken_link_is_seen():
    text = "[a](b.md) [c](index.md#nowhere) [d](index.md#where-to-go) `[e](f.md)`"
    assert broken(DOCS / "index.md", text) == ["b.md", "index.md#nowhere"]


@pytest.mark.parametrize("page", PAGES)
def test_its_links_elsewhere_have_a_sound_form(page):
    for link in re.findall(r"https?://[^\s)>\"'`]+", PAGES[page]):
        of_arxiv = re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{4,5}", link)
        assert of_arxiv or re.fullmatch(r"https?://(?!arxiv)[\w.-]+\.\w+(/[\w./-]*)?", link), link
    for name, link in re.findall(r"\[arXiv:([\d.]+)\]\(https://arxiv\.org/abs/([\d.]+)\)", PAGES[page]):
        assert name == link


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_exist(page):
    shell = "\n".join(blocks(page, "bash"))
    settings = [vars(module.PRESETS["quick"]) for module in (phase_diagram, rules)] + [vars(job_array.JobArray())]
    known = {name for each in settings for name in each} | {"help", "options", "preset"}
    for name in re.findall(r"-m (experiments\.\w+)", shell):
        assert importlib.util.find_spec(name)
    for flag in re.findall(r"--([a-z_-]+)", shell):
        assert flag.replace("-", "_") in known, flag
    for target in re.findall(r"^make (\w+)", shell, re.MULTILINE):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("page", [page for page in PAGES if page != "api.md"])
def test_the_names_it_gives_are_the_library_s(page):
    for name in re.findall(r"`((?:[a-z_]+\.)+[a-z_]+)(?=[`(])", PAGES[page]):
        first, *rest = name.split(".")
        if name.endswith(".py") or not importlib.util.find_spec(f"toypersona.{first}"):
            continue
        found = importlib.import_module(f"toypersona.{first}")
        for part in rest:
            if not hasattr(found, part):
                importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)


def test_every_module_has_its_place_in_the_reference():
    named = re.findall(r"^   ([a-z_]+(?:\.[a-z_]+)?)$", "\n".join(blocks("api.md", r"\{eval-rst\}")), re.MULTILINE)
    paths = [path.relative_to(ROOT / "toypersona") for path in (ROOT / "toypersona").rglob("[a-z]*.py")]
    modules = {".".join(path.with_suffix("").parts) for path in paths}
    assert modules - set(named) == set(), "each belongs into a group of docs/api.md"
    assert sorted(named) == sorted(modules)


def test_every_word_of_the_glossary_is_used():
    elsewhere = " ".join([(ROOT / "README.md").read_text(), *(PAGES[page] for page in PAGES if page != "glossary.md")])
    entries = re.findall(r"^- (.*?): ", PAGES["glossary.md"], re.MULTILINE)
    words = [word for entry in entries for word in re.findall(r"\*\*(.*?)\*\*", entry)]
    assert len(words) > 30 and len(words) == len(set(words))
    unused = [
        word for word in words if not re.search(rf"(?<!\w){word}(?!\w)", elsewhere.replace("\n", " "), re.IGNORECASE)
    ]
    assert not unused


def test_every_reference_is_cited_where_it_says():
    entries = re.split(r"^- ", PAGES["references.md"], flags=re.MULTILINE)[1:]
    assert len(entries) > 20
    for entry in entries:
        author, year = re.match(r"\*\*(\w+)[^*]* (\d{4})\.\*\*", entry).groups()  # pyright: ignore[reportOptionalMemberAccess]
        modules = re.findall(r"`([\w/]+\.py)`", entry)
        assert modules, entry
        for module in modules:
            path = ROOT / module if module.startswith("experiments/") else ROOT / "toypersona" / module
            assert re.search(rf"\b{author}\b", path.read_text(encoding="utf-8")), (author, year, module)


def test_every_paper_that_has_a_number_is_a_reference():
    listed = set(re.findall(r"abs/([\d.]+)\)", PAGES["references.md"]))
    sources = [
        path.read_text(encoding="utf-8") for part in ("toypersona", "figures") for path in (ROOT / part).rglob("*.py")
    ]
    cited = re.findall(r"(?:arXiv:|arxiv\.org/abs/)(\d{4}\.\d{5})", " ".join([*sources, *PAGES.values()]))
    assert len(set(cited)) > 5 and set(cited) <= listed


SETTINGS = {"0", "1", "10", "0.01", "0.05", "30°", "45°", "0.4", "0.9", "0.55"}
"""Numbers of what was set, in what the pages say was found."""


def found_in(page: str) -> str:
    heading = r"^## (?:What was found|Where it fails)\n(.*?)(?=^## |^!\[|\Z)"
    return " ".join(re.findall(heading, PAGES[page], re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("page", [page for page in PAGES if found_in(page)])
def test_its_numbers_are_those_of_the_shipped_claims(page):
    """Every number in what was found stands in a part that is made from them."""
    text = re.sub(r"\s+", " ", re.sub(r"\]\([^)]*\)", "", found_in(page), flags=re.MULTILINE))
    for part in sorted(docs_numbers.sentences(), key=len, reverse=True):
        for form in (part, part[0].upper() + part[1:]):
            text = text.replace(form, "")
    left = set(re.findall(r"(?<![\w.−])\d[\d.e-]*[%°]?", text)) - SETTINGS
    assert not left, f"made from the claims: {docs_numbers.sentences()}"
