"""Small runs of the experiments on thoughts, in this process: their claims and figures."""

import importlib
from pathlib import Path

import pytest
import small

from experiments import hints, reasoning
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

BROKEN = {
    reasoning: (
        (lambda d: d.assign(steps_cost=d.steps_cost + 1e-9), "cost: dynamic programming"),
        (lambda d: d.assign(agreement=1 - d.agreement), "no length cost, exact: agreement lost"),
        (lambda d: d.assign(coded=d.coded + 0.1), "no length cost: coded"),
        (lambda d: d.assign(long_accuracy=d.long_accuracy + 0.3), "accuracy: samples"),
        (lambda d: d.assign(hull_distance=d.hull_distance + 9), "its bound by dynamic programming"),
        (lambda d: d.assign(thought_hull_distance=d.thought_hull_distance + 1e-6), "frozen thoughts"),
    ),
    hints: (
        (lambda d: d.assign(follows=0.9 * d.follows), "exact, any fine, strength 30: answers that do not follow"),
        (lambda d: d.assign(recall=d.recall + 0.1), "exact, any fine above 0: monitor's recall"),
        (lambda d: d.assign(control_accuracy=d.control_accuracy - 0.5), "no hint: accuracy lost"),
        (lambda d: d.assign(sampled_recall=d.sampled_recall + 0.5), "recall from samples"),
    ),
}
"""What the claims have to see."""


@pytest.mark.slow
@pytest.mark.parametrize("experiment", list(SMALL), ids=lambda experiment: experiment.NAME)
def test_a_small_run_keeps_its_claims_and_is_drawn(experiment, tmp_path, capsys):
    code, said = small.run(experiment, f"--out {tmp_path} {SMALL[experiment]}", capsys)
    assert code in (0, 1), said.err
    small.assert_claims_hold(experiment, tmp_path, TOO_SMALL[experiment])
    dataset = datasets.load(tmp_path / f"{experiment.NAME}.zarr").load()
    assert not dataset.diverged.any()
    small.assert_drawn(experiment, tmp_path)
    claims = importlib.import_module(f"experiments.claims.{experiment.NAME}").claims
    for broken, complaint in BROKEN[experiment]:
        failed = [claim.what for claim in claims(broken(dataset)) if not claim.holds]
        assert any(complaint in what for what in failed), complaint
