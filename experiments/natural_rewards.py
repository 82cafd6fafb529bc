"""Where rewards lie as people ask for them, and how that changes with the length of the answer.

Every built-in feature, a random share of answers that counts as right, and a persona's log-odds: how much of each
tells who is talking, R² = cos² of its angle to the personas, from all responses listed; of rewards per word also for
answers of any length. Seeds draw world, text, fit and rewards.

On 2 cores the preset quick takes half a minute.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from experiments.shared import both_gates, command, settings
from toypersona.limits import Counts, Share, within
from toypersona.outputs import named
from toypersona.transcripts import END

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.bases import Base
    from toypersona.natural_rewards import Directions
    from toypersona.types import Array, Key

NAME = "natural_rewards"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.RewardSettings):
    """Settings of the rewards."""

    longest: Annotated[int, within(2, 20)] = 5
    """T up to which all responses are listed, as far as they are not too many."""
    most_listed: Annotated[int, within(2, 2**20)] = 40_000
    """Responses that are not too many."""
    long: Counts = (1, 2, 3, 4, 6, 8, 16, 32, 64, 128, 256)
    """T of rewards per word; increasing."""
    right: Share = 0.2
    """Share of responses that counts as right."""
    num_draws: Annotated[int, within(1, 1000)] = 40
    """Draws of right answers at each point, averaged."""

    def check(self) -> None:
        """Refuse lengths that nothing could be read from."""
        super().check()
        both_gates.check_mixture(
            self, "Responses of any length are listed here, and a transformer reads no more words than it was fitted to"
        )
        from experiments.claims.natural_rewards import ENDLESS

        if 1 not in self.long or max(self.long) < 2 * ENDLESS:
            raise ValueError(f"--long has to name 1, and {2 * ENDLESS} or more.")


PRESETS = {
    "quick": Config(seeds=tuple(range(10, 18))),
    "paper": Config(seeds=tuple(range(40))),
}


def run(config: Config) -> xr.Dataset:
    """Regress every reward on who is talking, at every length."""
    import jax
    import jax.numpy as jnp

    from toypersona import natural_rewards, theory

    pretrained = config.pretrained()
    helpful, gate = config.persona("helpful", -1), config.pretraining.fitting(config.world).gate
    num_words = pretrained.world.log_experts.shape[-1]
    listed = natural_rewards.lengths(num_words, config.longest, config.most_listed)

    def point(key: Key) -> dict[str, Any]:
        draw = pretrained.place(key)
        reward_key, right_key = jax.random.split(key)
        found, chance, words = [], [], {}
        for length in listed:
            base = natural_rewards.at_length(pretrained, draw, gate, length)
            along = natural_rewards.directions(base)
            made = natural_rewards.paid(jax.random.clone(reward_key), base, helpful)
            words = words or natural_rewards.scores(made)
            shares = {name: natural_rewards.share(base, along, reward) for name, reward in made.items()}
            draws = jax.random.split(jax.random.fold_in(jax.random.clone(right_key), length), config.num_draws)

            def of_right(key: Key, base: Base = base, along: Directions = along) -> Array:
                return natural_rewards.share(base, along, natural_rewards.right_answers(key, base, config.right))

            found.append(shares | {natural_rewards.RIGHT: jnp.nanmean(jax.lax.map(of_right, draws))})
            chance.append(natural_rewards.by_chance(base, along))
        base = natural_rewards.at_length(pretrained, draw, gate, 1)
        long = {name: natural_rewards.per_word(base, scores, config.long) for name, scores in words.items()}
        kinds = {"reward": [*found[0]], "length": listed}
        per_word = {"per_word": [*long], "long": config.long}
        stacked = lambda of: jnp.stack([getattr(each, of) for each in long.values()])  # noqa: E731
        share = jnp.stack([jnp.stack([each[name] for each in found]) for name in found[0]])
        return {
            "share": named(share, "R², who is talking of the reward's variance", "", **kinds),
            "angle_as_it_is": named(
                jnp.rad2deg(theory.angle(share)), "angle to the personas as it is", "degrees", **kinds
            ),
            "chance": named(jnp.stack(chance), "R² of right answers, law", "", length=listed),
            "between": named(stacked("between"), "share of the variance between personas", "", **per_word),
            "between_law": named(stacked("law"), "T B/(T B + W), law", "", **per_word),
        }

    labels = {"helpful": pretrained.labels.personas[helpful], "ends": END in pretrained.labels.units}
    return command.sweep(NAME, config, point, {}, constants=pretrained.recovered(), labels=labels)


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
