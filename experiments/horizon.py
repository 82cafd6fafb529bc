"""L3: how much RL a short and a long answer stand before they stop sounding like anyone.

Personas are Markov chains and the reward pays for words, so the tilt is exact at any length. Hull distance runs on
s sqrt(T), selection on sT: long answers leave the hull at weaker RL, after a longer stretch in which RL is selection.
Exact curves where personas can be told apart, sampled budgets where they overlap, three worlds that break the law.
Seeds draw world, text and fit, and what each word pays.

On 2 cores the preset quick takes a minute.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from experiments.shared import both_gates, command, settings
from experiments.shared.settings import geometric
from toypersona import limits
from toypersona.limits import Counts, Even, Grid
from toypersona.options import MarkovOptions, WorldOptions, check_text
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.tilted import PaidMixture
    from toypersona.types import Key
    from toypersona.worlds.world import Labels

NAME = "horizon"
LISTED = 4096
"""Responses that are also listed, to compare samples with."""

ESTIMATES = ("total", "hull_distance", "selection", "base_distance", "selection_fraction")
SAMPLED = (*ESTIMATES, *(f"{name}_se" for name in ESTIMATES), "fit_excess", "base_inside", "certified")
"""What is kept of a sampled budget; the token hull is not sampled."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.WorldSettings):
    """Settings of the horizons."""

    lengths: Counts = tuple(4**i for i in range(1, 10))
    """T of the exact curves; increasing."""
    sampled_lengths: Counts = tuple(4**i for i in range(1, 7))
    """T of the sampled budgets; increasing, and among --lengths."""
    scaled: Grid = geometric(0.02, 20.0, 49)
    """s sqrt(T) of the exact curves (s itself where only the last word pays); increasing."""
    sampled: Grid = geometric(0.3, 10.0, 8)
    """s sqrt(T) of the sampled budgets; increasing."""
    selected: Grid = geometric(0.1, 30.0, 13)
    """sT at which selection weights are compared."""
    num_samples: Even = 500
    """Responses to each prompt at each sampled strength; even."""

    def check(self) -> None:
        """Refuse responses that end, sampled lengths without an exact curve, and more samples than fit into memory."""
        super().check()
        both_gates.check_mixture(self, "At any length only the chains of a mixture's experts are known exactly")
        if self.world != "markov":
            raise ValueError("Responses of this world end, so they do not grow with T: use --world markov.")
        check_text(self.num_samples, self.sampled_lengths[-1])
        if not any(0.3 <= scaled <= 3.0 for scaled in self.scaled):
            raise ValueError(
                "--scaled has to have a value from 0.3 to 3, where distances of different lengths are compared."
            )
        if missing := set(self.sampled_lengths) - set(self.lengths):
            raise ValueError(
                f"--sampled-lengths have to be among --lengths, but {limits.shown(sorted(missing))} are not."
            )


SMALL = WorldOptions(markov=MarkovOptions(num_words=6, num_prompts=2, concentration=1.0))

PRESETS = {
    "quick": Config(world="markov", options=SMALL, seeds=tuple(range(6))),
    "paper": Config(
        world="markov", options=SMALL, seeds=tuple(range(24)), sampled=geometric(0.1, 20.0, 12), num_samples=1000
    ),
}


def run(config: Config) -> xr.Dataset:
    """Compute all horizons, or continue those in ``config.out``."""
    import jax

    from toypersona import horizons

    pretrained = config.pretrained()

    def point(key: Key) -> dict[str, Any]:
        score_key, sample_key = jax.random.split(key)
        base = pretrained.base(pretrained.place(key))
        mixture = horizons.paid(base, jax.random.normal(score_key, (base.num_words,)))
        return {**_exact(mixture, config, base.labels.personas), **_sampled(mixture, config, base.labels, sample_key)}

    return command.sweep(NAME, config, point, {}, constants=pretrained.recovered())


def _exact(mixture: PaidMixture, config: Config, personas: tuple[str, ...]) -> dict[str, Any]:
    """Curves in every case, S of weak RL and selection weights, averaged over prompts, and what they tend to."""
    import jax.numpy as jnp

    from toypersona import horizons, long_answers

    lengths, times = config.lengths, jnp.asarray(config.selected)
    tends = long_answers.long_run(mixture)
    exact = horizons.by_case(mixture, lengths, jnp.asarray(config.scaled))
    law = horizons.selected_law(mixture, tends, times)
    curves = {"case": horizons.CASES, "length": lengths, "scaled": config.scaled}
    chosen = {"length": lengths, "selected": config.selected, "persona": personas}
    return {
        "exact_distortion": named(exact.distortion, **curves),
        "exact_fraction": named(exact.selection_fraction, "S where personas can be told apart", "", **curves),
        "weak": named(horizons.weak(mixture, lengths), "S of weak RL", length=lengths),
        "weak_law": named(tends.weak_limit(jnp.asarray(lengths, float)), "S of weak RL, law", length=lengths),
        "selected_weights": named(horizons.selected(mixture, lengths, times), "selection weight", "", **chosen),
        "selected_law": named(jnp.broadcast_to(law, (len(lengths), *law.shape)), "selection weight, law", "", **chosen),
        "means": named(tends.means, "mean reward per word", persona=personas),
        "variances": named(tends.variances, "variance of the reward, per word", persona=personas),
        "between": named(tends.between, "variance of the mean reward per word over personas"),
        "within": named(tends.within, "variance of the reward per word, mean over personas"),
        "half": named(tends.half, "s √T at which S = ½, law"),
    }


def _sampled(mixture: PaidMixture, config: Config, labels: Labels, key: Key) -> dict[str, Any]:
    """Budgets from samples, and what they estimate: by transfer matrices, and by listing where responses are few."""
    import jax.numpy as jnp

    from toypersona import horizons

    lengths, scaled = config.sampled_lengths, jnp.asarray(config.sampled)
    budgets = horizons.by_samples(key, mixture, lengths, scaled, config.num_samples)
    exact = horizons.curve(mixture, horizons.unscaled(scaled, lengths), lengths)
    outputs = {name: getattr(budgets, name) for name in SAMPLED} | {
        "exact_total": exact.total,
        "bound": named(exact.distortion, "bound of the hull distance", "nats"),
    }
    outputs = named(outputs, sampled_length=lengths, sampled=config.sampled)
    few = [length for length in lengths if mixture.scores.shape[0] ** length <= LISTED]
    if few:
        listed = jnp.stack([horizons.by_listing(mixture, labels, length, scaled) for length in few])
        what = "distance from the hull, all responses listed"
        outputs["listed"] = named(listed, what, "nats", listed_length=few, sampled=config.sampled)
    return outputs


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
