"""What is read from the network."""

import xarray as xr

from experiments.shared.claim import Claim


def claims(dataset: xr.Dataset) -> list[Claim]:
    return []


def findings(dataset: xr.Dataset) -> list[str]:
    return []
