"""Is weak RL persona selection? One number of the rule's kernel says: the persona gain kappa.

The law: where a rule starts, ``S(0+) = 1/(1 + kappa² tan² theta)`` at every angle theta of the reward. The tilt has
kappa = 1. Plain policy gradient has a kappa that depends on how the gate is parametrised and on how fast it learns,
although all these policies are the same at the start. Predicted before any step; measured by small steps and the drift
budget. Seeds draw the world, if it is random, the
text, the fit and the rewards.

On 2 cores the preset quick takes a minute.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from experiments.shared import both_gates, command, settings
from toypersona.limits import Angles, Grid, increasing
from toypersona.outputs import named

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    from toypersona.bases import Base
    from toypersona.types import Array, Key

NAME = "persona_gain"
MEASURED = ("selection_fraction", "total", "gap", "certified")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.RewardSettings):
    """Settings of the persona gain."""

    angles: Angles = (30.0, 45.0, 60.0, 75.0)
    """Degrees between the reward and the personas."""
    rates: Grid = (0.03, 0.1, 0.3, 1.0, 3.0)
    """Learning rates of the gate, in units of the experts' one."""
    drifts: Annotated[tuple[float, ...], increasing(4)] = (0.005, 0.01, 0.02, 0.04)
    """Sizes of the step: sqrt(2 KL(policy‖base)) by the prediction, each twice the one before."""

    def check(self) -> None:
        """Refuse angles where every kappa gives the same S, and sizes of the step that do not double."""
        super().check()
        both_gates.check(self)
        if 1.0 not in self.rates:
            raise ValueError(
                "--rates has to name 1, the rate of plain policy gradient, with which others are compared."
            )
        if not all(0 < angle < 90 for angle in self.angles):
            raise ValueError("--angles has to lie between 0 and 90 degrees: there S is 1 or 0 whatever kappa is.")
        if not np.allclose(np.diff(np.log2(self.drifts)), 1.0):
            raise ValueError("--drifts has to double at every step.")


PRESETS = {
    "quick": Config(seeds=tuple(range(8))),
    "paper": Config(seeds=tuple(range(24)), angles=(15.0, 30.0, 45.0, 60.0, 75.0)),
}


def run(config: Config) -> xr.Dataset:
    """Predict and measure kappa for both gates, every rule and every rate of the gate."""
    import jax
    import jax.numpy as jnp

    from toypersona import first_order, theory
    from toypersona.policies import mixture
    from toypersona.policies.policy import all_log_probs, with_frozen

    bases = both_gates.pretrained(config)
    rewards = [settings.Reward(config, pretrained) for pretrained in bases]
    angles, drifts = jnp.asarray(config.angles), jnp.asarray(config.drifts)
    scopes = {
        "experts alone": mixture.gate_rate(0.0),
        **{f"gate × {rate:g}": mixture.gate_rate(rate) for rate in config.rates},
        "gate alone": mixture.SCOPES["gates"],
    }
    names = ("tilt", "natural gradient", "Adam", *scopes)

    def gain(base: Base, paid: Callable, step: Callable) -> dict[str, Array]:
        """Kappa of a rule and the policies after its steps; ``step(reward) -> direction, (rate -> log pi)``."""
        hull = base.log_base, base.log_personas
        ends = jax.vmap(paid)(jnp.array([0.0, 90.0]))
        kernel = theory.persona_gain(*hull, ends, jax.vmap(lambda r: step(r)[0])(ends), base.log_prompts)

        def along(angle: Array) -> tuple[Array, Array]:
            direction, after = step(paid(angle))
            rates = first_order.rates(base.log_base, direction, base.log_prompts, drifts)
            return theory.weak_limit(*hull, direction, base.log_prompts), jax.lax.map(after, rates)

        limit, policies = jax.lax.map(along, angles)
        return {
            "kappa": kernel.kappa,
            "rayleigh": kernel.rayleigh,
            "affine_leak": kernel.unexplained[0, 0] / (kernel.explained + kernel.unexplained)[0, 0],
            "gain_law": kernel.curve(jnp.deg2rad(angles)),
            "first_order": limit,
            "policies": policies,
        }

    def rules(base: Base, paid: Callable) -> dict[str, Array]:
        law = functools.partial(all_log_probs, base.policy, prompts=base.prompts)

        def vanilla(scope: Any, reward: Array) -> tuple[Array, Callable]:
            """The gradient of some parameters scaled, so that they learn faster or slower."""
            scaled = lambda g: jax.tree.map(lambda m, part: jax.tree.map(lambda x: m * x, part), scope, g)  # noqa: E731
            direction = first_order.first(law, base.params, base.log_prompts, reward, precondition=scaled)
            task = base.task(reward)._replace(policy=with_frozen(base.policy, scope))
            return direction, first_order.step("vanilla", base, task)[1]

        others = lambda kind: lambda reward: first_order.step(kind, base, base.task(reward))  # noqa: E731
        tilt = lambda reward: (reward, functools.partial(theory.tilt, base.log_base, reward))  # noqa: E731
        by_kind = [tilt, others("natural"), others("adam")]
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *scopes.values())
        by_rate = jax.vmap(lambda scope: gain(base, paid, functools.partial(vanilla, scope)))(stacked)
        alone = [jax.tree.map(lambda x: x[None], gain(base, paid, step)) for step in by_kind]
        values = jax.tree.map(lambda *x: jnp.concatenate(x), *alone, by_rate)
        # One budget for all rules, or it would be compiled for each.
        policies = values.pop("policies")
        spent = jax.lax.map(base.budget, policies.reshape(-1, *policies.shape[-2:]))
        return values | {name: getattr(spent, name).reshape(policies.shape[:-2]) for name in MEASURED}

    def point(key: Key) -> dict[str, Any]:
        by_gate, draw = [], bases[0].place(key)
        for pretrained, reward in zip(bases, rewards, strict=True):
            base = pretrained.base(draw)
            # Cloned, so that every angle and both gates are paid for the same feature.
            paid = lambda angle, b=base, r=reward: r.at_angle(angle, b, jax.random.clone(key), draw)  # noqa: E731
            by_gate.append(rules(base, paid))
        values = jax.tree.map(lambda *x: jnp.stack(x), *by_gate)
        kernels = {"gate": both_gates.GATES, "rule": names}
        return {
            **named({name: values[name] for name in ("kappa", "rayleigh", "affine_leak")}, **kernels),
            **named({name: values[name] for name in ("gain_law", "first_order")}, **kernels, angle=config.angles),
            **named({name: values[name] for name in MEASURED}, **kernels, angle=config.angles, drift=config.drifts),
        }

    rates = np.array([np.nan, np.nan, np.nan, 0.0, *config.rates, np.inf])
    return command.sweep(NAME, config, point, {}, constants={"gate_rate": named(rates, rule=names)})


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
