import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import theory, trajectories
from toypersona.policies import mixture, tabular
from toypersona.policies.policy import all_log_probs, with_frozen
from toypersona.rules import gradient, reinforce, tilting
from toypersona.rules.rule import RuleState, Task, UpdateRule

PROMPTS, LOG_PROMPTS = jnp.array([[0], [1]]), jnp.log(jnp.array([0.7, 0.3]))
LOG_BASE = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (2, 9)))
REWARD = jax.random.normal(jax.random.key(1), (2, 9))
TABLE = Task(tabular.tabular(PROMPTS, 3, 2), PROMPTS, LOG_PROMPTS, REWARD)


def test_records_sit_where_the_step_sizes_put_them():
    strengths = jnp.array([0.1, 0.4, 2.0])
    measured, _, final = trajectories.follow(
        lambda size: tilting.tilting(TABLE, strength=size),
        lambda params: params,
        LOG_BASE,
        key=jax.random.key(2),
        marks=strengths,
        max_step=0.15,
    )
    for strength, log_policy in zip(strengths, measured, strict=True):
        np.testing.assert_allclose(log_policy, theory.tilt(LOG_BASE, REWARD, strength), rtol=1e-10)
    np.testing.assert_array_equal(final.params, measured[-1])


def counts(size):
    """A rule that counts its steps and their lengths, and folds its keys into its parameters."""

    def update(key, state):
        drawn = jax.random.uniform(key)
        count, travelled, drawn_sum = state.params
        return RuleState((count + 1, travelled + size, drawn_sum + drawn)), {"size": size, "drawn": drawn}

    return UpdateRule(RuleState, update)


NOTHING_YET = (jnp.array(0), jnp.array(0.0), jnp.array(0.0))


def test_steps_between_marks_are_equal_and_short_enough_and_keys_never_repeat():
    (count, travelled, drawn), info, _ = trajectories.follow(
        counts, lambda p: p, NOTHING_YET, key=jax.random.key(0), marks=jnp.array([0.1, 0.35, 2.0]), max_step=0.1
    )
    np.testing.assert_array_equal(count, [1, 4, 21])
    np.testing.assert_allclose(travelled, [0.1, 0.35, 2.0])
    np.testing.assert_allclose(info["size"], [0.1, 0.25 / 3, 1.65 / 17])
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(21))
    np.testing.assert_allclose(drawn[-1], jax.vmap(jax.random.uniform)(keys).sum())


def test_whole_numbers_of_steps_are_no_more_for_rounding():
    """From 0.1 to 0.4 are 3.0000000000000004 steps of 0.1."""
    marks = np.array([0.1, 0.4, 1.1])
    assert np.ceil((0.4 - 0.1) / 0.1) == 4
    (count, _, _), _, _ = trajectories.follow(
        counts, lambda p: p, NOTHING_YET, key=jax.random.key(0), marks=jnp.asarray(marks), max_step=0.1
    )
    np.testing.assert_array_equal(count, [1, 4, 11])


def test_what_is_trained_in_float32_is_measured_in_float64():
    params = {"x": jnp.float32(0.1), "count": jnp.int32(3)}

    def make_rule(step):
        def update(key, state):
            x, count = state.params["x"], state.params["count"]
            return RuleState({"x": x + step.astype(jnp.float32), "count": count + 1}), {}

        return UpdateRule(RuleState, update)

    measured, _, final = trajectories.follow(
        make_rule, lambda p: p, params, key=jax.random.key(0), marks=jnp.array([0.5]), max_step=1.0
    )
    assert (measured["x"].dtype, measured["count"].dtype) == (jnp.float64, jnp.int32)
    assert final.params["x"].dtype == jnp.float32
    assert measured["x"][0] == float(np.float32(0.1) + np.float32(0.5))


def test_the_length_of_a_step_is_the_fisher_length_of_a_small_one():
    moved = jax.nn.log_softmax(LOG_BASE + 1e-4 * REWARD)
    spent = jnp.exp(LOG_PROMPTS) @ (jnp.exp(LOG_BASE) * (LOG_BASE - moved)).sum(axis=1)
    np.testing.assert_allclose(trajectories.step_length(moved, LOG_BASE, LOG_PROMPTS), jnp.sqrt(2 * spent), rtol=1e-3)
    impossible = jax.nn.log_softmax(LOG_BASE.at[:, 0].set(-jnp.inf))
    assert trajectories.step_length(impossible, impossible, LOG_PROMPTS) == 0


def in_equal_steps(make_rule, task=TABLE, params=LOG_BASE, **changed):
    named = {"key": jax.random.key(3), "step": 0.1, "num_steps": 12, "every": 1} | changed
    law = lambda params: all_log_probs(task.policy, params, task.prompts)  # noqa: E731
    return jax.jit(lambda: trajectories.follow_by_length(make_rule, law, params, task, **named))()


def test_a_path_in_equal_steps_does_not_depend_on_the_unit_of_the_learning_rate():
    def at(factor, first_rate=1.0):
        rule = lambda rate: gradient.policy_gradient(TABLE, learning_rate=factor * rate)  # noqa: E731
        return in_equal_steps(rule, first_rate=first_rate)

    path, info = at(1.0)
    np.testing.assert_allclose(info["length"], 0.1, rtol=1e-3)
    for factor, first_rate in ((1e-3, 1.0), (30.0, 1.0), (1.0, 0.01)):
        other, other_info = at(factor, first_rate)
        np.testing.assert_allclose(other, path, atol=1e-5)
        np.testing.assert_allclose(other_info["length"], 0.1, rtol=1e-3)
        np.testing.assert_allclose(factor * other_info["learning_rate"], info["learning_rate"], rtol=1e-3)
    assert jnp.abs(path[-1] - LOG_BASE).max() > 0.5


def test_fewer_refinements_are_coarser_and_none_keeps_the_rate():
    rule = lambda rate: gradient.policy_gradient(TABLE, learning_rate=rate)  # noqa: E731
    off = [jnp.abs(in_equal_steps(rule, refinements=num)[1]["length"] / 0.1 - 1).max() for num in (1, 2)]
    assert off[1] < off[0] / 10 < 0.01
    np.testing.assert_array_equal(in_equal_steps(rule, refinements=0)[1]["learning_rate"], 1.0)


def test_steps_of_a_sampled_rule_are_repeated_with_the_same_draws():
    rule = lambda rate: reinforce.rloo(TABLE, learning_rate=rate)  # noqa: E731
    _, info = in_equal_steps(rule)
    np.testing.assert_allclose(info["length"], 0.1, rtol=1e-3)


def test_natural_gradient_on_a_table_follows_the_tilt_in_equal_steps():
    exact = {"damping": 0.0, "tolerance": 1e-12, "max_iterations": 100}
    path, info = in_equal_steps(lambda rate: gradient.natural_gradient(TABLE, learning_rate=rate, **exact))
    strengths = jnp.cumsum(info["learning_rate"])
    for strength, log_policy in zip(strengths, path, strict=True):
        np.testing.assert_allclose(log_policy, theory.tilt(LOG_BASE, REWARD, strength), atol=1e-6)
    assert strengths[-1] > 0.5


def test_records_in_equal_steps_are_every_so_many():
    rule = lambda rate: gradient.policy_gradient(TABLE, learning_rate=rate)  # noqa: E731
    each, each_info = in_equal_steps(rule)
    some, some_info = in_equal_steps(rule, every=4)
    np.testing.assert_allclose(some, each[3::4], rtol=1e-12)
    np.testing.assert_allclose(some_info["learning_rate"], each_info["learning_rate"][3::4], rtol=1e-12)
    with pytest.raises(ValueError, match="after every 5 steps does not divide 12 steps"):
        in_equal_steps(rule, every=5)


@pytest.mark.slow
def test_every_scope_at_once_is_each_by_itself():
    speakers = mixture.mixture(PROMPTS, num_personas=2, num_units=3, num_words=3, length=2, gate="table")
    params = speakers.policy.init(jax.random.key(4))
    task = TABLE._replace(policy=speakers.policy)

    def walk(task):
        law = lambda params: all_log_probs(task.policy, params, PROMPTS)  # noqa: E731
        rule = lambda size: gradient.policy_gradient(task, learning_rate=size)  # noqa: E731
        marks = jnp.array([0.5, 2.0])
        return trajectories.follow(rule, law, params, key=jax.random.key(0), marks=marks, max_step=0.5)[0]

    traced = chex.assert_max_traces(walk, n=1)
    together = trajectories.by_scope(traced, task, speakers.scopes)
    for path, scope in zip(together, speakers.scopes.values(), strict=True):
        np.testing.assert_allclose(path, walk(task._replace(policy=with_frozen(task.policy, scope))), rtol=1e-12)
    assert jnp.abs(together[0] - together[1]).max() > 0.01


def penalised(rate, beta):
    return gradient.policy_gradient(TABLE, learning_rate=rate, kl_coefficient=beta, log_base=LOG_BASE)


def walked(params, strength, num_steps):
    """Parameters after each of some steps, one at a time."""
    rule, state, path = penalised(0.5, 1 / strength), RuleState(params), []
    state = rule.init(params)
    for _ in range(num_steps):
        state, _ = rule.update(jax.random.key(0), state)
        path.append(state.params)
    return path


STRENGTHS = jnp.array([0.5, 4.0])


@pytest.mark.slow
def test_from_the_base_to_every_strength_as_by_single_steps():
    how = {"key": jax.random.key(5), "learning_rate": 0.5, "num_steps": 6}
    paths = trajectories.from_base(penalised, LOG_BASE, STRENGTHS, num_marks=3, **how)
    assert paths.shape == (2, 3, 2, 9)
    for path, strength in zip(paths, STRENGTHS, strict=True):
        np.testing.assert_allclose(path, jnp.stack(walked(LOG_BASE, strength, 6)[1::2]), atol=1e-12)


def test_annealing_starts_from_the_strength_before():
    how = {"key": jax.random.key(5), "learning_rate": 0.5, "num_steps": 6}
    paths = trajectories.annealed(penalised, LOG_BASE, STRENGTHS, **how)
    first = walked(LOG_BASE, STRENGTHS[0], 6)[-1]
    np.testing.assert_allclose(paths[0, 0], first, atol=1e-12)
    np.testing.assert_allclose(paths[1, 0], walked(first, STRENGTHS[1], 6)[-1], atol=1e-12)


@pytest.mark.parametrize("way", [trajectories.from_base, trajectories.annealed])
def test_no_two_steps_to_any_strength_share_a_key(way):
    """The sum of what a rule draws tells its keys."""
    rule = lambda rate, beta: counts(rate)  # noqa: E731
    count, _, drawn = way(rule, NOTHING_YET, STRENGTHS, key=jax.random.key(6), learning_rate=0.1, num_steps=3)
    assert count[0, -1] == 3
    first, second = drawn[0, -1], drawn[1, -1] - (drawn[0, -1] if way is trajectories.annealed else 0.0)
    assert jnp.abs(first - second) > 1e-3
