"""The command of every experiment: settings from preset, file and flags; the sweep; claims; and how a run ends.

Settings come in this order, each overriding the last: the preset, a TOML file (``--config``), flags. They are checked
before jax is imported, and so is the folder to write to. A run writes ``OUT/NAME.zarr`` and ``OUT/NAME.claims.json``,
prints its claims, and exits 0 if all hold, 1 if one fails, 2 on bad input or where nothing can be written, 130 when
interrupted. A finished run is merely opened. What reads datasets is imported after the settings are read, so that
``--help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from experiments.shared import user_code
from experiments.shared.parsing import parse
from experiments.shared.settings import CACHE, Settings
from toypersona import files

if TYPE_CHECKING:
    import xarray as xr

    from experiments.shared.claim import Claim
    from toypersona.programs import ExperimentFn


def sweep(
    name: str,
    settings: Settings,
    experiment_fn: ExperimentFn,
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
    given = sys.argv[1:] if arguments is None else arguments
    try:
        settings = parse(f"experiments.{name}", description, presets, given)
        dataset = _opened(settings.out / f"{name}.zarr", settings)
        if dataset is None:
            files.check_writable(settings.out)
            for sentence in settings.report():
                print(sentence, file=sys.stderr)
            _configure(everything="--debug" in given)
            dataset = run(settings)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if "--debug" in given:
            raise
        print(f"error: {_said(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        kept = "".join(f" {note}" for note in getattr(stop, "__notes__", ()))
        print(f"\nInterrupted.{kept} Run the same command again to go on.", file=sys.stderr)
        sys.exit(130)
    _tell(name, settings, dataset)


def _tell(name: str, settings: Settings, dataset: xr.Dataset) -> NoReturn:
    """Print what a run says, keep its claims, and exit."""
    from experiments.shared import claim, terminal
    from toypersona import datasets

    left = int((~dataset[datasets.DONE]).sum())
    if left or settings.part:
        print(
            f"This part is done; {left} points are left to others. Then the command without --part prints the claims."
        )
        sys.exit(0)
    if diverged := int(dataset[datasets.DIVERGED].sum()):
        print(f"{diverged} of {dataset[datasets.DIVERGED].size} points diverged; they are marked in the dataset.")
    readings = importlib.import_module(f"experiments.claims.{name}")
    try:
        claims = [*datasets.read(readings.claims, dataset), *claim.standard(dataset)]
        findings = datasets.read(readings.findings, dataset)
    except ValueError as error:
        if settings.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    kept = _kept(claims, settings.out / f"{name}.claims.json")
    print(terminal.table(claims))
    print(f"\n{terminal.findings(findings)}")
    print(f"\nDataset {settings.out / name}.zarr, {kept}")
    print(f"Draw it: {sys.executable} -m figures.{name} --data {settings.out} --out {settings.out}")
    print(f"\n{terminal.verdict(claims)}")
    sys.exit(0 if all(each.holds for each in claims) else 1)


def _said(error: Exception) -> str:
    """An error as one sentence; what is no fault of the input, the disk or the memory is raised again."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {files.why(error)}."
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)):
        return "This run needs more memory than there is: choose smaller sizes, or a smaller --chunk."
    if isinstance(error, RuntimeError):
        raise error
    return str(error)


def _kept(claims: Sequence[Claim], path: Path) -> str:
    """Write claims beside their dataset, and say where; a finished run may lie where nobody can write."""
    try:
        files.write_json(path, [each.jsonable() for each in claims])
    except OSError as error:
        return f"claims not written to {path} ({files.why(error)})"
    return f"claims {path}"


def _opened(path: Path, settings: Settings) -> xr.Dataset | None:
    """The finished run of these settings, if there is one.

    Raises:
        datasets.RunMismatch: there is another run.
    """
    from toypersona import datasets

    datasets.check_config(path, provenance(settings))
    if not datasets.finished(path):
        return None
    dataset = datasets.load(path)
    if datasets.made_by_other_code(dataset):
        print(f"{path} was computed by other code than today's; its numbers are those of then.")
    return dataset


def _configure(*, everything: bool = False) -> None:
    """How jax computes in every experiment, and whether it shows its own part in an error."""
    import jax

    if everything:
        jax.config.update("jax_traceback_filtering", "off")
    jax.config.update("jax_enable_x64", True)
    # Whoever has chosen a cache keeps it.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(CACHE / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def provenance(settings: Settings) -> dict[str, Any]:
    """The settings that decide a run's numbers, and hashes of the files that they name."""
    others = ("out", "config", "preset", "chunk", "part", "progress", "debug")
    kept = {name: value for name, value in dataclasses.asdict(settings).items() if name not in others}
    sources = {name: user_code.sha256(value) for name, value in kept.items() if isinstance(value, str | tuple)}
    return {"settings": kept, "sources": {name: digest for name, digest in sources.items() if digest}}
