"""Estimators of KL(pi‖pi0) in nats from samples of pi, of ``log_ratio = log pi(x) - log pi0(x)`` (Schulman 2020)."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

Estimator = Callable[[Float[Array, "*batch"]], Float[Array, "*batch"]]


def k1(log_ratio: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """``log_ratio``: unbiased, of either sign."""
    return log_ratio


def k2(log_ratio: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """``log_ratio² / 2``: biased in value; its gradient at the samples is on average the divergence's."""
    return 0.5 * log_ratio**2


def k3(log_ratio: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """``exp(-log_ratio) - 1 + log_ratio``: unbiased where pi0 says nothing that pi cannot, and never negative."""
    return jnp.expm1(-log_ratio) + log_ratio
