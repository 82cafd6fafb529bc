"""A small sweep that several test files run."""

import jax
import jax.numpy as jnp
import numpy as np

from toypersona import sweeps
from toypersona.outputs import Output, named

AXES = {"strength": np.array([0.1, 0.5, -1.0]), "order": np.array([1, 2])}
SEEDS = (3, 0, 7)
COORDS = {"rule": np.array(["tilt", "vanilla/gates"]), "persona": np.array([10.0, 20.0, 30.0])}


def plain(key, *, strength, order):
    """What is computed at one point."""
    noise = jax.random.normal(key, (2, 3))
    return {
        "reward": strength * order + noise.sum(),
        "weights": jnp.sqrt(jnp.abs(strength)) * noise,
        "count": order * jnp.arange(4, dtype=jnp.int32),
        "fell": strength < 0,
        "single": jnp.float32(0.5) * order.astype(jnp.float32),
    }


def experiment(key, *, strength, order):
    values = plain(key, strength=strength, order=order)
    return values | {"weights": named(values["weights"], "weight", None, **COORDS)}


def run(out=None, *, experiment_fn=experiment, axes=AXES, **changed):
    given = {"seeds": SEEDS, "chunk": 4, "config": {"length": 3}, "progress": False}
    return sweeps.run(experiment_fn, axes, out=out, **{**given, **changed})


def other_output(key, *, strength, order):
    return experiment(key, strength=strength, order=order) | {"single": order}


def weights_twice(key, *, strength, order):
    return plain(key, strength=strength, order=order) | {"weights": Output(jnp.ones((2, 2)), ("a", "a"))}


def weights_named(**dims):
    return lambda key, *, strength, order: (
        plain(key, strength=strength, order=order) | {"weights": named(jnp.ones((2, 3)), **dims)}
    )
