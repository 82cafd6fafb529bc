import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, competition, first_order, rewards
from toypersona.options import WorldOptions
from toypersona.rules import catalogue as rules
from toypersona.worlds import catalogue, world

WRONG = 1


@pytest.fixture(scope="module")
def base():
    truth, labels = catalogue.load("larry_bob_alice", WorldOptions(), key=jax.random.key(0))
    return bases.true(truth, labels, 2)


def test_every_right_persona_is_paid_one_at_every_prompt(base):
    reward = rewards.all_right_but(WRONG, base.log_gates, base.log_personas)
    paid = jnp.einsum("ckn,cn->ck", jnp.exp(base.log_personas), reward)
    np.testing.assert_allclose(paid, np.tile([1.0, 0.0, 1.0], (base.prompts.shape[0], 1)), atol=1e-9)
    confusion = rewards.confusion(base.log_gates, base.log_personas)
    np.testing.assert_allclose(confusion.sum(axis=-1), 1, rtol=1e-9)
    listeners = jnp.exp(world.log_responsibilities(base.log_gates, base.log_personas))
    np.testing.assert_allclose(confusion[0, 0, 2], jnp.exp(base.log_personas[0, 0]) @ listeners[0, 2])


@pytest.mark.slow
def test_exact_rules_keep_to_their_laws(base, monkeypatch):
    monkeypatch.setattr(competition, "RULES", ("policy gradient", "natural gradient", "RLOO"))
    steps = np.array([1, 10, 100])
    shares = jax.jit(lambda key: competition.compete(key, base, WRONG, steps, natural_rate=0.05, num_runs=2))(
        jax.random.key(0)
    )
    assert shares["share"].shape == (3, 3, base.prompts.shape[0])
    np.testing.assert_allclose(shares["share"][0], shares["law"], atol=0.01)
    np.testing.assert_allclose(shares["share"][1], shares["natural_law"], atol=0.01)
    assert (shares["share"][0, -1] > shares["base_share"]).all()
    # Whoever is paid grows, by whatever rule.
    assert (np.diff(shares["right"][:2], axis=1) > 0).all()


@pytest.mark.slow
def test_entropy_changes_by_its_formula_in_every_direction(base):
    paid = jnp.stack([jax.random.normal(jax.random.key(0), base.log_base.shape), -base.log_base])
    change, formula = jax.jit(lambda paid: jax.lax.map(lambda r: first_order.entropy_changes(base, r), paid))(paid)
    assert change.shape == (2, len(rules.strength_rules()))
    np.testing.assert_allclose(change, formula, atol=1e-6)
    assert (change[1] > 0).all()
