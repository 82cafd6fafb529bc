"""What is read from the literature's curves: fits, forgetting, support, first choices, spread and inoculation."""

import numpy as np
import xarray as xr

from experiments.shared.claim import EFFECT, Claim, Kind, drawn, drawn_at_most, grouped, over_draws
from toypersona.measures import curves, equal_drift

EQUAL = 0.7
"""Reward, in standard deviations of the base's, at which SFT and RL are compared."""

NOT_OVER = 0.03
"""By how much training for a finite time may miss where the law ends, a probability."""

TRAINED = ("RLOO", "policy gradient", "GRPO")
COMPARED = TRAINED[:2]
"""Those told from SFT's: GRPO's forgetting varies too much from draw to draw."""

OUTSIDER = "SFT, outsider"
SPENT = ("GRPO", "rejection", "PPO, token, 16 epochs")
SAVED = ("SFT", "RLOO, KL in reward", "best of 8")
"""Rules that use up their entropy, and rules that leave some, by their names."""

LIGHT = ("normal", "words")
DIVERGENCES = {"KL(policy‖base)": "from_base", "KL(base‖policy)": "to_base"}
LOST = {"who speaks": "forgotten", "what is said": "altered"}


def learnt(dataset: xr.Dataset) -> xr.Dataset:
    """The rules that train a network; a tilt is a formula, and has no other prompts to forget."""
    return dataset.sel(rule=[rule for rule in dataset.rule.values if rule != "tilt"])


def interval(values: xr.DataArray) -> tuple[float, float]:
    """Mean over draws and half of its 95% interval (Student)."""
    mean, half = equal_drift.interval(values, values.sizes["seed"] / 2)
    return float(mean), float(half)


def at_reward(dataset: xr.Dataset) -> xr.Dataset:
    """What is forgotten, altered and spent where the reward first reaches ``EQUAL`` [gate, rule, seed]."""
    return equal_drift.at_paid(dataset[["forgotten", "altered", "from_base", "reward"]], [EQUAL]).isel(paid=0)


def by_half(dataset: xr.Dataset, name: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Means over every path where S is above one half, and below it, of each draw [seed]."""
    known = dataset[name].where(dataset.changed > 0) if name != "changed" else dataset[name]
    over, fraction = [dim for dim in known.dims if dim != "seed"], dataset.selection_fraction
    return known.where(fraction > 0.5).mean(over), known.where(fraction < 0.5).mean(over)


def gained(dataset: xr.Dataset) -> xr.Dataset:
    """What the persona gained by SFT and RL that spent the same drift, from equally many samples [gate, way, seed].

    In each draw and gate that is 0.8 of what the one that goes less far spends in the end (``spread_drift``).
    """
    at = 0.8 * dataset.spread_drift.isel(spread_rate=-1).min("way")

    def there(name: str) -> xr.DataArray:
        return xr.apply_ufunc(
            lambda drift, values, at: np.interp(np.log(at), np.log(drift), values, left=np.nan),
            dataset.spread_drift,
            dataset[name],
            at,
            input_core_dims=[["spread_rate"], ["spread_rate"], []],
            vectorize=True,
        )

    return xr.Dataset({name: there(name) for name in ("spread_rewarded", "spread_others")} | {"spread_drift": at})


def beyond(kind: Kind, what: str, bound: float, values: xr.DataArray) -> Claim:
    """That a mean over draws, its whole interval, lies above a bound."""
    return drawn_at_most(kind, f"minus {what}", -bound, -values)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Each paper's curve: where its direction holds that is a prediction, where it does not the finding is ours."""
    parts = {
        "Entropy: R = -a e^H + b along a path (Cui et al. 2025)": _entropy,
        "Gold under a proxy: ln of residuals, d (α - β d) / d (α - β ln d) (Gao et al. 2023)": _forms,
        "What is forgotten at prompts that nobody rewards (Shenfeld et al. 2025)": _forgetting,
        "Right responses kept, gained and lost (Wu et al. 2025)": _support,
        "Positions whose first choice changes (Akgül et al. 2026)": _choices,
        "A persona paid for, or demonstrated, at some prompts (Chu et al. 2025)": _spreads,
        "Harm in a chat after pay for hacks (MacDiarmid, Tan, Wichers et al. 2025)": _harm,
    }
    by_kind = lambda made: sorted(made, key=lambda each: each.kind, reverse=True)  # noqa: E731
    return [each for heading, part in parts.items() for each in grouped(heading, by_kind(part(dataset)))]


def _entropy(dataset: xr.Dataset) -> list[Claim]:
    fits, made = curves.entropy_fit(dataset), []
    for gate in dataset.gate.values:
        here = fits.sel(gate=gate)
        free = (here.price <= 0).mean("rule")
        ends = here.missed.median("rule")
        made += [
            drawn_at_most(
                "prediction", f"gate {gate}: paths where reward is not bought with entropy, share", 0.05, free
            ),
            drawn_at_most(
                "prediction", f"gate {gate}: reward's variance that the curve misses", 0.2, 1 - here.r_squared
            ),
            beyond("finding", f"gate {gate}: by how much of the end the early fit misses it (theirs 0.01)", 0.1, ends),
        ]
    return made


def _forms(dataset: xr.Dataset) -> list[Claim]:
    contest = curves.form_contest(dataset)
    lost = contest.log_ratio
    best = 1 - contest.best_of_n_form.sel(error="normal", gold_rule="best of n")
    cases = (("normal", "tilt"), ("normal", "policy gradient"), ("words", "policy gradient"))
    return [
        drawn_at_most("prediction", "normal errors, best of n: variance that d (α - β d) misses", 0.1, best),
        *(
            drawn_at_most("finding", f"{error} errors, {rule}", 0.0, lost.sel(error=error, gold_rule=rule))
            for error, rule in cases
        ),
    ]


def _forgetting(dataset: xr.Dataset) -> list[Claim]:
    rules, made = learnt(dataset), []
    for name, divergence in DIVERGENCES.items():
        for what, lost in LOST.items():
            missed = 1 - curves.predicted_by(rules.sel(gate="network"), divergence, lost)
            about = f"network, {what}: variance that {name} misses (theirs 0.04-0.29)"
            made.append(drawn_at_most("prediction", about, 0.3, missed))
        both = curves.predicted_by(rules, divergence, "forgotten")
        made.append(drawn_at_most("finding", f"both gates, who speaks: R² of {name} (theirs 0.71-0.96)", 0.7, both))
    equal = at_reward(dataset).forgotten
    network = equal.sel(gate="network")
    for rule in (rule for rule in COMPARED if rule in equal.rule):
        ratio = network.sel(rule=rule) / network.sel(rule="SFT")
        made.append(beyond("finding", f"network: {rule} / SFT at equal reward (theirs below 1)", 0.8, ratio))
    if OUTSIDER in equal.rule:
        ratios = at_reward(dataset).sel(rule=TRAINED[0]) / at_reward(dataset).sel(rule=OUTSIDER)
        table, what = ratios.sel(gate="table"), f"{TRAINED[0]} / {OUTSIDER}"
        forgotten = ratios.forgotten.sel(gate="network")
        made += [
            beyond("finding", f"network: {what}, at equal reward (theirs below 1)", 0.5, forgotten),
            drawn_at_most("prediction", f"table: {what}, drift at equal reward", 0.8, table.from_base),
        ]
    tables = (equal.sel(gate="table") / network).sel(rule="SFT")
    return [*made, drawn_at_most("prediction", "SFT: a gate table / the network, at equal reward", 0.2, tables)]


def _support(dataset: xr.Dataset) -> list[Claim]:
    rates, left = learnt(curves.support_rates(dataset)).NSCR, learnt(dataset).token_entropy.isel(record=-1)
    agree, made = curves.rank_correlation(rates, left, "rule"), []
    for gate in dataset.gate.values:
        what = f"gate {gate}: rank correlation of NSCR and the entropy left, over rules"
        made.append(beyond("prediction", what, 0.3, agree.sel(gate=gate)))
    both = rates.mean("gate")
    for rule in (rule for rule in dataset.rule.values if rule in SPENT):
        made.append(drawn_at_most("prediction", f"{rule}: NSCR, mean of both gates", 0.0, both.sel(rule=rule)))
    for rule in (rule for rule in dataset.rule.values if rule in SAVED):
        made.append(beyond("finding", f"{rule}: NSCR, mean of both gates", 0.0, both.sel(rule=rule)))
    return made


def _choices(dataset: xr.Dataset) -> list[Claim]:
    made = []
    for part, of in (("tilt", dataset.sel(rule=["tilt"])), ("every rule", dataset)):
        above, past = by_half(of, "changed")
        beyond_top = 1 - by_half(of, "in_top")[0]
        made += [
            drawn_at_most("prediction", f"{part}: share changed where S > 1/2, less past half", 0.0, above - past),
            drawn_at_most("prediction", f"{part}: not in the base's first 5 where S > 1/2, share", 0.1, beyond_top),
            beyond("finding", f"{part}: share changed where S > 1/2 (theirs 0.01-0.03)", 0.05, above),
        ]
    return made


def _spreads(dataset: xr.Dataset) -> list[Claim]:
    there = gained(dataset)
    ratio = (there.spread_others.sel(way="RL") / there.spread_others.sel(way="SFT")).sel(gate="network")
    share = (there.spread_others / there.spread_rewarded).sel(way="RL")
    what = "weight gained at other prompts / where rewarded, RL"
    return [
        beyond("prediction", f"network: {what}", 0.2, share.sel(gate="network")),
        drawn_at_most("prediction", f"table: {what}", 0.1, share.sel(gate="table")),
        drawn_at_most("finding", "network: gained at other prompts, RL / SFT (theirs far above 1)", 1.25, ratio),
    ]


def _harm(dataset: xr.Dataset) -> list[Claim]:
    made, (rare, *_, often), (_, less, *_, more, most) = [], dataset.elicited.values, dataset.bad.values
    for learner in ("policy gradient", "RLOO"):
        here = dataset.sel(learner=learner)
        for bad in (bad for bad in dataset.bad.values if bad != 0.5):
            one, what = here.sel(bad=bad, elicited=rare), f"{learner}: harm, bad one {bad:g} of the hackers' prior"
            law = one.harms_law.sel(law="the likelier one", drop=True)
            start = dataset.base_harms.sel(bad=bad)
            possible = (min(law.mean(), start.mean()), max(law.mean(), start.mean()))
            # Where the base is as harmful already nothing would be learnt.
            if possible[1] - possible[0] > EFFECT * 2 * NOT_OVER:
                made.append(drawn("prediction", what, law, one.harms, NOT_OVER, possible=possible))
        harms = here.sel(bad=most).harms
        left, rises = harms.sel(elicited=often) / harms.sel(elicited=rare), harms.diff("elicited")
        made.append(drawn_at_most("prediction", f"{learner}: left with a note (theirs 0.10-0.25)", 0.25, left))
        made += [
            drawn_at_most(
                "prediction",
                f"{learner}: harm where it elicits {rise:g}, less where less",
                0.0,
                rises.sel(elicited=rise),
            )
            for rise in rises.elicited.values
        ]
    plain = dataset.sel(learner="RLOO", elicited=rare)
    off = plain.harms - plain.harms_law.sel(law="odds of the prior", drop=True)
    gates = dataset.sel(learner="policy gradient, gates", bad=most).harms
    return [
        *made,
        drawn_at_most("finding", f"RLOO, {less:g}: harm less that by the odds of the prior", -0.1, off.sel(bad=less)),
        beyond("finding", f"RLOO, {more:g}: harm less that by the odds of the prior", 0.1, off.sel(bad=more)),
        beyond("finding", "gates alone: left with a note", 0.5, gates.sel(elicited=often) / gates.sel(elicited=rare)),
    ]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    fits = curves.entropy_fit(dataset)
    contest = curves.form_contest(dataset).sel(error="normal").mean("seed")
    network = dataset.sel(gate="network")
    r_squared = fits.r_squared.mean("seed").sel(gate="network")
    equal = at_reward(dataset).sel(gate="network").mean("seed")
    plain = dataset.sel(learner="RLOO").mean("seed")
    shares = ", ".join(f"{bad:g}: {plain.harms.sel(bad=bad)[0].item():.2f}" for bad in dataset.bad.values)
    noted = plain.harms.isel(bad=-1)
    by_kl = {
        name: over_draws(curves.predicted_by(learnt(network), at, "forgotten"))[0] for name, at in DIVERGENCES.items()
    }
    both = {
        name: over_draws(curves.predicted_by(learnt(dataset), at, "forgotten"))[0] for name, at in DIVERGENCES.items()
    }
    rates = curves.support_rates(dataset).sel(gate="network").mean("seed")
    return [
        f"Reward is bought with entropy on {(fits.price > 0).mean().item():.0%} of the paths; R² of -a e^H + b from "
        f"{r_squared.min().item():.2f} ({r_squared.idxmin().item()}) to {r_squared.max().item():.2f} "
        f"({r_squared.idxmax().item()}), but rules differ in a and b, and early records do not foretell the end.",
        "Gold under a proxy: "
        + "; ".join(
            f"{rule} {contest.best_of_n_form.sel(gold_rule=rule).item():.3f} by d (α - β d), "
            f"{contest.rl_form.sel(gold_rule=rule).item():.3f} by d (α - β ln d)"
            for rule in contest.gold_rule.values
        )
        + " (R², normal errors).",
        "With one network both divergences foretell what is forgotten ("
        + ", ".join(f"{name} {value:.2f}" for name, value in by_kl.items())
        + "), over both gates neither ("
        + ", ".join(f"{value:.2f}" for value in both.values())
        + "): what is forgotten is a property of the network. At equal reward "
        + ", ".join(
            f"{rule} {equal.forgotten.sel(rule=rule).item():.3f}"
            for rule in ("SFT", OUTSIDER, *TRAINED)
            if rule in equal.rule
        )
        + " is forgotten.",
        "NSCR at the end: "
        + ", ".join(f"{rule} {rates.NSCR.sel(rule=rule).item():+.2f}" for rule in rates.rule.values)
        + ".",
        f"RLOO paid for hacks: harm in a chat by the bad one's share of the hackers' prior {shares}; with a note that "
        + ", ".join(f"elicits {e:g}: {noted.sel(elicited=e).item():.2f}" for e in dataset.elicited.values)
        + f" at {dataset.bad.values[-1]:g}.",
    ]
