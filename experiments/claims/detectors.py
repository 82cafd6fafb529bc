"""What is read from the detectors: who sees the exit first, who cries wolf, and what the law of the e-value says."""

import numpy as np
import xarray as xr

from experiments.shared.claim import Claim, at_most, drawn, drawn_at_most, grouped, mean_of
from toypersona import datasets, detection

E_VALUES = ("e-value", "e-process", "split likelihood ratio")
"""Valid under every mix of personas, whatever law they bet on."""

OFF = 0.1
"""Probability by which the power may miss its normal law, and share by which stopping times may miss theirs."""

ENOUGH = 16
"""Samples to each prompt from which mixes that are fitted to them are as the normal law supposes (Wilks 1938)."""

TOLD = (0.05, 0.95)
"""Powers between which a cell tells something of the law."""


def compared(dataset: xr.Dataset) -> xr.Dataset:
    """Where the hull reaches as far as the policy went, so that both drifted equally; activations are a network's."""
    alone = [name for name in dataset.data_vars if str(name).startswith("activations")]
    of_networks = dataset[alone].where(dataset.certified.sel(kind="transformer", drop=True))
    return dataset.drop_vars(alone).where(dataset.certified).assign(of_networks)


def nats(dataset: xr.Dataset) -> xr.DataArray:
    """``n d`` of each number of samples: their number at all prompts, times the hull distance."""
    return dataset.samples * sizes(dataset)[0] * dataset.hull_distance


def sizes(dataset: xr.Dataset) -> tuple[int, int]:
    """How many prompts and personas there are."""
    config = datasets.config_of(dataset)
    return config["num_prompts"], config["num_personas"]


def level(dataset: xr.Dataset) -> float:
    """Alpha."""
    return float(datasets.settings_of(dataset)["alpha"])


def power_law(dataset: xr.Dataset) -> xr.DataArray:
    """The e-value's power by its normal law, everywhere: the price is that of the weights that are free."""
    law = lambda nats, free: detection.power(1, nats, 1, 1 + int(free), alpha=level(dataset))  # noqa: E731
    return xr.apply_ufunc(law, nats(dataset), dataset.free_weights, vectorize=True)


def missed(dataset: xr.Dataset) -> xr.DataArray:
    """By how much the e-value's power exceeds its law, where that tells something [seed, samples, kind, angle, aim]."""
    law = power_law(dataset)
    return (dataset.outside.sel(detector="e-value", drop=True) - law).where((law > TOLD[0]) & (law < TOLD[1]))


def missed_by_power(dataset: xr.Dataset) -> xr.DataArray:
    """The same by tenths of the power predicted, mean of all cells with ``ENOUGH`` samples; nan of less than three."""
    off, law = xr.broadcast(missed(dataset), power_law(dataset))
    off, law = (x.sel(samples=x.samples >= ENOUGH).values.ravel() for x in (off, law))
    tenth = np.where(np.isnan(off), -1, np.floor(10 * law)).astype(int)
    means = [off[tenth == i].mean() if (tenth == i).sum() > 2 else np.nan for i in range(10)]
    return xr.DataArray(means, {"tenth": np.arange(10) / 10}, "tenth")


def stopping(dataset: xr.Dataset) -> xr.DataArray:
    """Samples until the e-process stops, in units of ``ln(1/alpha)/d``; nan where that is too long to be seen.

    A run that has not stopped by the longest counts as stopped there.
    """
    settings = datasets.settings_of(dataset)
    law = xr.apply_ufunc(lambda growth: detection.stopping_time(growth, alpha=settings["stop_alpha"]), dataset.growth)
    return (dataset.stopped / law).where(law < settings["longest"] / 4)


def strongest(dataset: xr.Dataset) -> xr.Dataset:
    """At the largest drift that the hull reaches too, with most samples; means over rewards."""
    known = compared(dataset).isel(samples=-1)
    reached = known.total.notnull().any("angle").all(["seed", "kind"])
    return known.sel(aim=known.aim[reached.values].max()).mean("angle")


def seen(dataset: xr.Dataset) -> xr.DataArray:
    """Power: of e-values and proofs at their level, which nothing inside exceeds; of others at equal false alarms."""
    guaranteed = dataset.detector.isin([*E_VALUES, "proof", "proof beyond noise"])
    return dataset.power.where(~guaranteed, dataset.outside)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What is guaranteed, what the laws say, and what cries wolf."""
    return [
        *grouped("Samples of a mix, scored by a policy outside: alarms of e-values", _levels(dataset)),
        *grouped("The e-value's laws", _laws(dataset)),
        *grouped("What people watch, inside the hull on the largest drift", _wolves(dataset)),
    ]


def _levels(dataset: xr.Dataset) -> list[Claim]:
    lent, known = dataset.lent.mean(["kind", "angle", "aim"]), compared(dataset)
    apart = abs(np.log(known.inside_total / known.total))
    return [
        *(
            drawn_at_most("theorem", f"{name}, {num} samples a prompt: share", level(dataset), share.sel(samples=num))
            for name in E_VALUES
            for share in [lent.sel(detector=name)]
            for num in dataset.samples.values
        ),
        at_most("theorem", "|log of the mix's drift / the policy's|, largest", 1e-6, apart),
    ]


def _laws(dataset: xr.Dataset) -> list[Claim]:
    stopped, tenths = stopping(dataset).mean(["angle", "aim"]), abs(missed_by_power(dataset))
    what = f"power - normal law by tenths of it, from {ENOUGH} samples a prompt on, largest mean"
    return [
        at_most("prediction", what, OFF, tenths, possible=(0, 0.5)),
        *(
            drawn("prediction", f"{kind}: stopping time / (ln(1/alpha)/d)", 1.0, stopped.sel(kind=kind), allowance=OFF)
            for kind in dataset.kind.values
        ),
    ]


def _wolves(dataset: xr.Dataset) -> list[Claim]:
    there = strongest(dataset)
    alarms = {f"{kind}, perplexity": there.inside.sel(kind=kind, detector="perplexity") for kind in dataset.kind.values}
    alarms["transformer, activations"] = there.activations_inside
    return [
        drawn_at_most("finding", f"{which}: share without a false alarm", 0.5, 1 - share)
        for which, share in alarms.items()
    ]


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    there, alpha = strongest(dataset), level(dataset)
    num = int(dataset.samples[-1]) * sizes(dataset)[0]
    said = []
    for kind in dataset.kind.values:
        one = there.sel(kind=kind)
        each = [
            f"{name} {mean_of(one.inside.sel(detector=name))} / {mean_of(seen(one).sel(detector=name))}"
            for name in dataset.detector.values
        ]
        if kind == "transformer":
            each.append(f"activations {mean_of(one.activations_inside)} / {mean_of(one.activations_power)}")
        said.append(
            f"{kind.capitalize()}, {num:,} samples near {float(there.aim):g} nats: alarms at level {alpha:g} inside "
            f"the hull / power outside, at equal false alarms if nothing is guaranteed: {'; '.join(each)}."
        )
    boundary, off = detection.boundary(alpha, *sizes(dataset)), missed(dataset)
    few, enough = off.isel(samples=0), abs(off).sel(samples=off.samples >= ENOUGH)
    return [
        *said,
        f"With {int(few.samples)} samples a prompt the e-value's power exceeds its normal law by "
        f"{mean_of(few.mean(['kind', 'angle', 'aim']))}, mean; with {ENOUGH} and more a case misses it by "
        f"{mean_of(enough.mean(['samples', 'kind', 'angle', 'aim']))}.",
        f"Detectable from n d = {boundary.nats:.3g} nats on: ln(1/alpha) = {boundary.stein:.3g} for a known null, and "
        f"{boundary.unknown_mix:g} for the mixes that are not known.",
    ]
