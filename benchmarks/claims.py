"""How many predictions fail on fresh worlds: as many as the level of their intervals says?

Each experiment runs once on many seeds that no preset uses; its claims are then read from disjoint groups of them, as
if each group were a run of its own. Of predictions that are true, ``1 - claim.LEVEL`` fail.
"""

from benchmarks import measure

# isort: split
import importlib
import tempfile
from pathlib import Path
from typing import Any

from scipy import stats

from experiments.shared import claim, command
from experiments.shared.parsing import parse

GROUPS, FEW, FIRST = 20, 2, 1000
"""Groups of seeds with --full and --quick, and the first seed."""

SMALL = "--pretraining.num-lines 2000 --pretraining.num-steps 150 --pretraining.num-restarts 1"
RUNS = {
    "persona_gain": (f"--world markov --angles 45 60 75 --rates 0.3 1 {SMALL}", 4),
    "phase_diagram": (
        f"--world markov --angles 30 45 60 75 --strengths 0.01 0.015 0.02 0.04 --noise.num-runs 2 {SMALL}",
        4,
    ),
    "leash": ("--masses 0.01 0.1 --times 1 10 --natural-times 1 10 --lock-in.num-runs 200", 4),
}
"""Flags of each experiment, and seeds of each group."""


def failures(name: str, flags: str, size: int, groups: int, folder: Path) -> dict[str, int]:
    """Predictions that hold, fail and cannot tell, over all groups."""
    module = importlib.import_module(f"experiments.{name}")
    seeds = [str(FIRST + i) for i in range(groups * size)]
    given = [*flags.split(), "--seeds", *seeds, "--out", str(folder), "--no-progress"]
    config = parse(f"experiments.{name}", module.__doc__, module.PRESETS, given)
    dataset = module.run(config).load()
    readings = importlib.import_module(f"experiments.claims.{name}")
    made = []
    for group in range(groups):
        one = dataset.isel(seed=slice(group * size, (group + 1) * size))
        made += [each for each in readings.claims(one) if each.kind == "prediction"]
    counts = {"holds": 0, "fails": 0, "cannot tell": 0}
    for each in made:
        counts["cannot tell" if not each.can_tell else "holds" if each.holds else "fails"] += 1
    return counts


def main(full: bool) -> dict[str, Any]:
    """Run all, and say how many predictions fail."""
    command._configure()
    found, groups = {}, GROUPS if full else FEW
    for name, (flags, size) in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = failures(name, flags, size, groups, Path(folder))
    failed = sum(of["fails"] for of in found.values())
    told = failed + sum(of["holds"] for of in found.values())
    low, high = stats.binomtest(failed, told).proportion_ci(0.95, method="wilson")
    share = {"failed": failed, "of": told, "low": low, "high": high, "level": 1 - claim.LEVEL}
    return measure.line("claims", {"share that fails": failed / told}, groups=groups, **share, experiments=found)


if __name__ == "__main__":
    given = measure.arguments(__doc__)
    measure.keep([main(given.full)], given.out)
