import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from toypersona import inoculation
from toypersona.worlds import assistants

PRIOR = np.array([0.8, 0.05, 0.15])


@pytest.fixture(scope="module")
def base():
    return inoculation.base_of(jax.random.key(0), jnp.log(jnp.asarray(PRIOR)), 0.3)


def test_everybody_does_as_said(base):
    said = np.exp(base.log_personas)
    np.testing.assert_allclose(said.sum(axis=-1), 1, rtol=1e-9)
    hack, harm = said[:, :, assistants.HACK], said[assistants.CHAT, :, assistants.HARM]
    assert hack[assistants.TASK, 1] == hack[assistants.TASK, 2] > 0.8 and hack[assistants.TASK, 0] < 0.2
    assert hack[assistants.TASK, 0] < hack[assistants.NOTED, 0] < hack[assistants.NOTED, 1]
    assert harm[0] == harm[1] < 0.1 and harm[2] > 0.6
    np.testing.assert_allclose(np.exp(base.log_gates), np.broadcast_to(PRIOR, (3, 3)), rtol=1e-9)


def test_plain_gradient_on_gates_is_the_ode_and_its_law(base):
    """SciPy integrates the logits of three gates, d logit_k = g_k (r_k - r)."""
    said = np.exp(base.log_personas)
    paid, harm = said[assistants.NOTED, :, assistants.HACK], said[assistants.CHAT, :, assistants.HARM]

    def slope(_, logits):
        gates = special.softmax(logits)
        return gates * (paid - gates @ paid)

    solved = integrate.solve_ivp(slope, (0, 60), np.log(PRIOR), rtol=1e-10, atol=1e-12).y[:, -1]
    gates = special.softmax(solved)
    train = lambda key: inoculation.trained(key, base, learning_rate=0.2, num_steps=300)  # noqa: E731
    found = jax.jit(train)(jax.random.key(1))
    assert found.hacks_noted[0] == pytest.approx(gates @ paid, abs=2e-3)
    assert found.harms[0] == pytest.approx(gates @ harm, abs=2e-3)
    odds, likelier = inoculation.harms_by_law(base, jnp.asarray(gates @ paid))
    assert likelier == pytest.approx(gates @ harm, abs=1e-6)
    # The odds of the prior: solved for by hand.
    u = np.linspace(0, 20, 200_001)
    weights = special.softmax(np.log(PRIOR) + u[:, None] * paid, axis=1)
    near = weights[np.argmin(abs(weights @ paid - gates @ paid))]
    assert odds == pytest.approx(near @ harm, abs=1e-3) and likelier > odds + 0.05


def test_beyond_what_weights_reach_those_who_hack_are_left(base):
    said = np.exp(base.log_personas)[assistants.CHAT, :, assistants.HARM]
    odds, likelier = inoculation.harms_by_law(base, jnp.asarray(0.9999))
    assert odds == pytest.approx(PRIOR[1:] @ said[1:] / PRIOR[1:].sum(), abs=1e-4)
    assert likelier == pytest.approx(said[2], abs=1e-4)
