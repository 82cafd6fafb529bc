import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from toypersona import numerics, theory
from toypersona.policies import mixture, tabular
from toypersona.policies.policy import all_log_probs, with_frozen
from toypersona.rules import gradient, reinforce, tilting
from toypersona.rules.rule import Task

PROMPTS = jnp.array([[4, 1], [3, 2], [0, 4]])
LOG_PROMPTS = jnp.log(jnp.array([0.5, 0.3, 0.2]))
REWARD = jax.random.normal(jax.random.key(7), (3, 27))
TABULAR = tabular.tabular(PROMPTS, 3, 3)
MIXTURE = mixture.mixture(PROMPTS, num_personas=2, num_units=5, num_words=3, length=3)
TABLE = Task(TABULAR, PROMPTS, LOG_PROMPTS, REWARD)
TASK = Task(MIXTURE.policy, PROMPTS, LOG_PROMPTS, REWARD)
LOGITS = jax.random.normal(jax.random.key(8), (3, 27))


def mixture_params():
    params = MIXTURE.policy.init(jax.random.key(0))
    return params | {"experts": 3 * params["experts"]}


def walk(rule, params, steps):
    keys = jax.random.split(jax.random.key(0), steps)
    return jax.lax.scan(lambda s, k: rule.update(k, s), rule.init(params), keys)


@pytest.mark.parametrize("strength", [0.3, 2.0, 8.0])
def test_natural_gradient_on_a_tabular_policy_walks_along_the_tilt(strength):
    steps = 40
    rule = gradient.natural_gradient(
        TABLE,
        learning_rate=strength / steps,
        damping=0.0,
        tolerance=1e-12,
        max_iterations=400,
    )
    state, _ = walk(rule, LOGITS, steps)
    expected = theory.tilt(jax.nn.log_softmax(LOGITS), REWARD, strength)
    np.testing.assert_allclose(jnp.exp(jax.nn.log_softmax(state.params)), jnp.exp(expected), atol=1e-5)


def test_tilting_adds_strengths_and_is_the_regularised_optimum():
    log_base = jax.nn.log_softmax(LOGITS)
    state, _ = walk(tilting.tilting(TABLE, strength=0.25), log_base, 8)
    np.testing.assert_allclose(state.params, theory.tilt(log_base, REWARD, 2.0), rtol=1e-10)
    objective = lambda p: numerics.expectation(p, REWARD) - 0.5 * numerics.kl_divergence(p, log_base)  # noqa: E731
    gradient_there = jax.jacobian(lambda x: objective(jax.nn.log_softmax(x)).sum())(state.params)
    np.testing.assert_allclose(gradient_there, 0, atol=1e-12)


def test_no_policy_is_paid_more_than_the_tilt_of_the_same_drift():
    log_base, rho = jax.nn.log_softmax(LOGITS), jnp.exp(LOG_PROMPTS)
    drift, paid = tilting.frontier(log_base, REWARD, LOG_PROMPTS, jnp.linspace(0.0, 20.0, 2001))
    np.testing.assert_allclose(drift[0], 0, atol=1e-12)
    np.testing.assert_allclose(paid[0], rho @ numerics.expectation(log_base, REWARD))
    # Strength is the price of reward in drift: d drift = s d paid.
    strengths = (jnp.arange(100, 200) + 0.5) / 100
    np.testing.assert_allclose(jnp.diff(drift)[100:200], strengths * jnp.diff(paid)[100:200], rtol=1e-4)
    moved = jax.random.normal(jax.random.key(1), (200, *LOGITS.shape)) * jnp.linspace(0, 3, 200)[:, None, None]
    others = jax.nn.log_softmax((log_base + REWARD)[None] + moved)
    spent = jax.vmap(lambda p: rho @ numerics.kl_divergence(p, log_base))(others)
    paid_to_others = jax.vmap(lambda p: rho @ numerics.expectation(p, REWARD))(others)
    assert (paid_to_others <= jnp.interp(spent, drift, paid) + 1e-3).all()


def test_policy_gradient_is_the_gradient_of_the_objective_it_names():
    log_base = jax.nn.log_softmax(LOGITS)
    params = mixture_params()

    def objective(params):
        log_policy = all_log_probs(MIXTURE.policy, params, PROMPTS)
        value = numerics.expectation(log_policy, REWARD) - 0.7 * numerics.kl_divergence(log_policy, log_base)
        return jnp.exp(LOG_PROMPTS) @ value

    rule = gradient.policy_gradient(TASK, learning_rate=0.1, kl_coefficient=0.7, log_base=log_base)
    state, _ = jax.jit(rule.update)(jax.random.key(0), rule.init(params))
    expected = jax.tree.map(lambda p, g: p + 0.1 * g, params, jax.jit(jax.grad(objective))(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), state.params, expected)


def lookup(c, tokens):
    return REWARD[c, tokens @ jnp.array([9, 3, 1])]


def flat(tree):
    return ravel_pytree(tree)[0]


def rules(learning_rate):
    return {
        "policy_gradient": gradient.policy_gradient(TASK, learning_rate=learning_rate),
        "natural_gradient": gradient.natural_gradient(TASK, learning_rate=learning_rate),
        "adam": gradient.policy_gradient(TASK, learning_rate=learning_rate, optimizer=optax.adam),
        "reinforce": reinforce.reinforce(TASK._replace(reward=lookup), learning_rate=learning_rate),
    }


@pytest.mark.slow_but("policy_gradient")
@pytest.mark.parametrize("name", ["policy_gradient", "natural_gradient", "adam", "reinforce"])
def test_strength_zero_is_the_identity_and_more_is_not(name):
    params = mixture_params()
    still, _ = walk(rules(0.0)[name], params, 3)
    moved, _ = walk(rules(0.1)[name], params, 3)
    jax.tree.map(np.testing.assert_array_equal, still.params, params)
    assert not jnp.array_equal(moved.params["experts"], params["experts"])


def test_tilting_by_zero_is_the_identity():
    log_base = jax.nn.log_softmax(LOGITS)
    state, _ = walk(tilting.tilting(TABLE, strength=0.0), log_base, 3)
    np.testing.assert_allclose(state.params, log_base, atol=1e-14)


@pytest.mark.slow_but("policy_gradient")
@pytest.mark.parametrize("name", ["policy_gradient", "natural_gradient"])
def test_rewards_rise(name):
    params = mixture_params()
    value = lambda p: jnp.exp(LOG_PROMPTS) @ numerics.expectation(all_log_probs(MIXTURE.policy, p, PROMPTS), REWARD)  # noqa: E731
    state, _ = walk(rules(0.05)[name], params, 20)
    assert value(state.params) > value(params) + 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", list(mixture.SCOPES))
def test_scopes_hold_under_every_rule(name):
    params = mixture_params()
    policy = with_frozen(MIXTURE.policy, mixture.SCOPES[name])
    for make in (gradient.policy_gradient, gradient.natural_gradient):
        state, _ = walk(make(TASK._replace(policy=policy), learning_rate=0.1), params, 2)
        unmoved = {"gates": "experts", "experts": "gate"}.get(name)
        if unmoved:
            jax.tree.map(np.testing.assert_array_equal, state.params[unmoved], params[unmoved])


@pytest.mark.slow
def test_reinforce_is_unbiased_and_more_samples_are_less_noise():
    params = mixture_params()
    exact = rules(1.0)["policy_gradient"]
    target = flat(jax.jit(exact.update)(jax.random.key(0), exact.init(params))[0].params) - flat(params)
    noise = []
    for num_samples in (1, 4):
        rule = reinforce.reinforce(TASK._replace(reward=lookup), learning_rate=1.0, num_samples=num_samples)
        moved = lambda k, rule=rule: flat(rule.update(k, rule.init(params))[0].params) - flat(params)  # noqa: E731
        keys = jax.random.split(jax.random.key(5), 20_000 // num_samples)
        steps = jax.jit(lambda keys, moved=moved: jax.lax.map(moved, keys, batch_size=500))(keys)
        error = steps.std(0) / jnp.sqrt(steps.shape[0])
        z = jnp.where(error > 0, (steps.mean(0) - target) / jnp.where(error > 0, error, 1.0), 0.0)
        assert jnp.abs(z).max() < 5
        assert jnp.abs(target).max() > 20 * error.max(), "the test has no power"
        noise.append(steps.var(0).sum())
    np.testing.assert_allclose(noise[0] / noise[1], 4.0, rtol=0.1)


def test_reinforce_without_samples():
    with pytest.raises(ValueError, match="1 or more samples and epochs, not 0 and 1"):
        reinforce.reinforce(TASK._replace(reward=lookup), learning_rate=1.0, num_samples=0)


def test_kl_coefficient_without_base():
    for make in (gradient.policy_gradient, gradient.natural_gradient):
        with pytest.raises(ValueError, match="needs log_base"):
            make(TABLE, learning_rate=0.1, kl_coefficient=0.5)


def test_hyperparameters_are_traced():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(learning_rate, kl_coefficient):
        rule = gradient.natural_gradient(
            TABLE,
            learning_rate=learning_rate,
            kl_coefficient=kl_coefficient,
            log_base=jax.nn.log_softmax(LOGITS),
        )
        return rule.update(jax.random.key(0), rule.init(LOGITS))[0].params

    assert not jnp.array_equal(step(0.1, 0.0), step(0.2, 0.3))
