"""A random model of the architecture that ``policies.language_model`` computes, small enough to be listed; float64."""

import jax
import jax.numpy as jnp
import numpy as np

from toypersona.policies import language_model, model_file

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


class Letters:
    """Stands in for a tokenizer: a token a character, letters from a on."""

    class Encoded:
        def __init__(self, ids):
            self.ids = ids

    def encode(self, text):
        return self.Encoded([(ord(letter) - ord("a")) % WORDS for letter in text])

    def decode(self, ids, skip_special_tokens):
        assert not skip_special_tokens
        return "".join(chr(ord("a") + token) for token in ids)


MODEL = model_file.Model(ARCHITECTURE, PARAMS, Letters(), np.arange(WORDS) == 2)
