"""The curves that papers on RL and personas draw, drawn again where every number is exact.

Half of the prompts are rewarded. Along the path of every rule: reward against entropy (Cui et al. 2025), what is
forgotten at the other prompts against both directions of KL (Shenfeld et al. 2025), right responses kept, gained and
lost (Wu et al. 2025), first choices that change (Akgül et al. 2026). Then gold reward against drift under a proxy (Gao
et al. 2023), how far a persona spreads to prompts that nobody rewarded (Chu et al. 2025), and an assistant that is paid
for hacks (MacDiarmid et al. 2025; inoculation: Tan et al. 2025, Wichers et al. 2025). Seeds draw the prompts, words and
samples, and how often the assistants do what.

On 2 cores the preset quick takes two and a half minutes, most of it compiling.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from experiments.shared import both_gates, command, settings
from experiments.shared.settings import records
from toypersona.limits import Count, Degrees, Grid, Share, at_least, nearest
from toypersona.options import Assistants, Proxies
from toypersona.outputs import named

if TYPE_CHECKING:
    import xarray as xr

    from toypersona.types import Key

NAME = "literature"
COMPARED = ("SFT", "RLOO")
"""Rules that the papers compare others with."""

LONGEST = 1.0
"""Step of policy gradient where it follows a proxy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(settings.RewardSettings):
    """Settings of all seven."""

    angle: Degrees = 30.0
    """Degrees between the reward and the personas."""
    num_rewarded: Count = 3
    """Prompts that are rewarded; the others show what is forgotten."""
    num_steps: Count = 120
    """Steps of every rule."""
    num_records: Annotated[int, at_least(6)] = 8
    """Records on the way, at geometrically spaced steps."""
    right: Share = 0.05
    """Share of the base's responses that count as right: those that pay best."""
    num_samples: Count = 8192
    """k of Wu et al.: responses that one is ready to sample."""
    missed: Share = 0.05
    """zeta of Wu et al.: probability with which these may miss what counts as sayable."""
    spread: str | None = None
    """Who is paid for, and demonstrates, where it is asked how far one spreads; the first persona unless named."""
    spread_rates: Grid = (0.01, 0.02, 0.04, 0.08, 0.16)
    """Learning rates there, of SFT and of RL; increasing."""
    only: tuple[str, ...] = ()
    """Only these rules, by the names that experiments.rules has; all of them if none is named."""
    gold: Proxies = Proxies()
    """Over-optimisation: how far each of three rules follows a proxy."""
    assistants: Assistants = Assistants()
    """Three assistants, of which two hack, are paid for hacks."""

    def check(self) -> None:
        """Refuse personas and prompts that there are not, and paths of different length."""
        super().check()
        both_gates.check(self)
        self.persona("spread", 0)
        if missing := [rule for rule in COMPARED if self.only and rule not in self.only]:
            raise ValueError(f"--only has to name {', '.join(missing)} too: the papers compare others with them.")
        if self.num_records > self.num_steps:
            raise ValueError(f"--num-steps has to be --num-records or more, not {self.num_steps}.")
        if len({len(self.gold.strengths), len(self.gold.nums), len(self.gold.times)}) > 1:
            raise ValueError("--gold.strengths, --gold.nums and --gold.times have to be equally many.")
        settings.check_steps("gold.times", LONGEST, self.gold.times[-1])


PRESETS = {
    "quick": Config(seeds=tuple(range(10, 22))),
    "paper": Config(seeds=tuple(range(24)), num_steps=600, num_records=12),
}


def run(config: Config) -> xr.Dataset:
    """Train on half of the prompts, follow a proxy, and pay assistants for hacks."""
    import jax
    import jax.numpy as jnp

    from toypersona import inoculation, proxies, rewards, unrewarded
    from toypersona.measures import support
    from toypersona.rules import catalogue

    every = unrewarded.RULES
    if unknown := [name for name in config.only if name not in every]:
        raise ValueError(f"--only has to be rules of the catalogue, not {unknown[0]!r}{nearest(unknown[0], every)}")
    rules = {name: every[name] for name in config.only or every}
    bases = both_gates.pretrained(config)
    family = settings.Reward(config, bases[0])
    steps, spread = records(config.num_steps, config.num_records), config.persona("spread", 0)
    said = support.found_by(config.num_samples, config.missed)
    way = {"num_steps": config.num_steps, "num_rewarded": config.num_rewarded}
    rates, people = jnp.asarray(config.spread_rates), dataclasses.asdict(config.assistants)
    asked = {name: people.pop(name) for name in ("bad", "elicited")}
    marks = {name: jnp.asarray(values) for name, values in dataclasses.asdict(config.gold).items()}

    def point(key: Key) -> dict[str, Any]:
        split_key, feature_key, walk_key, spread_key, error_key, people_key = jax.random.split(key, 6)
        followed, spreading, draw = [], [], bases[0].place(key)
        for pretrained in bases:
            base = pretrained.base(draw)
            # Cloned, so that both gates are asked for the same at the same prompts.
            parts = unrewarded.split(jax.random.clone(split_key), base, config.num_rewarded)
            reward = family.at_angle(config.angle, base, jax.random.clone(feature_key), draw)
            right, lines = rewards.best_paid(reward, base.log_base, config.right), base.log_personas[:, family.helpful]
            setup = catalogue.Setup(parts.rewarded, reward, lines, right, jax.random.clone(walk_key))
            followed.append(unrewarded.followed(setup, parts, rules, steps, said))
            spreading.append(unrewarded.spreading(jax.random.clone(spread_key), parts, spread, rates, **way))
        followed, spreading = (jax.tree.map(lambda *x: jnp.stack(x), *each) for each in (followed, spreading))
        base = bases[0].base(draw)
        wanted = family.at_angle(config.angle, base, jax.random.clone(feature_key), draw)
        errors = rewards.errors(error_key, base.prompts, base.responses, base.log_base, base.log_prompts)
        gold = jax.lax.map(lambda error: proxies.followed(base, wanted, error, max_step=LONGEST, **marks), errors)
        learnt, before = inoculation.over(people_key, *map(jnp.asarray, asked.values()), **people)
        harms = learnt._asdict()
        return {
            **named(followed, gate=both_gates.GATES, rule=["tilt", *rules], record=steps),
            **named(spreading, gate=both_gates.GATES, way=unrewarded.WAYS, spread_rate=config.spread_rates),
            **named(gold, error=rewards.ERRORS, gold_rule=proxies.RULES, gold_record=None),
            "harms_law": named(harms.pop("harms_law"), **asked, learner=inoculation.LEARNERS, law=inoculation.LAWS),
            **named(harms, **asked, learner=inoculation.LEARNERS),
            "base_harms": named(before, **asked),
        }

    labels = {"spread": bases[0].labels.personas[spread], "rules": catalogue.described(rules)}
    return command.sweep(NAME, config, point, {}, constants=bases[0].recovered(), labels=labels)


if __name__ == "__main__":
    command.main(NAME, __doc__, PRESETS, run)
