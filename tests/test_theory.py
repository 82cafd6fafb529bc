import jax
import jax.numpy as jnp
import numpy as np

from toypersona import hulls, numerics, rewards, theory

C, K, N = 3, 3, 40
LOG_PROMPTS = jnp.log(jnp.array([0.5, 0.3, 0.2]))


def world(seed):
    keys = jax.random.split(jax.random.key(seed))
    log_personas = jax.nn.log_softmax(jax.random.normal(keys[0], (C, K, N)))
    log_gates = jax.nn.log_softmax(jax.random.normal(keys[1], (C, K)))
    return log_gates, log_personas, numerics.log_mix(log_gates, log_personas)


def test_tangent_fit_is_weighted_least_squares():
    _, log_personas, log_base = world(0)
    values = jax.random.normal(jax.random.key(1), (N,))
    p, base = np.exp(log_personas[0]), np.exp(log_base[0])
    design = p / base
    coefficients = np.linalg.solve((design * base) @ design.T, (design * base) @ np.asarray(values))
    np.testing.assert_allclose(
        hulls.tangent_fit(log_base[0], log_personas[0], values), coefficients @ design, rtol=1e-8
    )


def test_tangent_fit_leaves_an_orthogonal_rest_whatever_the_personas():
    def rest(seed, duplicate):
        _, log_personas, log_base = world(seed)
        one = log_personas[0].at[1].set(jnp.where(duplicate, log_personas[0, 0], log_personas[0, 1]))
        base = numerics.log_mix(jnp.log(jnp.full(K, 1 / K)), one)
        values = jax.random.normal(jax.random.key(seed + 1000), (N,))
        return jnp.exp(one) @ (values - hulls.tangent_fit(base, one, values))

    seeds = jnp.arange(100)
    np.testing.assert_allclose(jax.vmap(rest)(seeds, seeds % 2 == 0), 0, atol=1e-10)


def test_tangent_fit_with_impossible_outcomes():
    _, log_personas, _ = world(2)
    one = jax.nn.log_softmax(log_personas[0].at[:, :5].set(-jnp.inf))
    base = numerics.log_mix(jnp.log(jnp.full(K, 1 / K)), one)
    fitted = hulls.tangent_fit(base, one, jnp.arange(N) * 1.0)
    assert jnp.isfinite(fitted).all()
    np.testing.assert_array_equal(fitted[:5], 0)


def test_angle_family_has_the_angle_it_names():
    log_gates, log_personas, log_base = world(3)
    affine = rewards.persona_affine(log_gates, log_personas, jnp.array([0.0, 0.0, 1.0]))
    feature = jax.random.normal(jax.random.key(5), (C, N))
    for theta in np.linspace(0, np.pi / 2, 7):
        reward = rewards.at_angle(theta, affine, feature, log_base, log_personas, LOG_PROMPTS)
        predicted = theory.weak_limit(log_base, log_personas, reward, LOG_PROMPTS)
        np.testing.assert_allclose(predicted, np.cos(theta) ** 2, atol=1e-10)
        np.testing.assert_allclose(numerics.expectation(log_base, reward), 0, atol=1e-12)
        np.testing.assert_allclose(jnp.exp(LOG_PROMPTS) @ numerics.expectation(log_base, reward**2), 1, rtol=1e-10)


def test_weak_limit_of_persona_affine_rewards_is_one_and_of_k_one_zero():
    log_gates, log_personas, log_base = world(4)
    affine = rewards.persona_affine(log_gates, log_personas, jnp.array([0.3, -1.0, 2.0]))
    np.testing.assert_allclose(theory.weak_limit(log_base, log_personas, affine, LOG_PROMPTS), 1, rtol=1e-10)
    single = log_personas[:, :1]
    limit = theory.weak_limit(single[:, 0], single, affine, LOG_PROMPTS)
    np.testing.assert_allclose(limit, 0, atol=1e-10)
