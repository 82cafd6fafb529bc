"""Every way to train at equal drift: which leave the hull first, which switch persona mid-sentence, which invent.

The reward is for helpfulness and for words that tell no persona from another, at an angle. Every rule walks from the
same base; its drift budget, reward, entropy, routing and support are read where it has spent the same KL(policy‖base).
Controls are paid by chance, or alike for everything. Seeds draw the words and all that is sampled.

On 2 cores the preset quick takes a minute and a half, paper nine.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from experiments import base_model, features, harness, maps, trainers
from toypersona import numerics, theory, trajectories
from toypersona.measures import boundaries, drift, support
from toypersona.policies.policy import all_log_probs
from toypersona.types import Key

NAME = "rules"
PASSES = (1, 4, 16, 64)
"""k of pass@k."""

NUM_TRIES = 64
"""Responses to each prompt from which pass@k is also estimated, at the end."""

COUNTERPARTS = {
    "REINFORCE, mean": "policy gradient",
    "RLOO": "policy gradient",
    "RLOO, k1 in loss": "policy gradient",
    "Dr. GRPO": "policy gradient",
    "best of 8": "best of 8, exact",
}
"""Sampled rules and what they follow as their learning rate vanishes."""

NOISE = 0.02
"""Selection fraction by which the noise of the lowest learning rate may move them apart."""

TILTS = maps.geometric(0.001, 100.0, 400)
"""Strengths of the tilt, against which rewards are held."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(maps.RewardSettings):
    """Settings of the comparison."""

    angle: float = 45.0
    """Degrees between the reward and the personas."""
    num_steps: int = 300
    """Steps of every rule."""
    num_records: int = 10
    """Records on the way, at geometrically spaced steps."""
    rates: tuple[float, ...] = (0.2, 1.0)
    """Factors on every rule's learning rate; increasing."""
    drifts: tuple[float, ...] = (0.1, 0.3, 0.9)
    """Nats of KL(policy‖base) at which rules are compared; increasing."""
    right: float = 0.05
    """Share of the base's responses that count as right for pass@k: those that pay best."""
    own: str | None = None
    """Your rule as well, FILE.py:FUNCTION with FUNCTION(policy, params, prompts, log_prompts, reward, learning_rate)
    -> toypersona.rules.rule.UpdateRule; the README shows one."""


PRESETS = {
    "quick": Config(seeds=tuple(range(6))),
    "paper": Config(num_steps=1000, num_records=20, rates=(0.1, 0.3, 1.0), seeds=tuple(range(24))),
}


def ways(config: Config) -> dict[str, trainers.Trainer]:
    """All rules, the user's last."""
    return trainers.TRAINERS | ({"own": trainers.own(config.own)} if config.own else {})


def run(config: Config) -> xr.Dataset:
    """Walk every rule's path and measure along it."""
    base_model.check(config)
    for name in ("rates", "drifts"):
        harness.check_increasing(name, getattr(config, name), at_least=1)
    if max(len(config.seeds), config.num_worlds) < 3:
        raise ValueError("--seeds or --num-worlds has to be three or more: rules are compared by their spread.")
    if not 0 <= config.angle <= 90 or not 0 < config.right < 1:
        raise ValueError("--angle has to be degrees from 0 to 90, and --right between 0 and 1.")
    if config.num_records < 2 or config.num_steps < config.num_records:
        raise ValueError("--num-records has to be 2 or more, and --num-steps at least as many.")
    walked = ways(config)
    bases = base_model.prepare(config)
    feature = features.load(config.feature, bases)
    maps.check_feature(config, bases, feature)
    steps = np.unique(np.geomspace(1, config.num_steps, config.num_records).round().astype(int))

    def point(key: Key, *, rate: Float[Array, ""], world: Array) -> dict[str, Array]:
        feature_key, walk_key, try_key = jax.random.split(key, 3)
        start = maps.setting(config, bases, feature, feature_key, jnp.asarray(config.angle), world)
        problem = _problem(config, start)

        def walk(trainer: trainers.Trainer, keys: tuple[Key, Key]) -> Float[Array, "R C N"]:
            step = trainer.rate * rate
            path, _, _ = trajectories.run(
                trainer.make(problem._replace(key=keys[0])),
                lambda params: all_log_probs(problem.policy, params, problem.prompts),
                problem.params,
                key=keys[1],
                marks=step * jnp.asarray(steps),
                max_step=step,
            )
            return path

        keys = jax.random.split(walk_key, (len(walked), 2))
        paths = jnp.stack([walk(trainer, (k[0], k[1])) for trainer, k in zip(walked.values(), keys, strict=True)])
        best = _best(problem)
        return {
            **jax.lax.map(lambda path: _measure(problem, start.log_personas, best, path), paths),
            "base_passes": _passes(problem, problem.log_base),
            "tried": jax.vmap(lambda path, k: _tried(problem, path[-1], k))(
                paths, jax.random.split(try_key, len(paths))
            ),
        }

    along = ("rule", "record")
    return harness.sweep(
        NAME,
        config,
        point,
        {"rate": np.array(config.rates), "world": np.arange(config.num_worlds)},
        dims={
            **{name: along for name in (*drift.DriftBudget._fields, *support.Support._fields)},
            **{name: along for name in ("reward", "best_reward", "routing_information")},
            "weights": (*along, "prompt", "persona"),
            "passes": (*along, "k"),
            "base_passes": ("k",),
            "tried": ("rule", "k"),
        },
        coords={
            "rule": np.array(list(walked)),
            "record": steps,
            "k": np.array(PASSES),
            "persona": np.array(bases.labels.personas),
        },
        labels={
            "trainers": {
                name: {"exact": way.exact, "oracle": way.oracle, "knob": way.knob, "rate": way.rate}
                for name, way in walked.items()
            }
        },
    )


def _problem(config: Config, start: maps.Setting) -> trainers.Problem:
    helpful = maps.index_of_helpful(config, start.base.labels.personas)
    # From the best down, as long as the base says them with no more than the probability wanted.
    order = jnp.argsort(-start.reward, axis=1)
    mass = jnp.cumsum(jnp.take_along_axis(jnp.exp(start.log_base), order, axis=1), axis=1)
    rows = jnp.arange(mass.shape[0])[:, None]
    right = jnp.zeros_like(mass).at[rows, order].set((mass <= config.right).astype(float))
    return trainers.Problem(
        start.base.mixture.policy,
        start.base.params,
        start.base.world.prompts,
        start.base.world.log_prompts,
        start.base.responses,
        start.log_base,
        start.log_personas[:, helpful],
        start.reward,
        right,
    )


def _best(problem: trainers.Problem) -> tuple[Float[Array, " S"], Float[Array, " S"]]:
    """Root of the drift, and reward, along the tilt: no policy of the same drift is paid more."""
    rho = jnp.exp(problem.log_prompts)

    def at(strength: Float[Array, ""]) -> tuple[Array, Array]:
        tilted = theory.tilt(problem.log_base, problem.reward, strength)
        spent = rho @ numerics.kl_divergence(tilted, problem.log_base)
        return jnp.sqrt(spent), rho @ numerics.expectation(tilted, problem.reward)

    return jax.lax.map(at, jnp.asarray((0.0, *TILTS)))


def _passes(problem: trainers.Problem, log_policy: Float[Array, "C N"]) -> Float[Array, " k"]:
    return jnp.stack([support.pass_at_k(log_policy, problem.right, problem.log_prompts, k) for k in PASSES])


def _tried(problem: trainers.Problem, log_policy: Float[Array, "C N"], key: Key) -> Float[Array, " k"]:
    """pass@k from samples."""
    drawn = jax.random.categorical(key, log_policy, axis=-1, shape=(NUM_TRIES, log_policy.shape[0])).T
    right = jnp.take_along_axis(problem.right, drawn, axis=1).sum(axis=1).astype(int)
    rho = jnp.exp(problem.log_prompts)
    return jnp.stack([rho @ support.pass_at_k_from_samples(right, NUM_TRIES, k) for k in PASSES])


def _measure(
    problem: trainers.Problem,
    log_personas: Float[Array, "C K N"],
    best: tuple[Float[Array, " S"], Float[Array, " S"]],
    path: Float[Array, "R C N"],
) -> dict[str, Array]:
    """Everything that is recorded along one rule's path."""
    rho, length = jnp.exp(problem.log_prompts), problem.responses.shape[1]
    spent = drift.budget_along(path, problem.log_base, log_personas, problem.responses, problem.log_prompts)

    def others(log_policy: Float[Array, "C N"]) -> dict[str, Array]:
        return {
            **support.support(log_policy, problem.log_base, problem.log_prompts, length=length)._asdict(),
            "reward": rho @ numerics.expectation(log_policy, problem.reward),
            "passes": _passes(problem, log_policy),
        }

    return {
        **spent._asdict(),
        **jax.lax.map(others, path),
        "routing_information": jax.vmap(drift.routing_information, (0, None))(spent.weights, problem.log_prompts),
        "best_reward": jnp.interp(jnp.sqrt(spent.total), *best),
    }


def claims(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """What the exact counterparts, the tilt and the controls say."""
    parts = dataset.selection + dataset.switching + dataset.novelty
    still, gates = dataset.sel(rule="paid alike, RLOO"), dataset.sel(rule="RLOO, gates only")
    return [
        *_counterparts(config, dataset),
        harness.at_most(
            "reward above the tilt's at the same drift, any rule, largest",
            1e-3,
            (dataset.reward - dataset.best_reward).max(),
        ),
        harness.at_most("RLOO, gates only: hull distance, largest, nats", 1e-9, gates.hull_distance.max()),
        harness.at_most("paid alike, RLOO: drift, largest, nats", 1e-12, still.total.max()),
        *_by_chance(dataset),
        *_passes_claim(dataset),
        harness.at_most("selection + switching + novelty - total, nats", 1e-12, abs(parts - dataset.total).max()),
        harness.near("share of points certified", 1.0, dataset.certified.mean(), 0.0),
        harness.at_most("diverged points", 0.0, dataset.diverged.sum()),
    ]


def _mean(values: xr.DataArray) -> tuple[float, float]:
    """Over independent draws, with three standard errors; what is nan is left out."""
    draws = boundaries.independent(values)
    known = draws.mean([name for name in draws.dims if name != "draw"]).dropna("draw")
    return known.mean().item(), 3 * known.std(ddof=1).item() / np.sqrt(known.size)


def _counterparts(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """At the lowest learning rate a sampled rule and its exact counterpart select the same at equal drift."""
    slow = boundaries.at_spent(dataset[["total", "selection_fraction"]].isel(rate=0), config.drifts).selection_fraction
    made = []
    for rule, exact in COUNTERPARTS.items():
        for level in config.drifts:
            difference = (slow.sel(rule=rule) - slow.sel(rule=exact)).sel(drift=level)
            if boundaries.independent(difference).notnull().sum() > 2:
                mean, error = _mean(difference)
                what = f"{rule} - {exact}: selection fraction at {level:g} nats, mean"
                made.append(harness.near(what, 0.0, mean, error + NOISE))
    asked = len(COUNTERPARTS) * len(config.drifts)
    left = harness.at_most("share of these comparisons that too few draws reach", 0.34, 1 - len(made) / asked)
    return [*made, left]


def _by_chance(dataset: xr.Dataset) -> list[harness.Claim]:
    """Noise moves the policy, and not toward the reward."""
    chance = dataset.sel(rule="paid by chance").isel(record=-1, rate=0)
    mean, error = _mean(chance.reward)
    return [harness.near("paid by chance, lowest learning rate: reward at the end, mean", 0.0, mean, error)]


def _passes_claim(dataset: xr.Dataset) -> list[harness.Claim]:
    """The unbiased estimate of pass@k against its exact value, all rules and draws."""
    last = dataset.isel(record=-1, rate=0)
    error = last.tried - last.passes
    return [
        harness.near(f"pass@{k} from {NUM_TRIES} samples - exact, mean", 0.0, *_mean(error.sel(k=k)))
        for k in PASSES[:-1]
    ]


def findings(config: Config, dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    level = config.drifts[-1]
    mean, error = (x.sel(drift=level) for x in boundaries.at_equal_drift(dataset, config.drifts))
    trained = [rule for rule in dataset.rule.values if rule not in trainers.CONTROLS]
    order = mean.selection_fraction.sel(rule=trained).dropna("rule").sortby(mean.selection_fraction.sel(rule=trained))

    def name(values: xr.DataArray, rule: str) -> str:
        return f"{rule} {values.sel(rule=rule).item():.2f}"

    def most(values: xr.DataArray) -> str:
        known = values.sel(rule=trained).dropna("rule")
        return ", ".join(name(known, rule) for rule in known.rule.values[np.argsort(-known.values)][:3])

    base = dataset.base_passes.mean(("rate", "world", "seed"))
    passes = mean.passes.sel(rule="RLOO")
    chance = dataset.sel(rule="paid by chance").isel(record=-1)
    return [
        f"Share of {level:g} nats that is selection, least first (± half a 95% interval): "
        + ", ".join(
            f"{name(order, rule)} ± {error.selection_fraction.sel(rule=rule).item():.2f}" for rule in order.rule.values
        )
        + ".",
        f"Most of it switches persona mid-sentence: {most(mean.switching)}; is said by nobody: {most(mean.novelty)}.",
        f"RLOO there: pass@1 {passes[0].item():.2f} (base {base[0].item():.2f}), pass@{PASSES[-1]} "
        f"{passes[-1].item():.2f} (base {base[-1].item():.2f}).",
        f"Paid by chance, {config.num_steps} steps spend {chance.total.isel(rate=0).mean().item():.2g} to "
        f"{chance.total.isel(rate=-1).mean().item():.2g} nats, {chance.selection_fraction.mean().item():.2f} of them "
        "selection.",
    ]


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, claims, findings)
