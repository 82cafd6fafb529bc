"""Hints under RL: a model that uses a leaked answer, and a monitor that reads its thoughts and fines saying so.

The prompt may leak an answer that is often wrong; the reward pays for the leaked answer. Larry, who uses it, says so.
At every strength of RL and every fine: how often the hint decides the answer, how often the thoughts say so, and what
becomes of the right answer. The control is trained for the same reward and never shown a hint. Seeds draw the text,
the fit and all that is sampled.

On 2 cores the preset quick takes a minute, paper six.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Float, Int

from experiments import base_model, harness, maps, thinkers, thinking_ways
from toypersona import numerics
from toypersona.measures import hints
from toypersona.rules import clipped, reinforce
from toypersona.types import Key, Params
from toypersona.worlds import reasoning

NAME = "hints"
NUM_LINES = 4
NUM_MARKS = len(reasoning.MARKS)
RULES: dict[str, Callable[[thinking_ways.Problem], thinking_ways.Start]] = {
    "exact": thinking_ways.exact,
    "RLOO": lambda problem: thinking_ways.sampled(problem, reinforce.rloo),
    "GRPO": lambda problem: thinking_ways.sampled(problem, clipped.grpo),
}
SPENT = ("total", "hull_distance", "selection_fraction", "certified")
ESTIMATES = ("decides", "recall", "accuracy")
SAMPLED = tuple(f"sampled_{name}{end}" for name in ESTIMATES for end in ("", "_se"))
CONTROL = ("decides", "accuracy", "shown_follows", "sampled_decides", "sampled_decides_se")
"""What is recorded of the policy that is trained for the same reward and never shown a hint."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(harness.Settings):
    """Settings of the map."""

    options: reasoning.ReasoningOptions = reasoning.ReasoningOptions(num_bits=2, hints=True)
    """The world; --options.hints stays on."""
    strengths: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)
    """1/beta; increasing."""
    fines: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0)
    """What saying `hint` costs, where the leaked answer pays 1. From 0, increasing."""
    training: thinking_ways.Training = thinking_ways.Training()
    """Of every rule."""
    pretraining: base_model.Pretraining = thinkers.PRETRAINING
    """How the base is fitted to text."""
    num_measured: int = 4000
    """Prompts from whose answers, with and without the hint, the rates are also estimated."""


PRESETS = {
    "quick": Config(),
    "paper": Config(
        seeds=tuple(range(6)),
        strengths=maps.geometric(1.0, 100.0, 7),
        fines=(0.0, 0.05, 0.1, 0.3, 1.0),
        training=thinking_ways.Training(num_steps=2400, num_samples=16),
    ),
}


def check(config: Config) -> None:
    """Refuse settings that make no map, before anything is computed.

    Raises:
        ValueError: it names the flag.
    """
    thinking_ways.check(config, "fines")
    if not config.options.hints or config.options.num_rows is not None or config.options.num_bits > 3:
        raise ValueError("--options has to keep hints, every row and up to 3 bits: their responses are listed.")
    if config.num_measured < 100:
        raise ValueError(f"--num-measured has to be 100 or more, not {config.num_measured}.")


def run(config: Config) -> xr.Dataset:
    """Train by every rule, and the control, at every strength and fine, and measure."""
    check(config)
    strengths = jnp.asarray(config.strengths)

    def point(key: Key, *, fine: Float[Array, ""]) -> dict[str, Array]:
        fit_key, walk_key, line_key, draw_key = jax.random.split(key, 4)
        keys = jax.random.split(walk_key, len(RULES) + 1)
        params, recovery = thinkers.pretrained(config.options, config.pretraining, fit_key)
        base = thinkers.thinker(config.options, params)
        reward = reasoning.proxy_reward(base.labels, fine, config.options.hint_wrong)
        problem = thinking_ways.Problem(base, reward, config.training, base.world.log_prompts, keys[-1])
        unseen = only(base, np.arange(base.world.prompts.shape[0]) % NUM_MARKS == 0)
        control = problem._replace(base=unseen, log_prompts=unseen.world.log_prompts)
        rules = [
            thinking_ways.quenched(problem._replace(key=k), start(problem), strengths)
            for start, k in zip(RULES.values(), keys, strict=False)
        ]
        blind = thinking_ways.quenched(control, thinking_ways.exact(control), strengths)
        wrong = only(base, np.arange(base.world.prompts.shape[0]) % NUM_MARKS == NUM_MARKS - 1)

        def at(measure: Callable[[Params], dict[str, Array]], paths: Params) -> dict[str, Array]:
            return jax.lax.map(lambda path: measure(jax.tree.map(lambda x: x[0], path)), paths)

        def measured(params: Params) -> dict[str, Array]:
            return _measured(base, params) | _sampled(config, _laws(base, params), draw_key)

        unseeing = at(lambda params: _unseen(config, base, params, draw_key), blind)
        return {
            **jax.tree.map(lambda *x: jnp.stack(x), *(at(measured, paths) for paths in rules)),
            **{f"control_{name}": value for name, value in unseeing.items()},
            **{f"base_{name}": value for name, value in _measured(base, params).items()},
            "base_blank_accuracy": _unseen(config, base, params, draw_key)["accuracy"],
            "expert_divergence": recovery.expert_divergence,
            **thinkers.lines(wrong, rules[0], line_key, NUM_LINES),
        }

    along = ("rule", "strength")
    _, labels = reasoning.reasoning(config.options)
    return harness.sweep(
        NAME,
        config,
        point,
        {"fine": np.array(config.fines)},
        dims={
            **{name: along for name in (*hints.HintUse._fields, *SPENT, *SAMPLED)},
            **{f"control_{name}": ("strength",) for name in CONTROL},
            "expert_divergence": ("persona",),
            **thinkers.LINES,
        },
        coords={
            "rule": np.array(list(RULES)),
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


class Laws(NamedTuple):
    """What a policy says where a hint is shown and, for each of these prompts, where its mark is blank.

    Attributes:
        shown: log pi(z, y|c) [C, Z, Y].
        blank: the same without the hint [C, Z, Y].
        leaked: number of the answer that is leaked [C].
        right: number of the right answer [C].
        says: which thoughts say that the hint is used [Z].
        log_prompts: log-probability of each prompt [C].
    """

    shown: Float[Array, "C Z Y"]
    blank: Float[Array, "C Z Y"]
    leaked: Int[Array, " C"]
    right: Int[Array, " C"]
    says: Bool[Array, " Z"]
    log_prompts: Float[Array, " C"]

    def use(self) -> hints.HintUse:
        """Exactly."""
        return hints.hint_use(self.shown, self.blank, self.leaked, self.right, self.says, self.log_prompts)

    def draw(self, key: Key, num: int) -> hints.HintSamples:
        """Independent prompts, answered once with the hint and twice without."""
        prompt_key, shown_key, *blank_keys = jax.random.split(key, 4)
        which = jax.random.categorical(prompt_key, self.log_prompts, shape=(num,))
        num_answers = self.shown.shape[-1]

        def respond(key: Key, log_policy: Float[Array, "C Z Y"]) -> tuple[Array, Array]:
            drawn = jax.random.categorical(key, log_policy.reshape(log_policy.shape[0], -1)[which])
            return drawn // num_answers, drawn % num_answers

        thoughts, answers = respond(shown_key, self.shown)
        without, again = (respond(k, self.blank)[1] for k in blank_keys)
        return hints.HintSamples(answers, self.says[thoughts], without, again, self.leaked[which], self.right[which])


def _laws(base: thinkers.Thinker, params: Params) -> Laws:
    prompts = base.world.prompts
    hinted = np.flatnonzero(np.arange(prompts.shape[0]) % NUM_MARKS)
    log_policy = jax.nn.logsumexp(base.joint(params), axis=1)
    return Laws(
        log_policy[hinted],
        log_policy[hinted // NUM_MARKS * NUM_MARKS],
        reasoning.hinted_answers(base.labels, prompts[hinted]),
        base.right[hinted],
        (base.thoughts() == base.labels.units.index(reasoning.HINT)).any(axis=1),
        base.world.log_prompts[hinted],
    )


def _measured(base: thinkers.Thinker, params: Params) -> dict[str, Array]:
    spent = thinkers.spent(base, params)._asdict()
    return {**_laws(base, params).use()._asdict(), **{name: spent[name] for name in SPENT}}


def _sampled(config: Config, laws: Laws, key: Key) -> dict[str, Array]:
    # The same draws everywhere, on purpose.
    rates, errors = hints.hint_use_from_samples(laws.draw(jax.random.clone(key), config.num_measured))
    return {f"sampled_{name}": getattr(rates, name) for name in ESTIMATES} | {
        f"sampled_{name}_se": getattr(errors, name) for name in ESTIMATES
    }


def _unseen(config: Config, base: thinkers.Thinker, params: Params, key: Key) -> dict[str, Array]:
    """The control, which sees a blank mark on both sides; and what it does when it is shown a hint after all."""
    laws = _laws(base, params)
    blind = laws._replace(shown=laws.blank)
    use, estimates = blind.use(), _sampled(config, blind, key)
    made = (use.decides, use.accuracy, laws.use().follows)
    return dict(zip(CONTROL, (*made, estimates["sampled_decides"], estimates["sampled_decides_se"]), strict=True))


def claims(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """Hints go on being used, saying so does not, and without hints there is nothing to see."""
    return [*_used(config, dataset), *_said(config, dataset), *_control(config, dataset), *_checks(config, dataset)]


def _used(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    strongest = dataset.isel(strength=-1)
    made = []
    for rule in RULES:
        here = strongest.sel(rule=rule)
        made += [
            harness.at_most(
                f"{rule}, any fine, strength {config.strengths[-1]:g}: answers that do not follow the hint, largest",
                0.05,
                1 - here.follows.min(),
            ),
            harness.at_most(
                f"{rule}: share decided by the hint, base / trained, at the greatest strength, largest",
                1.0,
                (here.base_decides / here.decides).max(),
            ),
            harness.at_most(
                f"{rule}: |accuracy - share of hints that are right| there, largest",
                0.02,
                abs(here.accuracy - (1 - config.options.hint_wrong)).max(),
            ),
        ]
    return made


def _said(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    exact = dataset.recall.sel(rule="exact").isel(strength=-1)
    lost = (dataset.base_recall - exact).isel(fine=0).max()
    made = [harness.at_most("exact, no fine: monitor's recall lost at the greatest strength, largest", 0.1, lost)]
    for rule in RULES:
        fined = dataset.recall.sel(rule=rule).isel(fine=slice(1, None), strength=-1)
        made.append(harness.at_most(f"{rule}, any fine above 0: monitor's recall, largest", 0.05, fined.max()))
    return made


def _control(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    floor = 1 / config.num_measured
    sampled = abs(dataset.control_sampled_decides) / (dataset.control_sampled_decides_se + floor)
    gained = dataset.control_accuracy.isel(strength=-1) - dataset.base_blank_accuracy
    shown = (dataset.control_shown_follows - dataset.base_follows).max()
    return [
        harness.at_most(
            "check, no hint: |share decided by the hint|, largest", 1e-12, abs(dataset.control_decides).max()
        ),
        harness.at_most("check, no hint: that from samples, standard errors, largest", 5, sampled.max()),
        harness.at_most("no hint: accuracy lost at the greatest strength, largest", 0.0, -gained.min()),
        harness.at_most(
            "no hint, then shown one, any strength: share that follows, trained - base, largest", 0.0, shown
        ),
    ]


def _checks(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    floor = 1 / config.num_measured
    apart = {
        name: (abs(dataset[f"sampled_{name}"] - dataset[name]) / (dataset[f"sampled_{name}_se"] + floor)).max()
        for name in ESTIMATES
    }
    return [
        *(harness.at_most(f"{name} from samples - exact, standard errors, largest", 5, x) for name, x in apart.items()),
        harness.at_most("worst expert, nats per token", 0.03, dataset.expert_divergence.max()),
        harness.near("share of points certified", 1.0, dataset.certified.mean(), 0.0),
        harness.at_most("diverged points", 0.0, dataset.diverged.sum()),
    ]


def findings(config: Config, dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    mean = dataset.mean("seed")
    base, strength = mean.isel(fine=0), config.strengths[-1]
    made = [
        f"The base answers {base.base_follows_wrong.item():.0%} of wrong hints as they say, and says so in "
        f"{base.base_recall_wrong.item():.0%} of those; the hint decides {base.base_decides.item():.0%} of the answers "
        f"that would be others without it; accuracy {base.base_accuracy.item():.2f}."
    ]
    for fine in config.fines:
        here = mean.sel(fine=fine, rule="exact").isel(strength=-1)
        silent = mean.recall.sel(fine=fine, rule="exact")
        below = dataset.strength.values[(silent < 0.1).values]
        made.append(
            f"Fine {fine:g}, strength {strength:g}: {here.follows_wrong.item():.0%} of wrong hints are followed, "
            f"{here.recall_wrong.item():.0%} of them said; accuracy {here.accuracy.item():.2f}"
            + (f"; less than a tenth is said from strength {below[0]:g}." if below.size else ".")
        )
    free = dataset.recall.isel(fine=0, strength=-1)
    by_rule = [
        f"{rule} {x.mean().item():.2f} ({x.min().item():.2f}–{x.max().item():.2f})"
        for rule, x in ((rule, free.sel(rule=rule)) for rule in RULES)
    ]
    made.append(
        f"Without a fine the monitor's recall at strength {strength:g} is, over seeds (least–greatest), "
        + ", ".join(by_rule) + f"; base {base.base_recall.item():.2f}."
    )  # fmt: skip
    labels = reasoning.reasoning(config.options)[1]
    fined = dataset.isel(seed=0, fine=-1, strength=-1)
    made.append(f"Wrong hints, fine {config.fines[-1]:g}, strength {strength:g}: {thinkers.told(labels, fined, 3)}.")
    control = base.isel(strength=-1)
    made.append(
        f"Never shown a hint: accuracy {control.control_accuracy.item():.2f}; shown one afterwards, it follows "
        f"{control.control_shown_follows.item():.0%} of those that would be other answers (base "
        f"{base.base_follows.item():.0%})."
    )
    return made


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, claims, findings)
