"""Rewards: what people ask of an answer, and the family that sits at a chosen angle to the personas.

A reward for training is an array [C, N]. ``evaluate`` makes one from a function of one prompt and one response; the
functions here build the ones that need to know the personas.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import hulls, numerics
from toypersona.types import RewardFn, Scalar


def evaluate(reward_fn: RewardFn, prompts: Int[Array, "C P"], responses: Int[Array, "N T"]) -> Float[Array, "C N"]:
    """A reward function's value for every response to every prompt.

    Args:
        reward_fn: ``(prompt [P], response [T]) -> []``.
        prompts: [C, P].
        responses: [N, T].
    """
    by_response = jax.vmap(reward_fn, in_axes=(None, 0))
    return jax.vmap(by_response, in_axes=(0, None))(prompts, responses).astype(float)


def word_scores(scores: Float[Array, " V"]) -> RewardFn:
    """Pays ``scores[v]`` for every word v said."""
    return lambda prompt, response: scores[response].sum()


def brevity(end: int) -> RewardFn:
    """Minus the number of words before the end, ``end`` being the unit that closes and pads a response."""
    return lambda prompt, response: -(response != end).sum().astype(float)


def phrase(words: Int[Array, " L"]) -> RewardFn:
    """1 for a response that begins with these L words, 0 otherwise: an exploit, if nobody talks like that."""
    return lambda prompt, response: (response[: words.shape[0]] == words).all().astype(float)


def persona_affine(
    log_gates: Float[Array, "C K"], log_personas: Float[Array, "C K N"], scores: Float[Array, " K"]
) -> Float[Array, "C N"]:
    """The expected score of whoever wrote the response: ``sum_k scores_k P(k|c, x)``.

    Raising it to first order is pure selection. With score 1 for Alice and 0 for the others it is helpfulness.

    Args:
        log_gates: log g_k(c) [C, K].
        log_personas: log p_k(x|c) [C, K, N].
        scores: one for each persona [K].
    """
    said = log_gates[..., None] + log_personas
    # What nobody can say was written by nobody: any value will do but nan.
    responsibilities = jax.nn.softmax(jnp.where(jnp.isneginf(said).all(axis=1, keepdims=True), 0.0, said), axis=1)
    return jnp.einsum("k,ckn->cn", scores, responsibilities)


def standardise(
    reward: Float[Array, "C N"], log_base: Float[Array, "C N"], log_prompts: Float[Array, " C"]
) -> Float[Array, "C N"]:
    """Mean 0 under the base for every prompt, variance 1 pooled over prompts; a constant reward becomes 0."""
    centred = reward - numerics.expectation(log_base, reward)[:, None]
    variance = jnp.exp(log_prompts) @ numerics.expectation(log_base, centred**2)
    return centred / jnp.sqrt(jnp.where(variance > 0, variance, 1.0))


def at_angle(
    theta: Scalar,
    affine: Float[Array, "C N"],
    feature: Float[Array, "C N"],
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    log_prompts: Float[Array, " C"],
) -> Float[Array, "C N"]:
    """``cos(theta) u + sin(theta) v``: the reward whose weak limit is ``cos² theta``.

    u is ``affine`` and v the part of ``feature`` that is orthogonal, under the base, to everything the personas could
    be paid for; both standardised.

    Args:
        theta: angle in radians, 0 (selection only) to pi/2 (nothing that any persona does more than another).
        affine: a persona-affine reward [C, N].
        feature: any other reward [C, N].
        log_base: log pi0 [C, N].
        log_personas: [C, K, N].
        log_prompts: log rho(c) [C].
    """
    off = feature - jax.vmap(hulls.tangent_fit)(log_base, log_personas, feature)
    u = standardise(affine, log_base, log_prompts)
    v = standardise(off, log_base, log_prompts)
    return jnp.cos(theta) * u + jnp.sin(theta) * v
