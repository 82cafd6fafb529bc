import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import softmax

from toypersona import right_answers

LOG_BASE = jnp.log(jnp.array([0.05, 0.03, 0.02, 0.5, 0.4]))
TIMES = {"vanilla": jnp.array([1.0, 10.0, 100.0]), "natural": jnp.array([0.3, 1.0, 5.0])}


@pytest.mark.parametrize("rule", right_answers.GRADIENTS)
def test_a_rare_answer_is_as_likely_as_not_at_the_law_s_time(rule):
    fractions = jnp.array([0.5, 0.99, 1.01])
    found, law = right_answers.discovery(rule, jnp.array(0.01), 4, fractions, 0.01)
    assert law > 0 and found[0] < 0.1
    assert found[1] < 0.5 < found[2]


@pytest.mark.parametrize("rule", right_answers.GRADIENTS)
def test_the_path_is_the_flow_s(rule):
    """Against SciPy's integration of the gradient flow in the logits."""
    right = np.array([1.0, 1.0, 1.0, 0.0, 0.0])

    def flow(_, logits):
        p = softmax(logits)
        advantage = right - p @ right
        return p * advantage if rule == "vanilla" else advantage

    times = TIMES[rule]
    survival = right_answers.survival(rule, LOG_BASE, 3, times, 0.005)
    exact = solve_ivp(flow, (0, float(times[-1])), LOG_BASE, t_eval=np.asarray(times), rtol=1e-10, atol=1e-12)
    policies = softmax(exact.y.T, axis=1)
    base = np.exp(LOG_BASE)
    np.testing.assert_allclose(survival["right"], policies @ right, rtol=2e-3)
    np.testing.assert_allclose(survival["odds"], policies[:, 1:3] / policies[:, :1], rtol=1e-2)
    np.testing.assert_allclose(survival["from_base"], (policies * np.log(policies / base)).sum(axis=1), rtol=5e-3)
    np.testing.assert_allclose(survival["to_base"], (base * np.log(base / policies)).sum(axis=1), rtol=5e-3)
    np.testing.assert_allclose(survival["odds_law"], survival["odds"], rtol=1e-2)


def test_a_single_right_answer_has_no_others():
    survival = jax.jit(lambda: right_answers.survival("natural", LOG_BASE, 1, TIMES["natural"], 0.1))()
    assert survival["odds"].shape == survival["odds_law"].shape == (3, 0)
