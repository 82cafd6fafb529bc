import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains, options

U, V, T = 4, 3, 3
PROMPT = jnp.array([3, 0, 2])
log_probs = jax.jit(chains.log_probs, static_argnums=2)
ORDERS = pytest.mark.parametrize("order", [0, 1, 2])


def random_table(order, seed=0, num_units=U, num_words=V):
    rows = np.random.default_rng(seed).dirichlet([0.5] * num_words, num_units**order)
    return jnp.log(jnp.asarray(rows).reshape(*(num_units,) * order, num_words))


def by_hand(table, prompt, tokens):
    """Log p(x|c) one Python index at a time."""
    table, units, back = np.asarray(table), [*np.asarray(prompt), *tokens], np.ndim(table) - 1
    return float(np.sum([table[tuple(units[i - back : i + 1])] for i in range(len(prompt), len(units))]))


def test_outcomes_are_listed_in_lexicographic_order():
    np.testing.assert_array_equal(chains.outcomes(V, T), list(itertools.product(range(V), repeat=T)))


def test_too_many_outcomes_are_refused():
    assert options.num_outcomes(2, 20) == options.MOST_LISTED
    for refused in (
        lambda: chains.outcomes(2, 21),
        lambda: chains.log_probs(random_table(1, num_words=2), PROMPT, 21),
    ):
        with pytest.raises(ValueError, match=r"2,097,152 responses; only 1,048,576.*budget_from_samples"):
            refused()


@pytest.mark.parametrize(("num_words", "length"), [(0, 2), (2, 0), (3, -1)])
def test_no_outcomes_are_refused(num_words, length):
    with pytest.raises(ValueError, match=f"1 or more, not {num_words} and {length}"):
        chains.outcomes(num_words, length)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_every_outcome_as_by_hand(order):
    table = random_table(order)
    expected = [by_hand(table, PROMPT, tokens) for tokens in itertools.product(range(V), repeat=T)]
    np.testing.assert_allclose(log_probs(table, PROMPT, T), expected, rtol=1e-12)
    single = jax.jit(jax.vmap(chains.log_prob, (None, None, 0)))(table, PROMPT, chains.outcomes(V, T))
    np.testing.assert_allclose(single, expected, rtol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_responses_shorter_and_longer_than_the_order(length):
    table = random_table(2)
    expected = [by_hand(table, PROMPT, tokens) for tokens in itertools.product(range(V), repeat=length)]
    np.testing.assert_allclose(log_probs(table, PROMPT, length), expected, rtol=1e-12)


@ORDERS
def test_outcomes_sum_to_one_for_a_hundred_tables(order):
    tables = jnp.stack([random_table(order, seed) for seed in range(100)])
    totals = jax.jit(jax.vmap(lambda table: jnp.exp(chains.log_probs(table, PROMPT, T)).sum()))(tables)
    np.testing.assert_allclose(totals, 1.0, rtol=1e-12)


def test_a_long_response_and_its_tokens():
    table, tokens = random_table(2), jnp.asarray(np.random.default_rng(1).integers(V, size=500))
    by_token = jax.jit(chains.token_log_probs)(table, PROMPT, tokens)
    assert by_token.shape == (500,)
    np.testing.assert_allclose(by_token[0], table[0, 2, tokens[0]])
    np.testing.assert_allclose(by_token.sum(), by_hand(table, PROMPT, np.asarray(tokens)), rtol=1e-12)


def test_an_impossible_word_makes_impossible_responses_and_nothing_else():
    table = jnp.log(jnp.array([[0.0, 1.0], [0.5, 0.5]]))
    made = log_probs(table, jnp.array([1]), 2)
    np.testing.assert_allclose(jnp.exp(made), [0.0, 0.5, 0.25, 0.25])
    np.testing.assert_array_equal(jnp.isneginf(made), [True, False, False, False])


@ORDERS
def test_gradient_as_by_central_differences(order):
    table = random_table(order)
    weights = jnp.asarray(np.random.default_rng(2).normal(size=V**T))

    def value(table):
        return jnp.exp(chains.log_probs(table, PROMPT, T)) @ weights

    step = 1e-5 * np.eye(table.size).reshape(table.size, *table.shape)
    moved = jax.jit(jax.vmap(value))
    numeric = (moved(np.asarray(table) + step) - moved(np.asarray(table) - step)) / 2e-5
    np.testing.assert_allclose(np.asarray(jax.jit(jax.grad(value))(table)).reshape(-1), numeric, atol=1e-8)


def test_nothing_of_size_n_is_gathered_or_scattered():
    table, prompts = random_table(1), jnp.array([[3, 0], [1, 2]])

    def value(table):
        return jnp.exp(jax.vmap(lambda prompt: chains.log_probs(table, prompt, 6))(prompts)).sum()

    def equations(jaxpr):
        for equation in jaxpr.eqns:
            yield equation
            for inner in equation.params.values():
                if hasattr(inner, "jaxpr"):
                    yield from equations(inner.jaxpr)

    moves = [
        e
        for e in equations(jax.make_jaxpr(jax.grad(value))(table).jaxpr)
        if "gather" in e.primitive.name or "scatter" in e.primitive.name
    ]
    assert moves
    assert all(v.aval.size <= 2 * table.size < V**6 for e in moves for v in [*e.invars, *e.outvars])


@ORDERS
def test_jit_and_precision_change_nothing(order):
    table = random_table(order)
    np.testing.assert_allclose(log_probs(table, PROMPT, T), chains.log_probs(table, PROMPT, T), rtol=1e-14)
    assert chains.log_probs(table.astype(jnp.float32), PROMPT, T).dtype == jnp.float32


@ORDERS
def test_samples_follow_the_exact_probabilities(order):
    table, number = random_table(order), 20_000
    keys = jax.random.split(jax.random.key(3), number)
    tokens = jax.jit(jax.vmap(lambda key: chains.sample(key, table[None], 0, PROMPT, T)))(keys)
    places = np.ravel_multi_index(np.asarray(tokens).T, (V,) * T)
    measured = np.bincount(places, minlength=V**T) / number
    exact = np.exp(log_probs(table, PROMPT, T))
    error = np.sqrt(np.maximum(measured * (1 - measured), 1 / number) / number)
    assert (np.abs(measured - exact) < 5 * error).all()


def test_an_impossible_word_is_never_said():
    table = jnp.log(jnp.array([0.0, 0.5, 0.0, 0.5, 0.0]))
    tokens = chains.sample(jax.random.key(4), table[None], 0, PROMPT, 10_000)
    assert {*np.asarray(tokens).tolist()} == {1, 3}


@pytest.mark.parametrize("order", [1, 2])
def test_counts_of_transitions(order):
    prompts, responses = jnp.array([[3, 0], [1, 3]]), jnp.array([[1, 1, 2], [0, 2, 2]])
    weights = jnp.array([1.0, 0.5])
    expected = np.zeros((*(U,) * order, V))
    for prompt, response, weight in zip(prompts, responses, weights, strict=True):
        line = [*np.asarray(prompt), *np.asarray(response)]
        for i in range(2, 5):
            expected[tuple(line[i - order : i + 1])] += weight
    np.testing.assert_array_equal(chains.count(prompts, responses, weights, (*(U,) * order, V)), expected)


def test_prompts_shorter_than_the_order_are_refused():
    for refused in (
        lambda: chains.log_probs(random_table(2), PROMPT[:1], T),
        lambda: chains.log_prob(random_table(2), PROMPT[:1], jnp.array([0])),
        lambda: chains.sample(jax.random.key(0), random_table(2)[None], 0, PROMPT[:1], T),
    ):
        with pytest.raises(ValueError, match="order 2 needs prompts at least as long, not 1"):
            refused()


@pytest.mark.slow_but("2-0", "3-3")
@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 6])
def test_mixture_probs_is_the_plain_form_with_its_derivatives(order, length):
    logits = jax.random.normal(jax.random.key(order), (2, *(U,) * order, V))
    values = jax.random.normal(jax.random.key(9), (V**length,))

    def fast(weights, logits):
        return chains.mixture_probs(weights, jax.nn.softmax(logits), PROMPT, length)

    def plain(weights, logits):
        each = jax.vmap(lambda table: chains.log_probs(table, PROMPT, length))(jax.nn.log_softmax(logits))
        return weights @ jnp.exp(each)

    def with_derivatives(f, point):
        slope = jax.grad(lambda point: f(*point) @ values)(point)
        return *jax.jvp(lambda point: f(*point), (point,), (jax.tree.map(jnp.cos, point),)), slope

    # At once: op by op it takes sixty programs.
    point = jnp.array([0.3, 0.7]), logits
    (made, *derivatives), (expected, *wanted) = (
        jax.jit(with_derivatives, static_argnums=0)(f, point) for f in (fast, plain)
    )
    np.testing.assert_allclose(made, expected, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), derivatives, wanted)


READS = jnp.array([3, 0, 2, 3])


def reading_by_hand(table, prompt, tokens):
    """Log p(x|c) of a chain that reads along, one Python index at a time."""
    table, units, back = np.asarray(table), [*np.asarray(prompt), *tokens], np.ndim(table) - 2
    start = len(prompt)
    places = [(units[i], *units[start + i - back : start + i + 1]) for i in range(len(tokens))]
    return float(np.sum([table[place] for place in places]))


@ORDERS
@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_chain_that_reads_along_as_by_hand(order, length):
    table = random_table(order + 1)
    reading, every = chains.Reading(table), list(itertools.product(range(V), repeat=length))
    expected = [reading_by_hand(table, READS, tokens) for tokens in every]
    np.testing.assert_allclose(chains.log_probs(reading, READS, length), expected, rtol=1e-12)
    single = jax.vmap(chains.log_prob, (None, None, 0))(reading, READS, chains.outcomes(V, length))
    np.testing.assert_allclose(single, expected, rtol=1e-12)
    np.testing.assert_allclose(
        chains.mixture_probs(jnp.ones(1), chains.Reading(jnp.exp(table)[None]), READS, length),
        np.exp(expected),
        rtol=1e-12,
    )


@pytest.mark.slow_but("0")
@ORDERS
def test_mixtures_of_reading_chains_have_the_plain_form_s_gradient(order):
    logits = jax.random.normal(jax.random.key(order), (2, *(U,) * (order + 1), V))
    values, weights = jax.random.normal(jax.random.key(9), (V**4,)), jnp.array([0.3, 0.7])

    def fast(logits):
        return chains.mixture_probs(weights, chains.Reading(jax.nn.softmax(logits)), READS, 4) @ values

    def plain(logits):
        log_tables = chains.Reading(jax.nn.log_softmax(logits))
        return weights @ jnp.exp(jax.vmap(lambda table: chains.log_probs(table, READS, 4))(log_tables)) @ values

    np.testing.assert_allclose(jax.grad(fast)(logits), jax.grad(plain)(logits), atol=1e-12)


@ORDERS
def test_samples_of_a_reading_chain_follow_the_exact_probabilities(order):
    reading, number = chains.Reading(random_table(order + 1)), 20_000
    stacked = jax.tree.map(lambda x: x[None], reading)
    keys = jax.random.split(jax.random.key(3), number)
    tokens = jax.jit(jax.vmap(lambda key: chains.sample(key, stacked, 0, READS, T)))(keys)
    measured = np.bincount(np.ravel_multi_index(np.asarray(tokens).T, (V,) * T), minlength=V**T) / number
    exact = np.exp(chains.log_probs(reading, READS, T))
    error = np.sqrt(np.maximum(measured * (1 - measured), 1 / number) / number)
    assert (np.abs(measured - exact) < 5 * error).all()


def test_counts_of_what_reading_chains_said():
    prompts, responses = jnp.array([[3, 0, 2], [1, 3, 0]]), jnp.array([[1, 1, 2], [0, 2, 2]])
    expected = np.zeros((U, U, V))
    for prompt, response in zip(np.asarray(prompts), np.asarray(responses), strict=True):
        before = [prompt[-1], *response[:-1]]
        for place in zip(prompt, before, response, strict=True):
            expected[place] += 1
    made = chains.count(prompts, responses, jnp.ones(2), (U, U, V), reads=True)
    np.testing.assert_array_equal(made, expected)


def test_a_chain_cannot_read_beyond_the_prompt():
    reading = chains.Reading(random_table(2))
    for refused in (
        lambda: chains.log_probs(reading, READS, 5),
        lambda: chains.log_prob(reading, READS, jnp.zeros(5, int)),
        lambda: chains.sample(jax.random.key(0), jax.tree.map(lambda x: x[None], reading), 0, READS, 5),
    ):
        with pytest.raises(ValueError, match="need a unit for each of 5 words, not 4 units"):
            refused()


@pytest.mark.slow
def test_histories_are_summed_one_by_one():
    joint = np.random.default_rng(0).dirichlet(np.ones(V**T), 2)
    joint[1].reshape(V, -1)[1] = 0.0
    with np.errstate(divide="ignore"):
        mass, following = chains.histories(jnp.log(jnp.asarray(joint)), V, T)
    begun = [begun for length in range(T) for begun in itertools.product(range(V), repeat=length)]
    for c, (place, history) in itertools.product(range(2), enumerate(begun)):
        after = joint[c].reshape((V,) * T)[history].reshape(V, -1).sum(axis=1)
        np.testing.assert_allclose(np.exp(mass[c, place]), after.sum())
        wanted = after / after.sum() if after.sum() else np.zeros(V)
        np.testing.assert_allclose(np.exp(following[c, place]), wanted)
    np.testing.assert_array_equal(chains.ended(2, V, T), [2 in history for history in begun])


@pytest.mark.slow
def test_next_word_laws_are_listed_back_and_histories_numbered():
    laws = jnp.log(jnp.asarray(np.random.default_rng(1).dirichlet(np.ones(V**T))))
    np.testing.assert_allclose(chains.listed(chains.histories(laws, V, T)[1], T), laws, rtol=1e-12)
    begun = [begun for length in range(T) for begun in itertools.product(range(V), repeat=length)]
    for history, word in itertools.product(begun[: 1 + V], range(V)):
        after = chains.history_after(jnp.asarray(begun.index(history)), jnp.asarray(word), V)
        assert begun[int(after)] == (*history, word)


def test_visits_are_shares_of_what_is_not_left_out():
    begun = np.random.default_rng(2).uniform(size=(2, 4))
    by_hand = np.array([[0.25], [0.75]]) * begun
    arguments = jnp.log(jnp.array([0.25, 0.75])), jnp.log(jnp.asarray(begun))
    np.testing.assert_allclose(chains.visits(*arguments), by_hand / by_hand.sum(), rtol=1e-12)
    by_hand[:, 2] = 0
    left_out = jnp.array([False, False, True, False])
    np.testing.assert_allclose(chains.visits(*arguments, left_out), by_hand / by_hand.sum(), rtol=1e-12)
