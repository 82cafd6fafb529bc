"""Is RL of a real language model persona selection? Low-rank adapters and gates of SmolLM2-135M in three voices.

Rewards favour a voice, a word, short answers, a habit that nobody has, and nothing at all (a random score). Predicted
before any training: R² of the direction in which the rule first moves the policy, by one derivative on the base's
answers. Measured: selection fraction, drift and new words at up to five drifts, from answers that were drawn while it
was trained and lie in a file; --train trains anew. Controls: gates alone, which cannot leave the hull. Each of two
seeds has another question.

On 2 cores the preset quick takes a minute, the preset rl three hours.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import xarray as xr

from experiments.shared import command, settings, trained
from toypersona.limits import Grid, Positive, at_least
from toypersona.outputs import named
from toypersona.worlds import voices

if TYPE_CHECKING:
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


PRESETS = {"quick": Config(seeds=(0, 1)), "rl": Config(seeds=(0, 1), train=True)}


def run(config: Config) -> xr.Dataset:
    """Measure every run at its drifts; train first, if it is wanted."""
    import jax
    import jax.numpy as jnp

    from toypersona import resampled, voice_training
    from toypersona.measures import sampled
    from toypersona.measures.sampled_inputs import Samples

    found = _anew(config) if config.train else trained.load()
    if missing := set(config.seeds) - set(found.seeds.tolist()):
        raise ValueError(
            f"--seeds {min(missing)} is none of {found.seeds.tolist()}, whose answers are kept: add --train."
        )
    numbers = {name: jnp.asarray(x) for name, x in found._asdict().items() if x.dtype.kind in "fi"}
    num_voices, num = found.moves.shape[2:]
    log_even, one_prompt = -np.log(num_voices), jnp.zeros(1)
    speaking = jnp.repeat(jnp.arange(num_voices), num // num_voices)[None]

    # Of every voice the first answer, then of every voice the second, as ``resampled`` has strata.
    turn = np.arange(num).reshape(num_voices, -1).T.ravel()

    def point(key: Key, *, way: Array) -> dict[str, Any]:
        place = jnp.argmax(numbers["seeds"] == jax.random.key_data(key)[-1])
        of_base = numbers["base_log_voices"][place].sum(axis=-1)[:, turn]
        log_base = jax.nn.logsumexp(of_base, axis=0) + log_even
        base = Samples(log_base[None], log_base[None], of_base[None], None, speaking[:, turn])
        own = {name: x[way, place] for name, x in numbers.items() if x.shape[:2] == found.steps.shape[:2]}
        gate_rate = numbers["gate_rates"][way]

        def predicted(rate: Array) -> resampled.Limit:
            gates, even = own["gate_moves"] / gate_rate * rate, jnp.zeros(num_voices)
            moved = voice_training.direction(even, of_base, gates[None], own["moves"][None, :, turn])
            return resampled.weak_limit(base, moved, one_prompt)

        def at(kept: dict[str, Array]) -> dict[str, Array]:
            log_policy, log_voices = kept["log_policy"].sum(axis=-1), kept["log_voices"].sum(axis=-1)
            weights = kept["gates"][speaking[0]] * num_voices
            log_here = jax.nn.logsumexp(log_voices, axis=0) + log_even
            samples = Samples(log_policy[None], log_here[None], log_voices[None], jnp.log(weights)[None], speaking)
            budget = sampled.budget_from_samples(samples, base, one_prompt)
            log_mix = jax.nn.logsumexp(
                jnp.log(budget.weights[0])[:, None, None] + jnp.cumsum(kept["log_voices"], axis=-1), axis=0
            )
            beyond = weights[:, None] * (kept["log_policy"] - jnp.diff(log_mix, prepend=0.0, axis=-1)) / num
            nats = jnp.zeros(found.texts.size).at[kept["tokens"].ravel()].add(beyond.ravel())
            lit, token = jax.lax.top_k(nats, NUM_WORDS)
            reward = weights @ kept["rewards"] / num
            measured = {name: getattr(budget, name) for name in MEASURED}
            told = {"step": kept["steps"], "paid": reward, "gates": kept["gates"], "new_token": token, "new_nats": lit}
            return measured | told

        along = {name: own[name] for name in ("steps", "gates", "tokens", "log_policy", "log_voices", "rewards")}
        apart: dict[str, Any] = dict.fromkeys(("new_token", "new_nats"), {"rank": np.arange(NUM_WORDS)})
        apart["gates"] = {"voice": voices.NAMES}
        drift: dict[str, Any] = {"drift": np.arange(found.steps.shape[2])}
        first, by_rate = predicted(gate_rate), jax.lax.map(predicted, jnp.asarray(config.rates)).value
        return {
            "predicted": named(first.value, "R² of the first direction", ""),
            "predicted_se": named(first.error, "R² of the first direction, standard error", ""),
            "by_rate": named(by_rate, "R² of the first direction", "", gate_rate=config.rates),
            **{name: named(x, **drift, **apart.get(name, {})) for name, x in jax.lax.map(at, along).items()},
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
    ways |= {f"{reward}, gates alone": way(reward=reward, gates_only=True, stride=0.25) for reward in REWARDS[:-1]}
    found = voice_runs.train_all(ways, config.seeds, config.out / "runs", config.say)
    trained.keep(config.out / "trained.npz", found)
    return found


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
