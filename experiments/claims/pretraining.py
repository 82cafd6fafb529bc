"""What is read from the growth curves: more text is better, and enough of it recovers personas and gates."""

import xarray as xr

from experiments.shared.claim import Claim, at_most
from toypersona import datasets


def claims(dataset: xr.Dataset) -> list[Claim]:
    """More text is better, and enough of it recovers personas and gates."""
    most, per_amount = dataset.isel(num_lines=-1), dataset.policy_divergence.mean("seed").values
    ratio = (per_amount[1:] / per_amount[:-1]).max()
    return [
        at_most("finding", "worst ratio of KL(world‖policy) from one amount of text to the next", 1.0, ratio),
        at_most("finding", "worst expert at most text, nats per token", 0.03, most.expert_divergence),
        at_most("finding", "gate error at most text, nats", 0.03, most.gate_divergence),
        at_most("finding", "worst fit against the truth on the lines read, nats per line", 0.0, most.excess_read),
    ]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    first, last = dataset.isel(num_lines=0), dataset.isel(num_lines=-1)
    return [
        f"From {int(last.num_lines)} unlabelled lines of {datasets.settings_of(dataset)['world']} the experts come "
        f"within {last.expert_divergence.mean().item():.2g} nats per token of the personas (from "
        f"{int(first.num_lines)}: {first.expert_divergence.mean().item():.2g}), the gate within "
        f"{last.gate_divergence.mean().item():.2g} nats of the Bayes posterior."
    ]
