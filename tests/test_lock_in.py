import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, lock_in, theory
from toypersona.rules import reinforce
from toypersona.worlds import markov


def test_locked_wrong():
    mean_rewards = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    gates = jnp.array([[0.05, 0.95], [0.95, 0.05], [0.5, 0.5], [0.99, 0.01]])
    log_prompts = jnp.log(jnp.array([0.4, 0.3, 0.2, 0.1]))
    np.testing.assert_allclose(lock_in.locked_wrong(gates, mean_rewards, log_prompts), 0.5)


def test_a_task_of_answers_pays_each_its_own():
    task = lock_in.answers(jnp.array([1.5, 0.5, 0.0]))
    np.testing.assert_array_equal(task.pay(jnp.array([[[0], [2], [1]]])), [[1.5, 0.0, 0.5]])
    assert task.policy.init(jax.random.key(0)).shape == (1, 3)


@pytest.mark.slow
def test_two_answers_are_confused_as_often_as_the_law_says():
    gaps, rates, deviation = jnp.array([0.2, 0.4]), jnp.array([0.2, 1.0]), 0.5
    sizes = {"deviation": deviation, "num_runs": 1000, "max_steps": 20_000}
    found = jax.jit(lambda key: lock_in.two_answers(key, gaps, rates, **sizes))(jax.random.key(1))
    assert (found["unsettled"] == 0).all()
    # By definition the law gives one wrong run of ten at the threshold.
    np.testing.assert_allclose(found["noise_law"][..., 1], 0.1, rtol=1e-6)
    error = np.sqrt(found["noise_law"] * (1 - found["noise_law"]) / 1000)
    assert (np.abs(found["noise_wrong"] - found["noise_law"]) < 5 * error + 0.04).all()
    assert (found["noise_wrong"][..., 0] < 0.02).all() and (found["noise_wrong"][..., 1] > 0.04).all()
    variance = gaps**2 / 4 + deviation**2
    laws = [
        theory.noise_threshold(gaps, square, share=lock_in.SETTLED, wrong=0.1) for square in (1 + variance, variance)
    ]
    np.testing.assert_allclose(found["threshold"], laws)


def test_at_a_huge_learning_rate_the_first_draw_is_locked_onto_unless_what_it_is_paid_is_below_the_baseline():
    sizes = {"deviation": 0.0, "num_runs": 200, "max_steps": 2}
    found = lock_in.two_answers(jax.random.key(1), jnp.array([0.5]), jnp.array([1e4]), **sizes)
    assert (found["unsettled"] == 0).all()
    np.testing.assert_allclose(found["threshold"].ravel(), [0.5 / (1 + 0.25**2), 0.5 / 0.25**2])
    none, mean = found["noise_wrong"].ravel()
    assert abs(none - 0.5) < 5 * 0.5 / np.sqrt(200) and mean == 0


def test_a_run_that_has_not_settled_is_neither():
    sizes = {"deviation": 0.5, "num_runs": 10, "max_steps": 1}
    found = lock_in.two_answers(jax.random.key(1), jnp.array([1.0]), jnp.array([0.1]), **sizes)
    assert (found["unsettled"] == 1).all() and (found["noise_wrong"] == 0).all()


@pytest.mark.slow
def test_small_learning_rates_find_the_best_paid_persona_and_large_ones_lock_onto_any():
    world, labels = markov.markov(jax.random.key(2), num_personas=2, num_words=3, num_prompts=2, concentration=0.3)
    base = bases.true(world, labels, 2)
    # All is paid, so that whoever is drawn first is pulled to.
    reward = 3 + base.reward_at_angle(0.0, 0, jax.random.normal(jax.random.key(3), base.log_base.shape))
    rates = jnp.array([0.05, 50.0])
    # jax takes the keys of a batch of scans for used, those of a single scan not.
    with jax.debug_key_reuse(False):
        found = jax.jit(lambda key: lock_in.personas(key, base, reward, rates, num_runs=40, num_steps=400))(
            jax.random.key(4)
        )
    assert found[0] < 0.1 < found[1]


@pytest.mark.slow
def test_runs_on_gates_are_those_of_the_rule_that_samples_with_all_parameters():
    world, labels = markov.markov(jax.random.key(2), num_personas=3, num_words=3, num_prompts=2, concentration=0.3)
    base = bases.true(world, labels, 2)
    reward = 1 + jax.random.normal(jax.random.key(3), base.log_base.shape)
    key, rates, num_runs, num_steps = jax.random.key(4), jnp.array([2.0, 4.0, 8.0, 30.0]), 100, 20
    task = base.task(reward, "gates")
    mean_rewards = jnp.einsum("ckn,cn->ck", jnp.exp(base.log_personas), reward)

    def wrong(rate, key):
        rule = reinforce.reinforce(task, learning_rate=rate)
        keys = jax.random.split(key, num_steps)
        state, _ = jax.lax.scan(lambda state, key: (rule.update(key, state)[0], None), rule.init(base.params), keys)
        return lock_in.locked_wrong(jnp.exp(base.personas(state.params)[0]), mean_rewards, base.log_prompts)

    by_rule = lambda key: jax.vmap(lambda rate: jax.vmap(lambda k: wrong(rate, k))(key).mean())(rates)  # noqa: E731
    # jax takes the keys of a batch of scans for used, those of a single scan not.
    with jax.debug_key_reuse(False):
        expected = jax.jit(by_rule)(jax.random.split(key, num_runs))
        found = jax.jit(lambda key: lock_in.personas(key, base, reward, rates, num_runs=num_runs, num_steps=num_steps))
        np.testing.assert_allclose(found(jax.random.clone(key)), expected, rtol=1e-12)
    assert (np.diff(expected) > 0).all()
