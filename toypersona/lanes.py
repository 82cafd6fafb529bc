"""Many configurations side by side on a CPU: what a caller vmaps over lies on the trailing axis, in vector registers.

Then a sum over words is a sum of whole vectors. XLA would fold the transposition into each loop that reads its result,
and repeat it there: parts are set apart by conditionals, whose operands and results have to exist in memory. Lanes are
filled inside of ``filled`` alone; elsewhere every vmap is jax's own.
"""

import functools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Bool, Float

from toypersona.chains import Halves, joined

Worth = Callable[[Float[Array, "C L M R *B"], Any], Float[Array, "C L M R *B"]]
"""``(pi, paid) -> d J / d pi`` of every response by itself, in operators that broadcast over lanes."""

FEWEST = 8
"""Configurations below which registers stay half empty."""

MOST_CHAINS = 16
"""Personas above which a product of matrices is faster."""

LARGE = 256
"""Responses to a prompt below which setting parts apart takes longer than it saves."""

ADDED = 4
"""Rows in a sum that the compiler unrolls; of more it makes a loop of numbers, not of vectors."""

_FILLED = jax.make_user_context(default_value=False)


def filled() -> AbstractContextManager[None]:
    """A context in which vmaps fill lanes: for programs that a CPU's compiler gets with ``programs.CPU_OPTIONS``.

    With XLA's own options they would be slower. Gradients of fewer than ``FEWEST`` configurations, of more than
    ``MOST_CHAINS`` personas or fewer than ``LARGE`` responses, and of normalised advantages, are vmapped as ever.
    """
    return _FILLED(True)


def as_one_vmap(one: Callable[..., Any], many: Callable[..., Any]) -> Callable[..., Any]:
    """``one(*arrays)``, of which any nest of vmaps is a single call of ``many`` where lanes are filled.

    Its derivatives are those of ``one``.

    Args:
        one: a function of arrays.
        many: ``(axes, *arrays)``, what ``jax.vmap(one, axes)`` does; each of ``axes`` is 0, or None of what is shared.
    """

    def wide(size: int, axes: tuple[int | None, ...]) -> Callable[..., Any]:
        function = jax.custom_batching.custom_vmap(lambda *arrays: many(axes, *arrays))

        @function.def_vmap
        def _(outer: int, batched: Any, *arrays: Array) -> tuple[Any, Any]:
            def merged(x: Array, axis: int | None, on: bool) -> Array:
                if axis is None and not on:
                    return x
                x = jnp.expand_dims(x, [place for place, missing in enumerate((not on, axis is None)) if missing])
                return jnp.broadcast_to(x, (outer, size, *x.shape[2:])).reshape(outer * size, *x.shape[2:])

            both = tuple(0 if on else axis for axis, on in zip(axes, batched, strict=True))
            found = wide(outer * size, both)(*map(merged, arrays, axes, batched))
            return _all(jax.tree.map(lambda x: x.reshape(outer, size, *x.shape[1:]), found))

        return function

    function = jax.custom_batching.custom_vmap(one)

    @function.def_vmap
    def _(size: int, batched: Any, *arrays: Array) -> tuple[Any, Any]:
        axes = tuple(0 if on else None for on in batched)
        call = wide(size, axes) if _FILLED.value else jax.vmap(one, axes)
        return _all(call(*arrays))

    known = jax.custom_jvp(function)
    known.defjvp(lambda arrays, moved: jax.jvp(one, arrays, moved))
    return known


def _all(found: Any) -> tuple[Any, Any]:
    return found, jax.tree.map(lambda _: True, found)


def laid_out_once(one: Callable[..., Any]) -> Callable[..., Any]:
    """``one``, a loop: arrays [B, C, N], N at least ``LARGE``, are transposed once before it, and not in every step."""

    def many(axes: tuple[int | None, ...], *arrays: Array) -> Any:
        large = [axis == 0 and x.ndim == 3 and x.shape[-1] >= LARGE for axis, x in zip(axes, arrays, strict=True)]
        laid = [jnp.moveaxis(x, 0, -1) if is_large else x for x, is_large in zip(arrays, large, strict=True)]
        return jax.vmap(one, [-1 if is_large else axis for axis, is_large in zip(axes, large, strict=True)])(*laid)

    return as_one_vmap(one, many)


def slopes(worth: Worth, halves: Halves, paid: Any) -> Halves:
    """``sum_x worth(pi(x)) d pi(x)``: derivatives by both parts of the responses to C prompts.

    Worth counts less its mean under pi: probabilities sum to one, so that only rounding is left of a constant.

    Args:
        worth: what a response adds to the objective for each unit of its probability: of pi [C, L, M, R], with lanes
            behind where they are filled, and of ``paid`` in the same shape, or [C, 1, 1, 1].
        halves: of the mixture, [C, K, L, M] and [C, K, M, R].
        paid: arrays [C, N] in the order of ``chains.outcomes``, or [C, 1], for ``worth``.
    """
    leaves, tree = jax.tree.flatten((halves, paid))
    responses = math.prod(halves.left.shape[2:]) * halves.right.shape[3]
    plain = lambda *leaves: _plain(worth, *jax.tree.unflatten(tree, leaves))  # noqa: E731

    def many(axes: tuple[int | None, ...], *leaves: Array) -> Halves:
        num = next(x.shape[0] for x, axis in zip(leaves, axes, strict=True) if axis == 0)
        if num < FEWEST or halves.left.shape[1] > MOST_CHAINS or responses < LARGE:
            return jax.vmap(plain, axes)(*leaves)
        every = [x if axis == 0 else jnp.broadcast_to(x, (num, *x.shape)) for x, axis in zip(leaves, axes, strict=True)]
        return _trailing(worth, *jax.tree.unflatten(tree, every))

    return as_one_vmap(plain, many)(*leaves)


def _plain(worth: Worth, halves: Halves, paid: Any) -> Halves:
    left, right = halves
    probs = _by_word(halves, jax.vmap(joined)(halves))
    gains = worth(probs, jax.tree.map(functools.partial(_by_word, halves), paid))
    gains = gains - (probs * gains).sum(axis=(1, 2, 3), keepdims=True)
    return Halves(jnp.einsum("clmr,ckmr->cklm", gains, right), jnp.einsum("clmr,cklm->ckmr", gains, left))


def _by_word(halves: Halves, x: Float[Array, "C _ *B"]) -> Float[Array, "C L M R *B"]:
    """What is listed by response, or is one number a prompt, along the parts of a response."""
    parts = (*halves.left.shape[2:4], halves.right.shape[3]) if x.shape[1] > 1 else (1, 1, 1)
    return x.reshape(x.shape[0], *parts, *x.shape[2:])


def _trailing(worth: Worth, halves: Halves, paid: Any) -> Halves:
    """``_plain`` of B configurations, all arrays [B, C, ...]."""
    # True of every probability and of nan, which the compiler cannot know.
    always = halves.left.ravel()[0] != -1
    apart = functools.partial(_apart, always)
    halves = apart(lambda halves: jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), halves), halves)
    paid = jax.tree.map(lambda x: _by_word(halves, jnp.moveaxis(x, 0, -1)), paid)
    probs = apart(_joined, halves)
    gains = apart(worth, probs, paid)
    begun = apart(lambda probs, gains: (probs * gains).sum(axis=3), probs, gains)
    begun = apart(lambda begun: begun.sum(axis=2), begun)
    means = apart(lambda begun: _added(lambda rows: begun[:, rows].sum(axis=1), begun.shape[1]), begun)
    found = apart(_pulled, gains, means, halves)
    return apart(lambda found: jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), found), found)


def _joined(halves: Halves) -> Float[Array, "C L M R B"]:
    return (halves.left[:, :, :, :, None] * halves.right[:, :, None]).sum(axis=1)


def _pulled(gains: Float[Array, "C L M R B"], means: Float[Array, "C B"], halves: Halves) -> Halves:
    left, right = halves
    gains = gains - means[:, None, None, None]
    after = _added(lambda rows: (gains[:, None, rows] * left[:, :, rows, :, None]).sum(axis=2), left.shape[2])
    return Halves((gains[:, None] * right[:, :, None]).sum(axis=4), after)


def _added(part: Callable[[slice], Array], num: int) -> Array:
    """The sum over parts of a few rows each."""
    return functools.reduce(jnp.add, [part(slice(i, i + ADDED)) for i in range(0, num, ADDED)])


def _apart(always: Bool[Array, ""], function: Callable[..., Any], *given: Any) -> Any:
    """``function(*given)``: what it is given and what it returns lie in memory, the last axis innermost."""

    def laid(*given: Any) -> Any:
        rows = lambda x: with_layout_constraint(x, Layout(major_to_minor=tuple(range(x.ndim))))  # noqa: E731
        return jax.tree.map(rows, function(*given))

    never = lambda *given: jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), jax.eval_shape(function, *given))  # noqa: E731
    return jax.lax.cond(always, laid, never, *given)
