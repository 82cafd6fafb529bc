"""What is read from the twins of RL curves: who makes a logged KL negative, what estimators pull at, drift unpaid."""

import numpy as np
import xarray as xr

from experiments.shared.claim import Claim, at_most, drawn, drawn_at_most, grouped, over_draws

ROUNDING = 1e-9
"""Nats, and shares of a gradient, that double precision may miss of an identity."""

LEFT = 1e-6
"""Standard deviation of the advantage that may be left where a leash holds."""

MANY, SKEWED = 16, 0.05
"""Responses from which on the law is claimed, and the probability by which means of so few k1, skewed, may be off."""

NO_GRADIENT = "k1 in loss"
ITS_OWN = {
    "KL(policy‖base)": (
        *("k1 in reward", "k1 in reward, less the group's mean", "k1 in reward, by token"),
        *("k2 in loss, by response", "k3 in loss, corrected, by response"),
    ),
    "KL(base‖policy)": ("k3 in loss, by response",),
    "its next words": ("k2 in loss, by token", "k3 in loss, corrected, by token"),
    "next words, reversed": ("k3 in loss, by token",),
}
"""Ways to penalise KL by the divergence whose gradient they have on average."""

BY_K2, BY_K3 = "k2 in loss, by token", "k3 in loss, by token"
"""The second is what GRPO does, and TRL did before 1.10."""

FLAT = 0.9
"""Share of the most that can be earned, from which on a reward counts as flat."""


def law_missed(dataset: xr.Dataset) -> xr.DataArray:
    """By how much the share of batches of ``MANY`` responses or more whose k1 is negative misses its law."""
    return abs(dataset.negative - dataset.negative_law).where(dataset.batch >= MANY)


def nearer(dataset: xr.Dataset) -> xr.DataArray:
    """KL(sampler‖base) - KL(sampler‖policy): what k1 has for its mean."""
    return dataset.sampler_from_base - dataset.sampler_from_policy


def k1(dataset: xr.Dataset) -> xr.DataArray:
    """The mean of k1, nats a response."""
    return dataset.logged_mean.sel(estimator="k1", level="response")


def entropy_gained(dataset: xr.Dataset) -> xr.DataArray:
    """Entropy along policy gradient, less the base's."""
    return dataset.entropy - dataset.base_entropy


def unpaid_share(dataset: xr.Dataset) -> xr.DataArray:
    """The share of a rule's drift that its reward did not need."""
    return dataset.unpaid / dataset.rule_drift


def among_right(dataset: xr.Dataset) -> xr.DataArray:
    """The share of what is unpaid at the end that prefers some right answers to others."""
    end = dataset.isel(record=-1)
    return end.among_right / end.unpaid


def flat(dataset: xr.Dataset) -> xr.Dataset:
    """By how much reward, in parts of the most, and drift grow between ``FLAT`` and the end, rule by rule."""
    share = dataset.rule_paid / dataset.most_paid
    begun = dataset.record == dataset.record.where(share >= FLAT).min("record")
    grown = lambda values: values.isel(record=-1) - values.where(begun).max("record")  # noqa: E731
    return xr.Dataset({"earned": grown(share), "spent": grown(dataset.rule_drift)})


def apart(dataset: xr.Dataset, name: str) -> xr.DataArray:
    """By how much a measure of the tilts that spend the same differs, from the first angle to the last."""
    return dataset[name].isel(angle=0) - dataset[name].isel(angle=-1)


def beyond(what: str, bound: float, values: xr.DataArray) -> Claim:
    """The finding that a mean over draws, its whole interval, lies above a bound."""
    return drawn_at_most("finding", f"minus {what}", -bound, -values)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Each curve: what is proven of it, what was predicted, and what was found."""
    parts = {
        "Why is KL negative?": _negative,
        "Why does entropy rise?": _entropy,
        "k1, k2, k3: what their gradients pull at": _pulls,
        "KL in the reward or in the loss": _leashes,
        "Reward is flat while KL grows": _flat,
        "The same KL": _same,
    }
    return [each for heading, part in parts.items() for each in grouped(heading, part(dataset))]


def _negative(dataset: xr.Dataset) -> list[Claim]:
    own = dataset.logged_mean.sel(sampler="the policy", estimator=["k1", "k3"]) - dataset.path_drift
    last = dataset.isel(time=-1)
    seen = last.logged_mean.sel(sampler="the base", estimator="k3", level="token") / last.path_drift
    return [
        at_most("identity", "k1, k3 of the policy's own responses - KL, nats", ROUNDING, abs(own)),
        at_most(
            "theorem",
            "k1 - (KL(sampler‖base) - KL(sampler‖policy)), nats",
            ROUNDING,
            abs(k1(dataset) - nearer(dataset)),
        ),
        at_most(
            "prediction",
            f"share of batches of {MANY} or more whose k1 is negative - Φ(-sqrt(n KL/2)), largest",
            SKEWED,
            law_missed(dataset),
            possible=(0, 0.5),
        ),
        beyond("k3 by token of the base's responses, of KL", 3.0, seen),
    ]


def _entropy(dataset: xr.Dataset) -> list[Claim]:
    other = np.sign(entropy_gained(dataset).isel(time=0)) != np.sign(dataset.surprise)
    rare = entropy_gained(dataset).sel(asked="what is rare").isel(time=2)
    what = "policy gradient, first record: share of draws and rewards with another sign than that"
    return [
        at_most(
            "theorem",
            "tilt: entropy's first change - Cov(r, surprise), nats",
            1e-5,
            abs(dataset.tilt_change - dataset.surprise),
        ),
        at_most("finding", what, 0.25, other.mean(), possible=(0, 1)),
        beyond("what is rare pays: entropy gained at the third record, nats", 0.0, rare),
    ]


def _pulls(dataset: xr.Dataset) -> list[Claim]:
    first, last = dataset.isel(time=0), dataset.isel(time=-1)
    off = lambda at, way: at.pull_missed.sel(way=way, target="KL(policy‖base)")  # noqa: E731
    credit = dataset.pull_noise.sel(way="k1 in reward, by token") / dataset.pull_noise.sel(way="k1 in reward")
    noise = last.pull_noise.sel(way="k3 in loss, by response") / last.pull_noise.sel(way="k2 in loss, by response")
    own = [
        at_most(
            "theorem",
            f"{way}: misses the gradient of {target}",
            ROUNDING,
            dataset.pull_missed.sel(way=way, target=target),
        )
        for target, ways in ITS_OWN.items()
        for way in ways
    ]
    none, half = dataset.pull_size.sel(way=NO_GRADIENT), off(last, BY_K2) / off(last, BY_K3)
    near = f"{BY_K3}, first record: misses KL's gradient"
    return [
        *own,
        at_most("theorem", f"{NO_GRADIENT}: size of its mean gradient", ROUNDING, none),
        drawn_at_most("prediction", near, 0.25, off(first, BY_K3), possible=(0, 1)),
        beyond(f"{BY_K3}, last record: misses KL's gradient", 0.5, off(last, BY_K3)),
        drawn_at_most("finding", f"{BY_K2}, last record: misses it, of what k3 misses", 0.5, half),
        drawn_at_most("finding", "k1 in reward: noise by token / by response, all records", 1.0, credit),
        beyond("ln of k3's noise / k2's, last record, by response", 1.0, xr.ufuncs.log(noise)),
    ]


def _leashes(dataset: xr.Dataset) -> list[Claim]:
    graded = dataset.sel(paid="graded").isel(beta=-1).end_drift
    far = graded.sel(end="k3 in loss") / graded.sel(end="k1 in reward, or k2 in loss")
    end = dataset.isel(record=-1)
    paid, spent = ({rule: end[name].sel(rule=rule) for rule in end.rule.values} for name in ("rule_paid", "rule_drift"))
    where = paid["RLOO, k2 in loss"] - paid["RLOO, KL in reward"]
    return [
        at_most("theorem", "advantage left where a leash holds, standard deviation", LEFT, dataset.end_slope),
        drawn(
            "prediction",
            "RLOO: reward at the end with k2 in loss - with KL in reward",
            0.0,
            where / dataset.most_paid,
            0.05,
            possible=(0, 1),
        ),
        drawn(
            "prediction",
            "RLOO: drift at the end with k1 in loss / without",
            1.0,
            spent["RLOO, k1 in loss"] / spent["RLOO"],
            0.05,
            possible=(0, 2),
        ),
        beyond("k3's drift where it ends, of KL in reward's, largest beta, graded reward", 3.0, far),
        beyond(
            "least beta that holds right-or-wrong rewards / std. dev.",
            0.3,
            dataset.least_beta.sel(paid="right or wrong"),
        ),
    ]


def _flat(dataset: xr.Dataset) -> list[Claim]:
    sums = dataset.least + dataset.unpaid - dataset.rule_drift
    end = unpaid_share(dataset).isel(record=-1)
    chance, leashed = 1 - end.sel(rule="paid by chance"), end.sel(rule="RLOO, KL in reward") - end.sel(rule="RLOO")
    return [
        at_most("theorem", "least + unpaid - drift, nats", ROUNDING, abs(sums)),
        drawn_at_most("prediction", "paid by chance: share of its drift that is paid", 0.1, chance, possible=(0, 1)),
        beyond("policy gradient: share of its drift unpaid", 0.25, end.sel(rule="policy gradient")),
        beyond(
            "policy gradient: share of that among right answers", 0.5, among_right(dataset).sel(rule="policy gradient")
        ),
        drawn_at_most("finding", "RLOO: share of its drift unpaid, with KL in reward - without", 0.0, leashed),
    ]


def _same(dataset: xr.Dataset) -> list[Claim]:
    law = np.cos(np.deg2rad(dataset.angle)) ** 2
    first = abs(dataset.selection_fraction.isel(drift=0) - law).max("angle")
    paid = abs(apart(dataset, "same_paid") / dataset.same_paid.isel(angle=0)).max("drift")
    spent, entropy = abs(dataset.total - dataset.drift), apart(dataset, "same_entropy")
    return [
        at_most("identity", "drift of the tilts - what they were to spend, nats", ROUNDING, spent),
        drawn_at_most("prediction", "smallest drift: |S - cos² of the angle|, largest", 0.15, first, possible=(0, 1)),
        beyond("S of the first angle - S of the last", 0.5, apart(dataset, "selection_fraction").min("drift")),
        drawn_at_most("finding", "reward of the first and the last angle differs by, of it", 0.2, paid),
        drawn("finding", "entropy of the first angle - of the last, nats", 0.0, entropy, 0.1, possible=(-4, 4)),
    ]


def mean(values: xr.DataArray) -> float:
    """Over draws."""
    return over_draws(values)[0]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    first, last, end = dataset.isel(time=0), dataset.isel(time=-1), dataset.isel(record=-1)
    top, logged, unpaid = dataset.isel(drift=-1), k1(last), unpaid_share(end)
    stale = ", ".join(f"{who} {mean(logged.sel(sampler=who)):+.2f}" for who in dataset.sampler.values)
    rates = ", ".join(f"{name} {mean(dataset.surprise.sel(asked=name)):+.2f}" for name in dataset.asked.values)
    off = {way: mean(last.pull_missed.sel(way=way, target="KL(policy‖base)")) for way in dataset.way.values}
    ends = dataset.isel(beta=-1).sel(paid="graded").end_drift
    held = mean(dataset.least_beta.sel(paid="right or wrong"))
    shares = ", ".join(f"{rule} {mean(unpaid.sel(rule=rule)):.2f}" for rule in dataset.rule.values)
    both = lambda name: " and ".join(f"{mean(top[name].isel(angle=at)):.2f}" for at in (0, -1))  # noqa: E731
    return [
        f"At {mean(first.path_drift):.3f} nats the mean k1 of {dataset.batch.values[-1]} responses is negative in "
        f"{mean(first.negative.isel(batch=-1)):.2f} of the batches "
        f"(law {mean(first.negative_law.isel(batch=-1)):.2f}).",
        f"At {mean(last.path_drift):.2f} nats k1 is on average, by who sampled: {stale}.",
        f"Entropy's first change under a tilt, nats per unit of strength, paid for: {rates}.",
        f"Gradients, at {mean(last.path_drift):.2f} nats: k3 by token misses KL's by {off[BY_K3]:.2f} of it, k2 by "
        f"token by {off[BY_K2]:.2f}, k2 by response by {off['k2 in loss, by response']:.2f}.",
        f"Graded reward, beta {dataset.beta.values[-1]:g}: "
        + ", ".join(f"{name} ends at {mean(ends.sel(end=name)):.2f} nats" for name in dataset.end.values)
        + f"; right or wrong over its standard deviation is held from beta {held:.2f} on.",
        f"Share of the drift at the end that the reward did not need: {shares}.",
        f"At the same {top.drift.item():g} nats: S {both('selection_fraction')}, reward {both('same_paid')}, entropy "
        f"{both('same_entropy')}.",
    ]
