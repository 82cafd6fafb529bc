"""People's lines as they are read: who opens how, which words are kept, and what should make one doubt. Without jax.

A line's first units are its opening, the rest is the response. People count alike, however many lines each has.
"""

import functools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toypersona import limits
from toypersona.options import TextOptions, check_tables
from toypersona.transcripts import END
from toypersona.worlds import encodings, names

SEPARATORS = {"word": " ", "character": ""}
"""What stands between two units, by unit."""

_SPACE = re.compile(r"(?:\s|_|--|—)+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Of scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""

PADDING = 4
"""Ends counted after each line, so that what is over stays over."""

FEW_KEPT, UNEVEN, CLAUSE = 1 / 3, 3.0, 2.5
"""What is warned of: a smaller share of words kept, so many times more lines of one than of another, and units of a
script without spaces that are longer than this on average."""

Opening = tuple[str, ...]


class Heard(NamedTuple):
    """Lines of K people, as far as they are read.

    Attributes:
        lines: each one's openings and responses, ends included; without lines of which nothing is left.
        given: how many lines there were of each.
        weights: what each one's lines count, so that all people count alike.
        words: V, those that responses are made of in alphabetical order and the end.
        prompts: the openings that become prompts.
        kept: share of each one's words that are kept.
        clauses: whether words seem to be clauses of a script without spaces.
    """

    lines: dict[str, list[tuple[Opening, tuple[str, ...]]]]
    given: dict[str, int]
    weights: dict[str, float]
    words: tuple[str, ...]
    prompts: list[Opening]
    kept: dict[str, float]
    clauses: bool

    @property
    def units(self) -> tuple[str, ...]:
        """U: the words of responses, and those that only openings have."""
        return (*self.words, *sorted({unit for prompt in self.prompts for unit in prompt} - set(self.words)))

    def openings(self) -> dict[str, Counter[Opening]]:
        """How many of each one's lines open in each way."""
        return {name: Counter(opening for opening, _ in own) for name, own in self.lines.items()}

    def shared(self) -> list[Opening]:
        """The prompts that more than one of them open with."""
        counts = self.openings().values()
        return [prompt for prompt in self.prompts if sum(prompt in own for own in counts) > 1]


def from_folder(folder: Path) -> dict[str, list[str]]:
    """The lines of the text files of a folder, by persona, who is named after the file.

    Raises:
        ValueError: as ``names.texts`` and ``encodings.read``, or an empty file.
    """
    lines = {}
    for file in names.texts(folder):
        lines[file.stem] = [line for line in encodings.read(file).splitlines() if line.strip()]
        if not lines[file.stem]:
            raise ValueError(f"{file} is empty: write one line of speech per line, or remove the file.")
    return lines


def hear(lines: Mapping[str, Iterable[str]], options: TextOptions) -> Heard:
    """What a world is made of, from the lines of two or more personas.

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
    words = _vocabulary(spoken, _alike(spoken), options)
    cut = {name: [_cut(line, words, options.prompt_length) for line in own] for name, own in spoken.items()}
    said = {name: sum(map(len, own)) - options.prompt_length * len(own) for name, own in spoken.items()}
    kept = {name: sum(len(response) for _, response in own) / said[name] for name, own in cut.items()}
    heard = {name: [(o, (*r, *[END] * PADDING)) for o, r in own if r] for name, own in cut.items()}
    for name, own in heard.items():
        if not own:
            raise ValueError(f"{name} says none of the {len(words) - 1} kept {options.unit}s: raise max_units.")
    given = {name: len(own) for name, own in split.items()}
    every = [unit for own in split.values() for line in own for unit in line]
    unspaced = [len(unit) for unit in every if _UNSPACED.search(unit)]
    clauses = 2 * len(unspaced) > len(every) and sum(unspaced) > CLAUSE * len(unspaced)
    found = Heard(heard, given, _alike(heard), words, [], kept, clauses)
    found = found._replace(prompts=_ranked(found)[: options.num_prompts])
    check_tables(len(heard), len(found.units), len(words), options.order)
    return found


def _alike(lines: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """What each one's lines count, so that all people count alike; 1 on average."""
    mean = sum(map(len, lines.values())) / len(lines)
    return {name: mean / len(own) for name, own in lines.items()}


@functools.cache
def _pattern(unit: str) -> re.Pattern[str]:
    """Of one unit; vowel signs, tones and accents that stand alone belong to the letter before them."""
    marks = "".join(char for char in map(chr, range(0x300, 0x10000)) if unicodedata.category(char) in ("Mn", "Mc"))
    letter = rf"\w[{marks}\u200c\u200d]*"
    return re.compile(rf"(?:{letter})+(?:['-](?:{letter})+)*" if unit == "word" else rf"{letter}|[' ]")


def _units(line: str, unit: str) -> list[str]:
    # Twice: what is small need not be composed.
    plain = unicodedata.normalize("NFC", unicodedata.normalize("NFC", line).lower())
    return _pattern(unit).findall(_SPACE.sub(" ", plain.replace("’", "'")).strip())


def _cut(line: Sequence[str], words: Sequence[str], prompt_length: int) -> tuple[Opening, tuple[str, ...]]:
    return tuple(line[:prompt_length]), tuple(unit for unit in line[prompt_length:] if unit in words)


def _ranked(heard: Heard) -> list[Opening]:
    """Openings that most people share first, then the most frequent, ties in alphabetical order.

    What one alone opens with tells nothing about how people answer the same.
    """
    counts = heard.openings()
    people = Counter(opening for own in counts.values() for opening in own)
    often = {o: sum(heard.weights[name] * own[o] for name, own in counts.items()) for o in people}
    return sorted(people, key=lambda opening: (-people[opening], -often[opening], opening))


def _vocabulary(
    spoken: Mapping[str, Sequence[Sequence[str]]], weights: Mapping[str, float], options: TextOptions
) -> tuple[str, ...]:
    """Response units in alphabetical order, the end last."""
    counts = {name: Counter(u for line in own for u in line[options.prompt_length :]) for name, own in spoken.items()}
    counts = {name: Counter({u: weights[name] * n for u, n in own.items()}) for name, own in counts.items()}
    together = sum(counts.values(), Counter())
    shares = {name: own.total() / together.total() for name, own in counts.items()}

    def information(unit: str) -> float:
        """The unit's share of the mutual information between words and speakers, times the number of words."""
        expected = {name: share * together[unit] for name, share in shares.items()}
        return sum(own[unit] * math.log(own[unit] / expected[name]) for name, own in counts.items() if own[unit])

    worth = information if options.unit == "word" else together.__getitem__
    best = sorted(together, key=lambda unit: (-worth(unit), unit))[: options.max_units - 1]
    return (*sorted(best), END)


def report(heard: Heard, options: TextOptions) -> list[str]:
    """What was read, a sentence a line, and what should make one doubt what comes of it."""
    separator, counts = SEPARATORS[options.unit], heard.openings()
    read = [
        f"{name}: {len(own)} of {heard.given[name]} lines read, {heard.kept[name]:.0%} of the {options.unit}s kept"
        for name, own in heard.lines.items()
    ]
    users = {o: [f"{name} {own[o]}" for name, own in counts.items() if own[o]] for o in heard.prompts}
    openings = [f"{separator.join(o)!r} ({', '.join(who)})" for o, who in users.items()]
    words = " ".join(repr(word) if word == " " else word for word in heard.words[:-1])
    return [
        f"Read {'; '.join(read)}.",
        f"The {len(heard.words) - 1} {options.unit}s kept: {words}.",
        f"Openings, and lines of each person: {', '.join(openings)}.",
        *(f"Warning: {doubt}" for doubt in doubts(heard, options)),
    ]


def doubts(heard: Heard, options: TextOptions) -> list[str]:
    """What should make one doubt what comes of these lines, each with what to do."""
    found = []
    if heard.clauses and options.unit == "word":
        found.append(
            "what is read as words are clauses of a script without spaces: use --options.text.unit character, or put "
            "spaces between words."
        )
    if not heard.shared():
        found.append(f"nobody opens a line as another does: {remedy(options, shared=False)}.")
    if (least := min(heard.kept.values())) < FEW_KEPT:
        name = min(heard.kept, key=heard.kept.__getitem__)
        found.append(
            f"{1 - least:.0%} of what {name} says is left out: keep more with --options.text.max-units and a smaller "
            "--length, or use --options.text.unit character."
        )
    read = {name: len(own) for name, own in heard.lines.items()}
    most, fewest = (pick(read, key=read.__getitem__) for pick in (max, min))
    if read[most] > UNEVEN * read[fewest]:
        found.append(
            f"{read[most]} lines of {most} are read and {read[fewest]} of {fewest}, who count alike: what is said of "
            f"{fewest} rests on few lines."
        )
    for name, own in heard.openings().items():
        if not set(own) & set(heard.prompts):
            found.append(
                f"{name} opens no line with one of the prompts, so what {name} answers there is guessed from the "
                "others: raise --options.text.num-prompts, or bring lines that open alike."
            )
    return found


def remedy(options: TextOptions, *, shared: bool) -> str:
    """What helps where text does not tell people apart, whether or not their lines open alike."""
    if options.unit == "character":
        return "bring more lines of each, or people who talk less alike"
    if shared:
        return "keep more words (--options.text.max-units), bring longer lines, or use --options.text.unit character"
    return "use --options.text.unit character, or bring lines that open alike"
