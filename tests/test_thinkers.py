"""Policies that think aloud: measures against dynamic programming, every way to train them, phases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import artefacts, bases, defences, thinkers
from toypersona.measures import hints
from toypersona.options import Pretraining, ReasoningOptions, Training
from toypersona.policies import mixture
from toypersona.rules import catalogue
from toypersona.worlds import reasoning
from toypersona.worlds import world as worlds

STRENGTHS = jnp.array([2.0, 50.0])


@pytest.fixture(scope="module")
def base():
    """The world's own personas as a policy of two bits, in no need of a fit."""
    options = ReasoningOptions(num_bits=2)
    world, _ = reasoning.reasoning(options)
    logits = jnp.where(jnp.isneginf(world.log_experts.table), 0.0, world.log_experts.table)
    return thinkers.base(options, mixture.params_of(jnp.zeros(3), logits))


@pytest.fixture(scope="module")
def measured(base):
    return jax.jit(lambda params: thinkers.measured(base, params))


def trained(base, way, length_cost=0.3):
    train, options = (defences.RULES | defences.DEFENCES)[way], Training(num_steps=60, num_stops=5)
    return train(base, reasoning.parity_reward(base.labels, length_cost), options, STRENGTHS, jax.random.key(0))


def last(path, i):
    return jax.tree.map(lambda x: x[i, -1], path)


def test_the_policy_is_its_world(base):
    world, _ = reasoning.reasoning(ReasoningOptions(num_bits=2))
    np.testing.assert_allclose(jnp.exp(base.law(base.params)), jnp.exp(worlds.log_base(world, 3)), atol=1e-15)


@pytest.mark.slow
def test_measures_agree_with_dynamic_programming_for_moved_policies(base, measured):
    for seed in range(3):
        moved = jax.tree.map(lambda x, s=seed: x + jax.random.normal(jax.random.key(s), x.shape), base.params)
        values = measured(moved)
        np.testing.assert_allclose(values["steps_accuracy"], values["accuracy"], atol=1e-12)
        np.testing.assert_allclose(values["steps_cost"], values["cost"], atol=1e-12)
        assert values["hull_distance"] <= values["distortion"] + 1e-12 and values["certified"]


@pytest.mark.slow_but("RLOO")
@pytest.mark.parametrize("way", list(defences.RULES | defences.DEFENCES))
def test_every_way_gives_parameters_at_every_strength_and_climbs(base, measured, way):
    """What it climbs is the reward less the divergence over the strength; early stops and bonuses climb less."""
    paths = jax.jit(lambda: trained(base, way))()
    assert jax.tree.map(lambda x: x.shape[:2], paths) == jax.tree.map(lambda x: (2, 1), base.params)

    def objective(params, strength):
        joint, first = (jax.nn.logsumexp(thinkers.joint(base, p), axis=1) for p in (params, base.params))
        costs = reasoning.word_costs(base.labels)[thinkers.thoughts(base)].mean(axis=1)
        paid = (
            jax.nn.one_hot(reasoning.right_answers(base.labels, base.prompts), 2)[:, None] - 0.3 * costs[None, :, None]
        )
        return ((jnp.exp(joint) * (paid - (joint - first) / strength)).sum(axis=(1, 2))).mean()

    for i, strength in enumerate(STRENGTHS):
        gained = objective(last(paths, i), strength) - objective(base.params, strength)
        if way == "early stop":
            assert gained > -1e-9 and measured(last(paths, i))["selection_fraction"] >= 0.5
        else:
            assert gained > 0.002


def test_the_last_stop_is_the_one_before_selection_falls_below_half():
    fractions = jnp.array([[0.9, 0.6, 0.4, 0.7], [0.9, 0.8, 0.7, 0.6], [0.4, 0.4, 0.4, 0.4], [0.4, 0.9, 0.4, 0.4]])
    np.testing.assert_array_equal(defences.last_stop(fractions), [2, 4, 0, 2])


def test_a_path_is_kept_at_its_stop():
    start, paths = {"x": jnp.array([0.0, 0.5])}, {"x": jnp.arange(1.0, 17.0).reshape(2, 4, 2)}
    kept = defences.at_stop(start, paths, jnp.array([2, 0]))["x"]
    np.testing.assert_array_equal(kept, [[[3.0, 4.0]], [[0.0, 0.5]]])


@pytest.mark.slow
def test_what_is_frozen_stays(base):
    start = base.params
    answers = last(trained(base, "frozen thoughts"), 1)
    mark = base.labels.units.index("=")
    moved = jnp.abs(mixture.expert_logits(answers) - mixture.expert_logits(start)).max(axis=(0, 2, 3))
    assert moved[mark] > 0.1 and (jnp.delete(moved, mark) == 0).all()
    np.testing.assert_array_equal(mixture.gate_logits(answers), mixture.gate_logits(start))
    gates = last(trained(base, "gates only"), 1)
    np.testing.assert_array_equal(mixture.expert_logits(gates), mixture.expert_logits(start))
    assert jnp.abs(mixture.gate_logits(gates)).max() > 0.1


@pytest.mark.slow
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
    one = mixture.params_of(jnp.array([0.0, -60.0, -60.0]), jnp.stack([plain] * 3))
    values = measured(one)
    assert thinkers.PHASES[int(values["phase"])] == "coded" and values["accuracy"] > 1 - 1e-9
    assert values["coded"] > 0.6 > 0.1 > values["keyed"] and values["agreement"] < 0.6
    two = mixture.params_of(jnp.array([0.0, 0.0, -60.0]), jnp.stack([plain, speaks(True), plain]))
    values = measured(two)
    assert thinkers.PHASES[int(values["phase"])] == "keyed" and values["accuracy"] > 1 - 1e-9
    np.testing.assert_allclose(values["keyed"], np.log(2), atol=1e-6)


@pytest.mark.parametrize("larry, phase", [(1.0, "mixture"), (0.3, "mixture"), (0.11, "mixture"), (0.09, "selected")])
def test_a_persona_is_selected_away_below_a_tenth_of_what_it_was(base, measured, larry, phase):
    rest = (1 - larry / 3) / 2
    values = measured(
        mixture.params_of(jnp.log(jnp.array([rest, rest, larry / 3])), mixture.expert_logits(base.params))
    )
    np.testing.assert_allclose(values["share"], [rest, rest, larry / 3], atol=1e-6)
    assert thinkers.PHASES[int(values["phase"])] == phase


@pytest.mark.slow
def test_estimates_are_the_exact_measures_within_their_errors(base):
    """Of a base whose voices are told apart by their answers only, so that it matters whose gate the reader's is."""
    shape = mixture.expert_logits(base.params).shape
    other, moved = (1.5 * jax.random.normal(jax.random.key(seed), shape) for seed in (1, 2))
    base = thinkers.base(ReasoningOptions(num_bits=2), mixture.params_of(jnp.array([3.0, 0.0, -2.0]), other))
    moved = mixture.params_of(jnp.array([-3.0, 0.0, 2.0]), moved)
    exact = jax.jit(lambda params: thinkers.measured(base, params))(moved)
    num = 4000
    estimate = jax.jit(lambda key: thinkers.estimated(base, moved, key, num_samples=num, num_thoughts=num))
    found = estimate(jax.random.key(2))
    for name in ("accuracy", "cost", "read", "coded", "keyed", "agreement"):
        assert abs(found[name] - exact[name]) < 5 * found[f"{name}_se"], name
    # From samples it is a lower bound.
    assert found["reliance"] - 5 * found["reliance_se"] < exact["reliance"]
    excess = (base.num_personas - 1) / num / (base.length - 1)
    assert (
        abs(found["thought_hull_distance"] - exact["thought_hull_distance"])
        < 5 * found["thought_hull_distance_se"] + excess
    )
    assert exact["thought_hull_distance"] > 20 * (found["thought_hull_distance_se"] + excess), "no power"
    assert abs(found["base_thought_hull_distance"]) < 5 * found["base_thought_hull_distance_se"] + excess
    np.testing.assert_allclose(found["steps_accuracy"], exact["accuracy"], atol=1e-12)


def test_other_prompts_than_those_asked_for_do_not_occur(base):
    some = bases.only(base, np.arange(4) % 2 == 0)
    np.testing.assert_allclose(some.rho, [0.5, 0.5], rtol=1e-15)
    np.testing.assert_array_equal(some.prompts, base.prompts[::2])
    np.testing.assert_allclose(some.log_base, base.log_base[::2], rtol=1e-13)


@pytest.mark.slow
def test_what_is_told_of_lines_is_what_listing_every_response_says(base):
    """Two policies at two strengths; beginnings are summed over all responses that begin so."""
    moved = lambda seed: jax.tree.map(  # noqa: E731
        lambda x: x[None, None] + jax.random.normal(jax.random.key(seed), (2, 1, *x.shape)), base.params
    )
    paths = [moved(0), moved(1)]
    values = lambda: {k: getattr(v, "value", v) for k, v in thinkers.told(base, paths, jax.random.key(2), 3).items()}  # noqa: E731
    told = jax.tree.map(np.asarray, jax.jit(values)())
    assert told["line_ratio"].shape == told["line_tokens"].shape == (2, 2, 3, base.length)
    said = jax.jit(lambda path: thinkers.lines(base, path, jax.random.key(2), 3)["line_tokens"])
    for r, path in enumerate(paths):
        np.testing.assert_array_equal(told["line_tokens"][r], said(path))
        for i in range(2):
            law = np.exp(base.law(last(path, i)))
            weights = base.budget(jnp.log(law)).weights
            mix = np.einsum("ck,ckn->cn", weights, np.exp(base.log_personas))
            for prompt, tokens, ratios in zip(
                *(told[f"line_{k}"][r, i] for k in ("prompt", "tokens", "ratio")), strict=True
            ):
                c = int((np.asarray(base.prompts) == prompt).all(axis=1).argmax())
                begins = [
                    (np.asarray(base.responses)[:, : t + 1] == tokens[: t + 1]).all(axis=1) for t in range(base.length)
                ]
                expected = [np.log(law[c, same].sum() / mix[c, same].sum()) for same in begins]
                np.testing.assert_allclose(np.cumsum(ratios), expected, atol=1e-6)
    np.testing.assert_allclose(
        told["line_reader"], thinkers.concluded(base, jnp.asarray(told["line_tokens"])), rtol=1e-12
    )


@pytest.mark.slow
def test_a_fit_is_found_again_by_its_key():
    """One step from one start: the experts are no personas yet, but they are those of the key."""
    options = Pretraining(num_lines=64, line_length=4, num_steps=1, num_restarts=1, gate="prior")
    fit = lambda key: thinkers.pretrained(ReasoningOptions(), options, key)  # noqa: E731
    keys = jax.random.split(jax.random.key(0), 2)
    fits = artefacts.for_each_key(fit, keys, None)
    for key in keys:
        jax.tree.map(np.testing.assert_array_equal, fits.at(key), jax.jit(fit)(key))


EACH_KIND = (
    "policy gradient", "REINFORCE", "RLOO, KL in reward", "RLOO, k2 in loss", "RLOO, clipped Adam", "RLOO, gates only",
    "GRPO, k3 in loss", "PPO, token", "PPO, sequence", "expert iteration", "rejection", "best of 8", "best of 8, exact",
    "DPO", "SFT",
)  # fmt: skip


@pytest.mark.slow
def test_every_rule_trains_it_and_nobody_says_the_impossible(base):
    """Every kind of rule as it is, a step each; the answer is a word that may be one."""
    paid = defences.listed(base, reasoning.parity_reward(base.labels, 0.3))
    right = (paid > 0.5).astype(float)
    setup = catalogue.Setup(base, paid, base.log_personas[:, 0], right, jax.random.key(1))
    entries = {name: catalogue.RULES[name] for name in EACH_KIND}
    entries["natural gradient"] = catalogue.EXACT_GRADIENTS["natural gradient"]

    @jax.jit
    def trained():
        policies = {}
        for name, entry in entries.items():
            rule = entry.make(setup._replace(key=jax.random.key(2)))(entry.rate)
            state, _ = rule.update(jax.random.key(3), rule.init(base.params))
            policies[name] = base.law(state.params)
        return policies

    impossible = np.asarray(base.responses[:, -1] > 1)
    for name, log_policy in trained().items():
        np.testing.assert_array_equal(jnp.isneginf(log_policy), np.broadcast_to(impossible, log_policy.shape), name)
        np.testing.assert_allclose(jnp.exp(log_policy).sum(axis=1), 1.0, rtol=1e-9, err_msg=name)
        assert jnp.abs(jnp.exp(log_policy) - jnp.exp(base.log_base)).max() > 1e-4, name


@pytest.mark.slow_but("first thought")
@pytest.mark.parametrize("seen", ["first thought", "everywhere"])
def test_a_hint_passes_by_the_thoughts_only_if_the_answer_sees_it(seen):
    """Of a policy whose every word is a random one."""
    options = ReasoningOptions(num_bits=1, hints=True, hint_seen=seen)
    world, _ = reasoning.reasoning(options)
    table = world.log_experts.table
    noise = 2 * jax.random.normal(jax.random.key(0), table.shape)
    params = mixture.params_of(world.log_gates[0], jnp.where(jnp.isneginf(table), 0.0, table) + noise)
    base = thinkers.base(options, params)
    laws = thinkers.hint_laws(base, params)
    use = hints.hint_use(laws)
    assert abs(use.decides) > 0.01 and (abs(use.direct) < 1e-14) == (seen == "first thought")
    told = [any(base.labels.units[word].startswith("hint") for word in said[:-1]) for said in base.responses]
    np.testing.assert_array_equal(thinkers.tells(base), told)
    np.testing.assert_array_equal(laws.says, told[:: base.num_words])
