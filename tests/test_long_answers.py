import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains, long_answers, theory
from toypersona.tilted import PaidMixture

K = 3


def chains_at_random(seed, num_words=4):
    keys = jax.random.split(jax.random.key(seed), 3)
    experts = jax.nn.log_softmax(jax.random.normal(keys[0], (K, num_words, num_words)))
    log_gates = jax.nn.log_softmax(jax.random.normal(keys[1], (2, K)))
    scores = jax.random.normal(keys[2], (num_words,))
    return PaidMixture(log_gates, experts, jnp.array([[1], [3]]), jnp.log(jnp.array([0.7, 0.3])), scores)


@pytest.mark.slow
@pytest.mark.parametrize("last_only", [False, True])
def test_horizon_as_by_listing_all_responses(last_only):
    mixture = chains_at_random(0)
    log_gates, experts, prompts, log_prompts, scores = mixture
    made = long_answers.horizon(mixture, 0.8, (1, 3, 5), last_only=last_only)
    for i, length in enumerate((1, 3, 5)):
        by_persona = jax.vmap(lambda table, prompt, n=length: chains.log_probs(table, prompt, n), (0, None))
        log_personas = jax.vmap(by_persona, (None, 0))(experts, prompts)
        paid = scores[chains.outcomes(4, length)]
        reward = jnp.broadcast_to(paid[:, -1] if last_only else paid.sum(axis=1), (2, 4**length))
        parts = theory.factorise(log_gates, log_personas, reward, 0.8, log_prompts)
        np.testing.assert_allclose(made.total[i], parts.total, rtol=1e-10)
        np.testing.assert_allclose(made.distortion[i], parts.distortion, rtol=1e-10)
        np.testing.assert_allclose(made.weights[i], jnp.exp(parts.log_weights), rtol=1e-10)
        np.testing.assert_allclose(made.selection_fraction[i], 1 - parts.distortion / parts.total, rtol=1e-8)


def test_the_long_run_is_where_the_horizon_tends_to():
    mixture = chains_at_random(1)
    tends = jax.jit(long_answers.long_run)(mixture)
    lengths = (2**12, 2**20)
    at = jax.jit(lambda s: long_answers.horizon(mixture, s, lengths))
    weak = tends.weak_limit(jnp.array(lengths, float))
    np.testing.assert_allclose(at(1e-7).selection_fraction[0], weak[0], rtol=2e-3)
    strength = tends.half / jnp.sqrt(lengths[1])
    np.testing.assert_allclose(at(strength).selection_fraction[1], 0.5, atol=2e-3)
    np.testing.assert_allclose(tends.weak_limit(tends.within / tends.between), 0.5, rtol=1e-12)
