"""How often detectors alarm, on laws whose place is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from toypersona import alarms, bases, chains, networks, numerics
from toypersona.options import Network
from toypersona.policies import transformer
from toypersona.worlds import markov

ALPHA = 0.1


@pytest.fixture(scope="module")
def made():
    return markov.markov(jax.random.key(3), num_words=3, num_prompts=2, num_personas=2, gate_concentration=5.0)


@pytest.fixture(scope="module")
def base(made):
    world, labels = made
    return bases.true(world, labels, 2)


@pytest.mark.slow
def test_a_mix_inside_drifts_as_far_as_it_is_told_toward_whom_the_base_is_least_like(base):
    log_weights, reached = alarms.inside(base, 0.05)
    mix = numerics.log_mix(log_weights, base.log_personas)
    np.testing.assert_allclose(base.spent(mix), 0.05, rtol=1e-9)
    assert reached and base.budget(mix).hull_distance < 1e-9
    away = np.array([[numerics.kl_divergence(p, pi) for p in ps] for ps, pi in zip(*base[-2:], strict=True)])
    np.testing.assert_array_equal(np.argmax(log_weights - base.log_gates, axis=1), away.argmax(axis=1))
    assert not alarms.inside(base, 10.0)[1]


def test_nominal_thresholds():
    level = alarms.threshold(0.05)
    np.testing.assert_allclose(level, (np.log(20), stats.norm.isf(0.05), stats.norm.isf(0.025)))


@pytest.fixture(scope="module")
def cases(base):
    reward = base.reward_at_angle(80.0, 0, jax.random.normal(jax.random.key(4), base.log_base.shape))
    drifts = jnp.array([0.02, 0.2])
    return jax.jit(lambda: alarms.cases(base, reward, drifts=drifts, step=0.1, num_steps=12))()


@pytest.mark.slow
def test_cases_are_near_the_drifts_and_their_mix_as_far(cases):
    np.testing.assert_allclose(cases.total, [0.02, 0.2], rtol=0.35)
    np.testing.assert_allclose(cases.inside_total, cases.total, rtol=1e-6)
    assert cases.certified.all() and (cases.hull_distance > 0.3 * cases.total).all()
    assert np.isnan(cases.unusual).all()


@pytest.mark.slow
def test_what_is_guaranteed_does_not_alarm_inside_and_perplexity_does(base, cases):
    """The far policy is seen by who should see it, and at equal false alarms perplexity sees little of it."""
    far = jax.tree.map(lambda x: x[1], cases)
    rates = jax.jit(lambda key: alarms.rates(key, base, far, num=256, num_runs=40, alpha=ALPHA))(jax.random.key(5))
    inside, outside, lent, power = (
        dict(zip(alarms.DETECTORS, np.asarray(getattr(rates, name)), strict=True))
        for name in ("inside", "outside", "lent", "power")
    )
    e_values = alarms.DETECTORS[:3]
    assert max(inside[name] for name in e_values) == 0 and max(lent[name] for name in e_values) <= ALPHA
    assert inside["held-out distance"] <= ALPHA and inside["classifier"] <= ALPHA
    assert inside["perplexity"] > 0.5
    assert outside["e-value"] > 0.9 and outside["e-process"] > 0.9 and outside["proof"] > 0.9
    assert power["e-value"] > 0.9 > power["perplexity"]
    assert np.isnan([inside["activations"], power["activations"]]).all()


@pytest.mark.slow
def test_an_e_process_stops_when_the_law_says_and_never_inside(base, cases):
    case = jax.tree.map(lambda x: x[1], cases)
    stop = jax.jit(
        lambda case: alarms.stopping_times(jax.random.key(6), base, case, longest=800, num_runs=40, alpha=1e-4)
    )
    times, growth, free = stop(case)
    assert free == 2
    np.testing.assert_allclose(growth, case.hull_distance, rtol=1e-3)
    np.testing.assert_allclose(times.mean() * growth / np.log(1e4), 1.0, atol=0.2)
    never, none, _ = stop(case._replace(log_policy=case.log_mix))
    assert np.isinf(never).all() and none <= 0


@pytest.mark.slow
def test_activations_are_as_unusual_as_their_distance_from_the_base_s(made):
    """By numpy's covariance of the base's own, at what is said before the last word."""
    world, labels = made
    speakers = transformer.for_world(world, labels, 2, Network(width=4, depth=1, num_heads=1))
    params, others = (speakers.policy.init(jax.random.key(seed)) for seed in (7, 8))
    base = bases.frozen(speakers, params, labels, world.prompts, world.log_prompts, chains.outcomes(3, 2))
    score = alarms._unusual(base)
    usual, moved = (np.asarray(networks.stream(base, p))[:, 1:].reshape(6, 4) for p in (params, others))
    weights = (np.exp(base.log_prompts)[:, None] * np.exp(base.log_base).reshape(2, 3, 3).sum(axis=2)).ravel()
    covariance = np.cov(usual.T, aweights=weights, ddof=0)
    covariance += alarms.RIDGE * np.trace(covariance) / 4 * np.eye(4)
    off = moved - weights @ usual
    expected = np.einsum("sd,de,se->s", off, np.linalg.inv(covariance), off)
    np.testing.assert_allclose(score(others, None).reshape(6, 3), np.repeat(expected[:, None], 3, axis=1), rtol=1e-6)
