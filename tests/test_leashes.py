"""Where leashes end, against SciPy's optimisers and the rules that walk there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from toypersona import leashes, numerics, theory

LOG_PROMPTS = jnp.log(jnp.array([0.25, 0.75]))
LOG_BASE = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (2, 6)))
REWARD = jax.random.normal(jax.random.key(1), (2, 6))


def best(objective):
    """The law of six responses that maximises a function of it, by SciPy."""
    law = lambda logits: np.exp(logits) / np.exp(logits).sum()  # noqa: E731
    found = optimize.minimize(lambda logits: -objective(law(logits)), np.zeros(6), tol=1e-14, method="BFGS")
    return law(found.x)


@pytest.mark.parametrize("beta", [0.2, 1.0, 5.0])
def test_k3_ends_where_reward_less_the_other_divergence_is_best(beta):
    found = np.exp(leashes.k3_end(LOG_BASE, REWARD, beta))
    for c in range(2):
        base, reward = np.exp(LOG_BASE[c]), np.asarray(REWARD[c])
        wanted = best(lambda p, b=base, r=reward: p @ r - beta * b @ np.log(b / p))
        np.testing.assert_allclose(found[c], wanted, atol=2e-5)


def test_k3_s_end_is_a_law_where_the_best_paid_is_hardly_ever_said():
    log_base = numerics.log_normalize(jnp.array([[0.0, -1.0, -120.0]]))
    reward = jnp.array([[0.0, 0.5, 1.0]])
    found = leashes.k3_end(log_base, reward, 0.1)
    np.testing.assert_allclose(jnp.exp(found).sum(), 1.0, rtol=1e-12)
    left = leashes.slopes(jnp.stack([found] * 3), log_base, reward, 0.1)
    assert jnp.exp(found[0, 2]) > 0.5 and left[1, 0] < 1e-10 < 0.1 < left[0, 0]


@pytest.mark.parametrize("beta", [0.4, 1.0, 5.0])
def test_divided_rewards_end_at_the_weakest_tilt_whose_strength_is_1_over_beta_sigma(beta):
    found = leashes.normalised_end(LOG_BASE, REWARD, beta)
    strengths = np.exp(np.linspace(-8, 8, 160_001))
    for c in range(2):
        base, reward = np.exp(np.asarray(LOG_BASE[c], float)), np.asarray(REWARD[c])
        law = base * np.exp(strengths[:, None] * (reward - reward.max()))
        law /= law.sum(axis=1, keepdims=True)
        mean = law @ reward
        pulled = strengths * np.sqrt(np.maximum(law @ reward**2 - mean**2, 0.0))
        np.testing.assert_allclose(found.least_beta[c], 1 / pulled.max(), rtol=1e-3)
        if beta > 1.01 / pulled.max():
            first = np.argmax(pulled >= 1 / beta)
            np.testing.assert_allclose(np.exp(found.log_policy[c]), law[first], atol=1e-3)
        else:
            assert np.exp(found.log_policy[c, reward.argmax()]) > 0.999


def test_no_advantage_is_left_at_an_end_and_some_at_another_s():
    beta = 2.0
    found = leashes.ends(LOG_BASE, REWARD, beta)
    assert (found.least_beta < beta).all()
    assert leashes.slopes(found.log_policies, LOG_BASE, REWARD, beta).max() < 1e-10
    assert leashes.slopes(jnp.roll(found.log_policies, 1, axis=0), LOG_BASE, REWARD, beta).min() > 1e-3


def test_the_cheapest_policy_of_a_reward_is_the_tilt_and_the_rest_is_unpaid():
    log_policy = jax.nn.log_softmax(LOG_BASE + REWARD + 0.7 * jax.random.normal(jax.random.key(2), (2, 6)))
    found = leashes.unpaid(log_policy, LOG_BASE, REWARD, LOG_PROMPTS)
    mean = lambda law: float(numerics.expectation(LOG_PROMPTS, numerics.expectation(law, REWARD)))  # noqa: E731
    apart = lambda p, q: float(numerics.expectation(LOG_PROMPTS, numerics.kl_divergence(p, q)))  # noqa: E731
    missed = lambda s: mean(theory.tilt(LOG_BASE, REWARD, s)) - mean(log_policy)  # noqa: E731
    strength = optimize.root_scalar(missed, bracket=(1e-6, 50), xtol=1e-14).root
    tilt = theory.tilt(LOG_BASE, REWARD, strength)
    np.testing.assert_allclose(found.least, apart(tilt, LOG_BASE), rtol=1e-8)
    np.testing.assert_allclose(found.unpaid, apart(log_policy, tilt), rtol=1e-8)
    np.testing.assert_allclose(found.least + found.unpaid, apart(log_policy, LOG_BASE), rtol=1e-12)
    assert found.unpaid > 0.02


def test_all_drift_of_a_policy_that_earns_less_than_the_base_is_unpaid():
    worse = theory.tilt(LOG_BASE, -REWARD, 0.5)
    found = leashes.unpaid(worse, LOG_BASE, REWARD, LOG_PROMPTS)
    spent = numerics.expectation(LOG_PROMPTS, numerics.kl_divergence(worse, LOG_BASE))
    assert found.least < 1e-12
    np.testing.assert_allclose(found.unpaid, spent, rtol=1e-9)


def test_drift_among_right_answers_is_a_part_of_what_is_unpaid():
    right = jnp.array([[1.0, 1, 0, 0, 1, 0], [0, 1, 1, 0, 0, 0]])
    log_policy = jax.nn.log_softmax(LOG_BASE + 1.5 * right + 0.5 * REWARD)
    found = leashes.among_right(log_policy, LOG_BASE, right, LOG_PROMPTS)
    wanted = 0.0
    for c in range(2):
        chosen = np.asarray(right[c]) == 1
        p, q = np.exp(np.asarray(log_policy[c]))[chosen], np.exp(np.asarray(LOG_BASE[c]))[chosen]
        wanted += float(jnp.exp(LOG_PROMPTS[c])) * p.sum() * (p / p.sum() @ np.log(p / p.sum() / (q / q.sum())))
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    assert 0.005 < found < leashes.unpaid(log_policy, LOG_BASE, right, LOG_PROMPTS).unpaid
    alike = jax.nn.log_softmax(LOG_BASE + 1.5 * right)
    np.testing.assert_allclose(leashes.among_right(alike, LOG_BASE, right, LOG_PROMPTS), 0.0, atol=1e-12)


def test_the_right_answers_bill_is_the_page_s_formula():
    """One prompt, right with probability p under the base and a after: a ln(a/p) + (1-a) ln((1-a)/(1-p))."""
    log_base, right = LOG_BASE[:1], jnp.array([[1.0, 0, 0, 1.0, 0, 0]])
    p, law = (
        (jnp.exp(log_base) @ right[0]).item(),
        jax.nn.log_softmax(jax.random.normal(jax.random.key(3), (1, 6)) + 2 * right),
    )
    a = (jnp.exp(law) @ right[0]).item()
    assert a > p
    bill = a * np.log(a / p) + (1 - a) * np.log((1 - a) / (1 - p))
    np.testing.assert_allclose(leashes.unpaid(law, log_base, right, jnp.zeros(1)).least, bill, rtol=1e-9)
