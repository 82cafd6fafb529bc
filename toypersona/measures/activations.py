"""What a network's activations tell of its personas: a linear reading of them, and moves off the plane they span.

The responsibilities ``P(k | c, h)``, the posterior over personas after a prompt and a history, are read from the
residual stream ``a(c, h)`` by weighted ridge least squares, as in linear probes (Alain and Bengio 2016). Fine-tuning
moves the stream by ``m = a - a0``; the K personas' own activations span a plane of K - 1 dimensions, P its projection::

    along = sqrt(E |P m|²) / scale,   off = sqrt(E |m - P m|²) / scale,   scale² = E mean_k |a_k - mean_j a_j|²

E over prompts and histories, so that ``along² + off² = E |m|² / scale²``. Activations are arrays here: where they come
from does not matter. Everything in float64.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from toypersona import chains, numerics
from toypersona.types import Key, Scalar
from toypersona.worlds import world as worlds

RIDGE = 1e-6
"""Of the features' mean variance: enough where some are functions of others, as all one-hot ones are."""

FLAT = 1e-9
"""A share of a plane's widest extent below which it has none."""


class Linear(NamedTuple):
    """A linear reading, ``features @ weights + intercept``."""

    weights: Float[Array, "D K"]
    intercept: Float[Array, " K"]


def responsibilities(
    log_gates: Float[Array, "C K"], log_personas: Float[Array, "C K N"], *, num_words: int, length: int
) -> Float[Array, "C H K"]:
    """P(persona | prompt, history) [C, H, K], histories in the order of ``chains.histories``.

    The gates' own after what nobody says.

    Args:
        log_gates: log g_k(c) [C, K].
        log_personas: log p_k(x|c) [C, K, N].
        num_words: V.
        length: T.
    """
    log_begun = chains.histories(log_personas, num_words, length)[0]
    return jnp.exp(worlds.log_responsibilities(log_gates, log_begun)).swapaxes(1, 2)


def fit(
    features: Float[Array, "S D"], targets: Float[Array, "S K"], weights: Float[Array, " S"], *, ridge: Scalar = RIDGE
) -> Linear:
    """The linear reading of least ``sum_s w_s |targets_s - reading_s|² / sum_s w_s + ridge trace(V)/D |weights|²``.

    V is the weighted covariance of the features; the intercept is not held back.

    Args:
        features: such as activations at S pairs of a prompt and a history [S, D].
        targets: such as responsibilities [S, K].
        weights: of the pairs, not all 0 [S]; those of weight 0 are not read.
        ridge: relative to the mean variance of a feature.
    """
    share = weights / weights.sum()
    feature_means, target_means = share @ features, share @ targets
    centred = features - feature_means[None]
    covariance = (share[:, None] * centred).T @ centred
    variance, square = jnp.trace(covariance), share @ (features**2).sum(axis=-1)
    # Features that are all constant up to rounding read nothing: any penalty does.
    varied = variance > (numerics.CONSTANT * jnp.finfo(features.dtype).eps) ** 2 * square
    penalty = jnp.where(varied, ridge * variance / features.shape[1], 1.0)
    slopes = jnp.linalg.solve(
        covariance + penalty * jnp.eye(features.shape[1]), (share[:, None] * centred).T @ (targets - target_means[None])
    )
    return Linear(slopes, target_means - feature_means @ slopes)


def r_squared(
    linear: Linear, features: Float[Array, "S D"], targets: Float[Array, "S K"], weights: Float[Array, " S"]
) -> Float[Array, ""]:
    """``1 - sum_s w_s |targets_s - reading_s|² / sum_s w_s |targets_s - mean|²``, pooled over personas.

    The mean is that of these pairs, so that at held-out ones a reading of nothing is at or below 0. Not a number
    where all targets are the same. Arguments as in ``fit``.
    """
    share = weights / weights.sum()
    missed = targets - features @ linear.weights - linear.intercept[None]
    spread = targets - (share @ targets)[None]
    return 1 - (share @ (missed**2).sum(-1)) / (share @ (spread**2).sum(-1))


class Split(NamedTuple):
    """Which pairs of a prompt and a history are fitted and which held out.

    Attributes:
        fitted: a half of the histories of all prompts but one.
        same_prompts: the other half, at the same prompts.
        new_prompt: all histories of the prompt left out.
    """

    fitted: Bool[Array, "C H"]
    same_prompts: Bool[Array, "C H"]
    new_prompt: Bool[Array, "C H"]


def split(key: Key, left_out: Int[Array, ""] | int, *, num_prompts: int, num_words: int, length: int) -> Split:
    """A random split of histories by their first word.

    Histories are a tree, and both activations and responsibilities change little from one to the next: with a half of
    all histories drawn at random, most of those held out would have their parent and a sibling among the fitted. By
    the first word, no history held out goes on from a fitted one, but for the empty one, which is always fitted.

    Args:
        key: draws the half of the words, rounded down, that fitted histories begin with.
        left_out: number of the prompt of which nothing is fitted.
        num_prompts: C.
        num_words: V, two or more.
        length: T.

    Raises:
        ValueError: there is nothing to split.
    """
    if min(num_prompts, num_words, length) < 2:
        raise ValueError(
            f"A split needs 2 prompts, 2 words and a length of 2 or more, not {num_prompts}, {num_words} and {length}."
        )
    half = jax.random.permutation(key, jnp.arange(num_words) < num_words // 2)
    begun = [jnp.repeat(half, num_words ** (position - 1)) for position in range(1, length)]
    fitted = jnp.concatenate([jnp.ones(1, bool), *begun])[None]
    new = (jnp.arange(num_prompts) == left_out)[:, None]
    return Split(fitted & ~new, ~fitted & ~new, jnp.broadcast_to(new, (num_prompts, fitted.shape[1])))


class Scores(NamedTuple):
    """R² of a reading at histories held out of prompts that were fitted, and at the prompt that was not."""

    same_prompts: Float[Array, ""]
    new_prompt: Float[Array, ""]


def scores(
    features: Float[Array, "C H D"],
    targets: Float[Array, "C H K"],
    visits: Float[Array, "C H"],
    parts: Split,
    *,
    ridge: Scalar = RIDGE,
) -> Scores:
    """How well a linear reading of the targets does where it was not fitted.

    Args:
        features: activations, or those of a control: an untrained network's, or ``last_words``.
        targets: responsibilities.
        visits: weights of the pairs, as of ``chains.visits``, which may leave out what comes after an answer's end.
        parts: as of ``split``.
        ridge: as in ``fit``.
    """
    flat = lambda x: x.reshape(-1, x.shape[-1])  # noqa: E731
    pairs = flat(features), flat(targets)
    at = lambda part: (visits * part).reshape(-1)  # noqa: E731
    linear = fit(*pairs, at(parts.fitted), ridge=ridge)
    return Scores(*(r_squared(linear, *pairs, at(part)) for part in (parts.same_prompts, parts.new_prompt)))


def last_words(num_words: int, length: int) -> Float[Array, "H F"]:
    """One-hot features of the last word and its position, of the empty history too [H, 1 + V (T - 1)].

    What can be read from them needs no memory. They are the same at every prompt.
    """
    begun = [jnp.zeros(1, int)]
    for position in range(1, length):
        last = jnp.tile(jnp.arange(num_words), num_words ** (position - 1))
        begun.append(1 + (position - 1) * num_words + last)
    return jax.nn.one_hot(jnp.concatenate(begun), 1 + num_words * (length - 1))


class Moves(NamedTuple):
    """Root mean squares of moves, relative to the extent of the personas' plane.

    Attributes:
        along: of their parts in the plane.
        off: of their parts orthogonal to it.
        scale: root mean square distance of the personas from their centre, in units of the activations.
    """

    along: Float[Array, ""]
    off: Float[Array, ""]
    scale: Float[Array, ""]


def moves(
    activations: Float[Array, "S D"],
    origin: Float[Array, "S D"],
    personas: Float[Array, "S K D"],
    weights: Float[Array, " S"],
) -> Moves:
    """Moves along and off the plane that the personas' activations span, by the equations above.

    Args:
        activations: of a policy, at S pairs of a prompt and a history.
        origin: of the base at the same pairs: how far it is from the plane itself is not charged to the policy. From
            the centre ``personas.mean(axis=1)``, ``off`` is the distance from the plane.
        personas: a_k at the same pairs, such as those of the base when it is called by each name.
        weights: of the pairs.
    """
    share = weights / weights.sum()
    spokes = personas - personas.mean(axis=1, keepdims=True)
    extents, axes = jnp.linalg.svd(spokes, full_matrices=False)[1:]
    # Spokes sum to 0, and personas may be alike: directions of rounding alone are none.
    axes = jnp.where((extents > FLAT * extents[:, :1])[..., None], axes, 0.0)
    move = activations - origin
    along = jnp.einsum("skd,sk->sd", axes, jnp.einsum("skd,sd->sk", axes, move))
    scale = jnp.sqrt(share @ (spokes**2).sum(axis=-1).mean(axis=-1))
    inside, outside = (jnp.sqrt(share @ (x**2).sum(axis=-1)) / scale for x in (along, move - along))
    return Moves(inside, outside, scale)
