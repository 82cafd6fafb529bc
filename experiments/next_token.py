"""L1 in a real language model: what RL on the next word selects, exact over all 49,152 tokens.

SmolLM2-135M answers four questions in three voices, Larry's, Bob's and Alice's, of which eight example lines each were
read; the base mixes them evenly. Seven rewards, from one that pays for Alice to one for a letter: R² predicts the
selection fraction of a weak tilt. Strong tilts say words that no voice would say; the claims name them. The voices'
laws lie in a file; --from-model asks the model itself. Seeds draw one reward, a random score of every token.

On 2 cores the preset quick takes a minute.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from experiments.shared import command, next_laws, settings
from experiments.shared.settings import geometric
from toypersona.limits import Grid, increasing
from toypersona.outputs import named
from toypersona.worlds import voices

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.types import Array, Float, Key

NAME = "next_token"
SCORE = "random score"
EXCEEDING = ("new_token", "new_share", "excess")
NAMED = 6
"""Tokens named at every point: those that exceed what any voice gives them by most."""

NUM_QUESTIONS, NUM_ANSWERS, LONGEST = 4, 32, 12
"""What the model is asked with --from-model: questions, answers of every voice to each, and their tokens at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.Settings):
    """Settings of the next token."""

    weak: Annotated[tuple[float, ...], increasing(3)] = (0.00125, 0.0025, 0.005, 0.01)
    """Sizes of weak tilts: strength times the reward's standard deviation under the base, sqrt(2 KL) if it is weak."""
    strong: Grid = geometric(0.02, 20.48, 21)
    """Sizes of strong tilts; increasing."""
    from_model: bool = False
    """Ask the language model (make .venv/.lm-ready first), write its laws to OUT/next_token.npz, and read these."""

    def check(self) -> None:
        """Refuse strong tilts that are weaker than weak ones."""
        if self.strong[0] <= self.weak[-1]:
            raise ValueError(f"--strong has to begin above the last of --weak, {self.weak[-1]:g}.")


PRESETS = {
    "quick": Config(seeds=(0, 1)),
    "paper": Config(seeds=tuple(range(12)), strong=geometric(0.02, 40.96, 67)),
}


def run(config: Config) -> xr.Dataset:
    """Tilt the base by every reward at every question, and measure how much of it is selection."""
    import jax
    import jax.numpy as jnp

    from toypersona import hulls, numerics, spoken, theory

    read_here = config.out / "next_token.npz"
    if config.from_model and not read_here.exists():
        config.say("Reading the language model and sampling answers ...")
        next_laws.keep(read_here, asked_of_model())
    laws = next_laws.load(read_here if config.from_model else None)
    log_voices, log_base = jnp.asarray(laws.log_voices), jnp.asarray(laws.log_base)
    made = next_laws.rewards(laws)
    prepared, sizes = jnp.asarray(np.stack([*made.values()], axis=1)), jnp.asarray((*config.weak, *config.strong))

    def point(key: Key, *, question: Array) -> dict[str, Any]:
        voices_here, base = log_voices[question], log_base[question]
        rewards = jnp.concatenate([prepared[question], jax.random.normal(key, (1, base.size))])

        def paid(reward: Float[Array, " V"]) -> tuple[Array, dict[str, Array]]:
            deviation = jnp.sqrt(numerics.expectation(base, numerics.centred(base, reward) ** 2))
            limit = theory.weak_limit(base[None], voices_here[None], reward[None], jnp.zeros(1))

            def tilted(size: Float[Array, ""]) -> dict[str, Array]:
                policy = theory.tilt(base, reward, size / deviation)
                nearest = hulls.project(policy, voices_here, tolerance=None)
                total, distance = numerics.kl_divergence(policy, base), nearest.distance - nearest.rounding
                most = jnp.exp(voices_here).max(axis=0)
                over, token = jax.lax.top_k(jnp.exp(policy) - most, NAMED)
                return {
                    "total": total,
                    "hull_distance": distance,
                    "selection_fraction": 1 - distance / total,
                    "certified": nearest.certified,
                    "nearest_weights": nearest.weights,
                    "new_token": token,
                    "new_share": jnp.exp(policy)[token],
                    "excess": over,
                }

            return limit, jax.lax.map(tilted, sizes)

        limits, measured = jax.lax.map(paid, rewards)
        along: dict[str, Any] = {"reward": (*made, SCORE), "drift": np.asarray(sizes)}
        apart: dict[str, dict[str, Any]] = {"nearest_weights": {"voice": voices.NAMES}} | dict.fromkeys(
            EXCEEDING, {"rank": np.arange(NAMED)}
        )
        return {
            "predicted": named(limits, "R² of the reward", "", reward=along["reward"]),
            **{name: named(values, **along, **apart.get(name, {})) for name, values in measured.items()},
        }

    told, error = jax.vmap(spoken.sampled_information)(jnp.asarray(laws.log_answers))
    asked = {"question": np.arange(len(laws.questions))}
    constants = {
        "information": named(jax.vmap(spoken.information)(log_voices), "I(voice; next token)", "nats", **asked),
        "answer_information": named(told, "I(voice; answer)", "nats", **asked),
        "answer_information_se": named(error, "I(voice; answer), standard error", "nats", **asked),
    }
    labels = {"texts": laws.texts.tolist(), "questions": laws.questions.tolist()}
    return command.sweep(NAME, config, point, asked, constants=constants, labels=labels)


def asked_of_model() -> next_laws.Laws:
    """The laws, and answers, of the model in its wheel.

    Raises:
        ValueError: it is not installed.
    """
    import jax

    from toypersona import spoken
    from toypersona.policies import model_file

    model, questions = model_file.load(), voices.questions()[:NUM_QUESTIONS]
    how = {"num": NUM_ANSWERS, "length": LONGEST, "temperature": voices.TEMPERATURE}
    log_voices, said = [], []
    for number, question in enumerate(questions):
        prefixes = spoken.read(model, [voices.prompt(voices.lines(name), question) for name in voices.NAMES])
        log_voices.append(spoken.next_laws(prefixes, voices.TEMPERATURE))
        said.append(spoken.answers(jax.random.key(number), model, prefixes, **how))
    texts = np.array([model.decode([token]) for token in range(model.ends.size)])
    tokens, log_probs = (np.stack([getattr(one, name) for one in said]) for name in spoken.Said._fields)
    return next_laws.Laws(np.stack(log_voices), texts, np.array(questions), tokens, log_probs)


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
