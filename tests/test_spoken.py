"""On a tiny random model whose tokens are letters; the wheel's own model where it is marked."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_language_model import ARCHITECTURE, MODEL, PARAMS

from toypersona import spoken
from toypersona.policies import language_model, model_file
from toypersona.worlds import voices

PROMPTS = ["abc", "gfedeg", "a"]


@pytest.mark.slow
def test_prompts_of_all_lengths_are_read_as_they_are_alone():
    prefixes = spoken.read(MODEL, PROMPTS)
    laws = spoken.next_laws(prefixes, 0.5)
    alone = functools.partial(language_model.read, ARCHITECTURE)
    for prompt, prefix, law in zip(PROMPTS, prefixes, laws, strict=True):
        logits = alone(PARAMS, jnp.asarray(MODEL.encode(prompt))).logits
        np.testing.assert_allclose(prefix.logits, logits, rtol=1e-10)
        np.testing.assert_allclose(jnp.exp(law), jax.nn.softmax(logits / 0.5), rtol=1e-10)


@pytest.mark.slow
def test_answers_are_scored_under_every_voice_and_tell_as_much_as_they_do():
    prefixes = spoken.read(MODEL, PROMPTS)
    said = spoken.answers(jax.random.key(0), MODEL, prefixes, num=4000, length=1, temperature=0.7)
    laws = spoken.next_laws(prefixes, 0.7)
    for drawn, scored in zip(said.tokens, said.log_probs, strict=True):
        np.testing.assert_allclose(scored, laws[:, drawn[:, 0]], rtol=1e-9)
    exact = np.mean([np.sum(np.exp(law) * (law - np.log(np.exp(laws).mean(axis=0)))) for law in laws])
    np.testing.assert_allclose(spoken.information(laws), exact, rtol=1e-10)
    found, error = spoken.sampled_information(said.log_probs)
    assert 0 < error < 0.05
    assert abs(found - exact) < 5 * error


@pytest.mark.slow
def test_what_one_voice_says_is_scored_under_others():
    first, *others = spoken.read(MODEL, PROMPTS)
    said = spoken.answers(jax.random.key(1), MODEL, [first], under=[first, *others], num=50, length=3, temperature=0.7)
    scored = functools.partial(language_model.score, ARCHITECTURE, PARAMS, ends=jnp.asarray(MODEL.ends))
    assert said.log_probs.shape == (1, 3, 50)
    for prefix, law in zip([first, *others], said.log_probs[0], strict=True):
        expected = scored(prefix, said.tokens[0], temperature=0.7).sum(axis=1)
        np.testing.assert_allclose(law, expected, rtol=1e-9)


def test_voices_that_are_told_apart_tell_ln_k_and_equal_ones_nothing():
    apart = jnp.log(jnp.eye(3))
    np.testing.assert_allclose(spoken.information(apart), np.log(3), rtol=1e-12)
    np.testing.assert_allclose(spoken.information(jnp.zeros((3, 5)) - jnp.log(5)), 0.0, atol=1e-14)
    scored = jnp.where(jnp.eye(3, dtype=bool)[:, :, None], -5.0, -500.0) + jnp.zeros((3, 3, 4))
    np.testing.assert_allclose(spoken.sampled_information(scored), (np.log(3), 0.0), rtol=1e-12)


@pytest.mark.lm
def test_the_model_speaks_in_three_voices():
    model = model_file.load()
    question = voices.questions()[0]
    prefixes = spoken.read(model, [voices.prompt(voices.lines(name), question) for name in voices.NAMES])
    said = spoken.answers(jax.random.key(0), model, prefixes, num=12, length=8, temperature=voices.TEMPERATURE)
    found, error = spoken.sampled_information(said.log_probs.astype(float))
    # At most ln 3, 1.1 nats, from 36 answers.
    assert found - 3 * error > 0.7
    texts = [[model.decode(answer) for answer in answers] for answers in np.asarray(said.tokens).tolist()]
    assert all(text.startswith(" ") for answers in texts for text in answers)
