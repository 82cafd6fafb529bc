"""Fine-tuning on one persona's lines: does it select, when does it leave the hull, and is Larry still there?

Supervised fine-tuning (SFT) on few to many demonstrations, by the helpful persona and by a stranger who talks like
nobody. Then, at equal drift, what SFT and RL for helpfulness leave of the persona ``--called``: at prompts like his,
after a few of his words, and how much fine-tuning on his lines brings him back. A transformer is also called by his
name, which no training here mentions. Seeds draw text and fit, lines and the stranger.

On 2 cores the preset quick takes a minute.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from experiments.shared import command, settings
from toypersona.limits import Count, Counts, Grid, Positive, at_least
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.bases import Base
    from toypersona.fine_tuning import Called
    from toypersona.rules.rule import Task
    from toypersona.types import Array, Float, Key

NAME = "sft"
AUTHORS = ("persona", "stranger")
RULES = ("SFT", "RL")
PARTS = ("total", "hull_distance", "token_hull_distance", "selection_fraction", "certified")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.WorldSettings):
    """Settings of fine-tuning."""

    helpful: str | None = None
    """Who demonstrates and is paid for; the last persona unless named."""
    called: str | None = None
    """Who is asked for afterwards; the first persona unless named."""
    lines: Counts = (2, 8, 32, 128, 512, 2048)
    """Numbers of demonstrations; increasing."""
    num_steps: Count = 1500
    """Steps of SFT, so that the fewest lines are read many times; also of what follows."""
    learning_rate: Positive = 0.5
    """Of SFT."""
    rl_rate: Positive = 1.0
    """Of policy gradient, exact."""
    num_records: Annotated[int, at_least(8)] = 40
    """Records on the way of what follows, geometrically spaced; SFT on each number of lines has a quarter."""
    drifts: Grid = (0.1, 0.3, 0.9, 2.0)
    """Nats of KL(policy‖base) at which SFT and RL are compared; increasing."""

    def check(self) -> None:
        """Refuse more records than steps, and one persona for two."""
        super().check()
        if self.persona("helpful", -1) == self.persona("called", 0):
            raise ValueError("--helpful and --called have to be two different personas.")
        if self.num_records > self.num_steps:
            raise ValueError(f"--num-steps has to be --num-records or more, not {self.num_steps}.")


PRESETS = {"quick": Config(seeds=tuple(range(8))), "paper": Config(seeds=tuple(range(16)), num_steps=5000)}


def run(config: Config) -> xr.Dataset:
    """Demonstrate, train, call."""
    import jax
    import jax.numpy as jnp

    from toypersona import fine_tuning, rewards

    pretrained = config.pretrained()
    names = pretrained.labels.personas
    helpful, called = config.persona("helpful", -1), config.persona("called", 0)

    def point(key: Key) -> dict[str, Any]:
        stranger_key, line_key, tune_key = jax.random.split(key, 3)
        base = pretrained.base(pretrained.place(key))
        wanted = jnp.stack([base.log_personas[:, helpful], fine_tuning.stranger(stranger_key, base, helpful)])
        affine = rewards.persona_affine(base.log_gates, base.log_personas, jax.nn.one_hot(helpful, len(names)))
        task = base.task(rewards.standardise(affine, base.log_base, base.log_prompts))
        asked = fine_tuning.called(base, called)
        return _learn(config, base, wanted, line_key) | _call(config, asked, task, wanted, tune_key)

    labels = {"helpful": names[helpful], "called": names[called]}
    return command.sweep(NAME, config, point, {}, constants=pretrained.recovered(), labels=labels)


def _learn(config: Config, base: Base, wanted: Float[Array, "2 C N"], key: Key) -> dict[str, Any]:
    """SFT on few to many lines by the helpful persona and by a stranger."""
    import jax
    import jax.numpy as jnp

    from toypersona import fine_tuning

    steps = settings.records(config.num_steps, config.num_records // 4)
    walk = {"steps": jnp.asarray(steps), "learning_rate": config.pace * config.learning_rate}
    paths, missed = fine_tuning.on_lines(key, base, wanted, config.lines, **walk)
    still = jnp.broadcast_to(wanted[:, None], (len(AUTHORS), *paths.shape[2:]))
    # Both demonstrators among the paths, so that their budgets are compiled once.
    spent = jax.lax.map(base.budget_along, jnp.concatenate([paths.reshape(-1, *paths.shape[2:]), still]))
    along = {name: getattr(spent, name)[: -len(AUTHORS)].reshape(missed.shape) for name in PARTS}
    along["missed"] = named(missed, "KL(demonstrator‖policy)", "nats")
    ends = {
        "demonstrator_total": spent.total[-len(AUTHORS) :, 0],
        "demonstrator_fraction": named(
            spent.selection_fraction[-len(AUTHORS) :, 0], "selection fraction of the demonstrator"
        ),
    }
    return named(along, demonstrator=AUTHORS, lines=config.lines, step=steps) | named(ends, demonstrator=AUTHORS)


def _call(config: Config, called: Called, task: Task, wanted: Float[Array, "2 C N"], key: Key) -> dict[str, Any]:
    """What SFT and RL to the same drift leave of the persona called, and what brings him back."""
    import jax
    import jax.numpy as jnp

    from toypersona import fine_tuning
    from toypersona.rules import gradient, imitation

    base, steps = called.base, settings.records(config.num_steps, config.num_records)
    walk = {"steps": jnp.asarray(steps), "learning_rate": config.pace * config.learning_rate}
    line_key, walk_key, back_key, new_key = jax.random.split(key, 4)
    lines = imitation.demonstrations(line_key, wanted[0], base.log_prompts, base.responses, max(config.lines))
    rules = (
        (lambda size: imitation.sft(task, *lines, learning_rate=size), walk["learning_rate"]),
        (lambda size: gradient.policy_gradient(task, learning_rate=size), config.pace * config.rl_rate),
    )
    tuned = fine_tuning.at_drifts(walk_key, base, rules, jnp.asarray(config.drifts), steps=walk["steps"])
    numbers = jnp.arange(len(RULES) * len(config.drifts))
    left = jax.lax.map(lambda at: called.left(jax.random.fold_in(back_key, at[1]), at[0], **walk), (tuned, numbers))
    new_absence, new_nats = called.bring_back(new_key, base.params, wanted[1], **walk)
    each = {name: x.reshape(len(RULES), len(config.drifts), *x.shape[1:]) for name, x in left.items()}
    each |= {name: named(x, back=steps) for name, x in each.items() if name.startswith("back")}
    each |= {"presence": named(each["presence"], words=range(config.length))}
    return {
        **named(each, rule=RULES, drift=config.drifts),
        "base_presence": named(called.presence(base.log_base), words=range(config.length)),
        "base_gate": named(called.gate, "gate of the persona called"),
        "base_absence": called.absence(base.log_base, called.log_persona),
        "new_absence": named(new_absence, back=steps),
        "new_nats": named(new_nats, back=steps),
    }


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
