"""What is read from the dataset of fine-tuning: how few lines leave the hull, and who is still there."""

import numpy as np
import xarray as xr

from experiments.shared.claim import Claim, at_most, drawn_at_most, grouped
from toypersona import datasets
from toypersona.measures import boundaries

NEAR = 0.25
"""How far the logarithm of the drift at the nearest record may be from that of the drift asked for."""


BOUNDS = {"mixture": (0.1, 0.5, 0.1), "transformer": (0.5, 1.0, 0.5)}
"""Of what a stranger's lines select, of Larry's weight left by his prompts in that after his words, and of the steps
that bring him back in a stranger's; a network forgets who speaks less abruptly than gates do."""


def bounds(dataset: xr.Dataset) -> tuple[float, float, float]:
    """``BOUNDS`` of the policy that was trained."""
    return BOUNDS[datasets.settings_of(dataset)["policy"]]


def near_drift(dataset: xr.Dataset) -> xr.Dataset:
    """What was recorded after SFT and RL; nan where a draw did not come near the drift asked for."""
    recorded = [name for name, values in dataset.data_vars.items() if {"rule", "drift"} <= set(values.dims)]
    return dataset[recorded].where(abs(np.log(dataset.spent / dataset.drift)) < NEAR)


def mean_at_drift(dataset: xr.Dataset) -> xr.Dataset:
    """Means over draws of what was recorded after SFT and RL; nan unless all came near the drift asked for."""
    return near_drift(dataset).mean("seed", skipna=False)


def back_again(dataset: xr.Dataset) -> xr.DataArray:
    """KL(wanted‖policy) in nats at which somebody answers half as often as the persona called did in the base."""
    return dataset.base_absence + np.log(2)


def steps_back(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Steps of SFT until the persona called, and a stranger, answer half as often as the persona did in the base."""
    enough = back_again(dataset)
    called = boundaries.reached(enough - dataset.back_absence, 0.0, "back")
    # At once is within the first step.
    return xr.ufuncs.maximum(called, 1.0), boundaries.reached(enough - dataset.new_absence, 0.0, "back")


def nats_back(dataset: xr.Dataset) -> xr.DataArray:
    """KL(after‖before) in nats, at prompts of the persona called, of those steps that bring it back."""
    log_steps = np.log(dataset.back.values)
    return xr.apply_ufunc(
        lambda steps, nats: np.interp(np.log(steps), log_steps, nats),
        steps_back(dataset)[0],
        dataset.back_nats,
        input_core_dims=[[], ["back"]],
        vectorize=True,
    )


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What demonstrations lead to, and who is still there."""
    return [
        *grouped("What is learnt from lines", _learnt(dataset)),
        *grouped(f"Whether {datasets.config_of(dataset)['called'].capitalize()} is still there", _there(dataset)),
    ]


def _learnt(dataset: xr.Dataset) -> list[Claim]:
    end, (few, *_, many) = dataset.isel(step=-1), dataset.lines.values
    persona, stranger = (end.sel(demonstrator=who) for who in ("persona", "stranger"))
    learnt = stranger.selection_fraction.sel(lines=many)
    fraction = persona.selection_fraction.sel(lines=few)
    ratio = persona.hull_distance.sel(lines=many) / persona.hull_distance.sel(lines=few)
    return [
        drawn_at_most(
            "finding", f"SFT on {many} lines by a stranger: selection fraction at the end", bounds(dataset)[0], learnt
        ),
        drawn_at_most("finding", f"SFT on {few} lines by a persona: selection fraction at the end", 0.5, fraction),
        drawn_at_most("finding", f"SFT on {many} / on {few} lines by a persona: hull distance at the end", 0.1, ratio),
    ]


def _there(dataset: xr.Dataset) -> list[Claim]:
    reached = mean_at_drift(dataset).spent.notnull()
    weight_by_prompts = abs(dataset.base_presence.sel(words=0) - dataset.base_gate)
    statements = [at_most("theorem", "base: |weight by his prompts - gate|, largest", 1e-4, weight_by_prompts)]
    for rule in dataset.rule.values:
        here = reached.sel(rule=rule)
        for level in dataset.drift.values[here]:
            statements += _at(dataset.sel(rule=rule, drift=level), f"{rule}, {level:g} nats")
    return statements


def _at(dataset: xr.Dataset, where: str) -> list[Claim]:
    """After one rule, at a drift that it reached."""
    (back, new), words = steps_back(dataset), dataset.words.values[-1]
    left = dataset.presence / dataset.base_presence
    by_prompts = left.sel(words=0) / left.sel(words=words)
    # Whoever has not come by the last record takes longer than that; the persona called has to have come.
    ratio = back / xr.ufuncs.minimum(new, dataset.back[-1])
    return [
        drawn_at_most(
            "finding",
            f"{where}: share of his weight left, by his prompts / after {words} of his words",
            bounds(dataset)[1],
            by_prompts,
        ),
        drawn_at_most(
            "finding", f"{where}: steps that bring him back / that bring a stranger", bounds(dataset)[2], ratio
        ),
        *([_by_name(dataset, where)] if "name_absence" in dataset else []),
    ]


def _by_name(dataset: xr.Dataset, where: str) -> Claim:
    """Of a network: training moves it less where it is called by his name than where nobody is named."""
    kept = dataset.name_absence / dataset.nobody_absence
    return drawn_at_most("finding", f"{where}: nats lost under his name / under none", 0.7, kept)


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    names, settings = datasets.config_of(dataset), datasets.settings_of(dataset)
    helpful, called = (names[who].capitalize() for who in ("helpful", "called"))
    ends = dataset.selection_fraction.isel(step=-1).mean("seed")
    by_lines = ", ".join(f"{n}: {ends.sel(demonstrator='persona', lines=n).item():.2f}" for n in dataset.lines.values)
    strange = ends.sel(demonstrator="stranger")
    sentences = [
        f"SFT for {settings['num_steps']} steps: share of the drift that selects, by the number of {helpful}'s lines: "
        f"{by_lines}; on lines of a stranger {strange.min().item():.2f} to {strange.max().item():.2f}."
    ]
    back, new = steps_back(dataset)
    tuned = mean_at_drift(dataset).assign(steps=back.mean("seed"), moved=nats_back(dataset).mean("seed"))
    base = dataset.base_presence.mean("seed")
    words = "a word" if settings["length"] == 2 else f"{settings['length'] - 1} words"
    for level in dataset.drift.values:
        for rule in dataset.rule.values:
            here = tuned.sel(rule=rule, drift=level)
            if np.isfinite(here.spent):
                sentences.append(
                    f"{rule} to {here.spent.item():.2g} nats (S {here.tuned_fraction.item():.2f}): {called} has weight "
                    f"{here.presence[0].item():.3f} at his prompts (base {base[0].item():.2f}), "
                    f"{here.presence[-1].item():.2f} after {words} of his (base {base[-1].item():.2f}); "
                    f"{_steps(here.steps, dataset)} and {here.moved.item():.2f} nats of SFT bring him back, "
                    f"a stranger comes in {_steps(new.mean(), dataset)}."
                )
                if "name_absence" in dataset:
                    sentences.append(
                        f"Called by name, which no line of {rule} mentions, {called} has lost {here.name_absence:.2g} "
                        f"nats there; what the network says when nobody is named, {here.nobody_absence:.2g}."
                    )
    return sentences


def _steps(num: xr.DataArray, dataset: xr.Dataset) -> str:
    return f"{num.item():.0f} steps" if np.isfinite(num) else f"more than {dataset.back[-1].item():g} steps"
