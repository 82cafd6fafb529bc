import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.shared import oracle
from toypersona import hulls, interior_point

# Parts in a million of twelve words after a rare beginning, as a policy says them that was trained on a map.
SAID = (2.82, 2.82, 193574, 30922, 2.82, 1378, 2.82, 2.82, 2.82, 1791, 157401, 614916)
PERSONAS = (
    (0.41, 0.41, 272826, 25769, 0.41, 4.49, 0.41, 0.41, 0.41, 5.68, 201090, 500303),
    (3.5, 3.5, 234579, 30709, 3.5, 2030, 3.5, 3.5, 3.5, 2606, 142916, 587139),
    (4.28, 4.28, 221192, 25190, 4.28, 46.7, 4.28, 4.28, 4.28, 313, 66609, 686624),
)


@pytest.mark.parametrize("start", [(0.05, 0.95, 0.0), (0.3, 0.7, 0.0)])
def test_a_warm_start_on_the_wrong_face_does_not_trap_the_solver(start):
    p, personas = (np.array(x) / np.sum(x, axis=-1, keepdims=True) for x in (SAID, PERSONAS))
    found = hulls.project(jnp.log(p), jnp.log(personas), tolerance=None, initial_weights=jnp.array(start))
    assert found.certified and found.gap < 3e-13
    np.testing.assert_allclose(found.distance, oracle.nearest(p, personas).fun, atol=1e-9)


@pytest.mark.parametrize("num", [8, 12])
def test_elimination_unrolled_and_in_a_loop_is_numpys(num):
    rng = np.random.default_rng(num)
    root = rng.normal(size=(num, num))
    matrix, right = root @ root.T + np.eye(num), rng.normal(size=num)
    lower = jax.jit(interior_point.cholesky)(matrix)
    np.testing.assert_allclose(lower, np.linalg.cholesky(matrix), rtol=1e-10, atol=1e-10)
    solved = jax.jit(interior_point.solve_factored)(lower, right)
    np.testing.assert_allclose(solved, np.linalg.solve(matrix, right), rtol=1e-8)
    # A pivot that is lost to rounding: its variable does not move.
    matrix[:, -1] = matrix[-1] = 0.0
    solved = interior_point.solve_factored(interior_point.cholesky(jnp.asarray(matrix)), jnp.asarray(right))
    np.testing.assert_allclose(solved[:-1], np.linalg.solve(matrix[:-1, :-1], right[:-1]), rtol=1e-8)
    assert solved[-1] == 0.0
