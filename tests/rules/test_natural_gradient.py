"""Natural gradient against dense least squares of the enumerated scores, in NumPy, and against the exponential tilt."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from toypersona import first_order, numerics, theory
from toypersona.policies import information, mixture, tabular
from toypersona.policies.policy import all_log_probs, with_frozen
from toypersona.rules import gradient
from toypersona.rules.rule import Task

PROMPTS = jnp.array([[4, 1], [3, 2], [0, 4]])
RHO = np.array([0.6, 0.399, 0.001])
REWARD = 2 * jax.random.normal(jax.random.key(7), (3, 27))
LOGITS = jax.random.normal(jax.random.key(8), (3, 27))
TABULAR = tabular.tabular(PROMPTS, 3, 3)
SPEAKERS = {
    gate: mixture.mixture(PROMPTS, num_personas=3, num_units=5, num_words=3, length=3, gate=gate)
    for gate in ("table", "network", "prior")
}


def speakers(gate, prompts=PROMPTS):
    """A mixture and its parameters, away from symmetric places."""
    if prompts is PROMPTS:
        made = SPEAKERS[gate]
    else:
        made = mixture.mixture(prompts, num_personas=3, num_units=5, num_words=3, length=3, gate=gate)
    params = SPEAKERS[gate].policy.init(jax.random.key(0))
    shifts = jax.random.normal(jax.random.key(1), (3, 3))
    logits = params["gate"]["personas"]
    shifted = lambda x: x + (shifts if x.shape == (3, 3) else jnp.broadcast_to(shifts[0], x.shape))  # noqa: E731
    params["gate"]["personas"] = jax.tree.map(shifted, logits)
    return made.policy, params | {"experts": 3 * params["experts"]}


TRACED = {"log_base", "damping", "tolerance", "max_iterations"}


def stepped(
    policy, params, rho=RHO, prompts=PROMPTS, reward=REWARD, rate=1.0, make=gradient.natural_gradient, **options
):
    """The parameters and the info after one step."""
    arrays = {name: options.pop(name) for name in TRACED & options.keys()}
    log_prompts = jnp.log(jnp.asarray(rho))
    return _stepped(policy, make, tuple(options.items()), params, log_prompts, prompts, reward, rate, arrays)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _stepped(policy, make, options, params, log_prompts, prompts, reward, rate, arrays):
    """Compiled once for all numbers of a policy and a rule."""
    rule = make(Task(policy, prompts, log_prompts, reward), learning_rate=rate, **dict(options), **arrays)
    state, info = rule.update(jax.random.key(0), rule.init(params))
    return state.params, info


jitted_law = jax.jit(all_log_probs, static_argnums=0)


def moved(policy, params, after, prompts=PROMPTS):
    """How parameters move log pi, to first order."""
    law = lambda p: all_log_probs(policy, p, prompts)  # noqa: E731
    change = jax.tree.map(jnp.subtract, after, params)
    return np.asarray(jax.jit(lambda p, change: jax.jvp(law, (p,), (change,))[1])(params, change))


def regressed(policy, params, damping=None):
    """The advantages' regression on the scores, each row weighted by rho pi; ``damping`` [D, D] is added."""
    flat, unravel = ravel_pytree(params)
    law = lambda x: all_log_probs(policy, unravel(x), PROMPTS).reshape(-1)  # noqa: E731
    scores, log_probs = map(np.asarray, jax.jit(lambda x: (jax.jacobian(law)(x), law(x)))(flat))
    log_probs = log_probs.reshape(3, -1)
    probs = np.exp(log_probs)
    advantages = REWARD - (probs * REWARD).sum(axis=1, keepdims=True)
    root = np.sqrt(RHO[:, None] * probs).reshape(-1)
    rows, wanted = root[:, None] * scores, root * np.asarray(advantages).reshape(-1)
    if damping is not None:
        values, vectors = np.linalg.eigh(damping)
        extra = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        rows, wanted = np.concatenate([rows, extra]), np.concatenate([wanted, np.zeros(len(extra))])
    # Parameters of rare choices have small columns: what is singular shows only where all are of one size.
    size = np.linalg.norm(rows, axis=0)
    unit = np.divide(1.0, size, out=np.zeros_like(size), where=size > 1e-15)
    return (scores @ (unit * np.linalg.lstsq(rows * unit, wanted, rcond=1e-9)[0])).reshape(3, -1)


def misfit(made, expected):
    """Root mean square difference of each prompt, relative to its advantages'."""
    return np.sqrt(((made - expected) ** 2).mean(axis=1) / (expected**2).mean(axis=1)).max()


NETWORK = pytest.param("network", marks=pytest.mark.slow)


@pytest.mark.parametrize("gate", ["table", NETWORK, pytest.param("prior", marks=pytest.mark.slow)])
def test_it_is_the_regression_of_the_advantages_on_the_scores(gate):
    free, params = speakers(gate)
    scopes = jax.tree.map(lambda *x: jnp.stack(x), *mixture.SCOPES.values())

    @jax.jit
    @jax.vmap
    def made(scope):
        policy = with_frozen(free, scope)
        task = Task(policy, PROMPTS, jnp.log(jnp.asarray(RHO)), REWARD)
        rule = gradient.natural_gradient(task, learning_rate=1e-3, tolerance=1e-10, damping=0.0)
        state, info = rule.update(jax.random.key(0), rule.init(params))
        change = jax.tree.map(jnp.subtract, state.params, params)
        law = lambda p: all_log_probs(free, p, PROMPTS)  # noqa: E731
        return jax.jvp(law, (params,), (change,))[1], state.params, info["residual"]

    moves, after, residual = made(scopes)
    assert residual.max() < 1e-9
    for i, scope in enumerate(mixture.SCOPES.values()):
        expected = regressed(with_frozen(free, scope), params)
        assert misfit(1e3 * np.asarray(moves[i]), expected) < 1e-6
    for name, i in (("experts", 0), ("gate", 1)):
        jax.tree.map(lambda x, y, i=i: np.testing.assert_array_equal(x[i], y), after[name], params[name])


@pytest.mark.slow
def test_the_residual_bounds_the_error_at_the_rarest_prompt():
    policy, params = speakers("table")
    expected = regressed(policy, params)
    for max_iterations, tolerance in ((3, 1e-4), (8, 1e-4), (200, 1e-2), (200, 1e-4), (200, 1e-7)):
        after, info = stepped(policy, params, damping=0.0, max_iterations=max_iterations, tolerance=tolerance)
        error = misfit(moved(policy, params, after), expected)
        assert info["residual"] / 3 < error < 30 * info["residual"] + 1e-9
        assert max_iterations < 200 or info["residual"] <= tolerance


def enumerated_damping(params, damping):
    """D written out: of every softmax, from how often each option is chosen and how much of that is heard."""
    gates = np.asarray(jax.nn.softmax(params["gate"]["personas"]))
    tables = np.asarray(jax.nn.softmax(params["experts"]))
    complete = {"gate": np.zeros_like(gates), "experts": np.zeros_like(tables)}
    heard = {name: np.zeros_like(x) for name, x in complete.items()}
    for c, prompt in enumerate(np.asarray(PROMPTS)):
        for response in np.ndindex(3, 3, 3):
            path = list(zip((prompt[-1], *response[:-1]), response, strict=True))
            joint = np.array([RHO[c] * gates[c, k] * np.prod([tables[k][at] for at in path]) for k in range(3)])
            posterior = joint / joint.sum()
            for k in range(3):
                complete["gate"][c, k] += joint[k]
                heard["gate"][c, k] += joint[k] * posterior[k]
                for at in path:
                    complete["experts"][k][at] += joint[k]
                    heard["experts"][k][at] += joint[k] * posterior[k]
    blocks = []
    for name in ("experts", "gate"):
        for n, h in zip(complete[name].reshape(-1, 3), heard[name].reshape(-1, 3), strict=True):
            d = damping * n.sum() * np.divide(n - h, n, out=np.zeros(3), where=n > 0)
            blocks.append(np.diag(d) - np.outer(d, d) / d.sum() if d.sum() > 0 else np.zeros((3, 3)))
    matrix = np.zeros((3 * len(blocks), 3 * len(blocks)))
    for i, block in enumerate(blocks):
        matrix[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = block
    return matrix


@pytest.mark.slow
def test_damping_is_what_is_not_heard_and_solved_with_exactly(monkeypatch):
    policy, params = speakers("table")
    damping = enumerated_damping(params, 0.03)
    flat, unravel = ravel_pytree(params)
    assert policy.chart is not None
    chart = policy.chart(params, PROMPTS, jnp.log(RHO), 0.03)
    written = jax.vmap(lambda x: ravel_pytree(chart.damp(unravel(x)))[0])(jnp.eye(flat.size))
    np.testing.assert_allclose(written, damping, atol=1e-14)
    after, _ = stepped(policy, params, damping=0.03, tolerance=1e-10)
    expected = regressed(policy, params, damping)
    assert misfit(moved(policy, params, after), expected) < 1e-6
    assert misfit(regressed(policy, params), expected) > 0.01, "damping does nothing here"
    task = Task(policy, PROMPTS, jnp.log(jnp.asarray(RHO)), REWARD)
    for dense in (first_order.DENSE, 0):
        monkeypatch.setattr(first_order, "DENSE", dense)
        predicted = jax.jit(lambda params: first_order.natural(task, params, damping=0.03))(params)
        assert misfit(np.asarray(predicted), expected) < 1e-6


@pytest.mark.parametrize("rare", [1e-4, 1e-5, 1e-12])
def test_on_a_table_it_walks_along_the_tilt_however_rare_a_prompt_is(rare):
    """Of KL(tilt‖policy) at the rare prompt 79% used to be left at 1e-4, and all of it at 1e-5."""
    log_base, log_rho = jax.nn.log_softmax(3 * LOGITS), jnp.log(jnp.array([0.9 - rare, 0.1, rare]))
    rule = gradient.natural_gradient(Task(TABULAR, PROMPTS, log_rho, REWARD), learning_rate=0.1)
    end = jax.lax.scan(lambda s, _: rule.update(jax.random.key(0), s), rule.init(log_base), None, length=50)
    (state, info), tilt = end, theory.tilt(log_base, REWARD, 5.0)
    left = numerics.kl_divergence(tilt, jax.nn.log_softmax(state.params)) / numerics.kl_divergence(tilt, log_base)
    assert left.max() < 1e-20
    assert info["residual"].max() < 1e-12


@pytest.mark.slow_but("natural_gradient-table", "policy_gradient-tabular")
@pytest.mark.parametrize("kind", ["tabular", "table", NETWORK])
@pytest.mark.parametrize("make", [gradient.policy_gradient, gradient.natural_gradient])
def test_a_prompt_of_probability_0_is_as_if_it_were_not_there(make, kind):
    """It used to make every parameter nan, or hold every prompt still."""
    rho, other = np.array([0.7, 0.3, 0.0]), np.array([0.7, 0.3])
    few = PROMPTS[:2]
    policy, params = (TABULAR, LOGITS) if kind == "tabular" else speakers(kind)
    after, info = stepped(policy, params, rho, rate=0.1, make=make)
    if kind == "network":
        without, fewer, first = policy, params, lambda p: p
    elif kind == "tabular":
        without, fewer, first = tabular.tabular(few, 3, 3), params[:2], lambda p: p[:2]
    else:
        without = speakers(kind, few)[0]
        first = lambda p: p | {"gate": {"personas": p["gate"]["personas"][:2]}}  # noqa: E731
        fewer = first(params)
    expected, _ = stepped(without, fewer, other, few, REWARD[:2], rate=0.1, make=make)
    law = lambda p, at: jitted_law(at, p, few)  # noqa: E731
    np.testing.assert_allclose(law(after, policy), law(expected, without), atol=1e-4)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-3), first(after), expected)
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves((after, info)))
    assert jnp.abs(law(after, policy) - law(params, policy)).max() > 0.01
    if kind == "tabular":
        np.testing.assert_array_equal(after[2], params[2])


@pytest.mark.slow_but("1.0-tabular", "-0.3333333333333333-table")
@pytest.mark.parametrize("kind", ["tabular", "table", NETWORK])
@pytest.mark.parametrize("constant", [0.0, 1.0, -1 / 3])
def test_where_all_is_paid_alike_nothing_moves_and_nothing_is_left_to_solve(kind, constant):
    policy, params = (TABULAR, LOGITS) if kind == "tabular" else speakers(kind)
    after, info = stepped(policy, params, reward=jnp.full((3, 27), constant))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-10), after, params)
    # What is left is rounding.
    assert info["residual"] < 1e-3
    alike = REWARD.at[1].set(constant)
    assert stepped(policy, params, reward=alike)[1]["residual"] <= 1e-4


def test_responses_and_words_that_cannot_be_said():
    impossible = LOGITS.at[:, 5].set(-jnp.inf)
    log_base = jax.nn.log_softmax(impossible)
    after, info = stepped(TABULAR, impossible, rate=0.5, kl_coefficient=0.3, log_base=log_base)
    tilt = theory.tilt(log_base, REWARD, 0.5)
    np.testing.assert_allclose(jax.nn.log_softmax(after), tilt, atol=1e-10)
    assert info["residual"] < 1e-12
    # So unlikely that their squares are 0, and so rare that their probability is.
    policy, params = speakers("table")
    params = params | {"experts": params["experts"].at[:, :, 0].add(jnp.array([-500.0, -900.0, -2000.0])[:, None])}
    after, info = stepped(policy, params, rate=0.1)
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(after))
    assert info["residual"] <= 1e-4


@pytest.mark.slow_but("shape0")
@pytest.mark.parametrize("shape", [(1, 3, 1), (1, 1, 1), (3, 1, 2), (2, 3, 1)])
def test_one_persona_one_word_one_position(shape):
    num_personas, num_words, length = shape
    made = mixture.mixture(
        PROMPTS, num_personas=num_personas, num_units=5, num_words=num_words, length=length, gate="table"
    ).policy
    params, reward = made.init(jax.random.key(0)), REWARD[:, : num_words**length]
    after, info = stepped(made, params, reward=reward, rate=0.1)
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(after))
    assert info["residual"] <= 1e-4
    if shape == (1, 3, 1):
        # A persona alone is a table of its own; prompts whose last units differ share nothing.
        log_base = all_log_probs(made, params, PROMPTS)
        np.testing.assert_allclose(all_log_probs(made, after, PROMPTS), theory.tilt(log_base, reward, 0.1), atol=1e-10)


@pytest.mark.slow_but("tabular")
@pytest.mark.parametrize("kind", ["tabular", "table", NETWORK])
def test_in_float32(kind):
    policy, params = (TABULAR, LOGITS) if kind == "tabular" else speakers(kind)
    exact, _ = stepped(policy, params, rate=0.1)
    narrow = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    for reward in (REWARD, REWARD.astype(jnp.float32)):
        after, info = stepped(policy, narrow, RHO.astype(np.float32), reward=reward, rate=jnp.float32(0.1))
        assert {x.dtype for x in jax.tree.leaves(after)} == {jnp.dtype(jnp.float32)}
        narrow_law, law = (np.exp(jitted_law(policy, p, PROMPTS)) for p in (after, exact))
        np.testing.assert_allclose(narrow_law, law, atol=1e-4)
        assert info["residual"] <= 1e-3


def test_a_policy_without_a_chart_is_solved_in_its_parameters():
    policy, params = speakers("table")
    after, info = stepped(policy._replace(chart=None), params, damping=0.0, tolerance=1e-8, max_iterations=2000)
    assert misfit(moved(policy, params, after), regressed(policy, params)) < 1e-4
    assert info["residual"] < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("gate", ["table", "network"])
def test_a_network_makes_the_moves_of_a_table_and_long_ones_step_by_step(gate):
    """Near a corner logits move by hundreds: at once, a network would move others as far."""
    policy, params = speakers(gate)
    personas = jax.vmap(SPEAKERS[gate].log_personas, (None, 0))(params, PROMPTS)
    paid = jnp.log(jnp.exp(personas[:, 0]))
    task = Task(with_frozen(policy, mixture.SCOPES["gates"]), PROMPTS, jnp.log(jnp.ones(3) / 3), paid)
    rule = gradient.natural_gradient(task, learning_rate=0.4)
    state, _ = jax.lax.scan(lambda s, _: rule.update(jax.random.key(0), s), rule.init(params), None, length=60)
    gates = jnp.exp(jax.vmap(SPEAKERS[gate].log_gate, (None, 0))(state.params, PROMPTS))
    best = jnp.einsum("ckn,cn->ck", jnp.exp(personas), paid).argmax(axis=1)
    np.testing.assert_allclose(gates[jnp.arange(3), best], 1.0, atol=1e-3)


def test_a_network_moves_no_logit_further_than_its_reach():
    logits = lambda p: p["w"] @ jnp.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])  # noqa: E731
    params = {"w": jnp.ones((2, 2))}
    lift = information.lift(logits, params, jnp.ones(2))
    move = jnp.array([[30.0, -10.0, -20.0], [0.1, 0.2, -0.3]])
    made = lambda rate: rate * logits(lift(move, rate))  # noqa: E731
    # Two parameters a row make every move of three logits but for their mean.
    centred = lambda x: x - x.mean(axis=1, keepdims=True)  # noqa: E731
    np.testing.assert_allclose(centred(logits(lift(move, 0.0))), centred(move), rtol=1e-9)
    np.testing.assert_allclose(centred(made(1e-3)), centred(1e-3 * move), rtol=1e-9)
    held = jnp.clip(0.5 * move, min=-information.REACH, max=information.REACH)
    np.testing.assert_allclose(centred(made(0.5)), centred(held), rtol=1e-9)


@pytest.mark.slow
def test_adam_and_batches_of_tasks():
    """Under vmap every task is solved to its own tolerance, as by itself."""
    policy, params = speakers("table")
    rewards = jnp.stack([REWARD, 1e-3 * REWARD[::-1], jnp.ones((3, 27))])
    one = lambda reward: stepped(policy, params, reward=reward, optimizer=optax.adam, rate=0.01)  # noqa: E731
    together, info = jax.jit(jax.vmap(one))(rewards)
    for i, reward in enumerate(rewards[:2]):
        after, _ = one(reward)
        alone, batched = after, jax.tree.map(lambda x, i=i: x[i], together)
        laws = (jitted_law(policy, p, PROMPTS) for p in (alone, batched))
        np.testing.assert_allclose(next(laws), next(laws), atol=1e-3)
    assert info["residual"].max() <= 1e-2


@pytest.mark.slow_but("float32-0.001-0.5")
@pytest.mark.parametrize("rare", [0.5, 0.01, 1e-6])
@pytest.mark.parametrize("dtype, most", [("float32", 1e-3), ("float64", 1e-7)])
def test_a_prompt_where_all_is_paid_alike_does_not_send_the_solve_below_rounding(dtype, most, rare):
    """What is left was divided by the curvature of a direction along which nothing moves: millions of nats."""
    rewards = jnp.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]], dtype)
    log_rho = jnp.log(jnp.array([1 - rare, rare], dtype))
    policy = tabular.tabular(PROMPTS[:2], 3, 1)
    for key in range(8):
        logits = 3 * jax.random.normal(jax.random.key(key), (2, 3), dtype)
        task = Task(policy, PROMPTS[:2], log_rho, rewards)
        rule = gradient.natural_gradient(task, learning_rate=0.1, tolerance=1e-10)
        after, info = rule.update(jax.random.key(0), rule.init(logits))
        tilt = theory.tilt(jax.nn.log_softmax(logits), rewards, 0.1)
        np.testing.assert_allclose(jax.nn.log_softmax(after.params), tilt, atol=most)
        assert info["residual"] < 0.1


@pytest.mark.slow
def test_on_a_table_a_response_moves_however_rare_it_is():
    """What it adds to the mean square of the advantages is next to nothing, and is no reason to leave it alone."""
    log_base = jnp.log(jnp.array([[1e-12, 0.3, 0.7 - 1e-12]]))
    reward = jnp.array([[1.0, 0.0, 0.0]])
    task = Task(tabular.tabular(PROMPTS[:1], 3, 1), PROMPTS[:1], jnp.zeros(1), reward)
    rule = gradient.natural_gradient(task, learning_rate=2.0)
    state, info = rule.update(jax.random.key(0), rule.init(log_base))
    np.testing.assert_allclose(jax.nn.log_softmax(state.params), theory.tilt(log_base, reward, 2.0), atol=1e-9)
    assert info["residual"] < 1e-6
