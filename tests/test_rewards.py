import jax
import jax.numpy as jnp
import numpy as np

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
        assert rewards.is_affine(feature, log_base, log_personas) is True
    for feature in (other, affine + 1e-4 * other):
        assert rewards.is_affine(feature, log_base, log_personas) is False
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
