"""Worlds made of people's lines: one text file per persona, one line of speech per line of the file.

A line's first units are its opening, the prompt; the rest is the response. A persona is the smoothed Markov table of
its lines, and the gate is Bayes' rule on who opens lines that way: the world's truth is fitted to the lines, and its
text can be drawn at any length.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from toypersona import limits
from toypersona.options import TextOptions, check_tables
from toypersona.transcripts import END
from toypersona.worlds import names
from toypersona.worlds.world import Labels, World

UNITS = {"word": (re.compile(r"\w+(?:['-]\w+)*"), " "), "character": (re.compile(r"[\w' ]"), "")}
_SPACE = re.compile(r"(?:\s|_|--|—)+")
PADDING = 4
"""Ends counted after each line, so that what is over stays over."""


def from_folder(folder: Path, options: TextOptions) -> tuple[World, Labels]:
    """A world from the ``*.txt`` files of a folder; a persona is named after its file.

    Raises:
        ValueError: no such folder, fewer than two files, an empty file, or options that make no world.
    """
    lines = {}
    for file in names.texts(folder):
        lines[file.stem] = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not lines[file.stem]:
            raise ValueError(f"{file} is empty: write one line of speech per line, or remove the file.")
    return from_lines(lines, options)


def from_lines(lines: Mapping[str, Iterable[str]], options: TextOptions) -> tuple[World, Labels]:
    """A world from the lines of two or more personas.

    Raises:
        ValueError: options out of range, fewer than two personas, or one without a line longer than an opening or
            without any of the kept units.
    """
    limits.check(options)
    if options.prompt_length < options.order:
        raise ValueError(
            f"Openings of {options.prompt_length} {options.unit}(s) are too short for order {options.order}: raise "
            "prompt_length or lower order."
        )
    if len(lines) < 2:
        raise ValueError(f"A world needs two personas or more, not {len(lines)}: give lines for each.")
    split = {name: [_units(line, options.unit) for line in own] for name, own in lines.items()}
    spoken = {name: [line for line in own if len(line) > options.prompt_length] for name, own in split.items()}
    for name, own in spoken.items():
        if not own:
            raise ValueError(
                f"No line of {name} goes on after its opening of {options.prompt_length} {options.unit}(s)."
            )
    words = _vocabulary(spoken, options)
    heard = {name: [_hear(line, words, options) for line in own] for name, own in spoken.items()}
    heard = {name: [line for line in own if line[1][0] != END] for name, own in heard.items()}
    for name, own in heard.items():
        if not own:
            raise ValueError(f"{name} says none of the {len(words) - 1} kept {options.unit}s: raise max_units.")
    openings = _count(opening for own in heard.values() for opening, _ in own)
    prompts = [opening for opening, _ in openings[: options.num_prompts]]
    units = [*words, *sorted({unit for prompt in prompts for unit in prompt} - set(words))]
    check_tables(len(lines), len(units), len(words), options.order)
    world = World(
        jnp.array([[units.index(unit) for unit in prompt] for prompt in prompts]),
        *_prompt_probabilities(heard, prompts, options),
        jnp.log(jnp.asarray(_tables(heard, units, len(words), options))),
    )
    return world, Labels(tuple(lines), tuple(units), UNITS[options.unit][1])


def _units(line: str, unit: str) -> list[str]:
    return UNITS[unit][0].findall(_SPACE.sub(" ", line.lower().replace("’", "'")).strip())


def _count(items: Iterable) -> list[tuple]:
    """Most frequent first, ties in alphabetical order."""
    return sorted(Counter(items).items(), key=lambda pair: (-pair[1], pair[0]))


def _vocabulary(spoken: Mapping[str, Sequence[Sequence[str]]], options: TextOptions) -> list[str]:
    """Response units in alphabetical order, the end last."""
    counts = {name: Counter(u for line in own for u in line[options.prompt_length :]) for name, own in spoken.items()}
    together = sum(counts.values(), Counter())
    shares = {name: own.total() / together.total() for name, own in counts.items()}

    def information(unit: str) -> float:
        """The unit's share of the mutual information between words and speakers, times the number of words."""
        expected = {name: share * together[unit] for name, share in shares.items()}
        return sum(own[unit] * math.log(own[unit] / expected[name]) for name, own in counts.items() if own[unit])

    worth = information if options.unit == "word" else together.__getitem__
    best = sorted(together, key=lambda unit: (-worth(unit), unit))[: options.max_units - 1]
    return [*sorted(best), END]


Line = tuple[tuple[str, ...], tuple[str, ...]]
"""Opening and response."""


def _hear(line: Sequence[str], words: Sequence[str], options: TextOptions) -> Line:
    response = [unit for unit in line[options.prompt_length :] if unit in words]
    return tuple(line[: options.prompt_length]), (*response, *[END] * PADDING)


def _prompt_probabilities(
    heard: Mapping[str, Sequence[Line]], prompts: Sequence[tuple[str, ...]], options: TextOptions
) -> tuple[Float[Array, " C"], Float[Array, "C K"]]:
    """Log rho(c) and log g_k(c) from smoothed counts of who opens how."""
    by_persona = [Counter(opening for opening, _ in own) for own in heard.values()]
    counts = np.array([[own[prompt] + options.smoothing for own in by_persona] for prompt in prompts])
    by_prompt = counts.sum(axis=1)
    return jnp.log(jnp.asarray(by_prompt / by_prompt.sum())), jnp.log(jnp.asarray(counts / by_prompt[:, None]))


def _tables(
    heard: Mapping[str, Sequence[Line]], units: Sequence[str], num_words: int, options: TextOptions
) -> Float[np.ndarray, "..."]:
    """Each persona's next-unit probabilities [K, U, ..., U, V].

    They are shrunk toward those of all personas together, and these toward the same with one unit less of context, down
    to one unit: a context that nobody's lines hold is answered as its last units are.
    """
    index = {unit: i for i, unit in enumerate(units)}
    counts = np.zeros((len(heard), *(len(units),) * options.order, num_words))
    for table, own in zip(counts, heard.values(), strict=True):
        for opening, response in own:
            line = opening[len(opening) - options.order :] + response
            for position in range(options.order, len(line)):
                place = line[position - options.order : position + 1]
                if all(unit in index for unit in place):
                    table[tuple(index[unit] for unit in place)] += 1
    pseudo_counts, together = options.smoothing * num_words, np.full(num_words, 1 / num_words)
    for order in range(1, options.order + 1):
        together = _shrunk(counts.sum(axis=tuple(range(1 + options.order - order))), together, pseudo_counts)
    return _shrunk(counts, together, pseudo_counts)


def _shrunk(
    counts: Float[np.ndarray, "..."], toward: Float[np.ndarray, "..."], pseudo_counts: float
) -> Float[np.ndarray, "..."]:
    tables = counts + pseudo_counts * toward
    return tables / tables.sum(axis=-1, keepdims=True)
