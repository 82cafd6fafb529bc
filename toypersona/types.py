"""Aliases shared by every layer.

Dimension letters in shape annotations: C prompts, K personas, N = V^T outcomes, T response length, V words a response
can be made of, U >= V units in all (some occur in prompts only), P prompt length. Information is in nats everywhere.
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float, Int, Num

Params = Any
"""A pytree of arrays."""

Scalar = float | int | Num[Array, ""]
"""A number, traced or not."""

Key = jax.Array
"""One typed key, as made by ``jax.random.key``."""

RewardFn = Callable[[Int[Array, " P"], Int[Array, " T"]], Float[Array, ""]]
"""The reward of one response [T] to one prompt [P], both as unit indices."""
