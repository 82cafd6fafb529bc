import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import pretraining
from toypersona.options import Pretraining
from toypersona.policies import expectation_maximisation, mixture
from toypersona.worlds import markov
from toypersona.worlds import world as worlds

SIZES = {"num_words": 4, "num_prompts": 3, "num_personas": 2, "concentration": 0.3}
WORLD, LABELS = markov.markov(jax.random.key(1), **SIZES)
SPEAKERS = mixture.for_world(WORLD, LABELS, 3, "table")
TEXT = worlds.sample(jax.random.key(2), WORLD, 8, 600)
READ = 500


@jax.jit
def fit(key, tokens, goal):
    read = WORLD.prompts, TEXT.prompt_index, tokens
    sizes = {"num_lines": READ, "at_least": 2, "at_most": 6}
    return expectation_maximisation.fit(key, SPEAKERS, *read, goal=goal, **sizes)


@pytest.fixture(scope="module")
def fitted():
    return fit(jax.random.key(3), TEXT.tokens, jnp.inf)


def log_joint(params):
    """Log gate + log expert of each line read, line by line in numpy [M, K]."""
    gates, tables = (np.asarray(each) for each in (mixture.gate_logits(params), mixture.expert_logits(params)))
    rows = []
    for c, tokens in zip(np.asarray(TEXT.prompt_index)[:READ], np.asarray(TEXT.tokens), strict=False):
        line = [int(WORLD.prompts[c][-1]), *tokens]
        rows.append([gates[c, k] + sum(tables[k][pair] for pair in itertools.pairwise(line)) for k in range(2)])
    return np.array(rows)


def test_a_fit_is_a_fixed_point_of_counting_by_hand(fitted):
    """Shares of each line counted one by one, with one line more of each prompt and one word more of each context."""
    joint = log_joint(fitted.params)
    shares = np.exp(joint - np.logaddexp(joint[:, :1], joint[:, 1:]))
    gates, tables, heard = np.full((3, 2), 0.5), np.zeros((2, 4, 4)), np.full((4, 4), mixture.UNSEEN)
    for share, c, tokens in zip(shares, np.asarray(TEXT.prompt_index), np.asarray(TEXT.tokens), strict=False):
        gates[c] += share
        for pair in itertools.pairwise([int(WORLD.prompts[c][-1]), *tokens]):
            tables[(slice(None), *pair)] += share
            heard[pair] += 1
    tables += heard / heard.sum(axis=1, keepdims=True)
    # Steps end where they gain less than a millionth of a nat per line.
    np.testing.assert_allclose(
        jnp.exp(mixture.gate_logits(fitted.params)), gates / gates.sum(axis=1, keepdims=True), atol=0.01
    )
    np.testing.assert_allclose(
        jnp.exp(mixture.expert_logits(fitted.params)), tables / tables.sum(axis=2, keepdims=True), atol=0.01
    )


@pytest.mark.slow
def test_its_loss_is_that_of_the_lines_read_and_beats_the_truth(fitted):
    joint = log_joint(fitted.params)
    np.testing.assert_allclose(fitted.loss, -np.logaddexp(joint[:, 0], joint[:, 1]).mean(), rtol=1e-12)
    assert jax.jit(lambda params: pretraining.excess(WORLD, SPEAKERS.policy, params, TEXT, READ))(fitted.params) < 0


def test_lines_that_are_not_read_change_nothing(fitted):
    others = TEXT.tokens.at[READ:].set(0)
    again = fit(jax.random.key(3), others, jnp.inf)
    jax.tree.map(np.testing.assert_array_equal, again.params, fitted.params)


def test_starts_end_where_three_agree_and_go_on_while_none_is_good_enough(fitted):
    agreeing = np.sort(np.asarray(fitted.losses))[:3]
    assert np.isfinite(agreeing).all() and agreeing[2] - agreeing[0] < 1e-3
    assert np.isnan(fitted.losses).any()
    hopeless = fit(jax.random.key(3), TEXT.tokens, 0.0)
    assert np.isfinite(hopeless.losses).all()


@pytest.mark.slow
def test_gates_do_not_run_away_where_only_one_person_opens_like_that():
    """Adam's gate tables and networks go to 1e-20 there: tens of nats from the truth."""
    alone = WORLD._replace(log_gates=jnp.log(jnp.array([[0.99, 0.01], [0.01, 0.99], [0.5, 0.5]])))
    text = worlds.sample(jax.random.key(4), alone, 8, 600)
    options = Pretraining(num_restarts=2, most_restarts=6, gate="table")
    found = jax.jit(lambda key: pretraining.fit_text(key, alone, text, SPEAKERS, options, 600))(jax.random.key(5))
    _, recovery = jax.jit(lambda params: pretraining.align(alone, SPEAKERS, params, 3))(found.params)
    gates = np.exp(mixture.gate_logits(found.params))
    counts = np.bincount(np.asarray(text.prompt_index))
    assert (gates >= 0.5 / (counts[:, None] + 1) - 1e-9).all()
    assert recovery.gate_divergence < 0.03


def test_the_gate_that_fits_a_world():
    assert [Pretraining().fitting(name).gate for name in ("larry_bob_alice", "markov")] == ["network"] * 2
    assert [Pretraining().fitting(name).gate for name in ("speakers", "text:own")] == ["table"] * 2
    assert Pretraining(gate="network").fitting("text:own").gate == "network"
