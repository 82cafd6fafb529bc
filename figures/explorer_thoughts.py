"""What the explorer's second tab needs of the reasoning world's dataset."""

from typing import Any

import xarray as xr


def thoughts_data(dataset: xr.Dataset) -> dict[str, Any]:
    """Transcripts and measures of every strength and length cost."""
    return {"strengths": []}
