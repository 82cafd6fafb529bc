"""What there is to learn: rewards as arrays and as functions, for all prompts and for some."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sampled import LISTED, LOG_PROMPTS, PARAMS, PLACES, POLICY, PROMPTS, REF, REWARD, TASK, lookup, steps

from toypersona.rules import clipped, gradient, imitation, preferences, reinforce, rule, tilting

TOKENS = jnp.array([[[0, 1], [2, 2], [1, 0]], [[2, 0], [0, 0], [1, 1]]])


@pytest.mark.parametrize("task", [TASK, LISTED], ids=["function", "array"])
def test_what_responses_pay(task):
    expected = np.asarray(REWARD)[np.arange(2)[:, None], np.asarray(TOKENS @ PLACES)]
    np.testing.assert_array_equal(task.pay(TOKENS), expected)
    # Three responses to each of four prompts, some of them the same.
    which = jnp.array([1, 0, 1, 1])
    some = task.pay(TOKENS[jnp.array([1, 0, 0, 1])], which)
    np.testing.assert_array_equal(some, np.asarray(REWARD)[which[:, None], TOKENS[jnp.array([1, 0, 0, 1])] @ PLACES])


@pytest.mark.slow_but("GRPO")
@pytest.mark.parametrize(
    "make",
    [
        lambda task: reinforce.rloo(task, learning_rate=1.0),
        lambda task: clipped.grpo(task, learning_rate=1.0),
        lambda task: imitation.expert_iteration(task, learning_rate=1.0),
    ],
    ids=["RLOO", "GRPO", "expert iteration"],
)
def test_sampled_rules_look_an_array_up(make):
    np.testing.assert_array_equal(steps(make(LISTED), 3), steps(make(TASK), 3))


@pytest.mark.slow
def test_pairs_are_judged_by_an_array_as_by_a_function():
    pairs = [preferences.sample_pairs(jax.random.key(4), task, REF, 50) for task in (TASK, LISTED)]
    jax.tree.map(np.testing.assert_array_equal, *pairs)


def test_an_exact_rule_needs_a_table():
    np.testing.assert_array_equal(LISTED.table(), REWARD)
    for refused in (
        TASK.table,
        lambda: steps(gradient.policy_gradient(TASK, learning_rate=1.0), 1),
        lambda: steps(gradient.natural_gradient(TASK, learning_rate=1.0), 1),
        lambda: tilting.tilting(TASK, strength=1.0).update(jax.random.key(0), rule.RuleState(PARAMS)),
    ):
        with pytest.raises(ValueError, match=r"has to be an array \[C, N\]: rewards.evaluate makes one"):
            refused()


def test_a_coefficient_is_off_only_where_it_is_known_to_be_zero():
    assert rule.is_off(0) and rule.is_off(0.0) and not rule.is_off(0.1) and not rule.is_off(jnp.zeros(()))


def test_climbing_goes_up():
    optimizer = optax.sgd(0.5)
    state = rule.climb(optimizer, rule.start(optimizer, jnp.ones(2)), jnp.array([2.0, -4.0]))
    np.testing.assert_allclose(state.params, [2.0, -1.0])


def test_a_task_is_told_by_name():
    task = rule.Task(policy=POLICY, prompts=PROMPTS, log_prompts=LOG_PROMPTS, reward=lookup)
    np.testing.assert_array_equal(task.pay(TOKENS), TASK.pay(TOKENS))
