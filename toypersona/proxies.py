"""Gold reward along three rules that follow a proxy of it: over-optimisation (Gao, Schulman and Hilton 2023)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import rewards, theory
from toypersona.bases import Base
from toypersona.rules import gradient

RULES = ("tilt", "policy gradient", "best of n")


def followed(
    base: Base,
    gold: Float[Array, "C N"],
    error: Float[Array, "C N"],
    *,
    strengths: Float[Array, " R"],
    times: Float[Array, " R"],
    nums: Float[Array, " R"],
    max_step: float,
) -> dict[str, Float[Array, "3 R"]]:
    """Drift and gold along ``RULES`` that follow gold plus an error.

    Args:
        base: where they start.
        gold: what is wanted [C, N].
        error: what the proxy adds to it [C, N].
        strengths: s of the tilt [R].
        times: learning rate times steps of policy gradient [R].
        nums: n of best of n [R].
        max_step: longest step of policy gradient.

    Returns:
        ``gold``, mean gold reward, and ``gold_drift``, KL(policy‖base) in nats, of every rule [3, R].
    """
    proxy = rewards.standardise(gold + error, base.log_base, base.log_prompts)
    walked = base.follow(
        lambda size: gradient.policy_gradient(base.task(proxy), learning_rate=size),
        key=jax.random.key(0),
        marks=times,
        max_step=max_step,
    )
    tilted = jax.lax.map(lambda s: theory.tilt(base.log_base, proxy, s), strengths)
    best = jax.lax.map(lambda n: theory.best_of_n(base.log_base, proxy, n), nums)
    at = lambda law: {"gold": base.mean(law, gold), "gold_drift": base.spent(law)}  # noqa: E731
    return jax.lax.map(lambda path: jax.lax.map(at, path), jnp.stack([tilted, walked, best]))
