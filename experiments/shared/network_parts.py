"""The long computations of the experiment on networks, seed by seed: kept on disk, each compiled by itself.

As one program they would take several times as long to compile.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from experiments.shared import settings
from toypersona.limits import Angles, Count, Positive, increasing, one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toypersona import networks
    from toypersona.artefacts import ByKey
    from toypersona.bases import Base, Pretrained
    from toypersona.options import Network
    from toypersona.types import Array, Float, Key


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkSettings(settings.RewardSettings):
    """Settings of RL on a network; it reads ``--network.tagged`` of the lines with names where nothing else is said."""

    policy: Annotated[str, one_of("transformer")] = "transformer"
    """transformer; the mixture and the table that it is compared with come by themselves."""
    angles: Angles = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0)
    """Degrees between the reward and the personas, of infinitely weak RL."""
    walked: Angles = (30.0,)
    """Degrees at which RL is carried on."""
    drifts: Annotated[tuple[float, ...], increasing(3)] = (0.005, 0.01, 0.02)
    """Sizes of a first step: sqrt(2 KL(policy‖base)) by the prediction, each twice the one before."""
    step: Positive = 0.25
    """Length of every step of a walk, sqrt(2 KL), whatever the rule."""
    num_steps: Count = 14
    """Steps of a walk."""
    every: Count = 1
    """Steps from one record to the next; a divisor of the steps."""

    def check(self) -> None:
        """Refuse steps that do not double, records between steps, and what the network is not compared with."""
        super().check()
        if not np.allclose(np.diff(np.log2(self.drifts)), 1.0):
            raise ValueError("--drifts has to double at every step.")
        if self.num_steps % self.every:
            raise ValueError(f"--every has to divide --num-steps, {self.num_steps}.")
        if self.network.kept[:1] != (0,):
            raise ValueError("--network.kept has to begin with 0, the untrained network.")
        if self.length < 2:
            raise ValueError("--length has to be 2 or more: histories are held out by their first word.")


def computed(config: NetworkSettings, several: Sequence[tuple[str, Network]]) -> tuple[Pretrained, list[ByKey]]:
    """The usual network of every seed, and by the key of a seed what there is to know of it and of several others.

    Returns:
        The networks, and ``networks.limits_of_all`` of the others, ``networks.first_steps`` at every angle walked,
        ``network_walks.walks`` there with ``network_walks.readings``, and ``networks.unseen``.
    """
    import jax
    import jax.numpy as jnp

    from toypersona import artefacts, network_walks, networks

    usual = config.pretrained()
    mixtures = dataclasses.replace(config, policy="mixture").pretrained()
    # Networks that read no names, or little, are not refused: that is what is asked of them.
    others = [config.fitted(size) for _, size in several]
    reward = settings.Reward(config, usual)
    stride = {"step": config.step, "num_steps": config.num_steps, "every": config.every}

    def ends(base: Base, key: Key, index: Array) -> Float[Array, "2 2 C N"]:
        """Rewards at 0 and 90 degrees: orthogonal to the personas are a feature, and a number for every response."""
        noise = jax.random.normal(jax.random.fold_in(key, 1), base.log_base.shape)
        affine, words = (reward.at_angle(angle, base, jax.random.clone(key), index) for angle in (0.0, 90.0))
        return jnp.array([[affine, words], [affine, base.reward_at_angle(90.0, reward.helpful, noise)]])

    def paid(base: Base, key: Key, index: Array) -> Float[Array, "A C N"]:
        return networks.at_angles(ends(base, key, index)[0], jnp.asarray(config.walked))

    def limits(key: Key, index: Array, *fits: Pretrained) -> networks.Limits:
        paid = lambda base: ends(base, jax.random.clone(key), index)  # noqa: E731
        return networks.limits_of_all(fits, 0, paid, jnp.asarray(config.angles))

    def steps(key: Key, index: Array, fit: Pretrained) -> tuple:
        base = fit.base(0)
        first = lambda reward: networks.first_steps(base, reward, jnp.asarray(config.drifts))  # noqa: E731
        return jax.lax.map(first, paid(base, key, index))

    def walks(key: Key, index: Array, fit: Pretrained, mixture: Pretrained) -> tuple:
        base, untrained = fit.base(0), jax.tree.map(lambda x: x[0, 0], fit.early)
        walk_key, read_key = jax.random.split(jax.random.fold_in(key, 2))
        stream = network_walks.stream(read_key, base, fit.world_at(0))

        def walk(reward: Float[Array, "C N"]) -> tuple:
            way = {"key": jax.random.clone(walk_key), **stride}
            return network_walks.walks(base, untrained, mixture.base(0), reward, stream.measure, **way)

        return *jax.lax.map(walk, paid(base, key, index)), network_walks.readings(base, stream, untrained)

    def unseen(key: Key, index: Array, fit: Pretrained) -> networks.Unseen:
        del index
        return networks.unseen(jax.random.fold_in(key, 3), fit.world_at(0), fit.base(0), config.network)

    keys = jax.random.key_data(jax.vmap(jax.random.key)(jnp.asarray(config.seeds)))
    config.say("Following every seed, unless .cache/parts has it ...")

    def of_each(part: Callable, *fits: Pretrained) -> ByKey:
        """By the key of a seed; given what it drew alone, so that one more seed computes no other again."""

        def compute(key: Array, index: Array, *drawn: tuple) -> Any:
            held = (fit.holding(one) for fit, one in zip(fits, drawn, strict=True))
            return part(jax.random.wrap_key_data(key), index, *held)

        calls = [(keys[i], jnp.asarray(i), *(fit.drawn(i) for fit in fits)) for i in range(len(config.seeds))]
        results = artefacts.kept(compute, calls, settings.CACHE / "parts", lean=True)
        return artefacts.ByKey(keys, artefacts.stacked(results))

    return usual, [
        of_each(limits, *others),
        of_each(steps, usual),
        of_each(walks, usual, mixtures),
        of_each(unseen, usual),
    ]
