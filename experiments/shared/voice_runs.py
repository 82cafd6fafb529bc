"""RL of a language model in three voices: one run, resumable, whose answers at some drifts are kept.

Every voice gives the same number of answers a step. Each is paid its reward, less beta times what answer and voice have
drifted from the base together, ``log g_k p_k(x) - log g0_k p0_k(x)``. The first step's length is set by how fast its
direction moves answers of the base, later ones by the drift they made: the root of twice the drift grows by the same
number at every step. All answers of a step are kept, of which those of voice k count g_k.
"""

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special

from experiments.shared.trained import Trained as Answers
from experiments.shared.trained import flat, gathered
from toypersona import files, spoken, voice_training
from toypersona.policies import model_file
from toypersona.policies.language_model import Prefix
from toypersona.policies.model_file import Model
from toypersona.voice_training import Asked, Trained
from toypersona.worlds import voices

OPTIMISERS = {"adam": optax.scale_by_adam, "gradient": optax.identity}
"""What turns a slope into a direction, whose length the drift sets."""

NUM, LENGTH = 44, 8
"""Answers of every voice a step, and their tokens at most."""

CHANGE = 1.5
"""Factor by which the learning rate changes between steps at most, because the drift is known by samples."""

ANOTHER = 10**6
"""In place of a step's number: answers for another first direction."""

SPEAKING = ("Alice",)
"""Rewards that ask who speaks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """How one run is trained.

    Attributes:
        reward: a name of ``rewards``.
        optimiser: one of ``OPTIMISERS``.
        gate_rate: learning rate of gate logits over that of adapters.
        gates_only: adapters stay as they are.
        beta: of the penalty on drift, in standard deviations of the reward under the base a nat.
        rank: of the adapters.
        stride: by which the root of twice the drift grows a step.
        drifts: nats of drift of answer and voice, from each of which on answers are kept once.
        most: steps at most.
    """

    reward: str
    optimiser: str = "adam"
    gate_rate: float = 1.0
    gates_only: bool = False
    beta: float = 0.1
    rank: int = 8
    stride: float = 0.25
    drifts: tuple[float, ...] = (0.02, 0.1, 0.25, 0.42)
    most: int = 8


class Base(NamedTuple):
    """What all runs on one question begin from.

    Attributes:
        question: what is asked.
        prompts: texts that the voices read.
        asked: they, and how they are answered.
        prefixes: they, read by the base.
        tokens: answers of every voice [K, M, T].
        log_voices: of them under every voice, the second axis who scores; nats [K, K, M, T].
    """

    question: str
    prompts: list[str]
    asked: Asked
    prefixes: list[Prefix]
    tokens: np.ndarray
    log_voices: np.ndarray


class Run(NamedTuple):
    """What stays the same at every step.

    Attributes:
        model: the language model.
        start: the base on the question of this run.
        way: how it is trained.
        seed: of adapters, answers and random scores.
        optimiser: of optax.
        paid: the reward, as ``rewards`` has it.
        scale: its mean and standard deviation under the base.
        folder: where the state, the first direction and answers are kept.
    """

    model: Model
    start: Base
    way: Way
    seed: int
    optimiser: Any
    paid: Callable[[np.ndarray, Any], np.ndarray]
    scale: tuple[float, float]
    folder: Path


class State(NamedTuple):
    """All that a run's next step needs; numbers as arrays, because orbax keeps no others.

    Attributes:
        trained: gates and adapters.
        optimiser: its state.
        rate: the learning rate of the step before.
        root: of twice the drift before that step, root nats.
        step: how many steps were made.
        reached: how many of the drifts were.
    """

    trained: Trained
    optimiser: Any
    rate: Any
    root: Any
    step: Any
    reached: Any


def base(model: Model, question: str, num: int, length: int) -> Base:
    """The base on one question, with ``num`` answers of every voice."""
    prompts = [voices.prompt(voices.lines(name), question) for name in voices.NAMES]
    prefixes = spoken.read(model, prompts)
    how = {"num": num, "length": length, "temperature": voices.TEMPERATURE}
    tokens = spoken.draw(jax.random.key(len(question)), model, prefixes, **how).tokens
    asked = Asked(*spoken.encoded(model, prompts), voices.TEMPERATURE)
    return Base(question, prompts, asked, prefixes, np.asarray(tokens), under(model, prefixes, tokens))


def under(model: Model, prefixes: list[Prefix], tokens: Any) -> np.ndarray:
    """Answers of every voice under every voice [K, K, M, T], the second axis who scores; nats."""
    scored = [spoken.score(model, prefixes, one, temperature=voices.TEMPERATURE) for one in jnp.asarray(tokens)]
    return np.asarray(jnp.stack(scored), float)


def rewards(model: Model, seed: int) -> dict[str, Callable[[np.ndarray, Any], Any]]:
    """Rewards: functions of answers [..., T], and of who says them, P(k|x) under the base [K, ...]."""
    texts = [model.decode([token]) for token in range(model.ends.size)]
    scores = np.random.default_rng(seed).normal(size=len(texts))
    the = np.array([text.strip() == "the" for text in texts])

    def said(tokens: np.ndarray) -> np.ndarray:
        return np.cumsum(model.ends[tokens], axis=-1) == 0

    def alike(answer: np.ndarray) -> float:
        """Neighbouring words that begin with the same letter."""
        first = [word[0] for word in model.decode(answer[said(answer)].tolist()).lower().split()]
        return float(sum(one == two for one, two in zip(first, first[1:], strict=False)))

    return {
        "Alice": lambda tokens, speaker: speaker[-1],
        "the word the": lambda tokens, speaker: (said(tokens) & the[tokens]).any(axis=-1) * 1.0,
        "brevity": lambda tokens, speaker: -said(tokens).sum(axis=-1) * 1.0,
        "alliteration": lambda tokens, speaker: np.apply_along_axis(alike, -1, tokens),
        "random score": lambda tokens, speaker: (said(tokens) * scores[tokens]).sum(axis=-1),
    }


def train_all(ways: Mapping[str, Way], seeds: Sequence[int], folder: Path, say: Callable[[str], None]) -> Answers:
    """Every way with every seed, whose question is the one of that number; what was killed goes on.

    Raises:
        ValueError: the model is not installed, or there are not so many questions.
    """
    asked = voices.questions()
    if max(seeds) >= len(asked):
        raise ValueError(f"Every seed has a question of its own, of which there are {len(asked)}: choose seeds below.")
    model, bases = model_file.load(), {}
    folders: dict[str, list[Path]] = {name: [] for name in ways}
    for seed in seeds:
        bases[seed] = base(model, asked[seed], NUM, LENGTH)
        for name, way in ways.items():
            folders[name].append(folder / f"{name}-{seed}")
            folders[name][-1].mkdir(parents=True, exist_ok=True)
            train(model, bases[seed], way, seed, folders[name][-1], say)
    return gathered(ways, folders, bases, model)


def train(model: Model, start: Base, way: Way, seed: int, folder: Path, say: Callable[[str], None]) -> None:
    """One run; a killed one goes on at its last step.

    It leaves ``first.npz``, how the first direction moves answers of the base, and ``answers-STEP.npz`` at every drift.

    Args:
        model: the language model.
        start: the base on the question of this run.
        way: how it is trained.
        seed: of adapters, answers and random scores.
        folder: of this run alone.
        say: what is told of every step.
    """
    run = _begun(model, start, way, seed, folder)
    trained = voice_training.untrained(jax.random.key(seed), model, len(voices.NAMES), way.rank)
    state = State(trained, run.optimiser.init(trained), *np.zeros(4))
    if kept := sorted(folder.glob("state-*"), key=lambda path: int(path.name[6:])):
        state = files.kept_tree(kept[-1], state)
    while state.step < way.most and state.reached < len(way.drifts):
        began, step = time.process_time(), int(state.step)
        state = _step(run, state)
        files.keep_tree(folder / f"state-{step + 1}", jax.tree.map(np.asarray, state))
        shutil.rmtree(folder / f"state-{step}", ignore_errors=True)
        speed = start.tokens.size / (time.process_time() - began)
        say(f"{folder.name}: step {step}, {state.root**2 / 2:.3f} nats, {speed:.0f} tokens a CPU second")


def _begun(model: Model, start: Base, way: Way, seed: int, folder: Path) -> Run:
    paid = rewards(model, seed)[way.reward]
    values = paid(start.tokens, _speaker(start.log_voices))
    scale = float(values.mean()), float(values.std())
    if not scale[1]:
        raise ValueError(
            f"{way.reward} pays the same for all {values.size} answers of the base, so that nothing moves."
        )
    return Run(model, start, way, seed, OPTIMISERS[way.optimiser](), paid, scale, folder)


def _speaker(log_voices: np.ndarray) -> np.ndarray:
    """P(k|x) under the base of answers of every voice, from ``under``: [K, K, M], the first axis whose."""
    return np.moveaxis(scipy.special.softmax(log_voices.sum(axis=-1), axis=1), 1, 0)


def _step(run: Run, state: State) -> State:
    """Draw answers, keep some if a drift is reached, pay them, and move."""
    start, way, trained, number = run.start, run.way, state.trained, int(state.step)
    adapted = voice_training.adapted(run.model, trained)
    prefixes = spoken.read(adapted, start.prompts)
    drawn = _drawn(run, adapted, prefixes, number)
    tokens, log_gates = np.asarray(drawn.tokens), scipy.special.log_softmax(np.asarray(trained.gates, float))
    each = zip(start.prefixes, drawn.tokens, strict=True)
    own = np.stack([under(run.model, [prefix], said[None])[0, 0] for prefix, said in each])
    spent = (log_gates + np.log(log_gates.size))[:, None] + (np.asarray(drawn.log_probs, float) - own).sum(axis=2)
    drift = np.exp(log_gates) @ (spent + np.expm1(-spent)).mean(axis=1)
    root, reached = np.sqrt(2 * drift), np.sum(drift >= np.array(way.drifts))
    values, log_voices = _paid(run, tokens, asked=reached > state.reached)
    if reached > state.reached:
        _keep(run, number, drift, log_gates, tokens, under(adapted, prefixes, tokens), log_voices, values)
    direction, optimiser = _direction(run, trained, state.optimiser, drawn.tokens, values, spent)
    if number:
        change = way.stride / max(root - state.root, way.stride / CHANGE)
        rate = state.rate * max(change, 1 / CHANGE)
    else:
        rate = way.stride / _first(run, trained, direction)
    # Uphill.
    trained = jax.tree.map(lambda x, move: x + jnp.asarray(rate, x.dtype) * move, trained, direction)
    return State(trained, optimiser, rate, root, state.step + 1, np.maximum(reached, state.reached))


def _drawn(run: Run, model: Model, prefixes: list[Prefix], number: int) -> Any:
    _, num, length = run.start.tokens.shape
    key = jax.random.fold_in(jax.random.key(run.seed), number)
    return spoken.draw(key, model, prefixes, num=num, length=length, temperature=voices.TEMPERATURE)


def _paid(run: Run, tokens: np.ndarray, *, asked: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Rewards of answers, and ``under`` the base's voices, if somebody asks for that."""
    if not asked and run.way.reward not in SPEAKING:
        return run.paid(tokens, None), np.empty(0)
    log_voices = under(run.model, run.start.prefixes, tokens)
    return run.paid(tokens, _speaker(log_voices)), log_voices


def _direction(
    run: Run, trained: Trained, optimiser: Any, tokens: Any, values: np.ndarray, spent: np.ndarray | float
) -> tuple[Trained, Any]:
    """Where a step goes, of any length, and the optimiser's next state."""
    mean, deviation = run.scale
    paid = jnp.asarray((values - mean) / deviation - run.way.beta * spent, jnp.float32)
    if run.way.gates_only:
        adapters = jax.tree.map(jnp.zeros_like, trained.adapters)
    else:
        adapters = voice_training.adapter_slope(run.model, trained, run.start.asked, tokens, paid)
    slope = Trained(adapters, voice_training.gate_slope(trained.gates, paid))
    direction, optimiser = run.optimiser.update(slope, optimiser)
    return direction._replace(gates=run.way.gate_rate * direction.gates), optimiser


def _first(run: Run, trained: Trained, direction: Trained) -> float:
    """How fast the first direction moves answer and voice, root nats.

    It is kept how that and another first direction, of other answers, move the base's: what they share is no noise.
    """
    start = run.start
    num_voices, num, length = start.tokens.shape
    another = _drawn(run, run.model, start.prefixes, ANOTHER).tokens
    values, _ = _paid(run, np.asarray(another))
    both = direction, _direction(run, trained, run.optimiser.init(trained), another, values, 0.0)[0]
    moves = np.zeros((2, num_voices, num_voices * num))
    if not run.way.gates_only:
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *(each.adapters for each in both))
        answers = jnp.asarray(start.tokens.reshape(-1, length))
        moves = np.asarray(voice_training.moved(run.model, trained, start.asked, stacked, answers), float)
    gates = np.stack([np.asarray(each.gates, float) for each in both])
    np.savez(run.folder / "first.npz", moves=moves, gates=gates)
    own = np.einsum("kkm->km", moves[0].reshape(num_voices, num_voices, num))
    return float(((gates[0] - gates[0].mean())[:, None] + own).std())


def _keep(
    run: Run,
    step: int,
    drift: float,
    log_gates: np.ndarray,
    tokens: np.ndarray,
    scored: np.ndarray,
    log_voices: np.ndarray,
    values: np.ndarray,
) -> None:
    """Write all answers, of which those of voice k count g_k."""
    said = np.logaddexp.reduce(log_gates[:, None, None] + np.cumsum(flat(scored), axis=-1), axis=0)
    np.savez(
        run.folder / f"answers-{step}.npz",
        step=step,
        drift=drift,
        gates=np.exp(log_gates),
        tokens=tokens.reshape(-1, tokens.shape[-1]),
        log_policy=np.diff(said, prepend=0.0, axis=-1),
        log_voices=flat(log_voices),
        rewards=values.ravel(),
    )
