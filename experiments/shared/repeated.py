"""The command that computes a dataset again, read from the settings that it holds. Without jax."""

import importlib
import json
import shlex
from typing import Any

import xarray as xr

from experiments.shared import command
from toypersona import datasets, limits


def command_of(name: str, dataset: xr.Dataset) -> str:
    """``python -m experiments.NAME``: the preset with the fewest other settings, and these as flags."""
    held = datasets.settings_of(dataset)
    presets = importlib.import_module(f"experiments.{name}").PRESETS
    others = {
        preset: _flags(json.loads(json.dumps(command.provenance(of)["settings"])), held)
        for preset, of in presets.items()
    }
    preset = min(others, key=lambda each: len(others[each]))
    return shlex.join(["python", "-m", f"experiments.{name}", "--preset", preset, *others[preset]])


def _flags(usual: dict[str, Any], held: dict[str, Any], group: str = "") -> list[str]:
    """Flags of the settings that differ, in the order in which they are held."""
    words = []
    for name, value in held.items():
        if isinstance(value, dict):
            words += _flags(usual.get(name) or {}, value, f"{group}{name}.")
        elif name not in usual or value != usual[name]:
            given = value if isinstance(value, list) else [value]
            flag = limits.flag(f"{group}{name}")
            if isinstance(value, bool):
                words += [flag if value else limits.flag(f"{group}no_{name}")]
            else:
                words += [flag, *map(str, given)]
    return words
