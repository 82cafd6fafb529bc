"""A random model of the architecture that ``policies.language_model`` computes, small enough to be listed; float64."""

import jax
import jax.numpy as jnp
import numpy as np

from toypersona.policies import language_model

WIDTH, HIDDEN, DEPTH, HEADS, GROUPS, SIZE, WORDS = 12, 10, 2, 4, 2, 6, 7
ARCHITECTURE = language_model.Architecture(HEADS, GROUPS, 50.0, 1e-3)


def random_params(seed):
    """Weights of every kind, none at a special value, float64."""
    rng = np.random.default_rng(seed)
    shapes = {
        "queries": (WIDTH, HEADS * SIZE),
        "keys": (WIDTH, GROUPS * SIZE),
        "values": (WIDTH, GROUPS * SIZE),
        "out": (HEADS * SIZE, WIDTH),
        "gate": (WIDTH, HIDDEN),
        "up": (WIDTH, HIDDEN),
        "down": (HIDDEN, WIDTH),
    }
    blocks = {name: rng.normal(size=(DEPTH, *shape)) / 2 for name, shape in shapes.items()}
    blocks |= {name: rng.uniform(0.5, 2, (DEPTH, WIDTH)) for name in ("attention_norm", "hidden_norm")}
    params = {"embedding": rng.normal(size=(WORDS, WIDTH)), "norm": rng.uniform(0.2, 1, WIDTH), "blocks": blocks}
    return jax.tree.map(jnp.asarray, params)


PARAMS = random_params(0)
