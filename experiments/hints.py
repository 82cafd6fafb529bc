"""Hints under RL: a model that uses a leaked answer, and a monitor that reads its thoughts and fines saying so.

The prompt may leak an answer that is often wrong; the reward pays for the leaked answer. Larry, who uses it, says so. At
every strength of RL and every fine: how often the hint decides the answer, how often the thoughts say so, and what
becomes of the right answer. The control is trained for the same reward and never shown a hint. Seeds draw the text, the
fit and all that is sampled.

On 2 cores the preset quick takes a minute, paper ten.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from experiments import base_model, harness, maps, thinkers
from toypersona import numerics
from toypersona.measures import hints
from toypersona.rules import clipped, reinforce
from toypersona.types import Key, Params
from toypersona.worlds import reasoning

NAME = "hints"
NUM_LINES = 4
NUM_MARKS = len(reasoning.MARKS)
RULES: dict[str, Callable[[thinkers.Problem], thinkers.Start]] = {
    "exact": thinkers.exact,
    "RLOO": lambda problem: thinkers.sampled(problem, reinforce.rloo),
    "GRPO": lambda problem: thinkers.sampled(problem, clipped.grpo),
}
CONTROL = "no hint"
SAMPLED = ("decides", "recall", "accuracy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(harness.Settings):
    """Settings of the map."""

    options: reasoning.ReasoningOptions = reasoning.ReasoningOptions(num_bits=2, hints=True)
    """The world; --options.hints stays on."""
    strengths: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)
    """1/beta; increasing."""
    fines: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0)
    """What saying `hint` costs, where the leaked answer pays 1. From 0, increasing."""
    training: thinkers.Training = thinkers.Training()
    """Of every rule."""
    pretraining: base_model.Pretraining = thinkers.PRETRAINING
    """How the base is fitted to text."""
    num_measured: int = 4000
    """Prompts from whose answers, with and without the hint, the rates are also estimated."""


PRESETS = {
    "quick": Config(),
    "paper": Config(
        seeds=tuple(range(10)),
        strengths=maps.geometric(1.0, 100.0, 9),
        fines=(0.0, 0.05, 0.1, 0.2, 0.3, 1.0),
        training=thinkers.Training(num_steps=3000, num_samples=16),
    ),
}


def check(config: Config) -> None:
    """Refuse settings that make no map, before anything is computed.

    Raises:
        ValueError: it names the flag.
    """
    harness.check(config)
    harness.check_increasing("strengths", config.strengths)
    harness.check_increasing("fines", config.fines[1:], at_least=1)
    if config.fines[0] != 0:
        raise ValueError(f"--fines has to start with 0, for comparison, not with {config.fines[0]:g}.")
    if not config.options.hints or config.options.num_rows is not None or config.options.num_bits > 3:
        raise ValueError("--options has to keep hints, every row and up to 3 bits: their responses are listed.")
    for name in ("training", "pretraining"):
        harness.check_positive(name, getattr(config, name))
    if config.num_measured < 100:
        raise ValueError(f"--num-measured has to be 100 or more, not {config.num_measured}.")
    thinkers.check_gate(config.pretraining)


def run(config: Config) -> xr.Dataset:
    """Train by every rule, and the control, at every strength and fine, and measure."""
    check(config)
    strengths = jnp.asarray(config.strengths)

    def point(key: Key, *, fine: Float[Array, ""]) -> dict[str, Array]:
        fit_key, walk_key, line_key, draw_key = jax.random.split(key, 4)
        params, recovery = thinkers.pretrained(config.options, config.pretraining, fit_key)
        base = thinkers.thinker(config.options, params)
        reward = reasoning.proxy_reward(base.labels, fine, config.options.hint_wrong)
        problem = thinkers.Problem(base, reward, config.training, base.world.log_prompts, walk_key)
        unseen = only(base, np.arange(base.world.prompts.shape[0]) % NUM_MARKS == 0)
        control = problem._replace(base=unseen, log_prompts=unseen.world.log_prompts)
        trained = [thinkers.quenched(problem, start(problem), strengths) for start in RULES.values()]
        trained.append(thinkers.quenched(control, thinkers.exact(control), strengths))
        shown = jnp.array([True] * len(RULES) + [False])
        wrong = only(base, np.arange(base.world.prompts.shape[0]) % NUM_MARKS == NUM_MARKS - 1)

        def measured(path: Params, shown: Array, key: Key) -> dict[str, Array]:
            return _measured(config, base, jax.tree.map(lambda x: x[0], path), shown, key)

        def along(pair: tuple[Params, Array]) -> dict[str, Array]:
            return jax.lax.map(lambda path: measured(path, pair[1], draw_key), pair[0])

        at_base = jax.tree.map(lambda x: x[None], params)
        return {
            **jax.lax.map(along, (jax.tree.map(lambda *x: jnp.stack(x), *trained), shown)),
            **{f"base_{name}": value for name, value in measured(at_base, jnp.array(True), draw_key).items()},
            "expert_divergence": recovery.expert_divergence,
            **thinkers.lines(wrong, trained[0], line_key, NUM_LINES),
        }

    along = ("way", "strength")
    _, labels = reasoning.reasoning(config.options)
    names = (*hints.HintUse._fields, "shown_follows", "total", "hull_distance", "selection_fraction", "certified")
    names += tuple(f"sampled_{name}" for name in SAMPLED) + tuple(f"sampled_{name}_se" for name in SAMPLED)
    return harness.sweep(
        NAME,
        config,
        point,
        {"fine": np.array(config.fines)},
        dims={
            **{name: along for name in names},
            "expert_divergence": ("persona",),
            **thinkers.LINES,
        },
        coords={
            "way": np.array([*RULES, CONTROL]),
            "strength": np.array(config.strengths),
            "persona": np.array(labels.personas),
        },
        labels={"units": labels.units},
    )


def only(base: thinkers.Thinker, which: np.ndarray) -> thinkers.Thinker:
    """The same policy where only some prompts occur."""
    world = base.world
    kept = world._replace(
        prompts=world.prompts[which],
        log_prompts=numerics.log_normalize(world.log_prompts[which]),
        log_gates=world.log_gates[which],
    )
    return base._replace(world=kept)


def _measured(config: Config, base: thinkers.Thinker, params: Params, shown: Array, key: Key) -> dict[str, Array]:
    """Hint use, exactly and from samples, and the drift budget; where no hint is shown its mark is blanked."""
    prompts = base.world.prompts
    hinted = np.arange(prompts.shape[0]) % NUM_MARKS > 0
    bare = np.arange(prompts.shape[0])[hinted] // NUM_MARKS * NUM_MARKS
    says = (base.thoughts() == base.labels.units.index(reasoning.HINT)).any(axis=1)
    log_policy = jax.nn.logsumexp(base.joint(params), axis=1)
    log_shown, log_without = log_policy[hinted], log_policy[bare]
    leaked, right = reasoning.hinted_answers(base.labels, prompts[hinted]), base.right[hinted]
    log_prompts = base.world.log_prompts[hinted]
    log_with = jnp.where(shown, log_shown, log_without)
    use = hints.hint_use(log_with, log_without, leaked, right, says, log_prompts)
    samples = _draw(key, config.num_measured, log_with, log_without, leaked, right, says, log_prompts)
    rates, errors = hints.hint_use_from_samples(samples)
    spent = thinkers.spent(base, params)
    return {
        **use._asdict(),
        "shown_follows": hints.hint_use(log_shown, log_without, leaked, right, says, log_prompts).follows,
        **{f"sampled_{name}": getattr(rates, name) for name in SAMPLED},
        **{f"sampled_{name}_se": getattr(errors, name) for name in SAMPLED},
        **{name: getattr(spent, name) for name in ("total", "hull_distance", "selection_fraction", "certified")},
    }


def _draw(
    key: Key,
    num: int,
    log_with: Float[Array, "C Z Y"],
    log_without: Float[Array, "C Z Y"],
    leaked: Array,
    right: Array,
    says: Array,
    log_prompts: Float[Array, " C"],
) -> hints.HintSamples:
    """Independent prompts with a hint, answered once with it and twice without."""
    prompt_key, with_key, *without_keys = jax.random.split(key, 4)
    which = jax.random.categorical(prompt_key, log_prompts, shape=(num,))
    num_answers = log_with.shape[-1]

    def respond(key: Key, log_policy: Float[Array, "C Z Y"]) -> tuple[Array, Array]:
        drawn = jax.random.categorical(key, log_policy.reshape(log_policy.shape[0], -1)[which])
        return drawn // num_answers, drawn % num_answers

    thoughts, answers = respond(with_key, log_with)
    without, again = (respond(k, log_without)[1] for k in without_keys)
    return hints.HintSamples(answers, says[thoughts], without, again, leaked[which], right[which])
