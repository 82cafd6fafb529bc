"""Small runs of the experiments on thoughts, in this process: their claims, figures and refusals; ways to train."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import harness, hints, reasoning
from toypersona import datasets

ROOT = Path(__file__).parents[2]
FEW = "--seeds 0 --pretraining.num-lines 4000 --pretraining.num-restarts 4"
SMALL = {
    reasoning: f"{FEW} --num-bits 2 --other-bits 1 --strengths 3 100 --length-costs 0 0.4 --training.num-steps 500 "
    "--training.num-stops 4 --long.num-bits 4 --long.num-rows 8 --long.num-measured 400",
    hints: f"{FEW} --options.num-bits 1 --strengths 1 30 --fines 0 1 --training.num-steps 300 --num-measured 1000",
}
TOO_SMALL = {
    reasoning: (
        "no length cost: keyed",
        "length cost 0.4",
        "greatest length cost",
        "early stop",
        "RLOO, any",
        "plain gradient, any",
    ),
    hints: ("RLOO", "GRPO"),
}
"""Claims about the end of longer training."""


def run(experiment, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        harness.main(
            experiment.NAME, experiment.__doc__, experiment.PRESETS, experiment.run, experiment.claims,
            experiment.findings, ["--no-progress", *arguments.split()],
        )  # fmt: skip
    return stopped.value.code, capsys.readouterr()


@pytest.mark.parametrize("experiment", list(SMALL), ids=lambda experiment: experiment.NAME)
def test_a_small_run_keeps_its_claims_and_is_drawn(experiment, tmp_path, capsys):
    code, said = run(experiment, f"--out {tmp_path} {SMALL[experiment]}", capsys)
    assert code in (0, 1), said.err
    claims = json.loads((tmp_path / f"{experiment.NAME}.claims.json").read_text())
    failed = [claim["what"] for claim in claims if not claim["holds"]]
    assert [what for what in failed if not what.startswith(TOO_SMALL[experiment])] == []
    assert len(claims) > 15
    assert not datasets.load(tmp_path / f"{experiment.NAME}.zarr").diverged.any()
    command = [sys.executable, "-W", "error", "-m", f"figures.{experiment.NAME}", "--data", tmp_path, "--out", tmp_path]
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / f"{experiment.NAME}.png").stat().st_size > 20_000
