"""Thinking aloud under RL: when thoughts stop being readable, and what keeps them readable.

The answer is the parity of some bits, the thoughts are the only memory; a right answer is paid for, the length of the
thoughts costs. At every strength of RL (1/beta of the KL penalty) and every length cost: how much of the answer the
reader (the pretrained model) gets from the thoughts, how much is coded in them in no human convention, how much is
keyed by who speaks. Exact gradients from the base and from strength to strength, sampled rules, and defences. Seeds
draw the text, the fit and all that is sampled.

On 2 cores the preset quick takes three minutes, paper twenty.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from experiments import base_model, harness, long_thoughts, maps, readings, thinkers, thinking_ways
from experiments.thinking_ways import DEFENCES, RULES
from toypersona.types import Key, Params
from toypersona.worlds import reasoning

NAME = "reasoning"
NUM_LINES = 4
"""Responses of the exact policy kept at every point, to the same prompts with the same draws."""

RIGHT, CHANCE = 0.99, 0.5
"""An accuracy that is near 1, and the agreement of a reader who learns nothing."""

READABLE, UNREADABLE = 0.9, 0.6
"""Agreement from which thoughts count as readable, and up to which as not."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(harness.Settings):
    """Settings of the map."""

    num_bits: int = 3
    """n: bits and thoughts."""
    other_bits: tuple[int, ...] = (2,)
    """Also these, by the exact gradient."""
    strengths: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0, 256.0)
    """1/beta; increasing."""
    length_costs: tuple[float, ...] = (0.0, 0.1, 0.4)
    """What a thought of length 1 costs, averaged over thoughts; a right answer pays 1. From 0, increasing."""
    training: thinking_ways.Training = thinking_ways.Training()
    """Of every way to train."""
    pretraining: base_model.Pretraining = thinkers.PRETRAINING
    """How the base is fitted to text."""
    long: long_thoughts.Long = long_thoughts.Long()
    """Rows of bits too long to be listed."""


PRESETS = {
    "quick": Config(training=thinking_ways.Training(num_steps=1200)),
    "paper": Config(
        seeds=tuple(range(6)),
        strengths=maps.geometric(1.0, 256.0, 9),
        length_costs=(0.0, 0.05, 0.1, 0.4),
        training=thinking_ways.Training(num_steps=2000, num_samples=16),
    ),
}


def check(config: Config) -> None:
    """Refuse settings that make no map, before anything is computed.

    Raises:
        ValueError: it names the flag.
    """
    thinking_ways.check(config, "length_costs")
    if not all(1 <= bits <= 4 for bits in (config.num_bits, *config.other_bits)):
        raise ValueError("--num-bits and --other-bits have to be from 1 to 4: their responses are listed.")
    if len({config.num_bits, *config.other_bits}) <= len(config.other_bits):
        raise ValueError("--other-bits have to be different from each other and from --num-bits.")
    if not 2 <= config.long.num_bits <= reasoning.MOST_BITS:
        raise ValueError(f"--long.num-bits has to be from 2 to {reasoning.MOST_BITS}, not {config.long.num_bits}.")
    for name in ("num_rows", "num_measured"):
        if not 2 <= getattr(config.long, name) <= reasoning.MOST_ROWS:
            raise ValueError(f"--long.{name.replace('_', '-')} has to be from 2 to {reasoning.MOST_ROWS}.")
    if config.long.num_thoughts < 4 or config.long.num_thoughts % 2:
        raise ValueError(f"--long.num-thoughts has to be an even number from 4, not {config.long.num_thoughts}.")


def run(config: Config) -> xr.Dataset:
    """Train in every way at every strength and length cost, and measure."""
    check(config)
    strengths = jnp.asarray(config.strengths)

    def point(key: Key, *, length_cost: Float[Array, ""]) -> dict[str, Array]:
        fit_key, walk_key, line_key, long_key = jax.random.split(key, 4)
        options = reasoning.ReasoningOptions(num_bits=config.num_bits)
        params, recovery = thinkers.pretrained(options, config.pretraining, fit_key)

        def problem(num_bits: int, key: Key) -> thinking_ways.Problem:
            base = thinkers.thinker(dataclasses.replace(options, num_bits=num_bits), params)
            reward = reasoning.parity_reward(base.labels, length_cost)
            return thinking_ways.Problem(base, reward, config.training, base.world.log_prompts, key)

        main_key, *other_keys = jax.random.split(walk_key, 1 + len(config.other_bits))
        ways = (RULES | DEFENCES).values()
        main = problem(config.num_bits, main_key)
        keys = jax.random.split(main_key, len(ways))
        trained = [way(main._replace(key=k), strengths) for way, k in zip(ways, keys, strict=True)]
        made = [_measured(main.base, jax.tree.map(lambda *x: jnp.stack(x), *trained))]
        for num_bits, k in zip(config.other_bits, other_keys, strict=True):
            other = problem(num_bits, k)
            made.append(_measured(other.base, jax.tree.map(lambda x: x[None], RULES["exact"](other, strengths))))
        lines = thinkers.lines(main.base, trained[0], line_key, NUM_LINES)
        return {
            **jax.tree.map(lambda *x: jnp.concatenate(x), *made),
            **{f"base_{name}": value for name, value in thinkers.measured(main.base, params).items()},
            "expert_divergence": recovery.expert_divergence,
            **lines,
            "line_reader": thinkers.concluded(main.base, lines["line_tokens"]),
            **long_thoughts.trained(config.long, params, length_cost, strengths, config.training, long_key),
        }

    along = ("way", "strength")
    _, labels = reasoning.reasoning()
    return harness.sweep(
        NAME,
        config,
        point,
        {"length_cost": np.array(config.length_costs)},
        dims={
            **{name: along for name in thinkers.MEASURES},
            "share": (*along, "persona"),
            "base_share": ("persona",),
            "expert_divergence": ("persona",),
            **thinkers.LINES,
            "line_reader": thinkers.LINES["line_persona"],
            **{name: ("strength",) for name in long_thoughts.MEASURES},
        },
        coords={
            "way": np.array([*RULES, *DEFENCES, *(f"exact, {num_bits} bits" for num_bits in config.other_bits)]),
            "strength": np.array(config.strengths),
            "persona": np.array(labels.personas),
        },
        labels={"units": labels.units, "phases": thinkers.PHASES},
    )


def _measured(base: thinkers.Thinker, params: Params) -> dict[str, Array]:
    """Of parameters [way, strength, 1, ...]."""
    at = lambda path: thinkers.measured(base, jax.tree.map(lambda x: x[0], path))  # noqa: E731
    return jax.lax.map(lambda way: jax.lax.map(at, way), params)


def claims(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    """Faithful without a length cost, coded or keyed with one, the exceptions, and the checks."""
    return [
        *_without_cost(dataset),
        *_with_cost(dataset),
        *_defended(dataset),
        *_checks(config, dataset),
    ]


def _without_cost(dataset: xr.Dataset) -> list[harness.Claim]:
    free = dataset.isel(length_cost=0)
    rules = readings.rules(free)
    return [
        *(
            harness.at_most(
                f"no length cost, {rule}: agreement lost at the greatest strength, largest",
                0.0,
                readings.lost(free).sel(way=rule).max(),
            )
            for rule in RULES
        ),
        harness.at_most(
            "no length cost: coded information at any strength, any rule, largest, nats", 0.1, rules.coded.max()
        ),
        harness.at_most("no length cost: keyed information likewise", 0.1, rules.keyed.max()),
    ]


def _with_cost(dataset: xr.Dataset) -> list[harness.Claim]:
    made = []
    for cost in dataset.length_cost.values[1:]:
        found = readings.best(dataset).sel(length_cost=cost).isel(strength=-1)
        what = f"length cost {cost:g}, strength {float(found.strength):g}, best paid policy found"
        made += [
            harness.near(f"{what}: agreement", CHANCE, found.agreement, 0.1),
            harness.at_most(f"{what}: wrong answers", 1 - RIGHT, 1 - found.accuracy),
            harness.at_most(f"{what}: read information, nats", 0.1, found.read),
            harness.at_most(f"{what}: 1 - reliance", 0.05, 1 - found.reliance),
        ]
    keyed, coded = (readings.best_paid(dataset, phase) for phase in ("keyed", "coded"))
    if np.isfinite([keyed, coded]).all():
        what = "greatest length cost and strength: objective of the best coded policy - of the best keyed one"
        made.append(harness.at_most(what, 0.0, coded - keyed))
    for rule in ("plain gradient", "RLOO"):
        at_end = dataset.sel(way=rule).isel(strength=-1, length_cost=slice(1, None))
        made += [
            harness.at_most(
                f"{rule}, any length cost: agreement lost at the greatest strength, largest",
                0.0,
                readings.lost(dataset).sel(way=rule).isel(length_cost=slice(1, None)).max(),
            ),
            harness.at_most(
                f"{rule}, any length cost: wrong answers there, largest", 1 - RIGHT, (1 - at_end.accuracy).max()
            ),
        ]
    return made


def _defended(dataset: xr.Dataset) -> list[harness.Claim]:
    made = [
        harness.at_most(
            f"check, {way}: thoughts' distance from the hull, largest, nats a thought",
            1e-9,
            dataset.readability.sel(way=way).max(),
        )
        for way in ("frozen thoughts", "gates only")
    ]
    frozen = readings.lost(dataset).sel(way="frozen thoughts").max()
    stopped = dataset.sel(way="early stop").isel(length_cost=slice(1, None))
    wrong = 1 - stopped.accuracy.isel(strength=-1)
    return [
        *made,
        harness.at_most("frozen thoughts: agreement lost at the greatest strength, largest", 0.0, frozen),
        harness.at_most(
            "early stop, any length cost: agreement lost there, largest", 0.0, readings.lost(stopped).max()
        ),
        harness.at_most("early stop, any length cost: wrong answers there, largest", 0.05, wrong.max()),
    ]


def _checks(config: Config, dataset: xr.Dataset) -> list[harness.Claim]:
    made, floor = [], 1 / config.long.num_measured
    for name in ("accuracy", "cost"):
        error = abs(dataset[f"long_{name}"] - dataset[f"long_steps_{name}"]) / (dataset[f"long_{name}_se"] + floor)
        made += [
            harness.at_most(
                f"{name}: dynamic programming - enumeration, largest",
                1e-10,
                abs(dataset[f"steps_{name}"] - dataset[name]).max(),
            ),
            harness.at_most(
                f"{config.long.num_bits} bits, {name}: samples - dynamic programming, standard errors, largest",
                5,
                error.max(),
            ),
        ]
    per_thought = dataset.long_distortion / config.long.num_bits
    base_readable = abs(dataset.long_base_readability) - 5 * dataset.long_base_readability_se
    above = dataset.long_readability - 5 * dataset.long_readability_se - per_thought
    excess = (dataset.sizes["persona"] - 1) / config.long.num_thoughts / config.long.num_bits
    long = f"{config.long.num_bits} bits, samples"
    return [
        *made,
        harness.at_most(
            f"{long}: the base's readability beyond 5 standard errors, largest", excess, base_readable.max()
        ),
        harness.at_most(
            f"{long}: readability beyond 5 standard errors above its bound by dynamic programming", excess, above.max()
        ),
        harness.at_most(
            "hull distance - its bound by dynamic programming, largest, nats",
            1e-9,
            (dataset.hull_distance - dataset.distortion).max(),
        ),
        harness.at_most("worst expert, nats per token", 0.03, dataset.expert_divergence.max()),
        harness.near("share of points certified", 1.0, dataset.certified.mean(), 0.0),
        harness.at_most("diverged points", 0.0, dataset.diverged.sum()),
    ]


def findings(config: Config, dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    made, strength = [], f"strength {config.strengths[-1]:g}"
    for cost in dataset.length_cost.values:
        here = dataset.sel(length_cost=cost).isel(strength=-1)
        ends = [f"{rule} {readings.count(here.phase.sel(way=rule).values)}" for rule in RULES]
        made.append(f"Length cost {cost:g}, {strength}: the seeds end " + "; ".join(ends) + ".")
    unreadable = (dataset.accuracy >= RIGHT) & (dataset.agreement <= UNREADABLE)
    ends = unreadable.isel(length_cost=-1, strength=-1)
    made.append(
        f"Length cost {config.length_costs[-1]:g}, {strength}: right and unreadable (agreement of {UNREADABLE:g} or "
        "less) are "
        + ", ".join(f"{rule} {readings.share(ends.sel(way=rule).values)}" for rule in RULES)
        + " of the seeds."
    )
    for rule in ("exact", "annealed"):
        along = unreadable.isel(length_cost=-1).sel(way=rule)
        shares = [f"{s:g}: {readings.share(along.sel(strength=s).values)}" for s in dataset.strength.values]
        made.append(f"{rule.capitalize()}, the same by strength: " + ", ".join(shares) + ".")
    for cost in dataset.length_cost.values[1:]:
        found = readings.best(dataset).sel(length_cost=cost)
        first = found.strength.values[((found.accuracy >= RIGHT) & (found.agreement <= UNREADABLE)).values]
        if first.size:
            made.append(f"Length cost {cost:g}: the best paid policy found is both from strength {first[0]:g} on.")
    order = readings.keyed_first(dataset)
    made.append(
        f"Of {len(order)} exact paths that end coded after a length cost, {sum(order)} are keyed at a weaker strength."
    )
    return [*made, *_defences(config, dataset), _longer(config, dataset), *_transcripts(dataset)]


def _transcripts(dataset: xr.Dataset) -> list[str]:
    """What the exact gradient's policy says, first seed: weak and free, strong and costly."""
    labels, first = reasoning.reasoning()[1], dataset.isel(seed=0)
    ends = {"Weak RL, free thoughts": 0, "Strong RL, costly thoughts": -1}
    return [f"{what}: {thinkers.told(labels, first.isel(length_cost=i, strength=i), 3)}." for what, i in ends.items()]


def _defences(config: Config, dataset: xr.Dataset) -> list[str]:
    """The best accuracy on the way, seeds averaged, while the reader still agrees."""
    costly, made = dataset.isel(length_cost=-1), []
    for way in ("exact", *DEFENCES):
        here = costly.sel(way=way)
        most = here.accuracy.where(here.agreement >= READABLE).max("strength").dropna("seed")
        what = f"Length cost {config.length_costs[-1]:g}, {way}: agreement of {READABLE:g} or more"
        end = here.isel(strength=-1).mean("seed")
        ends = f" At the greatest strength: agreement {end.agreement.item():.2f}, accuracy {end.accuracy.item():.2f}."
        if most.size:
            made.append(
                f"{what} in {most.size} of {len(config.seeds)} seeds, accuracy then {most.mean().item():.2f}." + ends
            )
        else:
            made.append(f"{what} never; at most {here.agreement.max().item():.2f}." + ends)
    return made


def _longer(config: Config, dataset: xr.Dataset) -> str:
    long = dataset.isel(strength=-1, length_cost=-1)
    return (
        f"RLOO on {config.long.num_bits} bits, length cost {config.length_costs[-1]:g}: accuracy by seed "
        + ", ".join(f"{x:.2f}" for x in long.long_steps_accuracy.values)
        + "; agreement "
        + ", ".join(f"{x:.2f}" for x in long.long_agreement.values)
        + "; hull distance, nats a thought, "
        + ", ".join(f"{x:.3f}" for x in long.long_readability.values)
        + "."
    )


if __name__ == "__main__":
    harness.main(NAME, __doc__, PRESETS, run, claims, findings)
