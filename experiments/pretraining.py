"""Pretraining: how well personas and gates are recovered from text alone, as the text grows.

Nobody tells the mixture who wrote a line. Its experts are matched to the true personas over all permutations, its gate
is compared with the Bayes posterior over who writes such prompts. Seeds draw the text and the random starts.

On 2 cores the preset quick takes half a minute, paper three minutes.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from experiments import base_model, harness
from toypersona.policies import mixture
from toypersona.types import Key, Params
from toypersona.worlds import catalogue
from toypersona.worlds import world as worlds

NAME = "pretraining"
FRESH_LINES = 20_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(base_model.WorldSettings):
    """Settings of the growth curves."""

    amounts: tuple[int, ...] = (125, 250, 500, 1000, 2000, 4000, 8000, 16000)
    """Lines of text read; increasing. They replace --pretraining.num-lines."""


CAREFUL = base_model.Pretraining(num_steps=1500, batch_size=512, learning_rate=0.03, num_restarts=2)

PRESETS = {
    "quick": Config(pretraining=CAREFUL),
    "paper": Config(
        pretraining=dataclasses.replace(CAREFUL, num_steps=4000),
        amounts=tuple(125 * 2**i for i in range(11)),
        seeds=tuple(range(8)),
    ),
}


def run(config: Config) -> xr.Dataset:
    """Fit every amount of text, or continue or load what is in ``config.out``."""
    if not config.amounts or config.amounts[0] < 1 or (np.diff(config.amounts) <= 0).any():
        raise ValueError(f"--amounts has to be increasing whole numbers from 1, not {config.amounts}.")
    base_model.check(config)
    world, labels = catalogue.load(config.world, config.options, key=jax.random.key(20))
    policy = base_model.build(world, labels, config.length, config.pretraining.gate)
    how = dataclasses.replace(config.pretraining, num_lines=config.amounts[-1])

    def fit(key: Key, *, num_lines: Int[Array, ""]) -> dict[str, Array]:
        text_key, fit_key, fresh_key = jax.random.split(key, 3)
        text = worlds.sample(text_key, world, how.line_length, how.num_lines)
        fitted = base_model.fit(fit_key, world, text, policy, how, num_lines)
        _, recovery = base_model.align(world, policy, fitted.params, config.length)
        fresh = worlds.sample(fresh_key, world, how.line_length, FRESH_LINES)
        return {
            **recovery._asdict(),
            "excess_read": _excess(world, policy, fitted.params, text, num_lines),
            "excess_fresh": _excess(world, policy, fitted.params, fresh, jnp.asarray(FRESH_LINES)),
        }

    return harness.sweep(
        NAME,
        config,
        fit,
        {"num_lines": np.array(config.amounts)},
        dims={"expert_divergence": ("persona",)},
        coords={"persona": np.array(labels.personas)},
        labels={"personas": labels.personas},
    )


def _excess(
    world: worlds.World, policy: mixture.Mixture, params: Params, text: worlds.Sample, num_lines: Int[Array, ""]
) -> Float[Array, ""]:
    """Nats per line by which the fit's loss on the first lines of a text exceeds that of the world itself."""

    def one(c: Int[Array, ""], tokens: Int[Array, " L"]) -> Float[Array, ""]:
        truth = jax.nn.logsumexp(world.log_gates[c] + worlds.log_prob_personas(world, c, tokens))
        return truth - policy.policy.log_prob(params, world.prompts[c], tokens)

    read = jnp.arange(text.tokens.shape[0]) < num_lines
    return jnp.where(read, jax.vmap(one)(text.prompt_index, text.tokens), 0.0).sum() / num_lines


def claims(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """More text is better, and enough of it recovers personas and gates."""
    most = dataset.isel(num_lines=-1)
    per_amount = dataset.policy_divergence.mean("seed").values
    return [
        harness.at_most(
            "worst ratio of KL(world‖policy) from one amount of text to the next",
            1.0,
            (per_amount[1:] / per_amount[:-1]).max(),
        ),
        harness.at_most("worst expert at most text, nats per token", 0.03, most.expert_divergence.max()),
        harness.at_most("gate error at most text, nats", 0.03, most.gate_divergence.max()),
        harness.at_most("worst fit against the truth on the lines read, nats per line", 0.0, most.excess_read.max()),
        harness.at_most("diverged fits", 0.0, dataset.diverged.sum()),
    ]


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
