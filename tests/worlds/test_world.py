import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains
from toypersona.worlds import markov
from toypersona.worlds import world as worlds

LENGTH = 3
log_personas = jax.jit(worlds.log_personas, static_argnums=1)
log_base = jax.jit(worlds.log_base, static_argnums=1)


@pytest.fixture(scope="module")
def world():
    return markov.markov(jax.random.key(5), num_personas=3, num_words=3, num_prompts=4, order=2)[0]


def test_every_persona_and_response_as_one_at_a_time(world):
    by_persona, tokens = log_personas(world, LENGTH), chains.outcomes(3, LENGTH)
    assert by_persona.shape == (4, 3, 27)
    single = jax.jit(jax.vmap(lambda c, x: worlds.log_prob_personas(world, c, x)))
    for c in range(4):
        np.testing.assert_allclose(by_persona[c], single(jnp.full(27, c), tokens).T, rtol=1e-12)


def test_long_responses_have_a_probability(world):
    tokens = jnp.zeros(300, int)
    assert jnp.isfinite(worlds.log_prob_personas(world, jnp.asarray(1), tokens)).all()


def test_the_base_is_the_gated_mixture_and_sums_to_one(world):
    mixed = jnp.einsum("ck,ckn->cn", jnp.exp(world.log_gates), jnp.exp(log_personas(world, LENGTH)))
    exact = jnp.exp(log_base(world, LENGTH))
    np.testing.assert_allclose(exact, mixed, rtol=1e-12)
    np.testing.assert_allclose(exact.sum(axis=-1), 1.0, rtol=1e-12)


def test_too_long_responses_are_refused(world):
    with pytest.raises(ValueError, match="budget_from_samples"):
        log_personas(world, 30)


def test_responsibilities_are_bayes_rule_and_average_to_the_gates(world):
    by_persona = log_personas(world, LENGTH)
    posterior = jnp.exp(worlds.log_responsibilities(world.log_gates, by_persona))
    joint = jnp.exp(world.log_gates)[:, :, None] * jnp.exp(by_persona)
    np.testing.assert_allclose(posterior, joint / joint.sum(axis=1, keepdims=True), rtol=1e-10)
    average = jnp.einsum("ckn,cn->ck", posterior, jnp.exp(log_base(world, LENGTH)))
    np.testing.assert_allclose(average, jnp.exp(world.log_gates), rtol=1e-10)


def test_the_responsibility_of_identical_personas_is_the_gate_and_of_one_is_one():
    log_gates = jnp.log(jnp.array([[0.2, 0.8]]))
    same = jnp.broadcast_to(jnp.log(jnp.array([0.5, 0.5])), (1, 2, 2))
    np.testing.assert_allclose(
        worlds.log_responsibilities(log_gates, same), log_gates[..., None] + jnp.zeros((1, 2, 2))
    )
    np.testing.assert_array_equal(worlds.log_responsibilities(jnp.zeros((1, 1)), same[:, :1]), np.zeros((1, 1, 2)))


def test_text_follows_the_prompts_the_gates_and_the_personas(world):
    number = 200_000
    skewed = world._replace(log_prompts=jnp.log(jnp.array([0.1, 0.2, 0.3, 0.4])))
    text = jax.jit(worlds.sample, static_argnums=(2, 3))(jax.random.key(1), skewed, LENGTH, number)
    places = np.ravel_multi_index(np.asarray(text.tokens).T, (3,) * LENGTH)
    measured = np.zeros((4, 3, 27))
    np.add.at(measured, (np.asarray(text.prompt_index), np.asarray(text.persona), places), 1 / number)
    joint = skewed.log_prompts[:, None, None] + skewed.log_gates[:, :, None] + log_personas(skewed, LENGTH)
    for seen, exact in ((measured, np.exp(joint)), (measured.sum(axis=-1), np.exp(joint).sum(axis=-1))):
        error = np.sqrt(np.maximum(seen * (1 - seen), 1 / number) / number)
        assert (np.abs(seen - exact) < 5 * error).all()


def test_who_speaks_where_nobody_can_is_as_likely_as_the_gates_say():
    log_gates = jnp.log(jnp.array([0.3, 0.7, 0.0]))
    log_personas = jnp.log(jnp.array([[0.5, 0.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]))
    found = jnp.exp(worlds.log_responsibilities(log_gates, log_personas))
    expected = [[0.15 / 0.85, 0.7 / 0.85, 0], [0.3, 0.7, 0], [1, 0, 0], [0.3, 0.7, 0]]
    np.testing.assert_allclose(found.T, expected, atol=1e-12)
    gradient = jax.grad(lambda gates: jnp.exp(worlds.log_responsibilities(gates, log_personas))[0].sum())(log_gates)
    assert jnp.isfinite(gradient[:2]).all()
