import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona.worlds import markov, phrase
from toypersona.worlds import world as worlds


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("mass", [1e-12, 0.3])
def test_the_phrase_has_its_mass_and_the_rest_keeps_its_odds(mass, length):
    plain, labels = markov.markov(jax.random.key(0), num_words=3, num_prompts=2)
    world, new_labels = phrase.with_phrase(plain, labels, mass, length)
    assert new_labels.units == (*labels.units, phrase.WORD) and new_labels.personas == labels.personas
    log_personas = worlds.log_personas(world, length)
    assert log_personas.shape == (2, 3, 4**length)
    np.testing.assert_allclose(jnp.exp(log_personas).sum(axis=-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(log_personas[..., -1], np.log(mass), rtol=1e-12)
    before = worlds.log_personas(plain, length).reshape(2, 3, *(3,) * length)
    after = log_personas.reshape(2, 3, *(4,) * length)[(..., *(slice(3),) * length)]
    np.testing.assert_allclose(after - before, length * np.log1p(-(mass ** (1 / length))), rtol=1e-6, atol=1e-14)
