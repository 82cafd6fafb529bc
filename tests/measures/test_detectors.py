"""E-values against SciPy and enumeration: valid under every mix, and as strong as the normal law says."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from toypersona import detection, hulls, numerics, theory
from toypersona.measures import detectors

NUM_PROMPTS, NUM_PERSONAS, NUM_OUTCOMES = 4, 3, 20
LOG_PROMPTS = jnp.full(NUM_PROMPTS, -np.log(NUM_PROMPTS))
ALARM = np.log(20)


def world(seed=0):
    keys = jax.random.split(jax.random.key(seed), 2)
    shape = (NUM_PROMPTS, NUM_PERSONAS, NUM_OUTCOMES)
    log_personas = jax.nn.log_softmax(jax.random.normal(keys[0], shape))
    log_base = numerics.log_mix(jnp.full(shape[:2], -np.log(NUM_PERSONAS)), log_personas)
    return log_personas, log_base, jax.random.normal(keys[1], log_base.shape)


LOG_PERSONAS, LOG_BASE, REWARD = world()


def drawn(seed, law, num_sets, num_samples):
    """Responses of a law at every prompt, [sets, prompts, samples]."""
    rng, cumulative = np.random.default_rng(seed), np.cumsum(np.exp(law), axis=1)
    levels = rng.uniform(size=(num_sets, len(law), num_samples)) * cumulative[:, -1:]
    places = [np.searchsorted(row, levels[:, c]) for c, row in enumerate(cumulative)]
    return jnp.asarray(np.stack(places, axis=1))


@jax.jit
def log_e_values(log_policy, responses):
    def one(x):
        log_personas = jnp.take_along_axis(LOG_PERSONAS, x[:, None], axis=2)
        return detectors.e_value(jnp.take_along_axis(log_policy, x, axis=1), log_personas).log_e

    return jax.vmap(one)(responses)


BET = jax.jit(detectors.bet)
E_VALUE = jax.jit(detectors.e_value)
WITNESS = jax.jit(detectors.witness, static_argnames="noise")


def test_an_e_value_is_the_likelihood_ratio_against_scipy_s_likeliest_mix():
    policy = theory.tilt(LOG_BASE, REWARD, 1.0)
    x = drawn(0, policy, 1, 25)[0]
    log_p = jnp.take_along_axis(policy, x, axis=1)
    log_q = jnp.take_along_axis(LOG_PERSONAS, x[:, None], axis=2)
    counted = jnp.arange(25)[None] < jnp.array([25, 10, 1, 0])[:, None]
    found = E_VALUE(log_p, log_q, counted=counted)
    total = 0.0
    for p, q, which in zip(np.asarray(log_p), np.exp(log_q), np.asarray(counted), strict=True):
        surprise = lambda w, q=q[:, which]: -np.log(np.abs(w) / np.abs(w).sum() @ q).sum()  # noqa: E731
        best = min(optimize.minimize(surprise, w, method="Nelder-Mead", tol=1e-12).fun for w in 0.05 + np.eye(3))
        total += p[which].sum() + best
    assert found.certified and 0 <= found.gap < 1e-6
    assert found.log_e <= total + 1e-7 and found.log_e == pytest.approx(total, abs=1e-4)
    loose = E_VALUE(log_p, log_q, counted=counted, tolerance=0.2)
    assert loose.gap > 0.01 and loose.log_e <= total + 1e-7
    along = jax.jit(detectors.e_values_along)(log_p, log_q, jnp.array([3, 25]))
    parts = [E_VALUE(log_p, log_q, counted=jnp.tile(jnp.arange(25) < num, (4, 1))).log_e for num in (3, 25)]
    np.testing.assert_allclose(along.log_e, parts, atol=1e-6)
    assert along.weights.shape == (2, 4, 3)


@pytest.mark.slow
def test_its_mean_is_at_most_one_under_every_mix_of_a_world_that_can_be_listed():
    keys = jax.random.split(jax.random.key(5), 3)
    log_q = jax.nn.log_softmax(1.5 * jax.random.normal(keys[0], (3, 6)))
    log_p = jax.nn.log_softmax(1.5 * jax.random.normal(keys[1], (6,)))
    pairs = jnp.stack(jnp.meshgrid(jnp.arange(6), jnp.arange(6)), axis=-1).reshape(-1, 2)
    log_e = jax.jit(jax.vmap(lambda x: detectors.e_value(log_p[x][None], log_q[:, x][None]).log_e))(pairs)
    weights = jnp.concatenate([jnp.eye(3), jax.random.dirichlet(keys[2], jnp.full(3, 0.3), (97,))])
    mixes = weights @ jnp.exp(log_q)
    means = (jnp.exp(log_e)[None] * mixes[:, pairs[:, 0]] * mixes[:, pairs[:, 1]]).sum(axis=1)
    assert (means <= 1).all() and means.max() > 0.5
    # As an alternative to the law of the samples itself it may be large.
    assert (jnp.exp(log_e) * jnp.exp(log_p[pairs].sum(axis=1))).sum() > 1.2


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_no_more_false_alarms_than_the_level(strength):
    policy = theory.tilt(LOG_BASE, REWARD, strength)
    near = jax.vmap(hulls.project)(policy, LOG_PERSONAS).weights
    face = jnp.tile(jnp.array([0.98, 0.02, 0.0]), (NUM_PROMPTS, 1))
    for seed, weights in enumerate((near, face)):
        law = numerics.log_mix(jnp.log(weights), LOG_PERSONAS)
        log_e = log_e_values(policy, drawn(seed, law, 500, 10))
        assert (log_e >= np.log(5)).mean() <= 0.2 and (log_e >= ALARM).mean() <= 0.05


@pytest.mark.slow
def test_ten_thousand_sets_of_samples_inside_the_hull():
    rng = np.random.default_rng(0)
    for seed, size in enumerate((2, 5, 10, 40)):
        policy = theory.tilt(LOG_BASE, REWARD, rng.uniform(0.2, 2))
        weights = jnp.asarray(rng.dirichlet(np.full(NUM_PERSONAS, 0.2), NUM_PROMPTS))
        if seed % 2:
            weights = jax.vmap(hulls.project)(policy, LOG_PERSONAS).weights
        law = numerics.log_mix(jnp.log(weights), LOG_PERSONAS)
        log_e = log_e_values(policy, drawn(seed, law, 2500, size))
        for alpha in (0.5, 0.05, 0.01):
            assert (log_e >= -np.log(alpha)).mean() <= alpha


@pytest.mark.parametrize(("strength", "num"), [(0.2, 50), (0.3, 50), (0.5, 10)])
def test_power_is_that_of_the_normal_law(strength, num):
    policy = theory.tilt(LOG_BASE, REWARD, strength)
    growth = float(BET(policy, LOG_PERSONAS, LOG_PROMPTS).growth)
    log_e = np.asarray(log_e_values(policy, drawn(7, policy, 600, num)))
    law = detection.law(num * NUM_PROMPTS, growth, NUM_PROMPTS, NUM_PERSONAS)
    assert log_e.mean() == pytest.approx(law.mean, abs=0.6)
    assert log_e.std() == pytest.approx(np.sqrt(law.variance), rel=0.15)
    expected = detection.power(num * NUM_PROMPTS, growth, NUM_PROMPTS, NUM_PERSONAS)
    assert (log_e >= ALARM).mean() == pytest.approx(float(expected), abs=0.06)


@pytest.mark.parametrize("strength", [0.01, 0.3, 3.0])
def test_a_bet_is_fair_against_every_persona_and_grows_by_the_hull_distance(strength):
    policy = theory.tilt(LOG_BASE, REWARD, strength)
    bet = BET(policy, LOG_PERSONAS, LOG_PROMPTS)
    fair = jnp.exp(jax.nn.logsumexp(LOG_PERSONAS + bet.log_factors[:, None], axis=-1))
    assert bet.certified and (fair <= 1).all() and fair.max() > 1 - 1e-9 and (bet.gap > 0).all()
    distance = jax.vmap(lambda p, q: hulls.project(p, q, tolerance=None))(policy, LOG_PERSONAS).distance.mean()
    assert bet.growth == pytest.approx(float(distance), abs=1e-11)


def test_any_test_is_made_fair():
    log_test = 3 * REWARD[0]
    log_factors, gap = jax.jit(detectors.fair)(log_test, LOG_PERSONAS[0])
    means = np.exp(LOG_PERSONAS[0]) @ np.exp(log_factors)
    assert means.max() <= 1 and means.max() == pytest.approx(1.0, abs=1e-12)
    assert gap == pytest.approx(np.log((np.exp(LOG_PERSONAS[0]) @ np.exp(log_test)).max()))
    np.testing.assert_allclose(detectors.fair(-jnp.ones(NUM_OUTCOMES), LOG_PERSONAS[0])[0], -1.0)


def test_a_bet_on_a_wrong_mix_is_fair_as_well(monkeypatch):
    """Of any weights the excess is taken off: only the growth suffers."""
    even, policy = hulls.project(LOG_BASE[0], LOG_PERSONAS[0]), theory.tilt(LOG_BASE, REWARD, 3.0)
    # Before the mix is a wrong one, which a program compiled after would keep.
    best = BET(policy, LOG_PERSONAS, LOG_PROMPTS).growth
    monkeypatch.setattr(hulls, "project", lambda *_, **__: even)
    bet = detectors.bet(policy, LOG_PERSONAS, LOG_PROMPTS)
    fair = jnp.exp(jax.nn.logsumexp(LOG_PERSONAS + bet.log_factors[:, None], axis=-1))
    assert (fair <= 1).all() and bet.gap.min() > 0.1
    assert bet.growth < best - 0.03


def paths(seed, policy, law, num_runs, num):
    """Samples of a law at prompts in turn, and the policy's log e-process against every mix."""
    log_factors = BET(policy, LOG_PERSONAS, LOG_PROMPTS).log_factors
    x = drawn(seed, law, num_runs, num // NUM_PROMPTS)
    each = jax.vmap(lambda x: jnp.take_along_axis(log_factors, x, axis=1).T.reshape(-1))(x)
    return detectors.log_e_process(each)


@pytest.mark.slow
def test_an_e_process_alarms_after_about_ln_of_one_over_alpha_divided_by_the_distance():
    policy = theory.tilt(LOG_BASE, REWARD, 0.3)
    growth = float(BET(policy, LOG_PERSONAS, LOG_PROMPTS).growth)
    stopped = detectors.first_alarm(paths(1, policy, policy, 1500, 800))
    assert jnp.isfinite(stopped).all()
    expected = float(detection.stopping_time(growth))
    assert 0.95 * expected < stopped.mean() < 1.12 * expected
    law = numerics.log_mix(jnp.log(jax.vmap(hulls.project)(policy, LOG_PERSONAS).weights), LOG_PERSONAS)
    false = jnp.isfinite(detectors.first_alarm(paths(2, policy, law, 1500, 800), alpha=0.2)).mean()
    # The nearest mix makes the process a martingale: the level is nearly used up.
    assert 0.1 < false <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / 1500)


def test_the_first_alarm_is_the_first():
    log_e = jnp.log(jnp.array([[1.0, 30.0, 5.0, 50.0], [1.0, 2.0, 3.0, 19.9], [20.1, 1.0, 1.0, 1.0]]))
    np.testing.assert_array_equal(detectors.first_alarm(log_e), [2.0, np.inf, 1.0])
    np.testing.assert_array_equal(detectors.first_alarm(log_e, alpha=0.5), [2.0, 2.0, 1.0])
    np.testing.assert_allclose(detectors.log_e_process(jnp.array([0.5, -0.25])), [0.5, 0.25])


def test_witnesses_are_proofs_and_mixes_have_none():
    personas, policy = LOG_PERSONAS[0], theory.tilt(LOG_BASE, REWARD, 2.0)[0]
    seen = WITNESS(policy, personas)
    p, q, f = np.exp(policy), np.exp(personas), np.exp(seen.log_test)
    assert seen.outside and np.log(p @ f) == pytest.approx(float(seen.policy))
    assert np.log((q @ f).max()) == pytest.approx(float(seen.personas), abs=1e-12) and abs(seen.personas) < 1e-9
    assert seen.policy >= hulls.project(policy, personas).distance
    np.testing.assert_array_equal(seen.proofs, p > q.max(axis=0))
    assert seen.share == pytest.approx(p[p > q.max(axis=0)].sum()) and 0 < seen.share < 1
    assert p[seen.best] / q[:, seen.best].max() == pytest.approx(np.exp(seen.margin))
    # Noise of half the best margin leaves no single response.
    assert WITNESS(policy, personas, noise=float(seen.margin) / 2).share == 0
    rng = np.random.default_rng(1)
    for weights in rng.dirichlet(np.full(NUM_PERSONAS, 0.3), 20):
        mix = jnp.log(weights @ q)
        inside = WITNESS(mix, personas)
        assert not inside.outside and inside.share == 0 and inside.margin <= 1e-12


def test_what_nobody_can_say_proves_at_once():
    log_p = jnp.log(jnp.array([0.3, 0.6, 0.1, 0.0]))
    log_q = jnp.log(jnp.array([[0.8, 0.2, 0.0, 0.0], [0.1, 0.2, 0.0, 0.7], [0.0, 1.0, 0.0, 0.0]]))
    seen = jax.jit(detectors.witness)(log_p, log_q)
    assert seen.outside and seen.best == 2 and jnp.isinf(seen.margin) and seen.share == pytest.approx(0.1)
    bet = BET(log_p[None], log_q[None], jnp.zeros(1))
    assert jnp.isposinf(bet.log_factors[0, 2]) and jnp.isneginf(bet.log_factors[0, 3]) and jnp.isposinf(bet.growth)
    said = jnp.exp(log_q) > 0
    fair = (jnp.exp(log_q) * jnp.where(said, jnp.exp(bet.log_factors[0])[None], 0.0)).sum(axis=1)
    assert (fair <= 1).all()
    x, nobody = jnp.array([[0, 1, 1, 0]]), jnp.array([[2, 1, 1, 0]])
    plain, sure = (E_VALUE(log_p[x], jnp.moveaxis(log_q[:, x], 0, 1)) for x in (x, nobody))
    assert jnp.isfinite(plain.log_e) and plain.certified and jnp.isposinf(sure.log_e)
    one = E_VALUE(log_p[x], log_q[:1, x].reshape(1, 1, 4))
    assert one.log_e == pytest.approx(float((log_p[x] - log_q[0, x]).sum()), abs=1e-8)
    with pytest.raises(ValueError, match="have to be"):
        inspect.unwrap(detectors.e_value)(log_p[x], log_q[None, :, :3])
    with pytest.raises(ValueError, match="have to be"):
        inspect.unwrap(detectors.bet)(log_p[None], log_q[None, :, :3], jnp.zeros(1))
    with pytest.raises(ValueError, match="have to be"):
        inspect.unwrap(detectors.witness)(log_p, log_q[:, :3])


def test_the_law_s_parts():
    stein, price = detection.boundary(0.05, 8, 3)[:2]
    assert stein == pytest.approx(np.log(20)) and price == 8
    nats = detection.boundary(0.05, 8, 3).nats
    assert detection.power(100, nats / 100, 8, 3) == pytest.approx(0.5)
    mean, variance = detection.law(100, 0.2, 8, 3)
    assert (mean, variance) == (12.0, 48.0)
    expected = stats.norm(12, np.sqrt(48)).sf(np.log(100))
    assert detection.power(100, 0.2, 8, 3, alpha=0.01) == pytest.approx(expected)
    np.testing.assert_array_equal(detection.power(np.array([0, 10**6]), 0.1, 8, 3), [0.0, 1.0])
    np.testing.assert_allclose(detection.stopping_time(np.array([0.1, 0.0])), [10 * np.log(20), np.inf])
    for wrong in ((0.0, 8, 3), (1.0, 8, 3), (0.05, 0, 3), (0.05, 8, 0)):
        with pytest.raises(ValueError, match="alpha=|at least one"):
            detection.boundary(*wrong)
