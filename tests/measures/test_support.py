import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def test_pass_at_k_by_hand_and_where_it_is_nearly_nothing_or_all():
    log_policy = jnp.log(jnp.array([[0.7, 0.2, 0.1], [1e-15, 0.5, 0.5 - 1e-15]]))
    correct = jnp.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    log_prompts = jnp.log(jnp.array([0.75, 0.25]))
    found = support.pass_at_k(log_policy, correct, log_prompts, 3)
    np.testing.assert_allclose(found, 0.75 * (1 - 0.8**3) + 0.25 * 3e-15, rtol=1e-12)
    one = support.pass_at_k(log_policy[1:], correct[1:], jnp.zeros(1), 1000)
    np.testing.assert_allclose(one, 1e-12, rtol=1e-9)
    np.testing.assert_allclose(support.pass_at_k(log_policy, jnp.ones((2, 3)), log_prompts, 2), 1)


def test_num_correct_is_binomial():
    log_policy = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.1, 0.4, 0.5]]))
    correct = jnp.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    keys = jax.random.split(jax.random.key(0), 500)
    counts = jax.vmap(lambda key: support.num_correct(key, log_policy, correct, 64))(keys)
    share = np.array([0.3, 0.1])
    error = np.sqrt(share * (1 - share) / (500 * 64))
    assert (abs(counts.mean(axis=0) / 64 - share) < 5 * error).all()
    np.testing.assert_allclose(counts.var(axis=0), 64 * share * (1 - share), rtol=0.3)


def test_pass_at_k_from_samples_counts_the_subsets_and_is_unbiased():
    for right in range(8):
        subsets = [any(i < right for i in chosen) for chosen in itertools.combinations(range(7), 3)]
        np.testing.assert_allclose(
            support.pass_at_k_from_samples(jnp.asarray(right), 7, 3), np.mean(subsets), atol=1e-12
        )
    p = 0.13
    binomial = np.array([math.comb(7, c) * p**c * (1 - p) ** (7 - c) for c in range(8)])
    mean = binomial @ support.pass_at_k_from_samples(jnp.arange(8), 7, 3)
    np.testing.assert_allclose(mean, 1 - (1 - p) ** 3, rtol=1e-12)
    with pytest.raises(ValueError, match="1 <= k <= the number of samples 7, not 8"):
        support.pass_at_k_from_samples(jnp.asarray(1), 7, 8)
