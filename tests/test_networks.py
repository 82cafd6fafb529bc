"""What is said of a network before any step, by its whole Jacobian; whom a hull leaves out; parts on the way."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, chains, networks, theory
from toypersona.options import Network
from toypersona.policies import transformer
from toypersona.policies.policy import all_log_probs
from toypersona.worlds import markov
from toypersona.worlds import world as worlds

LENGTH, ANGLES = 2, jnp.array([0.0, 60.0])


@functools.cache
def world():
    return markov.markov(jax.random.key(1), num_words=3, num_prompts=2, num_personas=2, gate_concentration=3.0)


def r_squared(base, moved):
    """Of a least-squares fit by numpy, prompt by prompt, to those whom the mix does not leave out."""
    rho, pi, log_base, log_personas = (
        np.asarray(x) for x in (base.rho, jnp.exp(base.log_base), base.log_base, base.log_personas)
    )
    explained = total = 0.0
    for c in range(len(rho)):
        root, centred = np.sqrt(pi[c]), moved[c] - pi[c] @ moved[c]
        present = np.isfinite(base.log_gates[c])
        design = np.exp(log_personas[c, present] - log_base[c]).T * root[:, None]
        fitted = design @ np.linalg.lstsq(design, root * centred, rcond=None)[0]
        explained, total = explained + rho[c] * fitted @ fitted, total + rho[c] * pi[c] @ centred**2
    return explained / total


@pytest.fixture(scope="module")
def found():
    """A base, other parameters of its network, ends of two rewards, and the limits of both."""
    given, labels = world()
    speakers = transformer.for_world(given, labels, LENGTH, Network(width=4, depth=1, num_heads=1))
    early, params = (speakers.policy.init(jax.random.key(seed)) for seed in (2, 3))
    base = bases.frozen(speakers, params, labels, given.prompts, given.log_prompts, chains.outcomes(3, LENGTH))
    ends = jax.random.normal(jax.random.key(4), (1, 2, 2, 9))
    each = jax.tree.map(lambda x: x[None], early)
    return base, early, ends, jax.jit(lambda: networks.limits(base, each, given, lambda _: ends, ANGLES))()


@pytest.mark.slow
@pytest.mark.parametrize(("way", "hull"), [(0, 0), (1, 0), (1, 1), (2, 0)])
def test_limits_are_those_of_the_whole_jacobian(found, way, hull):
    """On the features of an untrained network, on its own, and of a table of next words."""
    base, early, ends, limits = found
    at = networks.on_features(base, early), networks.own(base), networks.as_table(base)
    policy, params = at[way]
    law = lambda params: all_log_probs(policy, params, base.prompts)  # noqa: E731
    np.testing.assert_allclose(law(params), base.log_base, atol=1e-9)
    jacobian = jax.jit(jax.jacobian(law))(params)
    flat = np.concatenate([np.asarray(x).reshape(18, -1) for x in jax.tree.leaves(jacobian)], axis=1)
    rho, pi = np.asarray(base.rho), np.exp(base.log_base)
    spanned = (networks.by_truth(base, world()[0]), networks.by_name(base))[hull][0]
    for angle, limit in zip(ANGLES, limits.limit[way, hull, 0], strict=True):
        paid = np.asarray(networks.at_angles(ends[0], angle[None])[0])
        slope = rho[:, None] * pi * (paid - (pi * paid).sum(axis=1, keepdims=True))
        moved = (flat @ (flat.T @ slope.reshape(-1))).reshape(2, 9)
        np.testing.assert_allclose(limit, r_squared(spanned, moved), rtol=1e-6, atol=1e-12)


@pytest.mark.slow
def test_own_prompts_are_the_world_s_and_what_early_networks_select_is_their_own(found):
    (base, early, ends, limits), (given, _) = found, world()
    own = np.asarray(base.log_base)[np.argmax(given.log_gates, axis=0)]
    expected, repair = bases.spanned(base, jnp.broadcast_to(own, (2, 2, 9)))
    np.testing.assert_allclose(networks.by_own_prompts(base, given)[0].log_personas, expected.log_personas)
    np.testing.assert_allclose(limits.misfit[2], base.rho @ repair.distance, atol=1e-12)
    assert limits.certified
    then = bases.frozen(base.speakers, early, base.labels, base.prompts, base.log_prompts, base.responses)
    spanned, _ = networks.by_truth(then, given)
    alone = networks.weak_limits(spanned, networks.own(then), ends, ANGLES)
    np.testing.assert_allclose(limits.early_limit[0, 0], alone, rtol=1e-8)


@pytest.mark.slow
def test_whom_the_mix_leaves_out_no_small_step_brings_in():
    """Steps are measured against the hull of all; with the absent one in the regression, R² would be another."""
    given, labels = world()
    log_personas = worlds.log_personas(given, LENGTH)
    base = bases.true(given, labels, LENGTH)
    # Further from the second persona than the first one is, so that no share of the second comes nearer.
    outside = jax.nn.log_softmax(1.3 * log_personas[:, 0] - 0.3 * log_personas[:, 1])
    base, repair = bases.spanned(base._replace(log_base=outside), log_personas)
    assert (repair.weights[:, 1] == 0).all() and repair.certified.all()
    moved = jax.random.normal(jax.random.key(5), outside.shape) + jnp.exp(log_personas[:, 1] - outside)
    steps = jnp.array([1e-4, 2e-4])
    budgets = base.budget_along(jax.nn.log_softmax(outside[None] + steps[:, None, None] * moved[None]))
    assert budgets.certified.all()
    measured = 2 * budgets.selection_fraction[0] - budgets.selection_fraction[1]
    limit = networks.weak_limit(base, moved)
    np.testing.assert_allclose(limit, measured, atol=1e-4)
    of_all = theory.weak_limit(base.log_base, base.log_personas, moved, base.log_prompts)
    assert of_all > limit + 0.05
