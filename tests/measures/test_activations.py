"""Oracles: planted readings and planes, histories listed as tuples, sums over responses in numpy."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains
from toypersona.measures import activations

WORDS, LENGTH, PROMPTS, PERSONAS = 4, 3, 3, 2
HISTORIES = [h for t in range(LENGTH) for h in itertools.product(range(WORDS), repeat=t)]
SIZES: dict[str, Any] = dict(num_words=WORDS, length=LENGTH)


FIT, R_SQUARED = jax.jit(activations.fit), jax.jit(activations.r_squared)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def uniform(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=shape))


def simplex(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1]))


def test_responsibilities_by_bayes_rule_over_listed_responses():
    gates, personas = simplex(0, PROMPTS, PERSONAS), simplex(1, PROMPTS, PERSONAS, WORDS**LENGTH)
    read = jax.jit(functools.partial(activations.responsibilities, **SIZES))
    found = read(jnp.log(gates), jnp.log(personas))
    responses = np.asarray(chains.outcomes(WORDS, LENGTH))
    for number, history in enumerate(HISTORIES):
        begins = (responses[:, : len(history)] == np.array(history, int)).all(axis=1)
        joint = np.asarray(gates) * np.asarray(personas)[..., begins].sum(-1)
        np.testing.assert_allclose(found[:, number], joint / joint.sum(-1, keepdims=True), rtol=1e-10)


def planted(noise):
    """Responsibilities that are linear in twelve activations of very different sizes, but for some noise."""
    features = normal(2, 200, 12) * jnp.logspace(0, -2, 12)[None] + 5
    targets = features @ normal(3, 12, PERSONAS) + jnp.array([[0.3, -2.0]]) + noise * normal(4, 200, PERSONAS)
    return features, targets, uniform(5, 200)


def test_a_planted_reading_is_found_and_fits_what_was_held_out():
    features, targets, weights = planted(0.0)
    linear = FIT(features[:100], targets[:100], weights[:100], ridge=0.0)
    np.testing.assert_allclose(linear.weights, normal(3, 12, PERSONAS), rtol=1e-7)
    np.testing.assert_allclose(linear.intercept, [0.3, -2.0], rtol=1e-7)
    held_out = features[100:], targets[100:], weights[100:]
    np.testing.assert_allclose(R_SQUARED(linear, *held_out), 1, atol=1e-12)
    usual = FIT(features[:100], targets[:100], weights[:100])
    np.testing.assert_allclose(R_SQUARED(usual, *held_out), 1, atol=1e-6)


def test_a_reading_is_weighted_least_squares_with_a_free_intercept():
    """Against numpy, rows scaled by roots of weights; the ridge as rows of its own."""
    features, targets, weights = planted(1.0)
    x, y, w = np.asarray(features), np.asarray(targets), np.asarray(weights / weights.sum())
    variance = np.cov(x.T, aweights=w, ddof=0).trace() / 12
    rows = np.r_[
        np.sqrt(w)[:, None] * np.c_[x, np.ones(200)], np.c_[np.sqrt(0.1 * variance) * np.eye(12), np.zeros(12)]
    ]
    solved = np.linalg.lstsq(rows, np.r_[np.sqrt(w)[:, None] * y, np.zeros((12, 2))], rcond=None)[0]
    linear = FIT(features, targets, weights, ridge=0.1)
    np.testing.assert_allclose(linear.weights, solved[:12], rtol=1e-8)
    np.testing.assert_allclose(linear.intercept, solved[12], rtol=1e-8)
    left, spread = y - x @ solved[:12] - solved[12], y - w @ y
    expected = 1 - np.sum(w[:, None] * left**2) / np.sum(w[:, None] * spread**2)
    np.testing.assert_allclose(R_SQUARED(linear, features, targets, weights), expected, rtol=1e-8)
    twice = FIT(features.repeat(2, axis=0), targets.repeat(2, axis=0), weights.repeat(2), ridge=0.1)
    np.testing.assert_allclose(twice.weights, linear.weights, rtol=1e-8)


def test_features_that_are_constant_or_dependent_read_what_there_is():
    targets, weights = normal(6, 50, PERSONAS), jnp.ones(50)
    nothing = FIT(jnp.full((50, 3), 2.0), targets, weights)
    np.testing.assert_allclose(nothing.weights, 0, atol=1e-12)
    np.testing.assert_allclose(nothing.intercept, targets.mean(axis=0), rtol=1e-10)
    group = jnp.arange(50) % 3
    hot = jax.nn.one_hot(group, 3)
    linear = FIT(hot, targets, weights)
    means = jnp.stack([targets[group == g].mean(axis=0) for g in range(3)])
    np.testing.assert_allclose(hot @ linear.weights + linear.intercept[None], means[group], atol=1e-5)


def test_noise_is_not_read_where_it_was_not_fitted():
    """The means over 200 draws of R² where it was fitted, and where not, below 0: of normal features known exactly."""

    def draw(key):
        x, y = (jax.random.normal(k, (200, n)) for k, n in zip(jax.random.split(key), (10, PERSONAS), strict=True))
        even = jnp.ones(100)
        linear = activations.fit(x[:100], y[:100], even)
        halves = (x[:100], y[:100], even), (x[100:], y[100:], even)
        return jnp.stack([activations.r_squared(linear, *half) for half in halves])

    found = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(7), 200)))
    expected = np.array([10 / 99, 1 - (1 + 1 / 100) * (98 / 88) / (1 - 1 / 100)])
    assert (np.abs(found.mean(axis=0) - expected) < 5 * found.std(axis=0) / np.sqrt(200)).all()


def test_a_split_holds_out_whole_first_words_and_one_whole_prompt():
    split = jax.jit(lambda key, out: activations.split(key, out, num_prompts=PROMPTS, **SIZES))
    halves = set()
    for seed in range(20):
        parts = jax.tree.map(np.asarray, split(jax.random.key(seed), 1))
        np.testing.assert_array_equal(sum(part.astype(int) for part in parts), 1)
        np.testing.assert_array_equal(parts.new_prompt, [[False] * 21, [True] * 21, [False] * 21])
        np.testing.assert_array_equal(parts.fitted[0], parts.fitted[2])
        first = {history[0] for history, fitted in zip(HISTORIES, parts.fitted[0], strict=True) if fitted and history}
        expected = [not history or history[0] in first for history in HISTORIES]
        np.testing.assert_array_equal(parts.fitted[0], expected)
        assert len(first) == 2
        halves.add(tuple(sorted(first)))
    assert len(halves) == 6, "every half of four words is drawn"
    with pytest.raises(ValueError, match="2 prompts, 2 words and a length of 2 or more, not 3, 4 and 1"):
        activations.split(jax.random.key(0), 1, num_prompts=3, num_words=4, length=1)


def test_scores_of_what_holds_at_some_prompts_only():
    """A reading that is the same at two prompts, and turned round at the one left out."""
    features = normal(8, PROMPTS, 21, 5)
    slopes = normal(9, 5, PERSONAS)
    targets = features @ slopes * jnp.array([1.0, -1.0, 1.0])[:, None, None]
    parts = activations.split(jax.random.key(0), 1, num_prompts=PROMPTS, **SIZES)
    visits = uniform(10, PROMPTS, 21)
    scores = jax.jit(activations.scores)
    same, new = scores(features, targets, visits, parts)
    np.testing.assert_allclose(same, 1, atol=1e-9)
    w, y = np.asarray(visits[1] / visits[1].sum()), np.asarray(targets[1])
    expected = 1 - (w @ (4 * y**2)).sum() / (w @ (y - w @ y) ** 2).sum()
    np.testing.assert_allclose(new, expected, rtol=1e-5)
    spoilt = targets + 100 * (parts.same_prompts & (jnp.arange(21) > 10)[None])[..., None]
    unread = scores(features, spoilt, jnp.where(spoilt[..., 0] > 50, 0.0, visits), parts)
    np.testing.assert_allclose(unread, (1, expected), rtol=1e-5)


def test_last_words_are_told_apart_by_position_and_nothing_else():
    found = np.asarray(activations.last_words(WORDS, LENGTH))
    assert found.shape == (21, 1 + 2 * WORDS)
    np.testing.assert_array_equal(found.sum(axis=1), 1)
    for (i, one), (j, other) in itertools.combinations(enumerate(HISTORIES), 2):
        same = len(one) == len(other) and one[-1:] == other[-1:]
        assert (found[i] == found[j]).all() == same


def test_planted_moves_along_and_off_planes_that_differ_from_history_to_history():
    """Three personas at the corners of a triangle of known size, in a plane turned at random at every history."""
    num, depth = 40, 6
    turned = np.stack([np.linalg.qr(m)[0] for m in np.asarray(normal(13, num, depth, depth))])
    corners = np.array([[2.0, 0, 0, 0, 0, 0], [-1, 3, 0, 0, 0, 0], [-1, -3, 0, 0, 0, 0]])
    personas = corners @ turned + np.asarray(normal(14, num, 1, depth))
    inside, outside = np.zeros((num, depth)), np.zeros((num, depth))
    inside[:, :2], outside[:, 2:] = np.asarray(normal(15, num, 2)), np.asarray(normal(16, num, 4))
    origin, weights = normal(17, num, depth), uniform(18, num)
    move = np.einsum("sd,sde->se", inside + outside, turned)
    found = jax.jit(activations.moves)(origin + move, origin, jnp.asarray(personas), weights)
    share = np.asarray(weights / weights.sum())
    scale = np.sqrt((corners**2).sum() / 3)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-10)
    np.testing.assert_allclose(found.along, np.sqrt(share @ (inside**2).sum(1)) / scale, rtol=1e-10)
    np.testing.assert_allclose(found.off, np.sqrt(share @ (outside**2).sum(1)) / scale, rtol=1e-10)
    whole = np.sqrt(share @ (move**2).sum(1)) / scale
    np.testing.assert_allclose(np.hypot(found.along, found.off), whole, rtol=1e-10)


@pytest.mark.parametrize("alike", [1, 2])
def test_mixes_of_personas_are_in_their_plane_also_where_two_are_alike(alike):
    """The first ``alike`` of three are the same: of two, their line is all that is left of the plane."""
    personas = normal(19, 30, 3, 5)
    personas = personas.at[:, :alike].set(personas[:, :1])
    centre = personas.mean(axis=1)
    mixed = jnp.einsum("sk,skd->sd", simplex(20, 30, 3), personas)
    moved = activations.moves(mixed, centre, personas, jnp.ones(30))
    np.testing.assert_allclose(moved.off, 0, atol=1e-12)
    line = personas[:, 2] - personas[:, 0]
    move = normal(21, 30, 5)
    if alike == 2:
        along = (move * line).sum(axis=1) ** 2 / (line**2).sum(axis=1)
        moved = activations.moves(centre + move, centre, personas, jnp.ones(30))
        np.testing.assert_allclose((moved.along * moved.scale) ** 2, along.mean(), rtol=1e-10)
