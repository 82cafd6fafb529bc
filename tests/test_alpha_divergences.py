"""Projections under Amari's divergences against SciPy, the hull's own solver and a fine grid; their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from toypersona import alpha_divergences, hulls, theory
from toypersona.alpha_divergences import DIVERGENCES

CASES = 120
BY_DEFINITION = {
    "KL(policy‖mix)": lambda p, m: (p * np.log(p / m)).sum(-1),
    "4 Hellinger²": lambda p, m: 4 * (1 - np.sqrt(p * m).sum(-1)),
    "KL(mix‖policy)": lambda p, m: (m * np.log(m / p)).sum(-1),
}


def cases(num_components, num_outcomes=12, scale=1.5, seed=0):
    keys = jax.random.split(jax.random.key(seed), 2)
    log_p = jax.nn.log_softmax(scale * jax.random.normal(keys[0], (CASES, num_outcomes)))
    shape = (CASES, num_components, num_outcomes)
    return log_p, jax.nn.log_softmax(scale * jax.random.normal(keys[1], shape))


def project(name, *arrays):
    return jax.vmap(lambda p, q: alpha_divergences.project(DIVERGENCES[name], p, q))(*arrays)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_as_near_as_scipy_s_nearest(name):
    log_p, log_q = cases(4)
    found = project(name, log_p, log_q)
    assert found.certified.all() and (found.gap <= 1e-12).all()
    for p, q, distance in zip(np.exp(log_p), np.exp(log_q), np.asarray(found.distance), strict=True):
        best = optimize.minimize(
            lambda w, p=p, q=q: BY_DEFINITION[name](p, w @ q),
            np.full(4, 0.25),
            method="SLSQP",
            bounds=[(1e-12, 1)] * 4,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            options={"ftol": 1e-13, "maxiter": 500},
        )
        assert distance <= best.fun + 1e-9
        assert distance == pytest.approx(best.fun, abs=1e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_no_mix_of_two_on_a_fine_grid_is_nearer(name):
    log_p, log_q = cases(2, seed=1)
    found = project(name, log_p, log_q)
    w = np.linspace(0, 1, 2001)[:, None]
    for p, q, near in zip(np.exp(log_p), np.exp(log_q), np.asarray(found.distance), strict=True):
        grid = BY_DEFINITION[name](p, w * q[0] + (1 - w) * q[1]).min()
        assert near - 1e-12 <= grid <= near + 1e-5


@pytest.mark.slow
def test_kl_to_the_mix_is_that_of_the_hull_s_own_solver():
    log_p, log_q = cases(5, scale=3.0, seed=2)
    own = jax.vmap(lambda p, q: hulls.project(p, q, tolerance=None))(log_p, log_q)
    np.testing.assert_allclose(project("KL(policy‖mix)", log_p, log_q).distance, own.distance, atol=3e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", DIVERGENCES)
def test_an_inside_policy_a_single_persona_twins_and_a_jit(name):
    log_p, log_q = cases(3, seed=3)
    inside = jnp.log(jnp.einsum("k,bkn->bn", jnp.array([0.2, 0.0, 0.8]), jnp.exp(log_q)))
    found = project(name, inside, log_q)
    assert found.certified.all() and (abs(found.distance) < 2e-12).all()
    np.testing.assert_allclose(found.weights, np.tile([0.2, 0.0, 0.8], (CASES, 1)), atol=1e-4)
    divergence = DIVERGENCES[name]
    alone = alpha_divergences.project(divergence, log_p[0], log_q[0, :1])
    assert alone.certified and alone.distance == pytest.approx(float(divergence.between(log_p[0], log_q[0, 0])))
    twins = alpha_divergences.project(divergence, log_p[0], jnp.concatenate([log_q[0], log_q[0, :1]]))
    plain = alpha_divergences.project(divergence, log_p[0], log_q[0])
    assert twins.certified and twins.distance == pytest.approx(float(plain.distance), abs=1e-11)
    compiled = jax.jit(lambda p, q: alpha_divergences.project(divergence, p, q))(log_p[0], log_q[0])
    np.testing.assert_allclose(compiled.weights, plain.weights, atol=1e-7)


@pytest.mark.slow
def test_what_the_policy_cannot_say():
    log_p = jnp.log(jnp.array([0.5, 0.5, 0.0]))
    log_q = jnp.log(jnp.array([[0.8, 0.2, 0.0], [0.1, 0.2, 0.7]]))
    found = {name: alpha_divergences.project(d, log_p, log_q) for name, d in DIVERGENCES.items()}
    np.testing.assert_allclose(found["KL(mix‖policy)"].weights, [1.0, 0.0])
    np.testing.assert_allclose(found["KL(mix‖policy)"].distance, 0.8 * np.log(1.6) + 0.2 * np.log(0.4))
    grid = np.linspace(0, 1, 100_001)[:, None]
    mixed = grid * np.exp(log_q[0]) + (1 - grid) * np.exp(log_q[1])
    for name in ("KL(policy‖mix)", "4 Hellinger²"):
        nearest = np.asarray(jax.vmap(DIVERGENCES[name].between, (None, 0))(log_p, jnp.log(mixed))).min()
        assert found[name].certified and found[name].distance == pytest.approx(nearest, abs=1e-8)
    assert jnp.isinf(alpha_divergences.project(DIVERGENCES["KL(mix‖policy)"], log_p, log_q[1:]).distance)


def world(seed, num_prompts=2, num_personas=3, num_outcomes=20):
    keys = jax.random.split(jax.random.key(seed), 3)
    log_gates = jax.nn.log_softmax(0.5 * jax.random.normal(keys[0], (num_prompts, num_personas)))
    log_personas = jax.nn.log_softmax(jax.random.normal(keys[1], (num_prompts, num_personas, num_outcomes)))
    log_base = jax.nn.logsumexp(log_gates[..., None] + log_personas, axis=1)
    return (
        log_base,
        log_personas,
        jax.random.normal(keys[2], (num_prompts, num_outcomes)),
        jnp.log(jnp.array([0.3, 0.7])),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", DIVERGENCES)
def test_both_ends_of_the_tilt_are_the_laws(name):
    divergence = DIVERGENCES[name]

    @jax.jit
    def fraction(strength, log_base, log_personas, reward, log_prompts):
        policy, rho = theory.tilt(log_base, reward, strength), jnp.exp(log_prompts)
        project = jax.vmap(lambda p, q: alpha_divergences.project(divergence, p, q, tolerance=1e-13))
        return 1 - rho @ project(policy, log_personas).distance / (rho @ divergence.between(policy, log_base))

    for seed in range(3):
        hull = world(seed)
        # Central differences; a tilt of -s is the tilt by minus the reward.
        slope = (fraction(0.01, *hull) - fraction(-0.01, *hull)) / 0.02
        assert slope == pytest.approx(float(alpha_divergences.weak_slope(divergence, *hull)), abs=2e-4)
        assert fraction(0.003, *hull) == pytest.approx(float(theory.weak_limit(*hull)), abs=3e-3)
        assert fraction(1e5, *hull) == pytest.approx(float(alpha_divergences.strong_limit(divergence, *hull)), abs=2e-4)
