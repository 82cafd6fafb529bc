"""What is read from the persona gain: kappa predicted and measured, and what it depends on."""

from typing import Any

import numpy as np
import xarray as xr

from experiments.claims.weak_limit import EXTRAPOLATED, limits
from experiments.shared.claim import Claim, at_most, drawn, grouped

ONE_NUMBER = 0.05
"""Part of kappa that one number for all angles may miss: what no persona explains also moves the policy inside the
hull, and what they explain out of it."""

LEAK = 0.05
"""Share of a persona reward's direction that may leave the hull where the law is claimed: with experts alone most of it
does, and the curve is no one-number curve."""


def measured(dataset: xr.Dataset) -> xr.DataArray:
    """Kappa at every angle, ``sqrt(1/S(0+) - 1) / tan(theta)``."""
    fraction = limits(dataset)[0].clip(max=1.0)
    return np.sqrt(1 / fraction - 1) / np.tan(np.deg2rad(dataset.angle))


def curve(kappa: Any, degrees: Any) -> Any:
    """The law, ``S(0+) = 1/(1 + kappa² tan² theta)``."""
    return 1 / (1 + (kappa * np.tan(np.deg2rad(degrees))) ** 2)


def at_angles(dataset: xr.Dataset) -> xr.DataArray:
    """Kappa at every angle by R² of the rule's own direction: known before any step, and exact."""
    return np.sqrt(1 / dataset.first_order.clip(max=1.0) - 1) / np.tan(np.deg2rad(dataset.angle))


def missed(dataset: xr.Dataset) -> xr.DataArray:
    """Part by which one number misses kappa at every angle, mean over draws [gate, rule, angle]."""
    return (at_angles(dataset) / dataset.kappa - 1).mean("seed")


def lawful(dataset: xr.Dataset) -> xr.DataArray:
    """Where the law is claimed, [gate, rule].

    Of rules that are linear in the reward, unlike Adam's, and hardly move the policy out of the hull for a persona
    reward; of the gate alone kappa is 0.
    """
    return (dataset.affine_leak.max("seed") <= LEAK) & ~dataset.rule.isin(["Adam", "gate alone"])


def by_rule(dataset: xr.Dataset) -> dict[tuple[str, str], tuple[xr.DataArray, xr.DataArray]]:
    """Kappa predicted [seed] and measured [seed, angle] by gate and rule where the law is claimed."""
    claimed, seen = lawful(dataset), measured(dataset)
    return {
        (str(gate), str(rule)): (dataset.kappa.sel(gate=gate, rule=rule), seen.sel(gate=gate, rule=rule))
        for gate in dataset.gate.values
        for rule in dataset.rule.values
        if claimed.sel(gate=gate, rule=rule)
    }


def two_kernels(dataset: xr.Dataset) -> xr.DataArray:
    """Kappa at every rate of the gate from the kernels at rates 0 and 1 alone: 1/kappa is linear in the rate.

    A gate that learns k times as fast adds k times its own part to what a persona reward selects, and nothing to what
    leaves the hull.
    """
    rates = dataset.gate_rate.where(np.isfinite(dataset.gate_rate), drop=True)
    slow, usual = (1 / dataset.kappa.sel(rule=rule, drop=True) for rule in ("experts alone", "gate × 1"))
    return 1 / (slow + rates * (usual - slow))


def claims(dataset: xr.Dataset) -> list[Claim]:
    """One number for the whole curve, predicted before any step."""
    made = [
        drawn(
            "theorem" if rule == "tilt" else "prediction",
            f"kappa, gate {gate}: {rule}",
            law,
            seen,
            ONE_NUMBER * law.mean(),
            possible=(0, 2 * law.mean()),
        )
        for (gate, rule), (law, seen) in by_rule(dataset).items()
    ]
    left = abs(limits(dataset)[0] - dataset.first_order)
    linear = two_kernels(dataset)
    off = abs(linear / dataset.kappa.sel(rule=linear.rule) - 1)
    return grouped(
        "Persona gain: S(0+) = 1/(1 + kappa² tan² angle)",
        [
            *made,
            at_most("theorem", "largest |S(0+) - R²|, all rules", EXTRAPOLATED, left),
            at_most(
                "prediction",
                "kappa at any rate of the gate by the kernels at 0 and 1: largest relative error",
                0.1,
                off,
            ),
        ],
    )


def findings(dataset: xr.Dataset) -> list[str]:
    """What a reader should take away."""
    usual = dataset.sel(rule="gate × 1")
    seen = limits(dataset)[0]
    at = dataset.angle.sel(angle=45, method="nearest").item()
    said = []
    for gate in dataset.gate.values:
        kappa, fraction = usual.kappa.sel(gate=gate), seen.sel(rule="gate × 1", gate=gate, angle=at)
        said.append(
            f"Gate {gate}: plain policy gradient has kappa = {kappa.mean().item():.2f} ({kappa.min().item():.2f} to "
            f"{kappa.max().item():.2f}); at {at:g} degrees it selects {fraction.mean().item():.2f} of a weak drift, "
            f"where the tilt selects {np.cos(np.deg2rad(at)) ** 2:.2f}."
        )
    alone, off = dataset.sel(rule="experts alone"), abs(missed(dataset)).max("angle")
    slowest = dataset.rule.sel(rule=dataset.gate_rate > 0).values[0]
    worst = [
        f"{off.sel(gate=gate, rule='gate × 1').item():.0%} (gate {gate}; {off.sel(gate=gate, rule=slowest).item():.0%} "
        f"with {slowest})"
        for gate in dataset.gate.values
    ]
    return [
        *said,
        f"One number for all angles misses kappa, mean over draws, by up to {' and '.join(worst)}: the slower the "
        "gate, the more of what no persona explains moves the policy inside the hull.",
        "Rayleigh quotients give "
        f"{(dataset.rayleigh / dataset.kappa).sel(rule=['gate × 1']).mean().item():.2f} of it: where a reward that no "
        "persona explains moves the policy is not along that reward.",
        f"With experts alone there is no such number: {alone.affine_leak.mean().item():.2f} of the direction that a "
        "persona reward gives them leaves the hull.",
    ]
