"""Minima on the simplex against closed forms and SciPy, by the fast method and by the safe one alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from toypersona import simplex

CASES = 50


def minima(kind, values, iterations):
    def one(values):
        def function(weights):
            if kind == "squares":
                return 2 * (weights - values[0]), 2 * jnp.eye(4)
            logits = weights @ values
            probs = jax.nn.softmax(logits)
            apart = values - (values @ probs)[:, None]
            return values @ probs - values.mean(axis=1), (apart * probs[None]) @ apart.T

        return simplex.minimise(function, jnp.ones(4, bool), values.dtype, tolerance=1e-9, max_iterations=iterations)

    return jax.jit(jax.vmap(one))(values)


@pytest.mark.parametrize("iterations", [simplex.MAX_ITERATIONS, 0], ids=["fast", "safe"])
def test_the_nearest_point_of_the_simplex(iterations):
    values = jax.random.normal(jax.random.key(0), (CASES, 1, 4))
    found = minima("squares", values, iterations)
    for weights, wanted in zip(np.asarray(found.weights), np.asarray(values[:, 0]), strict=True):
        shift = optimize.brentq(lambda c, v=wanted: np.maximum(v - c, 0).sum() - 1, -5, 5, xtol=1e-14)
        np.testing.assert_allclose(weights, np.maximum(wanted - shift, 0), atol=2e-5)
    assert (found.gap <= 1e-9).all()


@pytest.mark.parametrize(("iterations", "scale"), [(simplex.MAX_ITERATIONS, 1.0), (0, 1.0), (20, 100.0)])
def test_log_sums_of_exponentials_with_and_without_kinks(iterations, scale):
    values = scale * jax.random.normal(jax.random.key(1), (CASES, 4, 9))
    found = minima("logits", values, iterations)
    assert (found.gap <= 1e-9).mean() > 0.95 and (found.gap < 1e-3).all()
    corners = np.random.default_rng(0).dirichlet(np.full(4, 0.4), 300)
    for weights, gap, v in zip(found.weights, found.gap, np.asarray(values), strict=True):
        at = lambda w, v=v: np.logaddexp.reduce(w @ v) - (w @ v).mean()  # noqa: E731
        assert min(map(at, corners)) >= at(np.asarray(weights)) - gap - 1e-9
        assert weights.sum() == pytest.approx(1.0) and (weights >= 0).all()


def test_who_is_not_allowed_has_no_weight():
    allowed = jnp.array([True, False, True, False])
    far = lambda w: (2 * (w - jnp.array([0.1, 5.0, 0.3, 0.0])), 2 * jnp.eye(4))  # noqa: E731
    for iterations in (simplex.MAX_ITERATIONS, 0):
        found = simplex.minimise(far, allowed, jnp.dtype(float), tolerance=1e-10, max_iterations=iterations)
        np.testing.assert_allclose(found.weights, [0.4, 0.0, 0.6, 0.0], atol=1e-4)
        assert found.gap <= 1e-10
