"""Rules side by side: the tilt pays most at its drift, and a rule does the same in whatever company."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, comparison, rewards
from toypersona.rules import catalogue
from toypersona.worlds import markov

STEPS = (1, 4)


@functools.cache
def paid():
    """A base, a reward, and what answers are right."""
    base = bases.true(*markov.markov(jax.random.key(0), num_personas=2, num_words=3, num_prompts=2), 2)
    reward = jax.random.normal(jax.random.key(1), base.log_base.shape)
    return base, reward, rewards.best_paid(reward, base.log_base, 0.2)


def along(*names):
    base, reward, right = paid()
    setup = catalogue.Setup(base, reward, base.log_personas[:, 0], right, jax.random.key(2))
    rules = {name: catalogue.RULES[name] for name in names}
    return jax.jit(lambda key: comparison.along(setup, rules, key, rate=1.0, steps=STEPS))(jax.random.key(3))


@pytest.mark.slow
def test_the_tilt_runs_from_almost_nothing_to_its_end_and_is_paid_what_is_best():
    """Alone, without a rule beside it; by its definition, in NumPy."""
    found = along()
    assert all(values.shape[0] == 1 for values in found.values())
    base, reward, right = paid()
    log_base, reward, right, rho = (np.asarray(x) for x in (base.log_base, reward, right, base.rho))
    said = np.exp(log_base + np.array([0.03, 30.0])[:, None, None] * reward)
    said /= said.sum(axis=-1, keepdims=True)
    passes = (said * right).sum(axis=-1)
    np.testing.assert_allclose(found["total"][0], (said * (np.log(said) - log_base)).sum(axis=-1) @ rho)
    np.testing.assert_allclose(found["reward"][0], (said * reward).sum(axis=-1) @ rho)
    np.testing.assert_allclose(found["best_reward"], found["reward"], atol=1e-4)
    by_k = np.stack([(1 - (1 - passes) ** k) @ rho for k in comparison.PASSES], axis=-1)
    np.testing.assert_allclose(found["passes"][0], by_k)
    np.testing.assert_allclose(found["tried"][0], by_k[-1], atol=0.2)


@pytest.mark.slow
def test_the_tilt_is_paid_most_and_a_rule_does_the_same_in_any_company():
    two, one = along("RLOO", "policy gradient"), along("policy gradient")
    for name, values in one.items():
        np.testing.assert_allclose(two[name][jnp.array([0, 2])], values, atol=1e-9, err_msg=name)
    assert (two["reward"][1:] < two["best_reward"][1:]).all() and two["passes"].shape == (3, 2, 4)
