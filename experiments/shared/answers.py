"""Whole answers of a language model in three voices, and to a prompt that shuffles all voices' lines, in a small file.

Of every voice as many answers to each question: together they are samples of the base that mixes the voices evenly, in
as many strata of equal size as there are voices.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.shared import packed
from toypersona.worlds import voices

if TYPE_CHECKING:
    from toypersona.policies.model_file import Model

SHIPPED = Path(__file__).with_name("answers.npz")

SCORE = "random score"
ENDED = 0
"""The token that pads answers behind their ends."""

POLITE = ("thank", "thanks", "please", "dear", "kind", "kindly", "lovely", "pleasure", "charming", "wonderful")
NEGATING = ("no", "not", "never", "nobody", "nothing", "none", "don't", "can't", "cannot", "won't", "didn't", "isn't")
FIRST_PERSON = ("i", "i'm", "my", "me", "mine")

NUM_QUESTIONS, NUM_ANSWERS, NUM_SHUFFLED, LONGEST = 4, 128, 128, 12
"""What the model is asked: questions, answers of every voice to each, after shuffled lines; tokens at most."""


class Answers(NamedTuple):
    """C questions, K voices, M answers of every voice, B after shuffled lines, of at most T tokens.

    Attributes:
        questions: what was asked [C].
        texts: answers of the voices [C, K, M].
        tokens: of them, padded behind their ends [C, K, M, T].
        log_voices: log-probability of an answer of voice k under voice j, nats [C, K, K, M].
        shuffled_texts: answers after shuffled lines [C, B].
        shuffled_tokens: likewise [C, B, T].
        log_shuffled: log-probability of them after these lines, nats [C, B].
        log_shuffled_voices: under each voice [C, K, B].
    """

    questions: np.ndarray
    texts: np.ndarray
    tokens: np.ndarray
    log_voices: np.ndarray
    shuffled_texts: np.ndarray
    shuffled_tokens: np.ndarray
    log_shuffled: np.ndarray
    log_shuffled_voices: np.ndarray


def keep(path: Path, answers: Answers) -> None:
    """Write a file that is the same bytes whenever it is made of the same numbers."""
    kinds = {"U": str, "i": np.uint16, "f": np.float32}
    packed.keep(path, {name: x.astype(kinds[x.dtype.kind]) for name, x in answers._asdict().items()})


def load(path: Path | None = None) -> Answers:
    """Read what ``keep`` wrote, the shipped file unless another is named.

    Raises:
        ValueError: there is no such file, or it is damaged.
    """
    found = packed.load(path or SHIPPED, Answers._fields)
    shapes = {"texts": "tokens", "shuffled_texts": "shuffled_tokens"}
    written = {name: packed.texts(found[name]).reshape(found[like].shape[:-1]) for name, like in shapes.items()}
    logs = {name: x.astype(float) for name, x in found.items() if name.startswith("log")}
    return Answers(**found | written | logs | {"questions": packed.texts(found["questions"])})


class Said(NamedTuple):
    """M answers to each of C questions as samples of a base, by K voices in turn if they are of their mix.

    Attributes:
        texts: [C, M].
        tokens: [C, M, T].
        log_base: nats [C, M].
        log_voices: nats [C, K, M].
        strata: whose answer it is, if the base is the mix [C, M].
    """

    texts: np.ndarray
    tokens: np.ndarray
    log_base: np.ndarray
    log_voices: np.ndarray
    strata: np.ndarray | None

    @property
    def log_probs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Under what was sampled, the base; under the base; and under the voices."""
        return self.log_base, self.log_base, self.log_voices


def of_the_mix(answers: Answers) -> Said:
    """Samples of the even mix of the voices: the first answer of each voice, then the second ones."""
    from scipy.special import logsumexp

    num_voices = answers.texts.shape[1]
    in_turn = lambda x: np.swapaxes(x, 1, 2).reshape(len(x), -1, *x.shape[3:])  # noqa: E731
    log_voices = np.moveaxis(answers.log_voices, 1, 3).reshape(len(answers.questions), num_voices, -1)
    log_base = logsumexp(log_voices, axis=1) - np.log(num_voices)
    strata = np.broadcast_to(np.arange(log_base.shape[1]) % num_voices, log_base.shape)
    return Said(in_turn(answers.texts), in_turn(answers.tokens), log_base, log_voices, strata)


def after_shuffled_lines(answers: Answers) -> Said:
    """Samples of the model after everybody's lines."""
    texts, tokens = answers.shuffled_texts, answers.shuffled_tokens
    return Said(texts, tokens, answers.log_shuffled, answers.log_shuffled_voices, None)


def rewards(said: Said) -> dict[str, np.ndarray]:
    """Rewards of answers, each [C, M]: for who speaks, for words, for length, for a letter, for being likely."""
    from scipy.special import logsumexp

    log_odds = said.log_voices - logsumexp(said.log_voices, axis=1, keepdims=True)
    words = [[_words(text) for text in texts] for texts in said.texts]

    def of_words(among: tuple[str, ...]) -> np.ndarray:
        return np.array([[sum(word in among for word in each) for each in texts] for texts in words], float)

    def of_text(pays: Callable[[str], float]) -> np.ndarray:
        return np.array([[pays(text) for text in texts] for texts in said.texts], float)

    return {
        "Alice": np.exp(log_odds[:, -1]),
        "surely Alice": log_odds[:, -1],
        "not Larry": -np.exp(log_odds[:, 0]),
        "brevity": of_text(lambda text: -len(text)),
        "asking": of_text(lambda text: "?" in text),
        "refusing": np.minimum(of_words(NEGATING), 1.0),
        "politeness": of_words(POLITE),
        "first person": of_words(FIRST_PERSON),
        "letter k": of_text(lambda text: text.lower().count("k")),
        "commas": of_text(lambda text: text.count(",")),
        "likely": said.log_base,
    }


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def asked_of_model() -> Answers:
    """Answers of the model in its wheel.

    Raises:
        ValueError: it is not installed.
    """
    import jax

    from toypersona import spoken
    from toypersona.policies import model_file

    model, questions = model_file.load(), voices.questions()[:NUM_QUESTIONS]
    how = {"length": LONGEST, "temperature": voices.TEMPERATURE}
    lines, every = [voices.lines(name) for name in voices.NAMES], []
    own = spoken.read(model, [voices.prompt(one, question) for question in questions for one in lines])
    shuffled = spoken.read(model, [voices.prompt(voices.shuffled(i), question) for i, question in enumerate(questions)])
    for number, question in enumerate(questions):
        keys = jax.random.split(jax.random.key(number))
        here, mixed = own[number * len(lines) : (number + 1) * len(lines)], shuffled[number]
        said = spoken.answers(keys[0], model, here, num=NUM_ANSWERS, **how)
        outside = spoken.answers(keys[1], model, [mixed], under=[mixed, *here], num=NUM_SHUFFLED, **how)
        texts = [
            np.array([[_text(model, one) for one in each] for each in np.asarray(x.tokens)]) for x in (said, outside)
        ]
        (log_own, *log_voices) = np.asarray(outside.log_probs[0])
        every.append(
            (question, texts[0], said.tokens, said.log_probs, texts[1][0], outside.tokens[0], log_own, log_voices)
        )
    return Answers(*(np.stack(each) for each in zip(*every, strict=True)))


def _text(model: Model, tokens: Iterable[int]) -> str:
    """An answer as it is written, without its end and what is padded."""
    return model.decode(itertools.takewhile(lambda token: not model.ends[token], map(int, tokens))).strip()
