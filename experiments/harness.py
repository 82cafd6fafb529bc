"""What every experiment shares: settings from preset, file and flags; claims; and how a run ends.

Settings come in this order, each overriding the last: the preset, a TOML file (``--config``), flags. A run writes
``OUT/NAME.zarr`` and ``OUT/NAME.claims.json``, prints its claims, and exits 0 if all hold, 1 if one fails, 2 on bad
input, 130 when interrupted.
"""

import argparse
import dataclasses
import difflib
import math
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, SupportsFloat

import jax
import numpy as np
import tyro
import xarray as xr

from toypersona import compiling, datasets, sweeps

CACHE = Path(__file__).parents[1] / ".cache" / "jax"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that every experiment has."""

    preset: str = "quick"
    """quick or paper; how long each takes stands above."""
    config: Path | None = None
    """A TOML file of settings; it overrides the preset, flags override it."""
    out: Path = Path("results")
    """Folder for the dataset and the claims. An unfinished run found here is continued."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each draws what is random; said above."""
    chunk: int = 1
    """Points computed together and then kept: 1 suits a CPU's cache, a GPU wants many."""
    part: tuple[int, int] | None = None
    """i n: compute only the i-th of n parts, as one of n processes (i from 0) that share the folder --out."""
    progress: bool = True
    """Show a progress bar."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """One checked statement; numbers in the units that ``what`` names.

    ``relation``: "=" to the prediction within the uncertainty, or "≤", a bound.
    """

    what: str
    predicted: float
    measured: float
    uncertainty: float
    holds: bool
    relation: str = "="


def sweep(
    name: str,
    settings: Settings,
    experiment_fn: compiling.ExperimentFn,
    axes: Mapping[str, np.ndarray],
    *,
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, np.ndarray],
    infinite: Sequence[str] = (),
    labels: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Compute ``settings.out / NAME.zarr``, or continue or load what is there.

    Args:
        name: the experiment's.
        settings: what its seeds, chunk and so on are; all others are kept beside the numbers.
        experiment_fn: as in ``sweeps.run``, like the rest.
        axes: values of each hyperparameter.
        dims: names of the outputs' own dimensions.
        coords: values along those.
        infinite: outputs in which an infinity is a value.
        labels: what else to keep beside the numbers, JSON-able.
    """
    return sweeps.run(
        experiment_fn,
        axes,
        seeds=settings.seeds,
        chunk=settings.chunk,
        part=settings.part,
        out=settings.out / f"{name}.zarr",
        dims=dims,
        coords=coords,
        infinite=infinite,
        config=provenance(settings) | dict(labels or {}),
        progress=settings.progress,
    )


def check(settings: Settings) -> None:
    """Refuse seeds and a chunk that make no sweep.

    Raises:
        ValueError: it names the flag.
    """
    if settings.chunk < 1:
        raise ValueError(f"--chunk has to be 1 or more, not {settings.chunk}.")
    if not settings.seeds or len(set(settings.seeds)) < len(settings.seeds):
        raise ValueError(f"--seeds has to be one or more different whole numbers, not {settings.seeds}.")


def check_increasing(name: str, values: Sequence[float], *, at_least: int = 2) -> None:
    """Refuse a list of settings that is not positive and increasing.

    Raises:
        ValueError: it names the flag.
    """
    if len(values) < at_least or values[0] <= 0 or (np.diff(values) <= 0).any():
        flag = name.replace("_", "-")
        raise ValueError(f"--{flag} has to be {at_least} or more increasing numbers above 0, not {tuple(values)}.")


def near(what: str, predicted: SupportsFloat, measured: SupportsFloat, uncertainty: SupportsFloat) -> Claim:
    """The claim that a measurement agrees with its prediction within the uncertainty."""
    expected, found, allowed = float(predicted), float(measured), float(uncertainty)
    return Claim(what, expected, found, allowed, bool(found == expected or abs(found - expected) <= allowed))


def at_most(what: str, bound: SupportsFloat, measured: SupportsFloat) -> Claim:
    """The claim that a measurement does not exceed a bound."""
    return Claim(what, float(bound), float(measured), 0.0, bool(float(measured) <= float(bound)), "≤")


def main(
    name: str,
    description: str | None,
    presets: Mapping[str, Settings],
    run: Callable[[Any], xr.Dataset],
    claims: Callable[[Any, xr.Dataset], Sequence[Claim]],
    findings: Callable[[Any, xr.Dataset], Sequence[str]],
    arguments: Sequence[str] | None = None,
) -> NoReturn:
    """Run an experiment from the command line and exit.

    Args:
        name: the experiment's, which names its files.
        description: the first words of ``--help``.
        presets: settings by name.
        run: computes (or continues, or merely loads) the dataset.
        claims: the statements it has to satisfy.
        findings: a few plain sentences for a reader.
        arguments: instead of the command line's.
    """
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", str(CACHE))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    try:
        settings = parse(f"experiments.{name}", description, presets, sys.argv[1:] if arguments is None else arguments)
        datasets.check_config(settings.out / f"{name}.zarr", provenance(settings))
        dataset = run(settings)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        kept = "".join(f" {note}" for note in getattr(stop, "__notes__", ()))
        print(f"\nInterrupted.{kept} Run the same command again to go on.", file=sys.stderr)
        sys.exit(130)
    left = int((~dataset[datasets.DONE]).sum())
    if left or getattr(settings, "part", None):
        print(
            f"This part is done; {left} points are left to others. Then the command without --part prints the claims."
        )
        sys.exit(0)
    if diverged := int(dataset[compiling.DIVERGED].sum()):
        print(f"{diverged} of {dataset[compiling.DIVERGED].size} points diverged; they are marked in the dataset.")
    made = claims(settings, dataset)
    datasets.write_json(settings.out / f"{name}.claims.json", [_jsonable(claim) for claim in made])
    print(_table(made))
    print("\n" + "\n".join(findings(settings, dataset)))
    print(f"\nDataset {settings.out / name}.zarr, claims {settings.out / name}.claims.json")
    print(f"Draw it: {sys.executable} -m figures.{name} --data {settings.out} --out {settings.out}")
    sys.exit(0 if all(claim.holds for claim in made) else 1)


def provenance(settings: Settings) -> dict[str, Any]:
    """The settings that decide a run's numbers, for its dataset's attributes."""
    kept = dataclasses.asdict(settings)
    for name in ("out", "config", "preset", "chunk", "part", "progress"):
        kept.pop(name, None)
    return {"settings": kept}


def check_positive(name: str, group: Any) -> None:
    """Refuse a group of settings in which a number is not above 0.

    Raises:
        ValueError: it names the flag.
    """
    for key, value in dataclasses.asdict(group).items():
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, int | float) and not number > 0 for number in numbers):
            raise ValueError(f"--{name}.{key.replace('_', '-')} has to be above 0, not {value}.")


def parse(program: str, description: str | None, presets: Mapping[str, Settings], arguments: Sequence[str]) -> Any:
    """Settings from preset, then TOML file, then flags.

    Raises:
        ValueError: an unknown preset, an unreadable file, or an unknown key in it, with the nearest right one.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset", default="quick")
    early.add_argument("--config", type=Path)
    try:
        known, _ = early.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ValueError(f"{error}.") from error
    if known.preset not in presets:
        raise ValueError(f"Unknown preset {known.preset!r}{_suggest(known.preset, presets)}")
    settings = dataclasses.replace(presets[known.preset], preset=known.preset)
    if known.config is not None:
        settings = _override(settings, _read_toml(known.config), str(known.config))
    return tyro.cli(
        type(settings), prog=f"python -m {program}", description=description, default=settings, args=arguments
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"Cannot read the settings file {path}: {error}.") from error


def _override(settings: Any, values: Mapping[str, Any], source: str) -> Any:
    fields = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    changed = {}
    for key, value in values.items():
        if key not in fields:
            raise ValueError(f"Unknown setting {key!r} in {source}{_suggest(key, fields)}")
        nested = dataclasses.is_dataclass(fields[key])
        if nested != isinstance(value, Mapping):
            raise ValueError(f"Setting {key!r} in {source} has to be {'a table' if nested else 'a plain value'}.")
        changed[key] = _override(fields[key], value, source) if nested else _like(fields[key], value)
    return dataclasses.replace(settings, **changed)


def _like(example: Any, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if isinstance(example, Path) else value


def _suggest(word: str, options: Mapping[str, Any]) -> str:
    nearest = difflib.get_close_matches(word, options, n=1)
    return f": did you mean {nearest[0]!r}?" if nearest else f": it is one of {', '.join(sorted(options))}."


def _jsonable(claim: Claim) -> dict[str, Any]:
    """JSON has no infinity: a boundary that is not reached reads null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in dataclasses.asdict(claim).items()
    }


def _table(claims: Sequence[Claim]) -> str:
    rows = [("claim", "predicted", "measured", "uncertainty", "holds")]
    rows += [
        (
            c.what,
            f"{c.relation} {c.predicted:.4g}",
            f"{c.measured:.4g}",
            "" if c.relation == "≤" else f"{c.uncertainty:.2g}",
            "yes" if c.holds else "NO",
        )
        for c in claims
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
