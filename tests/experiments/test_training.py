"""Small runs of the experiments that compare ways to train, in this process: claims, figures, own rules."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import xarray as xr
from scipy import stats

from experiments import amplification, literature, overoptimisation, rl_curves, rules, sft
from experiments.claims import rules as readings
from toypersona import bases, datasets
from toypersona.rules import catalogue
from toypersona.worlds import larry_bob_alice

ROOT = Path(__file__).parents[2]
FEW = "--length 2 --pretraining.num-lines 2000 --pretraining.num-steps 200 --pretraining.num-restarts 1"
PATH = [" ".join(f"{x:.4g}" for x in np.geomspace(*ends, 13)) for ends in ((0.01, 100), (1.1, 1e6), (0.1, 2000))]
SMALL = {
    rules: f"{FEW} --seeds 0 1 2 --rates 0.2 --num-steps 60 --num-records 8 --drifts 0.03 0.1 "
    "--only 'policy gradient' RLOO SFT DPO 'paid alike, RLOO' 'RLOO, gates only'",
    sft: f"{FEW} --seeds 0 1 --lines 2 32 1024 --num-steps 300 --num-records 24 --drifts 0.1 0.3",
    overoptimisation: f"{FEW} --seeds 0 1 2 --sizes 1 2 --strengths {PATH[0]} --nums {PATH[1]} --times {PATH[2]}",
    amplification: f"{FEW} --seeds 0 1 --num-steps 250 --num-runs 3",
    rl_curves: f"{FEW} --seeds 0 1 2 --num-steps 100 --num-records 5",
    literature: f"{FEW} --seeds 0 1 2 --num-steps 60 --only RLOO SFT --assistants.num-steps 150 --gold.times 0.2 2 9 30"
    " --gold.strengths 0.1 1 3 9 --gold.nums 1.2 4 20 90",
}

TOO_SMALL = {
    amplification: ("natural gradient: |share",),
    sft: ("SFT, 0.3 nats: share of his weight left", "RL, 0.3 nats: share of his weight left"),
    literature: (
        *("minus", "gate table: reward's variance", "normal errors", "words errors", "both gates", "tilt:"),
        *("every rule:", "policy gradient: harm where", "RLOO: harm where"),
    ),
}
"""Claims about longer responses (after two words of his, not one, he is there), or that three draws cannot tell."""


LAZY = """
from toypersona.rules.rule import RuleState, UpdateRule


def lazy(task, ref_params, learning_rate):
    return UpdateRule(lambda params: RuleState(params), lambda key, state: (state, {}))
"""


def own_rules(folder):
    """The flags that add the rule of the examples, and one that goes nowhere."""
    (folder / "lazy.py").write_text(LAZY)
    return f"--own {ROOT / 'examples' / 'own.py'}:signs --own {folder / 'lazy.py'}:lazy"


def assert_own_rules_are_told_of(folder, said):
    trained = datasets.load(folder / "rules.zarr").sel(rule="signs").isel(record=-1)
    assert (trained.total > 0.01).all() and (trained.reward > 0.05).all()
    out = " ".join(said.split())
    assert re.search(r"Your rule, signs \d\.\d\d ± [\d.]+ of 0.1 nats: place \d of \d", out)
    assert "Your rule lazy is not in the figure: too few of its draws reach 0.1 nats." in out


@pytest.mark.slow
@pytest.mark.parametrize("experiment", list(SMALL), ids=lambda experiment: experiment.NAME)
def test_a_small_run_keeps_its_claims_and_is_drawn(experiment, tmp_path, capsys):
    own = own_rules(tmp_path) if experiment is rules else ""
    code, said = small.run(experiment, f"--out {tmp_path} {SMALL[experiment]} {own}", capsys)
    assert code in (0, 1), said.err
    small.assert_claims_hold(experiment, tmp_path, TOO_SMALL.get(experiment, ()))
    small.assert_drawn(experiment, tmp_path)
    if own:
        assert_own_rules_are_told_of(tmp_path, said.out)
        assert "| lazy |" in (tmp_path / "rules_table.md").read_text()


@pytest.mark.slow
def test_a_transformer_is_fine_tuned_and_called_by_name(tmp_path, capsys):
    network = "--policy transformer --network.num-steps 30 --network.width 8 --network.num-heads 2 --network.depth 1"
    few = "--length 2 --seeds 0 1 --lines 2 32 --num-steps 60 --num-records 24 --drifts 0.03 0.1"
    code, said = small.run(sft, f"--out {tmp_path} {network} --network.kept 0 {few}", capsys)
    assert code in (0, 1), said.err
    dataset = datasets.load(tmp_path / "sft.zarr")
    # Two networks so small cannot tell which of the two is more.
    assert (dataset.name_absence > 0).all() and (dataset.name_absence != dataset.nobody_absence).all()
    assert (dataset.back_absence.isel(back=-1) < dataset.absence).all()
    assert "nats lost under his name" in said.out
    small.assert_drawn(sft, tmp_path)
    assert (tmp_path / "sft_by_name.png").stat().st_size > 10_000


def test_a_rule_of_one_s_own_that_is_none():
    base = bases.true(*larry_bob_alice.larry_bob_alice(), length=2)
    zeros = jnp.zeros_like(base.log_base)
    setup = catalogue.Setup(base, zeros, zeros, zeros, jax.random.key(0))
    with pytest.raises(ValueError, match="--own mine.py:my_rule returned int, not a toypersona.rules.rule.UpdateRule"):
        catalogue.own(lambda *_: 1, "--own mine.py:my_rule").make(setup)(0.1)  # pyright: ignore[reportArgumentType]


def test_rules_are_compared_in_pairs_and_corrected_for_their_number():
    """Holm's procedure step by step; pairs differ by less than each varies."""
    rng = np.random.default_rng(0)
    common, apart = rng.normal(0, 0.2, 8), {"a": 0.0, "b": 0.1, "c": 0.03, "policy gradient": 0.0}
    share = {rule: 0.5 + common + by + 0.03 * rng.normal(size=8) for rule, by in apart.items()}
    fraction = xr.DataArray(np.stack([*share.values()]), dims=("rule", "seed"), coords={"rule": [*share]})
    found = readings.against(fraction, "policy gradient")
    plain = {r: np.asarray(stats.ttest_rel(share[r], share["policy gradient"]))[1] for r in ("a", "b", "c")}
    least, corrected = 0.0, {}
    for left, rule in zip((3, 2, 1), sorted(plain, key=plain.__getitem__), strict=True):
        least = max(least, min(1.0, left * plain[rule]))
        corrected[rule] = least
    for rule, p in corrected.items():
        assert found.p.sel(rule=rule).item() == pytest.approx(p)
        assert found.difference.sel(rule=rule).item() == pytest.approx((share[rule] - share["policy gradient"]).mean())
    assert found.p.sel(rule="b") < 0.01 and np.asarray(stats.ttest_ind(share["b"], share["policy gradient"]))[1] > 0.1
    signs = readings.signs(found)
    assert {rule: bool(signs.sel(rule=rule)) for rule in "abc"} == {rule: corrected[rule] < 0.05 for rule in "abc"}
    assert signs.sel(rule="b") == 1
    few = readings.against(fraction.where(fraction.rule != "b").where(fraction.seed < 6), "policy gradient")
    assert few.p.isnull().all()


def test_a_rule_survives_if_it_differs_the_same_way_in_every_world_with_every_gate(monkeypatch):
    rng, rules = np.random.default_rng(1), ["policy gradient", "up", "down", "either", "noise", "not reached"]
    apart = np.array([[0, 0.1, -0.1, 0.1, 0, np.nan], [0, 0.2, -0.3, -0.1, 0, 0.2]])[..., None]

    def world(gates) -> Any:
        values = np.stack([apart[gate] + rng.normal(0, 0.01, (6, 12)) for gate in gates])
        coords = {"gate": [str(gate) for gate in gates], "rule": rules}
        return xr.DataArray(values, dims=("gate", "rule", "seed"), coords=coords).expand_dims(level=[0.9])

    monkeypatch.setattr(readings, "selected", lambda dataset: {"drift": dataset})
    assert readings.survivors({"a": world([0, 1]), "b": world([1])}, "drift", "policy gradient") == {
        "up": 1,
        "down": -1,
    }
    assert "either" in readings.survivors({"a": world([0]), "b": world([0])}, "drift", "policy gradient")
