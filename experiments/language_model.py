"""L1 in whole answers of a real language model, from samples: predicted on one half, measured on the other.

SmolLM2-135M answered four questions in three voices, as often in each: samples of the base that mixes them evenly.
Every reward's R² is read off one half of them. Its tilts, and best of n by it, are the other half weighted: their drift
budget is measured, and detectors are shown what they say. A second base, the same model after everybody's lines
shuffled, is outside the hull and repaired. The answers lie in a file; --from-model samples the model itself. Seeds draw
the random score of every token, and the answers that detectors see.

On 2 cores the preset quick takes a minute.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from experiments.shared import answers, command, settings
from toypersona.limits import Limit, increasing
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr

    from toypersona import resampled
    from toypersona.measures import sampled
    from toypersona.types import Array, Key

NAME = "language_model"
FEWEST = 50
"""Samples that weighted ones have to be worth (``sampled.EFFECTIVE``, which needs jax)."""

ESTIMATES = ("total", "selection", "selection_fraction")
MEASURED = (*(f"{name}{end}" for name in ESTIMATES for end in ("", "_se")), "effective")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.Settings):
    """Settings of whole answers."""

    nats: Annotated[
        tuple[float, ...], increasing(), Limit("from 0.05 to 1.5", lambda nats: nats[0] >= 0.05 and nats[-1] <= 1.5)
    ] = (
        0.3,
        0.45,
        0.6,
    )
    """Drift of tilts, nats: below 0.05 S is noise, above 1.5 a few answers weigh all; increasing."""
    best_of: Annotated[
        tuple[int, ...],
        increasing(1, least=1, kind="whole numbers above 1"),
        Limit("from 2 to 16", lambda nums: nums[-1] <= 16),
    ] = (2, 4)
    """n of best of n; increasing."""
    from_model: bool = False
    """Sample the language model (make .venv/.lm-ready first) into OUT/answers.npz, and read that."""

    @property
    def policies(self) -> tuple[str, ...]:
        """Tilts, then best of n, by name."""
        return (*(f"tilt {nats:g}" for nats in self.nats), *(f"best of {num}" for num in self.best_of))


PRESETS = {"quick": Config(seeds=(0, 1)), "paper": Config(seeds=tuple(range(12)), nats=(0.2, 0.3, 0.4, 0.5, 0.6, 0.8))}


def run(config: Config) -> xr.Dataset:
    """Reward answers in every way, at every question and at all of them, and make policies of either half."""
    import jax
    import jax.numpy as jnp

    from toypersona import resampled
    from toypersona.measures import sampled

    sampled_here = config.out / "answers.npz"
    if config.from_model and not sampled_here.exists():
        config.say("Sampling the language model ...")
        answers.keep(sampled_here, answers.asked_of_model())
    said = answers.load(sampled_here if config.from_model else None)
    both = answers.of_the_mix(said), answers.after_shuffled_lines(said)
    made = [answers.rewards(each) for each in both]
    table = [jnp.asarray(np.stack([*rewards.values()])) for rewards in made]
    drawn, outside = (sampled.Samples(*map(jnp.asarray, each.log_probs)) for each in both)
    drawn = drawn._replace(strata=jnp.asarray(both[0].strata))
    nats, nums = jnp.asarray(config.nats), jnp.asarray(config.best_of, float)
    num_questions, num_words = len(said.questions), 1 + max(int(each.tokens.max()) for each in both)
    with np.errstate(divide="ignore"):
        prompts = np.log(np.vstack([np.eye(num_questions), np.full((1, num_questions), 1 / num_questions)]))

    def point(key: Key, *, asked: Array) -> dict[str, Any]:
        log_prompts, (score_key, key) = jnp.asarray(prompts)[asked], jax.random.split(key)
        scores = jax.random.normal(score_key, (num_words,)).at[answers.ENDED].set(0.0)
        paid, paid_outside = (
            jnp.concatenate([rewards, scores[each.tokens].sum(axis=-1)[None]])
            for rewards, each in zip(table, both, strict=True)
        )

        def of_half(given: tuple[Any, ...]) -> resampled.Measured:
            fitted, tested, rewards, keys = given
            of_reward = lambda x: resampled.measured(x[1], fitted, tested, x[0], log_prompts, nats, nums)  # noqa: E731
            return jax.lax.map(of_reward, (rewards, jax.random.split(keys, len(paid))))

        either = lambda x: _either(jnp.stack(jnp.split(x, 2, axis=-1)))  # noqa: E731
        fitted, tested = (jax.tree.map(lambda x, i=i: either(x)[i], drawn) for i in (0, 1))
        found = jax.lax.map(of_half, (fitted, tested, either(paid), jax.random.split(key)))
        outer = jax.lax.map(lambda r: resampled.repaired(outside, r, log_prompts, nats[0]), paid_outside)
        along: dict[str, Any] = {"half": None, "reward": (*made[0], answers.SCORE), "policy": config.policies}
        named_along = lambda x, *names: named(x, **{name: along[name] for name in names})  # noqa: E731
        measured = _numbers(found.budget) | found.seen._asdict()
        measured["certified"] = measured["void"] | (found.budget.certified & found.seen.certified)
        shuffled = _numbers(outer.budget) | {"misfit": outer.budget.misfit, "misfit_se": outer.budget.misfit_se}
        shuffled |= _limit(outer.predicted) | {"as_given": outer.as_given}
        return (
            named_along(_finite(measured), *along)
            | named_along(_limit(found.predicted), "half", "reward")
            | named_along({f"shuffled_{name}": x for name, x in _finite(shuffled).items()}, "reward")
        )

    labels = {"questions": said.questions.tolist(), "answers": both[0].texts.tolist()}
    return command.sweep(NAME, config, point, {"asked": np.arange(num_questions + 1)}, labels=labels)


def _either(halves: Array) -> tuple[Array, Array]:
    """What is fitted and what is tested, with either half as the first."""
    return halves, halves[::-1]


def _numbers(budget: sampled.SampledBudget) -> dict[str, Array]:
    """What is kept of a budget; void where samples are worth too little, or no tilt is so far."""
    return {name: getattr(budget, name) for name in MEASURED} | {"void": ~(budget.effective >= FEWEST)}


def _limit(limit: resampled.Limit) -> dict[str, Array]:
    return {"predicted": limit.value, "predicted_se": limit.error}


def _finite(values: dict[str, Array]) -> dict[str, Array]:
    """What is void is marked so, and not nan, which would be a run that diverged."""
    import jax.numpy as jnp

    return {name: jnp.where(jnp.isfinite(x), x, jnp.zeros_like(x)) for name, x in values.items()}


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
