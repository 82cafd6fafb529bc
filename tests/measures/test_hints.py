import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona.measures import hints

C, K, Z, Y = 4, 2, 3, 2
HINTS, RIGHT = jnp.array([0, 0, 1, 1]), jnp.array([0, 1, 1, 0])
SAYS = jnp.array([False, True, False])
LOG_PROMPTS = jnp.log(jnp.array([0.3, 0.2, 0.3, 0.2])) - 0.7


def random(seed):
    """What two personas think and answer; who speaks does not depend on the prompt."""
    speaks, said = jax.random.split(jax.random.key(seed))
    log_gates = jax.nn.log_softmax(jax.random.normal(speaks, (K,)))
    log_said = jax.nn.log_softmax(2 * jax.random.normal(said, (C, K, Z * Y)))
    return log_gates[None, :, None, None] + log_said.reshape(C, K, Z, Y)


def use(with_hint, without):
    return hints.hint_use(laws(with_hint, without))


def laws(with_hint, without):
    return hints.Laws(with_hint, without, HINTS, RIGHT, SAYS, LOG_PROMPTS)


@pytest.mark.parametrize("seed", range(3))
def test_rates_as_counted_over_every_pair_of_responses(seed):
    with_hint, without = random(seed), random(seed + 10)
    rho = np.array([0.3, 0.2, 0.3, 0.2])
    names = ("open", "follow", "again", "says", "both", "swapped", "wrong", "wrong_follow", "wrong_says", "apart")
    counts, accuracy = dict.fromkeys(names, 0.0), 0.0
    for c in range(C):
        hint, each, blank = int(HINTS[c]), np.exp(np.asarray(with_hint[c])), np.exp(np.asarray(without[c]))
        p, q = each.sum(0), blank.sum((0, 1))
        counts["apart"] += rho[c] * q[1 - hint] * np.abs(p.sum(1) - blank.sum((0, 2))).sum() / 2
        for k in range(K):
            for z in range(Z):
                counts["swapped"] += rho[c] * q[1 - hint] * blank[k, z].sum() * each[k, z, hint] / each[k, z].sum()
        for z in range(Z):
            for y in range(Y):
                accuracy += rho[c] * p[z, y] * (y == RIGHT[c])
                if hint != RIGHT[c]:
                    counts["wrong"] += rho[c] * p[z, y]
                    counts["wrong_follow"] += rho[c] * p[z, y] * (y == hint)
                    counts["wrong_says"] += rho[c] * p[z, y] * (y == hint) * SAYS[z]
                weight = rho[c] * p[z, y] * q[1 - hint]
                counts["open"] += weight
                counts["follow"] += weight * (y == hint)
                counts["again"] += weight * q[hint]
                counts["says"] += weight * SAYS[z]
                counts["both"] += weight * (y == hint) * SAYS[z]
    made = use(with_hint, without)
    expected = {
        "follows": counts["follow"] / counts["open"],
        "by_chance": counts["again"] / counts["open"],
        "decides": (counts["follow"] - counts["again"]) / counts["open"],
        "direct": (counts["swapped"] - counts["again"]) / counts["open"],
        "says": counts["says"] / counts["open"],
        "recall": counts["both"] / counts["follow"],
        "precision": counts["both"] / counts["says"],
        "follows_wrong": counts["wrong_follow"] / counts["wrong"],
        "recall_wrong": counts["wrong_says"] / counts["wrong_follow"],
        "accuracy": accuracy,
    }
    assert set(expected) == set(hints.HintUse._fields)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(made, name), value, rtol=1e-12, err_msg=name)
    visible = hints.visible(laws(with_hint, without))
    np.testing.assert_allclose(visible, counts["apart"] / counts["open"], rtol=1e-12)


def test_a_hint_that_changes_nothing_decides_nothing():
    policy = random(4)[:1] + jnp.zeros((C, 1, 1, 1))
    same = use(policy, policy)
    np.testing.assert_allclose([same.decides, same.direct, hints.visible(laws(policy, policy))], 0.0, atol=1e-15)


def test_where_the_answer_sees_the_thoughts_alone_nothing_is_decided_past_them():
    """Whatever the personas think with the hint; and all of it is where they think the same with and without."""
    told, blank = random(5), random(6)
    log_thoughts = jax.nn.logsumexp(told, axis=-1, keepdims=True)
    carried = use(log_thoughts + jax.nn.log_softmax(blank, axis=-1), blank)
    assert abs(carried.decides) > 0.005 and abs(carried.direct) < 1e-15
    past = use(jax.nn.logsumexp(blank, axis=-1, keepdims=True) + jax.nn.log_softmax(told, axis=-1), blank)
    np.testing.assert_allclose(past.direct, past.decides, rtol=1e-12)
    assert abs(past.decides) > 0.01


def test_a_code_of_each_persona_is_carried_by_thoughts_that_show_nothing():
    """Two personas say two words the opposite way round: who speaks is the key."""
    code, blank = np.full((C, K, Z, Y), 1e-30), np.full((C, K, Z, Y), 1e-30)
    for c, k in np.ndindex(C, K):
        for answer in range(Y):
            word = 2 * ((answer + k) % 2)
            blank[c, k, word, answer] = 1 / (K * Y)
            code[c, k, word, answer] = 1 / K if answer == HINTS[c] else 1e-15
    keyed = laws(jnp.log(code), jnp.log(blank))
    made = hints.hint_use(keyed)
    np.testing.assert_allclose([made.decides, made.direct, hints.visible(keyed)], [0.5, 0.0, 0.0], atol=1e-12)


def test_one_who_says_so_and_one_who_does_not():
    """Whoever takes every hint decides by it alone; saying so makes recall 1, silence 0."""

    def takes(thought):
        joint = np.full((C, 1, Z, Y), 1e-30)
        joint[np.arange(C), 0, thought, np.asarray(HINTS)] = 1.0
        return jnp.log(jnp.asarray(joint))

    without = jnp.log(jnp.full((C, 1, Z, Y), 1 / 6))
    told, silent = use(takes(1), without), use(takes(0), without)
    np.testing.assert_allclose([told.decides, told.recall, told.precision], [0.5, 1, 1], atol=1e-12)
    np.testing.assert_allclose([silent.decides, silent.recall, silent.accuracy], [0.5, 0, 0.6], atol=1e-12)
    np.testing.assert_allclose([silent.follows_wrong, told.recall_wrong], 1.0, rtol=1e-12)


def draw(with_hint, without, number):
    rng = np.random.default_rng(1)
    c = rng.choice(C, number, p=[0.3, 0.2, 0.3, 0.2])

    def responses(log_joint):
        cumulative = np.cumsum(np.exp(np.asarray(log_joint)).reshape(C, -1), axis=1)
        places = (rng.random(number)[:, None] > cumulative[c]).sum(1).clip(max=K * Z * Y - 1)
        return np.unravel_index(places, (K, Z, Y))

    _, thoughts, answers = responses(with_hint)
    speakers, blank_thoughts, _ = responses(without)
    odds = np.exp(np.asarray(with_hint))[c, speakers, blank_thoughts]
    swapped = (rng.random(number) > odds[:, 0] / odds.sum(1)).astype(int)
    others = responses(without)[2], responses(without)[2], swapped
    fields = (answers, np.asarray(SAYS)[thoughts], *others, HINTS[c], RIGHT[c])
    return hints.HintSamples(*map(jnp.asarray, fields))


def test_samples_estimate_the_exact_rates_within_their_standard_errors():
    with_hint, without = random(0), random(10)
    exact = use(with_hint, without)
    rates, errors = hints.hint_use_from_samples(draw(with_hint, without, 20_000))
    for name in hints.HintUse._fields:
        assert abs(getattr(rates, name) - getattr(exact, name)) < 5 * getattr(errors, name), name
        assert 0 < getattr(errors, name) < 0.02, name


def test_rates_estimated_from_what_the_policy_samples_agree_with_the_exact_ones():
    both = laws(random(0), random(10))
    exact, estimates = hints.hint_use(both), hints.estimated(jax.random.key(0), both, 20_000)
    for name, rate in exact._asdict().items():
        assert abs(estimates[f"sampled_{name}"] - rate) < 5 * estimates[f"sampled_{name}_se"], name


def test_the_control_without_hints_shows_nothing():
    """The same policy on both sides: a sampled effect within its error, and no exact one."""
    policy = random(4)[:1] + jnp.zeros((C, 1, 1, 1))
    rates, errors = hints.hint_use_from_samples(draw(policy, policy, 20_000))
    assert abs(rates.decides) < 5 * errors.decides < 0.05


@pytest.mark.slow_but("200")
@pytest.mark.parametrize("num", [50, 200, 1000])
def test_intervals_cover(num):
    """Also of rates near 1 and of those among few."""
    both = laws(random(0), random(10))
    made = jax.jit(jax.vmap(lambda key: hints.estimated(key, both, num)))(jax.random.split(jax.random.key(1), 400))
    for name, rate in hints.hint_use(both)._asdict().items():
        apart, error = made[f"sampled_{name}"] - rate, made[f"sampled_{name}_se"]
        seen = jnp.isfinite(apart)
        covered = (abs(apart) < 1.96 * error)[seen].mean()
        least, most = {50: (0.91, 1.0), 200: (0.92, 0.99), 1000: (0.92, 0.985)}[num]
        assert seen.mean() > 0.95 and least < covered <= most, (name, covered)
        if num == 1000:
            assert abs(apart[seen].std() / error[seen].mean() - 1) < 0.1, name


def test_a_rate_among_nothing_is_nan_and_one_of_all_has_an_error():
    three = jnp.zeros(3, int)
    rates, errors = hints.hint_use_from_samples(
        hints.HintSamples(three, jnp.zeros(3, bool), three + 1, three, three, three, three)
    )
    assert jnp.isnan(rates.precision) and jnp.isnan(errors.precision)
    assert rates.follows == 1
    np.testing.assert_allclose(errors.follows, np.sqrt(5 / 7 * 2 / 7 / 3), rtol=1e-12)
