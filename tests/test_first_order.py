import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from toypersona import first_order, numerics, theory
from toypersona.policies import mixture, next_words, tabular
from toypersona.policies.policy import all_log_probs, with_frozen
from toypersona.rules import gradient
from toypersona.rules.rule import Task

LOG_PROMPTS = jnp.log(jnp.array([0.5, 0.3, 0.2]))
PROMPTS = jnp.array([[4, 1], [3, 2], [0, 4]])
MIXTURE = mixture.mixture(PROMPTS, num_personas=2, num_units=5, num_words=3, length=3)
REWARD = jax.random.normal(jax.random.key(7), (3, 27))


@pytest.mark.slow_but("both")
@pytest.mark.slow_but("gates")
@pytest.mark.parametrize("scope", list(mixture.SCOPES))
def test_directions_as_by_the_whole_jacobian(scope):
    params = MIXTURE.policy.init(jax.random.key(0))
    policy = with_frozen(MIXTURE.policy, mixture.SCOPES[scope])
    log_probs = lambda p: all_log_probs(policy, p, PROMPTS)  # noqa: E731
    flat, unravel = ravel_pytree(params)
    jacobian = np.asarray(jax.jit(jax.jacobian(lambda x: log_probs(unravel(x)).reshape(-1)))(flat))
    log_base = log_probs(params)
    mass = np.exp(LOG_PROMPTS[:, None] + log_base).reshape(-1)
    advantages = np.asarray(REWARD - numerics.expectation(log_base, REWARD)[:, None]).reshape(-1)
    gradient = jacobian.T @ (mass * advantages)
    made = jax.jit(lambda p: first_order.first(log_probs, p, LOG_PROMPTS, REWARD))(params)
    np.testing.assert_allclose(made.reshape(-1), jacobian @ gradient, atol=1e-12)

    # The natural gradient regresses the advantage on the scores.
    root = np.sqrt(mass)
    solution = np.linalg.lstsq(root[:, None] * jacobian, root * advantages, rcond=1e-10)[0]
    task = Task(policy, PROMPTS, LOG_PROMPTS, REWARD)
    natural = jax.jit(lambda p: first_order.natural(task, p, damping=0.0))(params)
    np.testing.assert_allclose(natural.reshape(-1), jacobian @ solution, atol=1e-6)


@pytest.mark.parametrize("dense", [0, 500])
def test_without_a_chart_it_is_damped_as_the_rule_is(dense, monkeypatch):
    """By conjugate gradients, and by the eigenvectors of the Fisher matrix."""
    monkeypatch.setattr(first_order, "DENSE", dense)
    policy, rate = next_words.table(PROMPTS, 3, 2), 1e-6
    task, params = Task(policy, PROMPTS, LOG_PROMPTS, REWARD[:, :9]), jax.random.normal(jax.random.key(2), (3, 4, 3))

    @jax.jit
    def both():
        rule = gradient.natural_gradient(task, learning_rate=rate, damping=0.1, tolerance=1e-10)
        after = rule.update(jax.random.key(0), rule.init(params))[0].params
        law = lambda p: all_log_probs(policy, p, PROMPTS)  # noqa: E731
        return first_order.natural(task, params, damping=0.1), (law(after) - law(params)) / rate

    predicted, measured = both()
    np.testing.assert_allclose(predicted, measured, atol=1e-5)
    # Undamped, the table's natural gradient is the tilt.
    assert jnp.ptp(predicted - REWARD[:, :9], axis=1).min() > 0.01


@pytest.mark.slow
def test_training_the_gates_alone_is_all_selection():
    params = MIXTURE.policy.init(jax.random.key(0))
    policy = with_frozen(MIXTURE.policy, mixture.SCOPES["gates"])
    log_personas = jax.vmap(MIXTURE.log_personas, (None, 0))(params, PROMPTS)
    moved = jax.jit(lambda p: first_order.first(lambda q: all_log_probs(policy, q, PROMPTS), p, LOG_PROMPTS, REWARD))(
        params
    )
    limit = theory.weak_limit(all_log_probs(policy, params, PROMPTS), log_personas, moved, LOG_PROMPTS)
    np.testing.assert_allclose(limit, 1, rtol=1e-9)


@pytest.mark.slow
def test_steps_have_the_lengths_that_their_rates_were_for():
    params = MIXTURE.policy.init(jax.random.key(3))
    log_probs = lambda p: all_log_probs(MIXTURE.policy, p, PROMPTS)  # noqa: E731
    for precondition in (lambda g: g, first_order.adam):
        gradient = jax.grad(lambda p: jnp.exp(LOG_PROMPTS) @ numerics.expectation(log_probs(p), REWARD))(params)
        step = precondition(gradient)
        moved = first_order.first(log_probs, params, LOG_PROMPTS, REWARD, precondition=precondition)
        lengths = jnp.array([1e-4, 2e-4])
        for length, rate in zip(
            lengths, first_order.rates(log_probs(params), moved, LOG_PROMPTS, lengths), strict=True
        ):
            after = log_probs(jax.tree.map(lambda x, d, rate=rate: x + rate * d, params, step))
            spent = jnp.exp(LOG_PROMPTS) @ numerics.kl_divergence(after, log_probs(params))
            np.testing.assert_allclose(jnp.sqrt(2 * spent), length, rtol=1e-3)


def test_entropy_changes_as_by_differences():
    params = jax.tree.map(lambda x: 2 * x, MIXTURE.policy.init(jax.random.key(0)))
    log_probs = lambda p: all_log_probs(MIXTURE.policy, p, PROMPTS)  # noqa: E731
    entropy = lambda p: jnp.exp(LOG_PROMPTS) @ numerics.entropy(log_probs(p))  # noqa: E731
    objective = lambda p: jnp.exp(LOG_PROMPTS) @ numerics.expectation(log_probs(p), REWARD)  # noqa: E731
    gradient = jax.jit(jax.grad(objective))(params)
    ahead, behind = (
        jax.jit(entropy)(jax.tree.map(lambda x, g, step=step: x + step * g, params, gradient)) for step in (1e-4, -1e-4)
    )
    moved = jax.jit(lambda p: first_order.first(log_probs, p, LOG_PROMPTS, REWARD))(params)
    law = first_order.entropy_change(log_probs(params), moved, LOG_PROMPTS)
    np.testing.assert_allclose(law, (ahead - behind) / 2e-4, rtol=1e-5)
    assert jnp.abs(law) > 1e-4


def test_paying_for_what_is_rare_raises_the_entropy_and_for_what_is_likely_lowers_it():
    log_policy = jax.nn.log_softmax(jax.random.normal(jax.random.key(1), (3, 9)))
    rises = first_order.entropy_change(log_policy, -log_policy, LOG_PROMPTS)
    assert rises > 0
    np.testing.assert_allclose(first_order.entropy_change(log_policy, log_policy, LOG_PROMPTS), -rises)
    impossible = log_policy.at[:, 0].set(-jnp.inf)
    assert jnp.isfinite(first_order.entropy_change(jax.nn.log_softmax(impossible), jnp.ones((3, 9)), LOG_PROMPTS))


@pytest.mark.slow
def test_what_is_paid_for_the_impossible_reaches_no_direction():
    policy = tabular.tabular(jnp.array([[0], [1], [2]]), 3, 2)
    logits = jax.random.normal(jax.random.key(1), (3, 9)).at[:, 4].set(-jnp.inf)
    reward, log_rho = jax.random.normal(jax.random.key(7), (3, 9)), jnp.log(jnp.array([0.7, 0.3, 0.0]))
    for paid in (jnp.inf, -jnp.inf, jnp.nan):
        task = Task(policy, jnp.array([[0], [1], [2]]), log_rho, reward.at[:, 4].set(paid).at[2].set(paid))
        law = lambda params: jax.nn.log_softmax(params)  # noqa: E731
        for direction in (first_order.natural(task, logits), first_order.first(law, logits, log_rho, task.table())):
            assert jnp.isfinite(jnp.delete(direction[:2], 4, axis=1)).all()
