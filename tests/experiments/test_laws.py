"""Small runs of the laws' experiments, in this process: their claims and figures."""

import importlib

import jax
import numpy as np
import pytest
import small

from experiments import exploit, horizon, hull_choices, leash, natural_rewards, persona_gain, weak_limit
from toypersona import datasets

FEW = "--seeds 0 1 2 --pretraining.num-lines 1000 --pretraining.num-steps 100 --pretraining.num-restarts 1"
SMALL = {
    hull_choices: f"{FEW} --length 2 --shares 0.003 0.03 --strengths 0.005 0.01 0.05 0.2 0.6 2.0 20.0 --num-draws 5",
    natural_rewards: f"{FEW} --world markov --longest 4 --most-listed 5000",
    weak_limit: "--num-worlds 4 --seeds 0",
    persona_gain: "--seeds 0 1 2 --length 2 --angles 45 60 --rates 0.3 1 --pretraining.num-lines 1000 "
    "--pretraining.num-steps 100 --pretraining.num-restarts 1",
    horizon: "--seeds 0 1 --lengths 4 256 65536 1048576 --sampled-lengths 4 256 --sampled 1.0 3.0 "
    "--pretraining.num-lines 1000 --pretraining.num-steps 100 --pretraining.num-restarts 1",
    exploit: "--seeds 0 --masses 0.0001 0.01 0.1 --fractions 0.2 0.5 0.8 1.0 1.2 4.0 --lengths 1 4 --length 2 "
    "--hysteresis.num-steps 40",
    leash: "--seeds 0 --masses 0.001 0.1 --lock-in.gaps 0.2 0.4 0.8 --lock-in.num-runs 200",
}
TOO_SMALL = {
    horizon: (
        "the same between",
        "per word: exponent against T",
        "half boundary x sqrt(T) / law",
        "exponent of the half",
        "collapse on s sqrt(T)",
    ),
    exploit: ("vanilla gradient, tabular: loop's width",),
    hull_choices: ("largest |S(0+) - R² of one regression",),
}
"""Claims about averages over draws or slow sweeps, of which a small run has too few."""

BROKEN = {
    leash: (
        (lambda d: d.assign(law_time=0.9 * d.law_time, fraction=d.fraction * 1.1), "time to one half"),
        (lambda d: d.assign(noise_wrong=np.minimum(d.noise_wrong * 3, 1.0)), "threshold"),
    ),
}
"""What the claims have to see: an error of a tenth in what was measured."""


@pytest.mark.slow
@pytest.mark.parametrize("experiment", list(SMALL), ids=lambda experiment: experiment.NAME)
def test_a_small_run_keeps_its_claims_and_is_drawn(experiment, tmp_path, capsys):
    # jax takes the keys of a batch of scans for used, those of a single scan not.
    with jax.debug_key_reuse(experiment is not natural_rewards):
        code, said = small.run(experiment, f"--out {tmp_path} {SMALL[experiment]}", capsys)
    assert code in (0, 1), said.err
    small.assert_claims_hold(experiment, tmp_path, TOO_SMALL.get(experiment, ()))
    dataset = datasets.load(tmp_path / f"{experiment.NAME}.zarr")
    assert not dataset.diverged.any()
    small.assert_drawn(experiment, tmp_path)
    claims = importlib.import_module(f"experiments.claims.{experiment.NAME}").claims
    for broken, complaint in BROKEN.get(experiment, ()):
        failed = [claim.what for claim in claims(broken(dataset.load())) if not claim.holds]
        assert any(complaint in what for what in failed), complaint


@pytest.mark.slow
def test_a_horizon_too_long_to_be_listed_is_sampled_alone(tmp_path, capsys):
    settings = f"{FEW} --lengths 64 256 --sampled-lengths 64 256 --sampled 1.0 3.0 --num-samples 4"
    code, said = small.run(horizon, f"--out {tmp_path} {settings}", capsys)
    assert code in (0, 1), said.err
    assert "listed" not in datasets.load(tmp_path / "horizon.zarr")
