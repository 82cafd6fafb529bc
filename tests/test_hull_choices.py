"""Other hulls: against the drift budget where they are its own, brute force elsewhere, and what wrong ones do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import bases, hull_choices, numerics, persona_choices, rewards, theory
from toypersona.worlds import markov

STRENGTHS = jnp.array([0.1, 1.0, 4.0])


@pytest.fixture(scope="module")
def base():
    return bases.true(*markov.markov(jax.random.key(0), num_words=4, num_prompts=2, concentration=1.0), 2)


@pytest.fixture(scope="module")
def paid(base):
    """Rewards at two angles."""
    feature = jax.random.normal(jax.random.key(1), base.log_base.shape)
    return jnp.stack([base.reward_at_angle(angle, 0, feature) for angle in (20.0, 50.0)])


@pytest.fixture(scope="module")
def paths(base, paid):
    return hull_choices.paths(jax.random.key(2), (base, base), paid, STRENGTHS, time=2.0, step=1.0)


@pytest.mark.slow
def test_the_budget_s_own_divergence_is_the_budget_s(base, paid, paths):
    policies, limits = paths
    budgets, laws = hull_choices.by_divergence(base, policies, paid, 1e4)
    spent = base.budget_along(policies[0, 1])
    for name in ("total", "hull_distance", "selection_fraction"):
        np.testing.assert_allclose(budgets[name][0, 0, 1], getattr(spent, name), atol=1e-9)
    assert budgets["certified"].all() and budgets["selection_fraction"].shape == (3, 3, 2, 3)
    np.testing.assert_allclose(limits[0, :, 0], np.cos(np.deg2rad([20.0, 50.0])) ** 2, atol=1e-9)
    np.testing.assert_allclose(laws["strong"], laws["strong_limit"], atol=2e-3)


@pytest.mark.slow
def test_a_common_change_selects_no_more_than_a_mix_for_every_prompt(base, paid, paths):
    policies, limits = paths
    common, words = hull_choices.with_common_odds(jax.random.key(3), base, policies, STRENGTHS)
    budgets, _ = hull_choices.by_divergence(base, policies, paid, 1e4)
    assert (common["common_fraction"] <= budgets["selection_fraction"][0] + 1e-9).all()
    assert (limits[..., 1] <= limits[..., 0] + 1e-9).all()
    assert float(words["common_words_limit"]) <= float(words["words_limit"])


@pytest.mark.slow
def test_the_base_is_no_one_mix(base):
    distance, information = hull_choices.base_as_one_mix(base)
    steps = np.linspace(0, 1, 201)
    weights = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-12])
    alike = lambda w: jnp.broadcast_to(jnp.log(w), (base.rho.size, w.size))  # noqa: E731
    mixes = jax.vmap(lambda w: numerics.log_mix(alike(w), base.log_personas))(jnp.clip(weights, min=1e-12))
    grid = jax.vmap(lambda mix: base.rho @ numerics.kl_divergence(base.log_base, mix))(mixes).min()
    assert float(distance) == pytest.approx(float(grid), abs=1e-4) and distance <= grid
    assert 0 < float(distance) <= float(information)


@pytest.mark.slow
def test_other_personas(base, paid):
    around = persona_choices.personas(jax.random.key(4), base)
    around["blurred"] = persona_choices.blurred(
        base.log_personas, persona_choices.stranger(jax.random.key(4), base), 0.05
    )
    for given in around.values():
        np.testing.assert_allclose(jnp.exp(given).sum(axis=-1), 1.0, atol=1e-12)
    tilts = jax.vmap(lambda s: theory.tilt(base.log_base, paid[0], s))(STRENGTHS)[None]
    names, given = [*around], persona_choices.stacked(around)
    found = persona_choices.by_personas(base, given, tilts)
    own, at = base.budget_along(tilts[0]).selection_fraction, dict(zip(names, range(len(names)), strict=True))
    for name in ("all", "and their mean"):
        np.testing.assert_allclose(found["selection_fraction"][at[name], 0], own, atol=1e-9)
    assert (found["selection_fraction"][at["and a stranger"], 0] >= own - 1e-9).all()
    inside = np.array([name in persona_choices.RIGHT for name in names])
    assert ((np.asarray(found["misfit"]) < 1e-9) == inside).all() and found["certified"].all()
    left = np.asarray(found["misfit"])[[at[f"without {name}"] for name in base.labels.personas]]
    assert (left <= np.asarray(persona_choices.in_proportion(base)) + 1e-12).all()
    passed = persona_choices.passed(jax.random.key(5), base, given, tilts[0, 1], num_samples=200, num_draws=20)
    assert (np.asarray(passed)[inside] >= 0.95).all()
    assert (np.asarray(passed)[[at["without memory"], at["without A"]]] == 0).all()


def test_personas_without_memory_say_each_word_as_often(base):
    given = persona_choices.personas(jax.random.key(4), base)["without memory"]
    first = jnp.exp(given).reshape(2, 3, 4, 4)
    np.testing.assert_allclose(first.sum(axis=3), first.sum(axis=2), atol=1e-12)
    joint = jnp.exp(base.log_personas).reshape(2, 3, 4, 4)
    often = jnp.einsum("c,ckv->kv", base.rho, (joint.sum(axis=3) + joint.sum(axis=2)) / 2)
    np.testing.assert_allclose(first.sum(axis=3)[0], often, atol=1e-12)
    words = rewards.evaluate(rewards.word_scores(jnp.arange(4.0)), base.prompts, base.responses)
    mean = lambda law: jnp.einsum("c,ckn,cn->k", base.rho, jnp.exp(law), words)  # noqa: E731
    np.testing.assert_allclose(mean(given), mean(base.log_personas), atol=1e-12)
