"""Results of long computations kept on disk, found again by what is computed and from what."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array, Int

from toypersona import files, programs
from toypersona.types import Key

Result = TypeVar("Result")


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
    return _stacked(tuple(trees))


# Outside of a trace too it is one program.
_stacked = jax.jit(lambda trees: jax.tree.map(lambda *x: jnp.stack(x), *trees))


def for_each_key(compute: Callable[[Key], Any], keys: Key, folder: Path | None) -> ByKey:
    """A computation for each of some different keys [S], each kept by itself as by ``kept``."""
    data = jax.random.key_data(keys)
    results = kept(lambda one: compute(jax.random.wrap_key_data(one)), [(one,) for one in data], folder)
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
        lean: compile with ``programs.lean_options`` on a CPU.
    """
    closed, shapes = jax.make_jaxpr(compute, return_shape=True)(*calls[0])
    options = dict(programs.lean_options(closed)) if lean and jax.default_backend() == "cpu" else None
    evaluate = jax.jit(jaxpr_as_fun(closed), compiler_options=options)
    version = f"jax-{jax.__version__}-{jax.default_backend()}"

    def result(arguments: tuple) -> Result:
        path = folder and folder / version / programs.fingerprint(closed, arguments)
        if path and path.exists():
            # What was read is bound to a device, and programs of such arrays are others: they would be compiled anew.
            return jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), files.kept_tree(path, shapes))
        computed = jax.tree.unflatten(jax.tree.structure(shapes), evaluate(*jax.tree.leaves(arguments)))
        if path:
            files.keep_tree(path, computed)
        return computed

    return [result(arguments) for arguments in calls]
