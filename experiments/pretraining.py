"""Pretraining: how well personas and gates are recovered from text alone, as the text grows.

Nobody tells the mixture who wrote a line. Its experts are matched to the true personas over all permutations, its gate
is compared with the Bayes posterior over who writes such prompts. Seeds draw the
world, if it is random, the text and the random starts.

On 2 cores the preset quick takes a minute, one and a half of lines that people bring.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from experiments.shared import both_gates, command, settings
from toypersona.limits import Counts
from toypersona.options import Pretraining, check_text
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.types import Array, Key

NAME = "pretraining"
FRESH_LINES = 20_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.WorldSettings):
    """Settings of the growth curves."""

    amounts: Counts = (125, 250, 500, 1000, 2000, 4000, 8000, 16000)
    """Lines of text read; increasing. They replace --pretraining.num-lines."""

    def check(self) -> None:
        """Refuse more text than fits into memory."""
        super().check()
        both_gates.check_mixture(
            self, "Gates and experts are recovered here from lines of which nobody says who wrote them"
        )
        check_text(self.amounts[-1], self.pretraining.line_length)


CAREFUL = Pretraining(num_steps=1500, batch_size=512, learning_rate=0.03, num_restarts=2)

PRESETS = {
    "quick": Config(pretraining=CAREFUL),
    "paper": Config(
        pretraining=dataclasses.replace(CAREFUL, num_steps=4000),
        amounts=tuple(125 * 2**i for i in range(11)),
        seeds=tuple(range(8)),
    ),
}


def run(config: Config) -> xr.Dataset:
    """Fit every amount of text, or continue what is in ``config.out``."""
    import jax

    from toypersona import pretraining
    from toypersona.policies import mixture
    from toypersona.worlds import catalogue
    from toypersona.worlds import world as worlds

    _, labels = catalogue.load(config.world, config.options, key=jax.random.key(0))
    options, most = config.pretraining.fitting(config.world), config.amounts[-1]

    def point(key: Key, *, num_lines: Array) -> dict[str, Any]:
        world_key, text_key, fit_key, fresh_key = jax.random.split(key, 4)
        world, _ = catalogue.load(config.world, config.options, key=world_key)
        speakers = mixture.for_world(world, labels, config.length, options.gate)
        text = worlds.sample(text_key, world, options.line_length, most)
        fitted = pretraining.fit_text(fit_key, world, text, speakers, options, num_lines)
        _, recovery = pretraining.align(world, speakers, fitted.params, config.length)
        fresh = worlds.sample(fresh_key, world, options.line_length, FRESH_LINES)
        excess_read = pretraining.excess(world, speakers.policy, fitted.params, text, num_lines)
        excess_fresh = pretraining.excess(world, speakers.policy, fitted.params, fresh)
        return {
            **recovery._asdict(),
            "expert_divergence": named(recovery.expert_divergence, persona=labels.personas),
            "excess_read": named(excess_read, "loss above the world's own, on the lines read", "nats/line"),
            "excess_fresh": named(excess_fresh, "loss above the world's own, on fresh lines", "nats/line"),
        }

    return command.sweep(NAME, config, point, {"num_lines": config.amounts})


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
