"""Refusals: CPU seconds of a whole process, from its start to the sentence that wrong input gets.

The inputs are those of ``tests/experiments/wrong_inputs.py``, in --quick every twelfth, and some of which only jax or
the texts can tell that they are wrong. All of them have to be refused, and to have cost less than 3 seconds.
"""

from benchmarks import measure

# isort: split
import importlib.util
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "tests" / "experiments" / "wrong_inputs.py"
MOST = 3.0
"""CPU seconds."""

LATER = {
    "lines that are all too short": ("phase_diagram", "--world text:{tmp}/pair --options.text.prompt-length 9"),
    "openings shorter than the order": ("phase_diagram", "--world speakers --options.text.order 3"),
    "nobody of that name in the plays": ("phase_diagram", "--world speakers --options.speakers iago iagoo"),
    "too many responses of one's texts": ("phase_diagram", "--world speakers --length 9"),
}
"""What is found when jax is imported and the texts are read, before anything is compiled."""


def table() -> Any:
    """The module of the tests that holds the wrong inputs."""
    spec = importlib.util.spec_from_file_location("wrong_inputs", TABLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(name: str, given: str, tmp: Path) -> float:
    """CPU seconds of a process that refuses; system time is counted."""
    words = given.format(tmp=tmp).split()
    command = [sys.executable, "-m", f"experiments.{name}", *words]
    command += [] if "--out" in words else ["--out", str(tmp / "out")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ran.returncode == 2 and len(ran.stderr.splitlines()) == 1, (command, ran)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(full: bool) -> dict[str, Any]:
    """Refuse, and say how long it took."""
    inputs = table()
    right = [case for case in inputs.COMMANDS if case[2] != inputs.GOES_ON]
    with tempfile.TemporaryDirectory() as folder:
        tmp = Path(folder)
        inputs.prepare(tmp)
        before = {f"{name} {given}": seconds(name, given, tmp) for name, given, _ in right[:: 1 if full else 12]}
        later = {what: seconds(*case, tmp) for what, case in LATER.items()}
    rows = {"before jax is imported": [*before.values()], **{what: [one] for what, one in later.items()}}
    print(f"{'CPU seconds':40s}{'inputs':>8s}{'min':>8s}{'median':>8s}{'max':>8s}")
    for what, found in rows.items():
        print(f"{what:40s}{len(found):8d}{min(found):8.2f}{statistics.median(found):8.2f}{max(found):8.2f}")
    slowest = max(map(max, rows.values()))
    print(f"The slowest took {slowest:.2f} s; the aim is {MOST:g} s.")
    assert slowest < MOST
    return measure.line(
        "refusals", {"CPU seconds": slowest}, most=MOST, seconds=rows, slowest=max(before, key=before.__getitem__)
    )


if __name__ == "__main__":
    chosen = measure.arguments(__doc__)
    measure.keep([main(chosen.full)], chosen.out)
