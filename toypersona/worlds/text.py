"""Worlds made of people's lines: one text file per persona, one line of speech per line of the file.

A line's first units are its opening, the prompt; the rest is the response. A persona is the smoothed Markov table of
its lines, and the gate is Bayes' rule on who opens lines that way: the world's truth is fitted to the lines, and its
text can be drawn at any length.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from toypersona.options import TextOptions
from toypersona.worlds import lines as people
from toypersona.worlds.lines import Heard
from toypersona.worlds.world import Labels, World


def from_folder(folder: Path, options: TextOptions) -> tuple[World, Labels]:
    """A world from the ``*.txt`` files of a folder; a persona is named after its file.

    Raises:
        ValueError: as ``lines.from_folder`` and ``lines.hear``.
    """
    return from_lines(people.from_folder(folder), options)


def from_lines(lines: Mapping[str, Iterable[str]], options: TextOptions) -> tuple[World, Labels]:
    """A world from the lines of two or more personas.

    Raises:
        ValueError: as ``lines.hear``.
    """
    heard = people.hear(lines, options)
    world = World(
        jnp.array([[heard.units.index(unit) for unit in prompt] for prompt in heard.prompts]),
        *_prompt_probabilities(heard, options),
        jnp.log(jnp.asarray(_tables(heard, options))),
    )
    return world, Labels(tuple(lines), heard.units, people.SEPARATORS[options.unit])


def _prompt_probabilities(heard: Heard, options: TextOptions) -> tuple[Float[Array, " C"], Float[Array, "C K"]]:
    """Log rho(c) and log g_k(c) from smoothed counts of who opens how."""
    by_persona = heard.openings().items()
    counts = np.array(
        [
            [heard.weights[name] * own[prompt] + options.smoothing for name, own in by_persona]
            for prompt in heard.prompts
        ]
    )
    by_prompt = counts.sum(axis=1)
    return jnp.log(jnp.asarray(by_prompt / by_prompt.sum())), jnp.log(jnp.asarray(counts / by_prompt[:, None]))


def _tables(heard: Heard, options: TextOptions) -> Float[np.ndarray, "..."]:
    """Each persona's next-unit probabilities [K, U, ..., U, V].

    They are shrunk toward those of all personas together, and these toward the same with one unit less of context, down
    to one unit: a context that nobody's lines hold is answered as its last units are.
    """
    index, num_words = {unit: i for i, unit in enumerate(heard.units)}, len(heard.words)
    counts = np.zeros((len(heard.lines), *(len(index),) * options.order, num_words))
    for table, own in zip(counts, heard.lines.values(), strict=True):
        for opening, response in own:
            line = opening[len(opening) - options.order :] + response
            for position in range(options.order, len(line)):
                place = line[position - options.order : position + 1]
                if all(unit in index for unit in place):
                    table[tuple(index[unit] for unit in place)] += 1
    pseudo_counts, together = options.smoothing * num_words, np.full(num_words, 1 / num_words)
    weighted = np.array([*heard.weights.values()]).reshape(-1, *[1] * (counts.ndim - 1)) * counts
    for order in range(1, options.order + 1):
        together = _shrunk(weighted.sum(axis=tuple(range(1 + options.order - order))), together, pseudo_counts)
    return _shrunk(counts, together, pseudo_counts)


def _shrunk(
    counts: Float[np.ndarray, "..."], toward: Float[np.ndarray, "..."], pseudo_counts: float
) -> Float[np.ndarray, "..."]:
    tables = counts + pseudo_counts * toward
    return tables / tables.sum(axis=-1, keepdims=True)
