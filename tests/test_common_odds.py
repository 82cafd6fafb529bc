"""One change of everybody's odds for all prompts: against a grid, SciPy's searches, and the R² of one regression."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from toypersona import common_odds, hulls, numerics, theory


def case(rng, num_prompts, num_personas, num_outcomes=12, spread=1.5):
    draw = lambda *shape: jax.nn.log_softmax(jnp.asarray(spread * rng.normal(size=shape)))  # noqa: E731
    return draw(num_prompts, num_outcomes), draw(num_prompts, num_personas), draw(
        num_prompts, num_personas, num_outcomes
    ), draw(num_prompts)  # fmt: skip


def distance(log_odds, log_policy, log_gates, log_personas, log_prompts):
    weights = np.exp(log_gates) * np.exp(log_odds)
    mix = np.einsum("ck,ckn->cn", weights / weights.sum(axis=1, keepdims=True), np.exp(log_personas))
    return float(np.exp(log_prompts) @ (np.exp(log_policy) * (log_policy - np.log(mix))).sum(axis=1))


@pytest.mark.slow
def test_hardly_ever_is_anything_on_a_grid_of_odds_nearer():
    """The set is not convex: of many policies far away few have a nearer point in another valley."""
    rng, project = np.random.default_rng(0), jax.jit(common_odds.project)
    grid, missed = np.linspace(-12, 12, 161), 0
    for _ in range(40):
        given = case(rng, 3, 2)
        found = project(*given)
        arrays = [np.asarray(x) for x in given]
        best = min(distance(np.array([a, 0.0]), *arrays) for a in grid)
        missed += float(found.distance) > best + 1e-6
        assert distance(np.asarray(found.log_odds), *arrays) == pytest.approx(float(found.distance), abs=1e-9)
        inside = jax.vmap(hulls.project)(given[0], given[2])
        assert float(jnp.exp(given[3]) @ (inside.distance - inside.gap)) <= float(found.distance) + 1e-12
    assert missed <= 1


def test_as_near_as_scipy_from_many_starts():
    rng, project = np.random.default_rng(1), jax.jit(common_odds.project)
    for _ in range(20):
        given = case(rng, 3, 3)
        arrays = [np.asarray(x) for x in given]
        tried = (
            optimize.minimize(lambda a, g=arrays: distance(np.append(a, 0.0), *g), start, method="Nelder-Mead").fun
            for start in 4 * rng.normal(size=(4, 2))
        )
        assert float(project(*given).distance) <= min(tried) + 1e-6


@pytest.mark.slow
def test_a_common_change_is_found_and_weak_rl_selects_the_r2_of_one_regression():
    rng = np.random.default_rng(2)
    _, log_gates, log_personas, log_prompts = case(rng, 3, 3, spread=0.7)
    log_odds = jnp.array([1.0, -0.4, -0.6])
    moved = numerics.log_mix(numerics.log_normalize(log_gates + log_odds[None]), log_personas)
    found = common_odds.project(moved, log_gates, log_personas, log_prompts)
    np.testing.assert_allclose(found.log_odds, log_odds, atol=1e-6)
    assert float(found.distance) == pytest.approx(0.0, abs=1e-12) and float(found.slope) < 1e-9
    log_base = numerics.log_mix(log_gates, log_personas)
    reward = jnp.asarray(rng.normal(size=log_base.shape))

    def fraction(strength):
        policy = theory.tilt(log_base, reward, strength)
        spent = jnp.exp(log_prompts) @ numerics.kl_divergence(policy, log_base)
        return 1 - common_odds.project(policy, log_gates, log_personas, log_prompts).distance / spent

    law = float(common_odds.weak_limit(log_gates, log_base, log_personas, reward, log_prompts))
    assert float(fraction(0.004) + fraction(-0.004)) / 2 == pytest.approx(law, abs=1e-4)
    assert law < float(theory.weak_limit(log_base, log_personas, reward, log_prompts)) - 0.01
