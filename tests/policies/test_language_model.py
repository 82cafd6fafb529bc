"""Oracles: the equations in numpy, one sequence at a time without prefix or cache; the whole law listed."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_language_model import ARCHITECTURE, DEPTH, GROUPS, HEADS, PARAMS, SIZE, WORDS

from toypersona.policies import language_model

PROMPT = np.array([3, 0, 5, 6, 1])
ENDS = jnp.arange(WORDS) == 2
TEMPERATURE = 0.7


read = jax.jit(functools.partial(language_model.read, ARCHITECTURE))
score = jax.jit(functools.partial(language_model.score, ARCHITECTURE), static_argnames="chunk")
PREFIX = read(PARAMS, jnp.asarray(PROMPT))


def norm(x, scale):
    return x / np.sqrt((x**2).mean() + ARCHITECTURE.epsilon) * scale


def turned(x, place):
    """Pairs as complex numbers, each turned by an angle of its own."""
    pairs = x[0::2] + 1j * x[1::2]
    pairs = pairs * np.exp(1j * place * ARCHITECTURE.rotary_base ** (-np.arange(0, SIZE, 2) / SIZE))
    return np.stack([pairs.real, pairs.imag], axis=1).ravel()


def by_hand(params, tokens):
    """Logits after every token of a sequence [S, V], head by head and place by place."""
    params = jax.tree.map(np.asarray, params)
    stream = [params["embedding"][token] for token in tokens]
    for block in range(DEPTH):
        own = {name: weights[block] for name, weights in params["blocks"].items()}
        normed = [norm(x, own["attention_norm"]) for x in stream]
        heads = {name: [(x @ own[name]).reshape(-1, SIZE) for x in normed] for name in ("queries", "keys", "values")}
        for place in range(len(tokens)):
            heard = []
            for head in range(HEADS):
                group = head // (HEADS // GROUPS)
                query = turned(heads["queries"][place][head], place)
                keys = [turned(heads["keys"][s][group], s) for s in range(place + 1)]
                fits = np.exp(np.array([query @ key for key in keys]) / np.sqrt(SIZE))
                heard.append(sum(f * heads["values"][s][group] for s, f in enumerate(fits)) / fits.sum())
            middle = stream[place] + np.concatenate(heard) @ own["out"]
            after = norm(middle, own["hidden_norm"])
            gate = after @ own["gate"]
            stream[place] = middle + (gate / (1 + np.exp(-gate)) * (after @ own["up"])) @ own["down"]
    return np.array([norm(x, params["norm"]) @ params["embedding"].T for x in stream])


def said_by_hand(params, answer):
    """Log-probability of every token of an answer up to its first end."""
    logits = by_hand(params, [*PROMPT, *answer])[len(PROMPT) - 1 : -1] / TEMPERATURE
    log_next = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    said = log_next[np.arange(len(answer)), answer]
    ending = [i for i, token in enumerate(answer) if ENDS[token]]
    return np.where(np.arange(len(answer)) <= (ending[0] if ending else len(answer)), said, 0.0)


def test_reading_and_scoring_are_the_equations():
    np.testing.assert_allclose(PREFIX.logits, by_hand(PARAMS, PROMPT)[-1], rtol=1e-10)
    answers = np.random.default_rng(1).integers(0, WORDS, (20, 4))
    found = score(PARAMS, PREFIX, jnp.asarray(answers), ends=ENDS, temperature=TEMPERATURE)
    np.testing.assert_allclose(found, [said_by_hand(PARAMS, answer) for answer in answers], rtol=1e-9)
    assert (found == 0).any() and (found < 0).any()
    one = score(PARAMS, PREFIX, jnp.asarray(answers[:, :1]), ends=ENDS, temperature=TEMPERATURE)
    np.testing.assert_allclose(one, found[:, :1], rtol=1e-12)


@pytest.mark.slow
def test_padding_behind_a_prompt_and_the_size_of_chunks_change_nothing():
    answers = jnp.array([[1, 0, 6], [4, 4, 3]])
    plain = score(PARAMS, PREFIX, answers, ends=ENDS)
    padded = read(PARAMS, jnp.concatenate([jnp.asarray(PROMPT), jnp.array([6, 6, 2])]), PROMPT.size)
    np.testing.assert_allclose(padded.logits, PREFIX.logits, rtol=1e-12)
    np.testing.assert_allclose(score(PARAMS, padded, answers, ends=ENDS), plain, rtol=1e-10)
    np.testing.assert_allclose(score(PARAMS, PREFIX, answers, ends=ENDS, chunk=3), plain, rtol=1e-12)
    without_jit = language_model.score(ARCHITECTURE, PARAMS, PREFIX, answers, ends=ENDS)
    np.testing.assert_allclose(without_jit, plain, rtol=1e-12)


@pytest.fixture(scope="module")
def drawn():
    sample = jax.jit(functools.partial(language_model.sample, ARCHITECTURE), static_argnames=("num", "length"))
    kind = {"num": 20_000, "ends": ENDS, "temperature": TEMPERATURE}
    return {length: sample(PARAMS, jax.random.key(length), PREFIX, length=length, **kind) for length in (1, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 3])
def test_what_is_sampled_is_what_is_scored(drawn, length):
    answers = drawn[length]
    kind = {"ends": ENDS, "temperature": TEMPERATURE}
    np.testing.assert_allclose(answers.log_probs, score(PARAMS, PREFIX, answers.tokens, **kind), rtol=1e-9)
    # Every answer with a probability by hand, padding written as the sampler does.
    listed = np.array(list(itertools.product(range(WORDS), repeat=length)))
    padding = ~np.asarray(language_model.real(jnp.asarray(listed), ENDS))
    listed = listed[~(padding & (listed != 0)).any(axis=1)]
    probs = np.exp([said_by_hand(PARAMS, answer).sum() for answer in listed])
    np.testing.assert_allclose(probs.sum(), 1.0, rtol=1e-9)
    weights = WORDS ** np.arange(length)
    counts = np.bincount(np.asarray(answers.tokens) @ weights, minlength=WORDS**length)[listed @ weights]
    num = len(answers.tokens)
    assert counts.sum() == num
    errors = np.sqrt(num * probs * (1 - probs))
    often = num * probs > 20
    assert often.sum() >= 5
    assert (abs(counts - num * probs) < 5 * errors)[often].all()


def test_fresh_adapters_change_nothing_and_others_are_their_product():
    answers = jnp.array([[1, 0, 6], [4, 4, 3]])
    made = language_model.adapters(jax.random.key(0), PARAMS, 2)
    fresh = PARAMS | {"adapters": made}
    plain = score(PARAMS, PREFIX, answers, ends=ENDS)
    assert (score(fresh, read(fresh, jnp.asarray(PROMPT)), answers, ends=ENDS) == plain).all()
    changed = jax.tree.map(lambda x: x + 0.1 * np.random.default_rng(x.size).normal(size=x.shape), made)
    adapted = PARAMS | {"adapters": changed}
    products = {name: PARAMS["blocks"][name] + one["a"] @ one["b"] for name, one in changed.items()}
    merged = PARAMS | {"blocks": PARAMS["blocks"] | products}
    found = score(adapted, read(adapted, jnp.asarray(PROMPT)), answers, ends=ENDS)
    wanted = score(merged, read(merged, jnp.asarray(PROMPT)), answers, ends=ENDS)
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    # On the prompt too: the first token, which hears nothing else, moves.
    assert (abs(found - plain)[:, 0] > 1e-3).all()


@pytest.mark.slow
def test_gradients_of_adapters_are_finite_differences():
    made = language_model.adapters(jax.random.key(1), PARAMS, 2, ("queries", "down"))
    answers = jnp.array([[1, 0, 6], [4, 2, 3]])

    def objective(changes):
        params = PARAMS | {"adapters": changes}
        prefix = language_model.read(ARCHITECTURE, params, jnp.asarray(PROMPT))
        return language_model.score(ARCHITECTURE, params, prefix, answers, ends=ENDS).sum()

    moved = jax.tree.map(lambda x: x + 0.1 * np.random.default_rng(x.size).normal(size=x.shape), made)
    way = jax.tree.map(lambda x: jnp.asarray(np.random.default_rng(x.size + 1).normal(size=x.shape)), made)
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, w: (g * w).sum(), jax.jit(jax.grad(objective))(moved), way)))
    along = jax.jit(lambda h: objective(jax.tree.map(lambda x, w: x + h * w, moved, way)))
    ahead, behind = along(1e-5), along(-1e-5)
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6)


def test_answers_share_their_prefix_without_copies():
    num, places = 50, 30
    prefix = PREFIX._replace(**{name: jnp.zeros((DEPTH, places, GROUPS, SIZE)) for name in ("keys", "values")})

    def largest(jaxpr):
        for equation in jaxpr.eqns:
            yield from (variable.aval.size for variable in equation.outvars)
            for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
                if hasattr(inner, "eqns"):
                    yield from largest(inner)

    scored = functools.partial(language_model.score, ARCHITECTURE, ends=ENDS)
    closed = jax.make_jaxpr(scored)(PARAMS, prefix, jnp.zeros((num, 2), int))
    sizes = list(largest(closed.jaxpr))
    # How well one token fits every place of its prompt is the largest; a copy of the keys would be larger.
    assert max(sizes) == num * HEADS * (places + 1) < num * places * GROUPS * SIZE
