"""An experiment as a job array: every task computes its part of the points, all write one dataset.

    python -m experiments.job_array phase_diagram --tasks 8 --options slurm_partition=gpu -- --preset paper --out DIR

What follows -- goes to the experiment. Tasks that were killed are made good by the same command; what is finished is
not computed again. When all are done, the experiment's own command prints its claims.
"""

import dataclasses
import importlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import tyro

from experiments.shared import command, parsing
from toypersona import files, limits
from toypersona.limits import one_of, within


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobArray:
    """Settings of a job array."""

    experiment: Annotated[str, tyro.conf.Positional] = ""
    """Which one: phase_diagram, horizon, ..."""
    tasks: Annotated[int, within(1, 10_000)] = 0
    """How many processes share the points; to be given."""
    cluster: Annotated[str | None, one_of("slurm", "local")] = None
    """slurm, or local for processes on this machine; slurm where there is one."""
    minutes: Annotated[int, within(1, 1_000_000)] = 240
    """Time limit of a task."""
    wait: bool = False
    """Come back when all tasks are done; local tasks are always waited for."""
    options: tuple[str, ...] = ()
    """More for the scheduler, as NAME=VALUE in submitit's names: slurm_partition=gpu slurm_gpus_per_task=1 ..."""


def submit(settings: JobArray, arguments: Sequence[str]) -> list[Any]:
    """Submit one task for each part of an experiment with these arguments, and return submitit's jobs.

    Raises:
        ValueError: an experiment, argument or option that does not exist, another run's folder, no scheduler.
    """
    out = _checked_out(settings.experiment, arguments)
    try:
        submitit = importlib.import_module("submitit")
    except ModuleNotFoundError as error:
        raise ValueError("Job arrays need submitit: python3 -m pip install submitit.") from error
    try:
        executor = submitit.AutoExecutor(folder=out / "jobs", cluster=settings.cluster)
        named = {name: value for name, _, value in (option.partition("=") for option in settings.options)}
        executor.update_parameters(timeout_min=settings.minutes, name=settings.experiment, **named)
    except (RuntimeError, ValueError, NameError, TypeError) as error:
        raise ValueError(f"submitit refuses --cluster or --options: {' '.join(str(error).split())}") from error
    task = [sys.executable, "-m", f"experiments.{settings.experiment}", *arguments, "--no-progress", "--part"]
    run = submitit.helpers.CommandFunction(task, cwd=Path(__file__).parents[1])
    return executor.map_array(run, [str(i) for i in range(settings.tasks)], [str(settings.tasks)] * settings.tasks)


def experiments() -> list[str]:
    """Names of the commands beside this one that have presets."""
    modules = Path(__file__).parent.glob("*.py")
    return sorted(path.stem for path in modules if "\nPRESETS = {" in path.read_text(encoding="utf-8"))


def _checked_out(name: str, arguments: Sequence[str]) -> Path:
    """The experiment's output folder, if its arguments are right."""
    from toypersona import datasets

    if name not in experiments():
        raise ValueError(f"Unknown experiment {name!r}{limits.nearest(name, experiments())}")
    if any(word.partition("=")[0] == "--part" for word in arguments):
        raise ValueError("A job array gives every task its --part itself: leave it out.")
    experiment = importlib.import_module(f"experiments.{name}")
    settings = command.parse(f"experiments.{name}", experiment.__doc__, experiment.PRESETS, arguments)
    datasets.check_config(settings.out / f"{name}.zarr", command.provenance(settings))
    files.check_writable(settings.out)
    return settings.out


def main(arguments: Sequence[str]) -> NoReturn:
    """Submit from the command line; exit 0 if all went well, 1 if a task failed, 2 on bad input."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    # The experiment's name comes first wherever it stands, so that no flag takes it for another value.
    own, rest = sorted(arguments[:end], key=lambda word: word not in experiments()), arguments[end + 1 :]
    try:
        settings = parsing.read_flags("experiments.job_array", __doc__, JobArray(), own)
        jobs = submit(settings, rest)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"Submitted {', '.join(job.job_id for job in jobs)}; logs are in {jobs[0].paths.folder}.")
    waits = settings.wait or type(jobs[0]).__name__ == "LocalJob"
    failed = [job.job_id for job in jobs if waits and job.exception() is not None]
    if failed:
        print(f"error: {', '.join(failed)} failed; their logs say why. Give the same command again.", file=sys.stderr)
    print(f"When all are done: {shlex.join([sys.executable, '-m', f'experiments.{settings.experiment}', *rest])}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
