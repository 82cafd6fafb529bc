"""The drift budget: how far a policy moved, split into selection, switching and novelty (nats).

::

    total     = E_c KL(pi(.|c) ‖ pi0(.|c))
    d_prompt  = E_c min_w KL(pi(.|c) ‖ sum_k w_k p_k(.|c))
    d_token   = E_c sum_h pi(h|c) min_w KL(pi(.|c,h) ‖ sum_k w_k p_k(.|c,h))
    selection = total - d_prompt,  switching = d_prompt - d_token,  novelty = d_token

The prompt hull mixes personas once per prompt, the token hull anew at every word, so the three parts are non-negative
and add up. Exact, over listed responses; ``measures.sampled`` needs log-probabilities of samples only.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from toypersona import chains, hulls, numerics

UNMOVED = 1e-12
"""Nats of drift below which rounding would decide the selection fraction."""


class DriftBudget(NamedTuple):
    """Nats, averaged over prompts.

    What has probability 0, a prompt, a response or a history, counts nowhere. A nan elsewhere makes the parts it enters
    nan, and so does a ``log_prompts`` by which no prompt is possible; the fraction is nan with them.

    Attributes:
        total: drift spent; inf where the policy says what the base cannot, and then the fraction is nan.
        hull_distance: d_prompt.
        token_hull_distance: d_token.
        selection: total - d_prompt.
        switching: d_prompt - d_token.
        novelty: d_token.
        selection_fraction: S = selection / total; 1 where no more than 1e-12 nats were spent: the base is inside.
        weights: the nearest persona mix w*(c) [C, K]; without meaning for a prompt of probability 0.
        gap: certificate: either distance is within this of its true value, below it by rounding only.
        certified: every projection reached its tolerance, and the total is a number.
    """

    total: Float[Array, ""]
    hull_distance: Float[Array, ""]
    token_hull_distance: Float[Array, ""]
    selection: Float[Array, ""]
    switching: Float[Array, ""]
    novelty: Float[Array, ""]
    selection_fraction: Float[Array, ""]
    weights: Float[Array, "C K"]
    gap: Float[Array, ""]
    certified: Bool[Array, ""]


def budget(
    log_policy: Float[Array, "C N"],
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    tokens: Int[Array, "N T"],
    log_prompts: Float[Array, " C"],
    *,
    tolerance: float | None = None,
    repair: bool = False,
) -> DriftBudget:
    """The exact drift budget of a policy over all V^T responses.

    With ``repair`` the personas need not mix to the base. At every prompt they are repaired first (``hulls.repaired``):
    m* the mix of personas q_k nearest to pi0, ``p_k = q_k pi0/m*``. With ``m_w = sum_k w_k q_k``::

        hull_distance = E_c min_w [KL(pi ‖ m_w) - E_pi log(pi0/m*)]
        selection     = E_c max_w E_pi log(m_w/m*)

    The base's own distance from the hull is carried along and not charged to the policy: of the base itself nothing is
    left, where without repair S goes to minus infinity as drift gets weak. Whole responses are repaired, and next words
    are those of the repaired responses, so that no part is negative.

    Args:
        log_policy: log pi(x|c) [C, N].
        log_base: log pi0(x|c) [C, N].
        log_personas: log p_k(x|c) [C, K, N].
        tokens: all responses [N, T], in the order of ``chains.outcomes``; only its shape is used inside jit.
        log_prompts: log rho(c) [C].
        tolerance: nats to which each projection is certified; None, as tightly as float64 can (``hulls.project``).
            In float32 nothing is certified then.
        repair: repair the personas first; fixed under jit. Nothing is certified where the base says what nobody can.

    Raises:
        ValueError: the shapes do not fit, or ``tokens`` is not the full list in lexicographic order.
    """
    size = _check_listing(log_policy.shape, log_base, log_personas, tokens, log_prompts)
    mixing, sound = _mixing(log_base, log_personas, log_prompts, repair)
    spent = _budget(log_policy, log_base, mixing, size, log_prompts, tolerance, None)[0]
    return spent._replace(certified=spent.certified & sound)


def budget_along(
    log_policies: Float[Array, "R C N"],
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    tokens: Int[Array, "N T"],
    log_prompts: Float[Array, " C"],
    *,
    tolerance: float | None = None,
    repair: bool = False,
) -> DriftBudget:
    """``budget`` of R policies [R, C, N], neighbours on a path; every projection starts from the last one's weights.

    The other arguments are as in ``budget``, and so are the numbers, within the certificate, and what is refused.
    """
    size = _check_listing(log_policies.shape[1:], log_base, log_personas, tokens, log_prompts)
    num_prompts, num_personas = log_personas.shape[:2]
    mixing, sound = _mixing(log_base, log_personas, log_prompts, repair)
    num_histories = num_prompts * sum(size[0] ** position for position in range(size[1]))
    middle = jnp.full((num_prompts + num_histories, num_personas), 1 / num_personas)

    def next_one(starts: _Starts, log_policy: Float[Array, "C N"]) -> tuple[_Starts, DriftBudget]:
        spent, weights = _budget(log_policy, log_base, mixing, size, log_prompts, tolerance, starts)
        return weights, spent._replace(certified=spent.certified & sound)

    return jax.lax.scan(next_one, (middle[:num_prompts], middle[num_prompts:]), log_policies)[1]


def _mixing(
    log_base: Float[Array, "C N"], log_personas: Float[Array, "C K N"], log_prompts: Float[Array, " C"], repair: bool
) -> tuple[Float[Array, "C K N"], Bool[Array, ""] | bool]:
    """The personas of whom the base is a mix, and whether they were found wherever anybody asks."""
    if not repair:
        return log_personas, True
    found = jax.vmap(hulls.repaired)(log_base, log_personas)
    return found.log_personas, (found.certified | jnp.isneginf(log_prompts)).all()


_Starts = tuple[Float[Array, "C K"], Float[Array, "H K"]]
"""Weights of every prompt's projection and of every history's, to start the next ones from."""


def _budget(
    log_policy: Float[Array, "C N"],
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    size: tuple[int, int],
    log_prompts: Float[Array, " C"],
    tolerance: float | None,
    starts: _Starts | None,
) -> tuple[DriftBudget, _Starts]:
    impossible = jnp.isneginf(log_prompts)
    total = _mean(log_prompts, numerics.kl_divergence(log_policy, log_base))
    prompt_starts, token_starts = starts or (None, None)
    prompt = jax.vmap(lambda p, q, w: hulls.project(p, q, tolerance=tolerance, initial_weights=w))(
        log_policy, log_personas, prompt_starts
    )
    log_mass, log_next, log_next_personas = _histories(log_policy, log_personas, *size)
    token = hulls.project_batch(
        log_next.reshape(-1, size[0]),
        log_next_personas.reshape(-1, *log_next_personas.shape[2:]),
        tolerance=tolerance,
        initial_weights=token_starts,
    )
    log_reached = jnp.where(impossible[:, None], -jnp.inf, log_prompts[:, None] + log_mass).reshape(-1)
    # Not rounded up: the parts would lose digits where the drift is small.
    d_prompt = _mean(log_prompts, prompt.distance - prompt.rounding)
    d_token = _mean(log_reached, token.distance - token.rounding)
    selection = total - d_prompt
    still = (total <= UNMOVED) & ~jnp.isnan(selection)
    certified = (prompt.certified | impossible).all() & (token.certified | jnp.isneginf(log_reached)).all()
    spent = DriftBudget(
        total=total,
        hull_distance=d_prompt,
        token_hull_distance=d_token,
        selection=selection,
        switching=d_prompt - d_token,
        novelty=d_token,
        selection_fraction=jnp.where(still, 1.0, selection / jnp.where(still, 1.0, total)),
        weights=prompt.weights,
        gap=jnp.maximum(_mean(log_prompts, prompt.gap), _mean(log_reached, token.gap)),
        certified=certified & ~jnp.isnan(total),
    )
    return spent, (prompt.weights, token.weights)


def _mean(log_rho: Float[Array, " M"], values: Float[Array, " M"]) -> Float[Array, ""]:
    """The sum of values times probabilities, without what is impossible; nan if all is."""
    return jnp.where(jnp.isneginf(log_rho).all(), jnp.nan, numerics.expectation(log_rho, values))


def _check_listing(
    policy: tuple[int, ...], log_base: Array, log_personas: Array, tokens: Array, log_prompts: Array
) -> tuple[int, int]:
    """V and T of the enumeration."""
    num_outcomes, length = tokens.shape
    num_words = chains.num_words(num_outcomes, length)
    fits = log_personas.ndim == 3 and policy == log_base.shape == (log_personas.shape[0], log_personas.shape[2])
    if not fits or log_prompts.shape != policy[:1]:
        raise ValueError(
            f"log_policy {policy}, log_base {log_base.shape}, log_personas {log_personas.shape} and log_prompts "
            f"{log_prompts.shape} have to be [C, N], [C, N], [C, K, N] and [C]."
        )
    listed = length > 0 and num_outcomes == policy[-1]
    if listed and not isinstance(tokens, Tracer):
        with jax.ensure_compile_time_eval():
            listed = bool((tokens == chains.outcomes(num_words, length)).all())
    if not listed:
        raise ValueError(f"tokens has to list all V^T responses as chains.outcomes does, not {tokens.shape} others.")
    return num_words, length


def _histories(
    log_policy: Array, log_personas: Array, num_words: int, length: int
) -> tuple[Float[Array, "C H"], Float[Array, "C H V"], Float[Array, "C H K V"]]:
    """Log pi(h|c), and the next-word log-probabilities of policy and personas after each of the H histories.

    A persona that cannot have said h gets -inf for every next word, so that no weight falls on it.
    """
    log_mass, log_next = chains.histories(log_policy, num_words, length)
    _, log_next_personas = chains.histories(log_personas, num_words, length)
    log_next = jnp.where(jnp.isneginf(log_mass)[..., None], -jnp.log(num_words), log_next)
    return log_mass, log_next, jnp.moveaxis(log_next_personas, 1, 2)


def routing_information(weights: Float[Array, "C K"], log_prompts: Float[Array, " C"]) -> Float[Array, ""]:
    """I(prompt; persona) in nats when prompt c is answered by persona k with probability ``weights[c, k]``.

    At most ``ln K``. It falls to 0 when everybody's prompt gets the same persona. Prompts of probability 0 do not
    count; nan if all are.
    """
    marginal = jnp.exp(log_prompts) @ jnp.where(jnp.isneginf(log_prompts)[:, None], 0.0, weights)
    divergences = numerics.kl_divergence(jnp.log(weights), jnp.broadcast_to(jnp.log(marginal), weights.shape))
    return _mean(log_prompts, divergences)
