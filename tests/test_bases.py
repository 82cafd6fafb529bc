"""Where every rule starts: the same policy by every way to make a base, and what is computed once and kept."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, chains, hulls, numerics, pretraining
from toypersona.measures import drift
from toypersona.options import MarkovOptions, Network, Pretraining, WorldOptions
from toypersona.policies import mixture, transformer
from toypersona.policies.policy import all_log_probs
from toypersona.rules import gradient
from toypersona.worlds import markov
from toypersona.worlds import world as worlds

LENGTH = 2
LAWS = ("log_prompts", "log_gates", "log_personas", "log_base")


@pytest.fixture(scope="module")
def made():
    return markov.markov(jax.random.key(1), num_words=3, num_prompts=2, num_personas=2, gate_concentration=3.0)


@pytest.fixture(scope="module")
def world(made):
    return made[0]


@pytest.fixture(scope="module")
def frozen(made):
    world, labels = made
    speakers = mixture.for_world(world, labels, LENGTH)
    params = speakers.policy.init(jax.random.key(2))
    return bases.frozen(speakers, params, labels, world.prompts, world.log_prompts, chains.outcomes(3, LENGTH))


@pytest.fixture(scope="module")
def reward():
    return jax.random.normal(jax.random.key(3), (2, 9))


def assert_same_law(base, other, rtol=1e-10):
    for field in LAWS:
        np.testing.assert_allclose(getattr(base, field), getattr(other, field), rtol=rtol, atol=1e-12, err_msg=field)


@pytest.mark.slow
def test_a_frozen_base_is_the_policy_and_its_own_personas(frozen, world):
    law = jax.jit(lambda params: all_log_probs(frozen.policy, params, world.prompts))
    log_gate, log_personas = map(jax.jit, (frozen.speakers.log_gate, frozen.speakers.log_personas))
    np.testing.assert_allclose(frozen.log_base, law(frozen.params), atol=1e-12)
    for c, prompt in enumerate(world.prompts):
        np.testing.assert_allclose(frozen.log_gates[c], log_gate(frozen.params, prompt), rtol=1e-12)
        np.testing.assert_allclose(frozen.log_personas[c], log_personas(frozen.params, prompt), rtol=1e-12)
    assert (frozen.length, frozen.num_words, frozen.num_personas) == (2, 3, 2)
    np.testing.assert_allclose(frozen.rho, jnp.exp(world.log_prompts))
    assert frozen.budget(frozen.log_base).hull_distance < 1e-12


def test_the_true_base_is_the_world_itself(frozen, world):
    true = bases.true(world, frozen.labels, LENGTH)
    np.testing.assert_allclose(true.log_personas, worlds.log_personas(world, LENGTH), atol=1e-12)
    np.testing.assert_allclose(true.log_base, worlds.log_base(world, LENGTH), atol=1e-12)
    np.testing.assert_array_equal(true.log_gates, world.log_gates)
    np.testing.assert_allclose(true.law(true.params), true.log_base, atol=1e-12)
    assert_same_law(
        true,
        bases.frozen(true.speakers, true.params, frozen.labels, frozen.prompts, frozen.log_prompts, frozen.responses),
    )
    with pytest.raises(ValueError, match="can be listed"):
        bases.true(world, frozen.labels, 30)


def test_with_a_gate_table_the_policy_is_the_same_and_its_gates_are_free(frozen, world):
    table = bases.with_gate_table(frozen, world)
    assert_same_law(table, frozen)
    np.testing.assert_allclose(table.law(table.params), frozen.log_base, atol=1e-12)
    assert mixture.gate_logits(table.params).shape == (2, 2)
    moved = mixture.with_gate_table(table.params, jnp.log(jnp.array([[0.9, 0.1], [0.2, 0.8]])))
    np.testing.assert_allclose(jnp.exp(table.personas(moved)[0]), [[0.9, 0.1], [0.2, 0.8]])


def test_without_responses_the_policy_is_the_same_and_nothing_is_listed(frozen, world):
    base = bases.frozen(
        frozen.speakers, frozen.params, frozen.labels, world.prompts, world.log_prompts, jnp.zeros((0, 50), int)
    )
    assert base.length == 50 and base.log_base.shape == (2, 0) and base.log_personas.shape == (2, 2, 0)
    np.testing.assert_array_equal(base.log_gates, frozen.log_gates)
    np.testing.assert_array_equal(base.prompts, frozen.prompts)
    own, other = (one.policy.log_prob(frozen.params, world.prompts[0], jnp.array([0, 2])) for one in (base, frozen))
    assert own == other


@pytest.mark.slow
def test_a_task_frees_a_scope(frozen, reward):
    def moves(scope):
        rule = gradient.policy_gradient(frozen.task(reward, scope), learning_rate=1.0)
        after = jax.jit(rule.update)(jax.random.key(0), rule.init(frozen.params))[0].params
        moved = jax.tree.map(jnp.not_equal, after, frozen.params)
        return {name for name in moved if any(x.any() for x in jax.tree.leaves(moved[name]))}

    assert moves("gates") == {"gate"} and moves("experts") == {"experts"} and moves("both") == {"gate", "experts"}
    np.testing.assert_array_equal(frozen.task(reward).reward, reward)


@pytest.mark.slow
def test_means_spent_drift_and_budgets_by_hand(frozen, world, reward):
    rho, p, base = (np.exp(np.asarray(x)) for x in (world.log_prompts, frozen.log_base + reward, frozen.log_base))
    p = p / p.sum(1, keepdims=True)
    log_policy = jnp.log(jnp.asarray(p))
    np.testing.assert_allclose(frozen.mean(log_policy, reward), rho @ (p * np.asarray(reward)).sum(1), rtol=1e-12)
    np.testing.assert_allclose(frozen.spent(log_policy), rho @ (p * np.log(p / base)).sum(1), rtol=1e-10)
    spent = frozen.budget(log_policy)
    expected = drift.budget(log_policy, frozen.log_base, frozen.log_personas, frozen.responses, frozen.log_prompts)
    jax.tree.map(np.testing.assert_array_equal, spent, expected)
    along = frozen.budget_along(jnp.stack([frozen.log_base, log_policy]))
    np.testing.assert_allclose(along.hull_distance, jnp.stack([jnp.zeros(()), spent.hull_distance]), atol=1e-11)


def test_rewards_at_an_angle_have_unit_variance_and_their_weak_limit(frozen, reward):
    at = [frozen.reward_at_angle(degrees, 1, reward) for degrees in (0.0, 60.0, 90.0)]
    for each in at:
        np.testing.assert_allclose(frozen.mean(frozen.log_base, each**2), 1, rtol=1e-10)
    np.testing.assert_allclose(at[1], 0.5 * at[0] + np.sqrt(0.75) * at[2], atol=1e-10)
    weights = jnp.einsum("ckn,cn->ck", jnp.exp(frozen.log_personas), at[0])
    assert (weights[:, 1] > weights[:, 0]).all(), "persona 1 is paid"


def test_lines_are_drawn_from_the_policy_and_change_with_it_alone(frozen):
    lines = frozen.lines(frozen.log_base, jax.random.key(4), 20_000)
    counts = np.zeros((2, 9))
    np.add.at(counts, (np.asarray(lines["line_prompt"]), np.asarray(lines["line_response"])), 1)
    exact = np.exp(np.asarray(frozen.log_prompts[:, None] + frozen.log_base))
    assert (np.abs(counts / 20_000 - exact) < 5 * np.sqrt(exact / 20_000)).all()
    again = frozen.lines(frozen.log_base + 1e-12, jax.random.key(4), 20_000)
    jax.tree.map(np.testing.assert_array_equal, lines, again)


@pytest.mark.slow
def test_following_a_rule_records_policies(frozen, reward):
    rule = lambda size: gradient.policy_gradient(frozen.task(reward), learning_rate=size)  # noqa: E731
    path = frozen.follow(rule, key=jax.random.key(0), marks=jnp.array([0.1, 0.2]), max_step=0.1)
    state, update, law = rule(0.1).init(frozen.params), jax.jit(rule(0.1).update), jax.jit(frozen.law)
    for log_policy in path:
        state, _ = update(jax.random.key(0), state)
        np.testing.assert_allclose(log_policy, law(state.params), atol=1e-12)


OPTIONS = WorldOptions(markov=MarkovOptions(num_words=3, num_prompts=2, num_personas=2))
SEEDS = (7, 3)
FEW = Pretraining(num_lines=50, line_length=4, num_steps=5, batch_size=10, num_restarts=2)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    return folder, bases.pretrained("markov", OPTIONS, FEW, length=LENGTH, seeds=SEEDS, folder=folder)


@jax.jit
def fitted_by_hand(seed):
    """World, parameters, what was recovered, and the base's laws."""
    world_key, text_key, fit_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), bases.OF_BASE), 3)
    world, labels = markov.markov(world_key, num_words=3, num_prompts=2, num_personas=2)
    text = worlds.sample(text_key, world, 4, 50)
    speakers = mixture.for_world(world, labels, LENGTH)
    fit = pretraining.fit_text(fit_key, world, text, speakers, FEW, 50)
    params, recovery = pretraining.align(world, speakers, fit.params, LENGTH)
    base = bases.frozen(speakers, params, labels, world.prompts, world.log_prompts, chains.outcomes(3, LENGTH))
    return world, recovery, {name: getattr(base, name) for name in LAWS}


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_each_pretrained_base_is_its_own_fit_by_hand(fitted, index):
    _, pretrained = fitted
    world, recovery, laws = fitted_by_hand(SEEDS[index])
    base = pretrained.base(index)
    assert_same_law(base, SimpleNamespace(**laws), rtol=1e-6)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12), pretrained.world_at(index), world)
    np.testing.assert_array_equal(base.prompts, world.prompts)
    # Adam's first steps make much of the last digits.
    close = lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-6)  # noqa: E731
    for name, of_fit in recovery._asdict().items():
        close(pretrained.recovered()[name].value[index], of_fit)


@pytest.mark.slow
def test_a_base_is_found_by_a_traced_key_and_all_bases_be_listed(fitted):
    _, pretrained = fitted
    traced = jax.jit(lambda seed: pretrained.base(pretrained.place(jax.random.key(seed))).log_base)
    listed = pretrained.listed()
    for i, seed in enumerate(SEEDS):
        np.testing.assert_allclose(traced(seed), pretrained.base(i).log_base, atol=1e-12)
        np.testing.assert_allclose(listed["log_base"].value[i], pretrained.base(i).log_base, atol=1e-12)
    assert listed["log_gates"].dims == ("seed", "prompt", "persona")
    assert listed["log_personas"].dims == ("seed", "prompt")
    assert listed["log_gates"].coords["persona"].tolist() == ["A", "B"]


@pytest.mark.slow
def test_what_was_fitted_is_loaded_and_nothing_is_computed(fitted, nothing_computed):
    folder, pretrained = fitted
    before = sorted(folder.glob("*/*"))
    again = bases.pretrained("markov", OPTIONS, FEW, length=LENGTH, seeds=SEEDS, folder=folder)
    jax.tree.map(np.testing.assert_array_equal, again.params, pretrained.params)
    jax.tree.map(np.testing.assert_array_equal, again.recovery, pretrained.recovery)
    assert sorted(folder.glob("*/*")) == before and len(before) == len(SEEDS)
    for options, few in (
        (OPTIONS, dataclasses.replace(FEW, num_steps=6)),
        (WorldOptions(markov=MarkovOptions(num_words=3, num_prompts=2, num_personas=2, concentration=0.4)), FEW),
    ):
        with pytest.raises(AssertionError, match="was computed"):
            bases.pretrained("markov", options, few, length=LENGTH, seeds=SEEDS, folder=folder)


def test_one_persona_is_refused():
    options = WorldOptions(markov=MarkovOptions(num_personas=1))
    with pytest.raises(ValueError, match="nobody to select in a world of one persona: give it two or more"):
        bases.pretrained("markov", options, FEW, length=LENGTH)


def test_a_mix_of_personas_by_the_gates_is_the_base(frozen):
    np.testing.assert_allclose(numerics.log_mix(frozen.log_gates, frozen.log_personas), frozen.log_base, atol=1e-12)


@pytest.mark.slow
def test_a_base_spanned_by_others_is_the_same_policy_and_a_mix_of_theirs_repaired(frozen):
    given = jnp.log(jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(9), (2, 2))))
    base, repair = bases.spanned(frozen, given)
    for c in range(2):
        nearest = hulls.project(frozen.log_base[c], given[c], tolerance=None)
        np.testing.assert_allclose(repair.distance[c], nearest.distance, atol=1e-9)
        mix = numerics.log_mix(jnp.log(nearest.weights), given[c])
        np.testing.assert_allclose(base.log_personas[c], given[c] + (frozen.log_base[c] - mix)[None], atol=1e-6)
    np.testing.assert_allclose(numerics.log_mix(base.log_gates, base.log_personas), frozen.log_base, atol=1e-12)
    assert repair.distance.min() > 0.01, "no power"
    changed = ("log_gates", "log_personas")
    same = base._replace(**{name: getattr(frozen, name) for name in changed})
    assert all(one is other for one, other in zip(same, frozen, strict=True))


@pytest.mark.slow
def test_a_base_spanned_by_its_own_personas_stays_what_it_is(frozen):
    base, repair = bases.spanned(frozen, frozen.log_personas)
    np.testing.assert_allclose(repair.distance, 0, atol=1e-10)
    np.testing.assert_allclose(jnp.exp(base.log_gates), jnp.exp(frozen.log_gates), atol=1e-6)
    np.testing.assert_allclose(base.log_personas, frozen.log_personas, atol=1e-9)


NETWORK = Network(width=8, depth=1, num_heads=2, num_lines=500, num_steps=6, kept=(0, 2))


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return folder, bases.pretrained("markov", OPTIONS, NETWORK, length=LENGTH, seeds=SEEDS, folder=folder)


@pytest.mark.slow
def test_each_pretrained_network_is_its_own_fit_by_hand_with_its_way_there(networks):
    _, pretrained = networks

    @jax.jit
    def by_hand(seed):
        world_key, text_key, fit_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), bases.OF_BASE), 3)
        world, labels = markov.markov(world_key, num_words=3, num_prompts=2, num_personas=2)
        line_key, tag_key = jax.random.split(text_key)
        text = worlds.sample(line_key, world, LENGTH, 500)
        counts = pretraining.counted(tag_key, world, text, 0.5, LENGTH)
        speakers = transformer.for_world(world, labels, LENGTH, NETWORK)
        path = pretraining.fit_counts(fit_key, speakers, world.prompts, counts, (0, 2, 6), rate=NETWORK.learning_rate)
        ends, early = jax.tree.map(lambda x: x[-1], path), jax.tree.map(lambda x: x[:-1], path)
        params, recovery = pretraining.align(world, speakers, ends, LENGTH)
        return params, early, recovery

    close = lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)  # noqa: E731
    for index, seed in enumerate(SEEDS):
        kept = jax.tree.map(lambda x: x[index], (pretrained.params, pretrained.early, pretrained.recovery))  # noqa: B023
        jax.tree.map(close, kept, by_hand(seed))


@pytest.mark.slow
def test_a_network_s_personas_are_itself_called_by_name_repaired(networks):
    base = networks[1].base(0)
    np.testing.assert_allclose(base.log_base, jax.jit(base.law)(base.params), atol=1e-9)
    given = jax.jit(jax.vmap(base.speakers.called, (None, 0)))(base.params, base.prompts)
    other, repair = bases.spanned(base, given)
    assert_same_law(base, other)
    assert repair.certified.all() and (repair.distance > 1e-6).all()
    assert base.budget(base.log_base).hull_distance < 1e-10


@pytest.mark.slow
def test_networks_are_loaded_and_those_of_other_sizes_are_others(networks, nothing_computed):
    folder, pretrained = networks
    again = bases.pretrained("markov", OPTIONS, NETWORK, length=LENGTH, seeds=SEEDS, folder=folder)
    same = lambda one: (one.params, one.early, one.recovery)  # noqa: E731
    jax.tree.map(np.testing.assert_array_equal, same(again), same(pretrained))
    for change in ({"tagged": 0.4}, {"width": 16}):
        with pytest.raises(AssertionError, match="was computed"):
            other = dataclasses.replace(NETWORK, **change)
            bases.pretrained("markov", OPTIONS, other, length=LENGTH, seeds=SEEDS, folder=folder)


def test_a_scope_that_no_policy_has_is_refused():
    speakers = mixture.mixture(jnp.array([[0]]), num_personas=2, num_units=2, num_words=2, length=1, gate="table")
    with pytest.raises(ValueError, match="scope='gate' has to be one of both, experts, gates"):
        speakers.trained("gate")
