"""What is read from the experiment on codes: what the law says of policies, who is paid best, where codes come in."""

import numpy as np
import xarray as xr
from scipy import optimize, special

from experiments.claims import reasoning
from experiments.claims.reasoning import UNREADABLE
from experiments.shared import claim
from experiments.shared.claim import Claim

TWO = "own and opposite"
PATHS = ("annealed", "annealed down")

SLIPS = 0.01
"""What slips that are left at a finite strength may move a probability by."""

SLIPS_NATS = 0.02
"""And a divergence, nats."""

LINE = 0.1
"""Part of the strength at which cheap codes come in that slips may move it by: there they are not yet gone."""


def kind(dataset: xr.Dataset, prefix: str) -> xr.Dataset:
    """What was measured of rules (prefix ``rule``), of built starts (``start``) or of annealing's end (``annealed``).

    All of it is at the greatest strength and length cost.
    """
    end = {"strength": dataset.strength[-1], "length_cost": dataset.length_cost[-1]}
    if prefix == "annealed":
        return dataset.sel(path="annealed").isel(strength=-1, length_cost=-1)
    names = {str(name): str(name).removeprefix(f"{prefix}_") for name in dataset if str(name).startswith(f"{prefix}_")}
    return dataset[list(names)].rename(names).assign_coords(end)


def by_law(dataset: xr.Dataset) -> xr.DataArray:
    """What the law says is climbed, as ``reasoning.objective``."""
    return 1 - dataset.length_cost * dataset.cost_law - dataset.divergence_law / dataset.strength


def lawful(dataset: xr.Dataset) -> xr.Dataset:
    """The built start that the law says is paid best: of as many codes as there are voices, the likeliest."""
    starts = kind(dataset, "start")
    return starts.isel(start=by_law(starts).argmax("start")).drop_vars("start")


def best(dataset: xr.Dataset) -> xr.Dataset:
    """Agreement and objective of the best paid of everything that was trained, and its name, ``run``."""
    runs = []
    for prefix in ("start", "rule", "annealed"):
        here = kind(dataset, prefix)
        named = here.rename({prefix: "run"}) if prefix in here.dims else here.expand_dims(run=[prefix])
        runs.append(xr.Dataset({"agreement": named.agreement, "objective": reasoning.objective(named)}))
    every = xr.concat(runs, "run", coords="minimal", compat="override")
    return every.isel(run=every.objective.argmax("run"))


def crossing(agreement: xr.DataArray) -> xr.DataArray:
    """The worth from which on thoughts are read, interpolated; nan if it is not among those measured."""
    return _first_zero(agreement - UNREADABLE, "worth")


def saved(dataset: xr.Dataset) -> xr.DataArray:
    """Nats by which KL(policy‖base) is below the mean KL of the codes that the policy says."""
    shares = dataset.said / dataset.said.sum("convention")
    return -(shares * dataset.log_masses).sum("convention") - dataset.total


def cheap(dataset: xr.Dataset) -> xr.DataArray:
    """Which codes are in the cheapest words."""
    return dataset.costs.isel(seed=0, worth=0, drop=True) == dataset.costs.min()


def came_in(dataset: xr.Dataset) -> xr.DataArray:
    """The strength at which cheap and readable codes are as likely, measured: their log-odds interpolated."""
    said, ours = dataset.said, cheap(dataset)
    odds = np.log(said.where(ours, 0).sum("convention") / said.where(~ours, 0).sum("convention"))
    return _first_zero(odds, "strength")


def line(dataset: xr.Dataset) -> xr.DataArray:
    """The same, s*, by the law: from the base, and the codes that are keyed in the end."""
    ours = cheap(dataset)
    usable = dataset.log_masses.where(~ours | dataset.keyed_codes.isel(strength=-1), -np.inf)

    def root(masses: np.ndarray, costs: np.ndarray, price: float) -> float:
        def odds(strength: float) -> float:
            paid = masses - strength * price * costs
            return special.logsumexp(paid[ours.values]) - special.logsumexp(paid[~ours.values])

        return optimize.brentq(odds, 0.0, 1e5)

    names = [["convention"], ["convention"], []]
    return xr.apply_ufunc(root, usable, dataset.costs, dataset.length_cost, input_core_dims=names, vectorize=True)


def _first_zero(values: xr.DataArray, along: str) -> xr.DataArray:
    """Where values first rise through 0 along a dimension, interpolated; nan if they start above or stay below."""
    at = values[along].values

    def zero(values: np.ndarray) -> float:
        above = np.flatnonzero(values > 0)
        if not above.size or not above[0]:
            return np.nan
        i = slice(above[0] - 1, above[0] + 1)
        return float(np.interp(0.0, values[i], at[i]))

    return xr.apply_ufunc(zero, values, input_core_dims=[[along]], vectorize=True)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Codes, keys and strengths as the law has them; leaving the hull is not what makes thoughts unreadable."""
    return [
        *claim.grouped("Law of codes (L7): reader and answer agree with sum_j q_j r_j", _agreement(dataset)),
        *claim.grouped("A shared key saves its entropy: KL(keyed) = mean KL(codes) - H(key)", _key(dataset)),
        *claim.grouped("Cheap codes come in at s* = (l_dear - l_cheap) / (lambda (c_dear - c_cheap))", _line(dataset)),
        *claim.grouped("Leaving the hull is not what makes thoughts unreadable", _worthy(dataset)),
        *claim.grouped("Checks", _checks(dataset)),
    ]


def _agreement(dataset: xr.Dataset) -> list[Claim]:
    claims, two, top = [], kind(dataset, "start").sel(start=TWO), best(dataset)
    kinds = {
        "two conventions, own and opposite": (two.agreement_law, two.agreement),
        "best paid of everything trained": (lawful(dataset).agreement_law, top.agreement),
        "annealed, by the codes it keys": (
            kind(dataset, "annealed").agreement_law,
            kind(dataset, "annealed").agreement,
        ),
    }
    for what, (law, seen) in kinds.items():
        for worth in dataset.worth.values:
            at = law.sel(worth=worth), seen.sel(worth=worth)
            claims.append(claim.drawn("prediction", f"{what}; worth {worth:g}: agreement", *at, SLIPS, possible=(0, 1)))
    for what, (law, seen) in list(kinds.items())[:2]:
        worths = (dataset.worth[0], dataset.worth[-1])
        found = f"{what}: worth from which on agreement is above {UNREADABLE:g}"
        claims.append(claim.drawn("prediction", found, crossing(law), crossing(seen), SLIPS, possible=worths))
    more = reasoning.objective(kind(dataset, "rule")).max("rule") - by_law(lawful(dataset))
    claims.append(claim.at_most("finding", "paid to any rule more than to the law's codes, largest", 0.0, more))
    return claims


def _key(dataset: xr.Dataset) -> list[Claim]:
    claims, starts = [], kind(dataset, "start")
    likeliest = starts.isel(start=by_law(starts).argmax("start"))
    for what, here in {TWO: starts.sel(start=TWO), "most codes": likeliest}.items():
        gained = saved(here.assign(log_masses=dataset.log_masses))
        for worth in dataset.worth.values[[0, -1]]:
            law, seen = here.key_entropy_law.sel(worth=worth), gained.sel(worth=worth)
            of = f"{what}, worth {worth:g}: nats saved"
            claims.append(claim.drawn("prediction", of, law, seen, SLIPS_NATS, possible=(0, float(law.max()))))
    for worth in dataset.worth.values:
        here = kind(dataset, "annealed").sel(worth=worth)
        of = f"annealed, worth {worth:g}: KL(policy‖base), nats"
        least = (-here.log_masses).min()
        claims.append(claim.drawn("prediction", of, here.divergence_law, here.total, SLIPS_NATS, possible=(0, least)))
    return claims


def _line(dataset: xr.Dataset) -> list[Claim]:
    claims, here = [], dataset.isel(worth=[0])
    for path in PATHS:
        for cost in dataset.length_cost.values:
            at = here.sel(path=path, length_cost=cost)
            law, seen = line(at).isel(worth=0), came_in(at).isel(worth=0)
            most = 2 * float(law.mean())
            what = f"{path}, length cost {cost:g}, worth {here.worth.item():g}: s*"
            claims.append(claim.drawn("prediction", what, law, seen, LINE * most / 2, possible=(0, most)))
    return claims


def _worthy(dataset: xr.Dataset) -> list[Claim]:
    first, last = (kind(dataset, "rule").isel(worth=i) for i in (0, -1))
    right = last.accuracy >= reasoning.RIGHT
    what = f"worth {last.worth.item():g}, any rule"
    apart = (last.novelty - first.novelty).where(right & (first.accuracy >= reasoning.RIGHT))
    return [
        claim.at_most("finding", f"{what}: right and unreadable, of all runs", 0, reasoning.unreadable(last).sum()),
        claim.at_most(
            "finding",
            f"{what}: disagreement where the answer is right, largest",
            0.2,
            (1 - last.agreement).where(right).max(),
        ),
        claim.drawn(
            "finding", f"{what}: novelty less that at worth {first.worth.item():g}, nats", 0.0, apart.mean("rule"), 0.3
        ),
    ]


def _checks(dataset: xr.Dataset) -> list[Claim]:
    listed = abs(dataset.steps_accuracy - dataset.accuracy)
    return [
        claim.at_most("theorem", "accuracy: dynamic programming - enumeration, largest", 1e-10, listed.max()),
        claim.at_most("finding", "worst expert, nats per token", 0.03, dataset.expert_divergence.max()),
    ]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    top, rules = best(dataset), kind(dataset, "rule")
    lines = []
    for worth in dataset.worth.values:
        here, at = rules.sel(worth=worth), top.sel(worth=worth)
        runs = {str(name) for name in np.unique(at.run.values)}
        right = here.accuracy >= reasoning.RIGHT
        agreed = here.agreement.where(right)
        lines.append(
            f"Worth {worth:g}: right and unreadable are {reasoning.share(reasoning.unreadable(here))} of the rules' "
            f"runs; where the answer is right agreement is {agreed.min().item():.2f} to {agreed.max().item():.2f}, novelty "
            f"{here.novelty.where(right).mean().item():.2f} nats. Paid best: {', '.join(sorted(runs))}, agreement "
            f"{at.agreement.mean().item():.3f}."
        )
    up, down = (dataset.isel(worth=0, length_cost=-1).sel(path=path) for path in PATHS)
    what = f"Worth {dataset.worth.values[0]:g}, length cost {dataset.length_cost.values[-1]:g}"
    for strength in dataset.strength.values:
        one, other = up.sel(strength=strength), down.sel(strength=strength)
        lines.append(
            f"{what}, strength {strength:g}, up and down: agreement {one.agreement.mean().item():.2f} and {other.agreement.mean().item():.2f}, keyed "
            f"{one.keyed.mean().item():.2f} and {other.keyed.mean().item():.2f} nats; down is paid "
            f"{(reasoning.objective(other) - reasoning.objective(one)).mean().item():+.4f} more."
        )
    return lines
