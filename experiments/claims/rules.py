"""What is read from the comparison of rules: against exact counterparts and the tilt, controls, and at equal drift."""

import itertools
from collections.abc import Mapping

import numpy as np
import xarray as xr
from scipy import stats

from experiments.shared import terminal
from experiments.shared.claim import Claim, at_most, drawn, grouped
from toypersona import datasets
from toypersona.measures import curves, equal_drift

COUNTERPARTS = {
    "REINFORCE, mean": "policy gradient",
    "RLOO": "policy gradient",
    "RLOO, k1 in loss": "policy gradient",
    "Dr. GRPO": "policy gradient",
    "best of 8": "best of 8, exact",
}
"""Sampled rules and what they follow as their learning rate vanishes."""

EXACT = (*dict.fromkeys(COUNTERPARTS.values()), "tilt")
"""Rules without noise, from which a sampled rule has to be told."""

TOLD = 0.1
"""Selection fraction by which they have to differ, or agreement with one of them says nothing."""

SIGNIFICANT = 0.05
"""Probability, after correction, below which two rules are told apart."""

FEW = 5
"""Rules from which on a rank correlation is said."""

NOISE = 0.02
"""Selection fraction by which the noise of the lowest learning rate may move them apart."""


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What the exact counterparts, the tilt and the controls say, as far as they are among the rules compared."""
    return [
        *grouped("Sampled rules against their exact counterparts", _counterparts(dataset)),
        *grouped("Bounds and controls", _controls(dataset)),
        *grouped("pass@k", _passes(dataset)),
    ]


def _controls(dataset: xr.Dataset) -> list[Claim]:
    compared, above = set(dataset.rule.values), dataset.reward - dataset.best_reward
    controls = [at_most("theorem", "reward above the tilt's at the same drift, any rule, largest", 1e-3, above)]
    if "RLOO, gates only" in compared:
        off = dataset.hull_distance.sel(rule="RLOO, gates only")
        controls.append(at_most("theorem", "RLOO, gates only: hull distance, largest, nats", 1e-9, off))
    if "paid alike, RLOO" in compared:
        still = dataset.total.sel(rule="paid alike, RLOO")
        controls.append(at_most("identity", "paid alike, RLOO: drift, largest, nats", 1e-12, still))
    return controls


def _counterparts(dataset: xr.Dataset) -> list[Claim]:
    """At the lowest learning rate a sampled rule selects what its exact counterpart does, and not what another does.

    At the drift where the nearest other exact rule is farthest, if that is far enough for any claim to be told.
    """
    spent = equal_drift.at_spent(dataset[["total", "selection_fraction"]].isel(rate=0), levels(dataset))
    slow, compared = spent.selection_fraction, []
    exact = slow.sel(rule=[name for name in EXACT if name in dataset.rule]).mean("seed", skipna=False)
    for gate, (rule, law) in itertools.product(dataset.gate.values, COUNTERPARTS.items()):
        if not {rule, law} <= set(dataset.rule.values) or exact.rule.size < 2:
            continue
        one = exact.sel(gate=gate)
        apart = abs(one.drop_sel(rule=law) - one.sel(rule=law)).min("rule").fillna(0.0)
        level = apart.drift[int(apart.values.argmax())].item()
        if (far := apart.sel(drift=level).item()) < TOLD:
            continue
        middle, at = one.sel(rule=law, drift=level).item(), {"gate": gate, "drift": level}
        what, possible = (
            f"gate {gate}, {rule}: selection fraction at {level:g} nats, of {law}",
            (middle - far, middle + far),
        )
        seen = slow.sel(at).sel(rule=rule)
        compared.append(drawn("prediction", what, slow.sel(at).sel(rule=law), seen, NOISE, possible=possible))
    return compared


def _passes(dataset: xr.Dataset) -> list[Claim]:
    """The unbiased estimate of pass@k against its exact value, all rules and draws."""
    last, num = dataset.isel(record=-1, rate=0), datasets.config_of(dataset)["num_tries"]
    error, what = last.tried - last.passes, f"pass@%d from {num} samples - exact, mean"
    return [drawn("theorem", what % k, 0.0, error.sel(k=k), possible=(-1, 1)) for k in dataset.k.values[:-1]]


def levels(dataset: xr.Dataset) -> list[float]:
    """Drifts at which rules are compared, nats."""
    return datasets.settings_of(dataset)["drifts"]


def at_levels(dataset: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Every variable at these drifts, by rule: mean over draws, and half of its 95% interval."""
    return equal_drift.at_equal_drift(dataset, levels(dataset))


def along_drift(dataset: xr.Dataset, num: int) -> tuple[xr.Dataset, xr.Dataset]:
    """As ``at_levels`` at ``num`` drifts around them, and ``share``, of the tilt's reward there."""
    drifts = np.geomspace(levels(dataset)[0] / 3, 3 * levels(dataset)[-1], num).tolist()
    return equal_drift.at_equal_drift(dataset.assign(share=dataset.reward / dataset.best_reward), drifts)


def selected(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Selection fraction of every draw where rules have spent the same drift, and where they are paid the same.

    By ``drift`` and ``paid``, each [seed, gate, rule, level].
    """
    paths, paid = dataset[["total", "reward", "selection_fraction"]], datasets.settings_of(dataset)["paid"]
    found = {
        "drift": equal_drift.at_spent(paths, levels(dataset)).rename(drift="level"),
        "paid": equal_drift.at_paid(paths, paid).rename(paid="level"),
    }
    return {name: equal_drift.independent(values.selection_fraction) for name, values in found.items()}


def against(fraction: xr.DataArray, rule: str) -> xr.Dataset:
    """How much more every other rule selects than one, paired by draws.

    Args:
        fraction: one of ``selected``.
        rule: the one.

    Returns:
        ``difference``, half its 95% interval ``half`` (Student), and ``p``, that they are equal, corrected for the
        number of rules at each gate and level (Holm 1979), each [rule, gate, level]; nan where fewer draws than
        ``equal_drift.REACHED`` have it.
    """
    apart = (fraction - fraction.sel(rule=rule)).drop_sel(rule=rule)
    count = apart.notnull().sum("seed")
    known = count >= max(3, equal_drift.REACHED * apart.sizes["seed"])
    error = (apart.std("seed", ddof=1) / np.sqrt(count)).where(known)
    mean, freedom = apart.mean("seed").where(known), np.maximum(count - 1, 1)
    p = xr.apply_ufunc(lambda t, count: 2 * stats.t.sf(t, count), abs(mean) / error, freedom)
    half = error * xr.apply_ufunc(lambda count: stats.t.ppf(0.975, count), freedom)
    corrected = xr.apply_ufunc(
        _holm, p, input_core_dims=[["rule"]], output_core_dims=[["rule"]], vectorize=True, keep_attrs=False
    )
    return xr.Dataset({"difference": mean, "half": half, "p": corrected})


def _holm(p: np.ndarray) -> np.ndarray:
    """Probabilities corrected for how many there are; the smallest counts for all, the next for all but one."""
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    corrected = np.full(p.size, np.nan)
    least = np.arange(order.size, 0, -1) * p[order]
    corrected[order] = np.minimum(np.maximum.accumulate(least), 1.0)
    return corrected


def signs(compared: xr.Dataset) -> xr.DataArray:
    """Of ``against``: -1 or 1 where a rule selects less or more at 5%, 0 where that is not told; nan if not reached."""
    return np.sign(compared.difference).where(compared.p < SIGNIFICANT, 0.0).where(compared.p.notnull())


def survivors(of_each: Mapping[str, xr.Dataset], kind: str, rule: str) -> dict[str, float]:
    """The rules that select less (-1) or more (1) than one in every world and with every gate, at the last level.

    Args:
        of_each: the comparison in each world.
        kind: at the same ``drift``, or where the same is ``paid``.
        rule: the one.
    """
    columns = []
    for dataset in of_each.values():
        told = signs(against(selected(dataset)[kind].isel(level=-1), rule))
        columns += [told.sel(gate=gate, drop=True) for gate in told.gate.values]
    agreed = xr.concat(columns, "column", join="inner")
    same = agreed.mean("column", skipna=False).to_series()
    return {str(name): sign for name, sign in same.items() if abs(sign) == 1}


def base_passes(dataset: xr.Dataset) -> xr.DataArray:
    """pass@k of the base, mean over draws."""
    return dataset.base_passes.mean([name for name in dataset.base_passes.dims if name != "k"])


def own(dataset: xr.Dataset) -> list[str]:
    """Names of the user's own rules."""
    return datasets.config_of(dataset).get("own", [])


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away: of each gate in turn."""
    sentences = [
        f"Gate {gate}: {sentence}" if dataset.gate.size > 1 else sentence
        for gate in dataset.gate.values
        for sentence in _with_gate(dataset.sel(gate=gate))
    ]
    if dataset.gate.size > 1:
        level, apart = levels(dataset)[-1], {"tilt", *datasets.config_of(dataset)["controls"]}
        first, second = at_levels(dataset)[0].selection_fraction.sel(drift=level).transpose("gate", "rule")
        known = [rule for rule in (first + second).dropna("rule").rule.values if rule not in apart]
        if len(known) >= FEW:
            same = curves.rank_correlation(first.sel(rule=known), second.sel(rule=known), "rule").item()
            sentences.append(
                f"By the share of {level:g} nats that is selected, {len(known)} rules have a rank correlation of "
                f"{same:.2f} between the two gates of the same base."
            )
    return sentences


def _with_gate(dataset: xr.Dataset) -> list[str]:
    level, controls = levels(dataset)[-1], datasets.config_of(dataset)["controls"]
    trained = [rule for rule in dataset.rule.values if rule not in controls]
    mean, error = (values.sel(drift=level, rule=trained) for values in at_levels(dataset))
    order = mean.selection_fraction.dropna("rule").sortby(mean.selection_fraction)

    def name(values: xr.DataArray, rule: str) -> str:
        return f"{rule} {values.sel(rule=rule).item():.2f}"

    def most(values: xr.DataArray) -> str:
        known = values.dropna("rule")
        return ", ".join(name(known, rule) for rule in known.rule.values[np.argsort(-known.values)][:3])

    half = error.selection_fraction
    shares = {
        rule: f"{name(order, rule)} ± {terminal.number(half.sel(rule=rule).item(), 2)}" for rule in order.rule.values
    }
    sentences = _of_own(dataset, shares, level)
    if missed := [rule for rule in trained if rule not in shares]:
        sentences.append(
            f"Not compared at {level:g} nats, which fewer than {equal_drift.REACHED:.0%} of their draws reach: "
            f"{', '.join(missed)}; more --num-steps or larger --rates bring them there."
        )
    if shares:
        listed, switch, new = ", ".join(shares.values()), most(mean.switching), most(mean.novelty)
        sentences += [
            f"Share of {level:g} nats that is selected, least first (± half a 95% interval): {listed}.",
            f"Most of it switches persona mid-sentence: {switch}; is said by nobody: {new}.",
        ]
    return sentences + _of_controls(dataset, mean, level)


def _of_own(dataset: xr.Dataset, shares: dict[str, str], level: float) -> list[str]:
    """Where each rule of the user's stands among all that reach the drift."""
    ranks = {rule: place for place, rule in enumerate(shares, start=1)}
    return [
        f"Your rule, {shares[rule]} of {level:g} nats: place {ranks[rule]} of {len(ranks)} by the share of selection."
        if rule in ranks
        else f"Your rule {rule} is not in the figure: too few of its draws reach {level:g} nats."
        for rule in own(dataset)
    ]


def _of_controls(dataset: xr.Dataset, mean: xr.Dataset, level: float) -> list[str]:
    compared, sentences = set(dataset.rule.values), []
    if "RLOO" in compared and mean.passes.sel(rule="RLOO").notnull().all():
        base, passes, last = base_passes(dataset), mean.passes.sel(rule="RLOO"), dataset.k.values[-1]
        sentences.append(
            f"RLOO at {level:g} nats: pass@1 {passes[0].item():.2f} (base {base[0].item():.2f}), pass@{last} "
            f"{passes[-1].item():.2f} (base {base[-1].item():.2f})."
        )
    if "paid by chance" in compared:
        chance = dataset.sel(rule="paid by chance").isel(record=-1)
        sentences.append(
            f"Paid by chance, {datasets.settings_of(dataset)['num_steps']} steps spend "
            f"{chance.total.isel(rate=0).mean().item():.2g} to {chance.total.isel(rate=-1).mean().item():.2g} nats, "
            f"{chance.selection_fraction.mean().item():.2f} of them selection."
        )
    return sentences
