"""Evidence against every mix: the ratio itself, and how rarely it misleads, also with a repair fitted to samples."""

import functools

import exported
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from toypersona import hulls
from toypersona.measures import evidence
from toypersona.readers.tables import Scores

NUM = 60
ALARM = np.log(20)


def scores(rng, log_law, log_base, log_personas, num):
    """Samples of a law over all responses."""
    law = np.exp(log_law)
    picks = np.stack([rng.choice(law.shape[1], num, p=each / each.sum()) for each in law])
    take = lambda x: np.take_along_axis(x, picks, axis=1)  # noqa: E731
    return Scores(
        take(log_law), take(log_base), np.take_along_axis(log_personas, np.repeat(picks[:, None], 3, axis=1), 2)
    )


def mixed(weights, log_personas):
    return np.log(np.einsum("ck,ckn->cn", np.broadcast_to(weights, log_personas.shape[:2]), np.exp(log_personas)))


@pytest.fixture(scope="module")
def toy():
    base, policy, _ = exported.toy()
    return policy, np.asarray(base.log_base), np.asarray(base.log_personas)


def loss(personas, free):
    return -np.log(np.exp(free) / np.exp(free).sum() @ personas).sum()


def test_it_is_the_likelihood_ratio_against_the_likeliest_mix(toy):
    samples = scores(np.random.default_rng(0), toy[0], toy[1], toy[2], NUM)
    most = 0.0
    for log_personas in samples.log_personas:
        law = functools.partial(loss, np.exp(log_personas))
        most -= scipy.optimize.minimize(
            law, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9}
        ).fun
    ratio, found = samples.log_policy.sum() - most, float(evidence.e_value(samples).log_e)
    assert found <= ratio + 1e-6 and found == pytest.approx(ratio, abs=1e-4) and found > ALARM


def test_it_never_alarms_at_a_mix_whose_law_is_known(toy):
    """The likeliest mix is at least as likely as the true one, whatever was said."""
    rng = np.random.default_rng(1)
    laws = (mixed(rng.dirichlet(np.full(3, 0.3), size=6), toy[2]) for _ in range(200))
    assert max(float(evidence.e_value(scores(rng, law, toy[1], toy[2], NUM)).log_e) for law in laws) <= 1e-6


def test_what_no_persona_can_say_is_a_proof(toy):
    samples = scores(np.random.default_rng(0), toy[0], toy[1], toy[2], NUM)
    samples.log_personas[2, :, 5] = -np.inf
    base = samples._replace(log_policy=samples.log_base)
    weights = np.full((6, 3), 1 / 3)
    assert float(evidence.e_value(samples).log_e) == evidence.log_evidence_repaired(samples, base, weights) == np.inf


@pytest.fixture(scope="module")
def outside(toy):
    """A base that is no mix of the personas, they repaired, and its weights."""
    away = np.asarray(jax.random.normal(jax.random.key(5), toy[1].shape))
    log_base = np.asarray(jax.nn.log_softmax(jnp.asarray(toy[1] + 0.4 * away)))
    repaired = jax.vmap(hulls.repaired)(jnp.asarray(log_base), jnp.asarray(toy[2]))
    return log_base, np.asarray(repaired.log_personas), np.asarray(repaired.weights)


@pytest.mark.parametrize("target", [(0.8, 0.1, 0.1), (0.05, 0.05, 0.9)])
def test_with_a_repair_fitted_to_samples_it_misleads_as_rarely_as_it_says(toy, outside, target):
    log_base, repaired, _ = outside
    rng, found, naive = np.random.default_rng(2), [], []
    for _ in range(100):
        samples = scores(rng, mixed(np.array(target), repaired), log_base, toy[2], NUM)
        base = scores(rng, log_base, log_base, toy[2], NUM)
        weights = np.asarray(evidence.e_value(base).weights)
        found.append(evidence.log_evidence_repaired(samples, base, weights))
        shifted = samples.log_policy - evidence.repair(samples, weights)
        naive.append(float(evidence.e_value(samples._replace(log_policy=shifted)).log_e))
    assert np.mean(np.array(naive) > ALARM) > 0.1, "without the error of the repair it would mislead"
    assert np.mean(np.array(found) > ALARM) <= 0.05


def test_with_a_repair_it_still_sees_what_is_far_outside(toy, outside):
    log_base, _, exact = outside
    rng = np.random.default_rng(3)
    law = np.asarray(jax.nn.log_softmax(jnp.asarray(log_base + 1.5 * rng.normal(size=log_base.shape))))
    samples, base = scores(rng, law, log_base, toy[2], 400), scores(rng, log_base, log_base, toy[2], 400)
    weights = np.asarray(evidence.e_value(base).weights)
    found = evidence.log_evidence_repaired(samples, base, weights)
    shifted = samples.log_policy - evidence.repair(samples, exact)
    assert 5 * ALARM < found < float(evidence.e_value(samples._replace(log_policy=shifted)).log_e)


def test_the_spread_of_the_repair_is_that_of_many_draws(toy, outside):
    log_base, _, exact = outside
    rng = np.random.default_rng(4)
    samples = scores(rng, mixed(np.array((0.6, 0.2, 0.2)), toy[2]), log_base, toy[2], NUM)
    sums, spreads = [], []
    for _ in range(200):
        base = scores(rng, log_base, log_base, toy[2], 400)
        weights = np.asarray(evidence.e_value(base).weights)
        sums.append(evidence.log_mix(samples, weights).sum())
        spreads.append(np.sqrt(sum(map(evidence._variance, samples.log_personas, base.log_personas, weights))))
    assert np.mean(spreads) == pytest.approx(np.std(sums), rel=0.2)
    assert evidence.log_mix(samples, exact).sum() == pytest.approx(np.mean(sums), abs=0.5 * float(np.std(sums)))
