"""Long computations seed by seed, kept on disk, each compiled by itself: as one program they would compile longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.shared.settings import CACHE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toypersona.artefacts import ByKey


def computed(seeds: Sequence[int], compute: Callable[..., Any], calls: Sequence[tuple]) -> ByKey:
    """The results of a computation for the key of each seed, found by that key.

    Args:
        seeds: different ones.
        compute: a function of the data of a key and whatever else the calls have, all of them arrays.
        calls: what follows the key, for each seed: what it drew alone, so that one more seed computes no other again.
    """
    import jax
    import jax.numpy as jnp

    from toypersona import artefacts

    keys = jax.random.key_data(jax.vmap(jax.random.key)(jnp.asarray(seeds)))
    own = lambda data, *rest: compute(jax.random.wrap_key_data(data), *rest)  # noqa: E731
    each = [(data, *call) for data, call in zip(keys, calls, strict=True)]
    return artefacts.ByKey(keys, artefacts.stacked(artefacts.kept(own, each, CACHE / "parts", lean=True)))
