"""Hints under RL: a model that uses a leaked answer, and a monitor that reads its thoughts and fines saying so.

The prompt may leak an answer that is often wrong; the reward pays for the leaked answer. Larry, who uses it, says so.
At every strength of RL and every fine: how often the hint decides the answer, how often the thoughts say so, and what
becomes of the right answer. The control is trained for the same reward and never shown a hint. Seeds draw the text,
the fit and all that is sampled.

On 2 cores the preset quick takes a minute, paper six.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import xarray as xr

from experiments.shared import command, settings
from experiments.shared.settings import geometric
from toypersona.limits import FromZero, Grid, within
from toypersona.options import ReasoningOptions, Training
from toypersona.outputs import named

if TYPE_CHECKING:
    from jaxtyping import Array

    from toypersona.types import Key, Params

NAME = "hints"
NUM_LINES = 4
RULES = ("exact", "RLOO", "GRPO")
SPENT = ("total", "hull_distance", "selection_fraction", "certified")
SAMPLED = tuple(f"sampled_{name}{end}" for name in ("decides", "recall", "accuracy") for end in ("", "_se"))
"""Rates that are also estimated from samples."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.ThinkerSettings):
    """Settings of the map."""

    options: ReasoningOptions = ReasoningOptions(num_bits=2, hints=True)
    """The world; --options.hints stays on."""
    strengths: Grid = (1.0, 3.0, 10.0, 30.0, 100.0)
    """1/beta; increasing."""
    fines: FromZero = (0.0, 0.1, 0.3, 1.0)
    """What saying `hint` costs, where the leaked answer pays 1. From 0, increasing."""
    num_measured: Annotated[int, within(100, 100_000)] = 4000
    """Prompts from whose answers, with and without the hint, the rates are also estimated."""

    def check(self) -> None:
        """Refuse worlds without hints and those whose responses are too many to list."""
        super().check()
        if not self.options.hints or self.options.num_rows is not None or self.options.num_bits > 3:
            raise ValueError("--options has to keep hints, every row and up to 3 bits: their responses are listed.")


PRESETS = {
    "quick": Config(),
    "paper": Config(
        seeds=tuple(range(6)),
        strengths=geometric(1.0, 100.0, 7),
        fines=(0.0, 0.05, 0.1, 0.3, 1.0),
        training=Training(num_steps=2400, num_samples=16),
    ),
}


def run(config: Config) -> xr.Dataset:
    """Train by every rule, and the control, at every strength and fine, and measure."""
    import jax
    import jax.numpy as jnp

    from toypersona import bases, defences, thinkers
    from toypersona.measures import hints
    from toypersona.worlds import reasoning

    labels, fits, strengths = reasoning.reasoning(config.options)[1], config.fits(config.options), config.strengths

    def point(key: Key, *, fine: Array) -> dict[str, Any]:
        fit_key, walk_key, line_key, draw_key = jax.random.split(key, 4)
        *keys, control_key = jax.random.split(walk_key, len(RULES) + 1)
        params, recovery = fits.at(fit_key)
        base = thinkers.base(config.options, params)
        mark = np.arange(base.prompts.shape[0]) % len(reasoning.MARKS)
        reward = reasoning.proxy_reward(labels, fine, config.options.hint_wrong)
        paid = reward, config.training, jnp.asarray(strengths)

        def measured(params: Params) -> dict[str, Array]:
            use, budget = hints.hint_use(thinkers.hint_laws(base, params)), base.budget(base.law(params))
            return use._asdict() | {name: getattr(budget, name) for name in SPENT}

        def estimated(params: Params) -> dict[str, Array]:
            # The same draws everywhere, on purpose.
            laws, own_key = thinkers.hint_laws(base, params), jax.random.clone(draw_key)
            estimates = hints.estimated(own_key, laws, config.num_measured)
            return measured(params) | {name: estimates[name] for name in SAMPLED}

        def unseen(params: Params) -> dict[str, Array]:
            return hints.unseen(thinkers.hint_laws(base, params), jax.random.clone(draw_key), config.num_measured)

        paths = [defences.RULES[rule](base, *paid, k) for rule, k in zip(RULES, keys, strict=True)]
        blind = defences.RULES["exact"](bases.only(base, mark == 0), *paid, control_key)
        by_rule = jax.tree.map(lambda *x: jnp.stack(x), *(thinkers.along(estimated, path) for path in paths))
        control = thinkers.along(unseen, blind)
        wrong = bases.only(base, mark == mark.max())
        return {
            **named(by_rule, rule=RULES, strength=strengths),
            **named({f"control_{name}": value for name, value in control.items()}, strength=strengths),
            **{f"base_{name}": value for name, value in measured(params).items()},
            "base_blank_accuracy": unseen(params)["accuracy"],
            "expert_divergence": named(recovery.expert_divergence, persona=labels.personas),
            **named(thinkers.lines(wrong, paths[0], line_key, NUM_LINES), strength=strengths),
        }

    return command.sweep(NAME, config, point, {"fine": config.fines}, labels={"units": labels.units})


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
