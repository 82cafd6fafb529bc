"""Detectors without the policy's log-probabilities, against NumPy, SciPy and what is true of small chains."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from toypersona import chains, hulls, numerics, theory
from toypersona.measures import alternatives, detectors

NUM_WORDS, LENGTH = 3, 4
PROMPTS = jnp.array([[0], [2]])
LOG_PROMPTS = jnp.log(jnp.array([0.4, 0.6]))
SHAPE = (NUM_WORDS, NUM_WORDS)
WORDS = chains.outcomes(NUM_WORDS, LENGTH)
ALARM = np.log(20)


def laws(tables):
    return jax.vmap(lambda prompt: jax.vmap(lambda table: chains.log_probs(table, prompt, LENGTH))(tables))(PROMPTS)


TABLES = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (3, *SHAPE)))
PERSONAS = laws(TABLES)
STRANGER = laws(jax.nn.log_softmax(1.5 * jax.random.normal(jax.random.key(1), (1, *SHAPE))))[:, 0]
INSIDE = numerics.log_mix(jnp.log(jnp.array([[0.7, 0.3, 0.0], [0.1, 0.1, 0.8]])), PERSONAS)


def drawn(seed, law, num_sets, num_samples):
    """Places of responses in ``WORDS`` [sets, prompts, samples]."""
    rng, probs = np.random.default_rng(seed), np.exp(law)
    shape = (num_sets, num_samples)
    return jnp.asarray(np.stack([rng.choice(len(p), size=shape, p=p / p.sum()) for p in probs], axis=1))


def scores(places):
    return jnp.take_along_axis(PERSONAS, places[:, None], axis=2)


E_VALUE = jax.jit(detectors.e_value)
SPLIT = jax.jit(jax.vmap(lambda x: alternatives.next_words(PROMPTS, WORDS[x], scores(x), SHAPE).log_e))
SEQUENTIAL = jax.jit(jax.vmap(lambda x: alternatives.sequential(PROMPTS, WORDS[x], scores(x), SHAPE).log_e))


def transitions(prompt, responses):
    counts = np.zeros(SHAPE)
    for words in responses:
        for before, after in itertools.pairwise([prompt, *words]):
            counts[before, after] += 1
    return counts


def test_a_split_e_value_is_that_of_tables_counted_by_hand():
    places = drawn(0, STRANGER, 1, 12)[0]
    found = jax.jit(lambda x: alternatives.next_words(PROMPTS, WORDS[x], scores(x), SHAPE))(places)
    halves = np.split(np.asarray(WORDS[places]), 2, axis=1)
    for which, (fitted, tested) in enumerate((halves, halves[::-1])):
        counts = np.stack([transitions(prompt[0], x) for prompt, x in zip(np.asarray(PROMPTS), fitted, strict=True)])
        pooled = counts.sum(axis=0) + 0.5
        tables = counts + 1.5 * pooled / pooled.sum(axis=1, keepdims=True)
        log_tables = np.log(tables / tables.sum(axis=2, keepdims=True))
        log_p = [
            [sum(log_tables[c][pair] for pair in itertools.pairwise([int(PROMPTS[c, 0]), *words])) for words in x]
            for c, x in enumerate(tested)
        ]
        log_q = jnp.split(scores(places), 2, axis=2)[1 - which]
        alone = E_VALUE(jnp.array(log_p), log_q)
        assert found.halves.log_e[which] == pytest.approx(float(alone.log_e), abs=1e-7)
    assert found.log_e == pytest.approx(np.log(np.exp(found.halves.log_e).mean()))


def test_a_sequential_e_value_is_the_product_of_its_predictions():
    places = drawn(1, STRANGER, 1, 6)[0]
    log_p = 0.0
    for (prompt,), responses in zip(np.asarray(PROMPTS), np.asarray(WORDS[places]), strict=True):
        counts = np.full(SHAPE, alternatives.PRIOR)
        for words in responses:
            for before, after in itertools.pairwise([prompt, *words]):
                log_p += np.log(counts[before, after] / counts[before].sum())
                counts[before, after] += 1
    found = jax.jit(lambda x: alternatives.sequential(PROMPTS, WORDS[x], scores(x), SHAPE))(places)
    known = E_VALUE(jnp.full(places.shape, log_p / places.size), scores(places))
    assert found.log_e == pytest.approx(float(known.log_e), abs=1e-7) and found.gap < 1e-6


@pytest.mark.slow
def test_fitted_laws_alarm_outside_and_not_inside():
    for statistic in (SPLIT, SEQUENTIAL):
        inside = statistic(drawn(2, INSIDE, 300, 24))
        assert (inside >= ALARM).mean() <= 0.05 and (inside >= np.log(2)).mean() <= 0.5
    outside = drawn(3, STRANGER, 300, 24)
    split, learnt = ((statistic(outside) >= ALARM).mean() for statistic in (SPLIT, SEQUENTIAL))
    scored = jnp.take_along_axis(STRANGER[None], outside, axis=2)
    known = jax.vmap(lambda x, p: detectors.e_value(p, scores(x)).log_e)(outside, scored)
    assert 0.1 < split < learnt < (known >= ALARM).mean()


def features(places):
    return alternatives.word_counts(WORDS[places], NUM_WORDS)


CLASSIFIER = jax.jit(alternatives.classifier)


def test_features():
    words = jnp.array([[0, 2, 2, 1], [1, 1, 1, 1]])
    np.testing.assert_array_equal(alternatives.word_counts(words, 3), [[1, 1, 2], [0, 4, 0]])
    places = alternatives.word_counts(words, 3, places=True)
    np.testing.assert_array_equal(places[0].reshape(4, 3).argmax(axis=1), words[0])


def test_the_classifier_is_scipy_s_and_names_the_word():
    told = theory.tilt(INSIDE, jnp.broadcast_to((WORDS == 1).sum(axis=1) * 1.0, INSIDE.shape), 0.8)
    policy, mix = (features(drawn(seed, law, 1, 100)[0, 0]) for seed, law in ((4, told), (5, INSIDE)))
    found = CLASSIFIER(policy, mix)
    apart = np.asarray(policy - mix)
    loss = lambda b: -special.log_expit(apart[:50] @ b).sum() + 0.5 * b @ b  # noqa: E731
    np.testing.assert_allclose(found.coefficients, optimize.minimize(loss, np.zeros(3), tol=1e-10).x, atol=1e-7)
    held_out = apart[50:] @ np.asarray(found.coefficients)
    assert found.log_e == pytest.approx(np.log(2 * special.expit(held_out)).sum())
    assert found.accuracy == pytest.approx(((held_out > 0) + 0.5 * (held_out == 0)).mean())
    assert found.coefficients.argmax() == 1 and found.log_e > ALARM


def test_a_pair_s_e_value_is_fair_whatever_was_fitted():
    rng = np.random.default_rng(6)
    fitted, tested = rng.normal(size=(2, 2, 4, 3))
    means = []
    for swaps in itertools.product([False, True], repeat=4):
        swapped = np.where(np.array(swaps)[None, :, None], tested[::-1], tested)
        both = jnp.asarray(np.concatenate([fitted, swapped], axis=1))
        means.append(float(jnp.exp(CLASSIFIER(*both).log_e)))
    assert np.mean(means) == pytest.approx(1.0, abs=1e-12) and np.ptp(means) > 0.1


def test_pairs_that_are_separated_end():
    found = CLASSIFIER(jnp.tile(jnp.array([[50.0, 0.0, 0.0]]), (20, 1)), jnp.zeros((20, 3)), penalty=1e-3)
    assert found.accuracy == 1 and found.log_e == pytest.approx(10 * np.log(2), abs=1e-3)


# Full steps alone end with a slope of 100 on the first, safe ones alone with .1; safe ones alone, with 17 nats less
# than there are, on the second.
FAR = np.array([[24.0, 23], [0.3, 0], [-3, 15], [8, 31], [24, -48]])
OUTLIER = np.concatenate([[[1e3, 0.0]], np.where(np.arange(100) < 80, 1.0, -1.0)[:, None] * [[0.0, 1.0]]])


@pytest.mark.parametrize("pairs, penalty", [(FAR, 7e-3), (OUTLIER, 1.0), (OUTLIER, 1e-3)])
def test_pairs_that_reach_far_are_fitted_to_the_end(pairs, penalty):
    pairs = np.tile(pairs, (2, 1))
    found = np.asarray(CLASSIFIER(jnp.asarray(pairs), jnp.zeros(pairs.shape), penalty=penalty).coefficients)
    half = pairs[: len(pairs) // 2]
    slope = half.T @ special.expit(-half @ found) - penalty * found
    np.testing.assert_allclose(slope, 0, atol=1e-7)


HELD_OUT = jax.jit(
    jax.vmap(
        lambda law, x: alternatives.held_out_distance(jnp.take_along_axis(law, x, axis=1), scores(x), LOG_PROMPTS),
        (None, 0),
    )
)


@pytest.mark.slow
def test_the_held_out_distance_is_unbiased_and_its_error_honest():
    rho = np.exp(LOG_PROMPTS)
    reward = jax.random.normal(jax.random.key(7), INSIDE.shape)
    for law, num in ((INSIDE, 200), (theory.tilt(INSIDE, reward, 0.3), 200), (STRANGER, 40)):
        truth = rho @ jax.vmap(lambda p, q: hulls.project(p, q, tolerance=None))(law, PERSONAS).distance
        found = HELD_OUT(law, drawn(8 + num, law, 250, num))
        values = np.asarray(found.value)
        spread = values.std() / np.sqrt(250)
        assert abs(values.mean() - truth) < 4 * spread + 0.03 * truth + 1e-9
        covered = (np.abs(values - truth) <= 1.96 * found.error + 1e-9).mean()
        assert covered > 0.88


@pytest.mark.slow
def test_a_shift_alarms_inside_the_hull_where_an_e_value_does_not():
    base = numerics.log_mix(jnp.full((2, 3), -np.log(3)), PERSONAS)
    policy = numerics.log_mix(jnp.log(jnp.array([[0.95, 0.05, 0.0], [0.9, 0.0, 0.1]])), PERSONAS)
    before, after = drawn(20, base, 1, 400)[0], drawn(21, policy, 1, 400)[0]
    values = [-jnp.take_along_axis(base, x, axis=1) for x in (after, before)]
    found = alternatives.shift(values[0], values[1], LOG_PROMPTS)
    rho = np.exp(LOG_PROMPTS)
    mean = [rho @ np.asarray(x).mean(axis=1) for x in values]
    error = np.sqrt(sum(rho**2 @ (np.asarray(x).std(axis=1, ddof=1) ** 2 / 400) for x in values))
    assert found.value == pytest.approx(mean[0] - mean[1]) and found.error == pytest.approx(error)
    assert abs(found.z) > 4
    assert detectors.e_value(jnp.take_along_axis(policy, after, axis=1), scores(after)).log_e <= 0
    assert alternatives.Estimate(jnp.zeros(()), jnp.zeros(())).z == 0


def test_wrong_inputs_are_refused():
    places = drawn(0, INSIDE, 1, 6)[0]
    given = PROMPTS, WORDS[places], scores(places)
    split, learnt = inspect.unwrap(alternatives.next_words), inspect.unwrap(alternatives.sequential)
    with pytest.raises(ValueError, match="split in two"):
        split(PROMPTS, WORDS[places[:, 1:]], scores(places)[..., 1:], SHAPE)
    for refused in (split, learnt):
        with pytest.raises(ValueError, match="have to be"):
            refused(*given[:2], scores(places)[..., 1:], SHAPE)
        with pytest.raises(ValueError, match="reads 2 units"):
            refused(*given, (3, 3, 3))
    with pytest.raises(ValueError, match="at least two pairs"):
        inspect.unwrap(alternatives.classifier)(jnp.zeros((4, 2)), jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match="multiple of 4"):
        inspect.unwrap(alternatives.held_out_distance)(jnp.zeros((2, 6)), scores(places), LOG_PROMPTS)
