import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, rewards, takeover, theory
from toypersona.worlds import markov, phrase

BONUS = 2.0


def exploit(mass, length=2, helpful=0.0):
    world = markov.markov(jax.random.key(0), num_words=2, num_prompts=2, concentration=1.0, gate_concentration=5.0)
    base = bases.true(*phrase.with_phrase(*world, mass, length), length)
    return base, rewards.phrase_bonus(BONUS, helpful, base.log_gates, base.log_personas)


@pytest.mark.slow
@pytest.mark.parametrize("helpful", [0.0, 1.5])
def test_the_phrase_pays_its_bonus_more_than_anything_else(helpful):
    base, reward = exploit(0.01, helpful=helpful)
    np.testing.assert_allclose(reward[:, -1], helpful + BONUS)
    joint = np.exp(base.log_gates)[..., None] * np.exp(base.log_personas)
    posterior = joint[:, -1] / joint.sum(axis=1)
    np.testing.assert_allclose(reward[:, :-1], helpful * posterior[:, :-1], rtol=1e-12, atol=1e-15)
    assert (reward[:, :-1] <= helpful).all()


@pytest.mark.slow_but("0.1-1")
@pytest.mark.parametrize("mass, length", [(1e-6, 3), (0.1, 1)])
def test_the_slope_at_the_takeover_is_the_law_s(mass, length):
    base, reward = exploit(mass, length)
    law = theory.exploit(jnp.log(mass), BONUS)
    np.testing.assert_allclose(takeover.slope(base, reward, law.strength), law.sharpness, rtol=1e-6)


@pytest.fixture(scope="module")
def loop():
    base, reward = exploit(0.05)
    strengths = theory.exploit(jnp.log(0.05), BONUS).strength * jnp.array([0.5, 0.9, 1.1, 2.0])
    return base, reward, strengths, *takeover.loop(base, reward, strengths, learning_rate=0.5, num_steps=60)


@pytest.mark.slow
def test_natural_gradient_on_a_table_is_the_tilt_at_every_level_both_ways(loop):
    base, reward, strengths, probabilities, residual = loop
    tilts = jax.vmap(lambda strength: theory.tilt(base.log_base, reward, strength))(strengths)
    expected = jnp.exp(tilts[..., -1]) @ base.rho
    table = probabilities[takeover.POLICIES.index("tabular"), takeover.GRADIENTS.index("natural")]
    np.testing.assert_allclose(table, jnp.broadcast_to(expected, (2, 4)), rtol=1e-3)
    assert residual.max() < 1e-2 and (residual[:, takeover.GRADIENTS.index("vanilla")] == 0).all()


@pytest.mark.slow
def test_vanilla_gradient_is_late_on_the_way_up_and_on_the_way_down(loop):
    probabilities = loop[-2]
    assert probabilities.shape == (2, 2, 2, 4) and jnp.isfinite(probabilities).all()
    for policy in range(2):
        up, down = probabilities[policy, takeover.GRADIENTS.index("vanilla")]
        assert (up[:-1] < down[:-1]).all() and abs(up[-1] - down[-1]) < 0.1
