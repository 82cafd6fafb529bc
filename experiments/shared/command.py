"""The command of every experiment: settings from preset, file and flags; the sweep; claims; and how a run ends.

Settings come in this order, each overriding the last: the preset, a TOML file (``--config``), flags. They are checked
before jax is imported. A run writes ``OUT/NAME.zarr`` and ``OUT/NAME.claims.json``, prints its claims, and exits 0 if
all hold, 1 if one fails, 2 on bad input, 130 when interrupted. A finished run is merely opened.
"""

import argparse
import dataclasses
import difflib
import importlib
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import tyro
import xarray as xr

from experiments.shared import claim, terminal, user_code
from experiments.shared.settings import CACHE, Settings
from toypersona import datasets, files, limits

if TYPE_CHECKING:
    from toypersona.programs import ExperimentFn


def sweep(
    name: str,
    settings: Settings,
    experiment_fn: "ExperimentFn",
    axes: Mapping[str, Any],
    *,
    constants: Mapping[str, Any] | None = None,
    labels: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Compute ``settings.out / NAME.zarr``, or continue what is there; other arguments as in ``sweeps.run``.

    Beside the numbers it keeps the settings that decide them, and ``labels``, which have to be JSON-able.
    """
    from toypersona import sweeps

    return sweeps.run(
        experiment_fn,
        {axis: np.asarray(values) for axis, values in axes.items()},
        seeds=settings.seeds,
        chunk=settings.chunk,
        part=settings.part,
        out=settings.out / f"{name}.zarr",
        constants=constants,
        config=provenance(settings) | dict(labels or {}),
        progress=settings.progress,
    )


def main(
    name: str,
    description: str | None,
    presets: Mapping[str, Settings],
    run: Callable[[Any], xr.Dataset],
    arguments: Sequence[str] | None = None,
) -> NoReturn:
    """Run an experiment from the command line, or with these arguments, and exit.

    ``name`` names its files and its module in ``experiments.claims``; ``run`` computes its dataset, or continues it.
    """
    try:
        settings = parse(f"experiments.{name}", description, presets, sys.argv[1:] if arguments is None else arguments)
        dataset = _opened(settings.out / f"{name}.zarr", settings)
        if dataset is None:
            _configure()
            dataset = run(settings)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        kept = "".join(f" {note}" for note in getattr(stop, "__notes__", ()))
        print(f"\nInterrupted.{kept} Run the same command again to go on.", file=sys.stderr)
        sys.exit(130)
    left = int((~dataset[datasets.DONE]).sum())
    if left or settings.part:
        print(
            f"This part is done; {left} points are left to others. Then the command without --part prints the claims."
        )
        sys.exit(0)
    if diverged := int(dataset[datasets.DIVERGED].sum()):
        print(f"{diverged} of {dataset[datasets.DIVERGED].size} points diverged; they are marked in the dataset.")
    readings = importlib.import_module(f"experiments.claims.{name}")
    claims = [*readings.claims(dataset), *claim.standard(dataset)]
    files.write_json(settings.out / f"{name}.claims.json", [each.jsonable() for each in claims])
    print(terminal.table(claims))
    print(f"\n{terminal.findings(readings.findings(dataset))}")
    print(f"\nDataset {settings.out / name}.zarr, claims {settings.out / name}.claims.json")
    print(f"Draw it: {sys.executable} -m figures.{name} --data {settings.out} --out {settings.out}")
    print(f"\n{terminal.verdict(claims)}")
    sys.exit(0 if all(each.holds for each in claims) else 1)


def _opened(path: Path, settings: Settings) -> xr.Dataset | None:
    """The finished run of these settings, if there is one.

    Raises:
        datasets.RunMismatch: there is another run.
    """
    datasets.check_config(path, provenance(settings))
    if not datasets.finished(path):
        return None
    dataset = datasets.load(path)
    if datasets.made_by_other_code(dataset):
        print(f"{path} was computed by other code than today's; its numbers are those of then.")
    return dataset


def _configure() -> None:
    """How jax computes in every experiment."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_compilation_cache_dir", str(CACHE / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def provenance(settings: Settings) -> dict[str, Any]:
    """The settings that decide a run's numbers, and hashes of the files that they name."""
    others = ("out", "config", "preset", "chunk", "part", "progress")
    kept = {name: value for name, value in dataclasses.asdict(settings).items() if name not in others}
    sources = {name: user_code.sha256(value) for name, value in kept.items() if isinstance(value, str)}
    return {"settings": kept, "sources": {name: digest for name, digest in sources.items() if digest}}


def parse(program: str, description: str | None, presets: Mapping[str, Settings], arguments: Sequence[str]) -> Any:
    """Settings from preset, then TOML file, then flags.

    Raises:
        ValueError: an unknown preset, an unreadable file, an unknown key in it, with the nearest right one, or settings
            out of their limits or that do not fit each other.
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
        try:
            values = tomllib.loads(known.config.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"Cannot read the settings file {known.config}: {error}.") from error
        settings = _override(settings, values, str(known.config))
        limits.check(settings, flags=True)
    settings = tyro.cli(
        type(settings), prog=f"python -m {program}", description=description, default=settings, args=arguments
    )
    limits.check(settings, flags=True)
    settings.check()
    return settings


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
    """A value of a file as the setting has it."""
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if isinstance(example, Path) and isinstance(value, str) else value


def _suggest(word: str, options: Mapping[str, Any]) -> str:
    nearest = difflib.get_close_matches(word, options, n=1)
    return f": did you mean {nearest[0]!r}?" if nearest else f": it is one of {', '.join(sorted(options))}."
