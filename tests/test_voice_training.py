"""Against autodiff and finite differences of the policy written out, on a tiny model whose answers are listed."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_language_model import MODEL, WORDS

from toypersona import spoken, voice_training
from toypersona.voice_training import Asked, Trained

PROMPTS = ["abc", "gfedeg", "a"]
LENGTH, TEMPERATURE = 2, 0.7
ALL = jnp.array(list(itertools.product(range(WORDS), repeat=LENGTH)))
ASKED = Asked(*spoken.encoded(MODEL, PROMPTS), TEMPERATURE)


def trained(seed):
    """A policy that is no longer the base."""
    rng = np.random.default_rng(seed)
    fresh = voice_training.untrained(jax.random.key(seed), MODEL, len(PROMPTS), 2)
    moved = jax.tree.map(lambda x: x + 0.3 * rng.normal(size=x.shape), fresh.adapters)
    return Trained(moved, jnp.asarray(rng.normal(size=len(PROMPTS))))


def log_voices(policy):
    """Log p_k of all answers; those that end at once are said once."""
    model = voice_training.adapted(MODEL, policy)
    scored = spoken.score(model, spoken.read(model, PROMPTS), ALL, temperature=TEMPERATURE).sum(axis=2)
    again = (np.asarray(MODEL.ends)[ALL[:, 0]]) & (ALL[:, 1] != 0)
    return jnp.where(again[None], -jnp.inf, scored)


def mean_reward(policy, rewards):
    probs = jax.nn.softmax(policy.gates) @ jnp.exp(log_voices(policy))
    return probs @ rewards


def test_fresh_adapters_and_even_gates_are_the_base():
    fresh = voice_training.untrained(jax.random.key(0), MODEL, len(PROMPTS), 2)
    base = spoken.score(MODEL, spoken.read(MODEL, PROMPTS), ALL, temperature=TEMPERATURE).sum(axis=2)
    found = log_voices(fresh)
    np.testing.assert_array_equal(np.where(np.isneginf(found), 0, found), np.where(np.isneginf(found), 0, base))
    np.testing.assert_allclose(jnp.exp(found).sum(axis=1), 1, rtol=1e-10)


@pytest.mark.slow
def test_slopes_are_those_of_the_mean_reward_of_all_answers():
    policy, rewards = trained(1), jnp.asarray(np.random.default_rng(2).normal(size=len(ALL)))
    wanted = jax.grad(mean_reward)(policy, rewards)
    num = 3000
    model = voice_training.adapted(MODEL, policy)
    drawn = spoken.draw(
        jax.random.key(3), model, spoken.read(model, PROMPTS), num=num, length=LENGTH, temperature=TEMPERATURE
    ).tokens
    paid = rewards[drawn[..., 0] * WORDS + drawn[..., 1]]
    gates = jax.nn.softmax(policy.gates)
    exact = jnp.exp(log_voices(policy)) @ rewards
    np.testing.assert_allclose(gates * (exact - gates @ exact), wanted.gates, rtol=1e-8)
    error = float(paid.std()) / num**0.5
    np.testing.assert_allclose(voice_training.gate_slope(policy.gates, paid), wanted.gates, atol=4 * error)
    found = voice_training.adapter_slope(MODEL, policy, ASKED, drawn, paid)
    flat = lambda tree: np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])  # noqa: E731
    one, other = flat(found), flat(wanted.adapters)
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.98
    assert one @ other / (other @ other) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_directions_move_answers_as_fast_as_finite_steps():
    policy, rng = trained(4), np.random.default_rng(5)
    ways = [trained(6 + i) for i in range(5)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *(way.adapters for way in ways))
    answers = ALL[rng.permutation(len(ALL))[:20]]
    found = voice_training.moved(MODEL, policy, ASKED, stacked, answers)
    along = voice_training.direction(
        policy.gates,
        log_voices(policy)[:, answers[:, 0] * WORDS + answers[:, 1]],
        jnp.stack([w.gates for w in ways]),
        found,
    )
    for way, per_voice, marginal in zip(ways, found, along, strict=True):
        near = [jax.tree.map(lambda x, w, s=s: x + s * 1e-5 * w, policy, way) for s in (-1, 1)]
        laws = [log_voices(one)[:, answers[:, 0] * WORDS + answers[:, 1]] for one in near]
        said = ~np.isneginf(laws[0])
        np.testing.assert_allclose(per_voice[said], ((laws[1] - laws[0]) / 2e-5)[said], rtol=1e-5, atol=1e-7)
        mixed = [
            jax.nn.logsumexp(jax.nn.log_softmax(one.gates)[:, None] + law, axis=0)
            for one, law in zip(near, laws, strict=True)
        ]
        keep = said.all(axis=0)
        np.testing.assert_allclose(marginal[keep], ((mixed[1] - mixed[0]) / 2e-5)[keep], rtol=1e-5, atol=1e-7)
