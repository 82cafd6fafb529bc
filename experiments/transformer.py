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
    walked: Angles = (30.0, 60.0)
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
    reward, angles = settings.Reward(config, usual), jnp.asarray(config.angles)
    drifts, every = jnp.asarray(config.drifts), config.every

    def point(key: Key) -> dict[str, Any]:
        draw = usual.place(key)
        base, world = usual.base(draw), usual.world_at(draw)
        untrained = jax.tree.map(lambda x: x[draw, 0], usual.early)
        noise_key, walk_key, read_key, unseen_key = jax.random.split(jax.random.clone(key), 4)
        noise = jax.random.normal(noise_key, base.log_base.shape)

        def ends(base: Base) -> Float[Array, "2 2 C N"]:
            """Rewards at 0 and 90 degrees, for each of FEATURES."""
            affine, words = (reward.at_angle(angle, base, jax.random.clone(key), draw) for angle in (0.0, 90.0))
            other = base.reward_at_angle(90.0, reward.helpful, noise)
            return jnp.stack([jnp.stack([affine, words]), jnp.stack([affine, other])])

        limits = networks.limits_of_all(several, draw, ends, angles)
        paid = networks.at_angles(ends(base)[0], jnp.asarray(config.walked))
        predicted, steps = jax.lax.map(lambda reward: networks.first_steps(base, reward, drifts), paid)
        stream = network_walks.stream(read_key, base, world)
        stride = {"key": walk_key, "step": config.step, "num_steps": config.num_steps, "every": every}

        def walk(reward: Float[Array, "C N"]) -> tuple:
            return network_walks.walks(base, untrained, mixtures.base(draw), reward, stream.measure, **stride)

        spent, moved = jax.lax.map(walk, paid)
        records = np.arange(every, config.num_steps + 1, every)
        walked = {"walked": config.walked, "walk": network_walks.WALKS, "record": records}
        trained = {"walked": config.walked, "rule": tuple(network_walks.RULES), "record": records}
        first = {"walked": config.walked, "kind": networks.KINDS}
        ways = [*(f"after {step} steps" for step in config.network.kept), "trained", "table"]
        rewards = {"feature": FEATURES, "angle": config.angles}
        return {
            "limit": named(limits.limit, network=named_as, way=ways, hull=HULLS, **rewards),
            "early_limit": named(
                limits.early_limit, network=named_as, early=config.network.kept, hull=HULLS, **rewards
            ),
            "base_misfit": named(limits.misfit, network=named_as, span=(*HULLS, "own prompts")),
            "first_order": named(predicted, **first),
            **named({f"first_{name}": getattr(steps, name) for name in STEP}, **first, drift=config.drifts),
            **named({name: getattr(spent, name) for name in MEASURED}, **walked),
            **named(moved, **trained),
            "readable": named(network_walks.readings(base, stream, untrained), reader=READERS, at=HELD_OUT),
            **networks.unseen(unseen_key, world, base, config.network)._asdict(),
        }

    return command.sweep(NAME, config, point, {}, constants=usual.recovered(), lean=True)


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
