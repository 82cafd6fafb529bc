"""L3: how much RL a short and a long answer stand before they stop sounding like anyone.

Personas are Markov chains and the reward pays for words, so the tilt is exact at any length. Hull distance runs on
s sqrt(T), selection on sT: long answers leave the hull at weaker RL, after a longer stretch in which RL is selection.
Exact curves where personas can be told apart, sampled budgets where they overlap, three worlds that break the law.
Seeds draw what each word pays.

On 2 cores the preset quick takes two minutes, paper forty.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from experiments import base_model, harness, maps
from experiments.tilted_chains import Setting, draw, fraction, listed
from toypersona import numerics, theory, transfer
from toypersona.measures import boundaries, drift
from toypersona.types import Key
from toypersona.worlds import catalogue

NAME = "horizon"
CASES = ("per word", "equal means", "last word", "one persona")
LISTED = 4096
"""Responses that are also listed, to compare samples with."""
LONG = 16.0
"""Lengths at which personas have been told apart: this many times the length where the weak plateau is 1/2."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(base_model.WorldSettings):
    """Settings of the horizons."""

    lengths: tuple[int, ...] = (4, 16, 64, 256, 1024, 4096)
    """T, increasing."""
    scaled: tuple[float, ...] = maps.geometric(0.02, 20.0, 49)
    """s sqrt(T) of the exact curves (s itself where only the last word pays); increasing."""
    sampled: tuple[float, ...] = maps.geometric(0.3, 10.0, 8)
    """s sqrt(T) of the sampled budgets; increasing."""
    selected: tuple[float, ...] = maps.geometric(0.1, 30.0, 13)
    """sT at which selection weights are compared."""
    num_samples: int = 500
    """Responses to each prompt at each sampled strength; even."""


SMALL = catalogue.Options(markov=catalogue.MarkovOptions(num_words=6, num_prompts=2, concentration=1.0))

PRESETS = {
    "quick": Config(world="markov", options=SMALL, num_worlds=2),
    "paper": Config(
        world="markov", options=SMALL, num_worlds=8, sampled=maps.geometric(0.1, 20.0, 16), num_samples=2000
    ),
}

KEPT = ("total", "hull_distance", "selection", "base_distance")
"""Of a sampled budget, with standard errors; the token hull is not sampled."""


def run(config: Config) -> xr.Dataset:
    """Compute all horizons, or continue or load those in ``config.out``."""
    for name in ("lengths", "scaled", "sampled", "selected"):
        harness.check_increasing(name, getattr(config, name))
    if config.num_samples < 4 or config.num_samples % 2:
        raise ValueError(f"--num-samples has to be an even number from 4, not {config.num_samples}.")
    bases = base_model.prepare(config)

    def point(key: Key, *, world: Int[Array, ""]) -> dict[str, Array]:
        score_key, sample_key = jax.random.split(jax.random.fold_in(key, world))
        setting = _setting(bases.of(world), jax.random.normal(score_key, bases.world.log_experts.shape[-1:]))
        tends = theory.long_run(setting.log_gates, setting.log_experts, setting.log_prompts, setting.scores)
        return {
            **_exact(config, setting),
            **_selected(config, setting, tends),
            **_sampled(config, setting, sample_key),
            "plateau": tends.weak_limit(jnp.asarray(config.lengths, float)),
            **{name: getattr(tends, name) for name in ("means", "variances", "between", "within", "half")},
        }

    along = ("length", "sampled")
    per_sample = (*_kept(), "selection_fraction", "selection_fraction_se", "exact_total", "bound")
    return harness.sweep(
        NAME,
        config,
        point,
        {"world": np.arange(config.num_worlds)},
        dims={
            **{f"exact_{name}": ("case", "length", "scaled") for name in ("distortion", "fraction")},
            **{name: ("length", "selected", "persona") for name in ("selected_weights", "selected_law")},
            **{name: along for name in per_sample},
            "listed": ("listed_length", "sampled"),
            "plateau": ("length",),
            "means": ("persona",),
            "variances": ("persona",),
        },
        coords={
            "case": np.array(CASES),
            "length": np.array(config.lengths),
            "listed_length": np.array(_listed_lengths(config, bases.world.log_experts.shape[-1]), int),
            "scaled": np.array(config.scaled),
            "sampled": np.array(config.sampled),
            "selected": np.array(config.selected),
            "persona": np.array(bases.labels.personas),
        },
    )


def _setting(base: base_model.Base, scores: Float[Array, " V"]) -> Setting:
    log_gates = jax.vmap(base.mixture.log_gate, (None, 0))(base.params, base.world.prompts)
    log_experts = jax.nn.log_softmax(base.params["experts"])
    return Setting(log_gates, log_experts, base.world.prompts, base.world.log_prompts, scores)


def _exact(config: Config, setting: Setting) -> dict[str, Array]:
    """Distortion and selection fraction by transfer matrices, in every case at every length."""
    scaled = jnp.asarray(config.scaled)
    units = jnp.eye(setting.scores.shape[0])
    stationary = jax.vmap(lambda table: jax.vmap(lambda unit: transfer.asymptotics(table, unit)[0])(units))(
        setting.log_experts
    )
    apart = stationary[1:] - stationary[0]
    equal = setting.scores - jnp.linalg.pinv(apart) @ (apart @ setting.scores)
    alone = jnp.where(jnp.arange(setting.log_gates.shape[1])[None] == 0, 0.0, -jnp.inf)
    cases = {
        "per word": (setting, {}),
        "equal means": (setting._replace(scores=equal), {}),
        "last word": (setting, {"last_only": True}),
        "one persona": (setting._replace(log_gates=jnp.broadcast_to(alone, setting.log_gates.shape)), {}),
    }
    made = []
    for name in CASES:
        case, how = cases[name]
        for length in config.lengths:
            strengths = scaled if how else scaled / jnp.sqrt(length)
            made.append(jax.vmap(lambda s, n=length, case=case, how=how: case.horizon(s, n, **how))(strengths))
    grid = (len(CASES), len(config.lengths), len(config.scaled))
    stacked = jax.tree.map(lambda *x: jnp.stack(x).reshape(*grid, *x[0].shape[1:]), *made)
    return {"exact_distortion": stacked.distortion, "exact_fraction": stacked.selection_fraction}


def _selected(config: Config, setting: Setting, tends: theory.LongRun) -> dict[str, Array]:
    """Selection weights at s = selected / T, and their law g_k exp(sT mu_k) / Z, averaged over prompts."""
    selected, rho = jnp.asarray(config.selected), jnp.exp(setting.log_prompts)
    measured = [
        jax.vmap(lambda s, n=length: rho @ setting.horizon(s, n).weights)(selected / length)
        for length in config.lengths
    ]
    law = jnp.exp(numerics.log_normalize(setting.log_gates[None] + selected[:, None, None] * tends.means))
    law = jnp.einsum("c,yck->yk", rho, law)
    return {
        "selected_weights": jnp.stack(measured),
        "selected_law": jnp.broadcast_to(law, (len(measured), *law.shape)),
    }


def _listed_lengths(config: Config, num_words: int) -> tuple[int, ...]:
    return tuple(length for length in config.lengths if num_words**length <= LISTED)


def _sampled(config: Config, setting: Setting, key: Key) -> dict[str, Array]:
    """Budgets from samples of the tilt, and the exact ones where all responses can be listed."""
    scaled, num_words = jnp.asarray(config.sampled), setting.scores.shape[0]
    drawn, exact = [], []
    for i, length in enumerate(config.lengths):
        keys = jax.random.split(jax.random.fold_in(key, i), len(config.sampled))
        strengths = scaled / jnp.sqrt(length)

        def at(inputs: tuple[Array, Array], length: int = length) -> tuple[drift.Samples, drift.Samples]:
            strength, sample_key = inputs
            return tuple(
                draw(setting, s, length, config.num_samples, k)
                for s, k in zip((strength, 0.0), jax.random.split(sample_key), strict=True)
            )

        drawn.append(jax.lax.map(at, (strengths, keys)))
        exact.append(jax.vmap(lambda s, n=length: setting.horizon(s, n))(strengths))
    stacked = jax.tree.map(lambda *x: jnp.concatenate(x), *drawn)
    spent = jax.lax.map(lambda pair: drift.budget_from_samples(*pair, setting.log_prompts, tolerance=1e-9), stacked)
    exhaustive = [
        jax.lax.map(lambda s, n=length: listed(setting, s, n), scaled / jnp.sqrt(length))
        for length in _listed_lengths(config, num_words)
    ]
    grid = (len(config.lengths), len(config.sampled))
    return {
        **{name: getattr(spent, name).reshape(grid) for name in _kept()},
        **{name: x.reshape(grid) for name, x in fraction(spent).items()},
        "exact_total": jnp.stack([one.total for one in exact]),
        "bound": jnp.stack([one.distortion for one in exact]),
        **({"listed": jnp.stack(exhaustive)} if exhaustive else {}),
    }


def _kept() -> tuple[str, ...]:
    return (*KEPT, *(f"{name}_se" for name in KEPT), "fit_excess", "base_inside", "certified")


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, lambda c, d: [], lambda c, d: [])
