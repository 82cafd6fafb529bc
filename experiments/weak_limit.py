"""L1: weak RL selects among personas exactly as much as its direction's R² says, whatever the rule and the scope.

Random worlds, random rewards; the tilt, and one small step of vanilla gradient, natural gradient and Adam on the gates,
the experts or both. Predicted: the part of the rule's own direction that responsibilities explain. Measured: the drift
budget. Seeds draw worlds and rewards.

On 2 cores the preset quick takes twenty seconds.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from experiments.shared import command, settings
from toypersona.limits import increasing, within
from toypersona.options import Concentration, Size, check_prompts, num_outcomes
from toypersona.outputs import named

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    from toypersona.bases import Base
    from toypersona.types import Array, Key

NAME = "weak_limit"
KINDS = ("vanilla", "natural", "adam")
MEASURED = ("selection_fraction", "total", "gap", "certified")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.Settings):
    """Settings of the scatter plot."""

    num_worlds: Annotated[int, within(1, 100_000)] = 150
    """Random worlds of every seed."""
    num_personas: Annotated[int, within(2, 64)] = 3
    """K."""
    num_words: Annotated[int, within(2, 64)] = 4
    """V."""
    length: Annotated[int, within(1, 20)] = 3
    """T, words of a response."""
    num_prompts: Size = 3
    """C."""
    concentration: Concentration = 1.0
    """Of the personas' next-word distributions: small is peaked."""
    gate_concentration: Concentration = 5.0
    """Of the gates: small gives each prompt to one persona."""
    drifts: Annotated[tuple[float, ...], increasing(4)] = (0.005, 0.01, 0.02, 0.04)
    """Sizes of the step: sqrt(2 KL(policy‖base)) by the prediction, each twice the one before."""

    def check(self) -> None:
        """Refuse sizes of the step that do not double, and worlds too large to list."""
        num_outcomes(self.num_words, self.length)
        check_prompts(self.num_words, 2, self.num_prompts)
        if not np.allclose(np.diff(np.log2(self.drifts)), 1.0):
            raise ValueError("--drifts has to double at every step.")


PRESETS = {
    "quick": Config(num_worlds=60, seeds=tuple(range(5))),
    "paper": Config(num_worlds=250, num_words=5, seeds=tuple(range(8))),
}


def run(config: Config) -> xr.Dataset:
    """Predict and measure every world, reward, rule and scope."""
    import jax
    import jax.numpy as jnp

    from toypersona import bases, first_order, rewards, theory, trajectories
    from toypersona.worlds import markov

    sizes = ("num_personas", "num_words", "num_prompts", "concentration", "gate_concentration")
    options = {name: getattr(config, name) for name in sizes}

    def true_base(key: Key) -> Base:
        return bases.true(*markov.markov(key, **options), config.length)

    def point(key: Key, *, world: Array) -> dict[str, Any]:
        world_key, reward_key = jax.random.split(jax.random.fold_in(key, world))
        base = true_base(world_key)
        hull = base.log_gates, base.log_base, base.log_personas, base.log_prompts
        reward = rewards.at_random(reward_key, *hull)

        def steps(direction: Array, after: Callable[[Array], Array]) -> tuple[Array, Array]:
            rates = first_order.rates(base.log_base, direction, base.log_prompts, jnp.asarray(config.drifts))
            limit = theory.weak_limit(base.log_base, base.log_personas, direction, base.log_prompts)
            return limit, jax.lax.map(after, rates)

        limit, tilted = steps(reward, lambda strength: theory.tilt(base.log_base, reward, strength))
        pairs, scopes = [(limit[None], tilted[None])], base.speakers.scopes
        for kind in KINDS:
            in_scope = lambda task, kind=kind: steps(*first_order.step(kind, base, task))  # noqa: E731
            pairs.append(trajectories.by_scope(in_scope, base.task(reward), scopes))
        limits, policies = map(jnp.concatenate, zip(*pairs, strict=True))
        spent = jax.lax.map(base.budget, policies.reshape(-1, *base.log_base.shape))
        measured = {name: getattr(spent, name).reshape(policies.shape[:2]) for name in MEASURED}
        rules = ("tilt", *(f"{kind}/{scope}" for kind in KINDS for scope in scopes))
        predicted = named(limits, "R² of the rule's direction", rule=rules)
        return {"predicted": predicted, **named(measured, rule=rules, drift=config.drifts)}

    return command.sweep(NAME, config, point, {"world": np.arange(config.num_worlds)})


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
