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
    made = theory.horizon(mixture, 0.8, (1, 3, 5), last_only=last_only)
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
    at = jax.jit(lambda s: theory.horizon(mixture, s, lengths))
    weak = tends.weak_limit(jnp.array(lengths, float))
    np.testing.assert_allclose(at(1e-7).selection_fraction[0], weak[0], rtol=2e-3)
    strength = tends.half / jnp.sqrt(lengths[1])
    np.testing.assert_allclose(at(strength).selection_fraction[1], 0.5, atol=2e-3)
    np.testing.assert_allclose(tends.weak_limit(tends.within / tends.between), 0.5, rtol=1e-12)


def laws(mixture, strength):
    return long_answers.long_run(mixture), theory.horizon(mixture, strength, (1, 4))


def test_of_a_constant_reward_there_is_no_share_and_no_half():
    mixture, constants = chains_at_random(2), jnp.array([0.0, 0.1, -1e6])
    of = lambda constant, strength: laws(mixture._replace(scores=jnp.full(4, constant)), strength)  # noqa: E731
    tends, made = jax.jit(jax.vmap(of))(constants, jnp.ones(3))
    np.testing.assert_allclose(tends.means, np.repeat(constants[:, None], K, 1), rtol=1e-12)
    assert (tends.between == 0).all() and (tends.within == 0).all() and jnp.isnan(tends.half).all()
    assert jnp.isnan(tends.weak_limit(jnp.ones(3))).all() and jnp.isnan(made.selection_fraction).all()
    np.testing.assert_allclose(made.total, 0, atol=1e-14)


@pytest.mark.slow
def test_prompts_never_asked_and_personas_never_called_do_not_count():
    """The rest is what is left of the mixture without them, exactly."""
    mixture, both = chains_at_random(3), jax.jit(laws)
    gates = jnp.log(jnp.array([[0.4, 0.6, 0.0], [jnp.nan, jnp.nan, jnp.nan]]))
    best = int(jnp.argmax(both(mixture, 0.7)[0].means))
    order = jnp.array([*(k for k in range(K) if k != best), best])
    whole = mixture._replace(
        log_gates=gates, log_experts=mixture.log_experts[order], log_prompts=jnp.log(jnp.array([1.0, 0.0]))
    )
    left = PaidMixture(gates[:1, :2], whole.log_experts[:2], whole.prompts[:1], jnp.zeros(1), whole.scores)
    for found, alone in zip(both(whole, 0.7), both(left, 0.7), strict=True):
        for name in {"between", "within", "half", "total", "distortion", "selection_fraction"} & set(found._fields):
            np.testing.assert_allclose(getattr(found, name), getattr(alone, name), rtol=1e-12, err_msg=name)
    # One persona: nothing is selected, and the half boundary is passed from the start.
    one = PaidMixture(jnp.zeros((1, 1)), left.log_experts[:1], left.prompts, left.log_prompts, left.scores)
    tends, made = both(one, 0.7)
    assert tends.half == 0 and tends.between == 0
    np.testing.assert_allclose(made.selection_fraction, 0, atol=1e-12)
