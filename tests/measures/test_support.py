import itertools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import entr

from toypersona.measures import support


def test_by_hand():
    log_base = jnp.log(jnp.array([[0.5, 0.4, 0.1, 0.0]]))
    log_policy = jnp.log(jnp.array([[0.0, 0.6, 0.1, 0.3]]))
    found = support.support(log_policy, log_base, jnp.zeros(1), length=2, threshold=0.05)
    np.testing.assert_allclose(found.shrinkage, 0.5)
    np.testing.assert_allclose(found.expansion, 0.3)
    entropy = -(0.6 * np.log(0.6) + 0.1 * np.log(0.1) + 0.3 * np.log(0.3))
    np.testing.assert_allclose([found.sequence_entropy, found.token_entropy], [entropy, entropy / 2])


def test_a_policy_against_itself_has_neither_lost_nor_won():
    log_policy = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (100, 3, 8)))
    found = jax.vmap(lambda p: support.support(p, p, jnp.log(jnp.full(3, 1 / 3)), length=1))(log_policy)
    assert (found.shrinkage == 0).all() and (found.expansion == 0).all()


def test_pass_at_k_by_hand_and_where_it_is_nearly_nothing_or_all():
    log_policy = jnp.log(jnp.array([[0.7, 0.2, 0.1], [1e-15, 0.5, 0.5 - 1e-15]]))
    correct = jnp.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    log_prompts = jnp.log(jnp.array([0.75, 0.25]))
    found = support.pass_at_k(log_policy, correct, log_prompts, 3)
    np.testing.assert_allclose(found, 0.75 * (1 - 0.8**3) + 0.25 * 3e-15, rtol=1e-12)
    one = support.pass_at_k(log_policy[1:], correct[1:], jnp.zeros(1), 1000)
    np.testing.assert_allclose(one, 1e-12, rtol=1e-9)
    np.testing.assert_allclose(support.pass_at_k(log_policy, jnp.ones((2, 3)), log_prompts, 2), 1)


def test_num_correct_is_binomial():
    log_policy = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.1, 0.4, 0.5]]))
    correct = jnp.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    keys = jax.random.split(jax.random.key(0), 500)
    counts = jax.vmap(lambda key: support.num_correct(key, log_policy, correct, 64))(keys)
    share = np.array([0.3, 0.1])
    error = np.sqrt(share * (1 - share) / (500 * 64))
    assert (abs(counts.mean(axis=0) / 64 - share) < 5 * error).all()
    np.testing.assert_allclose(counts.var(axis=0), 64 * share * (1 - share), rtol=0.3)


def test_pass_at_k_from_samples_counts_the_subsets_and_is_unbiased():
    for right in range(8):
        subsets = [any(i < right for i in chosen) for chosen in itertools.combinations(range(7), 3)]
        np.testing.assert_allclose(
            support.pass_at_k_from_samples(jnp.asarray(right), 7, 3), np.mean(subsets), atol=1e-12
        )
    p = 0.13
    binomial = np.array([math.comb(7, c) * p**c * (1 - p) ** (7 - c) for c in range(8)])
    mean = binomial @ support.pass_at_k_from_samples(jnp.arange(8), 7, 3)
    np.testing.assert_allclose(mean, 1 - (1 - p) ** 3, rtol=1e-12)
    with pytest.raises(ValueError, match="1 <= k <= the number of samples 7, not 8"):
        support.pass_at_k_from_samples(jnp.asarray(1), 7, 8)


@pytest.mark.parametrize("dtype, digits", [("float64", 1e-9), ("float32", 2e-4)])
def test_where_prompts_and_words_have_no_probability_as_by_numpy(dtype, digits):
    """A prompt that is never asked may be answered by nan, and nothing is silently another number."""
    rng = np.random.default_rng(0)
    policy, base = (rng.dirichlet(np.full(6, 0.4), (100, 2)) * (rng.random((100, 2, 6)) < 0.7) for _ in range(2))
    for law in (policy, base):
        law[..., 0] += law.sum(-1) == 0
        law /= law.sum(-1, keepdims=True)
    policy[50] = base[50] = np.eye(6)[:2]
    prompts = np.where(np.arange(100)[:, None] % 3, [0.3, 0.7], [1.0, 0.0])
    right = (rng.random((100, 2, 6)) < 0.4) * 1.0

    def unasked(law):
        return np.where(prompts[..., None] > 0, law, np.nan)

    @jax.jit
    @jax.vmap
    def made(policy, base, prompts, right):
        log_policy, log_base, log_prompts = map(jnp.log, (policy, base, prompts))
        tries = jnp.stack([support.pass_at_k(log_policy, right, log_prompts, k) for k in (-1, 0, 1, 7)])
        return support.support(log_policy, log_base, log_prompts, length=3, threshold=0.1), tries

    found, tries = made(*(np.asarray(x, dtype) for x in (unasked(policy), unasked(base), prompts, right)))
    left, entered = (((p >= 0.1) & (q < 0.1)) * p for p, q in ((base, policy), (policy, base)))
    by_prompt = {"sequence_entropy": entr(policy), "shrinkage": left, "expansion": entered}
    for name, values in by_prompt.items():
        expected = (prompts * values.sum(-1)).sum(-1)
        np.testing.assert_allclose(getattr(found, name), expected, rtol=digits, atol=digits, err_msg=name)
    np.testing.assert_allclose(found.token_entropy, np.asarray(found.sequence_entropy) / 3, rtol=1e-6)
    assert np.isnan(tries[:, 0]).all()
    chance = (policy * right).sum(-1)
    for k, column in zip((0, 1, 7), tries.T[1:], strict=True):
        np.testing.assert_allclose(column, (prompts * (1 - (1 - chance) ** k)).sum(-1), rtol=digits, atol=digits)


@pytest.mark.slow_but("float64-1e-11")
@pytest.mark.parametrize("dtype, digits", [("float64", 1e-11), ("float32", 2e-6)])
def test_pass_at_k_from_many_samples_keeps_its_digits(dtype, digits):
    """By whole numbers; logarithms of factorials gave -0.0078 for 1 of 8192 in float32."""
    counts = (0, 1, 3, 100, 4000, 8191, 8192)
    with jax.enable_x64(dtype == "float64"):
        for k in (1, 5, 4000, 8192):
            found = support.pass_at_k_from_samples(jnp.array(counts), 8192, k)
            assert found.dtype == dtype
            exact = [1 - Fraction(math.comb(8192 - c, k), math.comb(8192, k)) for c in counts]
            np.testing.assert_allclose(found, np.array(exact, float), rtol=digits)
        assert jnp.isnan(support.pass_at_k_from_samples(jnp.array([-1, 9]), 8, 1)).all()


def test_right_responses_are_counted_one_by_one():
    log_base, log_policy = (jax.nn.log_softmax(jax.random.normal(jax.random.key(i), (3, 40))) for i in (0, 1))
    right = (jax.random.uniform(jax.random.key(2), (3, 40)) < 0.5).astype(float)
    rho, threshold = np.array([0.5, 0.5, 0.0]), 0.02
    found = support.counts(log_policy, log_base, right, jnp.log(jnp.asarray(rho)), threshold=threshold)
    wanted = np.zeros(3)
    for c, x in np.ndindex(3, 40):
        now, then = np.exp(log_policy[c, x]) >= threshold, np.exp(log_base[c, x]) >= threshold
        wanted += rho[c] * right[c, x] * np.array([now & then, now & ~then, then & ~now])
    np.testing.assert_allclose(found, wanted)


def test_what_counts_as_sayable_is_missed_as_rarely_as_asked():
    threshold = support.found_by(1024, 0.05)
    assert (1 - threshold) ** 1024 == pytest.approx(0.05, rel=0.01)
