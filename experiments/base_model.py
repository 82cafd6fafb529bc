"""A world by name, a mixture pretrained on its text, and everything measured against them: where every map starts."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiments import harness
from toypersona import chains, pretraining
from toypersona.policies import mixture
from toypersona.worlds import base, catalogue


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """How the base is fitted to unlabelled text."""

    num_lines: int = 4000
    """Lines of text sampled from the world."""
    line_length: int = 16
    """Units of each line that are read (longer than the responses measured: more to tell people apart by)."""
    num_steps: int = 1000
    """Adam steps."""
    batch_size: int = 256
    """Lines a step."""
    learning_rate: float = 0.05
    """Adam's, decayed to zero."""
    num_restarts: int = 4
    """Random starts; the likeliest fit is kept."""
    gate: str = "network"
    """network (reads the prompt's units) or table (one row per prompt)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldSettings(harness.Settings):
    """Settings of every experiment that starts from a pretrained world."""

    world: str = "larry_bob_alice"
    """larry_bob_alice, speakers, markov, or text:FOLDER with one text file per persona."""
    options: catalogue.Options = catalogue.Options()
    """What the world is made of."""
    length: int = 3
    """T, units of a response; all V^T are enumerated."""
    pretraining: Pretraining = Pretraining()
    """How the base is fitted."""
    num_worlds: int = 1
    """Independent worlds of a markov world; independent pretraining texts of the others."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Draws of whatever the experiment draws beside the world."""


class Base(NamedTuple):
    """A world and the mixture fitted to it; ``world`` and ``params`` have a leading axis of worlds."""

    world: base.World
    labels: base.Labels
    mixture: mixture.Mixture
    params: Any
    recovery: pretraining.Recovery
    responses: Array
