import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains, numerics, rewards, theory

PROMPTS = jnp.array([[3, 0], [3, 1]])
RESPONSES = chains.outcomes(3, 2)


def test_word_scores_brevity_and_phrase():
    scores = jnp.array([1.0, 10.0, 100.0])
    by_word = rewards.evaluate(rewards.word_scores(scores), PROMPTS, RESPONSES)
    assert by_word.shape == (2, 9)
    np.testing.assert_array_equal(by_word[0], [2, 11, 101, 11, 20, 110, 101, 110, 200])
    short = rewards.evaluate(rewards.brevity(2), PROMPTS, RESPONSES)
    np.testing.assert_array_equal(short[1], [-2, -2, -1, -2, -2, -1, 0, 0, 0])
    said = rewards.evaluate(rewards.phrase(jnp.array([1, 0])), PROMPTS, RESPONSES)
    np.testing.assert_array_equal(jnp.flatnonzero(said[0]), [3])


def test_a_reward_may_read_the_prompt():
    found = rewards.evaluate(lambda prompt, response: (response[0] == prompt[1]) * 1.0, PROMPTS, RESPONSES)
    np.testing.assert_array_equal(found.argmax(1), [0, 3])


def test_persona_affine_is_the_expected_score_of_the_writer():
    personas = np.array([[0.2, 0.8], [0.6, 0.4]])
    gates = np.array([0.25, 0.75])
    found = rewards.persona_affine(jnp.log(gates)[None], jnp.log(personas)[None], jnp.array([1.0, 5.0]))
    joint = gates[:, None] * personas
    np.testing.assert_allclose(found[0], (joint[0] + 5 * joint[1]) / joint.sum(0), rtol=1e-12)


def test_standardise():
    log_base = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (2, 9)))
    log_prompts = jnp.log(jnp.array([0.4, 0.6]))
    made = rewards.standardise(jax.random.normal(jax.random.key(1), (2, 9)), log_base, log_prompts)
    np.testing.assert_allclose((jnp.exp(log_base) * made).sum(1), 0, atol=1e-12)
    np.testing.assert_allclose(jnp.exp(log_prompts) @ (jnp.exp(log_base) * made**2).sum(1), 1, rtol=1e-12)
    np.testing.assert_array_equal(rewards.standardise(jnp.zeros((2, 9)), log_base, log_prompts), 0)


def test_what_nobody_can_say_has_a_score_that_is_a_number():
    log_personas = jnp.log(jnp.array([[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]]))
    paid = rewards.persona_affine(jnp.log(jnp.array([[0.5, 0.5]])), log_personas, jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(paid[0, :2], [1 / 3, 1.0])
    assert jnp.isfinite(paid).all()


def test_best_paid_takes_the_best_as_long_as_the_base_says_them_seldom_enough():
    log_base = jnp.log(jnp.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]))
    reward = jnp.array([[1.0, 4.0, 3.0, 2.0], [1.0, 4.0, 3.0, 2.0]])
    np.testing.assert_array_equal(rewards.best_paid(reward, log_base, 0.51), [[0, 1, 1, 0], [0, 1, 1, 0]])
    np.testing.assert_array_equal(rewards.best_paid(reward, log_base, 0.25), [[0, 1, 0, 0], [0, 0, 0, 0]])


@pytest.mark.slow
def test_errors_have_unit_size_and_those_by_words_are_shared():
    responses = chains.outcomes(4, 6)
    log_base, log_prompts = jnp.full((2, len(responses)), -jnp.log(len(responses))), jnp.log(jnp.full(2, 0.5))
    normal, words, student = rewards.errors(jax.random.key(0), PROMPTS, responses, log_base, log_prompts)
    num = normal.size
    for error in (normal, student):
        # The standard error of a share near a half; 0.6745 is the median size of a normal error.
        assert abs((abs(error) < 0.6745).mean() - 0.5) < 5 * 0.5 / np.sqrt(num)
    assert abs(student).max() > 10 > abs(normal).max()
    np.testing.assert_allclose((words**2).mean(), 1, rtol=1e-9)
    by_words = words.reshape(2, *[4] * 6)
    np.testing.assert_allclose(by_words, jnp.swapaxes(by_words, 1, 5), atol=1e-12)


@pytest.mark.slow
def test_a_random_reward_is_standardised_and_may_lie_at_any_angle_to_the_personas():
    log_gates = jax.nn.log_softmax(jax.random.normal(jax.random.key(2), (2, 3)))
    log_personas = jax.nn.log_softmax(jax.random.normal(jax.random.key(3), (2, 3, 9)))
    log_base, log_prompts = numerics.log_mix(log_gates, log_personas), jnp.log(jnp.array([0.4, 0.6]))

    def angle_and_square(seed):
        reward = rewards.at_random(jax.random.key(seed), log_gates, log_base, log_personas, log_prompts)
        square = jnp.exp(log_prompts) @ numerics.expectation(log_base, reward**2)
        return theory.angle(theory.weak_limit(log_base, log_personas, reward, log_prompts)), square

    angles, squares = jax.vmap(angle_and_square)(jnp.arange(400))
    np.testing.assert_allclose(squares, 1, rtol=1e-9)
    counts = np.histogram(angles, bins=4, range=(0, np.pi / 2))[0]
    assert np.abs(counts - 100).max() < 5 * np.sqrt(75)


def test_looked_up_rewards_are_those_of_the_list():
    reward = jax.random.normal(jax.random.key(3), (2, 27))
    responses = chains.outcomes(3, 3)
    pay = rewards.lookup(reward)
    for c in range(2):
        np.testing.assert_array_equal(jax.vmap(pay, (None, 0))(jnp.asarray(c), responses), reward[c])


def test_what_the_personas_can_be_paid_for_leaves_nothing_beside_them():
    log_personas = jax.nn.log_softmax(jax.random.normal(jax.random.key(4), (2, 3, 9)))
    log_gates = jax.nn.log_softmax(jax.random.normal(jax.random.key(5), (2, 3)))
    log_base = numerics.log_mix(log_gates, log_personas)
    affine = rewards.persona_affine(log_gates, log_personas, jnp.array([1.0, 2.0, -1.0]))
    other = jax.random.normal(jax.random.key(6), (2, 9))
    for feature in (affine, 3.0 + affine, jnp.ones((2, 9)), jnp.zeros((2, 9))):
        assert rewards.is_affine(feature, log_base, log_personas)
    for feature in (other, affine + 1e-4 * other):
        assert not rewards.is_affine(feature, log_base, log_personas)
    # At one prompt only is enough.
    assert not rewards.is_affine(affine.at[1].set(other[1]), log_base, log_personas)


def test_confusion_and_the_reward_of_all_but_one_by_hand():
    log_personas = jax.nn.log_softmax(2 * jax.random.normal(jax.random.key(7), (2, 3, 9)))
    log_gates = jax.nn.log_softmax(jax.random.normal(jax.random.key(8), (2, 3)))
    g, p = np.exp(np.asarray(log_gates)), np.exp(np.asarray(log_personas))
    posterior = g[:, :, None] * p / (g[:, :, None] * p).sum(1, keepdims=True)
    by_hand = np.array([[[(p[c, k] * posterior[c, j]).sum() for j in range(3)] for k in range(3)] for c in range(2)])
    np.testing.assert_allclose(rewards.confusion(log_gates, log_personas), by_hand, rtol=1e-10)
    reward = np.asarray(rewards.all_right_but(1, log_gates, log_personas))
    means = np.einsum("ckn,cn->ck", p, reward)
    np.testing.assert_allclose(means, [[1, 0, 1], [1, 0, 1]], atol=1e-10)
    assert rewards.is_affine(jnp.asarray(reward), numerics.log_mix(log_gates, log_personas), log_personas)


SHAPES = pytest.mark.parametrize(
    "shape, dtype",
    [((2, 3, 8), "float64"), ((2, 3, 8), "float32"), ((1, 1, 8), "float64"), ((2, 2, 1), "float64")],
)
"""Prompts, personas and responses."""


def sparse_worlds(shape, num=100):
    """Gates [S, C, K], personas [S, C, K, N] and prompts [S, C] with zeros among them; what nobody says, too."""
    rng = np.random.default_rng(sum(shape))
    (num_prompts, num_personas, num_words) = shape
    personas = rng.dirichlet(np.full(num_words, 0.5), (num, num_prompts, num_personas))
    personas *= rng.random(personas.shape) < 0.7
    personas *= rng.random((num, num_prompts, 1, num_words)) < 0.8
    personas[..., 0] += personas.sum(-1) == 0
    gates = rng.dirichlet(np.ones(num_personas), (num, num_prompts)) * (
        rng.random((num, num_prompts, num_personas)) < 0.8
    )
    gates[..., 0] += gates.sum(-1) == 0
    prompts = rng.dirichlet(np.ones(num_prompts), num)
    prompts[::2, -1] *= num_prompts == 1
    gates, personas, prompts = (x / x.sum(-1, keepdims=True) for x in (gates, personas, prompts))
    return gates, personas, prompts, rng


def posterior(gates, personas):
    """By hand; the gates where nobody can say it."""
    joint = gates[..., None] * personas
    said = joint.sum(-2, keepdims=True)
    return np.where(said > 0, joint / np.where(said > 0, said, 1), gates[..., None])


@pytest.mark.slow_but("shape3-float64", "shape1-float32")
@SHAPES
def test_rewards_where_prompts_words_and_gates_have_no_probability_as_by_numpy(shape, dtype):
    gates, personas, prompts, rng = sparse_worlds(shape)
    base = (gates[..., None] * personas).sum(2)
    paid = rng.normal(size=base.shape) + 3.0
    # What has no probability may pay anything.
    paid = np.where((base > 0) & (prompts[..., None] > 0), paid, np.nan)
    scores = rng.normal(size=shape[1])
    constants = rng.normal(size=base.shape[:2])[..., None] * 10.0 ** rng.integers(-6, 7, size=base.shape[:2])[..., None]

    @jax.jit
    @jax.vmap
    def made(gates, personas, prompts, base, paid, constant):
        log_gates, log_personas, log_prompts, log_base = map(jnp.log, (gates, personas, prompts, base))
        affine = rewards.persona_affine(log_gates, log_personas, jnp.asarray(scores, gates.dtype))
        hull = log_base, log_personas
        return {
            "standard": rewards.standardise(paid, log_base, log_prompts),
            "constant": rewards.standardise(jnp.broadcast_to(constant, base.shape), log_base, log_prompts),
            "weak limit of a constant": theory.weak_limit(*hull, jnp.broadcast_to(constant, base.shape), log_prompts),
            "affine": affine,
            "u": rewards.standardise(affine, log_base, log_prompts),
            "at angle of an affine feature": rewards.at_angle(1.0, affine, 2 * affine + constant, *hull, log_prompts),
            "confusion": rewards.confusion(log_gates, log_personas),
            "all right but": rewards.all_right_but(shape[1] - 1, log_gates, log_personas),
        }

    given = (np.asarray(x, dtype) for x in (gates, personas, prompts, base, paid, constants))
    digits = 1e-9 if dtype == "float64" else 2e-4
    found, near = made(*given), functools.partial(np.testing.assert_allclose, rtol=digits, atol=digits)
    counts = (base > 0) & (prompts[..., None] > 0)
    mean = np.nansum(base * paid, -1, keepdims=True)
    variance = (prompts * np.nansum(base * (paid - mean) ** 2, -1)).sum(-1)[:, None, None]
    varies = variance > 1e-12
    oracle = np.where(varies, (paid - mean) / np.sqrt(np.where(varies, variance, 1)), 0.0)
    near(np.where(counts, found["standard"], 0), np.where(counts, oracle, 0))
    np.testing.assert_array_equal(found["constant"], 0)
    assert np.isnan(found["weak limit of a constant"]).all()
    by_hand = np.einsum("k,sckn->scn", scores, posterior(gates, personas))
    near(found["affine"], by_hand)
    # The feature's own part is nothing, up to the last digits of what the constant adds to it.
    one_sided = np.cos(1.0) * np.asarray(found["u"])
    near(np.where(counts, found["at angle of an affine feature"] - one_sided, 0), 0)
    confused = np.einsum("sckn,scjn->sckj", personas, posterior(gates, personas))
    near(found["confusion"], confused)
    reward = np.asarray(found["all right but"])
    made_at, wanted = np.isfinite(reward).all(-1), np.arange(shape[1]) != shape[1] - 1
    pays = np.einsum("sckn,scn->sck", personas, reward)[made_at]
    np.testing.assert_allclose(pays, np.broadcast_to(wanted, pays.shape), atol=1e-3)
    singular = np.abs(np.linalg.det(confused)) < 1e-12
    assert np.isnan(reward[singular]).all() and (made_at.any() or shape[2] == 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_best_paid_as_by_going_through_them(dtype):
    rng = np.random.default_rng(1)
    base = np.concatenate([rng.dirichlet(np.full(10, 0.3), (99, 2)), np.full((1, 2, 10), 0.1)])
    paid = rng.integers(0, 4, size=base.shape).astype(float)
    with np.errstate(divide="ignore"):
        given = jnp.asarray(paid, dtype), jnp.log(jnp.asarray(base, dtype))
    found = jax.vmap(lambda paid, log_base: rewards.best_paid(paid, log_base, 0.3))(*given)
    for made, row, mass in zip(*(np.asarray(x).reshape(-1, 10) for x in (found, paid, base)), strict=True):
        left, expected = 0.3 + 1e-6, np.zeros(10)
        for x in np.argsort(-row, kind="stable"):
            left -= mass[x]
            expected[x] = left >= 0
        np.testing.assert_array_equal(made, expected)
    # Three of ten responses of a tenth each, though 0.1 + 0.1 + 0.1 is more than 0.3.
    assert found[-1, 0].sum() == 3
    np.testing.assert_array_equal(rewards.best_paid(given[0][-1], given[1][-1], 1.0), 1)


def test_what_is_not_in_a_list_is_paid_nan_and_never_like_another():
    reward = jnp.arange(9.0)[None]
    pay = rewards.lookup(reward)
    assert pay(jnp.asarray(0), jnp.array([1, 2])) == 5
    for which, tokens in ((0, [0, 3]), (0, [-1, 0]), (1, [0, 0]), (-1, [0, 0])):
        assert jnp.isnan(pay(jnp.asarray(which), jnp.array(tokens)))
    with pytest.raises(ValueError, match="9 responses of 3 words are not all that some number of words makes"):
        pay(jnp.asarray(0), jnp.array([0, 1, 2]))
    scores = rewards.word_scores(jnp.array([1.0, 10.0]))
    prompt = jnp.array([0])
    assert scores(prompt, jnp.array([0, 1, 1])) == 21 and jnp.isnan(scores(prompt, jnp.array([0, 2])))
    assert jnp.isnan(scores(prompt, jnp.array([-1, 0])))
    with pytest.raises(ValueError, match="8 responses of 2 words are not all"):
        rewards.errors(jax.random.key(0), PROMPTS, RESPONSES[:8], jnp.zeros((2, 8)), jnp.zeros(2))


def test_a_phrase_is_begun_by_responses_as_long_as_it():
    def said(words, response):
        return float(rewards.phrase(jnp.array(words, int))(jnp.array([0]), jnp.array(response, int)))

    assert [said([3, 3], x) for x in ([3], [3, 3], [3, 3, 1], [3, 1])] == [0, 1, 1, 0]
    assert said([], [2]) == 1 and said([1], []) == 0


def test_a_reward_of_a_response_is_one_number_and_a_persona_has_a_number_there_is():
    with pytest.raises(ValueError, match=r"one number, not an array of shape \(2,\)"):
        rewards.evaluate(lambda prompt, response: response * 1.0, PROMPTS, RESPONSES)
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match=f"a number from 0 to 2, not {wrong}"):
            rewards.all_right_but(wrong, jnp.zeros((1, 3)), jnp.zeros((1, 3, 4)))


def test_nan_is_never_read_as_constant_or_affine():
    log_base = jnp.log(jnp.full((1, 4), 0.25))
    log_personas = jnp.log(jnp.array([[[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]]))
    unknown = jnp.array([[0.0, jnp.nan, 1.0, 2.0]])
    assert jnp.isnan(rewards.standardise(unknown, log_base, jnp.zeros(1))).any()
    assert not rewards.is_affine(unknown, log_base, log_personas)
