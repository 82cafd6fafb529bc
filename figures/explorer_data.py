"""What the explorer's map needs of a world, read from its dataset: who says which word next, and the map itself."""

from typing import Any

import xarray as xr


def map_data(worlds: dict[str, xr.Dataset]) -> dict[str, Any]:
    """The tables of every world, by name."""
    return {"worlds": list(worlds)}
