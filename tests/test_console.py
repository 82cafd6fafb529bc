"""The console command as somebody types it: table, JSON, figure, exit codes."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import exported
import numpy as np
import pytest

from toypersona import command
from toypersona.measures.sampled import ESTIMATES

NUM = 60


def header():
    return {"toypersona": 1, "temperature": 1.0, "prompt_weights": exported.weights()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return exported.write(tmp_path_factory.mktemp("command") / "run.jsonl.gz", exported.lines(NUM), header())


def ran(capsys, *arguments, code=0):
    """What the command prints."""
    with pytest.raises(SystemExit) as stopped:
        command.main(["measure", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert stopped.value.code == code, err
    return out, err


@pytest.mark.slow
def test_the_table_says_all_in_words_and_a_figure_lies_beside_the_file(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    out, err = ran(capsys, run)
    assert err == "" and max(map(len, out.splitlines()[:-1])) <= 100
    assert out.startswith("360 responses of the policy and 360 responses of the base to 6 prompts, under 3 personas.")
    for part in (
        "Is the base a mix of the personas? Yes.",
        "drift: KL(policy‖base)",
        "After 360 samples: at most one in 10^",
        "Words that light up",
    ):
        assert part in out
    assert (run.parent / "run.measure.png").read_bytes().startswith(b"\x89PNG")
    assert f"Figure {run.parent / 'run.measure.png'}" in out


def test_the_numbers_are_written_as_json_and_are_those_of_the_toy(run, capsys):
    out, _ = ran(capsys, run, "--json", "-", "--no-figure")
    (found,) = json.loads(out)["steps"]
    ran(capsys, run, "--json", run.parent / "deep" / "run.json", "--no-figure")
    assert json.loads((run.parent / "deep" / "run.json").read_text())["steps"] == [found]
    exact = exported.toy()[2]
    assert set(found["estimates"]) == set(ESTIMATES) and found["base_inside"] and found["certified"]
    for name in ("total", "hull_distance", "selection", "selection_fraction"):
        value, error = found["estimates"][name].values()
        assert abs(value - float(getattr(exact, name))) < 5 * error
    assert found["estimates"]["novelty"] == {"value": None, "std_error": None}, "it needs next-word log-probabilities"
    assert found["prompts"] == pytest.approx(exported.weights())
    assert {tuple(mix) for mix in found["weights"].values()} == {tuple(found["personas"])}


def test_a_figure_is_the_same_bytes_again_and_takes_any_words(run, capsys, tmp_path):
    rows = [row | {"tokens": ["$x", "数$", "a\nb"]} for row in exported.lines(NUM)]
    odd = exported.write(tmp_path / "odd.jsonl", rows, header())
    for name in ("one.png", "two.png"):
        ran(capsys, odd, "--figure", tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_several_steps_are_a_path(capsys, tmp_path):
    base, _, _ = exported.toy()
    rows = exported.lines(NUM, step=10)
    rows += exported.lines(NUM, policy=exported.inside(), step=5, base_too=False)
    rows += exported.lines(NUM, policy=np.asarray(base.log_base), step=0, base_too=False)
    run = exported.write(tmp_path / "run.jsonl", rows, header())
    out, _ = ran(capsys, run, "--json", tmp_path / "run.json")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["Over", "step", "0", "5", "10"]
    assert "not known" in lines[2] and "±" not in lines[2].replace("0 ± 0", ""), "of no drift, no share is selection"
    assert "Step 10: 360 responses" in out
    steps = json.loads((tmp_path / "run.json").read_text())["steps"]
    assert [step["step"] for step in steps] == [0, 5, 10]
    assert steps[1]["estimates"]["hull_distance"]["value"] < 1e-6 < steps[2]["estimates"]["hull_distance"]["value"]
    assert (tmp_path / "run.measure.png").exists()


def outside():
    """A base that says some responses far more often than any mix of the personas."""
    law = np.asarray(exported.toy()[0].log_base) + np.sin(np.arange(1728.0))
    return law - np.log(np.exp(law).sum(axis=1, keepdims=True))


@pytest.mark.slow
def test_a_base_outside_is_refused_unless_repaired(capsys, tmp_path):
    run = exported.write(tmp_path / "run.jsonl", exported.lines(NUM, log_base=outside(), policy=outside()), header())
    out, err = ran(capsys, run, code=2)
    assert out == "" and err.count("\n") == 1 and "or --repair those" in err and str(run) in err
    out, _ = ran(capsys, run, "--repair")
    assert "They are repaired" in " ".join(out.split())


def test_what_cannot_be_trusted_is_said_and_ends_with_1(capsys, tmp_path):
    rows = exported.lines(NUM)
    rows[0]["log_probs"]["base"] = [-1.0, float("-inf"), -1.0]
    run = exported.write(tmp_path / "run.jsonl", rows, header())
    out, _ = ran(capsys, run, "--json", tmp_path / "run.json", code=1)
    assert "NOT CERTIFIED" in out and "infinite" in out
    assert json.loads((tmp_path / "run.json").read_text())["steps"][0]["estimates"]["total"]["value"] == "inf"


@pytest.mark.parametrize("repair", [False, True])
def test_what_no_persona_can_say_is_a_proof(capsys, tmp_path, repair):
    rows = exported.lines(NUM)
    for scores in rows[7]["log_probs"]["personas"].values():
        scores[1] = float("-inf")
    run = exported.write(tmp_path / "run.jsonl", rows, header())
    out, _ = ran(capsys, run, "--json", tmp_path / "run.json", *(["--repair"] if repair else []), code=1)
    assert "After 360 samples: yes, for sure: it said what no persona can say." in " ".join(out.split())
    found = json.loads((tmp_path / "run.json").read_text())["steps"][0]
    assert found["log_evidence"] == found["responses"][0]["nats"] == found["words"][0]["nats"] == "inf"
    assert found["responses"][0]["response"] == rows[7]["response"]


def test_scored_twice(run, capsys, tmp_path):
    out, _ = ran(capsys, run, "--repeat", run, "--figure", tmp_path / "x.png")
    assert "noise floor" in out and "not claimed" not in out


@pytest.mark.slow
def test_a_reader_that_stops_early_stops_nothing(run, tmp_path):
    figure = tmp_path / "run.png"
    line = f"{sys.executable} -u -m toypersona.command measure {run} --figure {figure} | true"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and figure.exists()


def test_it_is_the_project_s_one_console_command():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"toypersona": "toypersona.command:main"}
    for given in ([], ["--help"], ["measure", "--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "toypersona.command", *given], capture_output=True, text=True, check=False
        )
        assert done.returncode == (0 if given else 2) and (done.stdout if given else done.stderr)


def test_it_says_its_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--version"])
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert stopped.value.code == 0 and capsys.readouterr().out == f"toypersona {project['version']}\n"
