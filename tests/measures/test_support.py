import jax
import jax.numpy as jnp
import numpy as np

from toypersona.measures import support


def test_by_hand():
    log_base = jnp.log(jnp.array([[0.5, 0.4, 0.1, 0.0]]))
    log_policy = jnp.log(jnp.array([[0.0, 0.6, 0.1, 0.3]]))
    found = support.support(log_policy, log_base, jnp.zeros(1), length=2, threshold=0.05)
    np.testing.assert_allclose(found.shrinkage, 0.5)
    np.testing.assert_allclose(found.expansion, 0.3)
    entropy = -(0.6 * np.log(0.6) + 0.1 * np.log(0.1) + 0.3 * np.log(0.3))
    np.testing.assert_allclose([found.sequence_entropy, found.token_entropy], [entropy, entropy / 2])


def test_a_policy_against_itself_has_neither_lost_nor_won():
    log_policy = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (100, 3, 8)))
    found = jax.vmap(lambda p: support.support(p, p, jnp.log(jnp.full(3, 1 / 3)), length=1))(log_policy)
    assert (found.shrinkage == 0).all() and (found.expansion == 0).all()
