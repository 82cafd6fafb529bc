"""Pages, slides and captions, on a made-up dataset of three draws."""

import json
import shlex
import sys
import types

import drawn
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from experiments import exploit
from experiments.shared import command, repeated
from figures import pages, style
from figures.pages import SHADING, Page, Panel, lettered
from toypersona import datasets, provenance
from toypersona.outputs import Output

pytestmark = pytest.mark.usefixtures("looks")


@pytest.fixture
def dataset():
    x, seeds = np.arange(4.0), np.arange(3)
    values = x + 0.1 * np.random.default_rng(0).normal(size=(3, 4))
    return xr.Dataset({"y": (("seed", "x"), values)}, {"x": x, "seed": seeds})


def draw_lines(axis, dataset):
    style.band(axis, dataset.x, dataset.y, "blue", label="a rule with a rather long name")
    axis.plot(dataset.x, dataset.x, "k--", label="law")
    axis.set(xlabel="x, nats", ylabel="y")
    axis.legend(loc="center", fontsize=5.5)


def draw_mesh(axis, dataset):
    axis.pcolormesh(dataset.x, dataset.seed, dataset.y, shading="nearest")
    axis.plot(dataset.x, dataset.x / 2, "w-", label="boundary")
    axis.legend()


PANELS = (
    Panel(draw_lines, "Lines rise by one a step, as the law says they do", "A line.", SHADING),
    Panel(draw_mesh, "A mesh", "Of colours.", scale="y"),
)
PAGE = Page("Two panels", lettered(*PANELS), "ab", 2.5)


def test_a_page_is_lettered_and_its_legends_are_beside_the_data(dataset):
    drawn.assert_page(pages.draw_page(PAGE, dataset), PAGE.panels)


def test_one_key_is_shared(dataset):
    page = PAGE._replace(one_key=True, panels=lettered(*PANELS[::-1]))
    figure = pages.draw_page(page, dataset)
    drawn.assert_page(figure, page.panels)
    assert [len(figure.legends), sum(axis.get_legend() is not None for axis in figure.axes)] == [1, 0]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "boundary",
        "law",
        "a rule with a rather long name",
    }


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_slide_is_wide_and_large(dataset, panel):
    drawn.assert_slide(pages.draw_slide(panel, dataset))


def test_what_was_checked_would_be_seen(dataset):
    figure, axis = plt.subplots()
    draw_lines(axis, dataset)
    with pytest.raises(AssertionError, match="legend lies on"):
        drawn.assert_legends_beside_data(figure)
    with pytest.raises(AssertionError):
        drawn.assert_page(figure, lettered(PANELS[0]))
    with pytest.raises(AssertionError):
        drawn.assert_slide(figure)


@pytest.mark.parametrize("letter, shading", [("a", ""), ("b", SHADING)])
def test_shading_that_is_not_said_or_not_drawn_is_seen(dataset, letter, shading):
    wrong = {**PAGE.panels, letter: PAGE.panels[letter]._replace(shading=shading)}
    with pytest.raises(AssertionError, match=f"{letter}, "):
        drawn.assert_page(pages.draw_page(PAGE, dataset), wrong)


def test_bars_and_stripes_are_shading_and_what_a_legend_names_is_not(dataset):
    _, axes = plt.subplots(1, 4)
    axes[0].errorbar([0], [1], [0.5])
    axes[1].axhspan(0, 1)
    axes[2].axhspan(0, 1, label="what others report")
    axes[3].barh([0, 1], [1, 2])
    assert [drawn.shaded(axis) for axis in axes] == [True, True, False, False]


def test_the_band_is_students_interval(dataset):
    """Of three draws: 4.3 standard errors, where the normal law has 1.96."""
    _, axis = plt.subplots()
    style.band(axis, dataset.x, dataset.y, "blue")
    corners = np.asarray(axis.collections[0].get_paths()[0].vertices)
    half = 4.302653 * dataset.y.std("seed", ddof=1) / np.sqrt(3)
    at = corners[np.isclose(corners[:, 0], 2.0)][:, 1]
    mean = dataset.y.mean("seed")
    np.testing.assert_allclose([at.min(), at.max()], [(mean - half)[2], (mean + half)[2]], rtol=1e-6)


def test_values_and_nothing_else_make_the_hash(dataset):
    digest = provenance.digest(dataset)
    assert digest == provenance.digest(dataset.transpose("x", "seed").transpose("seed", "x").assign_attrs(commit="?"))
    changed = dataset.y.copy()
    changed[1, 1] += 1e-15
    others = dataset.assign(y=changed), dataset.rename(y="z"), dataset.transpose(), dataset.assign_coords(x=-dataset.x)
    assert len({digest, *map(provenance.digest, others)}) == 5


@pytest.fixture
def stored(dataset, tmp_path):
    """The dataset in the store of a run of exploit with other settings."""
    layout = datasets.Layout(
        coords={"x": dataset.x.values, "seed": dataset.seed.values},
        variables={"y": Output(np.zeros(()), ("seed", "x"))},
        block={"seed": 3, "x": 4},
    )
    settings = command.parse("exploit", "", exploit.PRESETS, ["--seeds", "0", "1", "2", "--hysteresis.num-steps", "9"])
    datasets.create(tmp_path / "made.zarr", layout, provenance.of(command.provenance(settings), [0, 1, 2]), {})
    datasets.write_block(tmp_path / "made.zarr", (slice(0, 3), slice(0, 4)), {"y": dataset.y.values})
    return tmp_path


def test_a_dataset_says_by_which_command_it_is_made_again(stored):
    dataset = datasets.load(stored / "made.zarr")
    python, _, module, *words = shlex.split(repeated.command_of("exploit", dataset))
    assert (python, module) == ("python", "experiments.exploit") and sum(word.startswith("--") for word in words) <= 3
    again = command.provenance(command.parse("exploit", "", exploit.PRESETS, words))
    assert json.loads(json.dumps(again["settings"])) == datasets.settings_of(dataset)
    assert datasets.settings_of(dataset)["hysteresis"]["num_steps"] == 9


def draw(stored, *given):
    """The files written by a figure's command line, or what it refuses with."""
    with pytest.MonkeyPatch.context() as patch:
        said = types.SimpleNamespace(findings=lambda dataset: [f"It rises to {dataset.y.max().item():.0f}."])
        patch.setitem(sys.modules, "experiments.claims.made", said)
        patch.setitem(sys.modules, "experiments.made", exploit)
        patch.setattr(sys, "argv", ["figures.made", "--data", str(stored), "--out", str(stored / "out"), *given])
        style.main("made", lambda _: {"": PAGE, "_more": PAGE}, "Made up.")
    found = [path for path in (stored / "out").rglob("*") if path.is_file()]
    return {path.relative_to(stored / "out").as_posix(): path.read_bytes() for path in found}


@pytest.mark.slow
def test_captions_say_what_is_drawn_and_all_files_are_the_same_again(stored):
    made = draw(stored)
    assert set(made) == {f"made{end}.{kind}" for end in ("", "_more") for kind in ("md", "pdf", "png")}
    text = made["made.md"].decode()
    for said in (
        "# Two panels",
        "![Two panels](made.png)",
        "**a** *Lines rise by one a step, as the law says they do.* A line.",
        "A line. Horizontal axis: x, nats. Vertical axis: y.",
        "(`--slide a`)",
        SHADING,
        "- It rises to 3.",
        "3 independent draws, seeds 0, 1, 2",
        "`python -m experiments.made --preset",
        "`python -m figures.made --data DIR --out DIR`",
        provenance.digest(datasets.load(stored / "made.zarr")),
    ):
        assert said in text, text
    assert "(made.md)" in made["made_more.md"].decode() and "(`--slide more_b`)" in made["made_more.md"].decode()
    assert draw(stored) == made


def test_a_slide_is_asked_for_by_its_letter(stored, capsys):
    assert set(draw(stored, "--slide", "b")) == {"slides/made_b.pdf", "slides/made_b.png"}
    assert "slides/made_more_a.png" in draw(stored, "--slide", "more_a")
    with pytest.raises(SystemExit) as stopped:
        draw(stored, "--slide", "z")
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: --slide z: the panels of made are a, b, more_a, more_b.\n"
