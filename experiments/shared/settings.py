"""Settings that several experiments share, each with its limits, and what is made of them.

Nothing here imports jax before something is computed, so that wrong settings are refused at once.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from experiments.shared import user_code
from toypersona.limits import MOST, Grid, Limit, Positive, at_least, nearest, one_of, within
from toypersona.options import (
    FEATURES,
    MOST_BITS,
    Network,
    Pretraining,
    ReasoningOptions,
    Training,
    WorldOptions,
    check_prompts,
    check_tables,
    check_text,
    num_outcomes,
)
from toypersona.worlds import lines, names

if TYPE_CHECKING:
    from toypersona.artefacts import ByKey
    from toypersona.bases import Base, Pretrained
    from toypersona.types import Array, Key
    from toypersona.worlds.lines import Heard

GATES_OFF, EXPERTS_OFF = 0.05, 0.25
"""Nats, and nats per token, by which a base may miss the people whose lines it is fitted to; claims are stricter."""

CACHE = Path(__file__).parents[2] / ".cache"

Seeds = Annotated[
    tuple[int, ...],
    Limit(
        "one or more different whole numbers from 0 to 4,294,967,295",
        lambda seeds: 0 < len(seeds) == len(set(seeds)) and 0 <= min(seeds) <= max(seeds) < 2**32,
    ),
]
Part = Annotated[tuple[int, int] | None, Limit("i n with 0 <= i < n", lambda part: 0 <= part[0] < part[1])]
Runs = Annotated[int, within(1, 100_000)]


def geometric(first: float, last: float, num: int) -> tuple[float, ...]:
    """Geometrically spaced values, in digits that read well."""
    return tuple(float(f"{x:.6g}") for x in np.geomspace(first, last, num))


def records(num_steps: int, num_records: int) -> np.ndarray:
    """Steps to record, geometrically spaced."""
    return np.unique(np.geomspace(1, num_steps, num_records).round().astype(int))


def check_steps(flag: str, step: float, until: float) -> None:
    """Refuse a walk that would never end.

    Raises:
        ValueError: it takes more than ``limits.MOST`` steps.
    """
    if until / step > MOST:
        raise ValueError(
            f"--{flag} {step:g} takes {until / step:.2g} steps to {until:g}, and {MOST:,} are allowed: use longer "
            "steps, or end earlier."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that every experiment has."""

    preset: str = "quick"
    """quick or paper, which has more draws and finer grids; how long quick takes stands above."""
    config: Path | None = None
    """A TOML file of settings; it overrides the preset, flags override it."""
    out: Path = Path("results")
    """Folder for the dataset and the claims. An unfinished run found here is continued."""
    seeds: Seeds = (0, 1, 2)
    """Each draws all that is random: the world if it is, its text, the fit, and what is said above."""
    chunk: Annotated[int | None, at_least(1)] = None
    """Points computed together and then kept; by default as many as suit the device and the time that one takes."""
    part: Part = None
    """i n: compute only the i-th of n parts, as one of n processes (i from 0) that share the folder --out."""
    progress: bool = True
    """Show a progress bar."""
    debug: bool = False
    """Show all that was called on the way to an error, instead of one sentence."""

    def check(self) -> None:
        """Raise a ValueError that names the flags if settings do not fit each other."""

    def report(self) -> list[str]:
        """Sentences on what was read, to print before anything is computed."""
        return []

    def say(self, sentence: str) -> None:
        """Tell whoever sits at a terminal what takes a while."""
        if self.progress and sys.stderr.isatty():
            print(sentence, file=sys.stderr)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldSettings(Settings):
    """Settings of every experiment that starts from a pretrained world."""

    world: str = "larry_bob_alice"
    """larry_bob_alice, speakers, markov, or text:FOLDER with one text file per persona, two to eight of them."""
    options: WorldOptions = WorldOptions()
    """What the world is made of."""
    length: Annotated[int, within(1, 20)] = 3
    """T, units of a response; all V^T are enumerated."""
    policy: Annotated[str, one_of("mixture", "transformer")] = "mixture"
    """mixture (a gate, and an expert for each persona) or transformer (no such parts; it is called by their names). A
    transformer's learning rates are 0.003 times those given, and it takes some ten times as long."""
    pretraining: Pretraining = Pretraining()
    """How a mixture is fitted."""
    network: Network = Network()
    """Size of a transformer, and how it is fitted."""

    def check(self) -> None:
        """Refuse a world that there is not, a network that cannot be, and what does not fit into memory."""
        names.personas(self.world, self.options)
        self.network.check()
        if self.policy == "transformer" and not self.network.tagged:
            how = "use --network.tagged above 0, or experiments.transformer"
            raise ValueError(f"Nobody can be called by name if no line names its speaker: {how}.")
        markov = self.options.markov
        if self.world == "markov":
            check_prompts(markov.num_words, max(2, markov.order), markov.num_prompts)
            check_tables(markov.num_personas, markov.num_words, markov.num_words, markov.order)
            num_outcomes(markov.num_words, self.length)
        if self.world == "larry_bob_alice":
            num_outcomes(names.NUM_WORDS, self.length)
        if names.folder(self.world):
            num_outcomes(len(self._heard().words), self.length)
        check_text(self.pretraining.num_lines, self.pretraining.line_length)
        check_text(self.network.num_lines, self.length)

    @property
    def pace(self) -> float:
        """Learning rates of this policy, in units of a mixture's, at which as many steps spend as much drift."""
        return 0.003 if self.policy == "transformer" else 1.0

    def persona(self, flag: str, otherwise: int) -> int:
        """The number of the persona that a flag names; number ``otherwise`` if it names none.

        Raises:
            ValueError: nobody has that name.
        """
        name, known = getattr(self, flag), names.personas(self.world, self.options)
        if name is None:
            return otherwise % len(known)
        if name not in known:
            raise ValueError(f"--{flag} has to be a persona of the world, not {name!r}{nearest(name, known)}")
        return known.index(name)

    def pretrained(self) -> Pretrained:
        """The base of every seed, fitted or loaded.

        Raises:
            ValueError: settings that make no world, or one too large to enumerate.
        """
        self.say("Fitting the base to text, unless .cache/bases has it ...")
        found = self.fitted(self.network if self.policy == "transformer" else self.pretraining)
        if names.of_people(self.world):
            self._refuse_strangers(found)
        return found

    def fitted(self, how: Network | Pretraining) -> Pretrained:
        """Likewise in a given way, whomever it found."""
        from toypersona.bases import pretrained

        kind = {"length": self.length, "seeds": self.seeds, "folder": CACHE / "bases"}
        return pretrained(self.world, self.options, how, **kind)

    def _refuse_strangers(self, pretrained: Pretrained) -> None:
        """Stop where a base is not made of the people who wrote the lines: no number of it would be about them."""
        gates = float(np.max(pretrained.recovery.gate_divergence))
        experts = np.max(pretrained.recovery.expert_divergence, axis=0)
        if gates <= GATES_OFF and experts.max() <= EXPERTS_OFF:
            return
        alone = "" if self._heard().shared() else "nobody opens a line as another does, and "
        gate = "" if self.pretraining.fitting(self.world).gate == "table" else "leave out --pretraining.gate, or "
        helps = gate + lines.remedy(self.options.text, shared=not alone)
        if self.policy == "transformer":
            alone, helps = "", "use more --network.num-steps and --network.num-lines"
        worst = pretrained.labels.personas[int(experts.argmax())]
        off = [f"gates are {gates:.2g} nats off (allowed: {GATES_OFF:g})"] if gates > GATES_OFF else []
        if experts.max() > EXPERTS_OFF:
            off.append(f"the expert for {worst} is {experts.max():.2g} nats per token off (allowed: {EXPERTS_OFF:g})")
        raise ValueError(
            f"Pretraining did not find the people who wrote these lines: {alone}{' and '.join(off)}; {helps}."
        )

    def _heard(self) -> Heard:
        """What is read of a world of people."""
        if folder := names.folder(self.world):
            return lines.hear(lines.from_folder(folder), self.options.text)
        from toypersona.worlds import speakers

        return lines.hear(speakers.lines(self.options.speakers), self.options.text)

    def report(self) -> list[str]:
        """What was read of people's lines, and what to doubt."""
        return lines.report(self._heard(), self.options.text) if names.of_people(self.world) else []


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThinkerSettings(Settings):
    """Settings of every experiment on policies that think aloud."""

    training: Training = Training()
    """Of every way to train."""
    pretraining: Pretraining = Pretraining(line_length=32, num_restarts=4, gate="prior")
    """How the base is fitted to text. Its rows of bits are long, to tell voices apart by: short ones are told as well
    by one expert that depends on the word before. Its gate does not see the bits, which only the thoughts remember."""

    def check(self) -> None:
        """Refuse what the world has no text or no gate for."""
        check_text(self.pretraining.num_lines, self.pretraining.line_length)
        length, gate = self.pretraining.line_length, self.pretraining.gate
        if not 2 <= length <= MOST_BITS + 1:
            raise ValueError(f"--pretraining.line-length has to be from 2 to {MOST_BITS + 1}, not {length}.")
        if gate != "prior":
            raise ValueError(f"--pretraining.gate has to be prior, not {gate}: gates see no bits here.")

    def fits(self, options: ReasoningOptions) -> ByKey:
        """Fitted parameters and their recovery for every seed, found by the key that a point fits with."""
        import jax
        import jax.numpy as jnp

        from toypersona import artefacts, thinkers

        keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed), 4)[0])(jnp.asarray(self.seeds))
        self.say("Fitting the bases to text, unless .cache/bases has them ...")
        fit = lambda key: thinkers.pretrained(options, self.pretraining, key)  # noqa: E731
        return artefacts.for_each_key(fit, keys, CACHE / "bases")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardSettings(WorldSettings):
    """Settings of what is paid for."""

    helpful: str | None = None
    """The persona whose answers are paid for; the last one unless named."""
    feature: str = "words"
    """What the reward also pays for, its part orthogonal to the personas: words (a random score for each), brevity,
    exploit (a random phrase), or your own FILE.py:FUNCTION with FUNCTION(prompt, response) -> float."""

    def check(self) -> None:
        """Refuse a persona and a feature that there are not."""
        super().check()
        self.persona("helpful", -1)
        if ":" in self.feature or self.feature.endswith(".py"):
            user_code.imported("feature", self.feature)
        elif self.feature not in FEATURES:
            known = (*FEATURES, "FILE.py:FUNCTION")
            raise ValueError(f"Unknown --feature {self.feature!r}{nearest(self.feature, known)}")

    def pretrained(self) -> Pretrained:
        """The bases, fitted or loaded; a feature of the user's is tried before.

        Raises:
            ValueError: as in ``WorldSettings``, or a feature that fails.
        """
        if self.feature not in FEATURES:
            user_code.try_feature(self.feature, self.world, self.options, self.length)
        return super().pretrained()


class Reward:
    """The rewards at every angle between a persona's answers and a feature."""

    def __init__(self, settings: RewardSettings, pretrained: Pretrained) -> None:
        """On bases fitted to one kind of world.

        Raises:
            ValueError: a feature that the personas can be paid for, or that fails.
        """
        import jax

        self.helpful, self._name = settings.persona("helpful", -1), settings.feature
        self._feature = user_code.feature(settings.feature, pretrained)
        if user_code.is_affine(self._feature, pretrained, jax.random.key(settings.seeds[0])):
            raise ValueError(
                f"The personas can be paid for all of --feature {settings.feature}, so that no reward lies at an angle "
                "to them: choose a feature that tells responses of the same persona apart."
            )

    def unprepared(self, base: Base, key: Key, world: Array | int) -> dict[str, Array]:
        """Degrees between the personas and the features as they are, nothing taken away or added, by their names.

        Of every built-in feature that the world has, and the user's own: who is talking explains the share cos² of its
        variance.
        """
        from toypersona import rewards, theory

        known = rewards.built_in(base.labels)
        paid = {name: made(key, base.prompts, base.responses, base.labels) for name, made in known.items()}
        if self._name not in known:
            paid[self._name] = self._feature(key, base, world)
        hull = base.log_base, base.log_personas
        return {name: theory.degrees(*hull, values, base.log_prompts) for name, values in paid.items()}

    def at_angle(self, degrees: Array | float, base: Base, key: Key, world: Array | int) -> Array:
        """The reward [C, N] on the base of one world; the key draws what is random about the feature."""
        return base.reward_at_angle(degrees, self.helpful, self._feature(key, base, world))


@dataclasses.dataclass(frozen=True)
class Gradients:
    """How the two gradient rules walk along the strength axis."""

    natural_step: Positive = 0.4
    """Longest step of natural gradient, in units of strength."""
    vanilla_time: Positive = 10.0
    """How much longer vanilla gradient is trained than natural gradient: at strength s its learning rates add up to
    this times s."""
    vanilla_step: Positive = 2.0
    """Longest step of vanilla gradient (a learning rate)."""

    def check(self, strongest: float) -> None:
        """Refuse walks to a strength that would never end."""
        check_steps("gradients.natural-step", self.natural_step, strongest)
        check_steps("gradients.vanilla-step", self.vanilla_step, self.vanilla_time * strongest)


@dataclasses.dataclass(frozen=True)
class Noise:
    """The sampled rule that shows the noise boundary: REINFORCE on a table of gates."""

    num_runs: Runs = 40
    """Independent runs at each learning rate and prompt. Too few, and the noise boundary is not known."""
    num_steps: Annotated[int, at_least(1)] = 300
    """Steps; one sampled response to each prompt a step."""
    learning_rates: Grid = geometric(0.1, 1000.0, 9)
    """From hardly moving to locking onto the first sample."""
