import functools
import inspect
import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import rel_entr

from experiments.shared import oracle
from toypersona import chains, hulls, numerics, theory
from toypersona.measures import drift

C, K, V, T = 2, 3, 3, 3
N = V**T
TOKENS = chains.outcomes(V, T)
LOG_PROMPTS = jnp.log(jnp.array([0.7, 0.3]))
ASKED = jax.jit(lambda policy, base, personas, prompts: drift.budget(policy, base, personas, TOKENS, prompts))
BUDGET = functools.partial(ASKED, prompts=LOG_PROMPTS)


def random_problem(seed, scale=1.0):
    """Arbitrary (non-Markov) personas, a base inside their hull, and a policy some way off."""
    keys = jax.random.split(jax.random.key(seed), 3)
    log_personas = jax.nn.log_softmax(1.5 * jax.random.normal(keys[0], (C, K, N)))
    log_base = numerics.log_mix(jax.nn.log_softmax(jax.random.normal(keys[1], (C, K))), log_personas)
    log_policy = jax.nn.log_softmax(log_base + scale * jax.random.normal(keys[2], (C, N)))
    return log_policy, log_base, log_personas


def brute_force(log_policy, log_base, log_personas, rho=(0.7, 0.3)):
    """The definitions, one history at a time."""
    policy, base, personas = (np.exp(np.asarray(x)) for x in (log_policy, log_base, log_personas))
    tokens = np.asarray(TOKENS)
    total = sum(rho[c] * (policy[c] @ np.log(policy[c] / base[c])) for c in range(C))
    d_prompt = sum(rho[c] * oracle.nearest(policy[c], personas[c]).fun for c in range(C))
    d_token = 0.0
    for c, t in itertools.product(range(C), range(T)):
        for history in itertools.product(range(V), repeat=t):
            begins = (tokens[:, :t] == np.array(history)).all(axis=1)
            next_is = [begins & (tokens[:, t] == v) for v in range(V)]
            p = np.array([policy[c, rows].sum() for rows in next_is])
            q = np.array([[personas[c, k, rows].sum() for rows in next_is] for k in range(K)])
            d_token += rho[c] * p.sum() * oracle.nearest(p / p.sum(), q / q.sum(axis=1, keepdims=True)).fun
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        float(jnp.exp(LOG_PROMPTS[c])) * oracle.nearest(np.exp(log_policy[c]), np.exp(log_personas[c])).fun
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


def given_up(monkeypatch, which):
    """The prompts' or the histories' projections stop after one Newton step, the others' do not."""
    if which == "prompt":
        monkeypatch.setattr(hulls, "project", functools.partial(hulls.project, max_iterations=1))
    else:
        inner = hulls._project

        def after_one(p, hull, tolerance, start, most=1):
            """project asks for a number of steps, project_batch for none."""
            return inner(p, hull, tolerance, start, most)

        monkeypatch.setattr(hulls, "_project", after_one)


@pytest.mark.slow_but("False-token", "True-prompt")
@pytest.mark.parametrize("which", ["prompt", "token"])
@pytest.mark.parametrize("along", [False, True])
def test_projections_that_were_given_up_are_not_certified_and_their_gap_bounds_the_error(monkeypatch, which, along):
    problem = random_problem(14, 2.0)
    exact = BUDGET(*problem)
    given_up(monkeypatch, which)
    measure = drift.budget_along if along else drift.budget
    policy = problem[0][None] if along else problem[0]
    # Anew, or the program compiled before would be found.
    budget = jax.jit(lambda policy: measure(policy, *problem[1:], TOKENS, LOG_PROMPTS))
    found = jax.tree.map(jnp.squeeze, budget(policy))
    wrong, right = ("hull_distance", "token_hull_distance")[:: 1 if which == "prompt" else -1]
    error = getattr(found, wrong) - getattr(exact, wrong)
    assert exact.certified and not found.certified
    assert 1e-6 < error <= found.gap
    np.testing.assert_allclose(getattr(found, right), getattr(exact, right), atol=1e-12)


def edge_case(rng, sizes):
    """A policy, base, personas and prompts of which much has probability 0, as logs."""
    num_prompts, num_personas, num_words, length = sizes
    num = num_words**length

    def said(*shape):
        p = rng.dirichlet(np.ones(num), shape) * (rng.random((*shape, num)) < 0.8)
        p[..., 0] += p.sum(axis=-1) == 0
        return p / p.sum(axis=-1, keepdims=True)

    personas, policy = said(num_prompts, num_personas), said(num_prompts)
    base = np.einsum("ck,ckn->cn", rng.dirichlet(np.ones(num_personas), num_prompts), personas)
    kind = rng.integers(3)
    policy = (policy, 0.5 * policy * (base > 0) + 0.5 * base, base)[kind]
    policy = policy / policy.sum(axis=1, keepdims=True)
    rho = rng.dirichlet(np.ones(num_prompts)) * (np.arange(num_prompts) != rng.integers(num_prompts + 1))
    rho = np.where(rho.sum() == 0, 1.0, rho)
    with np.errstate(divide="ignore"):
        return tuple(np.log(x) for x in (policy, base, personas, rho / rho.sum()))


def divergence_to_hull(p, personas):
    """Of one or two personas, by a search on the line between them; inf where p says what nobody can."""
    first, last = personas[0], personas[-1]
    if (p[np.maximum(first, last) == 0] > 0).any():
        return np.inf
    found = minimize_scalar(
        lambda w: rel_entr(p, w * first + (1 - w) * last).sum(), bounds=(0, 1), options={"xatol": 1e-13}
    )
    return min(found.fun, *(rel_entr(p, one).sum() for one in (first, last)))


def defined(case, tokens):
    """Total, d_prompt and d_token by the definitions: only what has a probability is looked at."""
    policy, base, personas, rho = (np.exp(x) for x in case)
    total = d_prompt = d_token = 0.0
    for c in np.flatnonzero(rho):
        total += rho[c] * rel_entr(policy[c], base[c]).sum()
        d_prompt += rho[c] * divergence_to_hull(policy[c], personas[c])
        for t in range(tokens.shape[1]):
            for history in np.unique(tokens[policy[c] > 0, :t], axis=0):
                begins = (tokens[:, :t] == history).all(axis=1)
                words = (begins & (tokens[:, t] == v) for v in range(tokens.max() + 1))
                joint = np.array([[each[word].sum() for each in (policy[c], *personas[c])] for word in words]).T
                speak = joint.sum(axis=1) > 0
                after = joint[speak] / joint[speak].sum(axis=1, keepdims=True)
                reached = joint[0].sum()
                d_token += rho[c] * reached * (divergence_to_hull(after[0], after[1:]) if len(after) > 1 else np.inf)
    return np.array([total, d_prompt, d_token])


@pytest.mark.parametrize(
    "sizes",
    [
        (3, 2, 2, 2),
        pytest.param((2, 1, 3, 2), id="one persona", marks=pytest.mark.slow),
        pytest.param((2, 2, 1, 2), id="one word", marks=pytest.mark.slow),
        pytest.param((1, 2, 4, 1), id="one position, one prompt", marks=pytest.mark.slow),
    ],
)
def test_what_has_probability_zero_counts_nowhere(sizes):
    rng = np.random.default_rng(sizes)
    tokens = chains.outcomes(*sizes[2:])
    given = [edge_case(rng, sizes) for _ in range(60)]
    measure = jax.jit(jax.vmap(lambda pi, base, personas, rho: drift.budget(pi, base, personas, tokens, rho)))
    found = measure(*(jnp.array(x) for x in zip(*given, strict=True)))
    expected = np.array([defined(case, np.asarray(tokens)) for case in given]).T
    for value, right in zip((found.total, found.hull_distance, found.token_hull_distance), expected, strict=True):
        np.testing.assert_allclose(value, right, atol=1e-7, rtol=1e-6)
    total, d_prompt, d_token = expected
    known = np.isfinite(expected).all(axis=0)
    np.testing.assert_array_equal(found.certified, np.isfinite(d_prompt) & np.isfinite(d_token))
    assert known.sum() > 20 and (sizes[2] == 1 or not known.all())
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = np.where(total <= 1e-9, 1.0, (total - d_prompt) / total)
    fraction[np.isinf(total)] = np.nan
    np.testing.assert_allclose(found.selection_fraction, fraction, atol=1e-4)


def test_a_prompt_that_nobody_asks_may_hold_anything():
    log_policy, log_base, log_personas = random_problem(7)
    silent = jnp.where(TOKENS[None, :, 0] == 0, -jnp.inf, 0.0)
    prompts = jnp.array([0.0, -jnp.inf])
    expected = ASKED(log_policy, log_base, log_personas, prompts)
    alone = brute_force(log_policy, log_base, log_personas, (1.0, 0.0))
    np.testing.assert_allclose([expected.total, expected.hull_distance], alone[:2], atol=5e-8, rtol=1e-5)
    for policy, personas in ((log_policy[1], log_personas[1] + silent), (log_policy[1] * jnp.nan, log_personas[1])):
        found = ASKED(log_policy.at[1].set(policy), log_base, log_personas.at[1].set(personas), prompts)
        for name in ("total", "hull_distance", "token_hull_distance", "selection_fraction", "certified"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-12)


def test_nan_is_no_selection():
    problem = random_problem(9)
    for which in range(3):
        spoiled = [x.at[0, ..., 4].set(jnp.nan) if i == which else x for i, x in enumerate(problem)]
        found = BUDGET(*spoiled)
        assert jnp.isnan(found.selection_fraction) and jnp.isnan(found.selection) and not found.certified
        assert jnp.isnan(found.total) == (which < 2) and jnp.isnan(found.hull_distance) == (which != 1)
    # Where nothing has moved there is no division, and yet no number.
    _, log_base, log_personas = problem
    assert jnp.isnan(BUDGET(log_base, log_base, log_personas.at[0, 0, 0].set(jnp.nan)).selection_fraction)
    nobody = ASKED(*problem, jnp.full(C, -jnp.inf))
    assert jnp.isnan(nobody.total) and jnp.isnan(nobody.selection_fraction) and not nobody.certified


@pytest.mark.slow
def test_in_float32_nothing_is_certified_by_default():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ASKED(*(x.astype(jnp.float32) for x in (*random_problem(10), LOG_PROMPTS)))
    expected = BUDGET(*random_problem(10))
    assert expected.certified and not found.certified and found.gap > 1e-6
    for name in ("hull_distance", "token_hull_distance"):
        assert jnp.abs(getattr(found, name) - getattr(expected, name)) <= found.gap


def test_information_of_routing_is_scipys_also_for_prompts_and_personas_of_probability_zero():
    assert drift.routing_information(jnp.eye(2), jnp.array([0.0, -jnp.inf])) == 0
    assert jnp.isnan(drift.routing_information(jnp.eye(2), jnp.full(2, -jnp.inf)))
    assert jnp.isnan(drift.routing_information(jnp.eye(2).at[0].set(jnp.nan), LOG_PROMPTS))
    rng = np.random.default_rng(0)
    rho, weights = rng.dirichlet(np.ones(4), 200), rng.dirichlet(np.ones(3), (200, 4))
    rho, weights = rho * (rng.random(rho.shape) < 0.7), weights * (rng.random(weights.shape) < 0.7)
    rho, weights = rho + np.eye(4)[0] * 1e-3, weights + np.eye(3)[0] * 1e-3
    rho, weights = (x / x.sum(axis=-1, keepdims=True) for x in (rho, weights))
    joint = rho[:, :, None] * weights
    product = rho[:, :, None] * joint.sum(axis=1)[:, None]
    expected = rel_entr(joint, product).sum(axis=(1, 2))
    weights[rho == 0] = np.nan
    with np.errstate(divide="ignore"):
        log_rho = jnp.array(np.log(rho))
    found = jax.vmap(drift.routing_information)(jnp.array(weights), log_rho)
    np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("wrong", ["prompts", "policy", "personas", "length"])
def test_shapes_that_do_not_fit_are_refused(wrong):
    policy, base, personas = random_problem(8)
    tokens, rho = TOKENS, LOG_PROMPTS
    policy = policy[:, 1:] if wrong == "policy" else policy
    personas = personas[:, 0] if wrong == "personas" else personas
    rho = rho[:1] if wrong == "prompts" else rho
    tokens = tokens[:1, :0] if wrong == "length" else tokens
    with pytest.raises(ValueError, match="have to be|has to list"):
        inspect.unwrap(drift.budget)(policy, base, personas, tokens, rho)


def test_a_path_without_policies_has_no_budgets():
    _, log_base, log_personas = random_problem(8)
    found = drift.budget_along(jnp.zeros((0, C, N)), log_base, log_personas, TOKENS, LOG_PROMPTS)
    assert found.total.shape == (0,) and found.weights.shape == (0, C, K)


REPAIRED = jax.jit(
    lambda policy, base, personas: drift.budget(policy, base, personas, TOKENS, LOG_PROMPTS, repair=True)
)
MADE = jax.jit(jax.vmap(hulls.repaired))
PARTS = ("total", "hull_distance", "token_hull_distance", "selection", "switching", "novelty")


def outside(seed, scale=1.0):
    """A base that is far from all mixes of the personas, and a policy some way off it."""
    keys = jax.random.split(jax.random.key(seed), 3)
    log_personas = jax.nn.log_softmax(jax.random.normal(keys[0], (C, K, N)))
    log_base = jax.nn.log_softmax(jax.random.normal(keys[1], (C, N)))
    log_policy = jax.nn.log_softmax(log_base + scale * jax.random.normal(keys[2], (C, N)))
    return log_policy, log_base, log_personas


@pytest.mark.slow
def test_repair_charges_the_policy_only_with_its_own_way():
    log_policy, log_base, log_personas = outside(0)
    found = REPAIRED(log_policy, log_base, log_personas)
    by_hand = MADE(log_base, log_personas).log_personas
    rho, parts = np.exp(LOG_PROMPTS), []
    for c in range(C):
        q, base, policy = (np.exp(x[c]) for x in (log_personas, log_base, log_policy))
        mix = oracle.nearest(base, q).x @ q
        np.testing.assert_allclose(jnp.exp(by_hand[c]), q * base / mix, atol=1e-6)
        parts.append(oracle.nearest(policy, q).fun - policy @ np.log(base / mix))
    np.testing.assert_allclose(found.hull_distance, rho @ parts, atol=1e-6)
    for name in PARTS:
        np.testing.assert_allclose(
            getattr(found, name), getattr(BUDGET(log_policy, log_base, by_hand), name), atol=1e-12
        )
    assert found.certified
    still = REPAIRED(log_base, log_base, log_personas)
    assert BUDGET(log_base, log_base, log_personas).hull_distance > 0.2
    assert abs(still.hull_distance) < 1e-12 and still.selection_fraction == 1 and still.certified


@pytest.mark.slow
def test_with_repair_no_part_is_negative_and_a_path_s_budgets_are_those_of_its_policies():
    policies, bases, personas = (jnp.stack(x) for x in zip(*(outside(s, 0.1 * 2.0**s) for s in range(6)), strict=True))
    sparse = jnp.where(jax.random.bernoulli(jax.random.key(1), 0.1, personas.shape), -jnp.inf, personas)
    personas = jax.nn.log_softmax(sparse.at[:, :, 0].set(personas[:, :, 0]))
    found = jax.jit(jax.vmap(REPAIRED))(policies, bases, personas)
    parts = jnp.stack([found.selection, found.switching, found.novelty])
    assert found.certified.all() and (parts >= -1e-12).all() and (parts[1:] > 1e-4).any(axis=1).all()
    np.testing.assert_allclose(parts.sum(axis=0), found.total, atol=1e-12)
    along = drift.budget_along(policies[3][None], bases[3], personas[3], TOKENS, LOG_PROMPTS, repair=True)
    for name in PARTS:
        np.testing.assert_allclose(getattr(along, name)[0], getattr(found, name)[3], atol=1e-11)


def test_weak_tilt_of_a_base_that_is_no_mix_has_the_predicted_fraction_only_with_repair():
    _, log_base, log_personas = outside(13)
    made = MADE(log_base, log_personas)
    repaired, noise = made.log_personas, jax.random.normal(jax.random.key(4), (C, N))
    reward = noise + 2 * jnp.exp(repaired[:, 0] - log_base)
    predicted = theory.weak_limit(log_base, repaired, reward, LOG_PROMPTS)
    tilted = [theory.tilt(log_base, reward, s) for s in (0.01, 0.02)]
    at = [REPAIRED(policy, log_base, log_personas).selection_fraction for policy in tilted]
    np.testing.assert_allclose(2 * at[0] - at[1], predicted, atol=1e-4)
    assert 0.2 < predicted < 0.8 and (made.weights > 0.01).all()
    assert BUDGET(tilted[0], log_base, log_personas).selection_fraction < -1000


@pytest.mark.slow
def test_what_cannot_be_repaired_is_not_certified_unless_nobody_asks():
    log_policy, log_base, log_personas = outside(2)
    silent = log_personas.at[1, :, 4].set(-jnp.inf)
    asked = jax.jit(lambda rho: drift.budget(log_policy, log_base, silent, TOKENS, rho, repair=True))
    found, never = asked(LOG_PROMPTS), asked(jnp.array([0.0, -jnp.inf]))
    assert jnp.isposinf(found.hull_distance) and not found.certified
    assert jnp.isfinite(never.hull_distance) and never.certified
