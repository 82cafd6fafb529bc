"""Small runs of the experiments on thoughts, in this process: their claims and figures."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import small
import xarray as xr

from experiments import codes, hints, reasoning
from experiments.claims import codes as claims_of_codes
from experiments.claims import reasoning as claims_of_reasoning
from toypersona import datasets

ROOT = Path(__file__).parents[2]
FEW = (
    "--pretraining.num-lines 4000 --pretraining.num-restarts 3 --pretraining.num-steps 300 "
    "--pretraining.batch-size 128 --seeds 0"
)
SMALL = {
    reasoning: f"{FEW} --num-bits 2 --other-bits 1 --strengths 3 100 --length-costs 0 0.4 --training.num-steps 300 "
    "--training.num-stops 4 --long.num-bits 4 --long.num-rows 8 --long.num-measured 400",
    codes: f"{FEW} 1 --num-bits 2 --worths 0.55 0.9 --strengths 8 200 --length-costs 0.1 0.4 --training.num-steps 200",
    hints: f"{FEW} --options.num-bits 1 --strengths 1 30 --fines 0 0.3 1 --training.num-steps 200 --num-measured 1000",
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
    codes: ("annealed", "own and opposite, worth 0.9", "worth 0.9, any rule", "length cost", "best paid: share"),
    hints: (
        "annealed, strength",
        "plain gradient",
        "fine ",
        "greatest fine and strength",
        "two least fines",
        "policies in",
        "seen everywhere",
    ),
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
    codes: (
        (lambda d: d.assign(start_agreement=d.start_agreement - 0.05), "two conventions, own and opposite; worth 0.55"),
        (lambda d: d.assign(start_total=d.start_total + 0.1), "own and opposite, worth 0.55: nats saved"),
        (lambda d: d.assign(rule_total=d.rule_total - 9), "paid to any rule more"),
        (lambda d: d.assign(steps_accuracy=d.steps_accuracy + 1e-9), "accuracy: dynamic programming"),
    ),
    hints: (
        (lambda d: d.assign(recall=d.recall + 0.6), "exact, greatest fine and strength: seeds that are not obfuscated"),
        (lambda d: d.assign(direct=d.direct + 1e-9), "|decided past them|"),
        (lambda d: d.assign(control_accuracy=d.control_accuracy - 0.5), "no hint: accuracy lost"),
        (lambda d: d.assign(sampled_recall=d.sampled_recall + 0.5), "recall from samples"),
    ),
}
"""What the claims have to see."""


def runs(**values):
    """Two runs of one rule and seed each."""
    made = {name: (("rule", "seed"), np.array(pair)[:, None]) for name, pair in values.items()}
    dataset = xr.Dataset(made, coords={"rule": ["a", "b"], "seed": [0]}).expand_dims(length_cost=[0.4], strength=[4.0])
    return dataset.assign_attrs(provenance={"config": {"rules": ["a", "b"]}})


@pytest.mark.parametrize(
    "values",
    [
        {"accuracy": [1.0, 1.0], "cost": [1.0, 0.2], "total": [1.0, 1.0]},
        {"accuracy": [1.0, 1.0], "cost": [0.2, 0.2], "total": [2.0, 1.0]},
        {"accuracy": [0.9, 1.0], "cost": [0.2, 0.2], "total": [1.0, 1.0]},
    ],
)
def test_the_best_paid_run_is_right_short_and_near(values):
    assert claims_of_reasoning.best(runs(**values)).rule.item() == "b"
    np.testing.assert_allclose(
        claims_of_reasoning.objective(runs(accuracy=[1.0, 0.5], cost=[0.5, 2.0], total=[2.0, 0.0])).values.ravel(),
        [1 - 0.4 * 0.5 - 2 / 4, 0.5 - 0.4 * 2],
    )


def test_runs_that_learnt_nothing_are_not_unreadable():
    made = runs(accuracy=[1.0, 0.5], agreement=[0.52, 0.51])
    assert claims_of_reasoning.unreadable(made).values.ravel().tolist() == [True, False]
    assert claims_of_reasoning.share(claims_of_reasoning.unreadable(made)) == "1/2 (0.09–0.91)"
    long = xr.Dataset({"long_steps_accuracy": ("seed", [0.5, 0.9])})
    assert claims_of_reasoning.trained(long).values.tolist() == [False, True]


def test_cheap_codes_come_in_where_both_are_as_likely():
    """At (l_dear - log of the sum of the cheap masses) / (lambda (c_dear - c_cheap)), whatever strengths are known."""
    masses, costs, cost = np.array([-1.4, -4.0, -4.5, -9.0]), np.array([1.0, 0.2, 0.2, 0.2]), 0.1
    strengths, keyed = np.array([4.0, 16.0, 40.0]), np.array([False, True, True, False])
    said = np.exp(masses - cost * strengths[:, None] * costs) * (keyed | (costs > 0.5))
    dataset = xr.Dataset(
        {
            "log_masses": ("convention", masses),
            "costs": ("convention", costs),
            "said": (("strength", "convention"), said),
            "share": ("persona", np.zeros(2)),
        },
        coords={"strength": strengths, "length_cost": cost},
    )
    star = (-1.4 - np.logaddexp(-4.0, -4.5)) / (cost * 0.8)
    np.testing.assert_allclose(claims_of_codes.line(dataset, xr.DataArray(keyed, dims="convention")), star)
    np.testing.assert_allclose(claims_of_codes.came_in(dataset), star)
    assert claims_of_codes.likeliest(dataset).values.tolist() == keyed.tolist()
    assert np.isnan(claims_of_codes.came_in(dataset.isel(strength=[0, 1])))


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
