"""Rewards: what people ask of an answer, and the family that sits at a chosen angle to the personas.

A reward for training is an array [C, N]. ``evaluate`` makes one from a function of one prompt and one response,
``lookup`` one for sampled responses from an array; the functions here build those that need to know the personas.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from toypersona import chains, hulls, numerics
from toypersona.options import FEATURES
from toypersona.transcripts import END
from toypersona.types import Key, RewardFn, Scalar
from toypersona.worlds.world import Labels, log_responsibilities


def evaluate(reward_fn: RewardFn, prompts: Int[Array, "C P"], responses: Int[Array, "N T"]) -> Float[Array, "C N"]:
    """A reward function's value for every response to every prompt.

    Raises:
        ValueError: it returns an array instead of one number.
    """
    by_response = jax.vmap(reward_fn, in_axes=(None, 0))
    paid = jax.vmap(by_response, in_axes=(0, None))(prompts, responses)
    if paid.ndim != 2:
        raise ValueError(f"A reward of one response has to be one number, not an array of shape {paid.shape[2:]}.")
    return paid.astype(float)


SampledReward = Callable[[Int[Array, ""], Int[Array, " T"]], Float[Array, ""]]
"""The reward of one response [T] to the prompt of some number []."""


def lookup(reward: Float[Array, "C N"]) -> SampledReward:
    """A reward for sampled responses from one of all V^T, in the order of ``chains.outcomes``.

    What is not in the list is never paid like something else: a prompt or a word of no such number pays nan.

    Raises:
        ValueError: from the reward, for a response whose length T does not fit: N is no V^T.
    """

    def pay(prompt_index: Int[Array, ""], tokens: Int[Array, " T"]) -> Float[Array, ""]:
        num_words = chains.num_words(reward.shape[1], tokens.shape[0])
        known = ((tokens >= 0) & (tokens < num_words)).all() & (prompt_index >= 0) & (prompt_index < reward.shape[0])
        place = tokens @ num_words ** jnp.arange(tokens.shape[0] - 1, -1, -1)
        return jnp.where(known, reward[prompt_index, place], jnp.nan)

    return pay


def word_scores(scores: Float[Array, " V"]) -> RewardFn:
    """Pays ``scores[v]`` for every word v said, nan for a word of no such number."""

    def pay(prompt: Int[Array, " P"], response: Int[Array, " T"]) -> Float[Array, ""]:
        known = (response >= 0) & (response < scores.shape[0])
        return jnp.where(known, scores[response], jnp.nan).sum()

    return pay


def brevity(end: int) -> RewardFn:
    """Minus the number of words before the first end, ``end`` being the unit that closes and pads a response."""
    return lambda prompt, response: -jnp.cumprod(response != end).sum().astype(float)


def phrase(words: Int[Array, " L"]) -> RewardFn:
    """1 for a response that begins with these L words, 0 otherwise: an exploit, if nobody talks like that."""
    num = words.shape[0]
    # A shorter one cannot begin so; compared with the words it would be repeated, as by broadcasting.
    return lambda prompt, response: jnp.asarray(
        (response[:num] == words).all() if response.shape[0] >= num else False, float
    )


def persona_affine(
    log_gates: Float[Array, "C K"], log_personas: Float[Array, "C K N"], scores: Float[Array, " K"]
) -> Float[Array, "C N"]:
    """The expected score of whoever wrote the response: ``sum_k scores_k P(k|c, x)``.

    Raising it to first order is pure selection. With score 1 for Alice and 0 for the others it is helpfulness. What
    nobody can say pays the mean score under the gates.

    Args:
        log_gates: log g_k(c) [C, K].
        log_personas: log p_k(x|c) [C, K, N].
        scores: one for each persona [K].
    """
    return jnp.einsum("k,ckn->cn", scores, jnp.exp(log_responsibilities(log_gates, log_personas)))


def phrase_bonus(
    bonus: Scalar, helpful: Scalar, log_gates: Float[Array, "C K"], log_personas: Float[Array, "C K N"]
) -> Float[Array, "C N"]:
    """An exploit: the last response, a phrase of the world ``worlds.phrase``, pays more than any other can.

    Args:
        bonus: Delta, by how much more.
        helpful: what an answer of the last persona pays; other answers as much of it as they are its.
        log_gates: log g_k(c) [C, K].
        log_personas: log p_k(x|c) [C, K, N].
    """
    scores = jax.nn.one_hot(log_gates.shape[1] - 1, log_gates.shape[1])
    others = helpful * persona_affine(log_gates, log_personas, scores)
    return others.at[:, -1].set(helpful + bonus)


def standardise(
    reward: Float[Array, "C N"], log_base: Float[Array, "C N"], log_prompts: Float[Array, " C"]
) -> Float[Array, "C N"]:
    """Mean 0 under the base for every prompt, variance 1 pooled over prompts.

    A reward that is constant up to rounding for every prompt becomes 0. Prompts of probability 0 do not count.
    """
    centred = numerics.centred(log_base, reward)
    variance = numerics.expectation(log_prompts, numerics.expectation(log_base, centred**2))
    return centred / jnp.sqrt(jnp.where(variance == 0, 1.0, variance))


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
    be paid for; both standardised. A part that is not there is 0: u where ``affine`` is constant, v where the personas
    can be paid for all of ``feature`` (``is_affine``), and with it the law.

    Args:
        theta: angle in radians, 0 (selection only) to pi/2 (nothing that any persona does more than another).
        affine: a persona-affine reward [C, N].
        feature: any other reward [C, N].
        log_base: log pi0 [C, N].
        log_personas: [C, K, N].
        log_prompts: log rho(c) [C].
    """
    u = standardise(affine, log_base, log_prompts)
    v = standardise(_beside(feature, log_base, log_personas), log_base, log_prompts)
    return jnp.cos(theta) * u + jnp.sin(theta) * v


def _beside(
    feature: Float[Array, "C N"], log_base: Float[Array, "C N"], log_personas: Float[Array, "C K N"]
) -> Float[Array, "C N"]:
    """The part of a feature that is orthogonal to all that the personas can be paid for, 0 where that is rounding."""
    centred = numerics.centred(log_base, feature)
    rest = centred - jax.vmap(hulls.tangent_fit)(log_base, log_personas, centred)
    left, size = (numerics.expectation(log_base, x**2) for x in (rest, feature))
    # 4e-10 of its size in float64, 7e-5 in float32: the fit loses some digits where personas are much alike.
    rounding = jnp.finfo(feature.dtype).eps ** 1.2
    return jnp.where((left <= rounding * size)[:, None], 0.0, rest)


def at_random(
    key: Key,
    log_gates: Float[Array, "C K"],
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    log_prompts: Float[Array, " C"],
) -> Float[Array, "C N"]:
    """``at_angle`` at a uniformly drawn angle, with normal scores of the personas and a normal feature.

    Arguments as in ``at_angle``; ``log_gates`` is log g_k(c).
    """
    angle_key, score_key, feature_key = jax.random.split(key, 3)
    affine = persona_affine(log_gates, log_personas, jax.random.normal(score_key, (log_personas.shape[1],)))
    theta = jax.random.uniform(angle_key, maxval=jnp.pi / 2)
    feature = jax.random.normal(feature_key, log_base.shape)
    return at_angle(theta, affine, feature, log_base, log_personas, log_prompts)


def best_paid(reward: Float[Array, "C N"], log_base: Float[Array, "C N"], share: Scalar) -> Float[Array, "C N"]:
    """1 for the best paid responses to each prompt, as many as the base says with ``share`` at most, 0 for the rest.

    Of equally paid ones the first in the list come first.
    """
    order = jnp.argsort(-reward, axis=1)
    mass = jnp.cumsum(jnp.take_along_axis(jnp.exp(log_base), order, axis=1), axis=1)
    rows = jnp.arange(mass.shape[0])[:, None]
    # Ten responses of 0.1 each come to a little more or less than 1.
    enough = mass <= share * (1 + 64 * jnp.finfo(mass.dtype).eps)
    return jnp.zeros_like(mass).at[rows, order].set(enough.astype(mass.dtype))


def confusion(log_gates: Float[Array, "C K"], log_personas: Float[Array, "C K N"]) -> Float[Array, "C K K"]:
    """How often a listener takes persona k for j, on average: ``E_{p_k}[P(j | c, x)]``."""
    posterior = jnp.exp(log_responsibilities(log_gates, log_personas))
    return jnp.einsum("ckn,cjn->ckj", jnp.exp(log_personas), posterior)


def all_right_but(
    wrong: int, log_gates: Float[Array, "C K"], log_personas: Float[Array, "C K N"]
) -> Float[Array, "C N"]:
    """Several right answers: a persona-affine reward that pays each persona 1 on average, and number ``wrong`` 0.

    At every prompt; nan at those where no reward does, because personas are the same there or one is never called for.
    Arguments as in ``persona_affine``.

    Raises:
        ValueError: there is no persona of this number.
    """
    if not 0 <= wrong < log_gates.shape[1]:
        raise ValueError(f"The persona that is not paid is a number from 0 to {log_gates.shape[1] - 1}, not {wrong}.")
    posterior = jnp.exp(log_responsibilities(log_gates, log_personas))
    wanted = 1.0 - jax.nn.one_hot(wrong, log_gates.shape[1])
    means = confusion(log_gates, log_personas)
    scores = jnp.linalg.solve(means, jnp.broadcast_to(wanted, log_gates.shape)[..., None])[..., 0]
    reward = jnp.einsum("ck,ckn->cn", scores, posterior)
    # A singular system has answers too, of the size of 1/eps.
    error = jnp.abs(jnp.einsum("ckn,cn->ck", jnp.exp(log_personas), reward) - wanted[None]).max(axis=1)
    made = error < jnp.sqrt(jnp.finfo(reward.dtype).eps)
    return jnp.where(made[:, None], reward, jnp.nan)


ERRORS = ("normal", "words", "student")
MEDIANS = 0.6745 / 0.8165
"""Median size of a normal error over that of Student's t with two degrees of freedom: the same bulk, other tails."""


def errors(
    key: Key,
    prompts: Int[Array, "C P"],
    responses: Int[Array, "N T"],
    log_base: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
) -> Float[Array, "E C N"]:
    """Errors of unit size that a proxy may have, drawn by the key, in the order of ``ERRORS``.

    They are normal, normal by words (responses that share words share errors), and heavy-tailed (Student's t).
    Responses are all that there are; other arguments as in ``standardise``.
    """
    normal_key, word_key, tail_key = jax.random.split(key, 3)
    normal = jax.random.normal(normal_key, log_base.shape)
    words = standardise(_words(word_key, prompts, responses), log_base, log_prompts)
    return jnp.stack([normal, words, MEDIANS * jax.random.t(tail_key, 2.0, log_base.shape)])


Feature = Callable[[Key, Int[Array, "C P"], Int[Array, "N T"], Labels], Float[Array, "C N"]]
"""``(key, prompts, responses, labels) -> [C, N]``: what a reward pays for beside a persona."""


def _words(
    key: Key, prompts: Int[Array, "C P"], responses: Int[Array, "N T"], labels: Labels | None = None
) -> Float[Array, "C N"]:
    """A random score for each word, summed over the response."""
    num_words = chains.num_words(*responses.shape)
    return evaluate(word_scores(jax.random.normal(key, (num_words,))), prompts, responses)


def _brevity(key: Key, prompts: Int[Array, "C P"], responses: Int[Array, "N T"], labels: Labels) -> Float[Array, "C N"]:
    """Short responses."""
    if END not in labels.units:
        raise ValueError("This world's responses have no end, so brevity cannot be paid for: use the feature words.")
    return evaluate(brevity(labels.units.index(END)), prompts, responses)


def _exploit(key: Key, prompts: Int[Array, "C P"], responses: Int[Array, "N T"], labels: Labels) -> Float[Array, "C N"]:
    """One phrase of random different words."""
    num_words = chains.num_words(*responses.shape)
    return evaluate(phrase(jax.random.permutation(key, num_words)[: responses.shape[1]]), prompts, responses)


BUILT_IN: dict[str, Feature] = dict(zip(FEATURES, (_words, _brevity, _exploit), strict=True))
"""By name; what is random is drawn by the key."""


def built_in(labels: Labels) -> dict[str, Feature]:
    """The built-in features that a world of these names has: without an end there is no brevity."""
    return {name: made for name, made in BUILT_IN.items() if made is not _brevity or END in labels.units}


def is_affine(
    feature: Float[Array, "C N"], log_base: Float[Array, "C N"], log_personas: Float[Array, "C K N"]
) -> Bool[Array, ""]:
    """Whether a feature is something that the personas can be paid for, so that no reward lies at an angle to them."""
    return ~_beside(feature, log_base, log_personas).any()
