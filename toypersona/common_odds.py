"""One choice of persona for all prompts: everybody's odds change by the same factors wherever one asks.

A base that answers each prompt by its own gate is in general no single mix ``sum_k w_k p_k`` with one w for all
prompts: it lies outside that hull, by at most I(prompt; persona) nats. What is the same at all prompts and holds the
base is a change of the log-odds, ::

    m_a(x|c) = sum_k g_k(c) e^{a_k} p_k(x|c) / sum_j g_j(c) e^{a_j},    a = 0 is the base

a set of dimension K - 1 inside the hull that has a mix for every prompt. It is not convex: its nearest point is sought
from the base, stationary up to a slope that is returned, and the hull's certified distance bounds it from below. As RL
gets weak it selects the R² of one regression for all prompts on the responsibilities (``weak_limit``): all that a
persona is paid for alike at every prompt, and less than the hull where prompts differ.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import interior_point, numerics

MAX_ITERATIONS = 300
LONGEST = 3.0
"""Longest step of any log-odds."""

LARGEST = 40.0
"""Log-odds up to which a persona is taken for or out: ``e^-40`` is no weight."""

STILL = 1e-10
"""Slope, in nats per unit of log-odds, below which Newton stops."""


class Nearest(NamedTuple):
    """The nearest common change of the odds.

    Attributes:
        log_odds: a, of mean 0 [K].
        distance: ``E_c KL(pi‖m_a)``, nats: what the best point found has, so that the nearest may be nearer.
        slope: largest derivative of the distance there, nats: 0 where it is stationary.
    """

    log_odds: Float[Array, " K"]
    distance: Float[Array, ""]
    slope: Float[Array, ""]


class _State(NamedTuple):
    log_odds: Float[Array, " K"]
    distance: Float[Array, ""]
    slopes: Float[Array, " K"]
    curvatures: Float[Array, "2 K K"]
    iteration: Int[Array, ""]


def project(
    log_policy: Float[Array, "C N"],
    log_gates: Float[Array, "C K"],
    log_personas: Float[Array, "C K N"],
    log_prompts: Float[Array, " C"],
    *,
    initial: Float[Array, " K"] | None = None,
) -> Nearest:
    """The common change of log-odds that comes nearest to a policy, in the sense of ``E_c KL(pi‖m_a)``.

    With r the responsibilities under the changed gate, the slope is ``E_c[g_a - E_pi r]`` and the curvature
    ``E_c[Cov_{g_a} - E_pi Cov_r]``. The better of two steps is taken: Newton's, and the one without the second
    covariance, which is of expectation maximisation and always comes nearer.

    Args:
        log_policy: log pi(x|c) [C, N]; of a hundred random ones far from the base one had a nearer point elsewhere.
        log_gates: the base's log g_k(c) [C, K].
        log_personas: log p_k(x|c) [C, K, N].
        log_prompts: log rho(c) [C].
        initial: a to start from [K]; by default the base.
    """
    policy, rho = jnp.exp(log_policy), jnp.exp(log_prompts)

    def at(log_odds: Array) -> _State:
        gates = numerics.log_normalize(log_gates + log_odds[None])
        log_mix = numerics.log_mix(gates, log_personas)
        said = jnp.where(jnp.isneginf(log_mix), 0.0, log_mix)[:, None]
        shares, weights = jnp.exp(gates[..., None] + log_personas - said), jnp.exp(gates)
        mean = jnp.einsum("cn,ckn->ck", policy, shares)
        gate_part = jnp.diag(rho @ weights) - jnp.einsum("c,ck,cl->kl", rho, weights, weights)
        told = jnp.diag(rho @ mean) - jnp.einsum("c,cn,ckn,cln->kl", rho, policy, shares, shares)
        distance = rho @ numerics.kl_divergence(log_policy, log_mix)
        curvatures = jnp.stack([gate_part - told, gate_part])
        return _State(log_odds, distance, rho @ (weights - mean), curvatures, jnp.zeros((), int))

    def iterate(state: _State) -> _State:
        # A common constant changes nothing: it is held by one more curvature.
        steps = jax.vmap(lambda curvature: _solve(curvature + 1 / state.slopes.shape[0], -state.slopes))(
            state.curvatures
        )
        tried = jax.vmap(at)(jnp.clip(state.log_odds[None] + jnp.clip(steps, -LONGEST, LONGEST), -LARGEST, LARGEST))
        best = jnp.where(jnp.isnan(tried.distance), jnp.inf, tried.distance).argmin()
        # The last step of all can go up by rounding.
        return jax.tree.map(lambda x: x[best], tried)._replace(iteration=state.iteration + 1)

    first = at(jnp.zeros(log_gates.shape[1]) if initial is None else initial)
    going = lambda s: (jnp.abs(s.slopes).max() > STILL) & (s.iteration < MAX_ITERATIONS)  # noqa: E731
    last = jax.lax.while_loop(going, iterate, first)
    return Nearest(last.log_odds - last.log_odds.mean(), last.distance, jnp.abs(last.slopes).max())


def _solve(matrix: Float[Array, "K K"], right: Float[Array, " K"]) -> Float[Array, " K"]:
    return interior_point.solve_factored(interior_point.cholesky(matrix), right)


def weak_limit(
    log_gates: Float[Array, "C K"],
    log_base: Float[Array, "C N"],
    log_personas: Float[Array, "C K N"],
    reward: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
) -> Float[Array, ""]:
    """S(0+) of the common change: the R² of regressing the reward, within prompts, on responsibilities.

    One coefficient for each persona and all prompts, ``d log m_a = sum_k da_k (r_k(c, x) - g_k(c))``; the hull with a
    mix for every prompt has coefficients for each (``theory.weak_limit``), so that this is never more. Arguments as
    there and in ``project``; the reward may be a rule's direction.
    """
    said = jnp.where(jnp.isneginf(log_base), 0.0, log_base)[:, None]
    moved = jnp.exp(log_gates[..., None] + log_personas - said) - jnp.exp(log_gates)[..., None]
    mass = jnp.exp(log_prompts[:, None] + log_base)
    root = jnp.sqrt(mass)
    centred = root * numerics.centred(log_base, reward)
    design = jnp.moveaxis(root[:, None] * moved, 1, -1).reshape(-1, log_gates.shape[1])
    fitted = design @ jnp.linalg.lstsq(design, centred.reshape(-1))[0]
    return (fitted**2).sum() / (centred**2).sum()
