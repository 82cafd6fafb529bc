"""Whole processes: CPU seconds of an experiment's command, the first time on a machine and again, and of its help.

The first run is that of a fresh copy of the code, whose cache is empty; the second finds the programs and the bases
that the first one kept, and computes every point anew. What it saves is compiling and fitting. CPU seconds of the
process, because neighbours disturb the clock more; with --quick of two experiments, with --full of all of them, with
the preset quick.
"""

from benchmarks import measure

# isort: split
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toypersona import datasets

ROOT = Path(__file__).parents[1]
QUICK = ("weak_limit", "phase_diagram")
COLUMNS = {"help": "--help", "cold": "first run", "warm": "again", "point": "a point", "saved": "saved"}
"""What is measured, and its heading: CPU seconds, but for the share of the first run that the second one saves."""


def experiments() -> list[str]:
    """Names of all: those that claim something."""
    return sorted(path.stem for path in (ROOT / "experiments" / "claims").glob("[a-z]*.py"))


def seconds(arguments: Sequence[str], folder: Path) -> float:
    """CPU seconds of Python with these arguments, in a folder.

    Raises:
        SystemExit: it failed; a claim that does not hold is no failure.
    """
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(arguments)} failed: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def timed(name: str) -> dict[str, float]:
    """What ``COLUMNS`` lists of one experiment."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("experiments", "toypersona"):
            shutil.copytree(ROOT / part, copy / part)
        command = ("-m", f"experiments.{name}")
        found = {"help": seconds((*command, "--help"), copy)}
        for run in ("cold", "warm"):
            found[run] = seconds((*command, "--no-progress", "--out", str(copy / run)), copy)
        num_points = datasets.load(copy / "warm" / f"{name}.zarr")[datasets.DONE].size
    return found | {"point": found["warm"] / num_points, "saved": 1 - found["warm"] / found["cold"]}


def main(full: bool) -> dict[str, Any]:
    """Time them, and print a table."""
    rows = {}
    print(f"{'CPU seconds':20s}" + "".join(f"{heading:>11s}" for heading in COLUMNS.values()))
    for name in experiments() if full else QUICK:
        rows[name] = timed(name)
        print(f"{name:20s}" + "".join(f"{x:11.2f}" for x in rows[name].values()), flush=True)
    runs = {f"CPU seconds, {name}, {COLUMNS[run]}": row[run] for name, row in rows.items() for run in ("cold", "warm")}
    return measure.line("experiments", runs, rows=rows)


if __name__ == "__main__":
    chosen = measure.arguments(__doc__)
    measure.keep([main(chosen.full)], chosen.out)
