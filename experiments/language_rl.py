"""Is RL of a real language model persona selection? Low-rank adapters and gates of SmolLM2-135M in three voices.

Rewards favour a voice, a word, short answers, a habit that nobody has, and nothing at all (a random score). Predicted
before any training: R² of the direction in which the rule first moves the policy, by one derivative on the base's
answers. Measured: selection fraction, drift and new words at up to four drifts, from answers that were drawn while it
was trained (132 of up to 8 tokens a step, by Adam) and lie in a file; --train trains anew. One way has one learning
rate for all, in others gates learn faster; controls train gates alone, which cannot leave the hull. Each of two seeds
has another question.

On 2 cores the preset quick takes a minute, the preset rl two hours.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from experiments.shared import command, settings, trained
from toypersona.limits import Grid, Positive, at_least
from toypersona.outputs import named
from toypersona.worlds import voices

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.types import Array, Key

NAME = "language_rl"
REWARDS = ("Alice", "the word the", "brevity", "alliteration", "random score")
NUM_WORDS, NUM_LINES = 5, 6
"""New words and answers that are named at every drift."""

_ESTIMATES = ("total", "hull_distance", "selection_fraction")
MEASURED = (*_ESTIMATES, *(f"{name}_se" for name in _ESTIMATES), "base_inside", "certified")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.Settings):
    """Settings of RL on a language model."""

    rates: Grid = settings.geometric(1.0, 10000.0, 17)
    """Learning rates of the gates, in units of the adapters', for which R² is predicted; increasing."""
    train: bool = False
    """Train anew, for hours (make .venv/.lm-ready first), instead of reading experiments/shared/trained.npz."""
    gate_rate: Positive = 1000.0
    """With --train: learning rate of the gates, in units of the adapters', in most runs."""
    beta: Annotated[float, at_least(0)] = 0.1
    """With --train: of the penalty on drift, in standard deviations of the reward a nat."""


PRESETS = {
    "quick": Config(seeds=(0, 1)),
    "paper": Config(seeds=(0, 1), rates=settings.geometric(1.0, 10000.0, 65)),
    "rl": Config(seeds=(0, 1), train=True),
}


def run(config: Config) -> xr.Dataset:
    """Measure every run at its drifts; train first, if it is wanted."""
    import jax
    import jax.numpy as jnp

    from toypersona import voice_drift, voice_training

    found = _anew(config) if config.train else trained.load()
    if missing := set(config.seeds) - set(found.seeds.tolist()):
        raise ValueError(
            f"--seeds {min(missing)} is none of {found.seeds.tolist()}, whose answers are kept: add --train."
        )
    numbers = {name: jnp.asarray(x) for name, x in found._asdict().items() if x.dtype.kind in "fi"}
    kept_of = {name: numbers[name] for name in voice_drift.Kept._fields}
    rates, drift = jnp.asarray(config.rates), {"drift": np.arange(found.steps.shape[2])}

    def point(key: Key, *, way: Array) -> dict[str, Any]:
        place = jnp.argmax(numbers["seeds"] == jax.random.key_data(key)[-1])
        here, gate_rate = (way, place), numbers["gate_rates"][way]
        said = numbers["base_log_voices"][place].sum(axis=-1)
        base, even = voice_drift.of_base(said), jnp.zeros(len(voices.NAMES))

        def direction(rate: Array, draw: int = 0) -> Array:
            gates = numbers["gate_moves"][here][draw] / gate_rate * rate
            return voice_training.direction(even, said, gates[None], numbers["moves"][here][draw][None])[0]

        def limit(rate: Array) -> tuple[Array, Array]:
            return voice_drift.weak_limit(said, direction(rate))

        def at(fields: dict[str, Array]) -> dict[str, Array]:
            kept = voice_drift.Kept(**fields)
            budget = voice_drift.budget(kept, base)
            new = voice_drift.new_words(kept, budget.weights[0], found.texts.size, most=NUM_WORDS)
            paid = (voice_drift.counts(kept) * kept.rewards).mean()
            told = {"paid": paid, "gates": kept.gates, "new_token": new.tokens, "new_nats": new.nats}
            return {name: getattr(budget, name) for name in MEASURED} | told

        first, alike = limit(gate_rate), jnp.corrcoef(direction(gate_rate), direction(gate_rate, 1))[0, 1]
        measured = jax.lax.map(at, {name: x[here] for name, x in kept_of.items()})
        along = {"step": numbers["steps"][here], **measured}
        ranked = {"rank": np.arange(NUM_WORDS)}
        apart: dict[str, Any] = {"gates": {"voice": voices.NAMES}, "new_token": ranked, "new_nats": ranked}
        by_rate = jax.lax.map(lambda rate: limit(rate)[0], rates)
        return {
            "predicted": named(first[0], "R² of the first direction", ""),
            "predicted_se": named(first[1], "its standard error", ""),
            "agreement": named(alike, "correlation of two first directions", ""),
            "by_rate": named(by_rate, "R² of a first direction", "", gate_rate=config.rates),
            **{name: named(x, **drift, **apart.get(name, {})) for name, x in along.items()},
        }

    labels = {name: getattr(found, name).tolist() for name in ("names", "questions", "texts")}
    labels["lines"] = trained.some_lines(found, NUM_LINES)
    trained.write(found, config.out / "answers")
    return command.sweep(NAME, config, point, {"way": np.arange(len(found.names))}, labels=labels)


def _anew(config: Config) -> trained.Trained:
    """Train every way with every seed, and keep the answers as the shipped file has them."""
    from experiments.shared import voice_runs

    way = functools.partial(voice_runs.Way, beta=config.beta)
    ways = {reward: way(reward=reward, gate_rate=config.gate_rate) for reward in REWARDS}
    ways[f"{REWARDS[0]}, one rate for all"] = way(reward=REWARDS[0])
    ways |= {f"{reward}, gates alone": way(reward=reward, gates_only=True) for reward in REWARDS[:-1]}
    found = voice_runs.train_all(ways, config.seeds, config.out / "runs", config.say)
    trained.keep(config.out / "trained.npz", found)
    return found


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
