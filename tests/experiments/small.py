"""Runs an experiment in this process, as its command line would, and draws it."""

import json
import runpy
import shlex
import sys

import drawn
import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from experiments.shared import command
from figures import pages
from toypersona import programs

SURPRISE = 6
"""Standard errors from two or three draws by which a mean may be off."""


def run(experiment, arguments, capsys):
    """The exit code, and what was printed."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr("toypersona.programs.measured", _unmeasured)
        command.main(
            experiment.NAME, experiment.__doc__, experiment.PRESETS, experiment.run,
            ["--no-progress", *shlex.split(arguments)],
        )  # fmt: skip
    return stopped.value.code, capsys.readouterr()


def _unmeasured(program, first, num_points, device):
    """Point by point in a single block: timing one would compute it twice more, and ``test_programs`` does.

    Compiled here: in the sweep's own threads the checks of keys are on, whatever a test says.
    """
    programs.compiled(program, 1, (), device)
    return programs.Begun(programs.Plan(num_points, 1))


def assert_claims_hold(experiment, folder, but_not=(), num=9):
    """All claims of a run but those whose text starts with one of ``but_not``; there are ``num`` or more."""
    claims = json.loads((folder / f"{experiment.NAME}.claims.json").read_text())
    failed = [claim["what"] for claim in claims if not claim["holds"] and not _few(claim)]
    failed = [what for what in failed if not what.startswith(tuple(but_not))]
    assert not failed, failed
    assert len(claims) >= num


def _few(claim):
    """Whether too few draws, and nothing else, keep a claim from holding: its mean is no surprise."""
    if claim["freedom"] is None or claim["freedom"] > 2:
        return False
    if not claim["freedom"]:
        return True
    beyond = claim["measured"] - claim["predicted"]
    beyond = max(beyond, 0.0) if claim["relation"] == "≤" else abs(beyond)
    return beyond <= claim["allowance"] + SURPRISE * claim["uncertainty"]


def draw(experiment, data, out):
    """As its command line does, in this process: most of another's time would go into its imports.

    Every page is checked, and the slide of its first panel; not whether texts lie apart, which hangs on the data.
    """
    name = f"figures.{experiment.NAME}"
    # A module that somebody has imported would be run a second time, which is a warning.
    sys.modules.pop(name, None)
    with pytest.MonkeyPatch.context() as patch, mpl.rc_context():
        patch.setattr(sys, "argv", [name, "--data", str(data), "--out", str(out)])
        patch.setattr(pages, "draw_page", _checked)
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def _checked(page, dataset, draw_page=pages.draw_page):
    figure = draw_page(page, dataset)
    drawn.assert_lettered(figure, page.panels)
    slide = pages.draw_slide(next(iter(page.panels.values())), dataset)
    drawn.assert_wide(slide)
    plt.close(slide)
    return figure


def assert_drawn(experiment, folder):
    """Its figure is made of its dataset, without a warning, which is an error in every test."""
    draw(experiment, folder, folder)
    assert (folder / f"{experiment.NAME}.png").stat().st_size > 20_000
