"""Lanes compute what jax's own vmap does, whatever is vmapped, and keep configurations apart."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from toypersona import chains, lanes, programs, trajectories
from toypersona.policies import mixture
from toypersona.policies.policy import with_frozen
from toypersona.rules import gradient
from toypersona.rules.rule import Task

V, T, U = 4, 3, 5
PROMPTS = jnp.array([[0, 4, 1], [2, 4, 3]])
NUM = 9
"""More than a register holds in float64."""


@pytest.fixture(autouse=True)
def few_responses(monkeypatch):
    """Are enough here, so that tests are quick."""
    monkeypatch.setattr(lanes, "LARGE", V**T)


def configurations(num_personas, shape, num=NUM):
    """Parameters, reward and KL coefficient of each."""
    keys = jax.random.split(jax.random.key(1), 3)
    gate = jax.random.normal(keys[0], (num, len(PROMPTS), num_personas))
    experts = jax.random.normal(keys[1], (num, num_personas, *shape))
    reward = jax.random.normal(keys[2], (num, len(PROMPTS), V**T))
    return jax.vmap(mixture.params_of)(gate, experts), reward, jnp.linspace(0.0, 1.0, num)


def walk(speakers, optimizer=optax.sgd, log_prompts=(0.0, -1.0), scope=None):
    """``(params, reward, beta)`` to the parameters and the gradient's norm after three steps and after five."""

    def one(params, reward, beta):
        policy = speakers.policy if scope is None else with_frozen(speakers.policy, speakers.scopes[scope])
        log_base = jax.vmap(policy.log_probs, (None, 0))(params, PROMPTS).astype(reward.dtype)
        task = Task(policy, PROMPTS, jnp.array(log_prompts), reward)
        options = {"kl_coefficient": beta, "log_base": log_base, "optimizer": optimizer}
        make_rule = lambda rate: gradient.policy_gradient(task, learning_rate=rate, **options)  # noqa: E731
        end = {"key": jax.random.key(0), "marks": (1 + beta) * jnp.array([0.3, 0.5]), "max_step": 0.1}
        return trajectories.follow(make_rule, lambda params: params, params, **end)[:2]

    return one


def speakers(num_personas=3, **options):
    options = {"gate": "table", "order": 1} | options
    return mixture.mixture(PROMPTS, num_personas=num_personas, num_units=U, num_words=V, length=T, **options)


def both(function, *arguments):
    """What lanes and jax's own vmap say; fails where lanes are not filled."""
    found = []
    for context in (lanes.filled(), contextlib.nullcontext()):
        with context:
            traced = jax.jit(function).trace(*arguments)
        found.append(traced.lower().compile()(*arguments))
        assert ("layout_constraint" in str(traced.jaxpr)) == (len(found) == 1)
    return found


def same(found, rtol=1e-12):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-13), *found)


@pytest.mark.slow_but("table")
@pytest.mark.parametrize(
    ("options", "shape", "settings"),
    [
        ({}, (U, V), {}),
        ({"order": 2}, (U, U, V), {"optimizer": optax.adam}),
        ({"reads": True}, (U, U, V), {"scope": "gates"}),
        ({"order": 0}, (V,), {"scope": "experts", "log_prompts": (0.0, -jnp.inf)}),
    ],
    ids=["table", "order 2, Adam", "reading, gates only", "order 0, experts only, a prompt that is never asked"],
)
def test_lanes_agree_with_vmap(options, shape, settings):
    same(both(jax.vmap(walk(speakers(**options), **settings)), *configurations(3, shape)))


@pytest.mark.slow
def test_a_gate_network_and_shared_arrays_take_lanes_too():
    policy = speakers(gate="network")
    params = jax.vmap(policy.policy.init)(jax.random.split(jax.random.key(0), NUM))
    reward = configurations(3, (U, V))[1][0]
    same(both(jax.vmap(walk(policy), (0, None, None)), params, reward, jnp.asarray(0.3)))


@pytest.mark.slow
def test_nested_vmaps_fill_the_same_lanes():
    """Of 3 × 3 configurations neither axis alone is wide enough."""
    params, reward, beta = configurations(3, (U, V))
    square = lambda x: x.reshape(3, 3, *x.shape[1:])  # noqa: E731
    inner = jax.vmap(walk(speakers()), (0, None, 0))
    given = jax.tree.map(square, params), reward[:3], square(beta)
    same(both(jax.vmap(inner), *given))


def test_float32_stays_float32_and_is_as_near():
    given = jax.tree.map(lambda x: x.astype(jnp.float32), configurations(3, (U, V)))
    found = both(jax.vmap(walk(speakers(), log_prompts=np.zeros(2, np.float32))), *given)
    assert found[0][0]["experts"].dtype == found[1][0]["experts"].dtype
    same(found, rtol=1e-4)


def test_a_configuration_that_is_lost_loses_no_other():
    params, reward, beta = configurations(3, (U, V))
    found = both(jax.vmap(walk(speakers())), params, reward.at[0].set(jnp.nan), beta)
    for experts in (one[0]["experts"] for one in found):
        assert np.isnan(experts[0]).all()
        assert np.isfinite(experts[1:]).all()
    same(found)


@pytest.mark.parametrize(
    ("num_personas", "num", "large"),
    [(3, lanes.FEWEST - 1, V**T), (lanes.MOST_CHAINS + 1, NUM, V**T), (3, NUM, V**T + 1)],
    ids=["few configurations", "many personas", "few responses"],
)
def test_what_lanes_would_slow_down_is_vmapped_as_ever(num_personas, num, large, monkeypatch):
    monkeypatch.setattr(lanes, "LARGE", large)
    given = configurations(num_personas, (U, V), num)
    with lanes.filled():
        traced = jax.jit(jax.vmap(walk(speakers(num_personas)))).trace(*given)
    assert "layout_constraint" not in str(traced.jaxpr)


@pytest.mark.slow
def test_slopes_have_derivatives():
    """Forward and backward, of the plain form."""
    keys = jax.random.split(jax.random.key(0), 3)
    halves = chains.Halves(jax.random.uniform(keys[0], (1, 2, 3, 2)), jax.random.uniform(keys[1], (1, 2, 2, 2)))
    paid = jax.random.normal(keys[2], (1, 12))
    worth = lambda probs, paid: jnp.log(probs) * paid  # noqa: E731
    summed = lambda halves: sum((x**2).sum() for x in lanes.slopes(worth, halves, paid))  # noqa: E731

    def slopes(halves):
        probs, pull_back = jax.vjp(listed, halves)
        gains = worth(probs, paid)
        return pull_back(gains - (probs * gains).sum())[0]

    oracle = lambda halves: sum((x**2).sum() for x in slopes(halves))  # noqa: E731
    np.testing.assert_allclose(summed(halves), oracle(halves), rtol=1e-12)
    for found, expected in zip(jax.grad(summed)(halves), jax.grad(oracle)(halves), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def listed(halves):
    """Probabilities of one prompt's responses [1, N]."""
    return chains.joined(jax.tree.map(lambda x: x[0], halves))[None]


@pytest.mark.slow_but("float32")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_reward_moves_nothing(dtype):
    """Adam would make whole steps of what rounding leaves of it."""
    params, reward, beta = jax.tree.map(lambda x: x.astype(dtype), configurations(3, (U, V)))
    paid = jnp.full_like(reward, 1e3)
    walked = jax.vmap(walk(speakers(), log_prompts=np.log(np.full(2, 0.5, dtype))))
    for found in both(walked, params, paid, jnp.zeros_like(beta)):
        assert found[1]["gradient_norm"].max() < 1e3 * np.finfo(dtype).eps ** 2 * 100


@pytest.mark.slow
def test_paths_have_derivatives_forwards():
    """By the strength of the penalty, of one path and of many side by side."""
    params, reward, beta = configurations(3, (U, V))
    walked = walk(speakers())
    slope = jax.jacfwd(lambda beta, params, reward: walked(params, reward, beta)[0]["experts"][-1])
    with lanes.filled():
        found = jax.jit(jax.vmap(slope))(beta, params, reward)
    mine, paid = jax.tree.map(lambda x: x[1], params), reward[1]
    around = [walked(mine, paid, beta[1] + h)[0]["experts"][-1] for h in (-1e-5, 1e-5)]
    np.testing.assert_allclose(found[1], (around[1] - around[0]) / 2e-5, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(found[1], slope(beta[1], mine, paid), rtol=1e-9, atol=1e-12)


def test_a_program_fills_lanes_with_the_options_that_make_them_fast():
    walked = walk(speakers())
    params, reward, _ = jax.tree.map(lambda x: x[0], configurations(3, (U, V)))

    def experiment(key, beta):
        del key
        return {"experts": walked(params, reward, beta)[0]["experts"]}

    program = programs.trace(experiment, (("beta", np.dtype(float)), ("seed", np.dtype(int))), ())
    points = {"beta": np.linspace(0.0, 1.0, NUM), "seed": np.arange(NUM)}
    device = jax.devices("cpu")[0]
    found = [programs.compiled(program, NUM, options, device)(points) for options in (programs.CPU_OPTIONS, ())]
    same([jax.tree.map(np.asarray, one) for one in found])
    conditionals = [
        str(programs.made(jax.vmap(program), options, points).as_text()).count(" conditional(")
        for options in (programs.CPU_OPTIONS, (), dict(programs.CPU_OPTIONS[::-1]))
    ]
    assert conditionals[0] == conditionals[2] > 0 == conditionals[1]
