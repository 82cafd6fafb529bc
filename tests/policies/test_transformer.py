"""Oracles: the equations in numpy, one response at a time; gradients by hand from the features' own."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains
from toypersona.options import Network
from toypersona.policies import transformer
from toypersona.policies.policy import all_log_probs

UNITS, WORDS, LENGTH, PERSONAS = 5, 3, 3, 3
PROMPTS = jnp.array([[4, 1], [0, 3]])
NETWORK = Network(width=8, depth=2, num_heads=2)
SIZES: dict[str, Any] = dict(num_personas=PERSONAS, num_units=UNITS, num_words=WORDS, length=LENGTH)
SPEAKERS = transformer.transformer(prompt_length=2, network=NETWORK, **SIZES)
HISTORIES = [h for t in range(LENGTH) for h in itertools.product(range(WORDS), repeat=t)]
read, called = jax.jit(SPEAKERS.read), jax.jit(SPEAKERS.called)  # pyright: ignore[reportCallIssue, reportArgumentType]
log_probs = jax.jit(SPEAKERS.policy.log_probs)


def random_params(seed):
    """Away from where biases are zero and scales one; drawn by numpy, so that nothing compiles."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(SPEAKERS.policy.init, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape) / 2), shapes)


PARAMS = random_params(0)


def norm(params, x):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * params["scale"]


def by_hand(params, caller, prompt, words):
    """Next-word laws and the stream before and after blocks of one sequence, in which everything sees what is before.

    Returns:
        [1 + P + W, V] and [L + 1, 1 + P + W, D] for W words said.
    """
    params = jax.tree.map(np.asarray, params)
    units = [*np.asarray(prompt), *words]
    embedded = np.stack([params["callers"]["embedding"][caller], *(params["units"]["embedding"][u] for u in units)])
    stream = [embedded + params["places"]["embedding"][: len(embedded)]]
    for block in range(NETWORK.depth):
        own = jax.tree.map(lambda x, block=block: x[block], params["blocks"])
        dense = [own[f"Dense_{i}"] for i in range(4)]
        made = norm(own["RMSNorm_0"], stream[-1]) @ dense[0]["kernel"]
        heard = []
        for head in range(2):
            q, k, v = (made[:, 8 * part + 4 * head : 8 * part + 4 * head + 4] for part in range(3))
            fits = np.where(np.tri(len(q), dtype=bool), np.exp(q @ k.T / 2), 0)
            heard.append(fits / fits.sum(axis=1, keepdims=True) @ v)
        middle = stream[-1] + np.concatenate(heard, axis=1) @ dense[1]["kernel"] + dense[1]["bias"]
        hidden = norm(own["RMSNorm_1"], middle) @ dense[2]["kernel"] + dense[2]["bias"]
        stream.append(middle + np.maximum(hidden, 0) ** 2 @ dense[3]["kernel"] + dense[3]["bias"])
    said = norm(params["RMSNorm_0"], stream[-1]) @ params["next"]["kernel"] + params["next"]["bias"]
    return said - np.log(np.exp(said).sum(axis=1, keepdims=True)), np.stack(stream)


@pytest.mark.parametrize("caller", [0, 2, None])
def test_the_tree_reads_each_history_as_a_sequence_of_its_own(caller):
    found = read(PARAMS, PROMPTS[0], caller)
    assert found.log_next.shape == (13, WORDS) and found.stream.shape == (NETWORK.depth + 1, 13, NETWORK.width)
    for number, history in enumerate(HISTORIES):
        log_next, stream = by_hand(PARAMS, PERSONAS if caller is None else caller, PROMPTS[0], history)
        np.testing.assert_allclose(found.log_next[number], log_next[-1], rtol=1e-9)
        np.testing.assert_allclose(found.stream[:, number], stream[:, -1], rtol=1e-9, atol=1e-12)


def test_responses_are_listed_by_their_words_and_sum_to_one():
    by_nobody, by_name = log_probs(PARAMS, PROMPTS[1]), called(PARAMS, PROMPTS[1])
    assert by_nobody.shape == (27,) and by_name.shape == (PERSONAS, 27)
    for number, words in enumerate(itertools.product(range(WORDS), repeat=LENGTH)):
        for caller, listed in enumerate((*by_name, by_nobody)):
            log_next = by_hand(PARAMS, caller, PROMPTS[1], words[:-1])[0][2:]
            np.testing.assert_allclose(listed[number], log_next[range(LENGTH), words].sum(), rtol=1e-9)
    np.testing.assert_allclose(jnp.exp(by_name).sum(axis=1), 1, rtol=1e-12)


def test_a_next_word_depends_on_what_was_said_before_and_on_nothing_else():
    """Every element of the tree is given a unit of its own: a derivative by its embedding is one by what it says."""
    words, sees = transformer.tree(3, WORDS, LENGTH)
    module = transformer.Transformer(NETWORK, (2 + words.size, 2, WORDS, 2 + LENGTH))
    rng = np.random.default_rng(1)
    units = jnp.arange(2 + words.size)
    shapes = jax.eval_shape(lambda key: module.init(key, jnp.asarray(0), units, sees), jax.random.key(0))["params"]
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), shapes)

    def scores(table):
        logits = module.apply({"params": params | {"units": {"embedding": table}}}, jnp.asarray(0), units, sees)[0]
        return logits[2:] @ jnp.array([1.0, 2.0, -4.0])  # pyright: ignore[reportIndexIssue]

    depends = (np.asarray(jax.jit(jax.jacrev(scores))(params["units"]["embedding"])) != 0).any(axis=-1)
    assert depends[:, :2].all(), "the prompt is read everywhere"
    for (i, history), (j, other) in itertools.product(enumerate(HISTORIES), enumerate(HISTORIES[1:])):
        assert depends[i, 2 + j] == (history[: len(other)] == other), (history, other)


def test_who_calls_changes_the_law_and_no_position():
    by_name, by_nobody = called(PARAMS, PROMPTS[0]), log_probs(PARAMS, PROMPTS[0])
    laws = jnp.exp(jnp.concatenate([by_name, by_nobody[None]]))
    assert all(jnp.abs(one - other).sum() > 0.01 for one, other in itertools.combinations(laws, 2))
    names = PARAMS["callers"]["embedding"]
    alike = PARAMS | {"callers": {"embedding": jnp.tile(names[-1:], (PERSONAS + 1, 1))}}
    np.testing.assert_allclose(called(alike, PROMPTS[0]), jnp.tile(by_nobody[None], (PERSONAS, 1)), rtol=1e-12)


def test_renaming_permutes_who_is_called():
    order = jnp.array([2, 0, 1])
    renamed = SPEAKERS.renamed(PARAMS, order)
    np.testing.assert_array_equal(called(renamed, PROMPTS[0]), called(PARAMS, PROMPTS[0])[order])
    np.testing.assert_array_equal(log_probs(renamed, PROMPTS[0]), log_probs(PARAMS, PROMPTS[0]))


def test_a_start_says_nearly_what_any_other_start_says_but_not_quite():
    starts = jax.jit(jax.vmap(SPEAKERS.policy.init))(jax.random.split(jax.random.key(3), 2))
    assert jax.tree.all(jax.tree.map(lambda x, y: x.shape[1:] == y.shape and x.dtype == y.dtype, starts, PARAMS))
    one, other = (log_probs(jax.tree.map(lambda x, i=i: x[i], starts), PROMPTS[0]) for i in range(2))
    assert 1e-3 < jnp.abs(one - other).max() < 10
    assert jnp.isfinite(one).all()


TRAINED, FEATURES, MOVE = random_params(4), random_params(5), random_params(6)
GRAFTED = transformer.grafted(SPEAKERS, TRAINED, FEATURES, LENGTH)


def test_a_graft_says_what_was_trained_and_moves_as_its_features():
    """Its derivative: that of the features' next-word laws, centred under the trained ones, summed along a response."""
    at_both = lambda params: all_log_probs(GRAFTED, params, PROMPTS)  # noqa: E731
    law, moved = jax.jit(lambda params, move: jax.jvp(at_both, (params,), (move,)))(FEATURES, MOVE)
    for c, prompt in enumerate(PROMPTS):
        np.testing.assert_allclose(law[c], log_probs(TRAINED, prompt), rtol=1e-10)
        of_features = lambda params: SPEAKERS.read(params, prompt).log_next  # noqa: B023, E731  # pyright: ignore[reportOptionalCall]
        slopes = jax.jit(lambda params, move: jax.jvp(of_features, (params,), (move,))[1])(FEATURES, MOVE)  # noqa: B023
        likely = jnp.exp(read(TRAINED, prompt).log_next)
        centred = slopes - (likely * slopes).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(moved[c], chains.listed(centred, LENGTH), rtol=1e-9, atol=1e-12)
        own = chains.listed(slopes, LENGTH)
        assert jnp.abs(moved[c] - own).max() > 0.1, "no power"


def test_a_graft_far_from_its_features_adds_what_they_changed():
    far = jax.tree.map(jnp.add, FEATURES, MOVE)
    start, end, trained = (read(params, PROMPTS[0]).log_next for params in (FEATURES, far, TRAINED))
    expected = jax.nn.log_softmax(trained + end - start)
    law = jax.jit(GRAFTED.log_probs)(far, PROMPTS[0])
    np.testing.assert_allclose(law, chains.listed(expected, LENGTH), rtol=1e-9)
    assert jnp.abs(law - log_probs(TRAINED, PROMPTS[0])).max() > 0.1, "no power"
    assert GRAFTED.init(jax.random.key(0)) is FEATURES
