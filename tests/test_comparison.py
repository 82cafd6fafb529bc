"""Rules side by side: the tilt pays most at its drift, and a rule does the same in whatever company."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, comparison, rewards, theory
from toypersona.rules import catalogue
from toypersona.worlds import markov

BASE = bases.true(*markov.markov(jax.random.key(0), num_personas=2, num_words=3, num_prompts=2), 2)
REWARD = jax.random.normal(jax.random.key(1), BASE.log_base.shape)
STEPS = (1, 4)


def along(*names):
    right = rewards.best_paid(REWARD, BASE.log_base, 0.2)
    setup = catalogue.Setup(BASE, REWARD, BASE.log_personas[:, 0], right, jax.random.key(2))
    rules = {name: catalogue.RULES[name] for name in names}
    return jax.jit(lambda key: comparison.along(setup, rules, key, rate=1.0, steps=STEPS))(jax.random.key(3))


@pytest.mark.slow
def test_the_tilt_is_paid_most_and_a_rule_does_the_same_in_any_company():
    two, one = along("RLOO", "policy gradient"), along("policy gradient")
    for name, values in one.items():
        np.testing.assert_allclose(two[name][jnp.array([0, 2])], values, atol=1e-9, err_msg=name)
    tilts = [theory.tilt(BASE.log_base, REWARD, strength) for strength in comparison.RECORDED]
    np.testing.assert_allclose(two["total"][0], [BASE.spent(tilt) for tilt in tilts], rtol=1e-9)
    np.testing.assert_allclose(two["reward"][0], two["best_reward"][0], atol=1e-4)
    assert (two["reward"][1:] < two["best_reward"][1:]).all() and two["passes"].shape == (3, 2, 4)
