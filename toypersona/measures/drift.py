"""The drift budget: how far a policy moved, split into selection, switching and novelty (nats).

::

    total     = E_c KL(pi(.|c) ‖ pi0(.|c))
    d_prompt  = E_c min_w KL(pi(.|c) ‖ sum_k w_k p_k(.|c))
    d_token   = E_c sum_h pi(h|c) min_w KL(pi(.|c,h) ‖ sum_k w_k p_k(.|c,h))
    selection = total - d_prompt,  switching = d_prompt - d_token,  novelty = d_token

The prompt hull mixes personas once per prompt, the token hull anew at every word, so the three parts are non-negative
and add up. ``budget`` is exact over listed responses; ``budget_from_samples`` needs log-probabilities of samples only.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int

from toypersona import chains, hulls, numerics

TOLERANCE = 1e-13
"""Nats to which projections are certified: a distance of 1e-10 has three right digits, for one more Newton step."""

UNMOVED = 1e-12
"""Nats of drift below which rounding would decide the selection fraction."""


class DriftBudget(NamedTuple):
    """Nats, averaged over prompts.

    Attributes:
        total: drift spent.
        hull_distance: d_prompt.
        token_hull_distance: d_token.
        selection: total - d_prompt.
        switching: d_prompt - d_token.
        novelty: d_token.
        selection_fraction: S = selection / total; 1 where no more than 1e-12 nats were spent: the base is inside.
        weights: the nearest persona mix w*(c) [C, K].
        gap: certificate: either distance exceeds its true value by at most this.
        certified: every projection reached its tolerance.
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
    tolerance: float = TOLERANCE,
) -> DriftBudget:
    """The exact drift budget of a policy over all V^T responses.

    Args:
        log_policy: log pi(x|c) [C, N].
        log_base: log pi0(x|c) [C, N].
        log_personas: log p_k(x|c) [C, K, N].
        tokens: all responses [N, T], in the order of ``chains.outcomes``; only its shape is used inside jit.
        log_prompts: log rho(c) [C].
        tolerance: nats to which each projection is certified. Use float64.

    Returns:
        The ``DriftBudget``.

    Raises:
        ValueError: the shapes do not fit, or ``tokens`` is not the full list in lexicographic order.
    """
    size = _check_listing(log_policy, log_base, log_personas, tokens)
    return _budget(log_policy, log_base, log_personas, size, log_prompts, tolerance, None)[0]


def budget_along(
    log_policies: Float[Array, "R C N"],
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    tokens: Int[Array, "N T"],
    log_prompts: Float[Array, " C"],
    *,
    tolerance: float = TOLERANCE,
) -> DriftBudget:
    """``budget`` of R policies that follow each other on a path; every projection starts from the last one's weights.

    Args:
        log_policies: [R, C, N], neighbours similar.
        log_base: as in ``budget``, like the rest.
        log_personas: [C, K, N].
        tokens: [N, T].
        log_prompts: [C].
        tolerance: nats.

    Returns:
        A ``DriftBudget`` with leading axis R: ``budget``'s numbers within the certificate.

    Raises:
        ValueError: as ``budget``.
    """
    size = _check_listing(log_policies[0], log_base, log_personas, tokens)
    num_prompts, num_personas = log_personas.shape[:2]
    num_histories = num_prompts * sum(size[0] ** position for position in range(size[1]))
    middle = jnp.full((num_prompts + num_histories, num_personas), 1 / num_personas)

    def next_one(starts: _Starts, log_policy: Float[Array, "C N"]) -> tuple[_Starts, DriftBudget]:
        spent, weights = _budget(log_policy, log_base, log_personas, size, log_prompts, tolerance, starts)
        return weights, spent

    return jax.lax.scan(next_one, (middle[:num_prompts], middle[num_prompts:]), log_policies)[1]


_Starts = tuple[Float[Array, "C K"], Float[Array, "H K"]]
"""Weights of every prompt's projection and of every history's, to start the next ones from."""


def _budget(
    log_policy: Float[Array, "C N"],
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    size: tuple[int, int],
    log_prompts: Float[Array, " C"],
    tolerance: float,
    starts: _Starts | None,
) -> tuple[DriftBudget, _Starts]:
    rho = jnp.exp(log_prompts)
    total = rho @ numerics.kl_divergence(log_policy, log_base)
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
    mass = jnp.exp(log_prompts[:, None] + log_mass).reshape(-1)
    reached = mass > 0
    d_prompt = rho @ prompt.distance
    d_token = jnp.where(reached, mass * token.distance, 0.0).sum()
    token_gap = jnp.where(reached, mass * token.gap, 0.0).sum()
    spent = _split(
        total,
        d_prompt,
        d_token,
        weights=prompt.weights,
        gap=jnp.maximum(rho @ prompt.gap, token_gap),
        certified=prompt.certified.all() & (token.certified | ~reached).all(),
    )
    return spent, (prompt.weights, token.weights)


def _split(total: Array, d_prompt: Array, d_token: Array, **rest: Array) -> DriftBudget:
    selection = total - d_prompt
    moved = total > UNMOVED
    return DriftBudget(
        total=total,
        hull_distance=d_prompt,
        token_hull_distance=d_token,
        selection=selection,
        switching=d_prompt - d_token,
        novelty=d_token,
        selection_fraction=jnp.where(moved, selection / jnp.where(moved, total, 1.0), 1.0),
        **rest,
    )


def _check_listing(log_policy: Array, log_base: Array, log_personas: Array, tokens: Array) -> tuple[int, int]:
    """V and T of the enumeration."""
    num_outcomes, length = tokens.shape
    num_words = round(num_outcomes ** (1 / length))
    if not log_policy.shape == log_base.shape == (log_personas.shape[0], log_personas.shape[2]):
        raise ValueError(
            f"log_policy {log_policy.shape}, log_base {log_base.shape} and log_personas {log_personas.shape} "
            "have to be [C, N], [C, N] and [C, K, N]."
        )
    listed = num_words**length == num_outcomes == log_policy.shape[-1]
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
    num_prompts, num_personas = log_personas.shape[:2]
    masses, policies, personas = [], [], []
    for position in range(length):
        tree = (num_words**position, num_words, -1)
        joint = logsumexp(log_policy.reshape(num_prompts, *tree), axis=-1)
        mass, after = _condition(joint)
        masses.append(mass)
        policies.append(jnp.where(jnp.isneginf(mass)[..., None], -jnp.log(num_words), after))
        joint = logsumexp(log_personas.reshape(num_prompts, num_personas, *tree), axis=-1)
        personas.append(jnp.moveaxis(_condition(joint)[1], 1, 2))
    return jnp.concatenate(masses, 1), jnp.concatenate(policies, 1), jnp.concatenate(personas, 1)


def _condition(joint: Float[Array, "*batch V"]) -> tuple[Float[Array, "*batch"], Float[Array, "*batch V"]]:
    mass = logsumexp(joint, axis=-1)
    return mass, joint - jnp.where(jnp.isneginf(mass), 0.0, mass)[..., None]


def routing_information(weights: Float[Array, "C K"], log_prompts: Float[Array, " C"]) -> Float[Array, ""]:
    """I(prompt; persona) in nats when prompt c is answered by persona k with probability ``weights[c, k]``.

    At most ``ln K``. It falls to 0 when everybody's prompt gets the same persona.
    """
    rho = jnp.exp(log_prompts)
    log_weights = jnp.log(weights)
    return rho @ numerics.kl_divergence(log_weights, jnp.broadcast_to(jnp.log(rho @ weights), weights.shape))


class Samples(NamedTuple):
    """Log-probabilities (nats) of M sampled responses to each prompt.

    Attributes:
        log_policy: under the policy they were drawn from [C, M].
        log_base: under the base [C, M].
        log_personas: under each persona [C, K, M].
    """

    log_policy: Float[Array, "C M"]
    log_base: Float[Array, "C M"]
    log_personas: Float[Array, "C K M"]


class SampledBudget(NamedTuple):
    """Estimates in nats, each with its standard error (``_se``).

    Attributes:
        total: drift spent.
        hull_distance: d_prompt, weights fitted on one half of the samples and scored on the other, both ways.
        token_hull_distance: d_token; nan without next-word log-probabilities.
        selection: total - d_prompt.
        switching: d_prompt - d_token.
        novelty: d_token.
        weights: the nearest persona mix, fitted on all samples [C, K].
        fit_excess: what fitting K weights adds to ``hull_distance`` on average, (K - 1)/M nats (Wilks 1938).
        base_distance: the same estimate of the base's own hull distance, whose true value is 0.
        base_inside: the base passes: ``base_distance <= fit_excess + 3 base_distance_se``. If it does not, the
            personas given do not span the base, and the other numbers mean nothing.
        certified: every fit of weights reached its tolerance.
    """

    total: Float[Array, ""]
    total_se: Float[Array, ""]
    hull_distance: Float[Array, ""]
    hull_distance_se: Float[Array, ""]
    token_hull_distance: Float[Array, ""]
    token_hull_distance_se: Float[Array, ""]
    selection: Float[Array, ""]
    selection_se: Float[Array, ""]
    switching: Float[Array, ""]
    switching_se: Float[Array, ""]
    novelty: Float[Array, ""]
    novelty_se: Float[Array, ""]
    weights: Float[Array, "C K"]
    fit_excess: Float[Array, ""]
    base_distance: Float[Array, ""]
    base_distance_se: Float[Array, ""]
    base_inside: Bool[Array, ""]
    certified: Bool[Array, ""]


def budget_from_samples(
    samples: Samples,
    base_samples: Samples,
    log_prompts: Float[Array, " C"],
    *,
    next_words: tuple[Float[Array, "C M T V"], Float[Array, "C M T K V"]] | None = None,
    tolerance: float = 1e-6,
) -> SampledBudget:
    """The drift budget of a policy known by samples, for models that cannot be enumerated.

    Weights that are fitted and scored on the same samples make the distance too small; here each half is scored with
    the other half's weights, half a sample of every persona added, so that the error is on the other side and at most
    about ``fit_excess``.

    Args:
        samples: drawn from the policy; draws are independent, M even and >= 4.
        base_samples: drawn from the base, so their ``log_policy`` is their ``log_base``.
        log_prompts: log rho(c) [C].
        next_words: next-word log-probabilities of the policy [C, M, T, V] and of the personas [C, M, T, K, V] at every
            position of ``samples``; without them the token hull is not measured.
        tolerance: nats to which each projection is certified.

    Returns:
        The ``SampledBudget``.

    Raises:
        ValueError: an odd number of samples, or fewer than four.
    """
    num_samples = samples.log_policy.shape[1]
    for given in (samples, base_samples):
        if given.log_policy.shape[1] % 2 or given.log_policy.shape[1] < 4:
            raise ValueError(f"{given.log_policy.shape[1]} samples cannot be split in two: draw an even number, >= 4.")
    log_nearest, certified = _held_out(samples.log_personas, tolerance)
    log_nearest_base, base_certified = _held_out(base_samples.log_personas, tolerance)
    whole = _fit_weights(samples.log_personas, tolerance)
    spent = samples.log_policy - samples.log_base
    outside = samples.log_policy - log_nearest
    novel, token_certified = jnp.full_like(spent, jnp.nan), jnp.array(True)
    if next_words is not None:
        novel, token_certified = _novelty(*next_words, tolerance)
    terms = {
        "total": spent,
        "hull_distance": outside,
        "token_hull_distance": novel,
        "selection": spent - outside,
        "switching": outside - novel,
        "novelty": novel,
        "base_distance": base_samples.log_base - log_nearest_base,
    }
    estimates = {name: _pool(values, log_prompts) for name, values in terms.items()}
    base_distance, base_se = estimates["base_distance"]
    num_personas = samples.log_personas.shape[1]
    base_excess = (num_personas - 1) / base_samples.log_policy.shape[1]
    return SampledBudget(
        **{name: mean for name, (mean, _) in estimates.items()},
        **{f"{name}_se": error for name, (_, error) in estimates.items()},
        weights=whole.weights,
        fit_excess=jnp.asarray((num_personas - 1) / num_samples),
        base_inside=base_distance <= base_excess + 3 * base_se,
        certified=certified & base_certified & whole.certified.all() & token_certified,
    )


def _fit_weights(log_personas: Float[Array, "C K M"], tolerance: float) -> hulls.Projection:
    """For each prompt the mix under which the samples are likeliest: their projection as equal point masses."""
    num_samples = log_personas.shape[-1]
    equal = jnp.full(num_samples, -jnp.log(num_samples))
    return jax.vmap(lambda q: hulls.project(equal, q, tolerance=tolerance))(log_personas)


def _held_out(log_personas: Float[Array, "C K M"], tolerance: float) -> tuple[Float[Array, "C M"], Bool[Array, ""]]:
    """Each sample's log-probability under the mix fitted to the other half.

    Half a sample of every persona is added (Krichevsky and Trofimov 1981): where nobody of a rare persona was in one
    half, a single one in the other would be as good as impossible.
    """
    halves = jnp.split(log_personas, 2, axis=-1)
    fits = [_fit_weights(half, tolerance) for half in halves]
    seen, num_personas = halves[0].shape[-1], log_personas.shape[1]
    smooth = [(seen * fit.weights + 0.5) / (seen + 0.5 * num_personas) for fit in fits]
    scored = [numerics.log_mix(jnp.log(weights), half) for weights, half in zip(reversed(smooth), halves, strict=True)]
    return jnp.concatenate(scored, axis=-1), fits[0].certified.all() & fits[1].certified.all()


def _novelty(
    log_next: Float[Array, "C M T V"], log_next_personas: Float[Array, "C M T K V"], tolerance: float
) -> tuple[Float[Array, "C M"], Bool[Array, ""]]:
    """Each sample's token-hull distance, summed over its positions."""
    num_words = log_next.shape[-1]
    flat = hulls.project_batch(
        log_next.reshape(-1, num_words),
        log_next_personas.reshape(-1, *log_next_personas.shape[3:]),
        tolerance=tolerance,
    )
    return flat.distance.reshape(log_next.shape[:3]).sum(axis=-1), flat.certified.all()


def _pool(values: Float[Array, "C M"], log_prompts: Float[Array, " C"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean over prompts and samples, and its standard error."""
    rho = jnp.exp(log_prompts)
    variance = values.var(axis=1, ddof=1) / values.shape[1]
    return rho @ values.mean(axis=1), jnp.sqrt(rho**2 @ variance)
