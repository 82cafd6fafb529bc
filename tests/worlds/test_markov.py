import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona.worlds import markov
from toypersona.worlds import world as worlds


@pytest.mark.slow_but("2")
@pytest.mark.parametrize("order", [1, 2, 3])
def test_shapes_and_normalisation(order):
    world, labels = markov.markov(jax.random.key(0), num_personas=2, num_words=4, num_prompts=5, order=order)
    assert world.prompts.shape == (5, max(2, order))
    assert world.log_experts.shape == (2, *(4,) * order, 4)
    assert labels == worlds.Labels(("A", "B"), ("w0", "w1", "w2", "w3"), " ")
    for log_p in (world.log_prompts, world.log_gates, world.log_experts):
        np.testing.assert_allclose(jnp.exp(log_p).sum(axis=-1), 1.0, rtol=1e-12)


def test_the_key_makes_the_world():
    first, again, other = (markov.markov(jax.random.key(seed))[0] for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.allclose(first.log_experts, other.log_experts)


@pytest.mark.slow
def test_a_hundred_worlds_at_once_have_different_prompts_and_open_gates():
    def keys():
        return jax.random.split(jax.random.key(3), 100)

    def make(key):
        return markov.markov(key, num_words=3, num_prompts=9, concentration=0.05, gate_concentration=0.05)[0]

    made = jax.jit(jax.vmap(make))(keys())
    assert jnp.isfinite(made.log_gates).all()
    assert jnp.isfinite(made.log_experts).all()
    assert all(len({*map(tuple, prompts)}) == 9 for prompts in np.asarray(made.prompts))
    one = jax.jit(make)(keys()[7])
    jax.tree.map(lambda all_of, own: np.testing.assert_allclose(all_of[7], own, rtol=1e-12), made, one)
    log_base = jax.jit(jax.vmap(lambda world: worlds.log_base(world, 2)))(made)
    np.testing.assert_allclose(jnp.exp(log_base).sum(axis=-1), 1.0, rtol=1e-10)


@pytest.mark.slow
def test_rows_and_gates_have_the_moments_of_their_dirichlets():
    keys = jax.random.split(jax.random.key(4), 2000)

    def make(key):
        return markov.markov(key, num_words=4, concentration=0.5, gate_concentration=2.0)[0]

    made = jax.jit(jax.vmap(make))(keys)
    for log_p, concentration in ((made.log_experts, 0.5), (made.log_gates, 2.0)):
        # The second moment of one entry of a row of n is (1 + concentration) / (1 + n concentration) / n.
        squares, number = np.exp(2 * np.asarray(log_p[..., 0])).reshape(-1), log_p.shape[-1]
        exact = (1 + concentration) / (1 + number * concentration) / number
        assert abs(squares.mean() - exact) < 5 * squares.std() / np.sqrt(squares.size)


def test_many_personas_have_names():
    labels = markov.markov(jax.random.key(0), num_personas=28)[1]
    assert labels.personas[25:] == ("Z", "P26", "P27")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_personas": 0}, "sizes of 1 or more"),
        ({"order": 0}, "order 0"),
        ({"concentration": 0.0}, "concentrations 0.0 and 1.0"),
        ({"gate_concentration": -1.0}, "concentrations 0.5 and -1.0"),
        ({"num_words": 2, "num_prompts": 5}, "2 words make 4 prompts of 2, fewer than 5"),
    ],
)
def test_impossible_worlds_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        markov.markov(jax.random.key(0), **options)
