"""A small problem for sampled rules, whose expectations are sums over all nine responses to two prompts."""

import jax
import jax.numpy as jnp

from toypersona import numerics
from toypersona.policies import tabular
from toypersona.policies.policy import all_log_probs
from toypersona.rules.rule import Task

PROMPTS = jnp.array([[4, 1], [3, 2]])
LOG_PROMPTS = jnp.log(jnp.array([0.7, 0.3]))
REWARD = jax.random.normal(jax.random.key(7), (2, 9))
POLICY = tabular.tabular(PROMPTS, 3, 2)
PARAMS = jax.random.normal(jax.random.key(8), (2, 9))
REF = jax.random.normal(jax.random.key(9), (2, 9))
PLACES = jnp.array([3, 1])


def lookup(c, tokens):
    return REWARD[c, tokens @ PLACES]


TASK = Task(POLICY, PROMPTS, LOG_PROMPTS, lookup)
LISTED = TASK._replace(reward=REWARD)


def steps(rule, num_steps):
    """Where many independent steps of a rule go from PARAMS [num_steps, 18]."""
    moved = lambda key: rule.update(key, rule.init(PARAMS))[0].params - PARAMS  # noqa: E731
    return jax.jit(jax.vmap(moved))(jax.random.split(jax.random.key(5), num_steps)).reshape(num_steps, -1)


def gradient_of(objective):
    """Of an objective ``(log pi [C, N]) -> [C]``, with every response counted [18]."""
    value = lambda params: jnp.exp(LOG_PROMPTS) @ objective(all_log_probs(POLICY, params, PROMPTS))  # noqa: E731
    return jax.grad(value)(PARAMS).reshape(-1)


def reward_alone(log_policy):
    return numerics.expectation(log_policy, REWARD)


def assert_unbiased(samples, target):
    # A response that was never drawn shows no spread.
    error = samples.std(0) / jnp.sqrt(samples.shape[0]) + 1e-6
    assert jnp.abs((samples.mean(0) - target) / error).max() < 5
    assert jnp.abs(target).max() > 20 * error.max(), "the test has no power"
