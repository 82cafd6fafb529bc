"""What is read from the experiment on codes: what the law says of policies, who is paid best, where codes come in."""

import numpy as np
import xarray as xr

from experiments.claims import reasoning
from experiments.claims.reasoning import UNREADABLE
from experiments.shared import claim
from experiments.shared.claim import Claim, Kind

TWO = "own and opposite"
PATHS = ("annealed", "annealed down")

SLIPS = 0.01
"""What slips that are left at a finite strength may move a probability by."""

SLIPS_NATS = 0.02
"""And a divergence, nats."""

LINE = 0.02
"""Part of the strength at which cheap codes come in that slips may move it by: there they are not yet gone."""

PAID = 1e-6
"""What a policy that slips now and then may be paid more than one that never does."""

NEARLY = 0.95
"""An accuracy from which on a policy hardly slips: the law is one of policies that do not."""

SPOKEN = 0.95
"""Share of what is said that is in the codes of the law, from which on a policy speaks in them."""


def kind(dataset: xr.Dataset, prefix: str) -> xr.Dataset:
    """What was measured of rules (prefix ``rule``) or built starts (``start``), at the greatest strength and cost."""
    names = {str(name): str(name).removeprefix(f"{prefix}_") for name in dataset if str(name).startswith(f"{prefix}_")}
    end = {"strength": dataset.strength[-1], "length_cost": dataset.length_cost[-1]}
    return dataset[list(names)].rename(names).assign_coords(end)


def annealed(dataset: xr.Dataset) -> xr.Dataset:
    """The ends of annealing that say codes and nothing else."""
    end = kind(dataset, "rule").sel(rule="annealed")
    return end.where(end.said.sum("convention") >= SPOKEN)


def by_law(dataset: xr.Dataset) -> xr.DataArray:
    """What the law says is climbed, as ``reasoning.objective``."""
    return 1 - dataset.length_cost * dataset.cost_law - dataset.divergence_law / dataset.strength


def lawful(dataset: xr.Dataset) -> xr.Dataset:
    """The built start that the law says is paid best: of as many codes as there are voices, the likeliest."""
    starts = kind(dataset, "start")
    return starts.isel(start=by_law(starts).argmax("start")).drop_vars("start")


def best(dataset: xr.Dataset) -> xr.Dataset:
    """Agreement, novelty and objective of the best paid of everything that was trained, and its name, ``run``."""
    runs = []
    for prefix in ("start", "rule"):
        here = kind(dataset, prefix).rename({prefix: "run"})
        runs.append(here[["agreement", "novelty"]].assign(objective=reasoning.objective(here)))
    every = xr.concat(runs, "run", coords="minimal", compat="override")
    assert isinstance(every, xr.Dataset)
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
    first = {name: 0 for name in dataset.costs.dims if name != "convention"}
    return dataset.costs.isel(first, drop=True) == dataset.costs.min()


def came_in(dataset: xr.Dataset) -> xr.DataArray:
    """The strength at which cheap and readable codes are as likely, measured: their log-odds interpolated."""
    return _first_zero(_odds(dataset), "strength")


def _odds(dataset: xr.Dataset) -> xr.DataArray:
    said, ours = dataset.said, cheap(dataset)
    return np.log(said.where(ours, 0).sum("convention") / said.where(~ours, 0).sum("convention"))


def slips_are_gone(dataset: xr.Dataset) -> xr.DataArray:
    """Whether answers are nearly right already at the last strength at which readable codes are as likely."""
    last = ((_odds(dataset) > 0).argmax("strength") - 1).clip(min=0)
    return dataset.accuracy.isel(strength=last).drop_vars("strength") >= NEARLY


def likeliest(dataset: xr.Dataset) -> xr.DataArray:
    """As many of the cheap codes as there are voices: those that the base says most often."""
    ours = dataset.log_masses.where(cheap(dataset), -np.inf)
    last = -dataset.sizes["persona"]
    least = xr.apply_ufunc(lambda x: np.sort(x, axis=-1)[..., last], ours, input_core_dims=[["convention"]])
    return ours >= least


def line(dataset: xr.Dataset, keyed: xr.DataArray) -> xr.DataArray:
    """The same, s*, by the law: from the base, and which of the cheap codes are keyed."""
    ours, strengths = cheap(dataset), dataset.strength
    paid = dataset.log_masses - strengths * dataset.length_cost * dataset.costs
    total = lambda which: np.log(np.exp(paid.where(which, -np.inf)).sum("convention"))  # noqa: E731
    return _first_zero(total(ours & keyed) - total(~ours), "strength")


def hidden(dataset: xr.Dataset) -> xr.DataArray:
    """Whether most of the answer is hidden from the reader."""
    return dataset.read < dataset.coded + dataset.keyed


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
    claims, two, top, end = [], kind(dataset, "start").sel(start=TWO), best(dataset), annealed(dataset)
    # Restricted to two conventions the optimum is a calculation, and only the optimiser is tested.
    pairs: dict[str, tuple[Kind, xr.DataArray, xr.DataArray]] = {
        "two conventions, own and opposite": ("theorem", two.agreement_law, two.agreement),
        "best paid of everything trained": ("prediction", lawful(dataset).agreement_law, top.agreement),
        "annealed, by the codes it keys": ("prediction", end.agreement_law, end.agreement),
    }
    for what, (of_kind, law, seen) in pairs.items():
        for worth in dataset.worth.values:
            at = law.sel(worth=worth), seen.sel(worth=worth)
            claims.append(claim.drawn(of_kind, f"{what}; worth {worth:g}: agreement", *at, SLIPS, possible=(0, 1)))
    for what, (_, law, seen) in list(pairs.items())[:2]:
        worths = (dataset.worth[0], dataset.worth[-1])
        found = f"{what}: worth from which on agreement is above {UNREADABLE:g}"
        claims.append(claim.drawn("theorem", found, crossing(law), crossing(seen), SLIPS, possible=worths))
    more = reasoning.objective(kind(dataset, "rule")).max("rule") - by_law(lawful(dataset))
    claims.append(claim.at_most("finding", "paid to any rule more than to the law's codes, largest", PAID, more))
    return claims


def _key(dataset: xr.Dataset) -> list[Claim]:
    claims, starts = [], kind(dataset, "start")
    likeliest = starts.isel(start=by_law(starts).argmax("start"))
    for what, here in {TWO: starts.sel(start=TWO), "most codes": likeliest}.items():
        gained = saved(here.assign(log_masses=dataset.log_masses))
        for worth in dataset.worth.values[[0, -1]]:
            law, seen = here.key_entropy_law.sel(worth=worth), gained.sel(worth=worth)
            of = f"{what}, worth {worth:g}: nats saved"
            claims.append(claim.drawn("theorem", of, law, seen, SLIPS_NATS, possible=(0, float(law.max()))))
    for worth in dataset.worth.values:
        here = annealed(dataset).sel(worth=worth)
        of = f"annealed, worth {worth:g}: KL(policy‖base), nats"
        most = -float(dataset.log_masses.sel(worth=worth).max())
        claims.append(claim.drawn("theorem", of, here.divergence_law, here.total, SLIPS_NATS, possible=(0, most)))
    return claims


def _line(dataset: xr.Dataset) -> list[Claim]:
    """Of the seeds that speak in codes and no longer slip there; where these are fewer than two, nothing is claimed."""
    claims = []
    down = dataset.sel(path="annealed down")
    for cost in dataset.length_cost.values:
        for worth in dataset.worth.values:
            at = down.sel(length_cost=cost, worth=[worth])
            known = annealed(dataset).agreement.sel(worth=[worth]).notnull() & slips_are_gone(at)
            if known.sum() < 2:
                continue
            law, seen = line(at, at.keyed_codes).where(known), came_in(at).where(known)
            most, what = 2 * float(law.mean()), f"annealed down, length cost {cost:g}, worth {worth:g}: s*"
            claims.append(claim.drawn("prediction", what, law, seen, LINE * most / 2, possible=(0, most)))
    dear = dataset.isel(length_cost=-1)
    first = came_in(dear.sel(path="annealed down")) - came_in(dear.sel(path="annealed"))
    what = f"length cost {dear.length_cost.item():g}, any worth: s* on the way down less that on the way up"
    early = hidden(dataset) & (dataset.strength < line(dataset, likeliest(dataset)))
    below = "any worth, length cost and path, below s* of the base's likeliest codes: points at which most is hidden"
    return [
        *claims,
        claim.at_most("prediction", below, 0, early.sum()),
        claim.drawn_at_most("finding", what, 0.0, first),
    ]


def _worthy(dataset: xr.Dataset) -> list[Claim]:
    last, top = kind(dataset, "rule").isel(worth=-1), best(dataset)
    what = f"worth {last.worth.item():g}, any rule"
    apart = (1 - last.agreement).where(last.accuracy >= reasoning.RIGHT)
    lost = (top.novelty.isel(worth=0) - top.novelty.isel(worth=-1)) / top.novelty.isel(worth=0)
    span = f"from worth {dataset.worth.values[0]:g} to {dataset.worth.values[-1]:g}"
    return [
        claim.at_most("finding", f"{what}: right and unreadable, of all runs", 0, reasoning.unreadable(last).sum()),
        claim.at_most("finding", f"{what}: disagreement where the answer is right, largest", 0.2, apart.max()),
        claim.drawn_at_most("finding", f"best paid: share of novelty lost {span}", 0.2, lost, possible=(0, 1)),
    ]


def _checks(dataset: xr.Dataset) -> list[Claim]:
    listed = abs(dataset.steps_accuracy - dataset.accuracy)
    return [
        claim.at_most("theorem", "accuracy: dynamic programming - enumeration, largest", 1e-10, listed.max()),
        claim.at_most("finding", "worst expert, nats per token", 0.03, dataset.expert_divergence.max()),
    ]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    top, rules, lines = best(dataset), kind(dataset, "rule"), []
    for worth in dataset.worth.values:
        here, at = rules.sel(worth=worth), top.sel(worth=worth)
        right = here.where(here.accuracy >= reasoning.RIGHT)
        in_codes = annealed(dataset).agreement.sel(worth=worth).notnull()
        lines.append(
            f"Worth {worth:g}: right and unreadable are {reasoning.share(reasoning.unreadable(here))} of the rules' "
            f"runs; where the answer is right agreement is {_range(right.agreement)}, novelty {_range(right.novelty)} "
            f"nats. Annealing ends in codes in {reasoning.share(in_codes)} of the seeds. Paid best: "
            f"{', '.join(sorted(set(map(str, at.run.values))))}, agreement {at.agreement.mean().item():.3f}, novelty "
            f"{at.novelty.mean().item():.2f} nats."
        )
    late = (dataset.strength > line(dataset, likeliest(dataset))).broadcast_like(dataset.read)
    counts = [int(hidden(dataset).where(there, False).sum()) for there in (~late, late)]
    lines.append(
        f"Most of the answer is hidden from the reader at {counts[0]} of {int((~late).sum())} points of the paths "
        f"below s*, and at {counts[1]} of {int(late.sum())} above it."
    )
    up, down = (dataset.isel(worth=0, length_cost=-1).sel(path=path) for path in PATHS)
    lines.append(
        f"Worth {dataset.worth.values[0]:g}, length cost {dataset.length_cost.values[-1]:g}, annealed up and down: "
        + "; ".join(_there_and_back(up.sel(strength=s), down.sel(strength=s)) for s in dataset.strength.values)
        + "."
    )
    return lines


def _range(values: xr.DataArray) -> str:
    return f"{values.min().item():.2f} to {values.max().item():.2f}"


def _there_and_back(up: xr.Dataset, down: xr.Dataset) -> str:
    agreed = f"agreement {up.agreement.mean().item():.2f} and {down.agreement.mean().item():.2f}"
    gained = (reasoning.objective(down) - reasoning.objective(up)).mean().item()
    return f"strength {up.strength.item():g}, {agreed}, down paid {gained:+.4f} more"
