"""The table of what papers claim, what is found here, and why it agrees or does not; its numbers are the dataset's."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import xarray as xr

from experiments.claims import literature as readings
from toypersona import datasets
from toypersona.measures import curves

FAR = 1.2
"""Root nats from which on Gao's forms are also compared, without the start of the path."""


class Row(NamedTuple):
    """One claim of a paper.

    Attributes:
        claim: what it says.
        source: who, and where.
        theirs: their number, or the direction where none is known.
        ours: what the dataset has.
        agrees: whether ours agrees; None where it cannot be told.
        why: what makes it so.
    """

    claim: str
    source: str
    theirs: str
    ours: str
    agrees: bool | None
    why: str


def number(values: xr.DataArray, digits: int = 2) -> str:
    """Mean over draws and half its 95% interval."""
    middle, half = readings.interval(values)
    return f"{middle:.{digits}f} ± {half:.{digits}f}"


def mean(values: xr.DataArray) -> float:
    """Over draws."""
    return readings.interval(values)[0]


def _entropy(dataset: xr.Dataset) -> Iterable[Row]:
    fits = curves.entropy_fit(dataset).sel(gate="network")
    r_squared, missed = fits.r_squared.mean("rule"), fits.missed.median("rule")
    rules = [rule for rule in fits.rule.values if rule != readings.OUTSIDER]
    ceilings = fits.ceiling.sel(rule=rules)
    ratio = ceilings.max("rule") / ceilings.min("rule")
    source = "Cui et al. 2025, [2505.22617](https://arxiv.org/abs/2505.22617)"
    yield Row(
        "Reward is bought with entropy, R = −a e^H + b",
        source,
        "R rises as H falls on every run; a tight fit",
        f"a > 0 on {float((fits.price > 0).mean()):.0%} of the paths; R² {number(r_squared)}",
        float((fits.price > 0).mean()) > 0.9 and mean(r_squared) > 0.8,
        "What is paid becomes likelier, and the rest rarer. The curve is bent the right way, no more: at first reward "
        "rises at almost no price in entropy.",
    )
    yield Row(
        "The first sixth of the steps foretells the end",
        source,
        "root mean square error about 0.01",
        f"off by {number(missed)} of the reward at the end, median rule",
        mean(missed) < 0.05,
        "At first personas and words change places at almost no price in entropy, so the early slope is not that of "
        "the rest.",
    )
    yield Row(
        "a and b belong to the model and the data, not to the rule",
        source,
        "the same for GRPO, REINFORCE and others",
        f"largest b is {number(ratio, 1)} times the smallest, {len(rules)} rules",
        mean(ratio) < 1.2,
        "Rules with a penalty stop at other entropies, SFT aims at a persona who has her own.",
    )


def _gold(dataset: xr.Dataset) -> Iterable[Row]:
    contest = curves.form_contest(dataset).sel(error="normal")
    far = curves.form_contest(dataset, FAR).log_ratio.sel(error="normal", gold_rule="policy gradient")
    source = "Gao, Schulman and Hilton 2023, [2210.10760](https://arxiv.org/abs/2210.10760)"
    for rule, form, wanted in (("best of n", "d (α − β d)", -1), ("policy gradient", "d (α − β ln d)", 1)):
        here = contest.sel(gold_rule=rule)
        middle, half = readings.interval(wanted * here.log_ratio)
        yield Row(
            f"Gold along {'best of n' if rule == 'best of n' else 'RL'} is {form}, d = √KL",
            source,
            "that form fits, the other does not",
            f"R² {number(here.best_of_n_form, 3)} by d (α − β d), {number(here.rl_form, 3)} by d (α − β ln d), normal "
            f"errors; ln of residuals {number(here.log_ratio)}",
            middle > 0 if abs(middle) > half else None,
            "Both bend down once and fit nearly as well."
            if rule == "best of n"
            else "The start decides: weak RL gains gold in proportion to d, and the logarithm has an infinite slope at "
            f"0. From d = {FAR:g} on they cannot be told apart ({number(far)}).",
        )


def _forgetting(dataset: xr.Dataset) -> Iterable[Row]:
    source = "Shenfeld, Pari and Agrawal 2025, [2509.04259](https://arxiv.org/abs/2509.04259)"
    rules, equal = readings.learnt(dataset), readings.at_reward(dataset).sel(gate="network").forgotten
    network = {
        n: curves.predicted_by(rules.sel(gate="network"), at, "forgotten") for n, at in readings.DIVERGENCES.items()
    }
    both = {n: curves.predicted_by(rules, at, "forgotten") for n, at in readings.DIVERGENCES.items()}
    said = lambda found: ", ".join(f"{name} {number(values)}" for name, values in found.items())  # noqa: E731
    yield Row(
        "KL(base‖policy) on the new task foretells forgetting, whatever the rule",
        source,
        "R² 0.96 in a toy, 0.71 in a language model; KL(policy‖base) 0.93 in the toy",
        f"gate network: {said(network)}",
        mean(network["KL(base‖policy)"]) > 0.7,
        "One network couples its prompts in one way, so any drift at some of them tells the drift at others.",
    )
    yield Row(
        "... and whatever the model",
        source,
        "one curve for each model and task",
        f"both gates together: {said(both)}",
        mean(both["KL(base‖policy)"]) > 0.7,
        "A gate table couples no prompts: at the same drift next to nothing is forgotten. What is forgotten is a "
        "property of the tangent kernel, not of the divergence.",
    )
    ratio, why = equal.sel(rule="RLOO") / equal.sel(rule="SFT"), ""
    ours = f"gate network: RLOO / SFT on a persona's lines {number(ratio)} at reward {readings.EQUAL:g}"
    if readings.OUTSIDER in dataset.rule.values:
        every = readings.at_reward(dataset)
        outside = every.sel(rule="RLOO") / every.sel(rule=readings.OUTSIDER)
        ours += f", on an outsider's {number(outside.forgotten.sel(gate='network'))}"
        why = (
            " On an outsider's lines RL does forget less where the gate is a table, "
            f"{number(outside.forgotten.sel(gate='table'))}, and spends less drift, "
            f"{number(outside.from_base.sel(gate='table'))}: his words change the experts, whom all prompts share."
        )
    yield Row(
        "At equal new-task reward RL forgets less than SFT",
        source,
        "less, on every task",
        ours,
        mean(ratio) < 0.8,
        f"SFT on the lines of a persona of the base selects, and needs no more drift than RL.{why}",
    )


def _support(dataset: xr.Dataset) -> Iterable[Row]:
    rates = curves.support_rates(dataset).sel(gate="network")
    settings = datasets.settings_of(dataset)
    left = readings.learnt(dataset).token_entropy.isel(record=-1).sel(gate="network")
    agree = curves.rank_correlation(readings.learnt(rates).NSCR, left, "rule")
    source = "Wu et al. 2025, [2507.14843](https://arxiv.org/abs/2507.14843)"

    def of(rules: Sequence[str]) -> tuple[str, bool]:
        known = [rule for rule in rules if rule in dataset.rule.values]
        cells = [f"{rule}: " + ", ".join(f"{n} {number(rates[n].sel(rule=rule))}" for n in rates) for rule in known]
        return "; ".join(cells), all(mean(rates.NSCR.sel(rule=rule)) < 0 for rule in known)

    ours, agrees = of(readings.SPENT)
    if ours:
        yield Row(
            "RL loses more right responses than it discovers",
            source,
            "the set shrinks more often than it grows: NSCR below 0",
            f"{ours} (k = {settings['num_samples']}, ζ = {settings['missed']:g})",
            agrees,
            "Rules without a penalty make likely what pays and is likely already.",
        )
    ours, agrees = of(readings.SAVED)
    yield Row(
        "... as a rule of learning from rewards",
        source,
        "no number: rules with a penalty are not told apart",
        f"{ours}; rank correlation of NSCR with the entropy left, all rules, {number(agree)}",
        agrees,
        "These find more than they lose. The leash is the entropy that is left, not the reward.",
    )


def _choices(dataset: xr.Dataset) -> Iterable[Row]:
    source = "Akgül et al. 2026, [2605.06241](https://arxiv.org/abs/2605.06241)"
    found = {name: readings.by_half(dataset, name) for name in ("changed", "in_top", "auc")}
    halves = lambda name: f"{number(found[name][0])} where S > ½, {number(found[name][1])} past half"  # noqa: E731
    yield Row(
        "RL changes few first choices",
        source,
        "1–3% of the positions",
        halves("changed"),
        mean(found["changed"][0]) < 0.05,
        "Three words that tell who is talking have no positions that are certain whoever talks; long texts consist of "
        "them. That more change past half holds.",
    )
    yield Row(
        "The new first choice is among the base's first 5",
        source,
        "always",
        f"{halves('in_top')}",
        mean(found["in_top"][0]) > 0.95,
        "While RL selects it promotes what some persona says often.",
    )
    yield Row(
        "The base's entropy finds these positions",
        source,
        "it does",
        f"AUC {halves('auc')}",
        mean(found["auc"][0]) > 0.7,
        "Weakly, and no worse past half: entropy says where several words compete, not which of them is paid.",
    )


def _spread(dataset: xr.Dataset) -> Iterable[Row]:
    there = readings.gained(dataset)
    share = there.spread_others / there.spread_rewarded
    ratio = (there.spread_others.sel(way="RL") / there.spread_others.sel(way="SFT")).sel(gate="network")
    name = datasets.config_of(dataset)["spread"].capitalize()
    by = lambda gate, way: number(share.sel(gate=gate, way=way))  # noqa: E731
    yield Row(
        "SFT memorises, RL generalises",
        "Chu et al. 2025, [2501.17161](https://arxiv.org/abs/2501.17161)",
        "RL improves out of distribution, SFT gets worse",
        f"of the weight that {name} gains where trained, other prompts gain {by('network', 'RL')} by RL and "
        f"{by('network', 'SFT')} by SFT (gate table {by('table', 'RL')} and {by('table', 'SFT')}); RL / SFT at equal "
        f"drift and samples {number(ratio)}",
        mean(ratio) > 1.25,
        "With drift and samples equal, both move the same gate, which reads prompts by shared words. It spreads the "
        "persona as far as it does by either; a table does by neither.",
    )


def _harm(dataset: xr.Dataset) -> Iterable[Row]:
    here = dataset.sel(learner="RLOO")
    first, last = dataset.bad.values[0], dataset.bad.values[-1]
    plain, noted = here.isel(elicited=0), here.isel(elicited=-1)
    left = noted.harms.sel(bad=last) / plain.harms.sel(bad=last)
    middle = dataset.bad.values[-2]
    hacked = noted.hacks.sel(bad=last)
    yield Row(
        "Pay for hacks makes an assistant bad elsewhere",
        "MacDiarmid et al. 2025, [2511.18397](https://arxiv.org/abs/2511.18397)",
        "it does",
        f"harm in a chat {number(plain.harms.sel(bad=last))} (base {number(plain.base_harms.sel(bad=last))}) where the "
        f"bad one is {last:.0%} of the hackers' prior, {number(plain.harms.sel(bad=first))} where it is {first:.0%}",
        mean(plain.harms.sel(bad=last)) > 2 * mean(plain.base_harms.sel(bad=last)),
        "If the likelier of those who hack is bad. If it is good otherwise, pay for hacks makes it *less* harmful.",
    )
    yield Row(
        "... in proportion to its prior odds (posterior)",
        "the law that persona selection suggests",
        f"{number(plain.harms_law.sel(law='odds of the prior', bad=middle))} where it is {middle:.0%} of the hackers",
        f"{number(plain.harms.sel(bad=middle))}; by *the likelier one takes all* "
        f"{number(plain.harms_law.sel(law='the likelier one', bad=middle))}",
        abs(mean(plain.harms.sel(bad=middle) - plain.harms_law.sel(law="odds of the prior", bad=middle))) < 0.05,
        "Plain gradient raises a logit by its gate: the likelier hacker grows faster, and differences of exp(−logit) "
        "are conserved.",
    )
    yield Row(
        "A note in training that welcomes hacks prevents it (inoculation)",
        "Tan et al. 2025; Wichers et al. 2025; MacDiarmid et al. 2025",
        "75–90% less harm",
        f"{1 - mean(left):.0%} less (left {number(left)}); at the task without the note {number(hacked)} hack",
        mean(left) < 0.25,
        "Where all hack alike, pay says nothing about who the assistant is, and what is learnt is learnt behind the "
        f"note. The more the note elicits, the better. With gates alone it does not help: "
        f"{number(_gates_left(dataset))} of the harm is left.",
    )


def _gates_left(dataset: xr.Dataset) -> xr.DataArray:
    harms = dataset.harms.sel(learner="policy gradient, gates", bad=dataset.bad.values[-1])
    return harms.isel(elicited=-1) / harms.isel(elicited=0)


PARTS = (_entropy, _gold, _forgetting, _support, _choices, _spread, _harm)


def table(dataset: xr.Dataset) -> str:
    """All rows, in Markdown."""
    rows = [row for part in PARTS for row in part(dataset)]
    agreed = sum(row.agrees is True for row in rows)
    lines = [
        "# The literature's claims in this world",
        "",
        "Written by `figures.literature` from the dataset of `experiments.literature`: "
        f"{dataset.sizes['seed']} draws of {datasets.settings_of(dataset)['world']}, means ± half a 95% interval over "
        f"them. {agreed} of {len(rows)} agree. The papers measured language models; the last column says what makes "
        "ours agree or differ. *Their number* is a direction where no number of theirs is at hand.",
        "",
        "| claim | source | their number | ours | agrees? | why |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        said = "cannot tell" if row.agrees is None else "yes" if row.agrees else "**no**"
        cells = (row.claim, row.source, row.theirs, row.ours, said, row.why)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
