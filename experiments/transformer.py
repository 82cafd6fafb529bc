"""Which laws survive in a network without persona modules? A transformer that read lines, some of which name a speaker.

Its personas are itself, called by name, or the true ones, repaired so that the base is a mix of them. Predicted before
any step: where each rule first moves it (L1). Measured: how much of weak RL is selection, by what the network was
trained on and for how long; how far stronger RL walks until half of the drift is no selection; what its activations
know of the personas and what RL does to them; what it says at a prompt that it never saw. Seeds draw the world, if it
is random, the text, the network and the rewards.

On 2 cores the preset quick takes four minutes, paper an hour and a half.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import xarray as xr

from experiments.shared import command, settings
from toypersona.limits import Angles, Count, Limit, Positive, increasing, one_of, within
from toypersona.options import Network
from toypersona.outputs import named

if TYPE_CHECKING:
    from toypersona.bases import Base
    from toypersona.types import Array, Float, Key

NAME = "transformer"
HULLS = ("truth", "names")
FEATURES = ("feature", "noise")
READERS = ("network", "untrained network", "last word and position")
HELD_OUT = ("histories", "prompt")
SPANS = (*HULLS, "own prompts")
STEP = ("total", "gap", "certified", "selection_fraction")
MEASURED = ("total", "selection", "switching", "novelty", "hull_distance", "selection_fraction", "gap", "certified")

Shares = Annotated[
    tuple[float, ...],
    Limit(
        "increasing shares from 0 to 1",
        lambda shares: increasing(1, least=-1.0).holds(shares) and shares[0] >= 0 and shares[-1] <= 1,
    ),
]
Sizes = tuple[Annotated[int, within(1, 10_000_000)], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.RewardSettings):
    """Settings of the network; it reads ``--network.tagged`` of the lines with names where nothing else is said."""

    policy: Annotated[str, one_of("transformer")] = "transformer"
    """transformer; the mixture and the table that it is compared with come by themselves."""
    angles: Angles = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0)
    """Degrees between the reward and the personas, of infinitely weak RL."""
    walked: Angles = (30.0,)
    """Degrees at which RL is carried on."""
    tagged: Shares = (0.0, 0.5)
    """Shares of the lines that name their speaker; a network for each."""
    widths: Sizes = ()
    """A further network for each width."""
    depths: Sizes = ()
    """A further network for each number of blocks."""
    lines: Sizes = ()
    """A further network for each number of lines that it reads."""
    drifts: Annotated[tuple[float, ...], increasing(3)] = (0.005, 0.01, 0.02)
    """Sizes of a first step: sqrt(2 KL(policy‖base)) by the prediction, each twice the one before."""
    step: Positive = 0.25
    """Length of every step of a walk, sqrt(2 KL), whatever the rule."""
    num_steps: Count = 11
    """Steps of a walk."""
    every: Count = 1
    """Steps from one record to the next; a divisor of the steps."""

    def check(self) -> None:
        """Refuse networks that cannot be, and steps that do not double."""
        super().check()
        if not np.allclose(np.diff(np.log2(self.drifts)), 1.0):
            raise ValueError("--drifts has to double at every step.")
        if self.num_steps % self.every:
            raise ValueError(f"--every has to divide --num-steps, {self.num_steps}.")
        if self.network.kept[:1] != (0,):
            raise ValueError("--network.kept has to begin with 0, the untrained network.")
        if self.pretraining.gate not in ("auto", "network"):
            raise ValueError("The mixture beside it has a gate network: leave out --pretraining.gate.")
        for _, network in self.networks():
            network.check()

    def networks(self) -> list[tuple[str, Network]]:
        """All networks, by what is different about them; ``--network`` itself is the last of the shares that it has."""
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
        tagged=(0.0, 0.1, 0.5, 1.0),
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
    import jax
    import jax.numpy as jnp

    from toypersona import network_walks, networks

    usual = config.pretrained()
    mixtures = dataclasses.replace(config, policy="mixture").pretrained()
    named_as, sizes = zip(*config.networks(), strict=True)
    several = [dataclasses.replace(config, network=size).pretrained() for size in sizes]
    reward = settings.Reward(config, usual)
    stride = {"step": config.step, "num_steps": config.num_steps, "every": config.every}

    def ends(base: Base, key: Key) -> Float[Array, "2 2 C N"]:
        """Rewards at 0 and 90 degrees, for each of FEATURES."""
        draw, noise = usual.place(key), jax.random.normal(jax.random.fold_in(key, 1), base.log_base.shape)
        affine, words = (reward.at_angle(angle, base, jax.random.clone(key), draw) for angle in (0.0, 90.0))
        return jnp.array([[affine, words], [affine, base.reward_at_angle(90.0, reward.helpful, noise)]])

    def paid(base: Base, key: Key) -> Float[Array, "A C N"]:
        return networks.at_angles(ends(base, key)[0], jnp.asarray(config.walked))

    def limits(key: Key) -> networks.Limits:
        paid = lambda base: ends(base, jax.random.clone(key))  # noqa: E731
        return networks.limits_of_all(several, usual.place(key), paid, jnp.asarray(config.angles))

    def steps(key: Key) -> tuple:
        base = usual.base(usual.place(key))
        first = lambda reward: networks.first_steps(base, reward, jnp.asarray(config.drifts))  # noqa: E731
        return jax.lax.map(first, paid(base, key))

    def walks(key: Key) -> tuple:
        draw = usual.place(key)
        base, mixture, untrained = usual.base(draw), mixtures.base(draw), usual.untrained(draw)
        walk_key, read_key = jax.random.split(jax.random.fold_in(key, 2))
        stream = network_walks.stream(read_key, base, usual.world_at(draw))
        walk = lambda reward: network_walks.walks(  # noqa: E731
            base, untrained, mixture, reward, stream.measure, key=walk_key, **stride
        )
        return *jax.lax.map(walk, paid(base, key)), network_walks.readings(base, stream, untrained)

    def unseen(key: Key) -> networks.Unseen:
        draw = usual.place(key)
        own_key = jax.random.fold_in(key, 3)
        return networks.unseen(own_key, usual.world_at(draw), usual.base(draw), config.network)

    # Each by itself: as one program they take several times as long to compile.
    parts = config.each_seed(limits, steps, walks, unseen)

    def point(key: Key) -> dict[str, Any]:
        (weak, early, misfit), (predicted, first), (spent, moved, readable), missed = (part.at(key) for part in parts)
        kept, records = config.network.kept, np.arange(config.every, config.num_steps + 1, config.every)
        ways = [*(f"after {step} steps" for step in kept), "trained", "table"]
        rewards = {"hull": HULLS, "feature": FEATURES, "angle": config.angles}
        kinds = {"walked": config.walked, "kind": networks.KINDS}
        walked = {"walked": config.walked, "walk": network_walks.WALKS, "record": records}
        ruled = {"walked": config.walked, "rule": tuple(network_walks.RULES), "record": records}
        return {
            "limit": named(weak, network=named_as, way=ways, **rewards),
            "early_limit": named(early, network=named_as, early=kept, **rewards),
            "base_misfit": named(misfit, network=named_as, span=SPANS),
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
