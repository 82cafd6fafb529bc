"""Effect sizes against SciPy's linear programmes and searches, closed forms, and what their own tests prove."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from toypersona import hulls, numerics
from toypersona.measures import effect_sizes

CASES = 40
ROUNDED = 1e-9
"""What SciPy's solvers may miss."""


def cases(scale, num_personas=3, seed=0):
    keys = jax.random.split(jax.random.key(seed), 2)
    draw = lambda key, *shape: jax.nn.log_softmax(scale * jax.random.normal(key, (CASES, *shape)))  # noqa: E731
    return draw(keys[0], 12), draw(keys[1], num_personas, 12)


def kappa(p, q):
    """Each row divided by its largest entry, because SciPy satisfies rows only up to 1e-7."""
    ratio = q / p
    largest = np.maximum(ratio.max(axis=0), 0.5)
    return -optimize.linprog(-np.ones(len(q)), A_ub=(ratio / largest).T, b_ub=1 / largest, bounds=(0, None)).fun


def total_variation(p, q):
    num, size = q.shape
    cost = np.concatenate([np.zeros(num), np.ones(size)])
    short = np.hstack([-q.T, -np.eye(size)])
    whole = np.concatenate([np.ones(num), np.zeros(size)])[None]
    return optimize.linprog(cost, A_ub=short, b_ub=-p, A_eq=whole, b_eq=[1], bounds=(0, None)).fun


def blended(w, p, q):
    logits = w @ np.log(q)
    return float(p @ (np.log(p) - logits + np.log(np.exp(logits).sum())))


def exponential(p, q):
    start = np.full(len(q), 1 / len(q))
    whole = {"type": "eq", "fun": lambda w: w.sum() - 1}
    options = {"ftol": 1e-14, "maxiter": 500}
    bounds = [(0, 1)] * len(q)
    return optimize.minimize(
        blended, start, args=(p, q), method="SLSQP", bounds=bounds, constraints=whole, options=options
    ).fun


ORACLES = {
    effect_sizes.unsaid: lambda p, q: 1 - kappa(p, q),
    effect_sizes.total_variation: total_variation,
    effect_sizes.exponential: exponential,
}
SOLVE = {measure: jax.jit(jax.vmap(measure)) for measure in ORACLES}


def solved(measure, log_p, log_q):
    """Of one problem of fewer outcomes, by the program that is compiled already."""
    short = 12 - len(log_p)
    padded = (jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, short)], constant_values=-jnp.inf) for x in (log_p, log_q))
    return jax.tree.map(lambda x: x[0], SOLVE[measure](*(jnp.stack([x] * CASES) for x in padded)))


@pytest.mark.parametrize("scale", [0.3, 1.5, 4.0])
@pytest.mark.parametrize("measure", ORACLES, ids=lambda measure: measure.__name__)
def test_the_interval_is_narrow_and_holds_what_scipy_finds(measure, scale):
    log_p, log_q = cases(scale)
    found = SOLVE[measure](log_p, log_q)
    assert found.certified.all() and (found.upper - found.lower <= 1e-9).all()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, rtol=1e-12)
    missed = 1e-6 if measure is effect_sizes.exponential else ROUNDED
    for p, q, lower, upper in zip(np.exp(log_p), np.exp(log_q), found.lower, found.upper, strict=True):
        truth = ORACLES[measure](p, q)
        assert lower - ROUNDED <= truth <= upper + missed


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_weights_show_the_upper_bound_and_tests_prove_the_lower(scale):
    log_p, log_q = cases(scale, seed=1)
    p, q = np.exp(log_p), np.exp(log_q)
    share, variation, blend = (solve(log_p, log_q) for solve in SOLVE.values())
    mix = np.einsum("bk,bkn->bn", share.weights, q)
    np.testing.assert_allclose((p / mix).min(axis=1), 1 - share.upper, atol=1e-12)
    proved = (p * share.test).sum(axis=1) / np.einsum("bkn,bn->bk", q, share.test).min(axis=1)
    np.testing.assert_allclose(proved, 1 - share.lower, atol=1e-12)
    mix = np.einsum("bk,bkn->bn", variation.weights, q)
    np.testing.assert_allclose(0.5 * abs(p - mix).sum(axis=1), variation.upper, atol=1e-12)
    assert (variation.test >= 0).all() and (variation.test <= 1).all()
    proved = np.einsum("bkn,bn->bk", q, variation.test).min(axis=1) - (p * variation.test).sum(axis=1)
    np.testing.assert_allclose(np.maximum(proved, 0), variation.lower, atol=1e-12)
    found = [blended(*given) for given in zip(np.asarray(blend.weights), p, q, strict=True)]
    np.testing.assert_allclose(found, blend.upper, atol=1e-11)


def test_the_order_of_the_sizes():
    """TV is at most the share, and by Pinsker at most the root of half the hull distance."""
    log_p, log_q = cases(1.5, seed=2)
    share, variation = (solve(log_p, log_q) for solve in list(SOLVE.values())[:2])
    nats = jax.jit(jax.vmap(hulls.project))(log_p, log_q).distance
    assert (variation.lower <= share.upper).all() and (variation.lower <= jnp.sqrt(nats / 2)).all()
    assert (share.lower > 0.05).any()


def test_what_is_inside_has_none_and_one_persona_has_closed_forms():
    _, log_q = cases(1.5, seed=3)
    mixed = jnp.log(jnp.einsum("k,bkn->bn", jnp.array([0.3, 0.0, 0.7]), jnp.exp(log_q)))
    for solve in list(SOLVE.values())[:2]:
        inside = solve(mixed, log_q)
        assert inside.certified.all() and (inside.lower == 0).all() and (inside.upper <= 1e-9).all()
    averaged = jax.nn.log_softmax(jnp.einsum("k,bkn->bn", jnp.array([0.3, 0.0, 0.7]), log_q))
    blend = SOLVE[effect_sizes.exponential](averaged, log_q)
    assert blend.certified.all() and (blend.upper <= 1e-9).all()
    np.testing.assert_allclose(blend.weights, np.tile([0.3, 0.0, 0.7], (CASES, 1)), atol=1e-4)


@pytest.mark.parametrize("beside", ["nobody", "a twin and a silent one"])
@pytest.mark.parametrize("measure", ORACLES, ids=lambda measure: measure.__name__)
def test_one_persona_has_closed_forms(measure, beside):
    log_p, log_q = cases(20.0, num_personas=1, seed=4)
    p, q = np.exp(log_p), np.exp(log_q[:, 0])
    truth = {
        effect_sizes.unsaid: 1 - np.exp(log_p - log_q[:, 0]).min(axis=1),
        effect_sizes.total_variation: 0.5 * abs(p - q).sum(axis=1),
        effect_sizes.exponential: np.asarray(numerics.kl_divergence(log_p, log_q[:, 0])),
    }[measure]
    if beside != "nobody":
        log_q = jnp.concatenate([log_q, log_q, jnp.full_like(log_q, -jnp.inf)], axis=1)
    found = SOLVE[measure](log_p, log_q)
    assert found.certified.all()
    np.testing.assert_allclose(found.weights[:, :2].sum(axis=1), 1.0, rtol=1e-12)
    assert (found.lower - 1e-11 <= truth).all() and (truth <= found.upper + 1e-11).all()


@pytest.mark.slow
def test_what_cannot_be_said():
    log_p = jnp.log(jnp.array([0.5, 0.4, 0.1, 0.0]))
    log_q = jnp.log(jnp.array([[0.8, 0.2, 0.0, 0.0], [0.1, 0.2, 0.0, 0.7], [0.3, 0.7, 0.0, 0.0]]))
    share = solved(effect_sizes.unsaid, log_p, log_q)
    w = np.linspace(0, 1, 100_001)
    among = np.minimum(0.5 / (0.8 * w + 0.3 * (1 - w)), 0.4 / (0.2 * w + 0.7 * (1 - w))).max()
    assert share.certified and share.weights[1] == 0 and share.lower <= 0.1 + 1e-12
    assert 1 - among == pytest.approx(float(share.upper), abs=1e-5)
    variation = solved(effect_sizes.total_variation, log_p, log_q)
    assert variation.certified and variation.upper == pytest.approx(total_variation(np.exp(log_p), np.exp(log_q)))
    assert jnp.isinf(solved(effect_sizes.exponential, log_p, log_q).upper)
    # Somebody without the third word vetoes it, however small the weight; who cannot follow has none.
    log_p = jnp.log(jnp.array([0.5, 0.5, 0.0, 0.0]))
    log_q = jnp.log(jnp.array([[0.5, 0.3, 0.2, 0.0], [0.4, 0.6, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]]))
    blend = solved(effect_sizes.exponential, log_p, log_q)
    nearest = min(blended(np.array([a, 1 - a]), np.array([0.5, 0.5]), np.exp(log_q[:2, :2])) for a in w[1:-1:10])
    assert blend.certified and blend.weights[2] == 0 and blend.upper == pytest.approx(nearest, abs=1e-9)
    nobody = jnp.full_like(log_q, -jnp.inf)
    for measure, alone in zip(ORACLES, (1.0, 1.0, jnp.inf), strict=True):
        assert solved(measure, log_p, nobody).lower == alone
        broken = solved(measure, log_p.at[0].set(jnp.nan), log_q)
        assert jnp.isnan(broken.upper) and not broken.certified


def test_the_exponential_hull_of_voices_far_apart_is_found_where_log_z_has_kinks():
    log_p, log_q = cases(20.0, seed=6)
    found = SOLVE[effect_sizes.exponential](log_p, log_q)
    assert found.certified.all()
    for p, q, near in zip(np.asarray(log_p), np.asarray(log_q), np.asarray(found.upper), strict=True):
        for w in np.random.default_rng(0).dirichlet(np.full(3, 0.5), 200):
            logits = w @ q
            assert near <= np.exp(p) @ (p - logits + np.logaddexp.reduce(logits)) + 1e-9


@pytest.mark.slow
def test_averaged_over_prompts_an_impossible_one_counts_nowhere():
    log_p, log_q = cases(1.5, seed=7)
    rho = jnp.zeros(CASES).at[:2].set(jnp.array([0.25, 0.75]))
    found = effect_sizes.measure(log_p.at[2].set(jnp.nan), log_q, jnp.log(rho))
    for averaged, solve in zip(found, SOLVE.values(), strict=True):
        assert averaged.certified and averaged.weights.shape == (CASES, 3)
        assert averaged.upper == pytest.approx(float(rho @ solve(log_p, log_q).upper), abs=1e-12)


def test_shapes_that_do_not_fit_are_refused():
    log_p, log_q = cases(1.5)
    with pytest.raises(ValueError, match="have to be"):
        inspect.unwrap(effect_sizes.measure)(log_p[:3], log_q[:3], jnp.zeros(2))
    for measure in ORACLES:
        with pytest.raises(ValueError, match="Cannot compare"):
            inspect.unwrap(measure)(log_p[0], log_q[0, :, 1:])
