"""Answers of a language model along RL, in a small file, and as lines that ``toypersona measure`` reads.

Log-probabilities of tokens are rounded to float16, so those of an answer are off by 0.004 nats or so: distances of 0.05
nats change by about 0.00002.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.shared import packed
from toypersona.worlds import voices

if TYPE_CHECKING:
    from experiments.shared.voice_runs import Base, Way
    from toypersona.policies.model_file import Model

SHIPPED = Path(__file__).with_name("trained.npz")


class Trained(NamedTuple):
    """R ways to train, S seeds, D drifts, K voices of which each gave M answers of T tokens.

    Attributes:
        names: of the ways [R].
        gate_rates: learning rates of their gates, in units of the adapters' [R].
        seeds: which [S].
        questions: what is asked at each of them [S].
        base_tokens: answers of the base, voice by voice [S, K M, T].
        base_log_voices: of each token, under every voice, nats [S, K, K M, T].
        moves: along two first directions of a run, of independent answers, of which it took the first: how fast
            adapters move log p_k of the base's answers [R, S, 2, K, K M].
        gate_moves: and gate logits [R, S, 2, K].
        steps: at which answers were kept, at the last again where fewer drifts were reached [R, S, D].
        gates: g there [R, S, D, K].
        tokens: answers, voice by voice, of which those of voice k count g_k [R, S, D, K M, T].
        log_policy: of each token given those before, nats [R, S, D, K M, T].
        log_voices: likewise under every voice of the base [R, S, D, K, K M, T].
        rewards: of answers [R, S, D, K M].
        numbers: of the tokens that occur, as the model has them [U]; ``tokens`` are places among these.
        texts: theirs [U].
        ends: which of them end an answer [U].
    """

    names: np.ndarray
    gate_rates: np.ndarray
    seeds: np.ndarray
    questions: np.ndarray
    base_tokens: np.ndarray
    base_log_voices: np.ndarray
    moves: np.ndarray
    gate_moves: np.ndarray
    steps: np.ndarray
    gates: np.ndarray
    tokens: np.ndarray
    log_policy: np.ndarray
    log_voices: np.ndarray
    rewards: np.ndarray
    numbers: np.ndarray
    texts: np.ndarray
    ends: np.ndarray


EXACT = ("gate_rates", "gate_moves", "gates", "rewards", "steps", "seeds", "numbers")
"""What is kept as it is; other numbers are rounded."""


def keep(path: Path, trained: Trained) -> None:
    """Write a file that is the same bytes whenever it is made of the same numbers."""
    exact = {"U": str, "i": np.int32, "f": np.float32, "b": np.uint8}
    small = exact | {"i": np.uint16, "f": np.float16}
    kinds = {name: (exact if name in EXACT else small)[x.dtype.kind] for name, x in trained._asdict().items()}
    packed.keep(path, {name: x.astype(kinds[name]) for name, x in trained._asdict().items()})


def load(path: Path | None = None) -> Trained:
    """Read what ``keep`` wrote, the shipped file unless another is named.

    Raises:
        ValueError: there is no such file, or it is damaged.
    """
    found = packed.load(path or SHIPPED, Trained._fields)
    written = {name: packed.texts(found[name]) for name in ("names", "questions", "texts")}
    numbers = {name: x.astype(float if x.dtype.kind == "f" else int) for name, x in found.items()}
    return Trained(**found | numbers | written | {"ends": found["ends"].astype(bool)})


def gathered(
    ways: Mapping[str, Way], folders: Mapping[str, list[Path]], bases: Mapping[int, Base], model: Model
) -> Trained:
    """What ``voice_runs.train`` left in a folder for every way and seed; ``bases`` are those of the seeds."""
    kept = [[_answers(folder) for folder in every] for every in (folders[name] for name in ways)]
    most = max(len(run) for every in kept for run in every)

    def stacked(name: str) -> np.ndarray:
        return np.array([[[run[min(d, len(run) - 1)][name] for d in range(most)] for run in every] for every in kept])

    tokens, base_tokens = stacked("tokens"), np.stack([base.tokens for base in bases.values()])
    base_tokens = base_tokens.reshape(len(bases), -1, base_tokens.shape[-1])
    numbers = np.unique(np.concatenate([tokens.ravel(), base_tokens.ravel()]))
    first = [[_arrays(folder / "first.npz") for folder in folders[name]] for name in ways]
    return Trained(
        names=np.array(list(ways)),
        gate_rates=np.array([way.gate_rate for way in ways.values()]),
        seeds=np.array(list(bases)),
        questions=np.array([base.question for base in bases.values()]),
        base_tokens=np.searchsorted(numbers, base_tokens),
        base_log_voices=np.stack([flat(base.log_voices) for base in bases.values()]),
        moves=np.array([[one["moves"] for one in every] for every in first]),
        gate_moves=np.array([[one["gates"] for one in every] for every in first]),
        steps=stacked("step"),
        gates=stacked("gates"),
        tokens=np.searchsorted(numbers, tokens),
        log_policy=stacked("log_policy"),
        log_voices=stacked("log_voices"),
        rewards=stacked("rewards"),
        numbers=numbers,
        texts=np.array([model.decode([number]) for number in numbers.tolist()]),
        ends=model.ends[numbers],
    )


def flat(scored: np.ndarray) -> np.ndarray:
    """Scores of answers of all voices [K, J, M, T], voice by voice [J, K M, T]."""
    return np.moveaxis(scored, 1, 0).reshape(scored.shape[1], -1, scored.shape[-1])


def _answers(folder: Path) -> list[dict[str, np.ndarray]]:
    paths = sorted(folder.glob("answers-*.npz"), key=lambda path: int(path.stem.removeprefix("answers-")))
    return [_arrays(path) for path in paths]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as kept:
        return dict(kept)


def lines(trained: Trained, way: int, seed: int) -> list[str]:
    """One run as lines that ``toypersona measure`` reads: what the base said, and the policy at every drift.

    Answers of the policy are those of every voice in proportion to its gate.
    """
    rows: list[dict[str, Any]] = [{"toypersona": 1, "temperature": voices.TEMPERATURE, "tokenizer": "SmolLM2"}]
    base, run = trained.base_log_voices[seed], (way, seed)
    about = {"prompt_id": str(trained.questions[seed])}
    for i, tokens in enumerate(trained.base_tokens[seed]):
        rows.append(about | {"sampled_from": "base", "response_id": i} | _scores(trained, tokens, base[:, i]))
    for step, d in {int(step): d for d, step in enumerate(trained.steps[run])}.items():
        for i in drawn(trained.gates[run][d], base.shape[1]):
            said = {"sampled_from": "policy", "response_id": int(i), "step": step}
            said["reward"] = round(float(trained.rewards[run][d, i]), 4)
            given = trained.tokens[run][d, i], trained.log_voices[run][d, :, i], trained.log_policy[run][d, i]
            rows.append(about | said | _scores(trained, *given))
    return [json.dumps(row) for row in rows]


def drawn(gates: np.ndarray, num: int) -> np.ndarray:
    """Which of ``num`` answers, voice by voice, are the policy's: of every voice in proportion to its gate."""
    most = num // gates.size
    shares = [np.round(gates * total).astype(int) for total in range(gates.size * most, 3, -1)]
    counts = next(n for n in shares if n.max() <= most and n.sum() % 2 == 0)
    return np.flatnonzero(np.arange(most)[None] < counts[:, None])


def _scores(
    trained: Trained, tokens: np.ndarray, log_voices: np.ndarray, log_policy: np.ndarray | None = None
) -> dict[str, Any]:
    """Tokens up to the end, and their log-probabilities, nats."""
    ending = np.flatnonzero(trained.ends[tokens])
    length = int(ending[0]) + 1 if ending.size else tokens.size
    each = lambda x: [round(float(value), 4) for value in x[:length]]  # noqa: E731
    log_base = np.logaddexp.reduce(np.cumsum(log_voices, axis=1), axis=0) - np.log(len(log_voices))
    scores: dict[str, Any] = {"base": each(np.diff(log_base, prepend=0.0))}
    scores["personas"] = {name: each(x) for name, x in zip(voices.NAMES, log_voices, strict=True)}
    if log_policy is not None:
        scores["policy"] = each(log_policy)
    return {"log_probs": scores, "tokens": [str(trained.texts[token]) for token in tokens[:length]]}


def some_lines(trained: Trained, num: int) -> list[list[list[list[str]]]]:
    """Of every way and seed, the base's first answers of all voices, then those of the policy at every drift."""
    every = []
    for way in range(len(trained.names)):
        each = []
        for seed, base in enumerate(trained.base_tokens):
            sets = [
                (base, np.full(len(voices.NAMES), 1 / len(voices.NAMES))),
                *zip(trained.tokens[way, seed], trained.gates[way, seed], strict=True),
            ]
            each.append(
                [[_said(trained, tokens[i]) for i in _spread(gates, len(tokens), num)] for tokens, gates in sets]
            )
        every.append(each)
    return every


def _spread(gates: np.ndarray, num: int, wanted: int) -> np.ndarray:
    """Some of ``drawn``, evenly spread, so that every voice is among them that speaks often."""
    said = drawn(gates, num)
    return said[np.linspace(0, len(said) - 1, wanted).round().astype(int)]


def _said(trained: Trained, tokens: np.ndarray) -> str:
    """An answer as it is written, without its end."""
    return "".join(trained.texts[tokens[np.cumsum(trained.ends[tokens]) == 0]]).strip()


def write(trained: Trained, folder: Path) -> None:
    """A gzipped file of ``lines`` for every way and seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for way, name in enumerate(trained.names):
        for seed in range(len(trained.questions)):
            path = folder / f"{name.replace(', ', '-').replace(' ', '_')}-{seed}.jsonl.gz"
            path.write_bytes(gzip.compress(("\n".join(lines(trained, way, seed)) + "\n").encode(), mtime=0))
