"""Names at the ends of curves: in order, apart, and moved no more than that takes."""

import itertools

import numpy as np
import pytest
from scipy import optimize

from figures import labels


def nearest(heights, gap):
    """The heights nearest to those wanted, all pairs apart, in their order (a quadratic programme)."""
    order = np.argsort(heights)
    wanted = np.array(heights)[order]
    apart = [{"type": "ineq", "fun": lambda x, i=i: x[i + 1] - x[i] - gap} for i in range(len(wanted) - 1)]
    found = optimize.minimize(lambda x: ((x - wanted) ** 2).sum(), wanted, constraints=apart, tol=1e-14)
    assert found.success
    moved = np.empty(len(wanted))
    moved[order] = found.x
    return moved


@pytest.mark.parametrize("seed", range(8))
def test_names_are_moved_as_little_as_keeps_them_apart(seed):
    rng = np.random.default_rng(seed)
    heights = rng.uniform(0.3, 0.7, 5)
    np.testing.assert_allclose(labels.apart(heights, 0.05), nearest(heights, 0.05), atol=1e-5)


def test_names_stay_beside_the_axes_and_in_their_order():
    rng = np.random.default_rng(0)
    for size, gap in itertools.product((1, 2, 5, 9), (0.01, 0.1)):
        heights = rng.uniform(-0.2, 1.2, size)
        moved = labels.apart(heights, gap)
        ordered = moved[np.argsort(heights, kind="stable")]
        assert (np.diff(ordered) >= gap - 1e-12).all()
        assert moved.min() >= 0 and moved.max() <= labels.TOP + 1e-12
    np.testing.assert_allclose(labels.apart([0.9, 0.1, 0.5], 0.1), [0.9, 0.1, 0.5])


def test_names_are_listed_as_one_says_them():
    said = [labels.listed(["a", "b", "c"][:count], "nobody") for count in range(4)]
    assert said == ["nobody", "a", "a and b", "a, b and c"]
