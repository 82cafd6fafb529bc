"""Results of long computations kept on disk, found again by what is computed and from what."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array, Int

from toypersona import files, programs
from toypersona.types import Key

Result = TypeVar("Result")

LEAN = {"xla_backend_optimization_level": 1}
if jax.__version__.startswith("0.10."):
    # Later ones do not know it.
    LEAN |= {"xla_cpu_use_fusion_emitters": False}
"""Compiler options on a CPU for long programs that few results are needed of: a transformer's steps are as fast."""

DISK = Lock()
"""Trees are written one by one: orbax mixes up what several threads write at once."""

AT_ONCE = 4
"""Computations side by side: more would fill the memory."""


class ByKey(NamedTuple):
    """Results of a computation for each of some keys, found again by the key.

    Attributes:
        keys: data of the keys [S, ...].
        results: with a leading axis S.
    """

    keys: Array
    results: Any

    def at(self, key: Key) -> Any:
        """The result for one of the keys (may be traced)."""
        index = place(jax.random.wrap_key_data(self.keys), key)
        return jax.tree.map(lambda x: x[index], self.results)


def place(keys: Key, key: Key) -> Int[Array, ""]:
    """Where among some keys [S] one of them stands."""
    return jnp.argmax((jax.random.key_data(keys) == jax.random.key_data(key)[None]).all(axis=1))


def stacked(trees: Sequence[Result]) -> Result:
    """Trees of the same structure as one, with a leading axis."""
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


def for_each_key(compute: Callable[[Key], Any], keys: Key, folder: Path | None, *, lean: bool = False) -> ByKey:
    """A computation for each of some different keys [S], each kept by itself as by ``kept``."""
    data = jax.random.key_data(keys)
    results = kept(lambda one: compute(jax.random.wrap_key_data(one)), [(one,) for one in data], folder, lean=lean)
    return ByKey(data, stacked(results))


def kept(
    compute: Callable[..., Result], calls: Sequence[tuple], folder: Path | None, *, lean: bool = False
) -> list[Result]:
    """The result of every call of a computation, loaded if it was kept before; traced and compiled once.

    Args:
        compute: a pure function of arrays that returns a pytree of arrays.
        calls: the arguments of each, all of the same shapes.
        folder: where results are kept, each under the version of jax, the platform and the fingerprint of the traced
            computation and its arguments, so that other settings, texts or code never find it; computed anew if None.
        lean: compile in half of the time what then may be slower (``LEAN``).
    """
    closed, shapes = jax.make_jaxpr(compute, return_shape=True)(*calls[0])
    options = LEAN if lean and jax.default_backend() == "cpu" else None
    evaluate = jax.jit(jaxpr_as_fun(closed), compiler_options=options)

    def place_of(arguments: tuple) -> Path | None:
        version = f"jax-{jax.__version__}-{jax.default_backend()}"
        return folder and folder / version / programs.fingerprint(closed, arguments)

    def result(call: tuple[tuple, Path | None]) -> Result:
        arguments, path = call
        if path and path.exists():
            return files.kept_tree(path, shapes)
        computed = jax.tree.unflatten(jax.tree.structure(shapes), evaluate(*jax.tree.leaves(arguments)))
        if path:
            jax.block_until_ready(computed)
            with DISK:
                files.keep_tree(path, computed)
        return computed

    each = [(arguments, place_of(arguments)) for arguments in calls]
    unknown = [i for i, (_, path) in enumerate(each) if not (path and path.exists())]
    # The first of them compiles; of small steps one after the other, a core has its fill with one computation.
    found = {i: result(each[i]) for i in unknown[:1]}
    with ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1)) as pool:
        found |= zip(unknown[1:], pool.map(result, [each[i] for i in unknown[1:]]), strict=True)
    return [found[i] if i in found else result(call) for i, call in enumerate(each)]
