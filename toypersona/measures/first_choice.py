"""Where a policy's likeliest next word is another one than the base's, and whether the base could have told where.

A position is a history and counts as often as the policy comes there before the response has ended. "Sparse policy
selection" (Akgül et al. 2026) says that RL changes the first choice at a few positions only, that the new one is among
the base's first, and that the base's entropy finds these positions.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from toypersona import chains, numerics

TOP = 5
"""The base's first choices among which Akgül et al. find the new one."""


class FirstChoice(NamedTuple):
    """How first choices change.

    Attributes:
        changed: share of the positions whose first choice changes.
        rank: of the new first choice under the base, from 2 (its second choice) on; mean over changed positions, 1 if
            there are none.
        in_top: share of changed positions whose new first choice is among the ``TOP`` of the base; 1 if none.
        auc: of the base's entropy: the probability that it is larger at a changed position than at another; 1/2
            if either are none.
    """

    changed: Float[Array, ""]
    rank: Float[Array, ""]
    in_top: Float[Array, ""]
    auc: Float[Array, ""]


def first_choice(
    log_policy: Float[Array, "C N"],
    log_base: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
    *,
    num_words: int,
    length: int,
    end: int | None,
) -> FirstChoice:
    """First choices of a policy against the base's.

    Args:
        log_policy: log pi(x|c) [C, N].
        log_base: log pi0(x|c) [C, N], above -inf wherever the policy comes.
        log_prompts: log rho(c) [C].
        num_words: V.
        length: T.
        end: the word after which nothing is chosen any more; none if None.
    """
    log_mass, log_next = chains.histories(log_policy, num_words, length)
    _, base_next = chains.histories(log_base, num_words, length)
    come = chains.visits(log_prompts, log_mass, None if end is None else chains.ended(end, num_words, length))
    choice = log_next.argmax(axis=-1)
    chosen = jnp.take_along_axis(base_next, choice[..., None], axis=-1)
    rank = 1 + (base_next > chosen).sum(axis=-1)
    moved = choice != base_next.argmax(axis=-1)
    at = jnp.where(moved, come, 0.0)
    share = at.sum()
    mean = lambda values: jnp.where(share > 0, (at * values).sum() / jnp.where(share > 0, share, 1.0), 1.0)  # noqa: E731
    entropy = numerics.entropy(base_next)
    return FirstChoice(share, mean(rank), mean(rank <= TOP), _auc(entropy.ravel(), come.ravel(), moved.ravel()))


def _auc(score: Float[Array, " P"], weights: Float[Array, " P"], positive: Bool[Array, " P"]) -> Float[Array, ""]:
    """The probability that a positive has the larger score than a negative, ties counting half (Mann-Whitney)."""
    order = jnp.argsort(score)
    ordered, negative = score[order], jnp.where(positive, 0.0, weights)
    below = jnp.concatenate([jnp.zeros(1), jnp.cumsum(negative[order])])
    beaten = (below[jnp.searchsorted(ordered, score)] + below[jnp.searchsorted(ordered, score, side="right")]) / 2
    of = jnp.where(positive, weights, 0.0)
    pairs = of.sum() * negative.sum()
    return jnp.where(pairs > 0, (of * beaten).sum() / jnp.where(pairs > 0, pairs, 1.0), 0.5)
