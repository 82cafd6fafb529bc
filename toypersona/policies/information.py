"""How much is heard of each logit: what preconditions the natural gradient, and what damps it.

A softmax whose options are chosen n times on average, n p_v times each, has the Fisher matrix ``n (diag p - p p^T)`` if
one hears which softmax chose. In a mixture one does not: persona k's choices count as far as the posterior
``P(k|x)`` tells that it was k, and what is left of ``n p_v`` is missing information (Louis 1982). It is 0 in a table,
where nothing is hidden.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from toypersona.types import Params, Scalar

Map = Callable[[Params], Params]

REACH = 1.5
"""Nats by which one step may move a logit of a network, whose logits are linear in its parameters for short steps only.

Near a corner, where a persona's weight w vanishes, the natural gradient moves its logit at a rate of 1/w."""


def _over(values: Array, by: Array) -> Array:
    """``values / by``, and 0 where nothing is heard: what is never chosen is not moved."""
    return jnp.where(by > 0, values / jnp.where(by > 0, by, 1.0), 0.0)


def metric(complete: Any, observed: Any, damping: Scalar) -> tuple[Map, Map]:
    """``Chart.damp`` and ``Chart.invert`` of logits whose last axis is a softmax's; pytrees of one structure.

    Damping adds ``diag d - d d^T / sum d`` to each softmax's Fisher matrix, ``d_v = damping n m_v`` with m_v the share
    of option v that is missing: like F, it does not see what all logits have in common. Options rarer than ``damping``
    hardly move where one cannot tell who speaks: without damping they move so far that no step is small.

    Args:
        complete: how often each option is chosen, n p_v.
        observed: the same, every choice counted with the posterior of who made it: but for the mean, F's diagonal.
        damping: in units of n.
    """

    def damping_of(c: Array, o: Array) -> Array:
        return damping * c.sum(axis=-1, keepdims=True) * jnp.maximum(_over(c - o, c), 0.0)

    def damped(d: Array, v: Array) -> Array:
        weighted = d * v
        together = _over(weighted.sum(axis=-1, keepdims=True), d.sum(axis=-1, keepdims=True))
        return (weighted - d * together).astype(v.dtype)

    slack = jax.tree.map(damping_of, complete, observed)
    inverse = jax.tree.map(lambda o, d: _over(jnp.ones_like(o), o + d), observed, slack)
    inverted = lambda i, v: (i * v).astype(v.dtype)  # noqa: E731
    return lambda move: jax.tree.map(damped, slack, move), lambda slope: jax.tree.map(inverted, inverse, slope)


def lift(
    logits: Callable[[Params], Float[Array, "C K"]], params: Params, occurs: Float[Array, " C"]
) -> Callable[[Float[Array, "C K"], Scalar], Params]:
    """``Chart.lift`` of a network: the shortest move of its parameters that makes a move of its softmax's logits.

    No logit is moved by more than ``REACH`` in a step.

    Args:
        logits: of the network.
        params: where it is.
        occurs: above 0 at prompts whose logits count.
    """
    flat, unravel = ravel_pytree(params)

    def centred(values: Float[Array, "C K"]) -> Float[Array, "C K"]:
        # What all logits of a softmax have in common is free.
        return jnp.where(occurs[:, None] > 0, values - values.mean(axis=1, keepdims=True), 0.0)

    values, pull_back = jax.vjp(lambda x: centred(logits(unravel(x))), flat)
    units = jnp.eye(values.size, dtype=values.dtype).reshape(-1, *values.shape)
    jacobian = jax.vmap(lambda unit: pull_back(unit)[0])(units)
    gram = jacobian @ jacobian.T
    size = jnp.trace(gram)
    ridge = 100 * jnp.finfo(gram.dtype).eps * jnp.where(size > 0, size, 1.0)
    factor = jax.scipy.linalg.cho_factor(gram + ridge * jnp.eye(gram.shape[0], dtype=gram.dtype))

    def lifted(move: Float[Array, "C K"], learning_rate: Scalar) -> Params:
        longest = jnp.abs(learning_rate) / REACH
        held = move / jnp.maximum(1.0, longest * jnp.abs(move))
        return unravel(jax.scipy.linalg.cho_solve(factor, centred(held).reshape(-1)) @ jacobian)

    return lifted
