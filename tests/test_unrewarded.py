import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, hulls, unrewarded
from toypersona.rules import gradient
from toypersona.worlds import larry_bob_alice


@pytest.fixture(scope="module")
def base():
    return bases.true(*larry_bob_alice.larry_bob_alice(), length=2)


def test_prompts_are_rewarded_or_not(base):
    drawn = set()
    for seed in range(20):
        new, old = unrewarded.split(jax.random.key(seed), base, 2)
        assert (new.rho > 0).sum() == 2 and ((new.rho > 0) != (old.rho > 0)).all()
        np.testing.assert_allclose(new.rho[new.rho > 0], (base.rho / base.rho[new.rho > 0].sum())[new.rho > 0])
        drawn.add(tuple(np.flatnonzero(new.rho)))
    assert len(drawn) > 5
    with pytest.raises(ValueError, match="from 1 to 5 can be rewarded, not 6"):
        unrewarded.split(jax.random.key(0), base, 6)


def test_who_is_heard_in_the_base_was_called_and_a_persona_takes_what_the_others_had(base):
    np.testing.assert_allclose(unrewarded.heard(base, base.log_base), jnp.exp(base.log_gates), rtol=1e-9)
    assert unrewarded.forgotten(base, base.log_base) < 1e-12 and unrewarded.altered(base, base.log_base) == 0
    # A listener hears Larry in part of what the others say, so less than all that he was not called for is forgotten.
    larry = base.log_personas[:, 0]
    most = float(base.rho @ (1 - jnp.exp(base.log_gates[:, 0])))
    assert 0.3 * most < unrewarded.forgotten(base, larry) < most
    by_hand = base.rho @ abs(jnp.exp(larry) - jnp.exp(base.log_base)).sum(axis=1) / 2
    np.testing.assert_allclose(unrewarded.altered(base, larry), by_hand)


@pytest.mark.slow
def test_the_nearest_mix_is_the_hull_s_and_leaves_out_prompts_that_do_not_occur(base):
    new, _ = unrewarded.split(jax.random.key(0), base, 2)
    policy = jax.nn.log_softmax(base.log_base + jax.random.normal(jax.random.key(1), base.log_base.shape))
    found = jax.jit(lambda policy: unrewarded.nearest(new, policy))(policy)
    each = [hulls.project(policy[c], base.log_personas[c]) for c in np.flatnonzero(new.rho)]
    occurs = new.rho[new.rho > 0]
    np.testing.assert_allclose(found.distance, occurs @ jnp.stack([x.distance for x in each]), atol=1e-9)
    np.testing.assert_allclose(found.weights, occurs @ jnp.stack([x.weights for x in each]), atol=1e-6)


def test_a_gate_table_forgets_nobody_where_it_is_not_trained(base):
    new, old = unrewarded.split(jax.random.key(0), base, 3)
    task = new.task(base.log_personas[:, 0] - base.log_base, "gates")
    rule = lambda size: gradient.policy_gradient(task, learning_rate=size)  # noqa: E731
    (policy,) = new.follow(rule, key=jax.random.key(0), marks=jnp.array([5.0]), max_step=0.5)
    assert unrewarded.forgotten(old, policy) < 1e-12 and new.spent(policy) > 0.05
