import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import rel_entr, softmax

from toypersona import hulls, numerics, rewards, theory

C, K, N = 3, 3, 40
LOG_PROMPTS = jnp.log(jnp.array([0.5, 0.3, 0.2]))


def world(seed):
    keys = jax.random.split(jax.random.key(seed))
    log_personas = jax.nn.log_softmax(jax.random.normal(keys[0], (C, K, N)))
    log_gates = jax.nn.log_softmax(jax.random.normal(keys[1], (C, K)))
    return log_gates, log_personas, numerics.log_mix(log_gates, log_personas)


def test_tangent_fit_is_weighted_least_squares():
    _, log_personas, log_base = world(0)
    values = jax.random.normal(jax.random.key(1), (N,))
    p, base = np.exp(log_personas[0]), np.exp(log_base[0])
    design = p / base
    coefficients = np.linalg.solve((design * base) @ design.T, (design * base) @ np.asarray(values))
    np.testing.assert_allclose(
        hulls.tangent_fit(log_base[0], log_personas[0], values), coefficients @ design, rtol=1e-8
    )


@pytest.mark.slow
def test_tangent_fit_leaves_an_orthogonal_rest_whatever_the_personas():
    def rest(seed, duplicate):
        _, log_personas, log_base = world(seed)
        one = log_personas[0].at[1].set(jnp.where(duplicate, log_personas[0, 0], log_personas[0, 1]))
        base = numerics.log_mix(jnp.log(jnp.full(K, 1 / K)), one)
        values = jax.random.normal(jax.random.key(seed + 1000), (N,))
        return jnp.exp(one) @ (values - hulls.tangent_fit(base, one, values))

    seeds = jnp.arange(100)
    np.testing.assert_allclose(jax.vmap(rest)(seeds, seeds % 2 == 0), 0, atol=1e-10)


def test_tangent_fit_with_impossible_outcomes():
    _, log_personas, _ = world(2)
    one = jax.nn.log_softmax(log_personas[0].at[:, :5].set(-jnp.inf))
    base = numerics.log_mix(jnp.log(jnp.full(K, 1 / K)), one)
    fitted = hulls.tangent_fit(base, one, jnp.arange(N) * 1.0)
    assert jnp.isfinite(fitted).all()
    np.testing.assert_array_equal(fitted[:5], 0)


def paid_at_both_ends(seed):
    log_gates, log_personas, log_base = world(seed)
    affine = rewards.persona_affine(log_gates, log_personas, jnp.array([0.0, 0.0, 1.0]))
    feature = jax.random.normal(jax.random.key(seed + 5), (C, N))
    hull = log_base, log_personas
    ends = jnp.stack([rewards.at_angle(t, affine, feature, *hull, LOG_PROMPTS) for t in (0.0, jnp.pi / 2)])
    return hull, ends


def test_persona_gain_of_the_tilt_is_one():
    hull, ends = paid_at_both_ends(6)
    gain = theory.persona_gain(*hull, ends, ends, LOG_PROMPTS)
    np.testing.assert_allclose([gain.kappa, gain.rayleigh], 1, rtol=1e-9)
    theta = jnp.linspace(0, 1.5, 7)
    np.testing.assert_allclose(gain.curve(theta), jnp.cos(theta) ** 2, rtol=1e-9)


def test_persona_gain_gives_the_whole_curve_where_nothing_leaks():
    hull, ends = paid_at_both_ends(7)
    moved = jnp.stack([2.0 * ends[0], 0.6 * ends[1]])
    gain = theory.persona_gain(*hull, ends, moved, LOG_PROMPTS)
    np.testing.assert_allclose(gain.kappa, 0.3, rtol=1e-9)
    for theta in np.linspace(0.1, 1.5, 6):
        direction = np.cos(theta) * moved[0] + np.sin(theta) * moved[1]
        np.testing.assert_allclose(
            gain.curve(jnp.asarray(theta)), theory.weak_limit(*hull, direction, LOG_PROMPTS), rtol=1e-9
        )


def test_the_grams_of_a_persona_gain_are_those_of_the_directions():
    hull, ends = paid_at_both_ends(8)
    moved = ends + 0.5 * jax.random.normal(jax.random.key(3), ends.shape)
    gain = theory.persona_gain(*hull, ends, moved, LOG_PROMPTS)
    for theta in np.linspace(0.0, np.pi / 2, 6):
        mix = np.array([np.cos(theta), np.sin(theta)])
        inside, outside = (mix @ np.asarray(gram) @ mix for gram in (gain.explained, gain.unexplained))
        direction = jnp.einsum("i,icn->cn", mix, moved)
        np.testing.assert_allclose(
            inside / (inside + outside), theory.weak_limit(*hull, direction, LOG_PROMPTS), rtol=1e-9
        )
    # Orthogonal parts of the direction make it move what the reward does not pay for: the quotient misses them.
    assert gain.rayleigh < gain.kappa


def test_angle_family_has_the_angle_it_names():
    log_gates, log_personas, log_base = world(3)
    affine = rewards.persona_affine(log_gates, log_personas, jnp.array([0.0, 0.0, 1.0]))
    feature = jax.random.normal(jax.random.key(5), (C, N))
    for theta in np.linspace(0, np.pi / 2, 7):
        reward = rewards.at_angle(theta, affine, feature, log_base, log_personas, LOG_PROMPTS)
        predicted = theory.weak_limit(log_base, log_personas, reward, LOG_PROMPTS)
        np.testing.assert_allclose(predicted, np.cos(theta) ** 2, atol=1e-10)
        np.testing.assert_allclose(numerics.expectation(log_base, reward), 0, atol=1e-12)
        np.testing.assert_allclose(jnp.exp(LOG_PROMPTS) @ numerics.expectation(log_base, reward**2), 1, rtol=1e-10)


def test_weak_limit_of_persona_affine_rewards_is_one_and_of_k_one_zero():
    log_gates, log_personas, log_base = world(4)
    affine = rewards.persona_affine(log_gates, log_personas, jnp.array([0.3, -1.0, 2.0]))
    np.testing.assert_allclose(theory.weak_limit(log_base, log_personas, affine, LOG_PROMPTS), 1, rtol=1e-10)
    single = log_personas[:, :1]
    limit = theory.weak_limit(single[:, 0], single, affine, LOG_PROMPTS)
    np.testing.assert_allclose(limit, 0, atol=1e-10)


def test_angle_of_the_ends():
    np.testing.assert_allclose(theory.angle(jnp.array([1.0, 0.75, 0.0, 1 + 1e-15])), [0, np.pi / 6, np.pi / 2, 0])


@pytest.mark.slow
def test_a_tilt_is_a_mix_of_tilted_personas_for_a_hundred_worlds():
    def errors(seed):
        log_gates, log_personas, log_base = world(seed)
        reward = jax.random.normal(jax.random.key(seed + 500), (C, N))
        parts = theory.factorise(log_gates, log_personas, reward, 1.3, LOG_PROMPTS)
        tilted = theory.tilt(log_base, reward, 1.3)
        nearest = jax.vmap(lambda p, q: hulls.project(p, q, tolerance=1e-10).distance)(tilted, log_personas)
        rho = jnp.exp(LOG_PROMPTS)
        return (
            jnp.abs(numerics.log_mix(parts.log_weights, parts.log_personas) - tilted).max(),
            parts.total - rho @ numerics.kl_divergence(tilted, log_base),
            parts.distortion - rho @ nearest,
        )

    mixed, total, slack = jax.jit(jax.vmap(errors))(jnp.arange(100))
    np.testing.assert_allclose(mixed, 0, atol=1e-12)
    np.testing.assert_allclose(total, 0, atol=1e-12)
    assert (slack > 1e-4).all()


@pytest.mark.slow
def test_distortion_is_the_hull_distance_where_personas_share_no_response():
    _, log_personas, _ = world(5)
    apart = jnp.where(jnp.arange(N)[None] % K == jnp.arange(K)[:, None], log_personas[0], -jnp.inf)
    apart = jax.nn.log_softmax(apart)[None]
    log_gates, reward = jnp.log(jnp.array([[0.5, 0.3, 0.2]])), jax.random.normal(jax.random.key(1), (1, N))
    parts = theory.factorise(log_gates, apart, reward, 2.0, jnp.zeros(1))
    nearest = hulls.project(theory.tilt(numerics.log_mix(log_gates, apart), reward, 2.0)[0], apart[0], tolerance=1e-12)
    np.testing.assert_allclose(parts.distortion, nearest.distance, rtol=1e-10)
    np.testing.assert_allclose(jnp.exp(parts.log_weights[0]), nearest.weights, atol=1e-6)


@pytest.mark.parametrize("mass", [1e-2, 1e-6, 1e-12])
def test_exploit_has_half_of_the_tilt_at_its_takeover_and_the_slope_it_says(mass):
    log_base = jnp.log(jnp.array([mass, 0.4 * (1 - mass), 0.6 * (1 - mass)]))
    predicted = theory.exploit(jnp.log(mass), 2.5)
    share = lambda log_s: jnp.exp(theory.tilt(log_base, jnp.array([2.5, 0.0, 0.0]), jnp.exp(log_s))[0])  # noqa: E731
    value, slope = jax.value_and_grad(share)(jnp.log(predicted.strength))
    np.testing.assert_allclose(value, 0.5, rtol=1e-10)
    np.testing.assert_allclose(slope, predicted.sharpness, rtol=1e-10)


def flow(log_base, right, end):
    """Vanilla policy gradient in continuous time on softmax logits, by SciPy."""

    def velocity(_, logits):
        p = softmax(logits)
        return p * (right - p @ right)

    return solve_ivp(velocity, (0, end), log_base, rtol=1e-10, atol=1e-12, method="LSODA").y[:, -1]


@pytest.mark.parametrize("mass, num_others", [(0.05, 1), (0.01, 3), (0.002, 50)])
def test_time_to_half_as_by_solving_the_flow(mass, num_others):
    log_base = np.log([mass, *[(1 - mass) / num_others] * num_others])
    right = np.eye(num_others + 1)[0]
    times = theory.time_to_half(jnp.array(mass), num_others)
    np.testing.assert_allclose(softmax(flow(log_base, right, times.vanilla))[0], 0.5, atol=1e-6)
    np.testing.assert_allclose(theory.tilt(jnp.asarray(log_base), jnp.asarray(right), times.natural)[0], np.log(0.5))


def test_surviving_odds_as_by_solving_the_flow():
    base = np.array([0.02, 0.015, 0.01, 0.5, 0.455])
    logits = flow(np.log(base), np.array([1, 1, 1, 0, 0.0]), 1e4)
    p = softmax(logits)
    odds = theory.surviving_odds(jnp.log(base[0]), jnp.log(base[1:3]), logits[0] - np.log(base[0]))
    assert (odds < 0.1).all()
    np.testing.assert_allclose(p[1:3] / p[0], odds, rtol=1e-6)
    np.testing.assert_allclose(theory.surviving_odds(jnp.log(0.2), jnp.log(jnp.array([0.1])), 0.0), [0.5])


@pytest.mark.slow_but("0.02-0.01")
@pytest.mark.parametrize("learning_rate, gap", [(0.01, 0.01), (0.02, 0.01), (0.01, 0.02)])
def test_lock_in_as_by_solving_the_random_walk(learning_rate, gap):
    """h(z) = p h(after the better answer) + (1 - p) h(after the worse), on a grid: no diffusion anywhere."""
    better, worse = 1 + gap / 2, 1 - gap / 2
    end = np.log(9)
    grid = np.linspace(-end, end, 4001)
    p = 1 / (1 + np.exp(-grid))
    step = grid[1] - grid[0]

    def weights(to):
        place = (np.clip(to, -end, end) + end) / step
        low = np.minimum(place.astype(int), len(grid) - 2)
        rows = np.zeros((len(grid), len(grid)))
        np.add.at(rows, (np.arange(len(grid)), low), 1 - (place - low))
        np.add.at(rows, (np.arange(len(grid)), low + 1), place - low)
        return rows

    up, down = grid + 2 * learning_rate * better * (1 - p), grid - 2 * learning_rate * worse * p
    walk = p[:, None] * weights(up) + (1 - p)[:, None] * weights(down)
    walk[[0, -1]] = 0
    wrong = np.linalg.solve(np.eye(len(grid)) - walk, np.eye(len(grid))[0])
    predicted = theory.lock_in(gap, 0.5 * (better**2 + worse**2), learning_rate)
    np.testing.assert_allclose(wrong[len(grid) // 2], predicted, rtol=0.03)


def test_at_the_noise_threshold_so_many_runs_are_wrong():
    gap, mean_square = jnp.array(0.07), jnp.array(1.3)
    for share, wrong in ((0.9, 0.1), (0.99, 0.2)):
        rate = theory.noise_threshold(gap, mean_square, share=share, wrong=wrong)
        np.testing.assert_allclose(theory.lock_in(gap, mean_square, rate, share=share), wrong, rtol=1e-12)


def test_best_of_n_as_by_every_draw():
    log_base = jax.nn.log_softmax(jax.random.normal(jax.random.key(1), (2, 6)) * 2)
    reward = jnp.array([[1.0, 3.0, 2.0, 3.0, 0.0, 2.0], [0.1, 0.5, 0.4, -1.0, 0.2, 0.3]])
    for num in (1, 2, 4):
        by_hand = np.zeros((2, 6))
        for c, p in enumerate(np.exp(np.asarray(log_base))):
            for draws in itertools.product(range(6), repeat=num):
                best = draws[int(np.argmax(np.asarray(reward)[c, list(draws)]))]
                by_hand[c, best] += np.prod(p[list(draws)])
        np.testing.assert_allclose(jnp.exp(theory.best_of_n(log_base, reward, num)), by_hand, rtol=1e-10)


@pytest.mark.slow
def test_best_of_n_keeps_the_bound_and_reaches_it_where_rewards_are_continuous():
    def divergence(seed, num):
        keys = jax.random.split(jax.random.key(seed))
        log_base = jax.nn.log_softmax(jax.random.normal(keys[0], (50,)) * 2)
        reward = jnp.round(jax.random.normal(keys[1], (50,)), 1)
        return numerics.kl_divergence(theory.best_of_n(log_base, reward, num), log_base)

    nums = jnp.array([1.0, 2.0, 3.5, 10.0, 1000.0])
    found = jax.vmap(lambda seed: jax.vmap(lambda n: divergence(seed, n))(nums))(jnp.arange(100))
    assert (found <= theory.best_of_n_bound(nums)[None] + 1e-12).all()
    many = 200_000
    even = jnp.full(many, -jnp.log(many))
    reached = numerics.kl_divergence(theory.best_of_n(even, jnp.arange(many) * 1.0, 16.0), even)
    np.testing.assert_allclose(reached, theory.best_of_n_bound(jnp.asarray(16.0)), atol=1e-3)


def test_best_of_n_at_the_edges():
    log_base = jnp.log(jnp.array([0.5, 0.5 - 1e-12, 0.0, 1e-12]))
    np.testing.assert_allclose(theory.best_of_n(log_base, jnp.arange(4) * 1.0, 1), log_base, atol=1e-9)
    np.testing.assert_allclose(theory.best_of_n(log_base, jnp.ones(4), 7), log_base, atol=1e-9)
    rare = jnp.exp(theory.best_of_n(log_base, jnp.arange(4) * 1.0, 1000))
    np.testing.assert_allclose(rare[2:], [0, 1e-9], rtol=1e-6)


@pytest.mark.parametrize("dtype, digits", [("float64", 1e-9), ("float32", 2e-4)])
def test_laws_where_prompts_words_and_personas_have_no_probability_as_by_numpy(dtype, digits):
    rng = np.random.default_rng(3)
    num, (num_prompts, num_personas, num_words) = 100, (2, 3, 8)
    personas = rng.dirichlet(np.full(num_words, 0.5), (num, num_prompts, num_personas))
    personas *= rng.random((num, num_prompts, 1, num_words)) < 0.7
    # In every fourth world the last persona can say nothing, and in every third the second prompt is never asked.
    personas[::4, :, -1] = 0
    gates = rng.dirichlet(np.ones(num_personas), (num, num_prompts))
    gates[1::4, :, 1] = 0
    gates[::4, :, -1] = 0
    prompts = np.where(np.arange(num)[:, None] % 3, [0.3, 0.7], [1.0, 0.0])
    size = personas.sum(-1, keepdims=True)
    personas, gates = personas / np.where(size > 0, size, 1), gates * (size[..., 0] > 0)
    gates /= gates.sum(-1, keepdims=True)
    base = (gates[..., None] * personas).sum(2)
    paid = np.where((base > 0) & (prompts[..., None] > 0), rng.normal(size=base.shape), np.nan)

    @jax.jit
    @jax.vmap
    def made(gates, personas, prompts, paid, base):
        log_gates, log_personas, log_prompts, log_base = map(jnp.log, (gates, personas, prompts, base))
        parts = theory.factorise(log_gates, log_personas, paid, 1.5, log_prompts)
        tilt = theory.tilt(log_base, paid, 1.5)
        return parts, tilt, theory.best_of_n(log_base, paid, 5.5)

    parts, tilt, best = made(*(np.asarray(x, dtype) for x in (gates, personas, prompts, paid, base)))
    near = {"rtol": digits, "atol": digits}
    worth = np.where(np.isnan(paid), 0.0, np.exp(1.5 * paid))
    asked = prompts[..., None] > 0
    tilted = base * worth / np.where(asked, (base * worth).sum(-1, keepdims=True), 1)
    np.testing.assert_allclose(np.where(asked, np.exp(tilt), 0), np.where(asked, tilted, 0), **near)
    value = (personas * worth[:, :, None]).sum(-1)
    weights = gates * value / np.where(asked, (gates * value).sum(-1, keepdims=True), 1)
    np.testing.assert_allclose(np.where(asked, np.exp(parts.log_weights), 0), np.where(asked, weights, 0), **near)
    spent = (prompts * rel_entr(tilted, base).sum(-1)).sum(-1)
    chosen = (prompts * rel_entr(weights, gates).sum(-1)).sum(-1)
    np.testing.assert_allclose(parts.total, spent, **near)
    np.testing.assert_allclose(parts.distortion, spent - chosen, **near)
    # The best of n pays at most r with probability F(r)^n.
    order = np.argsort(paid, axis=-1)
    law = lambda p: np.cumsum(np.take_along_axis(np.where(asked, p, 0), order, -1), -1)  # noqa: E731
    np.testing.assert_allclose(law(np.exp(best)), np.clip(law(base), 0, None) ** 5.5, **near)


def test_the_best_of_a_great_many_is_not_lost_to_rounding():
    """In float32 F^n of F = 1 - 1e-6 is read from what lies above: F itself is known to 6e-8."""
    base = np.array([0.5, 0.4999, 1e-4 - 1e-6, 1e-6])
    for dtype, digits in (("float32", 1e-4), ("float64", 1e-9)):
        found = theory.best_of_n(jnp.log(jnp.asarray(base, dtype)), jnp.arange(4, dtype=dtype), 1e6)
        np.testing.assert_allclose(np.exp(found[3]), -np.expm1(1e6 * np.log1p(-1e-6)), rtol=digits)


@pytest.mark.parametrize("dtype, digits", [("float64", 1e-12), ("float32", 1e-5)])
def test_times_and_odds_keep_their_digits_at_their_ends(dtype, digits):
    mass = np.array([0.5, 0.5 - 2**-13, 0.25, 1e-6])
    times = theory.time_to_half(jnp.asarray(mass, dtype), 3.0)
    log_odds = np.log1p((1 - 2 * mass) / mass)
    np.testing.assert_allclose(times.natural, log_odds, rtol=digits)
    np.testing.assert_allclose(times.vanilla, ((1 - 2 * mass) / (mass * (1 - mass)) + 2 * log_odds) * 0.75, rtol=digits)
    # As likely answers stay so however far the logit rises; any other dies out.
    log_others = jnp.log(jnp.asarray([0.2, 0.1, 0.0], dtype))
    for rise, odds in ((0.0, [1, 0.5, 0]), (1.0, [1, 1 / (1 + np.e), 0]), (2000.0, [1, 0, 0]), (np.inf, [1, 0, 0])):
        found = theory.surviving_odds(log_others[0], log_others, jnp.asarray(rise, dtype))
        np.testing.assert_allclose(found, odds, rtol=digits)
