"""What is read from the experiment on thoughts: ends, objectives, shares of seeds, and what is thought and answered."""

import numpy as np
import xarray as xr

from experiments.shared import claim
from experiments.shared.claim import Claim
from toypersona import datasets, transcripts

RIGHT = 0.99
"""An accuracy that is near 1."""

READABLE, UNREADABLE = 0.9, 0.6
"""Agreement from which thoughts count as readable, and up to which as not."""

UNTRAINED = 0.6
"""An accuracy up to which a run has learnt nothing: that its reader does not agree says nothing of its thoughts."""


def rules(dataset: xr.Dataset) -> xr.Dataset:
    """Without defences and other numbers of bits."""
    return dataset.sel(rule=datasets.config_of(dataset)["rules"])


def lost(dataset: xr.Dataset) -> xr.DataArray:
    """Agreement of the base less that at the greatest strength."""
    return dataset.base_agreement - dataset.agreement.isel(strength=-1)


def objective(dataset: xr.Dataset) -> xr.DataArray:
    """What RL climbs: right answers less the length of thoughts, and KL(policy‖base) / strength."""
    return dataset.accuracy - dataset.length_cost * dataset.cost - dataset.total / dataset.strength


def unreadable(dataset: xr.Dataset) -> xr.DataArray:
    """Right answers after thoughts from which the reader does not learn them."""
    return (dataset.accuracy >= RIGHT) & (dataset.agreement <= UNREADABLE)


def trained(dataset: xr.Dataset) -> xr.DataArray:
    """Of the long rows of bits: runs that have learnt something, at every strength."""
    return dataset.long_steps_accuracy > UNTRAINED


def share(seeds: xr.DataArray) -> str:
    """A share of seeds, and its 95% interval (Wilson 1927)."""
    low, high = claim.wilson(seeds.sum(), seeds.size)
    return f"{int(seeds.sum())}/{seeds.size} ({low:.2f}–{high:.2f})"


def best(dataset: xr.Dataset) -> xr.Dataset:
    """Of all rules and seeds the policy that is paid best, at every length cost and strength."""
    runs = rules(dataset).stack(run=("rule", "seed"))
    return runs.isel(run=objective(runs).argmax("run"))


def phases(dataset: xr.Dataset) -> list[str]:
    """Names of the phases, by their number."""
    return datasets.config_of(dataset)["phases"]


def keyed_first(dataset: xr.Dataset) -> list[bool]:
    """Of each exact path with a length cost that ends coded, whether it was keyed before."""
    along = dataset.phase.sel(rule="exact").isel(length_cost=slice(1, None)).transpose(..., "strength").values
    keyed, coded = (phases(dataset).index(name) for name in ("keyed", "coded"))
    return [bool((path == keyed).any()) for path in along.reshape(-1, along.shape[-1]) if path[-1] == coded]


def clearest(dataset: xr.Dataset, num_lines: int) -> dict[str, xr.Dataset]:
    """The clearest point of each phase that the exact gradient reaches, also by what the reader makes of the lines."""
    exact = dataset.sel(rule="exact", speaker="exact")
    sure = abs(2 * exact.line_reader.isel(line=slice(num_lines)) - 1).mean("line")
    clear = {
        "mixture": -dataset.strength + 0 * exact.read,
        "selected": exact.agreement + exact.accuracy + sure,
        "keyed": exact.keyed - sure,
        "coded": exact.coded - sure,
    }
    points = {}
    for phase, score in clear.items():
        here = score.where(exact.phase == phases(dataset).index(phase))
        if here.notnull().any():
            place = here.stack(place=here.dims).idxmax("place").item()
            points[phase] = exact.sel(dict(zip(here.dims, place, strict=True)))
    return points


def lines_at(point: xr.Dataset, num: int) -> str:
    """The first lines of one point: what is thought and answered, and what the reader makes of it."""
    units, lines = datasets.config_of(point)["units"], []
    for line in (point.isel(line=i) for i in range(num)):
        prompt, tokens = line.line_prompt.values, line.line_tokens.values
        *thoughts, answer = transcripts.spelt(units, tokens)
        odd = line.line_reader.item()
        sure, concluded = max((odd, "odd"), (1 - odd, "even"))
        lines.append(
            f"bits    {' '.join(transcripts.spelt(units, prompt)[:-1])}\n"
            f"thinks  {' '.join(thoughts)}\n"
            f"reader  {concluded}, {sure:.0%} sure\n"
            f"answer  {answer} {'✓' if answer == transcripts.right_answer(units, prompt) else '✗'}  "
            f"({point.persona.values[int(line.line_persona)]})"
        )
    return "\n\n".join(lines)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Faithful without a length cost, coded or keyed with one, the exceptions, and the checks."""
    return [
        *claim.grouped("Thoughts that cost nothing", _without_cost(dataset)),
        *claim.grouped("Thoughts whose length costs", _with_cost(dataset)),
        *claim.grouped("Defences", _defended(dataset)),
        *claim.grouped("Checks", _checks(dataset)),
    ]


def _without_cost(dataset: xr.Dataset) -> list[Claim]:
    free, what = rules(dataset.isel(length_cost=0)), "no length cost"
    moved = f"{what}, %s: agreement lost at the greatest strength, largest"
    return [
        *(claim.at_most("finding", moved % rule, 0.0, lost(free).sel(rule=rule).max()) for rule in free.rule.values),
        claim.at_most(
            "finding", f"{what}: coded information at any strength, any rule, largest, nats", 0.1, free.coded.max()
        ),
        claim.at_most("finding", f"{what}: keyed information likewise", 0.1, free.keyed.max()),
    ]


def _with_cost(dataset: xr.Dataset) -> list[Claim]:
    end = dataset.isel(strength=-1, length_cost=-1).sel(rule="annealed")
    what = f"length cost {end.length_cost.item():g}, strength {end.strength.item():g}, annealed, any seed"
    claims = [
        claim.at_most("finding", f"{what}: agreement, largest", UNREADABLE, end.agreement.max()),
        claim.at_most("finding", f"{what}: wrong answers, largest", 1 - RIGHT, (1 - end.accuracy).max()),
    ]
    costly = dataset.isel(length_cost=slice(1, None))
    for rule in ("plain gradient", "RLOO"):
        what, here = f"{rule}, any length cost", costly.sel(rule=rule)
        wrong = 1 - here.accuracy.isel(strength=-1)
        claims += [
            claim.at_most(
                "finding", f"{what}: agreement lost at the greatest strength, largest", 0.0, lost(here).max()
            ),
            claim.at_most("finding", f"{what}: wrong answers there, largest", 1 - RIGHT, wrong.max()),
        ]
    return claims


def _defended(dataset: xr.Dataset) -> list[Claim]:
    frozen, stopped = lost(dataset).sel(rule="frozen thoughts"), dataset.sel(rule="early stop")
    wrong = 1 - stopped.accuracy.isel(strength=-1, length_cost=slice(1, None))
    inside = "check, %s: thoughts' distance from the hull, largest, nats a thought"
    distances = {name: dataset.thought_hull_distance.sel(rule=name) for name in ("frozen thoughts", "gates only")}
    return [
        *(claim.at_most("theorem", inside % defence, 1e-9, values.max()) for defence, values in distances.items()),
        claim.at_most(
            "finding", "frozen thoughts: agreement lost at the greatest strength, largest", 0.0, frozen.max()
        ),
        claim.at_most("finding", "early stop: agreement lost there, largest", 0.0, lost(stopped).max()),
        claim.at_most("finding", "early stop, length costs: wrong answers there, largest", 0.05, wrong.max()),
    ]


def _checks(dataset: xr.Dataset) -> list[Claim]:
    claims, long = [], datasets.settings_of(dataset)["long"]
    bits = f"{long['num_bits']} bits"
    # The longest word costs 2.
    for name, possible in {"accuracy": (0, 1), "cost": (0, 2)}.items():
        listed = abs(dataset[f"steps_{name}"] - dataset[name])
        missed, error = (dataset[f"long_{name}"] - dataset[f"long_steps_{name}"]), dataset[f"long_{name}_se"]
        what = f"{bits}, {name}: samples - dynamic programming, standard errors, largest"
        claims += [
            claim.at_most("theorem", f"{name}: dynamic programming - enumeration, largest", 1e-10, listed.max()),
            claim.within_errors(what, missed, error + 1 / long["num_measured"], possible=possible),
        ]
    excess = (dataset.sizes["persona"] - 1) / long["num_thoughts"] / long["num_bits"]
    base_outside = abs(dataset.long_base_thought_hull_distance) - 5 * dataset.long_base_thought_hull_distance_se
    above = (
        dataset.long_thought_hull_distance
        - 5 * dataset.long_thought_hull_distance_se
        - dataset.long_distortion / long["num_bits"]
    )
    outside = dataset.hull_distance - dataset.distortion
    of_base = f"{bits}, samples: the base's hull distance of thoughts beyond 5 standard errors, largest"
    of_policy = (
        f"{bits}, samples: hull distance of thoughts beyond 5 standard errors above its bound by dynamic programming"
    )
    return [
        *claims,
        claim.at_most("theorem", of_base, excess, base_outside.max()),
        claim.at_most("theorem", of_policy, excess, above.max()),
        claim.at_most(
            "theorem", "hull distance - its bound by dynamic programming, largest, nats", 1e-9, outside.max()
        ),
        claim.at_most("finding", "worst expert, nats per token", 0.03, dataset.expert_divergence.max()),
    ]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    names = rules(dataset).rule.values
    greatest, strength = dataset.length_cost.values[-1], f"strength {dataset.strength.values[-1]:g}"
    lines = []
    for cost in dataset.length_cost.values:
        phase = dataset.phase.sel(length_cost=cost).isel(strength=-1)
        ends = [f"{rule} {_count(phases(dataset), phase.sel(rule=rule).values)}" for rule in names]
        lines.append(f"Length cost {cost:g}, {strength}: the seeds end " + "; ".join(ends) + ".")
    there = unreadable(dataset).isel(length_cost=-1)
    lines.append(
        f"Length cost {greatest:g}, {strength}: right and unreadable (agreement of {UNREADABLE:g} or less) are "
        + ", ".join(f"{rule} {share(there.sel(rule=rule).isel(strength=-1))}" for rule in names)
        + " of the seeds."
    )
    for rule in ("exact", "annealed"):
        shares = [f"{s:g}: {share(there.sel(rule=rule, strength=s))}" for s in dataset.strength.values]
        lines.append(f"{rule.capitalize()}, the same by strength: " + ", ".join(shares) + ".")
    for cost in dataset.length_cost.values[1:]:
        paid = best(dataset).sel(length_cost=cost)
        first = paid.strength.values[unreadable(paid).values]
        if first.size:
            lines.append(
                f"Length cost {cost:g}: the best paid run is both from strength {first[0]:g} on, with an agreement of "
                f"{paid.agreement.sel(strength=first[0]).item():.2f}."
            )
    order, costly = keyed_first(dataset), dataset.isel(length_cost=-1)
    return [
        *lines,
        f"Of {len(order)} exact paths that end coded after a length cost, {sum(order)} are keyed at a weaker strength.",
        *(_defence(costly.sel(rule=rule)) for rule in ("exact", *datasets.config_of(dataset)["defences"])),
        _stopped(dataset.isel(length_cost=0)),
        _longer(costly.isel(strength=-1)),
        *_transcripts(dataset.isel(seed=0)),
    ]


def _count(names: list[str], numbers: np.ndarray) -> str:
    """How many seeds are in each phase."""
    seeds = [names[int(number)] for number in numbers.reshape(-1)]
    return ", ".join(f"{name} {seeds.count(name)}" for name in names if name in seeds)


def _defence(here: xr.Dataset) -> str:
    """The best accuracy on the way, seeds averaged, while the reader still agrees."""
    most = here.accuracy.where(here.agreement >= READABLE).max("strength").dropna("seed")
    end = here.isel(strength=-1).mean("seed")
    reached = f"never; at most {here.agreement.max().item():.2f}"
    if most.size:
        reached = f"in {most.size} of {here.sizes['seed']} seeds, accuracy then {most.mean().item():.2f}"
    return (
        f"Length cost {here.length_cost.item():g}, {here.rule.item()}: agreement of {READABLE:g} or more {reached}. At "
        f"the greatest strength: agreement {end.agreement.item():.2f}, accuracy {end.accuracy.item():.2f}."
    )


def _stopped(free: xr.Dataset) -> str:
    end = free.sel(rule="early stop").isel(strength=-1)
    return (
        f"Early stop, no length cost: accuracy by seed {_list(end.accuracy, 2)}; base {_list(free.base_accuracy, 2)}."
    )


def _longer(end: xr.Dataset) -> str:
    """Runs that learnt nothing are counted, and kept apart from those whose thoughts could be unreadable."""
    learnt = trained(end)
    some = end.where(learnt, drop=True)
    told = f"{share(learnt)} of the seeds learn more than accuracy {UNTRAINED:g}"
    if some.sizes["seed"]:
        told += (
            f"; of these accuracy {_list(some.long_steps_accuracy, 2)}, agreement {_list(some.long_agreement, 2)}, "
            f"hull distance of the thoughts, nats a thought, {_list(some.long_thought_hull_distance, 3)}"
        )
    bits, cost = datasets.settings_of(end)["long"]["num_bits"], end.length_cost.item()
    return f"RLOO on {bits} bits, length cost {cost:g}: {told}."


def _list(values: xr.DataArray, digits: int) -> str:
    return ", ".join(f"{x:.{digits}f}" for x in values.values)


def _transcripts(seed: xr.Dataset) -> list[str]:
    """What the exact gradient's policy says: weak and free, strong and costly."""
    units, lines = datasets.config_of(seed)["units"], []
    for what, i in {"Weak RL, free thoughts": 0, "Strong RL, costly thoughts": -1}.items():
        here = seed.sel(speaker="exact").isel(length_cost=i, strength=i, line=slice(3))
        lines.append(f"{what}: {transcripts.thoughts(units, here.line_prompt, here.line_tokens)}.")
    return lines
