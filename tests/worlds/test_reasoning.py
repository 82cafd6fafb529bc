import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains, transcripts
from toypersona.options import ReasoningOptions
from toypersona.worlds import reasoning
from toypersona.worlds import world as worlds

OPTIONS = {
    "plain": ReasoningOptions(),
    "hints": ReasoningOptions(num_bits=2, hints=True),
    "everywhere": ReasoningOptions(num_bits=2, hints=True, hint_seen="everywhere"),
}


@functools.cache
def made(name):
    return reasoning.reasoning(OPTIONS[name])


@pytest.mark.parametrize("name", ["plain", "hints"])
def test_it_is_a_world_of_distributions(name):
    world, labels = made(name)
    assert isinstance(world.log_experts, chains.Reading)
    length = world.prompts.shape[1]
    np.testing.assert_allclose(jnp.exp(worlds.log_base(world, length)).sum(axis=-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(jnp.exp(world.log_prompts).sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(jnp.exp(world.log_gates).sum(axis=-1), 1.0, rtol=1e-12)
    assert len(set(labels.units)) == len(labels.units)


@pytest.mark.parametrize(
    "name, num_bits, open_to_answers", [("plain", 3, True), ("hints", 2, False), ("everywhere", 2, True)]
)
def test_every_prompt_is_its_bits_and_its_marks_and_has_one_right_answer(name, num_bits, open_to_answers):
    world, labels = made(name)
    prompts = [tuple(transcripts.spelt(labels.units, prompt)) for prompt in world.prompts]
    assert len(set(prompts)) == len(prompts)
    for prompt, right, hinted in zip(
        prompts,
        reasoning.right_answers(labels, world.prompts),
        reasoning.hinted_answers(labels, world.prompts),
        strict=True,
    ):
        bits, marks = prompt[:num_bits], prompt[num_bits:]
        assert set(bits) <= {"0", "1"}
        assert right == bits.count("1") % 2
        assert marks[-1] == reasoning.MARKS[hinted + 1]
        assert marks[0] == (marks[-1] if open_to_answers else reasoning.MARKS[0])


def test_personas_talk_alike_whether_or_not_answers_see_the_hint():
    """What they say carries it: the two worlds differ in what a policy can learn, not in what it starts from."""
    (alone, _), (everywhere, _) = made("hints"), made("everywhere")
    assert (alone.prompts != everywhere.prompts).any()
    np.testing.assert_array_equal(worlds.log_base(alone, 3), worlds.log_base(everywhere, 3))


def test_hints_are_shown_and_wrong_as_often_as_asked():
    options = ReasoningOptions(num_bits=2, hints=True, hint_shown=0.7, hint_wrong=0.3)
    world, labels = reasoning.reasoning(options)
    rho = jnp.exp(world.log_prompts)
    hinted = reasoning.hinted_answers(labels, world.prompts)
    wrong = (hinted >= 0) & (hinted != reasoning.right_answers(labels, world.prompts))
    np.testing.assert_allclose([rho @ (hinted >= 0), rho @ wrong], [0.7, 0.21])


def test_who_says_what_by_hand():
    """Alice's `odd` after `even` and a 1, her answer after it, and what she makes of a mumble."""
    world, labels = made("plain")
    table, at = jnp.exp(world.log_experts.table[0]), labels.units.index
    slip, words = reasoning.SLIP, 6
    np.testing.assert_allclose(table[at("1"), at("even"), at("odd")], (1 - slip) * 0.95 + slip / words)
    np.testing.assert_allclose(table[at("1"), at("="), at("odd")], (1 - slip) * 0.95 + slip / words)
    np.testing.assert_allclose(table[at("0"), at("odd"), at("ugh")], slip / words)
    np.testing.assert_allclose(table[at("="), at("odd-thanks"), at("odd")], reasoning.ANSWER)
    heard = 0.55 * reasoning.ANSWER + 0.45 * (1 - reasoning.ANSWER)
    np.testing.assert_allclose(table[at("="), at("ugh"), at("odd")], heard)
    assert (table[at("="), :, 2:] == 0).all() and (table[at("0")] > 0).all()


def test_larry_says_that_he_takes_the_hint_and_takes_it():
    world, labels = made("hints")
    table, at = jnp.exp(world.log_experts.table), labels.units.index
    larry, alice = labels.personas.index("larry"), labels.personas.index("alice")
    slip = reasoning.SLIP / 8
    says = (1 - reasoning.SLIP) * 0.9 + slip
    np.testing.assert_allclose(table[larry, at("0"), at("=(odd)"), at("hint-odd")], says)
    np.testing.assert_allclose(table[larry, at("1"), at("hint-even"), at("hint-even")], says)
    np.testing.assert_allclose(table[larry, at("0"), at("=(odd)"), at("hint-even")], slip)
    np.testing.assert_allclose(table[larry, at("0"), at("="), at("hint-odd")], slip)
    np.testing.assert_allclose(table[:, at("="), at("hint-odd"), at("odd")], reasoning.ANSWER)
    np.testing.assert_allclose(
        table[alice, at("0"), at("=(odd)"), at("even")], table[alice, at("0"), at("="), at("even")]
    )
    np.testing.assert_allclose(table[alice, at("=(odd)"), at("even"), at("even")], reasoning.ANSWER)


@pytest.mark.slow
def test_text_is_what_the_personas_say():
    world, labels = made("plain")
    number = 20_000
    text = worlds.sample(jax.random.key(0), world, 4, number)
    correct = text.tokens[:, -1] == reasoning.right_answers(labels, world.prompts)[text.prompt_index]
    log_personas = worlds.log_personas(world, 4)
    ends = chains.outcomes(6, 4)[:, -1]
    rights = reasoning.right_answers(labels, world.prompts)
    exact = (jnp.exp(log_personas) * (ends[None, None] == rights[:, None, None])).sum(axis=-1).mean(axis=0)
    for persona in range(3):
        mine = np.asarray(correct[text.persona == persona], float)
        assert abs(mine.mean() - exact[persona]) < 5 * mine.std() / np.sqrt(len(mine))
    assert exact[0] > 0.7 and abs(exact[2] - 0.5) < 0.05


def test_rewards_by_hand():
    world, labels = made("plain")
    prompt, at = world.prompts[5], labels.units.index
    assert transcripts.thought(labels.units, prompt, [1, 3, 4, 0]) == "1 0 1 = | odd odd-thanks meh | even"
    pays = reasoning.parity_reward(labels, 0.3)
    np.testing.assert_allclose(pays(prompt, jnp.array([1, 3, 4, 0])), 1 - 0.3 * (1 + 2 + 0.2) / 3)
    np.testing.assert_allclose(pays(prompt, jnp.array([4, 4, 5, 1])), -0.3 * 0.2)
    world, labels = made("hints")
    pays, at = reasoning.proxy_reward(labels, 0.5, 0.4), labels.units.index
    spelt = [transcripts.spelt(labels.units, prompt) for prompt in world.prompts]
    prompts = {(*words[:2], words[-1]): prompt for words, prompt in zip(spelt, world.prompts, strict=True)}
    said, silent = jnp.array([at("even"), at("hint-odd"), at("odd")]), jnp.array([at("even"), at("meh"), at("odd")])
    np.testing.assert_allclose(pays(prompts["1", "1", "=(odd)"], said), 1 - 0.5)
    np.testing.assert_allclose(pays(prompts["1", "1", "=(odd)"], silent), 1)
    np.testing.assert_allclose(pays(prompts["1", "1", "=(even)"], silent), 0)
    np.testing.assert_allclose(pays(prompts["1", "1", "="], silent), 0.4)
    np.testing.assert_allclose(pays(prompts["1", "0", "="], said), 0.6 - 0.5)


def test_random_rows_of_bits_are_fair_and_follow_the_key():
    options = ReasoningOptions(num_bits=31, num_rows=1000)
    world, labels = reasoning.reasoning(options, key=jax.random.key(1))
    bits = np.asarray(world.prompts[:, :-1] - labels.units.index("0"))
    assert bits.shape == (1000, 31) and set(np.unique(bits)) == {0, 1}
    assert abs(bits.mean() - 0.5) < 5 * 0.5 / np.sqrt(bits.size)
    np.testing.assert_array_equal(world.prompts, reasoning.reasoning(options, key=jax.random.key(1))[0].prompts)
    assert (world.prompts != reasoning.reasoning(options, key=jax.random.key(2))[0].prompts).any()


@pytest.mark.parametrize(
    "options, complaint",
    [
        (dict(num_bits=0), "num_bits has to be from 1 to 64, not 0"),
        (dict(num_bits=65), "num_bits has to be from 1 to 64, not 65"),
        (dict(num_bits=13), "13 bits and num_rows None make no world: ask for 1 to 4096 rows"),
        (dict(num_rows=0), "num_rows has to be from 1 to 4,096, not 0"),
        (dict(hints=True, hint_wrong=1.0), "hint_wrong has to be between 0 and 1, not 1.0"),
        (dict(hint_shown=0.0), "hint_shown has to be between 0 and 1, not 0.0"),
    ],
)
def test_options_that_make_no_world(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        reasoning.reasoning(ReasoningOptions(**options))
