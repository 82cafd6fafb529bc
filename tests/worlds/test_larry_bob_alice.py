import jax.numpy as jnp
import numpy as np

from toypersona import chains, transcripts
from toypersona.worlds import larry_bob_alice
from toypersona.worlds import world as worlds

WORLD, LABELS = larry_bob_alice.larry_bob_alice()
PROMPTS = [" ".join(transcripts.spelt(LABELS.units, prompt)) for prompt in WORLD.prompts]
GATES = dict(zip(PROMPTS, np.exp(WORLD.log_gates), strict=True))


def test_twelve_units_in_responses_and_about_twenty_in_all():
    assert LABELS.personas == ("larry", "bob", "alice")
    assert WORLD.log_experts.shape == (3, 19, 12)
    assert WORLD.prompts.shape == (6, 2)
    assert "." in LABELS.units[:12]


def test_each_has_an_opening_and_two_belong_to_nobody():
    for opening, owner in (("oi everyone", 0), ("dear everyone", 1), ("frankly everyone", 2)):
        assert 0.65 < GATES[opening][owner] < 0.9
    for opening in ("hello everyone", "well everyone"):
        np.testing.assert_allclose(GATES[opening], 1 / 3, atol=0.02)


def test_the_first_words_row_is_counted_from_every_line():
    assert len({int(prompt[-1]) for prompt in WORLD.prompts}) == 1


def test_each_speaks_in_character():
    log_personas = worlds.log_personas(WORLD, 3)
    tokens = chains.outcomes(12, 3)
    says = lambda i: " ".join(transcripts.said(LABELS.units, tokens[i]))  # noqa: E731
    top = [{says(i) for i in jnp.argsort(-log_personas[0, k])[:8]} for k in range(3)]
    assert {"go away", "you fool", "go away fool"} <= top[0]
    assert {"thank you friend", "thank you"} <= top[1]
    assert {"i can help", "honestly i can"} <= top[2]


def test_each_word_is_possible_for_everybody():
    assert jnp.isfinite(WORLD.log_experts).all()
