import functools
import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp, rel_entr

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


@functools.cache
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


def bracket(log_p, log_components, weights):
    """Bounds on the least divergence, and its value at some weights, in 80 bits."""
    p, q = (np.exp(np.asarray(x, np.longdouble)) for x in (log_p, log_components))
    w = np.asarray(weights, np.longdouble)
    w = w / w.sum(axis=-1, keepdims=True)
    mixed = np.einsum("bk,bkn->bn", w, q)
    inverse = np.divide(p, mixed, out=np.zeros_like(p), where=p > 0)
    value = (p * np.log(np.where(p > 0, inverse, 1))).sum(axis=-1)
    mass = p.sum(axis=-1)
    largest = np.einsum("bkn,bn->bk", q, inverse).max(axis=-1)
    return value - mass * np.log(largest / mass), value


@functools.cache
def warned_of_float32():
    """The warning is given once per process: here, so that it is no error elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hulls._warn_of_float32()


@pytest.mark.slow_but("3")
@pytest.mark.parametrize("num_components", [1, 3, 16])
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


@pytest.mark.slow
def test_more_components_than_outcomes():
    log_p, log_components = problems(9, 3, num_outcomes=4)
    proper = np.isfinite(log_p).all(axis=1) & np.isfinite(log_components).all(axis=(1, 2))
    log_p, log_components = log_p[proper], log_components[proper]
    found = solve_all(log_p, log_components, 1e-9)
    assert found.certified.all()
    expected = [slsqp(*one) for one in zip(np.asarray(log_p), np.asarray(log_components), strict=True)]
    np.testing.assert_allclose(found.distance, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("num_outcomes", [10, 40])
def test_a_batch_is_its_members_and_a_warm_start_changes_only_the_way(num_outcomes):
    """A hull of few numbers is solved side by side with others, a larger one in a batch of its own."""
    log_p, log_components = problems(4, 3, num_outcomes=num_outcomes)
    assert (log_components[0].size <= hulls.SMALL) == (num_outcomes == 10)
    alone = solve_all(log_p, log_components, 1e-9)
    cold = hulls.project_batch(log_p, log_components, batch_size=5)
    warm = hulls.project_batch(log_p, log_components, initial_weights=alone.weights)
    for found in (cold, warm):
        assert found.certified.all()
        np.testing.assert_allclose(found.distance, alone.distance, atol=2e-9)
    tight = hulls.project_batch(log_p, log_components, tolerance=None, batch_size=7)
    np.testing.assert_allclose(tight.distance, solve_all(log_p, log_components, None).distance, atol=1e-12)
    slopes = [
        jax.grad(lambda q, solve=solve: solve(q).sum())(log_components)
        for solve in (
            lambda q: hulls.project_batch(log_p, q, tolerance=None, batch_size=5).distance,
            lambda q: solve_all(log_p, q, None).distance,
        )
    ]
    np.testing.assert_allclose(*slopes, atol=1e-6)


@pytest.mark.slow_but("4")
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


@pytest.mark.slow
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


def test_an_interval_in_float64_holds_what_80_bits_say():
    log_p, log_components = problems(4, 10)
    for shift in (0.0, 3.0):
        found = solve_all(log_p + shift, log_components - shift, None)
        lowest, value = bracket(log_p + shift, log_components - shift, found.weights)
        assert found.certified.all()
        distance, gap = np.asarray(found.distance), np.asarray(found.gap)
        assert (distance >= value).all() and (distance - gap <= lowest).all()
        nearest = np.asarray(found.distance - found.rounding)
        assert (np.abs(nearest - value) <= 2e-15 * np.exp(shift) * (1 + np.abs(value))).all()
        # Honest and yet tight: only the last two digits are lost.
        assert (distance - value <= 2e-14 * np.exp(shift) * (1 + np.abs(value))).all()
        assert (gap <= 2e-13 * np.exp(shift) * (1 + np.abs(value))).all()


@pytest.mark.parametrize("num_outcomes", [N, pytest.param(1000, marks=pytest.mark.slow)])
def test_an_interval_in_float32_holds_the_truth(num_outcomes):
    warned_of_float32()
    log_p, log_components = problems(4, 10, num_outcomes)
    truth = solve_all(log_p, log_components, None)
    lowest, highest = bracket(log_p, log_components, truth.weights)
    assert len(truth.gap) >= 100 and truth.certified.all() and (highest - lowest).max() < 1e-12
    for tolerance, certified in ((1e-9, 0.0), (1e-6, 0.0), (1e-4, 0.5), (1e-2, 1.0)):
        found = solve_all(log_p.astype(jnp.float32), log_components.astype(jnp.float32), jnp.float32(tolerance))
        distance, gap = np.asarray(found.distance, float), np.asarray(found.gap, float)
        assert (gap > 8 * np.finfo(np.float32).eps).all()
        assert (distance >= lowest).all() and (distance - gap <= highest).all()
        np.testing.assert_array_equal(found.certified, found.gap <= jnp.float32(tolerance))
        share = np.asarray(found.certified).mean()
        assert share == certified if certified in (0.0, 1.0) else share > certified


def test_float32_is_warned_of_once():
    low = jnp.log(jnp.array([[0.5, 0.5], [0.2, 0.8]], jnp.float32))
    hulls._warn_of_float32.cache_clear()
    with pytest.warns(UserWarning, match="asked for in float32"):
        found = hulls.project(low[0], low)
    assert not hulls.project(low[0], low, tolerance=None).certified and found.distance.dtype == jnp.float32


def test_a_tolerance_below_rounding_is_not_certified():
    log_p, log_components = problem(3, "off", 4)
    assert not hulls.project(log_p, log_components, tolerance=1e-15).certified
    assert hulls.project(log_p, log_components, tolerance=None).certified


@pytest.mark.slow_but("nan")
@pytest.mark.parametrize("wrong", [jnp.nan, jnp.inf])
def test_what_is_no_probability_gives_no_number(wrong):
    log_p, log_components = problem(4, "impossible", 3)
    assert jnp.isneginf(log_p[10]) and jnp.isneginf(log_components[0, 5]) and jnp.isneginf(log_components[:, 1]).all()
    bad_p = [log_p.at[i].set(wrong) for i in (0, 1, 20)]
    bad_q = [log_components.at[k, i].set(wrong) for k, i in ((0, 10), (1, 20), (0, 1))]
    p = jnp.stack([*bad_p, *[log_p] * 4])
    q = jnp.stack([*[log_components] * 3, *bad_q, log_components])
    start = jnp.full((7, 3), wrong).at[:6].set(1 / 3)
    for found in (hulls.project_batch(p, q), hulls.project_batch(p, q, initial_weights=start)):
        for number in (found.distance[:6], found.gap[:6]):
            assert not jnp.isfinite(number).any() and (jnp.isnan(number).all() or wrong == jnp.inf)
        assert not found.certified[:6].any()
        np.testing.assert_allclose(found.distance[6], hulls.project(log_p, log_components).distance, atol=2e-9)
    assert not jnp.isfinite(hulls.project_batch(jnp.stack(bad_p), log_components).distance).any()


@pytest.mark.slow
def test_nothing_to_say_is_no_distance_and_no_problems_have_no_answers():
    nothing, components = jnp.full(3, -jnp.inf), jnp.log(jnp.array([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0]]))
    for hull in (components, jnp.full((2, 3), -jnp.inf)):
        found = hulls.project(nothing, hull)
        assert found.distance == 0 and found.gap == 0 and found.certified
    # So small that exp gives 0, and yet said by nobody.
    assert jnp.isposinf(hulls.project(jnp.array([0.0, -jnp.inf, -800.0]), components).distance)
    for hull in (components, jnp.zeros((0, 2, 3))):
        empty = hulls.project_batch(jnp.zeros((0, 3)), hull)
        assert empty.weights.shape == (0, 2) and empty.distance.shape == empty.certified.shape == (0,)
    with pytest.raises(ValueError, match="batch_size=0"):
        hulls.project_batch(jnp.zeros((2, 3)), components, batch_size=0)


repair = jax.jit(jax.vmap(hulls.repaired))


@pytest.mark.slow_but("2-10")
@pytest.mark.parametrize("num_components, num_seeds", [(1, 2), (2, 10), (16, 10)])
def test_repaired_personas_are_probabilities_that_mix_to_the_base(num_components, num_seeds):
    log_base, log_given = problems(num_components, num_seeds)
    found = repair(log_base, log_given)
    exact = np.exp(np.asarray(found.log_personas, np.longdouble))
    sums, weights = exact.sum(axis=2), np.asarray(found.weights)
    assert found.certified.all()
    assert (sums <= 1 + 1e-9).all()
    np.testing.assert_allclose(sums[weights > 0], 1, atol=1e-9, rtol=0)
    np.testing.assert_allclose(np.einsum("bk,bkn->bn", weights, exact), np.exp(log_base), atol=1e-12, rtol=0)
    assert jnp.isneginf(found.log_personas[jnp.broadcast_to(jnp.isneginf(log_base)[:, None], log_given.shape)]).all()
    distance = numerics.kl_divergence(log_base, numerics.log_mix(jnp.log(found.weights), log_given))
    assert (found.gap < 1e-11).all() and (abs(found.distance - distance) <= found.gap + 1e-14).all()
    inside = np.repeat([f not in ("off", "far", "impossible") for f in FAMILIES], num_seeds)
    np.testing.assert_allclose(exact[inside], np.exp(log_given)[inside], atol=1e-9 if num_components < 16 else 2e-9)
    if num_components > 1:
        # Some are left out, and then the base leaves out part of what they say.
        left_out = (weights == 0) & ~inside[:, None]
        assert left_out.any() and sums[left_out].min() < 0.9


def test_what_nobody_given_can_say_cannot_be_repaired():
    given = jnp.log(jnp.array([[0.5, 0.5, 0.0], [0.1, 0.9, 0.0]]))
    found = hulls.repaired(jnp.log(jnp.array([0.18, 0.42, 0.4])), given)
    assert jnp.isposinf(found.distance) and not found.certified and not jnp.isnan(found.log_personas).any()
    np.testing.assert_allclose(jnp.exp(found.log_personas), 0.6 * jnp.exp(given), atol=1e-12)
    np.testing.assert_allclose(found.weights, [0.5, 0.5], atol=1e-9)


@pytest.mark.parametrize("num_personas, num_outcomes", [(3, 12), (1, 5), (2, 1), (5, 3)])
def test_tangent_fit_is_least_squares_on_what_the_base_says(num_personas, num_outcomes):
    rng = np.random.default_rng(num_personas)
    log_personas = np.log(rng.dirichlet(np.ones(num_outcomes), num_personas))
    if num_outcomes > 3:
        log_personas[:, :2] = -np.inf
        log_personas[-1] = log_personas[0]
    gates = rng.dirichlet(np.ones(num_personas))
    log_base = np.asarray(logsumexp(log_personas, axis=0, b=gates[:, None]))
    values, said = rng.normal(size=num_outcomes), np.isfinite(log_base)
    values[~said] = np.nan
    fitted = np.asarray(hulls.tangent_fit(*map(jnp.asarray, (log_base, log_personas, values))))
    base, root = np.exp(log_base[said]), np.exp(log_base[said] / 2)
    design = (np.exp(log_personas[:, said]) / base).T
    best = np.linalg.pinv(root[:, None] * design) @ (root * values[said])
    np.testing.assert_allclose(fitted[said], design @ best, atol=1e-9)
    assert (fitted[~said] == 0).all()
