"""Pretraining: how well personas and gates are recovered from text alone, as the text grows.

Nobody tells the mixture who wrote a line. Its experts are matched to the true personas over all permutations, its gate
is compared with the Bayes posterior over who writes such prompts. Seeds draw the text and the random starts.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from experiments import base_model, harness
from toypersona import sweeps
from toypersona.types import Key
from toypersona.worlds import base as worlds
from toypersona.worlds import catalogue

NAME = "pretraining"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(base_model.WorldSettings):
    """Settings of the growth curves."""

    amounts: tuple[int, ...] = (125, 250, 500, 1000, 2000, 4000, 8000, 16000)
    """Lines of text read; increasing. They replace --pretraining.num-lines."""
    chunk: int = 1
    """Fits computed together and then kept."""
    progress: bool = True
    """Show a progress bar."""


PRESETS = {
    "quick": Config(),
    "paper": Config(amounts=tuple(125 * 2**i for i in range(11)), seeds=tuple(range(8))),
}


def run(config: Config) -> xr.Dataset:
    """Fit every amount of text, or continue or load what is in ``config.out``."""
    if not config.amounts or config.amounts[0] < 1 or (np.diff(config.amounts) <= 0).any():
        raise ValueError(f"--amounts has to be increasing whole numbers from 1, not {config.amounts}.")
    world, labels = catalogue.load(config.world, config.options, key=jax.random.key(20))
    policy = base_model.build(world.prompts, world.log_experts.shape, labels, config, config.pretraining.gate)
    how = dataclasses.replace(config.pretraining, num_lines=config.amounts[-1])

    def fit(key: Key, *, num_lines: Int[Array, ""]) -> dict[str, Array]:
        text_key, fit_key = jax.random.split(key)
        text = worlds.sample(text_key, world, how.line_length, how.num_lines)
        fitted = base_model.fit(fit_key, world, text, policy, how, num_lines)
        _, recovery = base_model.align(world, policy, fitted.params, config.length)
        return {**recovery._asdict(), "excess_loss": fitted.loss - _true_loss(world, text, num_lines)}

    return sweeps.run(
        fit,
        {"num_lines": np.array(config.amounts)},
        seeds=config.seeds,
        chunk=config.chunk,
        out=config.out / f"{NAME}.zarr",
        dims={"expert_divergence": ("persona",)},
        coords={"persona": np.array(labels.personas)},
        config=harness.provenance(config) | {"personas": labels.personas},
        progress=config.progress,
    )


def _true_loss(world: worlds.World, text: worlds.Sample, num_lines: Int[Array, ""]) -> Float[Array, ""]:
    """Nats per line of the lines read, under the world itself: a fit that does worse is stuck in a local optimum."""
    by_persona = jax.vmap(lambda c, x: worlds.log_prob_personas(world, c, x))(text.prompt_index, text.tokens)
    log_probs = jax.nn.logsumexp(world.log_gates[text.prompt_index] + by_persona, axis=-1)
    return -jnp.where(jnp.arange(log_probs.shape[0]) < num_lines, log_probs, 0.0).sum() / num_lines


def claims(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """Recovery from the whole text, and the rate at which text buys it."""
    most = dataset.isel(num_lines=-1)
    slope, error = _rate(dataset.policy_divergence)
    return [
        harness.near("exponent of KL(world‖policy) against lines of text: 1/n", -1.0, slope, 3 * error),
        harness.at_most("worst expert at most text, nats per token", 0.03, most.expert_divergence.max()),
        harness.at_most("gate error at most text, nats", 0.03, most.gate_divergence.max()),
        harness.at_most("worst fit against the truth on the lines read, nats per line", 0.0, most.excess_loss.max()),
        harness.at_most("diverged fits", 0.0, dataset.diverged.sum()),
    ]


def _rate(divergence: xr.DataArray) -> tuple[float, float]:
    """Slope of log divergence on log amount over the upper half of the amounts, and its standard error over seeds."""
    upper = divergence.isel(num_lines=slice(len(divergence.num_lines) // 2, None))
    x = np.log(upper.num_lines.values)
    slopes = np.array([np.polyfit(x, np.log(upper.sel(seed=seed).values), 1)[0] for seed in upper.seed.values])
    spread = slopes.std(ddof=1) / math.sqrt(len(slopes)) if len(slopes) > 1 else math.inf
    return slopes.mean(), spread


def findings(config: Config, dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    first, last = dataset.isel(num_lines=0), dataset.isel(num_lines=-1)
    return [
        f"From {int(last.num_lines)} unlabelled lines of {config.world} the experts come within "
        f"{last.expert_divergence.mean().item():.2g} nats per token of the personas (from {int(first.num_lines)}: "
        f"{first.expert_divergence.mean().item():.2g}), the gate within {last.gate_divergence.mean().item():.2g} nats "
        "of the Bayes posterior."
    ]


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, claims, findings)
