"""Claims that hold, fail, or cannot tell; tables that fit the terminal; one list of all commands."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from experiments import __main__
from experiments.__main__ import commands
from experiments.claims import horizon, leash, phase_diagram
from experiments.shared import claim, terminal

ROOT = Path(__file__).parents[2]
NAN, INF = float("nan"), float("inf")

CLAIMS = [
    *claim.grouped(
        "Weak edge: S(0+) = cos² of the angle", [claim.near("theorem", "at 0°", 1, 1.00001, 1.3e-5, possible=(0, 1))]
    ),
    claim.near("theorem", "half boundary " * 8, 4.7073, 4.7, 0.558),
    claim.at_most("theorem", "largest hull distance, nats", 1e-12, 2.34e-14),
    claim.near("theorem", "at 90°", np.cos(np.pi / 2) ** 2, -4.7e-6, 1.3e-5),
    claim.near("theorem", "vertex boundary", INF, INF, 0),
    claim.near("theorem", "broken", 1, 2, 0.5),
    claim.near("theorem", "noise threshold", 1, 1, INF),
]


def test_claims_that_do_not_hold_fail():
    assert (
        claim.near("theorem", "", 1, 1.1, 0.2).verdict == "yes"
        and claim.near("theorem", "", 1, 1.3, 0.2).verdict == "NO"
    )
    assert (
        claim.at_most("theorem", "", 1, 1).verdict == "yes"
        and claim.at_most("theorem", "", 1, xr.DataArray([0, 1.1])).verdict == "NO"
    )


@pytest.mark.parametrize(
    "made",
    [
        claim.near("theorem", "", 1, 1, INF),
        claim.near("theorem", "", 1, 1, NAN),
        claim.near("theorem", "", 1, NAN, 0.1),
        claim.near("theorem", "", NAN, 1, 0.1),
        claim.near("theorem", "", INF, INF, 0),
        claim.near("theorem", "", INF, 3, 0.1),
        claim.near("theorem", "", 0.5, 0.5, 0.21, possible=(0, 1)),
        claim.near("theorem", "", 0, 0, 0.51, possible=(-1, 1)),
        claim.at_most("theorem", "", 1, NAN),
        claim.at_most("theorem", "", INF, 1),
        claim.at_most("theorem", "", 1, xr.DataArray([0.5, NAN, NAN])),
        claim.at_most("theorem", "", 0.51, 0.1, possible=(0, 1)),
        claim.drawn("finding", "", 1, xr.DataArray([1.0], dims="seed")),
        claim.drawn("finding", "", 1, xr.DataArray([1.0, 1.1, NAN, NAN, NAN], dims="seed")),
        claim.drawn("finding", "", 0.5, xr.DataArray([0.4, 0.6], dims="seed"), possible=(0, 1)),
        claim.drawn_at_most("finding", "", 1, xr.DataArray([NAN, 0.0, NAN], dims="seed")),
        claim.within_errors("", xr.DataArray([0.0, 0.1]), xr.DataArray([0.01, 0.06]), possible=(0, 1)),
    ],
)
def test_a_claim_that_could_not_fail_cannot_tell_and_does_not_hold(made):
    assert not made.holds and not made.can_tell and made.verdict == "cannot tell"


@given(st.floats(-2, 2), st.floats(0, 3), st.floats(-3, 0), st.floats(0.1, 3))
def test_what_a_claim_that_can_tell_allows_is_a_fifth_of_what_is_possible_at_most(predicted, error, low, size):
    made = claim.near("prediction", "", predicted, predicted, error, possible=(low, low + size))
    assert made.can_tell == made.holds == (5 * error <= (low + size) - low)


@given(st.floats(-2, 2), st.floats(0.01, 3), st.floats(-9, 9))
def test_what_it_fails_at_is_the_nearest_value_that_does(predicted, error, measured):
    made = claim.near("prediction", "", predicted, measured, error)
    beyond = made.fails_at + np.copysign(1e-9, measured - predicted)
    assert not claim.near("prediction", "", predicted, beyond, error).holds
    assert claim.near("prediction", "", predicted, made.fails_at - np.copysign(1e-9, measured - predicted), error).holds
    assert claim.at_most("finding", "", predicted, measured).fails_at == predicted
    assert made.jsonable()["fails_at"] == made.fails_at


@pytest.mark.slow
def test_of_true_predictions_as_many_fail_as_their_level_says():
    """Also where each draw has a prediction of its own, and draws are averaged over what is no draw."""
    rng = np.random.default_rng(0)
    law = xr.DataArray(rng.normal(size=5), dims="seed")

    def made(off):
        noise = xr.DataArray(rng.normal(off, 0.3, (5, 2)), dims=("seed", "prompt"))
        return claim.drawn("prediction", "", law, law + noise)

    failed = np.mean([not made(0.0).holds for _ in range(1000)])
    assert abs(failed - (1 - claim.LEVEL)) < 4 * np.sqrt(0.01 / 1000)
    assert np.mean([made(0.8).holds for _ in range(100)]) < 0.7


def test_a_mean_over_draws_has_its_standard_error_beside_the_allowance():
    values = xr.DataArray([1.0, 2.0, 3.0, NAN], dims="seed")
    made = claim.drawn("prediction", "", 1.5, values, 0.25)
    error = 1 / np.sqrt(3)
    assert (made.measured, made.uncertainty, made.freedom, made.allowance) == (2.0, pytest.approx(error), 2, 0.25)
    assert made.within == pytest.approx(9.924843 * error + 0.25)
    below = [claim.drawn_at_most("finding", "", bound, values).holds for bound in (2 + 6.97 * error, 2 + 6.96 * error)]
    assert below == [True, False]


def test_draws_that_are_not_known_leave_out_their_predictions_too():
    law, seen = xr.DataArray([1.0, 2.0, 9.0], dims="seed"), xr.DataArray([1.5, 2.5, NAN], dims="seed")
    made = claim.drawn("prediction", "", law, seen, 0.6)
    assert (made.predicted, made.measured, made.holds) == (1.5, 2.0, True)


def test_estimates_agree_within_their_errors_or_not():
    error, possible = xr.DataArray([0.01, 0.02]), (0, 1)
    assert claim.within_errors("", xr.DataArray([-0.04, 0.09]), error, possible=possible).verdict == "yes"
    assert claim.within_errors("", xr.DataArray([-0.06, 0.09]), error, possible=possible).verdict == "NO"


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_a_table_fits_its_columns_and_leaves_nothing_out(columns):
    lines = terminal.table(CLAIMS, columns).splitlines()
    assert max(map(len, lines)) <= columns
    words = re.findall(r"\S+", " ".join(lines))
    for each in CLAIMS:
        assert all(words.count(word) >= each.what.split().count(word) for word in each.what.split())
    ends = [re.search(r"(yes|NO|cannot tell|holds)$", line) for line in lines]
    assert len({end.start() for end in ends if end}) == 1 and sum(end is not None for end in ends) == len(CLAIMS) + 1
    assert lines[1].startswith("Weak edge: ") and lines[2].startswith("  at 0°")
    shown = "\n".join(lines)
    assert "= below 1e-12" in shown and "= not reached" in shown and "not known" in shown
    assert terminal.number(643.2, 2) == "640" and terminal.number(1.234e-5, 2) == "1.2e-05"
    assert not re.search(r"\binf\b|\bnan\b|e-(1[3-9]|[2-9]\d)", shown)


def test_what_does_not_hold_is_said_last():
    assert terminal.verdict(CLAIMS[:4], 80) == "4 of 4 checks hold"
    world = [
        claim.near("prediction", "", 1, 1, 0.1),
        claim.at_most("finding", "", 1, 2),
        claim.at_most("finding", "", 1, 1),
    ]
    assert terminal.verdict([*CLAIMS[:4], *world]).startswith("1 of 1 prediction, 1 of 2 findings, 4 of 4 checks hold")
    assert terminal.verdict(CLAIMS, 80).splitlines() == [
        "4 of 7 checks hold",
        "  cannot tell: vertex boundary: predicted not reached ± 0, measured not reached",
        "  does not hold: broken: predicted 1 ± 0.5, measured 2",
        "  cannot tell: noise threshold: predicted 1 ± not known, measured 1",
    ]


def test_the_width_is_the_terminal_s_or_80(monkeypatch):
    monkeypatch.setenv("COLUMNS", "97")
    assert terminal.width() == 97
    monkeypatch.setenv("COLUMNS", "20")
    assert terminal.width() == terminal.NARROW
    monkeypatch.delenv("COLUMNS")

    def no_terminal(*_):
        raise OSError

    monkeypatch.setattr(os, "get_terminal_size", no_terminal)
    assert terminal.width() == 80


def test_a_boundary_is_said_in_words_where_it_is_off_the_map():
    def said(low, middle, high, **how):
        bound = xr.DataArray(["low", "middle", "high"], dims="bound", name="bound")
        draws = xr.DataArray(np.array([[low], [middle], [high]]), dims=("bound", "seed"), coords={"bound": bound})
        return phase_diagram._place(draws, **how)

    rate = "learning rate"
    assert said(0, 640, INF, axis=rate) == "from a learning rate that is not known"
    assert said(2.1, 2.5, 3, where="up to") == "up to strength 2.5 (2.1 to 3)"
    assert said(0, 0, 0.3, at_once="at no strength") == "at no strength of the map, in most draws"
    assert said(9, INF, INF) == "at no strength of the map, in most draws"
    assert said(71, 640, INF, axis=rate) == "from learning rate 640 (71 to beyond the map)"
    assert said(0, 8, 9) == "from strength 8 (the first to 9)"


def test_an_exponent_of_thresholds_that_are_not_reached_is_not_known():
    gaps, rates = np.array([0.1, 0.2, 0.4, 0.8]), np.geomspace(0.25, 4, 9)
    steep = np.broadcast_to(1 / (1 + 9 * rates**-3.0), (2, 4, 9))
    wrong = xr.DataArray(steep, dims=("seed", "gap", "rate"), coords={"gap": gaps, "rate": rates})
    threshold = xr.DataArray(np.tile(gaps / 50, (2, 1)), dims=("seed", "gap"))
    dataset = xr.Dataset({"noise_wrong": wrong, "threshold": threshold})
    assert abs(leash.exponents(dataset) - 1).max() < 1e-9
    slopes = leash.exponents(dataset.assign(noise_wrong=wrong.where(wrong.gap < 0.5, 0.0)))
    assert slopes.isnull().all() and claim.drawn("prediction", "", 1, slopes).verdict == "cannot tell"


def test_the_best_paid_persona_is_told_from_the_next_not_from_the_others():
    means = xr.DataArray([[-7.0, 0.5, 1.0], [1.0, 0.0, 0.5]], dims=("seed", "persona"))
    within = xr.DataArray([1.0, 2.0], dims="seed")
    length = xr.DataArray([63, 64, 127, 128], dims="length")
    apart = horizon.runner_up_apart(xr.Dataset({"means": means, "within": within}, {"length": length}))
    assert apart.transpose("seed", "length").values.tolist() == [[False, True, True, True], [False, False, False, True]]


def test_all_commands_are_listed_quickly_each_with_a_sentence():
    code = "import sys\nfrom experiments import __main__\n__main__.main()\nsys.exit('numpy' in sys.modules)"
    environment = os.environ | {"COLUMNS": "80"}
    listed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert listed.returncode == 0 and max(map(len, listed.stdout.splitlines())) <= 80
    names = {path.stem for path in (ROOT / "experiments").glob("[a-z]*.py")}
    assert names == set(re.findall(r"^  (\w+)", listed.stdout, re.MULTILINE)) == set(commands())
    assert all(re.search(r"[.?]( \([a-z, ]+\))?$", sentence) for sentence in commands().values())
    timed = {name for name, sentence in commands().items() if re.search(r"\(.*(minute|seconds)", sentence)}
    assert timed == names - {"job_array", "results"}
    assert commands()["pretraining"].endswith("(a minute, one and a half of lines that people bring)")
    assert re.findall(r"^  (\w+)", listed.stdout.partition("\nTools")[2], re.MULTILINE) == ["job_array", "results"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["horizon"], "run like this: python -m experiments.horizon --help"),
        (["horizn"], "this: python -m experiments.horizon --help"),
        (["zzz"], "this: python -m experiments.NAME --help"),
        (["--all"], "unrecognized arguments: --all"),
    ],
)
def test_the_list_takes_no_arguments_and_says_how_one_is_run(given, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        __main__.main(given)
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and says in err and err.count("\n") == 1


def in_terminal(*arguments, **environment):
    """What a command prints in a terminal."""
    ours, theirs = pty.openpty()
    given = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80"} | environment
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=given, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    # A terminal whose last writer has gone answers with an error.
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        pass
    process.wait()
    os.close(ours)
    return shown


def test_no_colours_where_none_are_wanted():
    plain, coloured = (in_terminal("-m", "experiments.phase_diagram", "--help", NO_COLOR=no) for no in ("1", ""))
    assert b"\x1b[" not in plain and b"\x1b[" in coloured
    assert all(
        b"--strengths" in shown and max(map(len, shown.decode().splitlines())) > 60 for shown in (plain, coloured)
    )
