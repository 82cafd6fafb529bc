"""Oracles: any law of the listed responses, and the derivatives of a softmax written out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains
from toypersona.policies import next_words
from toypersona.policies.policy import log_prob_each

WORDS, LENGTH = 3, 3
PROMPTS = jnp.array([[4, 1], [0, 3]])
TABLE = next_words.table(PROMPTS, WORDS, LENGTH)
HISTORIES = [h for t in range(LENGTH) for h in itertools.product(range(WORDS), repeat=t)]
PARAMS = jnp.asarray(np.random.default_rng(0).normal(size=(2, 13, WORDS)))
log_probs = jax.jit(TABLE.log_probs)


def test_every_law_is_some_table_s():
    laws = jnp.log(jnp.asarray(np.random.default_rng(1).dirichlet(np.full(27, 0.5), 2)))
    params = chains.histories(laws, WORDS, LENGTH)[1]
    for c, prompt in enumerate(PROMPTS):
        np.testing.assert_allclose(log_probs(params, prompt), laws[c], rtol=1e-10)
        np.testing.assert_allclose(log_probs(params + 7, prompt), laws[c], rtol=1e-10)
        np.testing.assert_allclose(TABLE.probs(params, prompt), jnp.exp(laws[c]), rtol=1e-10)


def test_it_starts_even_and_knows_no_other_prompt():
    start = TABLE.init(jax.random.key(0))
    assert start.shape == PARAMS.shape
    np.testing.assert_allclose(log_probs(start, PROMPTS[1]), -3 * np.log(3), rtol=1e-12)
    assert jnp.isnan(log_probs(PARAMS, jnp.array([4, 3]))).all()


def test_a_response_pushes_its_own_words_up_where_it_says_them():
    """``1[v = x_t] - pi(v | h)`` at the histories that it goes through, and 0 elsewhere."""
    gradient = jax.jit(jax.grad(TABLE.log_prob))
    likely = np.asarray(jax.nn.softmax(PARAMS))
    for words in [(0, 2, 1), (1, 1, 1), (2, 0, 0)]:
        expected = np.zeros_like(likely)
        for t, word in enumerate(words):
            place = HISTORIES.index(words[:t])
            expected[1, place] = np.eye(WORDS)[word] - likely[1, place]
        np.testing.assert_allclose(gradient(PARAMS, PROMPTS[1], jnp.array(words)), expected, atol=1e-12)


def test_shorter_responses_are_begun_and_longer_ones_refused():
    laws = np.asarray(jnp.exp(log_probs(PARAMS, PROMPTS[0]))).reshape((WORDS,) * LENGTH)
    np.testing.assert_allclose(jnp.exp(TABLE.log_prob(PARAMS, PROMPTS[0], jnp.array([2, 1]))), laws[2, 1].sum())
    with pytest.raises(ValueError, match="responses have 3 words, not 4"):
        TABLE.log_prob(PARAMS, PROMPTS[0], jnp.array([0, 1, 2, 0]))


def test_logits_are_computed_once_a_prompt():
    counted = []

    def logits(params, prompt):
        jax.debug.callback(lambda _: counted.append(1), prompt)
        return params[0]

    policy = next_words.of_logits(TABLE.init, logits, LENGTH)
    each = jax.vmap(policy.log_prob, (None, None, 0))(PARAMS, PROMPTS[0], chains.outcomes(WORDS, LENGTH))
    jax.effects_barrier()
    assert len(counted) == 1
    np.testing.assert_allclose(each, log_probs(PARAMS, PROMPTS[0]), rtol=1e-12)
    counted.clear()
    which = jnp.arange(20) % 2
    log_prob_each(policy, PARAMS, PROMPTS, which, chains.outcomes(WORDS, LENGTH)[:20])
    jax.effects_barrier()
    assert len(counted) == 2
    # Of fewer responses than prompts only those prompts are read.
    counted.clear()
    log_prob_each(policy, PARAMS, PROMPTS, which[:1], chains.outcomes(WORDS, LENGTH)[:1])
    jax.effects_barrier()
    assert len(counted) == 1


def test_a_prompt_with_an_impossible_word_leaves_the_slopes_of_others():
    laws = jnp.log(jnp.asarray(np.random.default_rng(1).dirichlet(np.full(27, 0.5), 2)))
    laws = laws.at[1, :9].set(-jnp.inf)
    params, responses = next_words.of_law(laws, WORDS, LENGTH), chains.outcomes(WORDS, LENGTH)[9:12]
    score = lambda params, which: log_prob_each(TABLE, params, PROMPTS, which, responses).sum()  # noqa: E731
    slope = jax.jit(jax.grad(score))
    for c in (0, 1):
        found = slope(params, jnp.full(3, c))
        assert jnp.isfinite(found).all() and (found[1 - c] == 0).all() and (found[c] != 0).any()
