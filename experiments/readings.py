"""What the experiment ``reasoning`` reads from its dataset: ends, objectives, shares of seeds."""

import numpy as np
import xarray as xr
from scipy import stats

from experiments import thinkers
from experiments.thinking_ways import RULES


def rules(dataset: xr.Dataset) -> xr.Dataset:
    """Without defences and other numbers of bits."""
    return dataset.sel(way=list(RULES))


def lost(dataset: xr.Dataset) -> xr.DataArray:
    """Agreement of the base less that at the greatest strength."""
    return dataset.base_agreement - dataset.agreement.isel(strength=-1)


def objective(dataset: xr.Dataset) -> xr.DataArray:
    """What RL climbs: the reward less KL(policy‖base) / strength."""
    return dataset.accuracy - dataset.length_cost * dataset.cost - dataset.total / dataset.strength


def best(dataset: xr.Dataset) -> xr.Dataset:
    """Of all rules and seeds the policy that is paid best, at every length cost and strength."""
    found = rules(dataset).stack(run=("way", "seed"))
    return found.isel(run=objective(found).argmax("run"))


def best_paid(dataset: xr.Dataset, phase: str) -> float:
    """The greatest objective of all that end in a phase, at the greatest cost and strength; nan if none does."""
    strongest = rules(dataset).isel(length_cost=-1, strength=-1)
    return objective(strongest).where(strongest.phase == thinkers.PHASES.index(phase)).max().item()


def share(seeds: np.ndarray) -> str:
    """A share and its 95% interval (Wilson 1927)."""
    interval = stats.binomtest(int(seeds.sum()), seeds.size).proportion_ci(method="wilson")
    return f"{int(seeds.sum())}/{seeds.size} ({interval.low:.2f}–{interval.high:.2f})"


def count(phases: np.ndarray) -> str:
    """How many seeds are in each phase."""
    names = [thinkers.PHASES[int(phase)] for phase in phases.reshape(-1)]
    return ", ".join(f"{name} {names.count(name)}" for name in thinkers.PHASES if name in names)


def keyed_first(dataset: xr.Dataset) -> list[bool]:
    """Of each exact path with a length cost that ends coded, whether it was keyed before."""
    phases = dataset.phase.sel(way="exact").isel(length_cost=slice(1, None)).transpose(..., "strength").values
    keyed, coded = (thinkers.PHASES.index(name) for name in ("keyed", "coded"))
    return [bool((path == keyed).any()) for path in phases.reshape(-1, phases.shape[-1]) if path[-1] == coded]
