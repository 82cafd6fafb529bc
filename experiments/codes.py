"""Codes: what makes thoughts unreadable under RL is cheap words whose meaning is free (law L7).

The answer is the parity of some bits, the thoughts are the only memory, the length of thoughts costs. Larry's words are
the cheapest; their worth is the probability with which everybody takes them at their word. At every worth: which
conventions the policies key that are paid best, from starts built of codes, from the base by every rule, and annealed
from strength to strength, up and down again; and what the law of codes says of each, from the base alone. Seeds draw
the text, the fit and all that is sampled.

On 2 cores the preset quick takes three minutes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from experiments.shared import command, settings
from experiments.shared.settings import geometric
from toypersona.limits import Grid, Limit, within
from toypersona.options import ReasoningOptions, Training
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr
    from jaxtyping import Array

    from toypersona.types import Key, Params

NAME = "codes"
PATHS = ("annealed", "annealed down")

Worths = Annotated[
    tuple[float, ...],
    Limit(
        "2 or more increasing numbers from 0.5 to 1",
        lambda worths: len(worths) > 1 and list(worths) == sorted(set(worths)) and worths[0] >= 0.5 and worths[-1] <= 1,
    ),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.ThinkerSettings):
    """Settings of the sweep over worths."""

    num_bits: Annotated[int, within(2, 4)] = 3
    """n: bits and thoughts. With one thought there would be no codes that are exchanged on the way."""
    worths: Worths = (0.55, 0.7, 0.75, 0.8, 0.85, 0.9)
    """Of Larry's words: from 1/2, a free meaning, to 1, a sure one. Increasing."""
    strengths: Grid = (4.0, 8.0, 16.0, 32.0, 64.0, 256.0)
    """1/beta, of annealing; the last one is also that of every rule and built start. Increasing."""
    length_costs: Grid = (0.1, 0.4)
    """What a thought of length 1 costs; a right answer pays 1. Rules and built starts pay the last. Increasing."""


PRESETS = {
    "quick": Config(seeds=(10, 11, 12), training=Training(num_steps=600)),
    "paper": Config(
        seeds=tuple(range(6)),
        worths=(0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
        strengths=geometric(2.0, 256.0, 15),
        training=Training(num_steps=1500, num_samples=16),
    ),
}


def run(config: Config) -> xr.Dataset:
    """Train from built starts, by every rule and annealed, at every worth; measure, and predict from the base."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from toypersona import codes, defences, thinkers
    from toypersona.worlds import reasoning

    options = [ReasoningOptions(num_bits=config.num_bits, worth=worth) for worth in config.worths]
    labels, fits = reasoning.reasoning(options[0])[1], [config.fits(each) for each in options]
    worths, strengths, costs = (jnp.asarray(x) for x in (config.worths, config.strengths, config.length_costs))
    rules = {name: rule for name, rule in defences.RULES.items() if name != "annealed"}
    # In a row, to be measured by one program: along paths, of rules (annealing last), from built starts.
    shape = len(costs), len(PATHS), len(strengths)
    places = np.array([np.prod(shape), len(rules) + 1]).cumsum()
    pressures = jnp.broadcast_to(costs[:, None, None] * strengths[None, None], shape).ravel()
    keyed = jnp.array([[code in chosen for code in codes.CODES] for chosen in codes.STARTS.values()])
    given = jnp.concatenate([jnp.zeros((places[-1], len(codes.CODES)), bool), keyed])
    pressures = jnp.concatenate([pressures, jnp.full(len(given) - len(pressures), costs[-1] * strengths[-1])])

    def point(key: Key, *, worth: Array) -> dict[str, Any]:
        fit_key, rule_key, start_key, walk_key = jax.random.split(key, 4)
        by_worth = jax.tree.map(lambda *x: jnp.stack(x), *(fit.at(fit_key) for fit in fits))
        params, recovery = jax.tree.map(lambda x: x[jnp.abs(worths - worth).argmin()], by_worth)
        # Worth is in the fitted experts; the prompts are the same.
        base = thinkers.base(options[0], params)
        paid = lambda cost: (base, reasoning.parity_reward(labels, cost), config.training)  # noqa: E731
        end = lambda path: jax.tree.map(lambda x: x[-1, 0], path)  # noqa: E731

        def there_and_back(cost: Array) -> Params:
            up_key, down_key = jax.random.split(jax.random.clone(walk_key))
            up = defences.annealed_from(params, *paid(cost), strengths, up_key)
            down = defences.annealed_from(end(up), *paid(cost), strengths[::-1], down_key)
            return jax.tree.map(lambda x, y: jnp.stack([x, y[::-1]])[:, :, 0], up, down)

        def from_start(built: Params) -> Params:
            return end(defences.annealed_from(built, *paid(costs[-1]), strengths[-1:], jax.random.clone(start_key)))

        def measured(at: tuple[Params, Array, Array]) -> dict[str, Array]:
            return thinkers.measured(base, at[0]) | codes.compared(base, *at)

        rule_keys = jax.random.split(rule_key, len(rules))
        trained = [rule(*paid(costs[-1]), strengths[-1:], k) for rule, k in zip(rules.values(), rule_keys, strict=True)]
        built = [codes.built(base, chosen) for chosen in codes.STARTS.values()]
        paths = jax.lax.map(there_and_back, costs)
        ends = [*map(end, trained), jax.tree.map(lambda x: x[-1, 0, -1], paths)]
        starts = jax.lax.map(from_start, jax.tree.map(lambda *x: jnp.stack(x), *built))
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), paths)
        every = jax.tree.map(lambda x, y, *z: jnp.concatenate([x, jnp.stack(z), y]), flat, starts, *ends)
        values = jax.lax.map(measured, (every, pressures, given))
        by_path, by_rule, by_start = (
            {name: x[part] for name, x in values.items()} for part in np.split(np.arange(len(pressures)), places)
        )
        by_path = {name: x.reshape(*shape, *x.shape[1:]) for name, x in by_path.items()}
        along = {"length_cost": config.length_costs, "path": PATHS, "strength": config.strengths}
        return {
            **named(by_path, **along),
            **named({f"rule_{name}": x for name, x in by_rule.items()}, rule=[*rules, PATHS[0]]),
            **named({f"start_{name}": x for name, x in by_start.items()}, start=list(codes.STARTS)),
            **named(codes.read_off(base, codes.CODES), convention=[code.name for code in codes.CODES]),
            "expert_divergence": named(recovery.expert_divergence, persona=labels.personas),
        }

    return command.sweep(NAME, config, point, {"worth": config.worths})


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
