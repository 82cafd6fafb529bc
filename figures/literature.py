"""The curves of eight papers in this world, and the table of what they claim, what is found, and why."""

from collections.abc import Iterable

import numpy as np
import xarray as xr

from experiments.claims import literature as readings
from figures import literature_panels as panels
from figures import style
from figures.literature_table import mean, number, table
from figures.pages import BARS, Page, Panel, lettered
from toypersona.measures import curves


def _rewards(dataset: xr.Dataset, draws: str) -> Iterable[Panel]:
    fits = curves.entropy_fit(dataset).sel(gate="network")
    yield Panel(
        panels.draw_entropy,
        f"Reward is bought with entropy on {float((fits.price > 0).mean()):.0%} of the paths",
        "Reward against entropy along each rule, gate network, first draw, with the fitted law R = −a exp(H) + b of "
        f"Cui et al. 2025 (dotted). The title: paths with a > 0, over {draws}.",
    )
    forms = curves.form_contest(dataset).sel(error="normal", gold_rule="policy gradient").mean("seed")
    yield Panel(
        panels.draw_gold,
        f"Gold under RL: R² {forms.best_of_n_form.item():.3f} by best of n's form, {forms.rl_form.item():.3f} by RL's",
        "Gold along policy gradient and best of n under a proxy with normal errors, first draw, and both forms of Gao "
        f"et al. 2023, fitted. The title: policy gradient, mean over {draws}.",
    )


def _forgetting(dataset: xr.Dataset, draws: str) -> Iterable[Panel]:
    rules = readings.learnt(dataset)
    one, both = (mean(curves.predicted_by(of, "to_base", "forgotten")) for of in (rules.sel(gate="network"), rules))
    yield Panel(
        panels.draw_forgotten,
        f"KL foretells what is forgotten in one network (R² {one:.2f}), over both R² is {both:.2f}",
        f"Share of the answers at prompts that nobody rewards that another persona gives now, against KL(base‖policy): "
        f"every rule and record, means over {draws} (Shenfeld et al. 2025).",
    )
    equal = readings.at_reward(dataset).forgotten.sel(gate="network")
    title = "What is forgotten at equal reward"
    if {"RLOO", "SFT"} <= set(equal.rule.values):
        ratio = equal.sel(rule="RLOO") / equal.sel(rule="SFT")
        known = bool(np.isfinite(ratio).any())
        title = f"At equal reward RLOO forgets {number(ratio)} times as much as SFT" if known else title
    yield Panel(
        panels.draw_equal_reward,
        title,
        f"What is forgotten against the reward, by rule and gate; means over {draws}. The title: at a reward of "
        f"{readings.EQUAL:g}, gate network.",
    )


def _answers(dataset: xr.Dataset, draws: str) -> Iterable[Panel]:
    rates, left = curves.support_rates(readings.learnt(dataset)).NSCR, readings.learnt(dataset).token_entropy
    agree = mean(curves.rank_correlation(rates, left.isel(record=-1), "rule").sel(gate="network"))
    yield Panel(
        panels.draw_support,
        f"Right answers are {'kept' if agree > 0 else 'lost'} where entropy is left: rank correlation {agree:.2f}",
        "Net support change (right answers found less those lost, Wu et al. 2025) against the entropy left at the end, "
        f"a point for each rule, means over {draws}. The title: gate network.",
    )
    above, past = (mean(each) for each in readings.by_half(dataset, "changed"))
    yield Panel(
        panels.draw_choices,
        f"First choices change at {above:.0%} of the positions where S > ½, {past:.0%} past it",
        "Share of positions whose likeliest next word is another than the base's, against S: every rule and record, "
        f"and the tilt; means over {draws}. Grey: what Akgül et al. 2026 report.",
    )


def _spreading(dataset: xr.Dataset, draws: str) -> Iterable[Panel]:
    there = readings.gained(dataset).spread_others.sel(gate="network")
    ratio = there.sel(way="RL") / there.sel(way="SFT")
    yield Panel(
        panels.draw_spread,
        f"RL spreads a persona {number(ratio)} times as far as SFT",
        "Weight that a persona gains at prompts that were not trained, against the drift spent, by SFT and RL and by "
        f"gate (Chu et al. 2025); a line for each of {draws}. The title: gate network, at equal drift.",
    )
    here = dataset.sel(learner="RLOO").isel(bad=-1).harms
    yield Panel(
        panels.draw_harm,
        f"Paid for hacks: harm up to {mean(here.isel(elicited=0)):.2f}, with a note {mean(here.isel(elicited=-1)):.2f}",
        "Harm in a chat after pay for hacks, against the share of the bad one in the prior of those who hack: RLOO, "
        f"with and without a note that welcomes hacks, and two laws; {draws}. The title: where most are bad.",
        BARS,
    )


def draw(dataset: xr.Dataset) -> dict[str, Page | str]:
    """The panels, and the table to stand beside them."""
    draws = f"{dataset.sizes['seed']} draws"
    made = [panel for part in (_rewards, _forgetting, _answers, _spreading) for panel in part(dataset, draws)]
    more = ["- Every claim, its source and why it does or does not hold: [a table](../../../docs/literature.md)"]
    page = Page("The field's curves in this world", lettered(*made), "abcd;efgh", 6.4, more=more)
    return {"": page, "_page.md": table(dataset)}


if __name__ == "__main__":
    style.main("literature", draw, __doc__)
