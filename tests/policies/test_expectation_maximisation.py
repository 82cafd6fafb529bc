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
READ = 500


@pytest.fixture(scope="module")
def given():
    """A world, policies for it, and lines of text."""
    world, labels = markov.markov(jax.random.key(1), **SIZES)
    return world, mixture.for_world(world, labels, 3, "table"), worlds.sample(jax.random.key(2), world, 8, 600)


@pytest.fixture(scope="module")
def fit(given):
    world, speakers, text = given

    def fit(key, tokens, goal):
        read = world.prompts, text.prompt_index, tokens
        sizes = {"num_lines": READ, "at_least": 2, "at_most": 6}
        return expectation_maximisation.fit(key, speakers, *read, goal=goal, **sizes)

    return jax.jit(fit)


@pytest.fixture(scope="module")
def fitted(given, fit):
    return fit(jax.random.key(3), given[2].tokens, jnp.inf)


def log_joint(params, world, text):
    """Log gate + log expert of each line read, line by line in numpy [M, K]."""
    gates, tables = (np.asarray(each) for each in (mixture.gate_logits(params), mixture.expert_logits(params)))
    rows = []
    for c, tokens in zip(np.asarray(text.prompt_index)[:READ], np.asarray(text.tokens), strict=False):
        line = [int(world.prompts[c][-1]), *tokens]
        rows.append([gates[c, k] + sum(tables[k][pair] for pair in itertools.pairwise(line)) for k in range(2)])
    return np.array(rows)


def test_a_fit_is_a_fixed_point_of_counting_by_hand(given, fitted):
    """Shares of each line counted one by one, with one line more of each prompt and one word more of each context."""
    world, _, text = given
    joint = log_joint(fitted.params, world, text)
    shares = np.exp(joint - np.logaddexp(joint[:, :1], joint[:, 1:]))
    gates, tables, heard = np.full((3, 2), 0.5), np.zeros((2, 4, 4)), np.full((4, 4), mixture.UNSEEN)
    for share, c, tokens in zip(shares, np.asarray(text.prompt_index), np.asarray(text.tokens), strict=False):
        gates[c] += share
        for pair in itertools.pairwise([int(world.prompts[c][-1]), *tokens]):
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
def test_its_loss_is_that_of_the_lines_read_and_beats_the_truth(given, fitted):
    world, speakers, text = given
    joint = log_joint(fitted.params, world, text)
    np.testing.assert_allclose(fitted.loss, -np.logaddexp(joint[:, 0], joint[:, 1]).mean(), rtol=1e-12)
    assert jax.jit(lambda params: pretraining.excess(world, speakers.policy, params, text, READ))(fitted.params) < 0


def test_lines_that_are_not_read_change_nothing(given, fit, fitted):
    others = given[2].tokens.at[READ:].set(0)
    again = fit(jax.random.key(3), others, jnp.inf)
    jax.tree.map(np.testing.assert_array_equal, again.params, fitted.params)


def test_starts_end_where_three_agree_and_go_on_while_none_is_good_enough(given, fit, fitted):
    agreeing = np.sort(np.asarray(fitted.losses))[:3]
    assert np.isfinite(agreeing).all() and agreeing[2] - agreeing[0] < 1e-3
    assert np.isnan(fitted.losses).any()
    hopeless = fit(jax.random.key(3), given[2].tokens, 0.0)
    assert np.isfinite(hopeless.losses).all()


@pytest.mark.slow
def test_gates_do_not_run_away_where_only_one_person_opens_like_that(given):
    """Adam's gate tables and networks go to 1e-20 there: tens of nats from the truth."""
    world, speakers, _ = given
    alone = world._replace(log_gates=jnp.log(jnp.array([[0.99, 0.01], [0.01, 0.99], [0.5, 0.5]])))
    text = worlds.sample(jax.random.key(4), alone, 8, 600)
    options = Pretraining(num_restarts=2, most_restarts=6, gate="table")
    found = jax.jit(lambda key: pretraining.fit_text(key, alone, text, speakers, options, 600))(jax.random.key(5))
    _, recovery = jax.jit(lambda params: pretraining.align(alone, speakers, params, 3))(found.params)
    gates = np.exp(mixture.gate_logits(found.params))
    counts = np.bincount(np.asarray(text.prompt_index))
    assert (gates >= 0.5 / (counts[:, None] + 1) - 1e-9).all()
    assert recovery.gate_divergence < 0.03


def test_the_gate_that_fits_a_world():
    assert [Pretraining().fitting(name).gate for name in ("larry_bob_alice", "markov")] == ["network"] * 2
    assert [Pretraining().fitting(name).gate for name in ("speakers", "text:own")] == ["table"] * 2
    assert Pretraining(gate="network").fitting("text:own").gate == "network"
