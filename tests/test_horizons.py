import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, chains, horizons, long_answers, theory, tilted
from toypersona.worlds import markov

SCORES = jnp.array([0.3, -1.0, 0.7, 0.2])
STRENGTHS = jnp.array([0.2, 1.5])


@functools.cache
def base_of(length):
    world = markov.markov(jax.random.key(1), num_words=4, num_prompts=2, num_personas=3, concentration=1.0)
    return bases.true(*world, length)


@pytest.fixture(scope="module")
def mixture():
    return horizons.paid(base_of(3), SCORES)


@pytest.mark.slow
def test_curves_bound_the_listed_hull_distance_and_are_it_for_one_persona(mixture):
    scaled = STRENGTHS * jnp.sqrt(3)
    bound = horizons.by_case(mixture, (1, 3), scaled)
    labels = base_of(3).labels
    listed = horizons.by_listing(mixture, labels, 3, scaled)
    assert bound.distortion.shape == (len(horizons.CASES), 2, 2)
    assert (listed > 0).all() and (listed <= bound.distortion[0, 1] + 1e-12).all()
    single = mixture._replace(log_gates=jnp.zeros((2, 1)), log_experts=mixture.log_experts[:1])
    np.testing.assert_allclose(horizons.by_listing(single, labels, 3, scaled), bound.distortion[3, 1], rtol=1e-9)


@pytest.mark.slow
def test_samples_of_a_tilted_mixture_follow_its_law_and_know_their_log_probabilities(mixture):
    length, strength, num = 2, 1.5, 20_000
    base = base_of(length)
    law = theory.tilt(
        base.log_base, jnp.broadcast_to(SCORES[base.responses].sum(axis=1), base.log_base.shape), strength
    )
    sample = jax.jit(lambda key: tilted.sample_mixture(key, mixture, strength, length, num))
    log_policy, log_base, log_personas = map(np.asarray, sample(jax.random.key(2)))
    assert log_personas.shape == (2, 3, num)
    for c in range(2):
        # Responses are told apart by what they have for log-probability.
        which = np.abs(log_base[c][:, None] - np.asarray(base.log_base[c])[None]).argmin(axis=1)
        np.testing.assert_allclose(log_policy[c], law[c][which], rtol=1e-10)
        np.testing.assert_allclose(log_personas[c], base.log_personas[c][:, which], rtol=1e-10)
        expected = np.exp(law[c])
        seen = np.bincount(which, minlength=expected.size) / num
        assert np.abs((seen - expected) / np.sqrt(expected * (1 - expected) / num)).max() < 5


@pytest.mark.slow
def test_sampled_budgets_are_the_listed_ones_within_their_errors(mixture):
    scaled = STRENGTHS * jnp.sqrt(3)
    sampled = jax.jit(lambda key: horizons.by_samples(key, mixture, (2, 3), scaled, 400))(jax.random.key(3))
    assert sampled.total.shape == (2, 2) and sampled.weights.shape == (2, 2, 2, 3) and sampled.certified.all()
    exact = jax.tree.map(lambda x: x[0], horizons.curve(mixture, STRENGTHS[None], (3,)))
    assert (abs(sampled.total[1] - exact.total) < 5 * sampled.total_se[1]).all()
    listed = horizons.by_listing(mixture, base_of(3).labels, 3, scaled)
    allowed = sampled.fit_excess[1] + 5 * sampled.hull_distance_se[1]
    assert (abs(sampled.hull_distance[1] - listed) < allowed).all()


@pytest.mark.slow
def test_scores_that_pay_all_personas_alike(mixture):
    alike = tilted.paying_alike(mixture.log_experts, SCORES)
    means = long_answers.long_run(mixture._replace(scores=alike)).means
    np.testing.assert_allclose(means, means[0], rtol=1e-10)
    np.testing.assert_allclose(tilted.paying_alike(mixture.log_experts, alike), alike, rtol=1e-8)
    assert jnp.ptp(long_answers.long_run(mixture).means) > 0.01


@pytest.mark.slow
def test_selection_weights_tend_to_their_law(mixture):
    tends = long_answers.long_run(mixture)
    times = jnp.array([0.5, 3.0])
    law = horizons.selected_law(mixture, tends, times)
    short, long = abs(horizons.selected(mixture, (64, 65_536), times) - law[None]).max(axis=(1, 2))
    assert long < 1e-3 < short < 0.2
    np.testing.assert_allclose(law.sum(axis=1), 1, rtol=1e-12)
    plateau = tends.weak_limit(jnp.array([4096.0]))
    np.testing.assert_allclose(horizons.weak(mixture, (4096,)), plateau, rtol=0.02)


def test_a_base_whose_personas_are_no_chains_is_refused():
    base = base_of(3)
    for tables in (None, lambda params: chains.Reading(params["table"])):
        speakers = base.speakers._replace(log_tables=tables)
        with pytest.raises(ValueError, match="do not read along"):
            horizons.paid(base._replace(speakers=speakers, params={"table": jnp.zeros((3, 4, 4, 4))}), SCORES)
