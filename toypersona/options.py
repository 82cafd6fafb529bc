"""What the library lets one choose before anything is traced: sizes, counts and names, each with its limits.

Limits of what several settings make together are functions: responses that are listed, tables, texts.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated

from toypersona.limits import Count, Even, Grid, Limit, Positive, Share, increasing, one_of, within

SPEAKERS = ("iago", "falstaff", "rosalind")
FEATURES = ("words", "brevity", "exploit")
MOST_BITS, MOST_ROWS = 64, 2**12

MOST_PERSONAS = 8
"""Fitted experts are matched to them by trying every order."""

MOST_LISTED, MOST_ENTRIES, MOST_READ = 2**20, 2**26, 50_000_000
"""Responses, entries of a table of next words, and units of text that fit into memory."""

Order = Annotated[int, within(1, 8)]
Size = Annotated[int, within(1, 4096)]
Samples = Annotated[int, within(2, 100_000)]
Concentration = Annotated[float, within(0.001, 1e6)]


def num_outcomes(num_words: int, length: int) -> int:
    """N = V^T, the number of responses.

    Raises:
        ValueError: there are none, or more than ``MOST_LISTED``.
    """
    if min(num_words, length) < 1:
        raise ValueError(f"Responses need 1 word or more and a length of 1 or more, not {num_words} and {length}.")
    digits = length * math.log10(num_words)
    if digits > math.log10(MOST_LISTED) + 1e-9:
        # An absurd power is not computed: it alone would take for ever.
        number = f"{num_words**length:,}" if digits < 18 else f"{num_words}^{length}"
        raise ValueError(
            f"{num_words} words and length {length} make {number} responses; only {MOST_LISTED:,} can "
            "be listed: use a shorter length, or sample and call measures.sampled.budget_from_samples."
        )
    return num_words**length


def check_prompts(num_words: int, length: int, num_prompts: int) -> None:
    """Refuse more prompts of so many words than there are different ones.

    Raises:
        ValueError: it says how many there are.
    """
    if num_prompts > num_words**length:
        raise ValueError(
            f"{num_words} words make {num_words**length} prompts of {length}, fewer than {num_prompts}: ask for fewer "
            "prompts or more words."
        )


def check_tables(num_personas: int, num_units: int, num_words: int, order: int) -> None:
    """Refuse tables of next words, [K, U, ..., U, V], that do not fit into memory.

    Raises:
        ValueError: they have more than ``MOST_ENTRIES``.
    """
    entries = num_personas * num_units**order * num_words
    if entries > MOST_ENTRIES:
        raise ValueError(
            f"Tables of {num_words} next words after every {order} of {num_units} units have {entries:.1e} entries for "
            f"{num_personas} personas, and {MOST_ENTRIES:,} are allowed: use fewer units or a lower order."
        )


def check_text(num_lines: int, line_length: int) -> None:
    """Refuse texts that do not fit into memory.

    Raises:
        ValueError: they have more than ``MOST_READ`` units.
    """
    if num_lines * line_length > MOST_READ:
        raise ValueError(
            f"{num_lines:,} lines of {line_length:,} units make more than the {MOST_READ:,} units of text that are "
            "allowed: use fewer or shorter ones."
        )


@dataclass(frozen=True)
class TextOptions:
    """How lines become a world."""

    unit: Annotated[str, one_of("word", "character")] = "word"
    """word or character."""
    order: Order = 1
    """Units that a persona looks back."""
    prompt_length: Size = 1
    """Units of a line that are its opening; at least the order."""
    num_prompts: Size = 6
    """So many openings become the prompts: those that most people share first, then the most frequent."""
    max_units: Annotated[int, within(2, 4096)] = 12
    """V, the end of a line included: so many different words (those that tell most about who speaks) or characters
    (the most frequent) make up responses. Others are cut out of the lines read; V^T responses have to be listed."""
    smoothing: Positive = 0.1
    """So many made-up observations of each next unit (on average: shared out as in all personas' lines together) and
    of each opening are added to those counted in one persona's lines: nobody finds impossible what others say."""


@dataclass(frozen=True)
class MarkovOptions:
    """Sizes of a random world."""

    num_personas: Annotated[int, within(2, MOST_PERSONAS)] = 3
    """K."""
    num_words: Size = 8
    """V."""
    num_prompts: Size = 6
    """C."""
    order: Order = 1
    """Words that a persona looks back."""
    concentration: Concentration = 0.5
    """Of the Dirichlet of next words: small is peaked."""
    gate_concentration: Concentration = 1.0
    """Of the Dirichlet of gates: small is each prompt to one persona."""


@dataclass(frozen=True)
class WorldOptions:
    """What a world is made of; larry_bob_alice is fixed."""

    speakers: tuple[str, ...] = SPEAKERS
    """Whose lines make the world speakers."""
    text: TextOptions = TextOptions()
    """How lines are read, for speakers and text:FOLDER."""
    markov: MarkovOptions = MarkovOptions()
    """Sizes of the world markov."""


@dataclass(frozen=True)
class ReasoningOptions:
    """Size of the world reasoning."""

    num_bits: Annotated[int, within(1, MOST_BITS)] = 3
    """n: bits of a prompt, thoughts of a response; responses are n + 1 words long."""
    num_rows: Annotated[int | None, within(1, MOST_ROWS)] = None
    """So many random rows of bits, drawn independently; every row once unless given."""
    worth: Annotated[float, within(0.5, 1.0)] = 0.55
    """Probability with which everybody takes Larry's cheap words at their word: at 1/2 their meaning is free."""
    hints: bool = False
    """Prompts may show a hint: every row of bits comes without, with a right and with a wrong one."""
    hint_shown: Share = 0.8
    """Share of prompts that show a hint."""
    hint_wrong: Share = 0.4
    """Share of hints that are wrong."""
    hint_seen: Annotated[str, one_of("first thought", "everywhere")] = "first thought"
    """By the first thought alone, which leaves it to the thoughts to carry the hint, or also by the answer."""


@dataclass(frozen=True)
class LongThoughts:
    """Rows of bits too long to be listed: sampled in training, measured exactly where sums allow, else from samples."""

    num_bits: Annotated[int, within(2, MOST_BITS)] = 8
    """n."""
    num_rows: Annotated[int, within(2, MOST_ROWS)] = 32
    """Random rows in training; all 2^n count in the exact measures."""
    num_measured: Annotated[int, within(2, MOST_ROWS)] = 4000
    """Responses from which what cannot be summed exactly is estimated."""
    num_thoughts: Even = 64
    """Thoughts at each training row from which their hull distance is estimated; an even number."""


def _marks(first: float, last: float) -> tuple[float, ...]:
    """Geometrically spaced, in digits that read well."""
    return tuple(float(f"{first * (last / first) ** (i / 24):.4g}") for i in range(25))


@dataclass(frozen=True)
class Proxies:
    """How far each of three rules follows a proxy: equally many marks."""

    strengths: Grid = _marks(0.05, 30.0)
    """s of the tilt; increasing."""
    times: Grid = _marks(0.2, 300.0)
    """Learning rate times steps of policy gradient; increasing."""
    nums: Annotated[tuple[float, ...], increasing(least=1, kind="numbers above 1")] = _marks(1.2, 1e5)
    """n of best of n; increasing."""


Shares = Annotated[tuple[float, ...], increasing(), Limit("below 1", lambda shares: shares[-1] < 1)]


@dataclass(frozen=True)
class Assistants:
    """The world assistants, and how they are trained."""

    hackers: Share = 0.2
    """Prior of the two that hack, together."""
    bad: Annotated[Shares, increasing(4)] = (0.1, 0.3, 0.5, 0.7, 0.9)
    """Of these, share of the one that is bad in all; increasing."""
    elicited: Shares = (0.05, 0.3, 0.6, 0.88)
    """How often the honest one hacks where RL trains, as rarely as without a note or because a note asks it to;
    increasing."""
    num_steps: Count = 300
    """Steps of every learner."""
    learning_rate: Positive = 1.0
    """Of every learner."""


@dataclass(frozen=True)
class Pretraining:
    """How a policy is fitted to unlabelled text from several random starts.

    Gate tables are fitted by expectation maximisation, all else by Adam on minibatches.
    """

    num_lines: Annotated[int, within(1, 1_000_000)] = 8000
    """Lines of text sampled from the world."""
    line_length: Size = 12
    """Units of each line that are read (longer than the responses measured: more to tell people apart by)."""
    num_steps: Count = 600
    """Adam steps."""
    batch_size: Annotated[int, within(1, 100_000)] = 256
    """Lines a step."""
    learning_rate: Positive = 0.05
    """Adam's, decayed to zero."""
    num_restarts: Annotated[int, within(1, 1000)] = 3
    """Random starts; the likeliest fit is kept. Expectation maximisation goes on until three found it."""
    most_restarts: Annotated[int, within(1, 1000)] = 20
    """Random starts of expectation maximisation, at most."""
    gate: Annotated[str, one_of("auto", "network", "table", "prior")] = "auto"
    """network (reads the prompt's units), table (one row per prompt) or prior (reads nothing); auto is a table for
    speakers and text:FOLDER, whose few prompts a network learns by heart, and a network for others."""

    def fitting(self, world: str) -> "Pretraining":
        """The same with the gate that fits a world of this name."""
        auto = "network" if world in ("larry_bob_alice", "markov") else "table"
        return replace(self, gate=auto if self.gate == "auto" else self.gate)


@dataclass(frozen=True)
class Training:
    """How policies that think aloud are trained: by Adam, its learning rate falling to zero by a cosine."""

    learning_rate: Positive = 0.03
    """Adam's, at the start."""
    num_steps: Count = 1500
    """Steps, exact or sampled."""
    num_samples: Samples = 8
    """Responses to each prompt at every step of a sampled rule."""
    plain_rate: Positive = 2.0
    """Learning rate of the plain gradient, without Adam."""
    log_probability_bonus: Positive = 0.1
    """Of that defence: reward for each nat of the base's log-probability of a thought."""
    num_stops: Size = 20
    """Of the defence that stops early: places on the way at which it may."""


Kept = Annotated[tuple[int, ...], Limit("different whole numbers from 0 on, increasing", lambda kept: _rising(kept))]


def _rising(kept: tuple[int, ...]) -> bool:
    return all(first < second for first, second in pairwise((-1, *kept)))


@dataclass(frozen=True)
class Network:
    """A transformer, and how it is fitted: by Adam to the counts of T units of every line, all lines at every step."""

    width: Annotated[int, within(4, 1024)] = 32
    """D, of the residual stream; a multiple of the heads."""
    depth: Annotated[int, within(1, 24)] = 2
    """Blocks of attention and a hidden layer."""
    num_heads: Annotated[int, within(1, 64)] = 4
    """Of attention."""
    tagged: Annotated[float, Limit("from 0 to below 1", lambda share: 0 <= share < 1)] = 0.5
    """Share of the lines that name their speaker. Where none do, nobody can be called; where all did, there would be no
    base, which is called by nobody."""
    num_lines: Annotated[int, within(1, 10_000_000)] = 100_000
    """Lines of text sampled from the world. Of few, a network learns by heart what nobody would say again."""
    num_steps: Annotated[int, within(1, 1_000_000)] = 100
    """Adam steps."""
    learning_rate: Positive = 0.01
    """Adam's, decayed to zero by a cosine."""
    kept: Kept = (0, 20)
    """Steps after which parameters are kept too: features of networks that are not or hardly trained."""

    def check(self, flag: str = "network") -> None:
        """Refuse heads that do not divide the width, and steps that are never taken.

        Raises:
            ValueError: it names the flags.
        """
        if self.width % self.num_heads:
            raise ValueError(
                f"--{flag}.width has to be a multiple of --{flag}.num-heads, {self.num_heads}, not {self.width}."
            )
        if self.kept and self.kept[-1] >= self.num_steps:
            raise ValueError(f"--{flag}.kept has to end before --{flag}.num-steps, {self.num_steps}.")
