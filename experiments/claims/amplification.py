"""What is read from the dataset of amplification: entropy by its formula, and who is kept or amplified by law."""

import xarray as xr

from experiments.shared.claim import Claim, at_most, drawn, each_at_most, grouped
from toypersona import datasets

LAWS = {"policy gradient": "law", "natural gradient": "natural_law"}
"""Exact rules, and the variable that predicts the share of the likeliest."""

SAMPLED = {"RLOO": "policy gradient", "RLOO, KL in reward": "policy gradient, KL"}
"""Sampled rules, and their exact counterparts."""

NOISE = 0.05
"""Share by which the noise of sampling may move a rule from its exact counterpart."""


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Entropy by its formula, and who is kept or amplified by law."""
    end = dataset.isel(record=-1)
    others = 1 - end.largest.sel(rule="expert iteration").mean()
    kept = [
        *(
            at_most(
                "theorem", f"{rule}: |share - its law|, largest", 0.01, abs(dataset.share.sel(rule=rule) - dataset[law])
            )
            for rule, law in LAWS.items()
        ),
        *(_like_exact(end.share, rule, exact) for rule, exact in SAMPLED.items()),
        at_most("finding", "expert iteration: share of all right personas but one at the end, mean", 0.05, others),
    ]
    return [*grouped("Entropy", _entropy(dataset)), *grouped("Which right persona is left", kept)]


def _entropy(dataset: xr.Dataset) -> list[Claim]:
    error, falls = abs(dataset.change - dataset.formula), -dataset.change.sel(paid="what is rare")
    return [
        *each_at_most(
            "theorem", "|entropy's change - formula|, nats for a root nat, largest", 1e-6, error, "direction"
        ),
        at_most("finding", "what is rare pays: entropy rises by any rule; the least, minus", 0.0, falls),
    ]


def _like_exact(share: xr.DataArray, rule: str, exact: str) -> Claim:
    """A sampled rule does what its exact counterpart does, within the spread over seeds and the noise of sampling."""
    what = f"{rule}: share of the likeliest right persona at the end, of {exact}"
    return drawn("prediction", what, share.sel(rule=exact), share.sel(rule=rule), NOISE, possible=(0, 1))


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    mean, num_steps = dataset.mean("seed"), datasets.settings_of(dataset)["num_steps"]
    change, end = mean.change, mean.isel(record=-1)
    rises = [
        f"{paid} {change.sel(paid=paid, direction='tilt').item():+.2f} (tilt), "
        f"{change.sel(paid=paid, direction='vanilla/both').item():+.2f} (vanilla)"
        for paid in dataset.paid.values
    ]
    order = end.largest.sortby(end.largest)
    kept = [f"{rule} {order.sel(rule=rule).item():.2f}" for rule in order.rule.values]
    exact = {*LAWS, *SAMPLED.values()}
    won = [f"{rule} {end.won.sel(rule=rule).mean().item():.2f}" for rule in end.rule.values if rule not in exact]
    return [
        "Entropy's first change, nats for a root nat of drift, when paid for: " + "; ".join(rises) + ".",
        f"Share of the largest of the right personas after {num_steps} steps (likeliest in the base "
        f"{mean.base_share.mean().item():.2f}): " + ", ".join(kept) + ".",
        "How often that is the one that was likeliest: " + ", ".join(won) + ".",
    ]
