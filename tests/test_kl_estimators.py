"""Estimators of KL against loops over all responses, finite differences, and samples."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains, kl_estimators
from toypersona.policies import next_words

V, T = 3, 2
PROMPTS = jnp.array([[0], [1]])
LOG_PROMPTS = jnp.log(jnp.array([0.3, 0.7]))
RESPONSES = chains.outcomes(V, T)
POLICY = next_words.table(PROMPTS, V, T)
PARAMS, REF = (0.8 * jax.random.normal(jax.random.key(seed), (2, 1 + V, V)) for seed in (0, 1))
K = {"k1": lambda x: x, "k2": lambda x: x**2 / 2, "k3": lambda x: np.exp(-x) - 1 + x}


def next_law(params, c, history):
    """Next-word probabilities in numpy."""
    logits = np.asarray(params)[c, 0 if not history else 1 + history[0]]
    return np.exp(logits) / np.exp(logits).sum()


def said(params):
    """Every (c, x): the probability of x, and log-probabilities of its words [T]."""
    words = list(itertools.product(range(V), repeat=T))
    tokens = np.array([[[np.log(next_law(params, c, x[:t])[x[t]]) for t in range(T)] for x in words] for c in range(2)])
    return np.exp(tokens.sum(axis=-1)), tokens


PI, OURS = said(PARAMS)
BASE, THEIRS = said(REF)
RHO = np.exp(np.asarray(LOG_PROMPTS))
RATIO = OURS - THEIRS


def kl(p, q):
    return float(RHO @ (p * np.log(p / q)).sum(axis=1))


def test_word_by_word_ratios_are_those_of_the_tables():
    found = kl_estimators.token_ratios(POLICY, PARAMS, REF, PROMPTS, RESPONSES)
    np.testing.assert_allclose(found, RATIO, atol=1e-12)


def test_what_is_logged_is_as_by_a_loop_whoever_sampled():
    sampler = np.random.default_rng(0).dirichlet(np.ones(V**T), 2)
    found = kl_estimators.logged(jnp.asarray(RATIO), jnp.log(sampler), LOG_PROMPTS)
    for e, estimate in enumerate(K.values()):
        for level in range(2):
            values = estimate(RATIO).sum(axis=-1) if level == 0 else estimate(RATIO.sum(axis=-1))
            weights = RHO[:, None] * sampler
            mean = (weights * values).sum()
            np.testing.assert_allclose(found.mean[e, level], mean, rtol=1e-12)
            np.testing.assert_allclose(found.spread[e, level] ** 2, (weights * (values - mean) ** 2).sum(), rtol=1e-10)
            np.testing.assert_allclose(found.negative[e, level], weights[values < 0].sum(), rtol=1e-12)
    np.testing.assert_allclose(found.mean[0], kl(sampler, BASE) - kl(sampler, PI), rtol=1e-10)


def test_k1_and_k3_are_unbiased_on_the_policy_s_own_responses_and_k2_is_not():
    found = kl_estimators.logged(jnp.asarray(RATIO), jnp.log(PI), LOG_PROMPTS)
    np.testing.assert_allclose(found.mean[jnp.array([0, 2])], kl(PI, BASE), rtol=1e-12)
    assert (jnp.abs(found.mean[1] / kl(PI, BASE) - 1) > 0.005).all()
    assert (found.negative[1:] == 0).all() and (found.negative[0] > 0.05).all()


def test_a_share_of_words_is_negative():
    below = (RHO[:, None] * PI * (RATIO < 0).mean(axis=-1)).sum()
    found = kl_estimators.negative_tokens(jnp.asarray(RATIO), jnp.log(PI), LOG_PROMPTS)
    np.testing.assert_allclose(found, below, rtol=1e-12)


def test_batches_are_negative_as_often_as_by_every_pair_of_responses():
    whole, joint = RATIO.sum(axis=-1).ravel(), (RHO[:, None] * PI).ravel()
    pairs = (joint[:, None] * joint[None] * (whole[:, None] + whole[None] < 0)).sum()
    num = 40_000
    found = kl_estimators.negative_batches(
        jax.random.key(0), jnp.asarray(RATIO.sum(axis=-1)), jnp.log(PI), LOG_PROMPTS, 2, num
    )
    assert abs(found - pairs) < 5 * np.sqrt(pairs * (1 - pairs) / num)


def test_the_law_holds_near_the_base():
    near, _ = said(REF + 0.1 * (PARAMS - REF))
    ratio, spent = jnp.log(near) - jnp.log(BASE), kl(near, BASE)
    for size in (64, 256):
        found = kl_estimators.negative_batches(jax.random.key(1), ratio, jnp.log(near), LOG_PROMPTS, size, 10_000)
        law = kl_estimators.negative_law(jnp.asarray(spent), size)
        assert abs(found - law) < 0.025
    assert law < 0.3


def test_samplers_are_as_by_hand():
    end = 2
    found = dict(
        zip(
            kl_estimators.sampler_names(end),
            np.exp(kl_estimators.samplers(jax.random.key(0), jnp.log(PI), T, end)),
            strict=True,
        )
    )
    np.testing.assert_allclose(found["the policy"], PI, rtol=1e-12)
    np.testing.assert_allclose([law.sum(axis=1) for law in found.values()], 1.0, rtol=1e-12)
    for c, (i, x) in itertools.product(range(2), enumerate(itertools.product(range(V), repeat=T))):
        first, second = next_law(PARAMS, c, ()), next_law(PARAMS, c, x[:1])
        cold = [law ** (1 / 0.7) / (law ** (1 / 0.7)).sum() for law in (first, second)]
        np.testing.assert_allclose(found["temperature 0.7"][c, i], cold[0][x[0]] * cold[1][x[1]], rtol=1e-10)
        barred = 0.0 if x[0] == end else first[x[0]] / (1 - first[end]) * second[x[1]]
        np.testing.assert_allclose(found["no early end"][c, i], barred, atol=1e-12)
    # Three words are all that there are.
    np.testing.assert_allclose(found["top 3 words"], PI, rtol=1e-10)
    assert 1e-4 < np.abs(found["engine off by 0.1"] - PI).max() < 0.1


def test_top_words_leave_out_the_others(monkeypatch):
    monkeypatch.setattr(kl_estimators, "FEW", 1)
    greedy = np.exp(kl_estimators.samplers(jax.random.key(0), jnp.log(PI), T, None))[3]
    assert (greedy.max(axis=1) > 1 - 1e-12).all()
    for c in range(2):
        first = next_law(PARAMS, c, ()).argmax()
        assert greedy[c].argmax() == first * V + next_law(PARAMS, c, (first,)).argmax()


def score(c, x):
    """The gradient of log pi of each word of a response, by central differences of numpy's own tables [T, D]."""
    flat, step = np.asarray(PARAMS).ravel(), 1e-6
    rows = []
    for d in range(flat.size):
        ends = []
        for sign in (1, -1):
            moved = flat.copy()
            moved[d] += sign * step
            table = moved.reshape(np.shape(PARAMS))
            ends.append([np.log(next_law(table, c, x[:t])[x[t]]) for t in range(T)])
        rows.append((np.array(ends[0]) - np.array(ends[1])) / (2 * step))
    return np.array(rows).T


WEIGHTS = {
    "k1 in reward": lambda ratio: np.full(T, ratio.sum()),
    "k1 in reward, by token": lambda ratio: np.cumsum(ratio[::-1])[::-1],
    "k1 in loss": lambda ratio: np.ones(ratio.shape),
    "k2 in loss, by response": lambda ratio: np.full(T, ratio.sum()),
    "k2 in loss, by token": lambda ratio: ratio,
    "k3 in loss, by response": lambda ratio: np.full(T, 1 - np.exp(-ratio.sum())),
    "k3 in loss, by token": lambda ratio: 1 - np.exp(-ratio),
    "k3 in loss, corrected, by response": lambda ratio: np.full(T, ratio.sum()),
    "k3 in loss, corrected, by token": lambda ratio: ratio,
}


@pytest.fixture(scope="module")
def found():
    return jax.jit(lambda params: kl_estimators.pulls(POLICY, params, REF, PROMPTS, LOG_PROMPTS, RESPONSES))(PARAMS)


@pytest.fixture(scope="module")
def scores():
    return np.array([[score(c, x) for x in itertools.product(range(V), repeat=T)] for c in range(2)])


def differences(value):
    """The gradient of a function of the parameters, by central differences."""
    flat, step = np.asarray(PARAMS).ravel(), 1e-6
    moved = [
        [value((flat + sign * step * np.eye(flat.size)[d]).reshape(np.shape(PARAMS))) for sign in (1, -1)]
        for d in range(flat.size)
    ]
    return np.array([(up - down) / (2 * step) for up, down in moved])


def test_gradients_and_their_noise_are_as_by_a_loop_over_all_responses(found, scores):
    own = differences(lambda params: kl(said(params)[0], BASE))
    other = differences(lambda params: kl(BASE, said(params)[0]))
    mass = RHO[:, None] * PI
    for w, name in enumerate(kl_estimators.WAYS):
        if name not in WEIGHTS:
            continue
        weights = np.array([[WEIGHTS[name](RATIO[c, i]) for i in range(V**T)] for c in range(2)])
        each = np.einsum("cnt,cntd->cnd", weights, scores)
        mean = np.einsum("cn,cnd->d", mass, each)
        noise = np.sqrt((mass * ((each - mean) ** 2).sum(axis=-1)).sum())
        length = np.linalg.norm(own)
        np.testing.assert_allclose(found.size[w], np.linalg.norm(mean) / length, atol=1e-7)
        np.testing.assert_allclose(found.missed[w, 0], np.linalg.norm(mean - own) / length, atol=1e-7)
        np.testing.assert_allclose(found.missed[w, 1], np.linalg.norm(mean - other) / np.linalg.norm(other), atol=1e-7)
        np.testing.assert_allclose(found.noise[w], noise / length, rtol=1e-6)
        if np.linalg.norm(mean) > 1e-6:
            cosine = mean @ own / np.linalg.norm(mean) / length
            np.testing.assert_allclose(found.cosine[w, 0], cosine, atol=1e-7)


def test_each_way_has_the_gradient_that_is_said_of_it_and_no_other(found):
    for w, (_, target) in enumerate(kl_estimators.WAYS.values()):
        missed = found.missed[w]
        if target is None:
            assert found.size[w] < 1e-12
        else:
            own = kl_estimators.TARGETS.index(target)
            assert missed[own] < 1e-12
            assert (jnp.delete(missed, own) > 0.01).all()


def test_a_group_s_mean_changes_the_noise_alone(found):
    names = list(kl_estimators.WAYS)
    plain, less = names.index("k1 in reward"), names.index("k1 in reward, less the group's mean")
    np.testing.assert_allclose(found.missed[less], found.missed[plain], atol=1e-12)
    assert abs(found.noise[less] / found.noise[plain] - 1) > 1e-3
