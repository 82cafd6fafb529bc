import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from toypersona import chains, numerics, theory
from toypersona.measures import drift

C, K, V, T = 2, 3, 3, 3
N = V**T
TOKENS = chains.outcomes(V, T)
LOG_PROMPTS = jnp.log(jnp.array([0.7, 0.3]))
BUDGET = jax.jit(lambda policy, base, personas: drift.budget(policy, base, personas, TOKENS, LOG_PROMPTS))


def random_problem(seed, scale=1.0):
    """Arbitrary (non-Markov) personas, a base inside their hull, and a policy some way off."""
    keys = jax.random.split(jax.random.key(seed), 3)
    log_personas = jax.nn.log_softmax(1.5 * jax.random.normal(keys[0], (C, K, N)))
    log_base = numerics.log_mix(jax.nn.log_softmax(jax.random.normal(keys[1], (C, K))), log_personas)
    log_policy = jax.nn.log_softmax(log_base + scale * jax.random.normal(keys[2], (C, N)))
    return log_policy, log_base, log_personas


def scipy_distance(p, personas):
    """min_w KL(p ‖ w @ personas) by SLSQP over the simplex."""
    keep = p > 0
    p, personas = p[keep], personas[:, keep]

    def objective(w):
        m = w @ personas
        return float(p @ np.log(p / m)), -(personas @ (p / m))

    found = minimize(
        objective,
        np.full(len(personas), 1 / len(personas)),
        jac=True,
        method="SLSQP",
        bounds=[(1e-12, 1)] * len(personas),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return found.fun


def brute_force(log_policy, log_base, log_personas):
    """The definitions, one history at a time."""
    rho, policy, base, personas = (np.exp(np.asarray(x)) for x in (LOG_PROMPTS, log_policy, log_base, log_personas))
    tokens = np.asarray(TOKENS)
    total = sum(rho[c] * (policy[c] @ np.log(policy[c] / base[c])) for c in range(C))
    d_prompt = sum(rho[c] * scipy_distance(policy[c], personas[c]) for c in range(C))
    d_token = 0.0
    for c, t in itertools.product(range(C), range(T)):
        for history in itertools.product(range(V), repeat=t):
            begins = (tokens[:, :t] == np.array(history)).all(axis=1)
            next_is = [begins & (tokens[:, t] == v) for v in range(V)]
            p = np.array([policy[c, rows].sum() for rows in next_is])
            q = np.array([[personas[c, k, rows].sum() for rows in next_is] for k in range(K)])
            d_token += rho[c] * p.sum() * scipy_distance(p / p.sum(), q / q.sum(axis=1, keepdims=True))
    return total, d_prompt, d_token


@pytest.mark.parametrize("seed, scale", [(0, 1.0), (1, 0.1), (2, 3.0), (3, 0.01)])
def test_budget_against_its_definition(seed, scale):
    problem = random_problem(seed, scale)
    measured = BUDGET(*problem)
    expected = brute_force(*problem)
    np.testing.assert_allclose(
        [measured.total, measured.hull_distance, measured.token_hull_distance], expected, atol=5e-8, rtol=1e-5
    )
    assert measured.certified


def test_parts_are_non_negative_and_add_up_in_many_random_cases():
    def one(seed):
        keys = jax.random.split(jax.random.key(seed), 4)
        scale = jnp.exp(3 * jax.random.normal(keys[3]))
        log_personas = jax.nn.log_softmax(2 * jax.random.normal(keys[0], (C, K, N)))
        log_base = numerics.log_mix(jax.nn.log_softmax(jax.random.normal(keys[1], (C, K))), log_personas)
        log_policy = jax.nn.log_softmax(log_base + scale * jax.random.normal(keys[2], (C, N)))
        return BUDGET(log_policy, log_base, log_personas)

    found = jax.jit(jax.vmap(one))(jnp.arange(200))
    parts = jnp.stack([found.selection, found.switching, found.novelty])
    assert found.certified.all()
    assert (parts >= -1e-9).all()
    np.testing.assert_allclose(parts.sum(0), found.total, rtol=1e-12)
    np.testing.assert_allclose(found.weights.sum(-1), 1, rtol=1e-12)
    assert found.gap.max() <= T * 1e-9


def test_inside_the_prompt_hull_all_is_selection():
    _, log_base, log_personas = random_problem(4)
    weights = jnp.array([[0.9, 0.05, 0.05], [0.0, 0.0, 1.0]])
    log_policy = numerics.log_mix(jnp.log(weights), log_personas)
    found = BUDGET(log_policy, log_base, log_personas)
    assert found.hull_distance < 1e-9
    np.testing.assert_allclose(found.selection_fraction, 1, atol=1e-7)
    np.testing.assert_allclose(found.weights, weights, atol=1e-4)


def test_changing_persona_mid_sentence_is_switching_alone():
    tables = jax.nn.log_softmax(2 * jax.random.normal(jax.random.key(0), (2, V, V)))
    prompts = jnp.array([[0], [1]])
    log_personas = jax.vmap(lambda c: jax.vmap(lambda t: chains.log_probs(t, c, T))(tables))(prompts)
    log_base = numerics.log_mix(jnp.log(jnp.full((C, 2), 0.5)), log_personas)
    # The first word by one persona, the others by the second.
    marginal = jax.nn.logsumexp(log_personas.reshape(C, 2, V, -1), axis=-1)
    spliced = log_personas[:, 1].reshape(C, V, -1) - marginal[:, 1, :, None] + marginal[:, 0, :, None]
    found = BUDGET(spliced.reshape(C, N), log_base, log_personas)
    assert found.novelty < 1e-9
    assert found.switching > 1e-3


def test_a_history_that_a_persona_cannot_say():
    log_policy, _, log_personas = random_problem(5)
    silent = (TOKENS[:, 0] == 0)[None, :]
    first = jnp.where(silent, -jnp.inf, log_personas[:, 0])
    log_personas = log_personas.at[:, 0].set(jax.nn.log_softmax(first))
    log_base = numerics.log_mix(jnp.log(jnp.full((C, K), 1 / 3)), log_personas)
    found = BUDGET(log_policy, log_base, log_personas)
    assert found.certified
    assert jnp.isfinite(found.total)
    expected_prompt = sum(
        float(jnp.exp(LOG_PROMPTS[c])) * scipy_distance(np.exp(log_policy[c]), np.exp(log_personas[c]))
        for c in range(C)
    )
    np.testing.assert_allclose(found.hull_distance, expected_prompt, rtol=1e-6)


def test_one_persona_spends_nothing_on_selection():
    log_policy, _, log_personas = random_problem(6)
    one = log_personas[:, :1]
    found = BUDGET(log_policy, one[:, 0], one)
    np.testing.assert_allclose(found.selection, 0, atol=1e-12)
    still = BUDGET(one[:, 0], one[:, 0], one)
    assert still.total == 0
    assert still.selection_fraction == 1


def test_wrong_listing_is_refused():
    problem = random_problem(8)
    with pytest.raises(ValueError, match="list all V\\^T responses"):
        drift.budget(*problem, TOKENS[::-1], LOG_PROMPTS)


def test_routing_information():
    sharp, blurred = jnp.eye(2), jnp.array([[0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(drift.routing_information(sharp, jnp.log(jnp.full(2, 0.5))), np.log(2))
    np.testing.assert_allclose(drift.routing_information(blurred, LOG_PROMPTS), 0, atol=1e-15)
    collapsed = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    assert drift.routing_information(collapsed, LOG_PROMPTS) == 0


def draw(key, log_policy, log_base, log_personas, num):
    picks = jax.random.categorical(key, log_policy[:, None, :], shape=(C, num))
    take = lambda x: jnp.take_along_axis(x, picks, axis=-1)  # noqa: E731
    personas = jnp.take_along_axis(log_personas, jnp.broadcast_to(picks[:, None], (C, K, num)), axis=-1)
    return picks, drift.Samples(take(log_policy), take(log_base), personas)


def next_word_log_probs(log_policy, log_personas, picks):
    """What a language model returns along the sampled responses."""
    joint_policy = log_policy.reshape(C, 1, V, V, V)
    joint = jnp.concatenate([joint_policy, log_personas.reshape(C, K, V, V, V)], axis=1)
    words = TOKENS[picks]
    after = []
    for t in range(T):
        level = jax.nn.log_softmax(jax.nn.logsumexp(joint.reshape(C, K + 1, V**t, V, -1), axis=-1), axis=-1)
        history = (words[..., :t] @ V ** jnp.arange(t - 1, -1, -1)) if t else jnp.zeros(words.shape[:2], int)
        after.append(jax.vmap(lambda table, index: table[:, index])(level, history))
    stacked = jnp.stack(after, axis=3)
    return stacked[:, 0], jnp.moveaxis(stacked[:, 1:], 1, 3)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_sampled_budget_agrees_with_the_exact_one_within_its_errors(scale):
    problem = random_problem(9, scale)
    exact = BUDGET(*problem)
    picks, samples = draw(jax.random.key(1), *problem, 20_000)
    _, base_samples = draw(jax.random.key(2), problem[1], problem[1], problem[2], 20_000)
    found = jax.jit(drift.budget_from_samples)(
        samples, base_samples, LOG_PROMPTS, next_words=next_word_log_probs(problem[0], problem[2], picks)
    )
    for name in ("total", "hull_distance", "token_hull_distance", "selection", "switching", "novelty"):
        error = getattr(found, f"{name}_se")
        allowed = 5 * error + found.fit_excess
        assert abs(getattr(found, name) - getattr(exact, name)) < allowed, name
        assert 0 < error < 0.1 * exact.total, f"no power: {name}"
    assert found.base_inside
    assert found.certified
    np.testing.assert_allclose(found.weights, exact.weights, atol=0.05)


def test_held_out_weights_do_not_make_the_distance_too_small():
    """Over many small draws from inside the hull the estimate is not below 0 on average; in-sample it would be."""
    _, log_base, log_personas = random_problem(10)

    def one(key):
        keys = jax.random.split(key)
        _, samples = draw(keys[0], log_base, log_base, log_personas, 20)
        _, base_samples = draw(keys[1], log_base, log_base, log_personas, 20)
        held_out = drift.budget_from_samples(samples, base_samples, LOG_PROMPTS).hull_distance
        in_sample = samples.log_policy - numerics.log_mix(
            jnp.log(drift._fit_weights(samples.log_personas, 1e-6).weights), samples.log_personas
        )
        return held_out, jnp.exp(LOG_PROMPTS) @ in_sample.mean(-1)

    held_out, in_sample = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 400))
    error = held_out.std() / 20
    assert held_out.mean() > 3 * error
    assert in_sample.mean() < -3 * in_sample.std() / 20


def test_a_rare_persona_in_one_half_only_does_not_look_like_an_exit():
    """What it says is impossible for the others, so weights fitted without it would make it infinitely far."""
    rare = 1e-3
    gates = jnp.array([1 - rare, rare])
    spoken = jnp.zeros(400, int).at[10].set(1)
    log_personas = jnp.where(jax.nn.one_hot(spoken, 2, axis=0) > 0, -1.0, -5000.0)[None]
    log_base = numerics.log_mix(jnp.log(gates)[None], log_personas)
    samples = drift.Samples(log_base, log_base, log_personas)
    spent = drift.budget_from_samples(samples, samples, jnp.zeros(1))
    assert spent.base_inside and spent.hull_distance < spent.fit_excess + 3 * spent.hull_distance_se
    assert spent.hull_distance_se < 0.02


def test_a_base_outside_the_given_personas_is_noticed():
    log_policy, log_base, log_personas = random_problem(11, scale=2.0)
    _, samples = draw(jax.random.key(1), log_policy, log_base, log_personas, 2000)
    _, outside = draw(jax.random.key(2), log_policy, log_policy, log_personas, 2000)
    assert not jax.jit(drift.budget_from_samples)(samples, outside, LOG_PROMPTS).base_inside


def test_odd_sample_count_is_refused():
    _, samples = draw(jax.random.key(1), *random_problem(12), 5)
    with pytest.raises(ValueError, match="5 samples cannot be split"):
        drift.budget_from_samples(samples, samples, LOG_PROMPTS)


def test_weak_tilt_has_the_predicted_selection_fraction():
    _, log_base, log_personas = random_problem(13)
    reward = jax.random.normal(jax.random.key(4), (C, N))
    predicted = theory.weak_limit(log_base, log_personas, reward, LOG_PROMPTS)
    at = [BUDGET(theory.tilt(log_base, reward, s), log_base, log_personas).selection_fraction for s in (0.01, 0.02)]
    np.testing.assert_allclose(2 * at[0] - at[1], predicted, atol=1e-4)


def test_a_path_s_budgets_are_those_of_its_policies():
    log_policy, log_base, log_personas = random_problem(5)
    steps = jnp.linspace(0.05, 4.0, 12)[:, None, None]
    path = jax.nn.log_softmax(log_base[None] + steps * (log_policy - log_base)[None], axis=-1)
    # A jump, and a policy that leaves words out: neither start is near.
    path = path.at[7].set(log_personas[:, 0]).at[9, :, : N // 3].set(-jnp.inf)
    path = jax.nn.log_softmax(path, axis=-1)
    along = jax.jit(drift.budget_along)(path, log_base, log_personas, TOKENS, LOG_PROMPTS)
    budgets = [BUDGET(policy, log_base, log_personas) for policy in path]
    alone = jax.tree.map(lambda *parts: jnp.stack(parts), *budgets)
    assert along.certified.all()
    for name in ("total", "hull_distance", "token_hull_distance", "selection", "switching", "novelty"):
        np.testing.assert_allclose(getattr(along, name), getattr(alone, name), atol=2e-9)
    np.testing.assert_allclose(along.weights[7], jax.nn.one_hot(jnp.zeros(C, int), K), atol=1e-4)
