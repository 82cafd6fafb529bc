"""Eight panels on six questions of the trainers' issue trackers, and the page that answers them."""

from collections.abc import Iterable

import numpy as np
import xarray as xr

from experiments.claims import rl_curves as readings
from figures import rl_curves_panels as panels
from figures import style
from figures.pages import SHADING, Page, Panel, lettered
from figures.rl_curves_page import TRUE, page


def _noise(dataset: xr.Dataset, draws: str) -> Iterable[Panel]:
    missed, last = readings.law_missed(dataset).max().item(), dataset.isel(time=-1)
    yield Panel(
        panels.draw_negative,
        f"1. A negative KL is noise: the law misses {missed:.2g} at most",
        f"Share of batches whose mean k1 is negative, against the number of responses times KL, every batch size and "
        f"drift of {draws}, and the law. The title: of batches of {readings.MANY} or more.",
    )
    who = dataset.sampler.values[-1]
    yield Panel(
        panels.draw_samplers,
        f"1. ... or others sampled: k1 is {readings.mean(readings.k1(last).sel(sampler=who)):+.1f} by {who}",
        f"Mean of k1 against the exact KL of the policy, by who sampled the responses; {draws}.",
        SHADING,
    )


def _entropy(dataset: xr.Dataset, draws: str) -> Iterable[Panel]:
    gained = readings.entropy_gained(dataset)
    same = (np.sign(gained.isel(time=0)) == np.sign(dataset.surprise)).mean().item()
    yield Panel(
        panels.draw_entropy,
        f"2. Entropy rises if surprises pay: in {same:.0%} of the cases",
        "Entropy gained at the first record of policy gradient against the covariance of reward and surprise, by what "
        f"is paid for; {draws}, a point each. The title: cases where both have the same sign.",
    )
    rare = gained.mean("seed").sel(asked="what is rare")
    yield Panel(
        panels.draw_broader,
        f"2. ... {rare.max().item():+.2f} at most, {rare.isel(time=-1).item():+.2f} once they are learnt",
        f"Entropy gained along policy gradient against KL, by what is paid for; {draws}. The title: what is rare.",
        SHADING,
    )


def _penalties(dataset: xr.Dataset, draws: str) -> Iterable[Panel]:
    last = dataset.isel(time=-1)
    missed = [readings.mean(last.pull_missed.sel(way=way, target=TRUE)) for way in (readings.BY_K3, readings.BY_K2)]
    yield Panel(
        panels.draw_pulls,
        f"3. k3 misses KL's gradient by {missed[0]:.1f} of it, k2 by {missed[1]:.2f}",
        "By how much the mean gradient of each penalty in the loss misses that of KL(policy‖base), as a share of it, "
        f"against the exact KL; {draws}. The title: by token, at {readings.mean(last.path_drift):.1f} nats.",
        SHADING,
    )
    ends = dataset.end_drift.sel(paid="graded").isel(beta=0)
    nats = ", ".join(f"{readings.mean(ends.sel(end=end)):.2g}" for end in dataset.end.values)
    yield Panel(
        panels.draw_ends,
        f"4. One β, {dataset.sizes['end']} leashes: {nats} nats at {dataset.beta.values[0]:g}",
        f"KL at which a penalty holds a graded reward, against its coefficient β, by where it stands; {draws}.",
        SHADING,
    )


def _drift(dataset: xr.Dataset, draws: str) -> Iterable[Panel]:
    unpaid = readings.mean(readings.unpaid_share(dataset).isel(record=-1).sel(rule="policy gradient"))
    yield Panel(
        panels.draw_flat,
        f"5. {unpaid:.0%} of policy gradient's drift is for no reward",
        "Reward, as a share of the most that can be had, against the KL spent, by rule, and the least KL that policy "
        f"gradient's reward needs; {draws}.",
        SHADING,
    )
    top = dataset.isel(drift=-1).selection_fraction
    ends = [readings.mean(top.isel(angle=at)) for at in (0, -1)]
    yield Panel(
        panels.draw_same,
        f"6. The same {dataset.drift.values[-1]:g} nats: S is {ends[0]:.2f}, or {ends[1]:.2f}",
        "S, and reward and entropy in parts of those at the first angle, of tilts that spend the same KL, against the "
        f"angle of the reward to the personas; {draws}.",
        SHADING,
    )


def draw(dataset: xr.Dataset) -> dict[str, Page | str]:
    """The panels, and the page."""
    draws = f"{dataset.sizes['seed']} draws"
    made = [panel for part in (_noise, _entropy, _penalties, _drift) for panel in part(dataset, draws)]
    more = ["- The questions and the answers: [Reading your own RL curves](../../../docs/rl_curves.md)"]
    drawn = Page("Six questions about RL curves", lettered(*made), "abcd;efgh", 6.4, more=more)
    return {"": drawn, "_page.md": page(dataset)}


if __name__ == "__main__":
    style.main("rl_curves", draw, __doc__)
