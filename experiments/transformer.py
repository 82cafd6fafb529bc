"""Which laws survive in a network without persona modules? A transformer that read lines, some of which name a speaker.

Its personas are itself, called by name, or the true ones, repaired so that the base is a mix of them. Predicted before
any step: where each rule first moves it (L1). Measured: how much of weak RL is selection, by what the network was
trained on and for how long; how far stronger RL walks until half of the drift is no selection; what its activations
know of the personas and what RL does to them; what it says at a prompt that it never saw. Seeds draw the world, if it
is random, the text, the network and the rewards.

On 2 cores the preset quick takes two and a half minutes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from experiments.shared import command, network_parts
from toypersona import limits
from toypersona.limits import Limit, increasing
from toypersona.options import Network, check_text
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.types import Key

NAME = "transformer"
TRUTH, NAMES = 0, 1
"""The hull of the true personas, and of those called by name, which is none where no line names its speaker."""

FEATURES = ("feature", "noise")
READERS = ("network", "untrained network", "last word and position")
HELD_OUT = ("histories", "prompt")
SPANS = ("truth", "names", "own prompts")
STEP = ("total", "gap", "certified", "selection_fraction")
MEASURED = ("total", "selection", "switching", "novelty", "hull_distance", "selection_fraction", "gap", "certified")

Shares = Annotated[
    tuple[float, ...],
    Limit(
        "increasing shares from 0 to below 1",
        lambda shares: increasing(1, least=-1.0).holds(shares) and shares[0] >= 0 and shares[-1] < 1,
    ),
]
Sizes = Annotated[
    tuple[int, ...],
    Limit("whole numbers from 1 to 10,000,000", lambda sizes: all(1 <= size <= 10_000_000 for size in sizes)),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(network_parts.NetworkSettings):
    """Settings of the network; it reads ``--network.tagged`` of the lines with names where nothing else is said."""

    tagged: Shares = (0.0, 0.5)
    """Shares of the lines that name their speaker; a network for each."""
    widths: Sizes = ()
    """A further network for each width."""
    depths: Sizes = ()
    """A further network for each number of blocks."""
    lines: Sizes = ()
    """A further network for each number of lines that it reads."""

    def check(self) -> None:
        """Refuse networks that cannot be."""
        super().check()
        if self.network.tagged not in self.tagged:
            raise ValueError(f"--tagged has to name --network.tagged, {self.network.tagged:g}, with which RL goes on.")
        for _, network in self.networks():
            limits.check(network)
            network.check()
            check_text(network.num_lines, self.length)

    def networks(self) -> list[tuple[str, Network]]:
        """All networks, by what is different about them; those of the shares first."""
        changed = [(f"{share:g} of lines named", {"tagged": share}) for share in self.tagged]
        changed += [(f"width {width}", {"width": width}) for width in self.widths]
        changed += [(f"depth {depth}", {"depth": depth}) for depth in self.depths]
        changed += [(f"{num:,} lines", {"num_lines": num}) for num in self.lines]
        return [(name, dataclasses.replace(self.network, **change)) for name, change in changed]


PRESETS = {
    "quick": Config(seeds=tuple(range(8))),
    "paper": Config(
        seeds=tuple(range(16)),
        walked=(0.0, 30.0, 60.0, 90.0),
        tagged=(0.0, 0.1, 0.5, 0.9),
        widths=(16, 64),
        depths=(1, 4),
        lines=(1_000, 10_000, 1_000_000),
        num_steps=44,
        every=4,
        step=0.0625,
    ),
}


def run(config: Config) -> xr.Dataset:
    """Fit, predict, step, walk, and read the activations."""
    from toypersona import network_walks, networks

    usual, parts = network_parts.computed(config, config.networks())

    def point(key: Key) -> dict[str, Any]:
        weak, (predicted, first), (spent, moved, readable), missed = (part.at(key) for part in parts)
        names = [name for name, _ in config.networks()]
        kept, records = config.network.kept, np.arange(config.every, config.num_steps + 1, config.every)
        ways = [*(f"after {step} steps" for step in kept), "trained", "table"]
        rewards = {"feature": FEATURES, "angle": config.angles}
        kinds = {"walked": config.walked, "kind": networks.KINDS}
        walked = {"walked": config.walked, "walk": network_walks.WALKS, "record": records}
        ruled = {"walked": config.walked, "rule": tuple(network_walks.RULES), "record": records}
        return {
            "limit": named(weak.limit[:, :, TRUTH], network=names, way=ways, **rewards),
            "limit_by_name": named(
                weak.limit[config.tagged.index(config.network.tagged), :, NAMES], way=ways, **rewards
            ),
            "early_limit": named(weak.early_limit[:, :, TRUTH], network=names, early=kept, **rewards),
            "base_misfit": named(weak.misfit, network=names, span=SPANS),
            "hulls_certified": named(weak.certified, network=names),
            "first_order": named(predicted, **kinds),
            **named({f"first_{name}": getattr(first, name) for name in STEP}, **kinds, drift=config.drifts),
            **named({name: getattr(spent, name) for name in MEASURED}, **walked),
            **named(moved, **ruled),
            "readable": named(readable, reader=READERS, held_out=HELD_OUT),
            **missed._asdict(),
        }

    return command.sweep(NAME, config, point, {}, constants=usual.recovered())


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
