"""What a language model says next in each of several voices: every token's probability, in a file of less than 1 MB.

The model's float32 log-probabilities are rounded to float16 and normalised again. No token is left out or lumped with
others: the hull distance of a coarser law would be a lower bound only. So the laws of the file are not quite the
model's (3e-7 nats away), and everything that is measured on them is exact.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.shared import packed

SHIPPED = Path(__file__).with_name("next_token.npz")
ASKING = ("what", "where", "who", "why", "how", "when", "which")
REFUSING = ("no", "not", "don", "never", "nobody", "nothing", "none")


class Laws(NamedTuple):
    """C questions, K voices, V tokens, M answers of at most T tokens.

    Attributes:
        log_voices: log p_k of the next token, nats, normalised [C, K, V].
        texts: of the tokens [V].
        questions: what was asked [C].
        answers: tokens of sampled answers [C, K, M, T].
        log_answers: of the answers of voice k under voice j, nats [C, K, K, M].
    """

    log_voices: np.ndarray
    texts: np.ndarray
    questions: np.ndarray
    answers: np.ndarray
    log_answers: np.ndarray

    @property
    def log_base(self) -> np.ndarray:
        """The even mix of the voices [C, V]."""
        from scipy.special import logsumexp

        return logsumexp(self.log_voices, axis=1) - np.log(self.log_voices.shape[1])


def keep(path: Path, laws: Laws) -> None:
    """Write a file that is the same bytes whenever it is made of the same numbers.

    High and low bytes of float16 lie apart, because the high ones are much alike.
    """
    halves = laws.log_voices.astype(np.float16).view(np.uint16)
    arrays = laws._asdict() | {"log_voices": np.stack([halves >> 8, halves & 255]).astype(np.uint8)}
    arrays |= {"answers": laws.answers.astype(np.uint16), "log_answers": laws.log_answers.astype(np.float32)}
    packed.keep(path, arrays)


def load(path: Path | None = None) -> Laws:
    """Read what ``keep`` wrote, the shipped file unless another is named.

    Raises:
        ValueError: there is no such file, or it is damaged.
    """
    from scipy.special import logsumexp

    found = packed.load(path or SHIPPED, Laws._fields)
    high, low = found["log_voices"].astype(np.uint16)
    log_voices = (high << 8 | low).view(np.float16).astype(float)
    log_voices = log_voices - logsumexp(log_voices, axis=-1, keepdims=True)
    texts, questions = (packed.texts(found[name]) for name in ("texts", "questions"))
    return Laws(log_voices, texts, questions, found["answers"], found["log_answers"].astype(float))


def rewards(laws: Laws) -> dict[str, np.ndarray]:
    """Six rewards of a next token, each [C, V]: from one for who speaks to one for what nobody cares about."""
    log_base = laws.log_base
    log_alice = laws.log_voices[:, -1] - log_base - np.log(laws.log_voices.shape[1])
    words = [text.strip().lower() for text in laws.texts]

    def of_words(values: list) -> np.ndarray:
        return np.broadcast_to(np.array(values, float), log_base.shape)

    return {
        "Alice": np.exp(log_alice),
        "surely Alice": log_alice,
        "brevity": of_words([-len(word) for word in words]),
        "asking": of_words([word in ASKING for word in words]),
        "refusing": of_words([word in REFUSING for word in words]),
        "letter k": of_words(["k" in word for word in words]),
    }
