import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, chains, fine_tuning, numerics
from toypersona.options import WorldOptions
from toypersona.rules import gradient
from toypersona.worlds import catalogue


@pytest.fixture(scope="module")
def base():
    world, labels = catalogue.load("larry_bob_alice", WorldOptions(), key=jax.random.key(0))
    return bases.true(world, labels, 2)


@pytest.mark.slow
def test_who_goes_on_in_the_base_is_the_posterior(base):
    """The base is a mix, so the mix nearest to how it goes on after some words weighs personas by Bayes' rule."""
    called = fine_tuning.called(base, 0)
    presence = jax.jit(called.presence)(base.log_base)
    gates = jnp.exp(base.log_gates)
    first = jnp.exp(base.log_personas).reshape(*gates.shape, base.num_words, -1).sum(axis=-1)
    posterior = gates[..., None] * first / jnp.einsum("ck,ckv->cv", gates, first)[:, None]
    opened = base.rho * gates[:, 0] / (base.rho @ gates[:, 0])
    by_hand = [opened @ gates[:, 0], opened @ jnp.einsum("cv,cv->c", first[:, 0], posterior[:, 0])]
    # After some words everybody goes on alike, so that any mix is near.
    np.testing.assert_allclose(presence, by_hand, atol=5e-3)
    np.testing.assert_allclose(called.gate, by_hand[0], rtol=1e-9)


def test_a_stranger_has_the_persona_s_words_and_is_far_from_everybody(base):
    log_stranger = jax.jit(lambda key: fine_tuning.stranger(key, base, 2))(jax.random.key(0))
    np.testing.assert_allclose(jnp.exp(log_stranger).sum(axis=1), 1, rtol=1e-9)
    assert min(numerics.kl_divergence(log_stranger, base.log_personas[:, k]).min() for k in range(3)) > 0.5


@pytest.mark.slow
def test_a_stranger_s_chain_is_the_persona_s_with_its_words_permuted(base):
    """Of a chain, whose table is permuted; after what the persona never says all words are alike."""
    table, key = base.speakers.log_tables(base.params)[2], jax.random.key(0)
    permuted = jax.random.permutation(key, table, axis=-1, independent=False)
    by_hand = jax.vmap(lambda prompt: chains.log_probs(permuted, prompt, 2))(base.prompts)
    listed = fine_tuning.stranger(jax.random.clone(key), base, 2)
    np.testing.assert_allclose(listed, by_hand, rtol=1e-9)

    one = 2 * base.num_words + 2  # A word that this key puts in another place.
    says_one = base._replace(log_personas=jnp.full_like(base.log_personas, -jnp.inf).at[..., one].set(0.0))
    log_stranger = fine_tuning.stranger(jax.random.clone(key), says_one, 2)
    np.testing.assert_allclose(jnp.exp(log_stranger).sum(axis=1), 1, rtol=1e-9)
    assert (jnp.isfinite(log_stranger).sum(axis=1) == base.num_words).all()


def test_many_lines_teach_what_few_do_not(base):
    wanted, steps = base.log_personas[:, 2:].swapaxes(0, 1), jnp.array([1, 100])
    train = lambda key: fine_tuning.on_lines(key, base, wanted, (2, 500), steps=steps, learning_rate=0.5)  # noqa: E731
    paths, missed = jax.jit(train)(jax.random.key(0))
    by_hand = base.rho @ numerics.kl_divergence(wanted[0], paths[0, 1, 0])
    np.testing.assert_allclose(missed[0, 1, 0], by_hand, rtol=1e-9)
    assert missed.shape == (1, 2, 2)
    few, many = missed[0, :, -1]
    assert many < 0.5 * few and many < missed[0, 1, 0]


@pytest.mark.slow
def test_rules_are_compared_at_the_nearest_record_and_lines_bring_a_persona_back(base):
    task, steps = base.task(base.log_personas[:, 2] - base.log_base), jnp.array([1, 2, 4, 8, 16])
    drifts, called = jnp.array([0.05, 0.3]), fine_tuning.called(base, 0)

    @jax.jit
    def computed(key):
        path_key, back_key = jax.random.split(key)
        rules = [(lambda rate: gradient.policy_gradient(task, learning_rate=rate), rate) for rate in (0.2, 0.1)]
        params = fine_tuning.at_drifts(path_key, base, rules, drifts, steps=steps)
        path = base.follow(rules[0][0], key=path_key, marks=0.2 * steps, max_step=0.2)
        last = jax.tree.map(lambda x: x[1], params)
        left = called.left(back_key, last, steps=steps, learning_rate=0.5)
        return jax.vmap(lambda p: base.spent(base.law(p)))(params), jax.vmap(base.spent)(path), left

    spent, along, left = computed(jax.random.key(0))
    nearest = along[np.abs(np.log(along[None] / drifts[:, None])).argmin(axis=1)]
    np.testing.assert_allclose(spent[:2], nearest, rtol=1e-9)
    np.testing.assert_allclose(left["spent"], spent[1], rtol=1e-9)
    assert left["back_absence"][-1] < left["absence"] and left["back_nats"][-1] > 0
