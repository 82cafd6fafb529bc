"""Small runs of the experiments that compare ways to train, in this process: claims, figures, refusals, own rules."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from experiments import amplification, base_model, calling, overoptimisation, rivals, rules, sft, trainers
from toypersona import datasets, numerics
from toypersona.worlds import world as worlds

ROOT = Path(__file__).parents[2]
FEW = "--length 2 --pretraining.num-lines 2000 --pretraining.num-steps 200 --pretraining.num-restarts 1"
SMALL = {
    rules: f"{FEW} --seeds 0 1 2 --rates 0.2 --num-steps 60 --num-records 8 --drifts 0.03 0.1",
    sft: f"{FEW} --seeds 0 1 --lines 2 32 1024 --num-steps 300 --num-records 24 --drifts 0.1 0.3",
    overoptimisation: f"{FEW} --seeds 0 1 2 --sizes 1 2",
    amplification: f"{FEW} --seeds 0 1 --num-steps 300 --num-runs 8",
}


def readme_s_rule(folder):
    """The flag that adds the README's own rule, its very text."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (text,) = (block for block in blocks if "def my_rule" in block)
    assert len(text.splitlines()) < 20
    (folder / "mine.py").write_text(text)
    return f"--own {folder / 'mine.py'}:my_rule"


@pytest.mark.parametrize("experiment", list(SMALL), ids=lambda experiment: experiment.NAME)
def test_a_small_run_keeps_its_claims_and_is_drawn(experiment, tmp_path, capsys):
    own = readme_s_rule(tmp_path) if experiment is rules else ""
    code, said = small.run(experiment, f"--out {tmp_path} {SMALL[experiment]} {own}", capsys)
    assert code in (0, 1), said.err
    if own:
        trained = datasets.load(tmp_path / "rules.zarr").sel(rule="own").isel(record=-1)
        assert (trained.total > 0.01).all() and (trained.reward > 0.05).all()
    small.assert_claims_hold(experiment, tmp_path)
    small.assert_drawn(experiment, tmp_path)


@pytest.mark.parametrize(
    "experiment, given, complaint",
    [
        (rules, "--rates 1 0.2", "--rates has to be 1 or more increasing numbers"),
        (rules, "--angle 91", "--angle has to be degrees from 0 to 90"),
        (rules, "--num-records 1", "--num-records has to be 2 or more"),
        (rules, "--own nowhere.py:rule", "--own names the file nowhere.py"),
        (rules, "--own rule", "--own has to be FILE.py:FUNCTION, not 'rule'"),
        (rules, "--seeds 0", "--seeds or --num-worlds has to be three or more"),
        (amplification, "--seeds 0", "--seeds has to be two or more"),
        (sft, "--helpful larry", "two different personas"),
        (sft, "--called nobody", "--called names a persona of the world, larry, bob, alice, not 'nobody'"),
        (sft, "--lines 8 2", "--lines has to be 2 or more increasing"),
        (overoptimisation, "--nums 1 2", "--strengths, --nums and --times have to be equally many"),
        (overoptimisation, "--sizes 0 1", "--sizes has to be"),
        (amplification, "--wrong nobody", "--wrong names a persona"),
        (amplification, "--num-runs 0", "--num-runs and --natural-rate have to be above 0"),
    ],
)
def test_wrong_settings(experiment, given, complaint, tmp_path, capsys):
    code, said = small.run(experiment, f"--out {tmp_path} {FEW} {given}", capsys)
    assert code == 2 and said.err.startswith("error: ") and complaint in said.err
    assert not list(tmp_path.iterdir())


def test_a_rule_of_one_s_own_that_is_none(tmp_path):
    (tmp_path / "mine.py").write_text("def my_rule(*given):\n    return 1\n")
    with pytest.raises(ValueError, match="returned int, not a toypersona.rules.rule.UpdateRule"):
        trainers.own(f"{tmp_path / 'mine.py'}:my_rule").make(trainers.Problem(*[None] * 9))(0.1)  # pyright: ignore


@pytest.fixture(scope="module")
def base():
    config = sft.Config(length=2, pretraining=base_model.Pretraining(num_lines=2000, num_steps=200, num_restarts=1))
    return base_model.prepare(config).of(jnp.asarray(0))


def test_who_goes_on_in_the_base_is_the_posterior(base):
    """The base is a mix, so the mix nearest to how it goes on after some words weighs personas by Bayes' rule."""
    scene = calling.scene(base, 2, 0, jax.random.key(0))
    found = jax.jit(lambda: calling.presence(scene, scene.log_base))()
    gates, rho = jnp.exp(scene.log_gates), jnp.exp(base.world.log_prompts)
    first = jnp.exp(scene.log_personas).reshape(*scene.log_personas.shape[:2], 12, 12).sum(axis=-1)
    posterior = gates[..., None] * first / jnp.einsum("ck,ckv->cv", gates, first)[:, None]
    opened = rho * gates[:, 0] / (rho @ gates[:, 0])
    by_hand = [opened @ gates[:, 0], opened @ jnp.einsum("cv,cv->c", first[:, 0], posterior[:, 0])]
    # After some words everybody goes on alike, so that any mix is near.
    np.testing.assert_allclose(found, by_hand, atol=2e-3)


def test_a_stranger_has_the_helpful_one_s_entropy_and_is_far_from_everybody(base):
    scene = calling.scene(base, 2, 0, jax.random.key(0))
    np.testing.assert_allclose(jnp.exp(scene.log_stranger).sum(axis=1), 1, rtol=1e-9)
    far = [numerics.kl_divergence(scene.log_stranger, scene.log_personas[:, k]).min() for k in range(3)]
    assert min(far) > 0.5


def test_every_right_persona_is_paid_one_at_every_prompt(base):
    log_gates, log_personas, _ = base.personas()
    reward = rivals.reward_for_all_but(1, log_gates, log_personas)
    paid = jnp.einsum("ckn,cn->ck", jnp.exp(log_personas), reward)
    np.testing.assert_allclose(paid, np.tile([1.0, 0.0, 1.0], (6, 1)), atol=1e-9)
    taken = rivals.taken_for(log_gates, log_personas)
    np.testing.assert_allclose(taken.sum(axis=-1), 1, rtol=1e-9)
    listeners = jnp.exp(worlds.log_responsibilities(log_gates, log_personas))
    np.testing.assert_allclose(taken[0, 0, 2], jnp.exp(log_personas[0, 0]) @ listeners[0, 2])
