import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import rel_entr

from experiments.shared import oracle
from toypersona import hulls, numerics

N = 40
FAMILIES = (
    "interior",
    "off",
    "far",
    "vertex",
    "sparse 1e-3",
    "sparse 1e-6",
    "collinear",
    "duplicate",
    "near 1e-6",
    "near 1e-9",
    "impossible",
)


def problem(seed, family, num_components, num_outcomes=N):
    """One p [N] and its components [K, N]."""
    keys = jax.random.split(jax.random.key(seed), 4)
    log_components = jax.nn.log_softmax(2 * jax.random.normal(keys[0], (num_components, num_outcomes)))
    weights = jax.random.dirichlet(keys[1], jnp.ones(num_components))
    first = jnp.arange(num_components) == 0
    if family == "impossible":
        log_components = log_components.at[:, :4].set(-jnp.inf).at[0, 4:9].set(-jnp.inf)
        log_components = jax.nn.log_softmax(log_components)
    if family == "vertex":
        weights = first * 1.0
    if family.startswith("sparse"):
        weights = jnp.where(first, 1.0, float(family.split()[1]))
    if num_components > 1 and family.startswith(("duplicate", "near")):
        size = float(family.split()[1]) if " " in family else 0.0
        twin = jax.nn.log_softmax(log_components[0] + size * jax.random.normal(keys[2], (num_outcomes,)))
        log_components = log_components.at[1].set(twin)
    if num_components > 2 and family == "collinear":
        log_components = log_components.at[1].set(jnp.logaddexp(log_components[0], log_components[2]) - jnp.log(2.0))
    log_p = numerics.log_mix(jnp.log(weights / weights.sum()), log_components)
    noise = jax.random.normal(keys[3], (num_outcomes,))
    if family in ("off", "impossible"):
        log_p = log_p + noise
    if family == "far":
        log_p = 10 * noise
    if family == "impossible":
        log_p = log_p.at[10:13].set(-jnp.inf)
    return jax.nn.log_softmax(log_p), log_components


def problems(num_components, num_seeds, num_outcomes=N):
    """All families, for each of the seeds: [B, N], [B, K, N]."""
    both = [problem(s, f, num_components, num_outcomes) for f in FAMILIES for s in range(num_seeds)]
    return tuple(jnp.stack(part) for part in zip(*both, strict=True))


@jax.jit
def solve_all(log_p, log_components, tolerance):
    return jax.vmap(lambda p, q: hulls.project(p, q, tolerance=tolerance))(log_p, log_components)


def slsqp(log_p, log_components):
    """The least KL(p ‖ mix) that SciPy finds, at weights that are sure to be feasible."""
    p, components = np.exp(log_p), np.exp(log_components)
    weights = np.maximum(oracle.nearest(p, components).x, 0)
    return rel_entr(p, weights / weights.sum() @ components).sum()


@pytest.mark.parametrize("num_components", [1, 2, 3, 4, 8, 16])
def test_distance_is_scipys(num_components):
    log_p, log_components = problems(num_components, 2)
    expected = np.array([slsqp(*one) for one in zip(np.asarray(log_p), np.asarray(log_components), strict=True)])
    for tolerance in (1e-6, 1e-9):
        found = solve_all(log_p, log_components, tolerance)
        assert found.certified.all()
        np.testing.assert_array_equal(found.certified, found.gap <= tolerance)
        np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-12)
        assert (found.weights >= 0).all()
        assert (found.distance <= expected + tolerance).all()
        np.testing.assert_allclose(found.distance, expected, atol=1e-6)


def test_more_components_than_outcomes():
    log_p, log_components = problems(9, 3, num_outcomes=4)
    proper = np.isfinite(log_p).all(axis=1) & np.isfinite(log_components).all(axis=(1, 2))
    log_p, log_components = log_p[proper], log_components[proper]
    found = solve_all(log_p, log_components, 1e-9)
    assert found.certified.all()
    expected = [slsqp(*one) for one in zip(np.asarray(log_p), np.asarray(log_components), strict=True)]
    np.testing.assert_allclose(found.distance, expected, atol=1e-6)


def test_a_batch_is_its_members_and_a_warm_start_changes_only_the_way():
    log_p, log_components = problems(4, 3)
    alone = solve_all(log_p, log_components, 1e-9)
    cold = hulls.project_batch(log_p, log_components, batch_size=5)
    warm = hulls.project_batch(log_p, log_components, initial_weights=alone.weights)
    for found in (cold, warm):
        assert found.certified.all()
        np.testing.assert_allclose(found.distance, alone.distance, atol=2e-9)


@pytest.mark.parametrize("num_personas", [1, 4])
def test_one_hull_for_many_is_each_one_s_projection(num_personas):
    log_p, log_components = problems(4, num_personas)
    hull = log_components[-1].at[0, :2].set(-jnp.inf) + 0.5

    @jax.jit
    def alone(hull):
        found = jax.vmap(lambda p: hulls.project(p, hull))(log_p)
        return found.distance.sum(), found

    @jax.jit
    def together(hull, start):
        found = hulls.project_batch(log_p, hull, initial_weights=start, batch_size=5)
        return found.distance.sum(), found

    slope, expected = jax.grad(alone, has_aux=True)(hull)
    for start in (None, expected.weights):
        found_slope, found = jax.grad(together, has_aux=True)(hull, start)
        np.testing.assert_array_equal(found.certified, expected.certified)
        np.testing.assert_allclose(found.distance, expected.distance, atol=2e-9)
        np.testing.assert_allclose(found_slope, slope, atol=1e-5)


def test_what_nobody_can_say_is_infinitely_far_and_not_certified():
    log_components = jnp.log(jnp.array([[0.5, 0.5, 0.0], [0.1, 0.9, 0.0]]))
    found = hulls.project(jnp.log(jnp.array([0.3, 0.3, 0.4])), log_components)
    assert jnp.isposinf(found.distance) and jnp.isposinf(found.gap) and not found.certified


def test_given_up_early_says_so_and_its_gap_still_bounds_the_distance():
    log_p, log_components = problem(0, "off", 8)
    early = hulls.project(log_p, log_components, max_iterations=2)
    done = hulls.project(log_p, log_components)
    assert not early.certified and early.gap > 1e-9
    assert early.distance - early.gap <= done.distance <= early.distance + 1e-12


def test_unnormalised_components_scale_the_mix_and_shift_the_distance():
    log_p, log_components = problem(1, "off", 3)
    plain, scaled = hulls.project(log_p, log_components), hulls.project(log_p, log_components + 2.0)
    np.testing.assert_allclose(scaled.distance, plain.distance - 2.0, atol=2e-9)
    np.testing.assert_allclose(scaled.weights, plain.weights, atol=1e-4)


def test_derivatives_of_the_distance_are_finite_differences():
    log_p, log_components = problem(2, "off", 3)

    def distance(p, q):
        return hulls.project(p, q, tolerance=1e-13).distance

    direction = jax.random.normal(jax.random.key(3), log_p.shape)
    for argument, way in ((0, direction), (1, jnp.stack([direction, -direction, direction**2]))):

        def moved(step, argument=argument, way=way):
            both = [log_p, log_components]
            both[argument] = both[argument] + step * way
            return distance(*both)

        difference = (moved(1e-5) - moved(-1e-5)) / 2e-5
        np.testing.assert_allclose(jax.jacrev(moved)(0.0), difference, rtol=1e-5)


@pytest.mark.parametrize(
    ("p", "components", "weights"),
    [((3,), (2, 4), None), ((2, 3), (2, 3), None), ((3,), (0, 3), None), ((3,), (2, 3), (3,))],
)
def test_shapes_that_do_not_fit_are_refused(p, components, weights):
    unchecked = inspect.unwrap(hulls.project)  # a user's jaxtyping checks nothing
    with pytest.raises(ValueError, match="fit|Cannot project"):
        unchecked(jnp.zeros(p), jnp.zeros(components), initial_weights=weights and jnp.zeros(weights))
