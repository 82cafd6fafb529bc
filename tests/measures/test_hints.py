import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona.measures import hints

C, Z, Y = 4, 3, 2
HINTS, RIGHT = jnp.array([0, 0, 1, 1]), jnp.array([0, 1, 1, 0])
SAYS = jnp.array([False, True, False])
LOG_PROMPTS = jnp.log(jnp.array([0.3, 0.2, 0.3, 0.2])) - 0.7


def random(seed):
    return jax.nn.log_softmax(2 * jax.random.normal(jax.random.key(seed), (C, Z * Y))).reshape(C, Z, Y)


def use(with_hint, without):
    return hints.hint_use(hints.Laws(with_hint, without, HINTS, RIGHT, SAYS, LOG_PROMPTS))


@pytest.mark.parametrize("seed", range(3))
def test_rates_as_counted_over_every_pair_of_responses(seed):
    with_hint, without = random(seed), random(seed + 10)
    rho = np.array([0.3, 0.2, 0.3, 0.2])
    counts = {name: 0.0 for name in ("open", "follow", "again", "says", "both", "wrong", "wrong_follow", "wrong_says")}
    accuracy = 0.0
    for c in range(C):
        hint, p, q = int(HINTS[c]), np.exp(np.asarray(with_hint[c])), np.exp(np.asarray(without[c])).sum(0)
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


def test_a_hint_that_changes_nothing_decides_nothing():
    policy = random(4)[:1] + jnp.zeros((C, 1, 1))
    np.testing.assert_allclose(use(policy, policy).decides, 0.0, atol=1e-15)


def test_one_who_says_so_and_one_who_does_not():
    """Whoever takes every hint decides by it alone; saying so makes recall 1, silence 0."""

    def takes(thought):
        joint = np.full((C, Z, Y), 1e-30)
        joint[np.arange(C), thought, np.asarray(HINTS)] = 1.0
        return jnp.log(jnp.asarray(joint))

    without = jnp.log(jnp.full((C, Z, Y), 1 / 6))
    told, silent = use(takes(1), without), use(takes(0), without)
    np.testing.assert_allclose([told.decides, told.recall, told.precision], [0.5, 1, 1], atol=1e-12)
    np.testing.assert_allclose([silent.decides, silent.recall, silent.accuracy], [0.5, 0, 0.6], atol=1e-12)
    np.testing.assert_allclose([silent.follows_wrong, told.recall_wrong], 1.0, rtol=1e-12)


def draw(with_hint, without, number):
    rng = np.random.default_rng(1)
    c = rng.choice(C, number, p=[0.3, 0.2, 0.3, 0.2])

    def responses(log_joint):
        cumulative = np.cumsum(np.exp(np.asarray(log_joint)).reshape(C, -1), axis=1)
        return np.unravel_index((rng.random(number)[:, None] > cumulative[c]).sum(1).clip(max=Z * Y - 1), (Z, Y))

    thoughts, answers = responses(with_hint)
    fields = (answers, np.asarray(SAYS)[thoughts], responses(without)[1], responses(without)[1], HINTS[c], RIGHT[c])
    return hints.HintSamples(*map(jnp.asarray, fields))


def test_samples_estimate_the_exact_rates_within_their_standard_errors():
    with_hint, without = random(0), random(10)
    exact = use(with_hint, without)
    rates, errors = hints.hint_use_from_samples(draw(with_hint, without, 20_000))
    for name in hints.HintUse._fields:
        assert abs(getattr(rates, name) - getattr(exact, name)) < 5 * getattr(errors, name), name
        assert 0 < getattr(errors, name) < 0.02, name


def test_rates_estimated_from_what_the_policy_samples_agree_with_the_exact_ones():
    laws = hints.Laws(random(0), random(10), HINTS, RIGHT, SAYS, LOG_PROMPTS)
    exact, estimates = hints.hint_use(laws), hints.estimated(jax.random.key(0), laws, 20_000)
    for name, rate in exact._asdict().items():
        assert abs(estimates[f"sampled_{name}"] - rate) < 5 * estimates[f"sampled_{name}_se"], name


def test_the_control_without_hints_shows_nothing():
    """The same policy on both sides: a sampled effect within its error, and no exact one."""
    policy = random(4)[:1] + jnp.zeros((C, 1, 1))
    rates, errors = hints.hint_use_from_samples(draw(policy, policy, 20_000))
    assert abs(rates.decides) < 5 * errors.decides < 0.05


@pytest.mark.slow_but("200")
@pytest.mark.parametrize("num", [50, 200, 1000])
def test_intervals_cover(num):
    """Also of rates near 1 and of those among few."""
    laws = hints.Laws(random(0), random(10), HINTS, RIGHT, SAYS, LOG_PROMPTS)
    made = jax.jit(jax.vmap(lambda key: hints.estimated(key, laws, num)))(jax.random.split(jax.random.key(1), 400))
    for name, rate in hints.hint_use(laws)._asdict().items():
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
        hints.HintSamples(three, jnp.zeros(3, bool), three + 1, three, three, three)
    )
    assert jnp.isnan(rates.precision) and jnp.isnan(errors.precision)
    assert rates.follows == 1
    np.testing.assert_allclose(errors.follows, np.sqrt(5 / 7 * 2 / 7 / 3), rtol=1e-12)
