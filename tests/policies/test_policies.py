import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains
from toypersona.options import Network
from toypersona.policies import mixture, next_words, tabular, transformer
from toypersona.policies.policy import all_log_probs, log_prob_each, with_frozen

PROMPTS = jnp.array([[4, 1, 3], [3, 2, 2], [0, 4, 1]])
SHAPE: dict[str, Any] = dict(num_personas=2, num_units=5, num_words=3, length=3)
KINDS = [("network", 1), ("network", 2), ("table", 1), ("prior", "reads")]


@functools.cache
def make(gate, order):
    """A mixture, compiled, and its parameters."""
    how = {"order": 1, "reads": True} if order == "reads" else {"order": order}
    made = mixture.mixture(PROMPTS, gate=gate, **how, **SHAPE)
    params = made.policy.init(jax.random.key(0))
    # A fresh gate table is uniform; move everything away from symmetric places.
    noise = jax.random.normal(jax.random.key(1), (2,))
    params["gate"]["personas"] = jax.tree.map(
        lambda x: x + jnp.broadcast_to(noise, x.shape), params["gate"]["personas"]
    )
    params["experts"] = params["experts"] * 3
    return made._replace(policy=compiled(made.policy)), params


def compiled(policy):
    """Every function compiled by itself: operation by operation it would be many small programs."""
    names = ("sample", "log_prob", "token_log_probs", "log_probs", "probs")
    return policy._replace(**{name: jax.jit(getattr(policy, name)) for name in names})


def listed(policy, params, prompt):
    responses = chains.outcomes(3, 3)
    return responses, jax.jit(jax.vmap(policy.log_prob, (None, None, 0)))(params, prompt, responses)


@pytest.mark.slow_but("network-1", "table-1")
@pytest.mark.parametrize("gate, order", KINDS)
def test_mixture_enumeration_is_log_prob_and_sums_to_one(gate, order):
    made, params = make(gate, order)
    for prompt in PROMPTS:
        enumerated = made.policy.log_probs(params, prompt)
        np.testing.assert_allclose(enumerated, listed(made.policy, params, prompt)[1], rtol=1e-12)
        np.testing.assert_allclose(jnp.exp(enumerated).sum(), 1, rtol=1e-12)
        by_hand = jnp.exp(made.log_gate(params, prompt)) @ jnp.exp(made.log_personas(params, prompt))
        np.testing.assert_allclose(jnp.exp(enumerated), by_hand, rtol=1e-12)
        if gate == "table":
            by_operation = inspect.unwrap(made.policy.log_probs)(params, prompt)
            np.testing.assert_allclose(by_operation, enumerated, rtol=1e-12)
        np.testing.assert_allclose(made.policy.probs(params, prompt), jnp.exp(enumerated), rtol=1e-12)


def frequencies_match(policy, params, prompt):
    responses, log_probs = listed(policy, params, prompt)
    num = 20_000
    drawn = jax.jit(jax.vmap(lambda k: policy.sample(k, params, prompt)))(jax.random.split(jax.random.key(3), num))
    code = jnp.array([9, 3, 1])
    counts = jnp.bincount(drawn @ code, length=27)
    p = jnp.exp(log_probs)
    z = (counts - num * p) / jnp.sqrt(num * p * (1 - p))
    assert jnp.abs(z).max() < 5
    assert responses.shape == (27, 3)


@pytest.mark.slow_but("table-1", "prior-reads")
@pytest.mark.parametrize("gate, order", KINDS)
def test_mixture_samples_follow_the_policy(gate, order):
    made, params = make(gate, order)
    frequencies_match(made.policy, params, PROMPTS[1])


def test_tabular_policy():
    policy = tabular.tabular(PROMPTS, 3, 3)
    params = jax.random.normal(jax.random.key(0), (3, 27))
    np.testing.assert_allclose(all_log_probs(policy, params, PROMPTS), jax.nn.log_softmax(params), rtol=1e-12)
    np.testing.assert_allclose(listed(policy, params, PROMPTS[2])[1], jax.nn.log_softmax(params[2]), rtol=1e-12)
    assert policy.init(jax.random.key(1)).shape == (3, 27)
    frequencies_match(policy, params, PROMPTS[2])


@pytest.mark.slow_but("gates-moves0")
@pytest.mark.parametrize("name, moves", [("gates", {"gate"}), ("experts", {"experts"}), ("both", {"gate", "experts"})])
def test_scope_freezes_the_rest_and_changes_no_value(name, moves):
    made, params = make("network", 1)
    policy = with_frozen(made.policy, mixture.SCOPES[name])
    np.testing.assert_array_equal(policy.log_probs(params, PROMPTS[0]), made.policy.log_probs(params, PROMPTS[0]))
    gradient = jax.jit(jax.grad(lambda p: policy.log_prob(p, PROMPTS[0], jnp.array([0, 2, 1]))))(params)
    moved = {part for part, tree in gradient.items() if any(jnp.abs(x).max() > 0 for x in jax.tree.leaves(tree))}
    assert moved == moves


@pytest.mark.parametrize("gate", ["network", "table", "prior"])
def test_renaming_the_experts_changes_nothing_else(gate):
    made, params = make(gate, 1)
    renamed = made.renamed(params, jnp.array([1, 0]))
    np.testing.assert_allclose(
        all_log_probs(made.policy, renamed, PROMPTS), all_log_probs(made.policy, params, PROMPTS), rtol=1e-12
    )
    np.testing.assert_allclose(made.log_gate(renamed, PROMPTS[0]), made.log_gate(params, PROMPTS[0])[::-1])


@pytest.mark.slow
def test_what_no_expert_can_say_is_never_said_and_learns_nothing():
    possible = jnp.array([True, False, True])
    made = mixture.mixture(PROMPTS, gate="prior", possible=possible, **SHAPE)
    params = made.policy.init(jax.random.key(0))
    says = (chains.outcomes(3, 3) == 1).any(axis=1)
    for prompt in PROMPTS:
        listed = made.policy.log_probs(params, prompt)
        np.testing.assert_array_equal(jnp.isneginf(listed), says)
        np.testing.assert_array_equal(made.policy.probs(params, prompt) == 0, says)
        np.testing.assert_allclose(jnp.exp(listed).sum(), 1, rtol=1e-12)
    by_token = made.policy.token_log_probs(params, PROMPTS[0], jnp.array([0, 1, 2]))
    assert jnp.isfinite(by_token[0]) and jnp.isneginf(by_token[1:]).all()
    silent = jax.grad(lambda p: jnp.exp(made.policy.log_prob(p, PROMPTS[0], jnp.array([0, 1, 2]))))(params)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(silent))
    gradient = jax.grad(lambda p: made.policy.probs(p, PROMPTS[0]) @ jnp.arange(27.0))(params)
    assert (gradient["experts"][..., 1] == 0).all() and (gradient["experts"][..., 0] != 0).any()


def test_a_prior_reads_nothing():
    made = mixture.mixture(PROMPTS, gate="prior", **SHAPE)
    params = {"gate": {"personas": jnp.array([0.3, -1.0])}, "experts": made.policy.init(jax.random.key(0))["experts"]}
    for prompt in PROMPTS:
        np.testing.assert_allclose(made.log_gate(params, prompt), jax.nn.log_softmax(jnp.array([0.3, -1.0])))


def test_unknown_gate():
    with pytest.raises(ValueError, match="one of network, table, prior, not 'neural'"):
        mixture.mixture(PROMPTS, gate="neural", **SHAPE)


@pytest.mark.slow_but("network-2", "prior-reads")
@pytest.mark.parametrize("gate, order", KINDS)
def test_token_log_probs_add_up_and_are_conditional(gate, order):
    made, params = make(gate, order)
    check_tokens(made.policy, params)


@pytest.mark.slow
def test_tabular_token_log_probs():
    policy = tabular.tabular(PROMPTS, 3, 3)
    check_tokens(compiled(policy), 2 * jax.random.normal(jax.random.key(5), (3, 27)))


def by_next_words(name):
    """A policy given by its next-word laws, compiled, at random parameters."""
    if name == "table":
        policy = next_words.table(PROMPTS, 3, 3)
    else:
        network = Network(width=8, depth=1, num_heads=2)
        policy = transformer.transformer(prompt_length=3, network=network, **SHAPE).policy
    shapes, rng = jax.eval_shape(policy.init, jax.random.key(0)), np.random.default_rng(6)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape) / 2), shapes)
    return compiled(policy), params


@pytest.mark.parametrize("name", ["table", "transformer"])
def test_a_policy_of_next_words_keeps_the_contract(name):
    policy, params = by_next_words(name)
    check_tokens(policy, params)
    np.testing.assert_allclose(policy.log_probs(params, PROMPTS[1]), listed(policy, params, PROMPTS[1])[1], rtol=1e-10)
    np.testing.assert_allclose(policy.probs(params, PROMPTS[1]), jnp.exp(policy.log_probs(params, PROMPTS[1])))
    with pytest.raises(ValueError, match="responses have 3 words, not 4"):
        policy.log_prob(params, PROMPTS[1], jnp.array([0, 1, 2, 0]))


@pytest.mark.parametrize("name", ["mixture", "table", "transformer"])
def test_prompts_that_are_read_once_change_no_score(name):
    made, params = make("network", 1) if name == "mixture" else (None, None)
    policy, params = (made.policy, params) if made else by_next_words(name)
    frozen = with_frozen(policy, jax.tree.map(lambda x: 0.0, params))
    responses = chains.outcomes(3, 3)[:9]
    which = jnp.array([2, 0, 0, 1, 2, 2, 1, 0, 2])
    weights = jnp.linspace(-1.0, 2.0, 9)

    def each(policy, params):
        scores = log_prob_each(policy, params, PROMPTS, which, responses)
        return scores @ weights, scores

    def one_by_one(params):
        scores = jax.vmap(policy.log_prob, (None, 0, 0))(params, PROMPTS[which], responses)
        return scores @ weights, scores

    (_, scores), slope = jax.jit(jax.value_and_grad(lambda p: each(policy, p), has_aux=True))(params)
    (_, expected), expected_slope = jax.jit(jax.value_and_grad(one_by_one, has_aux=True))(params)
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-12), slope, expected_slope)
    (_, scores), slope = jax.jit(jax.value_and_grad(lambda p: each(frozen, p), has_aux=True))(params)
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    assert all((x == 0).all() for x in jax.tree.leaves(slope))


@pytest.mark.parametrize("name", ["table", "transformer"])
def test_samples_of_next_words_follow_their_policy(name):
    frequencies_match(*by_next_words(name), PROMPTS[1])


def check_tokens(policy, params):
    """Summed over all ends of a response, each token's probability is the share of its beginning."""
    responses, log_probs = listed(policy, params, PROMPTS[1])
    by_token = jax.jit(jax.vmap(policy.token_log_probs, (None, None, 0)))(params, PROMPTS[1], responses)
    np.testing.assert_allclose(by_token.sum(axis=1), log_probs, atol=1e-12)
    tree = np.exp(np.asarray(log_probs)).reshape(3, 3, 3)
    first, second = tree.sum((1, 2)), tree.sum(2)
    by_hand = np.stack(
        np.broadcast_arrays(first[:, None, None], (second / first[:, None])[..., None], tree / second[..., None]), -1
    )
    np.testing.assert_allclose(np.exp(by_token), by_hand.reshape(27, 3), rtol=1e-11)
    gradient = jax.jit(jax.grad(lambda p: policy.token_log_probs(p, PROMPTS[1], responses[5]).sum()))(params)
    whole = jax.jit(jax.grad(lambda p: policy.log_prob(p, PROMPTS[1], responses[5])))(params)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.slow
def test_a_table_answers_for_nobody_else():
    """A shorter response has the probability of beginning so; a word or a prompt it does not know is no other one's."""
    policy, params = tabular.tabular(PROMPTS, 3, 3), jax.random.normal(jax.random.key(2), (3, 27))
    params = params.at[0, :9].set(-jnp.inf)
    joint = np.exp(np.asarray(policy.log_probs(params, PROMPTS[0]))).reshape(3, 3, 3)
    log_prob = lambda *tokens: float(policy.log_prob(params, PROMPTS[0], jnp.array(tokens, int)))  # noqa: E731
    begins = np.exp([log_prob(1), log_prob(1, 2), log_prob(2, 0, 1)])
    np.testing.assert_allclose(begins, [joint[1].sum(), joint[1, 2].sum(), joint[2, 0, 1]])
    np.testing.assert_allclose([np.exp(log_prob(0)), log_prob()], 0, atol=1e-12)
    begun = policy.token_log_probs(params, PROMPTS[0], jnp.array([1, 2]))
    np.testing.assert_allclose(jnp.exp(begun), [joint[1].sum(), joint[1, 2].sum() / joint[1].sum()])
    assert [log_prob(1, 3, 0), log_prob(1, -1, 0), log_prob(3)] == [-np.inf] * 3
    assert jnp.isnan(policy.log_probs(params, jnp.array([4, 4, 4]))).all()
    with pytest.raises(ValueError, match="responses have 3 words, not 4"):
        log_prob(0, 1, 2, 0)
    with pytest.raises(ValueError, match="prompts of 3 units, not of 1"):
        policy.log_probs(params, jnp.array([4]))
