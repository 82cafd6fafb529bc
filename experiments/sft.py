"""Fine-tuning on one persona's lines: does it select, when does it leave the hull, and is Larry still there?

Supervised fine-tuning (SFT) on few to many demonstrations, by the helpful persona and by a stranger who talks like
nobody. Then, at equal drift, what SFT and RL for helpfulness leave of the persona ``--called``: at prompts like his,
after a few of his words, and how much fine-tuning on his lines brings him back. Seeds draw lines and the stranger.

On 2 cores the preset quick takes half a minute, paper three and a half.
"""

import dataclasses
import operator

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from experiments import base_model, calling, harness, trainers
from toypersona import datasets, numerics, trajectories
from toypersona.measures import drift
from toypersona.policies.policy import all_log_probs
from toypersona.rules import gradient, imitation
from toypersona.types import Key, Params

NAME = "sft"
DEMONSTRATORS = ("persona", "stranger")
TUNED = ("SFT", "RL")
PARTS = ("total", "hull_distance", "token_hull_distance", "selection_fraction", "certified")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(base_model.WorldSettings):
    """Settings of fine-tuning."""

    helpful: str | None = None
    """Who demonstrates and is paid for; the last persona unless named."""
    called: str | None = None
    """Who is asked for afterwards; the first persona unless named."""
    lines: tuple[int, ...] = (2, 8, 32, 128, 512, 2048)
    """Numbers of demonstrations; increasing."""
    num_steps: int = 1500
    """Steps of SFT, so that the fewest lines are read many times; also of what follows."""
    learning_rate: float = 0.5
    """Of SFT."""
    rl_rate: float = 1.0
    """Of policy gradient, exact."""
    num_records: int = 40
    """Records on the way of what follows, geometrically spaced; SFT on each number of lines has a quarter."""
    drifts: tuple[float, ...] = (0.1, 0.3, 0.9, 2.0)
    """Nats of KL(policy‖base) at which SFT and RL are compared; increasing."""


PRESETS = {"quick": Config(seeds=tuple(range(4))), "paper": Config(seeds=tuple(range(16)), num_steps=5000)}


def run(config: Config) -> xr.Dataset:
    """Demonstrate, train, call."""
    base_model.check(config)
    harness.check_increasing("lines", config.lines)
    harness.check_increasing("drifts", config.drifts)
    if min(config.learning_rate, config.rl_rate) <= 0:
        raise ValueError("--learning-rate and --rl-rate have to be above 0.")
    if not 8 <= config.num_records <= config.num_steps:
        raise ValueError("--num-records has to be 8 or more, and --num-steps at least as many.")
    bases = base_model.prepare(config)
    who = people(config, bases.labels.personas)
    few, many = (marks(config.num_steps, num) for num in (config.num_records // 4, config.num_records))

    def point(key: Key, *, world: Int[Array, ""]) -> dict[str, Array]:
        stranger_key, line_key, tune_key = jax.random.split(key, 3)
        scene = calling.scene(bases.of(world), *who, stranger_key)
        return {**_learn(config, scene, few, line_key), **_call(config, scene, many, tune_key)}

    learnt = ("demonstrator", "lines", "step")
    left = ("tuned", "drift")
    return harness.sweep(
        NAME,
        config,
        point,
        {"world": np.arange(config.num_worlds)},
        dims={
            **{name: learnt for name in (*PARTS, "missed")},
            "demonstrator_fraction": ("demonstrator",),
            "demonstrator_total": ("demonstrator",),
            **{name: left for name in ("spent", "tuned_fraction", "absence")},
            "presence": (*left, "words"),
            "base_presence": ("words",),
            **{name: (*left, "back") for name in ("back_absence", "back_nats")},
            "new_absence": ("back",),
            "new_nats": ("back",),
        },
        coords={
            "demonstrator": np.array(DEMONSTRATORS),
            "lines": np.array(config.lines),
            "step": few,
            "tuned": np.array(TUNED),
            "drift": np.array(config.drifts),
            "words": np.arange(config.length),
            "back": many,
        },
        labels={"helpful": bases.labels.personas[who[0]], "called": bases.labels.personas[who[1]]},
    )


def people(config: Config, personas: tuple[str, ...]) -> tuple[int, int]:
    """Who helps and who is called.

    Raises:
        ValueError: nobody has that name, or both are the same.
    """
    found = []
    for flag, name, otherwise in (("helpful", config.helpful, -1), ("called", config.called, 0)):
        if name is not None and name not in personas:
            raise ValueError(f"--{flag} names a persona of the world, {', '.join(personas)}, not {name!r}.")
        found.append(personas.index(name or personas[otherwise]))
    if found[0] == found[1]:
        raise ValueError("--helpful and --called have to be two different personas.")
    return found[0], found[1]


def marks(num_steps: int, num_records: int) -> np.ndarray:
    """Steps to record, geometrically spaced."""
    return np.unique(np.geomspace(1, num_steps, num_records).round().astype(int))


def _learn(config: Config, scene: calling.Scene, steps: np.ndarray, key: Key) -> dict[str, Array]:
    """SFT on few to many lines by the helpful persona and by a stranger."""
    base, log_prompts = scene.base, scene.base.world.log_prompts
    policy, prompts = base.mixture.policy, base.world.prompts
    spend = lambda path: drift.budget_along(  # noqa: E731
        path, scene.log_base, scene.log_personas, base.responses, log_prompts
    )

    def on(given: tuple[Float[Array, "C N"], Int[Array, ""]]) -> tuple[Array, Array]:
        demonstrator, number = given
        line_key, walk_key = jax.random.split(jax.random.fold_in(key, number))
        which, tokens = trainers.demonstrations(line_key, demonstrator, log_prompts, base.responses, max(config.lines))

        def walk(num_lines: Int[Array, ""]) -> Float[Array, "R C N"]:
            path, _, _ = trajectories.run(
                lambda size: imitation.sft(policy, prompts[which], tokens, learning_rate=size, num_lines=num_lines),
                lambda params: all_log_probs(policy, params, prompts),
                base.params,
                key=walk_key,
                marks=config.learning_rate * jnp.asarray(steps),
                max_step=config.learning_rate,
            )
            return path

        paths = jax.lax.map(walk, jnp.asarray(config.lines))
        missed = jax.vmap(jax.vmap(lambda x: jnp.exp(log_prompts) @ numerics.kl_divergence(demonstrator, x)))(paths)
        return paths, missed

    wanted = jnp.stack([scene.log_helpful, scene.log_stranger])
    paths, missed = jax.lax.map(on, (wanted, jnp.arange(2)))
    spent = jax.lax.map(spend, paths.reshape(-1, *paths.shape[2:]))
    kept = {name: getattr(spent, name).reshape(missed.shape) for name in PARTS}
    ends = jax.vmap(spend)(wanted[:, None])
    return {
        **kept,
        "missed": missed,
        "demonstrator_total": ends.total[:, 0],
        "demonstrator_fraction": ends.selection_fraction[:, 0],
    }


def _call(config: Config, scene: calling.Scene, steps: np.ndarray, key: Key) -> dict[str, Array]:
    """What SFT and RL to the same drift leave of the persona called, and what brings him back."""
    base, log_prompts = scene.base, scene.base.world.log_prompts
    policy, prompts = base.mixture.policy, base.world.prompts
    line_key, walk_key, back_key, new_key = jax.random.split(key, 4)
    num_lines = max(config.lines)
    which, tokens = trainers.demonstrations(line_key, scene.log_helpful, log_prompts, base.responses, num_lines)
    ways = (
        (lambda size: imitation.sft(policy, prompts[which], tokens, learning_rate=size), config.learning_rate),
        (
            lambda size: gradient.policy_gradient(policy, prompts, log_prompts, scene.reward, learning_rate=size),
            config.rl_rate,
        ),
    )
    called = scene.log_personas[:, scene.called]

    def moved(log_policy: Float[Array, "C N"]) -> Float[Array, ""]:
        return jnp.exp(log_prompts) @ numerics.kl_divergence(log_policy, scene.log_base)

    def after(tuned: tuple[Params, Int[Array, ""]]) -> dict[str, Array]:
        params, number = tuned
        own_key = jax.random.fold_in(back_key, number)
        log_policy = all_log_probs(policy, params, prompts)
        spent = drift.budget(log_policy, scene.log_base, scene.log_personas, base.responses, log_prompts)
        away, nats = calling.bring_back(own_key, scene, params, called, jnp.asarray(steps), config.learning_rate)
        return {
            "spent": spent.total,
            "tuned_fraction": spent.selection_fraction,
            "presence": calling.presence(scene, log_policy),
            "absence": calling.absence(scene, log_policy, called),
            "back_absence": away,
            "back_nats": nats,
        }

    tuned = []
    for (make, rate), own_key in zip(ways, jax.random.split(walk_key), strict=True):
        path, _, _ = trajectories.run(
            make,
            lambda params: params,
            base.params,
            key=own_key,
            marks=rate * jnp.asarray(steps),
            max_step=rate,
        )
        spent = jax.lax.map(lambda params: moved(all_log_probs(policy, params, prompts)), path)
        nearest = jnp.argmin(abs(jnp.log(spent[None] / jnp.asarray(config.drifts)[:, None])), axis=1)
        tuned.append(jax.tree.map(operator.itemgetter(nearest), path))
    flat = jax.tree.map(lambda *x: jnp.concatenate(x), *tuned)
    made = jax.lax.map(after, (flat, jnp.arange(len(ways) * len(config.drifts))))
    made = jax.tree.map(lambda x: x.reshape(len(ways), len(config.drifts), *x.shape[1:]), made)
    new_away, new_nats = calling.bring_back(
        new_key, scene, base.params, scene.log_stranger, jnp.asarray(steps), config.learning_rate
    )
    return {
        **made,
        "base_presence": calling.presence(scene, scene.log_base),
        "base_gate": jnp.exp(scene.log_called) @ jnp.exp(scene.log_gates[:, scene.called]),
        "base_absence": calling.absence(scene, scene.log_base, called),
        "new_absence": new_away,
        "new_nats": new_nats,
    }


def claims(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """What demonstrations lead to, and who is still there."""
    return [
        *_learnt(config, dataset),
        *_there(dataset),
        harness.near("share of points certified", 1.0, dataset.certified.mean(), 0.0),
        harness.at_most("diverged points", 0.0, dataset.diverged.sum()),
    ]


def _learnt(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    end = dataset.isel(step=-1).mean(("world", "seed"))
    persona, (few, many) = end.sel(demonstrator="persona"), (config.lines[0], config.lines[-1])
    made = [
        harness.near(
            f"SFT on {many} lines by a stranger: selection fraction at the end, his own",
            end.demonstrator_fraction.sel(demonstrator="stranger"),
            end.selection_fraction.sel(demonstrator="stranger", lines=many),
            0.03,
        ),
        harness.at_most(
            f"SFT on {few} lines by a persona: selection fraction at the end",
            0.5,
            persona.selection_fraction.sel(lines=few),
        ),
        harness.at_most(
            f"SFT on {many} / on {few} lines by a persona: hull distance at the end",
            0.1,
            persona.hull_distance.sel(lines=many) / persona.hull_distance.sel(lines=few),
        ),
    ]
    return made


def _there(dataset: xr.Dataset) -> list[harness.Claim]:
    draws = ("world", "seed")
    tuned, words = calling.at_drift(dataset), dataset.words.values[-1]
    back, new = calling.steps_back(dataset)
    base = dataset.base_presence.mean(draws)
    # Whoever has not come by the last record takes longer than that; the persona called has to have come.
    ratio = back / xr.ufuncs.minimum(new, dataset.back[-1])
    made = [
        harness.at_most(
            "base: |weight by his prompts - gate|, largest",
            1e-4,
            abs(dataset.base_presence.sel(words=0) - dataset.base_gate).max(),
        ),
    ]
    for way in TUNED:
        near = tuned.spent.sel(tuned=way).notnull().all(draws)
        reached = dataset.drift.values[near]
        made.append(harness.at_most(f"{way}: drifts that not all draws reach", near.size - 1, (~near).sum()))
        for level in reached:
            presence = tuned.presence.sel(tuned=way, drift=level).mean(draws)
            made += [
                harness.at_most(
                    f"{way}, {level:g} nats: share of his weight left, by his prompts / after {words} of his words",
                    1.0,
                    (presence / base).sel(words=0) / (presence / base).sel(words=words),
                ),
                harness.at_most(
                    f"{way}, {level:g} nats: steps that bring him back / that bring a stranger",
                    0.5,
                    ratio.sel(tuned=way, drift=level).max(),
                ),
            ]
    return made


def findings(config: Config, dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    draws = ("world", "seed")
    names = datasets.config_of(dataset)
    helpful, called = (names[who].capitalize() for who in ("helpful", "called"))
    ends = dataset.selection_fraction.isel(step=-1).mean(draws)
    by_lines = ", ".join(f"{n}: {ends.sel(demonstrator='persona', lines=n).item():.2f}" for n in config.lines)
    strange = ends.sel(demonstrator="stranger")
    said = [
        f"SFT for {config.num_steps} steps: share of the drift that selects, by the number of {helpful}'s lines: "
        f"{by_lines}; on lines of a stranger {strange.min().item():.2f} to {strange.max().item():.2f}.",
    ]
    tuned, (back, new) = calling.at_drift(dataset).mean(draws), calling.steps_back(dataset)
    nats = calling.nats_back(dataset).mean(draws)
    base, words = dataset.base_presence.mean(draws), "a word" if config.length == 2 else f"{config.length - 1} words"
    for level in config.drifts:
        for way in TUNED:
            here = tuned.sel(tuned=way, drift=level)
            if np.isfinite(here.spent):
                steps = back.sel(tuned=way, drift=level).mean().item()
                said.append(
                    f"{way} to {here.spent.item():.2g} nats (S {here.tuned_fraction.item():.2f}): {called} has weight "
                    f"{here.presence[0].item():.3f} at his prompts (base {base[0].item():.2f}), "
                    f"{here.presence[-1].item():.2f} after {words} of his (base {base[-1].item():.2f}); "
                    f"{steps:.0f} steps and {nats.sel(tuned=way, drift=level).item():.2f} nats of SFT bring him back, "
                    f"a stranger comes in {new.mean().item():.0f} steps."
                )
    return said


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, claims, findings)
