"""Entropy under RL, and one pretraining mode amplified until it is the only one.

How fast entropy changes under every exact rule against its covariance formula, for rewards under which it falls and
under which it rises (what is rare pays more). Then all personas but one are right and paid alike: which of them is left
when gates are trained, by exact and sampled rules? Seeds draw rewards and runs.

On 2 cores the preset quick takes a minute and a half, paper seven.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from experiments import base_model, features, harness, maps, rivals
from toypersona import numerics, rewards, theory
from toypersona.policies import mixture
from toypersona.policies.policy import all_log_probs
from toypersona.rules import gradient
from toypersona.types import Key, Scalar

NAME = "amplification"
PAID = ("helpfulness", "words", "what is likely", "what is rare")
SOLVE = {"damping": 1e-4, "tolerance": 1e-12, "max_iterations": 200}
"""Of natural gradient, in the formula and in the rule."""

ANGLE = 45.0
"""Degrees between the personas and the reward for words."""

NOISE = 0.05
"""Share by which the noise of sampling may move a rule from its exact counterpart."""

STEP = 1e-4
"""Drift, in root nats, of the steps that entropy is measured by."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(maps.RewardSettings):
    """Settings of both parts."""

    wrong: str | None = None
    """Who is not paid among several right ones; the first persona unless named."""
    num_steps: int = 1000
    """Steps of every rule on the gates."""
    num_records: int = 16
    """Records on the way, geometrically spaced."""
    num_runs: int = 16
    """Independent runs of every sampled rule, in every seed."""
    natural_rate: float = 0.05
    """Learning rate of natural gradient."""


PRESETS = {
    "quick": Config(seeds=tuple(range(4))),
    "paper": Config(seeds=tuple(range(8)), num_runs=32, num_steps=2000),
}


def run(config: Config) -> xr.Dataset:
    """Measure entropy's first change, and let the right personas compete."""
    base_model.check(config)
    if not 2 <= config.num_records <= config.num_steps:
        raise ValueError("--num-records has to be 2 or more, and --num-steps at least as many.")
    if min(config.num_runs, config.natural_rate) <= 0:
        raise ValueError("--num-runs and --natural-rate have to be above 0.")
    if len(config.seeds) < 2:
        raise ValueError("--seeds has to be two or more: what is sampled is compared by its spread.")
    bases = base_model.prepare(config)
    names = bases.labels.personas
    if len(names) < 3:
        raise ValueError("Several right personas and a wrong one make three: give a world of three or more.")
    if config.wrong is not None and config.wrong not in names:
        raise ValueError(f"--wrong names a persona of the world, {', '.join(names)}, not {config.wrong!r}.")
    wrong = names.index(config.wrong or names[0])
    feature = features.load(config.feature, bases)
    steps = np.unique(np.geomspace(1, config.num_steps, config.num_records).round().astype(int))

    def point(key: Key, *, world: Int[Array, ""]) -> dict[str, Array]:
        feature_key, compete_key = jax.random.split(key)
        start = maps.setting(config, bases, feature, feature_key, jnp.asarray(ANGLE), world)
        table = base_model.with_gate_table(start.base, start.log_gates, config)
        how = {"natural_rate": config.natural_rate, "num_runs": config.num_runs}
        return {**_entropy(config, start), **rivals.compete(compete_key, table, wrong, steps, **how)}

    along = ("rule", "record")
    return harness.sweep(
        NAME,
        config,
        point,
        {"world": np.arange(config.num_worlds)},
        dims={
            "change": ("paid", "way"),
            "formula": ("paid", "way"),
            "share": (*along, "prompt"),
            "largest": along,
            "right": along,
            "won": ("rule", "prompt"),
            "law": ("record", "prompt"),
            "natural_law": ("record", "prompt"),
            "base_share": ("prompt",),
        },
        coords={
            "paid": np.array(PAID),
            "way": np.array(maps.RULES),
            "rule": np.array(rivals.RULES),
            "record": steps,
        },
        labels={"personas": names, "wrong": names[wrong]},
    )


def _entropy(config: Config, start: maps.Setting) -> dict[str, Array]:
    """Entropy's change for a unit of root drift, by small steps there and back and by the formula."""
    base, log_base = start.base, start.log_base
    log_prompts, prompts = base.world.log_prompts, base.world.prompts
    helpful = jax.nn.one_hot(maps.index_of_helpful(config, base.labels.personas), start.log_gates.shape[1])
    paid = jnp.stack(
        [
            rewards.persona_affine(start.log_gates, start.log_personas, helpful),
            start.reward,
            log_base,
            -log_base,
        ]
    )

    def unit(direction: Float[Array, "C N"]) -> Float[Array, ""]:
        centred = direction - numerics.expectation(log_base, direction)[:, None]
        return 1 / jnp.sqrt(jnp.exp(log_prompts) @ numerics.expectation(log_base, centred**2))

    def entropy(log_policy: Float[Array, "C N"]) -> Float[Array, ""]:
        return jnp.exp(log_prompts) @ numerics.entropy(log_policy)

    def by_tilt(reward: Float[Array, "C N"]) -> tuple[Array, Array]:
        size = unit(reward)
        ahead, behind = (entropy(theory.tilt(log_base, reward, sign * STEP * size)) for sign in (1, -1))
        return (ahead - behind) / (2 * STEP), size * first_order.entropy_change(log_base, reward, log_prompts)

    def by_gradient(reward: Float[Array, "C N"], scope: mixture.Scope, kind: str) -> tuple[Array, Array]:
        policy = mixture.scoped(base.mixture.policy, scope)
        log_probs = lambda p: all_log_probs(policy, p, prompts)  # noqa: E731
        precondition = first_order.natural(log_probs, base.params, log_prompts, **SOLVE)
        how = {"precondition": precondition} if kind == "natural" else {}
        direction = first_order.first(log_probs, base.params, log_prompts, reward, **how)
        size = unit(direction)

        def step(rate: Scalar) -> Float[Array, ""]:
            given = (policy, prompts, log_prompts, reward)
            if kind == "natural":
                rule = gradient.natural_gradient(*given, learning_rate=rate, **SOLVE)
            else:
                rule = gradient.policy_gradient(*given, learning_rate=rate)
            return entropy(log_probs(rule.update(jax.random.key(0), rule.init(base.params))[0].params))

        change = (step(STEP * size) - step(-STEP * size)) / (2 * STEP)
        return change, size * first_order.entropy_change(log_base, direction, log_prompts)

    scopes = jax.tree.map(lambda *x: jnp.stack(x), *mixture.SCOPES.values())

    def by_all(reward: Float[Array, "C N"]) -> tuple[Array, Array]:
        made = [jax.tree.map(lambda x: x[None], by_tilt(reward))]
        for kind in ("natural", "vanilla"):
            made.append(jax.vmap(lambda scope, kind=kind: by_gradient(reward, scope, kind))(scopes))
        return jax.tree.map(lambda *x: jnp.concatenate(x), *made)

    change, formula = jax.lax.map(by_all, paid)
    return {"change": change, "formula": formula}


def claims(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """Entropy by its formula, and who is kept or amplified by law."""
    error = abs(dataset.change - dataset.formula)
    end = dataset.isel(record=-1)
    laws = {"policy gradient": dataset.law, "natural gradient": dataset.natural_law}
    sampled = {"RLOO": "policy gradient", "RLOO, KL in reward": "policy gradient, KL"}
    made = [
        harness.at_most(
            f"{way}: |entropy's change - formula|, nats for a root nat, largest", 1e-6, error.sel(way=way).max()
        )
        for way in maps.RULES
    ]
    made.append(
        harness.at_most(
            "what is rare pays: entropy rises by any rule; the least, minus",
            0.0,
            -dataset.change.sel(paid="what is rare").min(),
        )
    )
    for rule, law in laws.items():
        made.append(
            harness.at_most(f"{rule}: |share - its law|, largest", 0.01, abs(dataset.share.sel(rule=rule) - law).max())
        )
    for rule, exact in sampled.items():
        apart = (end.share.sel(rule=rule) - end.share.sel(rule=exact)).mean(("prompt", "world")).values
        error = 3 * apart.std(ddof=1) / np.sqrt(apart.size)
        made.append(
            harness.near(
                f"{rule} - {exact}: share of the likeliest right persona at the end, mean",
                0.0,
                apart.mean(),
                error + NOISE,
            )
        )
    return [
        *made,
        harness.at_most(
            "expert iteration: share of all right personas but one at the end, mean",
            0.05,
            1 - end.largest.sel(rule="expert iteration").mean(),
        ),
        harness.at_most("diverged points", 0.0, dataset.diverged.sum()),
    ]


def findings(config: Config, dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    draws = ("world", "seed")
    change = dataset.change.mean(draws)
    end = dataset.isel(record=-1).mean(draws)
    base = dataset.base_share.mean(draws)
    rises = [
        f"{paid} {change.sel(paid=paid, way='tilt').item():+.2f} (tilt), "
        f"{change.sel(paid=paid, way='vanilla/both').item():+.2f} (vanilla)"
        for paid in PAID
    ]
    order = end.largest.sortby(end.largest)
    kept = [f"{rule} {order.sel(rule=rule).item():.2f}" for rule in order.rule.values]
    won = [f"{rule} {end.won.sel(rule=rule).mean().item():.2f}" for rule in rivals.SAMPLED]
    return [
        "Entropy's first change, nats for a root nat of drift, when paid for: " + "; ".join(rises) + ".",
        f"Share of the largest of the right personas after {config.num_steps} steps (likeliest in the base "
        f"{base.mean().item():.2f}): " + ", ".join(kept) + ".",
        "How often that is the one that was likeliest: " + ", ".join(won) + ".",
    ]


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, claims, findings)
