"""Small runs of the experiments on thoughts, in this process: their claims, figures and refusals; ways to train."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from experiments import harness, hints, reasoning, thinkers, thinking_ways, trainers
from toypersona import chains, datasets, numerics, rewards
from toypersona.policies.policy import all_log_probs
from toypersona.rules import gradient
from toypersona.worlds import base as worlds_base
from toypersona.worlds import reasoning as worlds

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
        (lambda d: d.assign(readability=d.readability + 1e-6), "frozen thoughts"),
    ),
    hints: (
        (lambda d: d.assign(follows=0.9 * d.follows), "exact, any fine, strength 30: answers that do not follow"),
        (lambda d: d.assign(recall=d.recall + 0.1), "exact, any fine above 0: monitor's recall"),
        (lambda d: d.assign(control_accuracy=d.control_accuracy - 0.5), "no hint: accuracy lost"),
        (lambda d: d.assign(sampled_recall=d.sampled_recall + 0.5), "recall from samples"),
    ),
}
"""What the claims have to see."""


@pytest.mark.parametrize("experiment", list(SMALL), ids=lambda experiment: experiment.NAME)
def test_a_small_run_keeps_its_claims_and_is_drawn(experiment, tmp_path, capsys):
    code, said = small.run(experiment, f"--out {tmp_path} {SMALL[experiment]}", capsys)
    assert code in (0, 1), said.err
    small.assert_claims_hold(experiment, tmp_path, TOO_SMALL[experiment])
    dataset = datasets.load(tmp_path / f"{experiment.NAME}.zarr").load()
    assert not dataset.diverged.any()
    small.assert_drawn(experiment, tmp_path)
    settings = harness.parse(experiment.NAME, "", experiment.PRESETS, SMALL[experiment].split())
    for broken, complaint in BROKEN[experiment]:
        failed = [claim.what for claim in experiment.claims(settings, broken(dataset)) if not claim.holds]
        assert any(complaint in what for what in failed), complaint


@pytest.fixture(scope="module")
def base():
    """The world's own personas as a policy of two bits, in no need of a fit."""
    options = worlds.ReasoningOptions(num_bits=2)
    world, _ = worlds.reasoning(options)
    logits = jnp.where(jnp.isneginf(world.log_experts.table), 0.0, world.log_experts.table)
    return thinkers.thinker(options, {"gate": {"personas": jnp.zeros(3)}, "experts": logits})


@pytest.fixture(scope="module")
def measured(base):
    return jax.jit(lambda params: thinkers.measured(base, params))


def problem(base, length_cost=0.3, **how):
    training = thinking_ways.Training(num_steps=60, num_stops=5, **how)
    reward = worlds.parity_reward(base.labels, length_cost)
    return thinking_ways.Problem(base, reward, training, base.world.log_prompts, jax.random.key(0))


STRENGTHS = jnp.array([2.0, 50.0])


def last(path, i):
    return jax.tree.map(lambda x: x[i, -1], path)


def test_the_policy_is_its_world(base):
    made = all_log_probs(base.made.policy, base.params, base.world.prompts)
    np.testing.assert_allclose(jnp.exp(made), jnp.exp(worlds_base.log_base(base.world, 3)), atol=1e-15)


def test_measures_agree_with_dynamic_programming_for_moved_policies(base, measured):
    for seed in range(3):
        moved = jax.tree.map(lambda x, s=seed: x + jax.random.normal(jax.random.key(s), x.shape), base.params)
        made = measured(moved)
        np.testing.assert_allclose(made["steps_accuracy"], made["accuracy"], atol=1e-12)
        np.testing.assert_allclose(made["steps_cost"], made["cost"], atol=1e-12)
        assert made["hull_distance"] <= made["distortion"] + 1e-12 and made["certified"]


@pytest.mark.parametrize("way", list(thinking_ways.RULES | thinking_ways.DEFENCES))
def test_every_way_gives_parameters_at_every_strength_and_climbs(base, measured, way):
    """What it climbs is the reward less the divergence over the strength; early stops and bonuses climb less."""
    made = jax.jit(lambda: (thinking_ways.RULES | thinking_ways.DEFENCES)[way](problem(base), STRENGTHS))()
    assert jax.tree.map(lambda x: x.shape[:2], made) == jax.tree.map(lambda x: (2, 1), base.params)

    def objective(params, strength):
        joint, first = (jax.nn.logsumexp(base.joint(p), axis=1) for p in (params, base.params))
        costs = worlds.word_costs(base.labels)[base.thoughts()].mean(axis=1)
        right = jax.nn.one_hot(base.right, 2)[:, None] - 0.3 * costs[None, :, None]
        return ((jnp.exp(joint) * (right - (joint - first) / strength)).sum(axis=(1, 2))).mean()

    for i, strength in enumerate(STRENGTHS):
        gained = objective(last(made, i), strength) - objective(base.params, strength)
        if way == "early stop":
            assert gained > -1e-9 and measured(last(made, i))["selection_fraction"] >= 0.5
        else:
            assert gained > 0.002


def test_what_is_frozen_stays(base):
    ways, start = thinking_ways.DEFENCES, base.params
    answers = last(ways["frozen thoughts"](problem(base), STRENGTHS), 1)
    mark = base.labels.units.index("=")
    moved = jnp.abs(answers["experts"] - start["experts"]).max(axis=(0, 2, 3))
    assert moved[mark] > 0.1 and (jnp.delete(moved, mark) == 0).all()
    np.testing.assert_array_equal(answers["gate"]["personas"], start["gate"]["personas"])
    gates = last(ways["gates only"](problem(base), STRENGTHS), 1)
    np.testing.assert_array_equal(gates["experts"], start["experts"])
    assert jnp.abs(gates["gate"]["personas"]).max() > 0.1


def test_phases_by_where_the_answer_is(base, measured):
    """A private code in one voice is coded, two opposite ones in two voices are keyed."""
    at, even, odd = base.labels.units.index, "meh", "ugh"

    def speaks(flip):
        table = np.full((9, 9, 6), -60.0)
        for bit in (0, 1):
            for before in range(9):
                parity = before == at(odd) if before in (at(even), at(odd)) else False
                table[at("0") + bit, before, at(odd if (parity ^ bit) else even)] = 0.0
        for before, parity in ((at(even), 0), (at(odd), 1)):
            table[at("="), before, parity] = 0.0
        if flip:
            swap = np.arange(9)
            swap[[at(even), at(odd)]] = at(odd), at(even)
            first = table[:, at("=")][:, swap[:6]].copy()
            table = table[:, swap][:, :, swap[:6]]
            table[:, at("=")] = first
            table[at("=")][:, [0, 1]] = np.where(
                np.isin(np.arange(9), swap[4:6])[:, None], table[at("=")][:, [0, 1]], 0
            )
        return table

    plain = speaks(False)
    one = {"gate": {"personas": jnp.array([0.0, -60.0, -60.0])}, "experts": jnp.stack([plain] * 3)}
    made = measured(one)
    assert thinkers.PHASES[int(made["phase"])] == "coded" and made["accuracy"] > 1 - 1e-9
    assert made["coded"] > 0.6 > 0.1 > made["keyed"] and made["agreement"] < 0.6
    two = {"gate": {"personas": jnp.array([0.0, 0.0, -60.0])}, "experts": jnp.stack([plain, speaks(True), plain])}
    made = measured(two)
    assert thinkers.PHASES[int(made["phase"])] == "keyed" and made["accuracy"] > 1 - 1e-9
    np.testing.assert_allclose(made["keyed"], np.log(2), atol=1e-6)


@pytest.mark.parametrize(
    "experiment, given, complaint",
    [
        (reasoning, "--strengths 3 1", "--strengths has to be 2 or more increasing"),
        (reasoning, "--length-costs 0.1 0.4", "--length-costs has to start with 0"),
        (reasoning, "--num-bits 5", "have to be from 1 to 4"),
        (reasoning, "--training.num-samples 0", "--training.num-samples has to be above 0"),
        (reasoning, "--pretraining.gate network", "--pretraining.gate has to be prior, not network"),
        (reasoning, "--long.num-measured 5000", "--long.num-measured has to be from 2 to 4096"),
        (reasoning, "--long.num-bits 1", "--long.num-bits has to be from 2 to 64, not 1"),
        (reasoning, "--long.num-thoughts 5", "an even number from 4, not 5"),
        (reasoning, "--other-bits 2 2", "have to be different"),
        (reasoning, "--training.num-samples 1", "--training.num-samples has to be 2 or more, not 1"),
        (reasoning, "--pretraining.line-length 80", "--pretraining.line-length has to be from 2 to 65, not 80"),
        (hints, "--fines 0.1 1", "--fines has to start with 0"),
        (hints, "--options.num-bits 4", "up to 3 bits"),
        (hints, "--options.no-hints", "--options has to keep hints"),
        (hints, "--options.hint-wrong 1.5", "between 0 and 1, not 0.8 and 1.5"),
        (hints, "--num-measured 10", "--num-measured has to be 100 or more"),
    ],
)
def test_wrong_settings_are_one_sentence_and_write_nothing(experiment, given, complaint, tmp_path, capsys):
    out = tmp_path / "out"
    code, said = small.run(experiment, f"--out {out} {given}", capsys)
    assert code == 2 and complaint in said.err and len(said.err.strip().splitlines()) == 1
    assert not out.exists()


EACH_KIND = (
    "policy gradient", "REINFORCE", "RLOO, KL in reward", "RLOO, k2 in loss", "RLOO, clipped Adam", "RLOO, gates only",
    "GRPO, k3 in loss", "PPO, token", "PPO, sequence", "expert iteration", "rejection", "best of 8", "best of 8, exact",
    "DPO", "SFT",
)  # fmt: skip


def test_every_rule_trains_it_and_nobody_says_the_impossible(base):
    """Every kind of rule as it is, a step each; the answer is a word that may be one."""
    prompts, log_prompts = base.world.prompts, base.world.log_prompts
    responses = chains.outcomes(6, 3)
    paid = rewards.evaluate(worlds.parity_reward(base.labels, 0.3), prompts, responses)
    log_gates, log_personas = base.experts(base.params)
    log_base = numerics.log_mix(log_gates, log_personas)
    given = (base.made.policy, base.params, prompts, log_prompts, responses, log_base, log_personas[:, 0], paid)
    problem = trainers.Problem(*given, (paid > 0.5).astype(float), jax.random.key(1))
    natural = trainers.Trainer(lambda p: lambda rate: gradient.natural_gradient(*p.exact(), learning_rate=rate), 0.1)
    ways = {name: trainers.TRAINERS[name] for name in EACH_KIND} | {"natural gradient": natural}

    @jax.jit
    def trained():
        made = {}
        for name, way in ways.items():
            rule = way.make(problem._replace(key=jax.random.key(2)))(way.rate)
            state, _ = rule.update(jax.random.key(3), rule.init(base.params))
            made[name] = all_log_probs(base.made.policy, state.params, prompts)
        return made

    impossible = np.asarray(responses[:, -1] > 1)
    for name, log_policy in trained().items():
        np.testing.assert_array_equal(jnp.isneginf(log_policy), np.broadcast_to(impossible, log_policy.shape), name)
        np.testing.assert_allclose(jnp.exp(log_policy).sum(axis=1), 1.0, rtol=1e-9, err_msg=name)
        assert jnp.abs(jnp.exp(log_policy) - jnp.exp(log_base)).max() > 1e-4, name
