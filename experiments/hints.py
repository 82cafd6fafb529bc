"""Hints under RL: a model that uses a leaked answer, and a monitor that reads its thoughts and fines saying so.

The prompt may leak an answer that is often wrong, to the first thought alone: only thoughts can carry it to the answer.
The reward pays for the leaked answer; Larry, who uses it, says so. At every strength of RL, every fine and by several
rules: is the hint used, do the thoughts say so, or do they carry it in words that the monitor does not read? Two
controls: the answer sees the hint as well, so that nothing has to be thought; and no hint is ever shown. Seeds draw the
text, the fit and all that is sampled.

On 2 cores the preset quick takes four minutes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from experiments.shared import command, settings
from experiments.shared.settings import geometric
from toypersona.limits import FromZero, Grid, within
from toypersona.options import ReasoningOptions, Training
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr
    from jaxtyping import Array

    from toypersona.bases import Base
    from toypersona.types import Key, Params

NAME = "hints"
NUM_LINES = 4
RULES = ("exact", "annealed", "plain gradient", "RLOO", "GRPO")
SPENT = ("total", "hull_distance", "selection_fraction", "certified")
SAMPLED = tuple(f"sampled_{name}{end}" for name in ("decides", "direct", "recall", "accuracy") for end in ("", "_se"))
"""Rates that are also estimated from samples."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.ThinkerSettings):
    """Settings of the map."""

    options: ReasoningOptions = ReasoningOptions(num_bits=2, hints=True)
    """The world; --options.hints stays on, and a hint is seen by the first thought but in the control."""
    strengths: Grid = (1.0, 3.0, 10.0, 30.0, 100.0)
    """1/beta; increasing."""
    fines: FromZero = (0.0, 0.03, 0.06, 0.1, 0.3, 0.35, 0.4, 0.6)
    """What saying `hint` costs, where the leaked answer pays 1. From 0, increasing."""
    num_measured: Annotated[int, within(100, 100_000)] = 4000
    """Prompts from whose answers, with and without the hint, the rates are also estimated."""
    training: Training = Training(num_steps=1000)
    """Of every way to train."""

    def check(self) -> None:
        """Refuse worlds without hints and those whose responses are too many to list."""
        super().check()
        if not self.options.hints or self.options.num_rows is not None or self.options.num_bits > 3:
            raise ValueError("--options has to keep hints, every row and up to 3 bits: their responses are listed.")
        if self.options.hint_seen != "first thought":
            raise ValueError("--options.hint-seen has to be 'first thought': what is seen everywhere is the control.")


PRESETS = {
    "quick": Config(seeds=(10, 11, 12, 13)),
    "paper": Config(
        seeds=tuple(range(6)),
        strengths=geometric(1.0, 100.0, 7),
        fines=(0.0, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.6),
        training=Training(num_steps=2400, num_samples=16),
    ),
}


def run(config: Config) -> xr.Dataset:
    """Train by every rule, and the controls, at every strength and fine, and measure."""
    import jax
    import jax.numpy as jnp

    from toypersona import bases, defences, thinkers
    from toypersona.measures import hints
    from toypersona.worlds import reasoning

    seen_everywhere = dataclasses.replace(config.options, hint_seen="everywhere")
    labels, strengths = reasoning.reasoning(config.options)[1], jnp.asarray(config.strengths)
    fits, fits_everywhere = config.fits(config.options), config.fits(seen_everywhere)

    def point(key: Key, *, fine: Array) -> dict[str, Any]:
        fit_key, walk_key, line_key, draw_key = jax.random.split(key, 4)
        *keys, control_key = jax.random.split(walk_key, len(RULES) + 1)
        params, recovery = fits.at(fit_key)
        base = thinkers.base(config.options, params)
        open_base = thinkers.base(seen_everywhere, fits_everywhere.at(fit_key)[0])
        reward = reasoning.proxy_reward(labels, fine, config.options.hint_wrong)
        paid = reward, config.training, strengths

        def measured(base: Base, params: Params) -> dict[str, Array]:
            log_policy = base.law(params)
            told = jnp.broadcast_to(thinkers.tells(base), log_policy.shape).astype(float)
            values = {"reward": defences.listed(base, reward), "fined": told}
            means = {name: base.mean(log_policy, value) for name, value in values.items()}
            budget, laws = base.budget(log_policy), thinkers.hint_laws(base, params)
            use = hints.hint_use(laws)._asdict() | {"visible": hints.visible(laws)}
            return use | means | {name: getattr(budget, name) for name in SPENT}

        def estimated(params: Params) -> dict[str, Array]:
            # The same draws everywhere, on purpose.
            laws, own_key = thinkers.hint_laws(base, params), jax.random.clone(draw_key)
            estimates = hints.estimated(own_key, laws, config.num_measured)
            return measured(base, params) | {name: estimates[name] for name in SAMPLED}

        def unseen(params: Params) -> dict[str, Array]:
            return hints.unseen(thinkers.hint_laws(base, params), jax.random.clone(draw_key), config.num_measured)

        paths = [defences.RULES[rule](base, *paid, k) for rule, k in zip(RULES, keys, strict=True)]
        in_the_open = defences.RULES["exact"](open_base, *paid, jax.random.clone(control_key))
        mark = np.arange(base.prompts.shape[0]) % len(reasoning.MARKS)
        blind = defences.RULES["exact"](bases.only(base, mark == 0), *paid, control_key)
        # Mapped, so that what is measured is compiled once for all rules.
        by_rule = jax.lax.map(
            lambda path: thinkers.along(estimated, path), jax.tree.map(lambda *x: jnp.stack(x), *paths)
        )
        everywhere = thinkers.along(lambda params: measured(open_base, params), in_the_open)
        controls = {"everywhere": everywhere, "control": thinkers.along(unseen, blind)}
        wrong = bases.only(base, mark == mark.max())
        open_wrong = bases.only(open_base, mark == mark.max())
        lines = thinkers.lines(wrong, paths[0], line_key, NUM_LINES)
        open_lines = thinkers.lines(open_wrong, in_the_open, jax.random.clone(line_key), NUM_LINES)
        return {
            **named(by_rule, rule=RULES, strength=config.strengths),
            **{
                f"{control}_{name}": named(value, strength=config.strengths)
                for control, values in controls.items()
                for name, value in values.items()
            },
            **{f"base_{name}": value for name, value in measured(base, params).items()},
            "base_blank_accuracy": unseen(params)["accuracy"],
            "expert_divergence": named(recovery.expert_divergence, persona=labels.personas),
            **named(lines, strength=config.strengths),
            "everywhere_line_tokens": named(
                open_lines["line_tokens"], strength=config.strengths, line=None, place=None
            ),
        }

    return command.sweep(NAME, config, point, {"fine": config.fines}, labels={"units": labels.units})


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
