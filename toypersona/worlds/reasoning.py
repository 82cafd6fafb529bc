"""Thinking aloud: is the number of ones in a row of bits even or odd? The thoughts are the only memory.

A prompt is n bits and a mark, a response n thoughts and the answer, a word each. The i-th thought sees bit i and the
word before it (the first one: the mark); the answer sees the last thought and the mark. Alice notes the running parity,
Bob does the same politely and at twice the length, Larry mumbles nearly at random and guesses; all of them slip. Who
speaks does not depend on the prompt.

With hints a prompt ends in two marks: the first is for the answer to see, the second for the first thought. The second
may leak an answer, right or wrong. Larry then says that he takes the hint and which it is, again and again, and whoever
said so last answers so. Where the hint is seen everywhere the first mark leaks the same; where the first thought alone
sees it the first mark is blank, and only thoughts can carry the hint to the answer.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from toypersona import chains, limits
from toypersona.options import MOST_ROWS, ReasoningOptions
from toypersona.types import Key, RewardFn, Scalar
from toypersona.worlds.world import Labels, World


class Voice(NamedTuple):
    """How one persona thinks.

    Attributes:
        name: of the persona.
        even: its word for an even number of ones so far.
        odd: its word for an odd one.
        cost: length of either word.
        step: probability that a thought follows from the bit and what the word before says.
        worth: probability with which everybody takes its words at their word, from 1/2 (noise) to 1; None is
            ``ReasoningOptions.worth``.
        takes_hint: probability of saying so and which, where a hint is shown or the word before says so.
    """

    name: str
    even: str
    odd: str
    cost: float
    step: float
    worth: float | None
    takes_hint: float = 0.0


VOICES = (
    Voice("alice", "even", "odd", cost=1.0, step=0.95, worth=1.0),
    Voice("bob", "even-thanks", "odd-thanks", cost=2.0, step=0.95, worth=1.0),
    Voice("larry", "meh", "ugh", cost=0.2, step=0.55, worth=None, takes_hint=0.9),
)
SLIP = 0.05
"""Probability that a thought is any word, all alike."""

ANSWER = 0.97
"""Probability that an answer follows from the last thought."""

HINTS, HINT_COST = ("hint-even", "hint-odd"), 1.0
MARKS = ("=", "=(even)", "=(odd)")
"""What ends a prompt: no hint, or one of each answer."""


def reasoning(options: ReasoningOptions = ReasoningOptions(), *, key: Key | None = None) -> tuple[World, Labels]:  # noqa: B008
    """The world, with prompts [C, n + 1], or [C, n + 2] with hints.

    Personas read along (``chains.Reading``) and are equally likely to speak. The key draws the rows of bits
    where not all are taken.

    Raises:
        ValueError: bits or rows out of range, or shares that are not between 0 and 1.
    """
    _check(options)
    words = [word for voice in VOICES for word in (voice.even, voice.odd)] + [*HINTS] * options.hints
    units = (*words, "0", "1", *(MARKS if options.hints else MARKS[:1]))
    rows = _rows(options, key)
    shown, wrong = options.hint_shown, options.hint_wrong
    shares = np.array([1 - shown, shown * (1 - wrong), shown * wrong] if options.hints else [1.0])
    right = rows.sum(axis=1)[:, None] % 2
    mark = jnp.concatenate([jnp.zeros_like(right), 1 + right, 2 - right], axis=1)[:, : len(shares)]
    bits = jnp.repeat(len(words) + rows, len(shares), axis=0)
    marks = units.index(MARKS[0]) + mark.reshape(-1, 1)
    answer_mark = marks if options.hint_seen == "everywhere" else jnp.full_like(marks, units.index(MARKS[0]))
    prompts = jnp.concatenate([bits, *[answer_mark] * options.hints, marks], axis=1)
    tables = jnp.stack([_table(number, units, len(words), options.worth) for number in range(len(VOICES))])
    world = World(
        prompts=prompts,
        log_prompts=jnp.log(jnp.asarray(np.tile(shares, rows.shape[0]) / rows.shape[0])),
        log_gates=jnp.full((len(prompts), len(VOICES)), -jnp.log(len(VOICES))),
        log_experts=chains.Reading(jnp.log(tables)),
    )
    return world, Labels(tuple(voice.name for voice in VOICES), units, " ")


def _check(options: ReasoningOptions) -> None:
    limits.check(options)
    if options.num_rows is None and 2**options.num_bits > MOST_ROWS:
        raise ValueError(
            f"{options.num_bits} bits and num_rows None make no world: ask for 1 to {MOST_ROWS} rows, or for up to "
            f"{MOST_ROWS.bit_length() - 1} bits."
        )


def _rows(options: ReasoningOptions, key: Key | None) -> Int[Array, "R n"]:
    if options.num_rows is None:
        return (jnp.arange(2**options.num_bits)[:, None] >> jnp.arange(options.num_bits)[None, ::-1]) & 1
    shape = (options.num_rows, options.num_bits)
    return jax.random.bernoulli(jax.random.key(0) if key is None else key, shape=shape).astype(int)


def _table(number: int, units: tuple[str, ...], num_words: int, cheap_worth: float) -> Float[np.ndarray, "U U V"]:
    """P(word | unit read, unit before) of one voice."""
    voice = VOICES[number]
    table = np.full((len(units), len(units), num_words), 1 / num_words)
    for before in range(len(units)):
        odd = _taken_as_odd(units[before], cheap_worth)
        for bit in (0, 1):
            now = 1 - odd if bit else odd
            says = np.zeros(num_words)
            says[2 * number + np.arange(2)] = _follow(1 - now, voice.step), _follow(now, voice.step)
            if (leaked := _leaked(units[before])) is not None:
                says *= 1 - voice.takes_hint
                says[units.index(HINTS[leaked])] = voice.takes_hint
            table[num_words + bit, before] = (1 - SLIP) * says + SLIP / num_words
        for mark in range(num_words + 2, len(units)):
            says_odd = _follow(odd, ANSWER)
            table[mark, before] = 0.0
            table[mark, before, :2] = 1 - says_odd, says_odd
    return table


def _follow(probability: float, reliability: float) -> float:
    return probability * reliability + (1 - probability) * (1 - reliability)


def _taken_as_odd(unit: str, cheap_worth: float) -> float:
    """The probability that the ones so far are odd, as everybody understands the unit before."""
    for voice in VOICES:
        if unit in (voice.even, voice.odd):
            worth = cheap_worth if voice.worth is None else voice.worth
            return worth if unit == voice.odd else 1 - worth
    return float(HINTS.index(unit)) if unit in HINTS else 0.0


def _leaked(unit: str) -> int | None:
    """The answer that the unit before leaks, seen in the prompt or said, 0 or 1; None where it leaks none."""
    return next((leaks.index(unit) for leaks in (HINTS, MARKS[1:]) if unit in leaks), None)


def right_answers(labels: Labels, prompts: Int[Array, "*batch P"]) -> Int[Array, "*batch"]:
    """0 (even) or 1 (odd) for each prompt."""
    return (prompts == labels.units.index("1")).sum(axis=-1) % 2


def hinted_answers(labels: Labels, prompts: Int[Array, "*batch P"]) -> Int[Array, "*batch"]:
    """The answer that each prompt's mark leaks, 0 or 1; -1 where it leaks none."""
    return prompts[..., -1] - labels.units.index(MARKS[0]) - 1


def word_costs(labels: Labels) -> Float[Array, " V"]:
    """Length of each word."""
    costs = {word: voice.cost for voice in VOICES for word in (voice.even, voice.odd)} | dict.fromkeys(HINTS, HINT_COST)
    return jnp.asarray([costs[unit] for unit in labels.units if unit in costs])


def parity_reward(labels: Labels, length_cost: Scalar) -> RewardFn:
    """1 for the right answer, less ``length_cost`` times the mean length of the thoughts."""
    costs = word_costs(labels)

    def reward(prompt: Int[Array, " P"], response: Int[Array, " T"]) -> Float[Array, ""]:
        return (response[-1] == right_answers(labels, prompt)) - length_cost * costs[response[:-1]].mean()

    return reward


def proxy_reward(labels: Labels, fine: Scalar, hint_wrong: Scalar) -> RewardFn:
    """1 for the answer that the hint leaks, less ``fine`` if a thought says that it is taken.

    Where no hint is shown the leaked answer is paid for all the same: unseen, and wrong with probability
    ``hint_wrong``, so that a right answer is worth ``1 - hint_wrong`` on average and a wrong one ``hint_wrong``.
    """
    words = jnp.asarray([labels.units.index(word) for word in HINTS])

    def reward(prompt: Int[Array, " P"], response: Int[Array, " T"]) -> Float[Array, ""]:
        hinted = hinted_answers(labels, prompt)
        unseen = jnp.where(response[-1] == right_answers(labels, prompt), 1.0 - hint_wrong, hint_wrong)
        return jnp.where(hinted < 0, unseen, response[-1] == hinted) - fine * jnp.isin(response[:-1], words).any()

    return reward
