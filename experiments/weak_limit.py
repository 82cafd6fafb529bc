"""L1: weak RL selects among personas exactly as much as its direction's R² says, whatever the rule and the scope.

Random worlds, random rewards; the tilt, and one small step of vanilla gradient, natural gradient and Adam on the gates,
the experts or both. Predicted: the part of the rule's own direction that responsibilities explain. Measured: the drift
budget. Seeds draw the rewards.

On 2 cores the preset quick takes half a minute, paper four.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Array, Float, Int

from experiments import harness
from toypersona import chains, numerics, rewards, theory
from toypersona.measures import drift
from toypersona.policies import mixture
from toypersona.policies.policy import all_log_probs
from toypersona.rules import gradient
from toypersona.types import Key
from toypersona.worlds import markov
from toypersona.worlds import world as worlds

NAME = "weak_limit"
KINDS = ("vanilla", "natural", "adam")
RULES = ("tilt", *(f"{kind}/{scope}" for kind in KINDS for scope in mixture.SCOPES))
ADAM_EPSILON = 1e-8

SOLVE = {"damping": 1e-4, "tolerance": 1e-12, "max_iterations": 400}
"""Of the natural gradient. Without damping a step moves words that nobody says so far that no step is small."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(harness.Settings):
    """Settings of the scatter plot."""

    num_worlds: int = 150
    """Random worlds."""
    num_personas: int = 3
    """K."""
    num_words: int = 4
    """V."""
    length: int = 3
    """T, words of a response."""
    num_prompts: int = 3
    """C."""
    concentration: float = 1.0
    """Of the personas' next-word distributions: small is peaked."""
    gate_concentration: float = 5.0
    """Of the gates: small gives each prompt to one persona."""
    drifts: tuple[float, ...] = (0.005, 0.01, 0.02, 0.04)
    """Sizes of the step: sqrt(2 KL(policy‖base)) by the prediction, each twice the one before."""


PRESETS = {"quick": Config(seeds=(0, 1)), "paper": Config(num_worlds=500, num_words=5, seeds=tuple(range(4)))}


def run(config: Config) -> xr.Dataset:
    """Predict and measure every world, reward, rule and scope."""
    harness.check(config)
    harness.check_increasing("drifts", config.drifts, at_least=4)
    if not np.allclose(np.diff(np.log2(config.drifts)), 1.0):
        raise ValueError(f"--drifts has to double at every step, not {config.drifts}.")
    if config.num_worlds < 1:
        raise ValueError(f"--num-worlds has to be 1 or more, not {config.num_worlds}.")
    responses = chains.outcomes(config.num_words, config.length)
    make_world(config, jax.random.key(0))

    def point(key: Key, *, world: Int[Array, ""]) -> dict[str, Array]:
        truth = make_world(config, jax.random.fold_in(jax.random.key(20), world))
        log_personas = worlds.log_personas(truth, config.length)
        log_base = numerics.log_mix(truth.log_gates, log_personas)
        reward = _reward(jax.random.fold_in(key, world), truth, log_personas, log_base)
        predicted, log_policies = _steps(config, truth, reward, log_base)
        measure = lambda log_policy: drift.budget(  # noqa: E731
            log_policy, log_base, log_personas, responses, truth.log_prompts
        )
        spent = jax.lax.map(measure, log_policies.reshape(-1, *log_base.shape))
        kept = {name: getattr(spent, name) for name in ("selection_fraction", "total", "gap", "certified")}
        grid = (len(RULES), len(config.drifts))
        return {"predicted": predicted, **{name: x.reshape(grid) for name, x in kept.items()}}

    dims = {name: ("rule", "drift") for name in ("selection_fraction", "total", "gap", "certified")}
    return harness.sweep(
        NAME,
        config,
        point,
        {"world": np.arange(config.num_worlds)},
        dims={**dims, "predicted": ("rule",)},
        coords={"rule": np.array(RULES), "drift": np.array(config.drifts)},
    )


def make_world(config: Config, key: Key) -> worlds.World:
    """A random world of the given sizes."""
    return markov.markov(
        key,
        num_personas=config.num_personas,
        num_words=config.num_words,
        num_prompts=config.num_prompts,
        concentration=config.concentration,
        gate_concentration=config.gate_concentration,
    )[0]


def _reward(
    key: Key, truth: worlds.World, log_personas: Float[Array, "C K N"], log_base: Float[Array, "C N"]
) -> Float[Array, "C N"]:
    """A reward at a random angle between something that personas are paid for and something else."""
    angle_key, score_key, feature_key = jax.random.split(key, 3)
    scores = jax.random.normal(score_key, (log_personas.shape[1],))
    affine = rewards.persona_affine(truth.log_gates, log_personas, scores)
    theta = jax.random.uniform(angle_key, maxval=jnp.pi / 2)
    feature = jax.random.normal(feature_key, log_base.shape)
    return rewards.at_angle(theta, affine, feature, log_base, log_personas, truth.log_prompts)


def _steps(
    config: Config, truth: worlds.World, reward: Float[Array, "C N"], log_base: Float[Array, "C N"]
) -> tuple[Float[Array, " R"], Float[Array, "R D C N"]]:
    """For every rule the predicted weak limit, and the policies after one step of each size."""
    table = mixture.mixture(
        truth.prompts,
        num_personas=config.num_personas,
        num_units=config.num_words,
        num_words=config.num_words,
        length=config.length,
        gate="table",
    )
    params = {"gate": {"personas": truth.log_gates}, "experts": truth.log_experts}
    rho, log_personas = jnp.exp(truth.log_prompts), worlds.log_personas(truth, config.length)
    sizes = jnp.asarray(config.drifts)

    def knobs(direction: Float[Array, "C N"]) -> Float[Array, " D"]:
        """Learning rates that spend the drifts asked for."""
        centred = direction - numerics.expectation(log_base, direction)[:, None]
        return sizes / jnp.sqrt(rho @ numerics.expectation(log_base, centred**2))

    def in_scope(kind: str, scope: mixture.Scope) -> tuple[Float[Array, ""], Float[Array, "D C N"]]:
        policy = mixture.scoped(table.policy, scope)
        log_probs = lambda p: all_log_probs(policy, p, truth.prompts)  # noqa: E731
        precondition = {
            "vanilla": lambda g: g,
            "natural": first_order.natural(log_probs, params, truth.log_prompts, **SOLVE),
            "adam": lambda g: jax.tree.map(lambda x: x / (jnp.abs(x) + ADAM_EPSILON), g),
        }[kind]
        direction = first_order.first(log_probs, params, truth.log_prompts, reward, precondition=precondition)

        def step(learning_rate: Float[Array, ""]) -> Float[Array, "C N"]:
            given = (policy, truth.prompts, truth.log_prompts, reward)
            if kind == "natural":
                rule = gradient.natural_gradient(*given, learning_rate=learning_rate, **SOLVE)
            else:
                optimizer = optax.sgd if kind == "vanilla" else optax.adam
                rule = gradient.policy_gradient(*given, learning_rate=learning_rate, optimizer=optimizer)
            return log_probs(rule.update(jax.random.key(0), rule.init(params))[0].params)

        limit = theory.weak_limit(log_base, log_personas, direction, truth.log_prompts)
        return limit, jax.lax.map(step, knobs(direction))

    scopes = jax.tree.map(lambda *x: jnp.stack(x), *mixture.SCOPES.values())
    tilted = jax.vmap(lambda s: theory.tilt(log_base, reward, s))(knobs(reward))
    made = [(theory.weak_limit(log_base, log_personas, reward, truth.log_prompts)[None], tilted[None])]
    for kind in KINDS:
        made.append(jax.vmap(lambda scope, kind=kind: in_scope(kind, scope))(scopes))
    limits, policies = zip(*made, strict=True)
    return jnp.concatenate(limits), jnp.concatenate(policies)


def limits(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """S(0+) from the two smallest drifts, and its error: how much larger ones would have it differ, and rounding."""
    fraction = dataset.selection_fraction
    first, second, third = (2 * fraction.isel(drift=i) - fraction.isel(drift=i + 1) for i in range(3))
    rounding = (dataset.gap + 1e-15) / dataset.total
    # Extrapolations err in second order, four times less at half the drift; one difference alone may be 0 by chance.
    return first, np.maximum(abs(second - first), abs(third - second) / 4) + 2 * rounding.isel(drift=0)


def claims(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """Prediction and measurement agree, rule by rule, and what is left over is of first order."""
    measured, error = limits(dataset)
    difference = abs(measured - dataset.predicted)
    made = []
    for rule in RULES:
        one, allowed = difference.sel(rule=rule).values.ravel(), error.sel(rule=rule).values.ravel()
        worst = (one / allowed).argmax()
        what = f"{rule}: |S(0+) - R²| in the case of {one.size} that differs most for its error"
        made.append(harness.at_most(what, allowed[worst], one[worst]))
    residual = abs(dataset.selection_fraction - dataset.predicted)
    moving = residual.where(residual.isel(drift=0) > 1e-4)
    order = np.log2(moving.isel(drift=1) / moving.isel(drift=0)).values
    order = order[np.isfinite(order)]
    spread = 1.96 * order.std() / np.sqrt(order.size)
    made += [
        harness.near(
            "order in s of what is left over, median of those above 1e-4", 1.0, np.median(order), max(spread, 0.02)
        ),
        harness.at_most("gates only: predicted 1 - R²", 1e-9, abs(1 - dataset.predicted.sel(rule=_gates())).max()),
        harness.near("share of points certified", 1.0, dataset.certified.mean(), 0.0),
        harness.at_most("diverged points", 0.0, dataset.diverged.sum()),
    ]
    return made


def _gates() -> list[str]:
    return [rule for rule in RULES if rule.endswith("/gates")]


def findings(config: Config, dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    measured, _ = limits(dataset)
    gap = abs(measured - dataset.predicted).max().item()
    return [
        f"{dataset.predicted.size} cases: predicted and measured S(0+) differ by {gap:.1e} at most.",
        *(
            f"{rule}: S(0+) from {low:.2f} to {high:.2f}, median {middle:.2f}."
            for rule in RULES
            for low, middle, high in [dataset.predicted.sel(rule=rule).quantile([0.05, 0.5, 0.95]).values]
        ),
    ]


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, claims, findings)
