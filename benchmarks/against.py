"""One table of a run of the benchmarks against the last results of the same machine that benchmarks/results keeps."""

from benchmarks import measure

# isort: split
import argparse
import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def headlines(lines: list[dict]) -> dict[tuple[str, str], float]:
    """Numbers of this machine by benchmark and name, of several the last one."""
    mine = [line for line in lines if line["machine"] == measure.machine()]
    return {(line["benchmark"], name): x for line in mine for name, x in line.get("headline", {}).items()}


def read(path: Path) -> list[dict]:
    """A file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def main(run: Path) -> None:
    """Print the table."""
    now = headlines(read(run))
    before = headlines([line for path in sorted(RESULTS.glob("*.jsonl")) for line in read(path)])
    print(f"\n{measure.machine()}\n{'benchmark':44s}{'':44s}{'now':>12s}{'committed':>12s}{'ratio':>8s}")
    for (benchmark, name), found in now.items():
        last = before.get((benchmark, name))
        told = f"{'-':>12s}{'-':>8s}" if not last else f"{last:12,.4g}{found / last:8.2f}"
        print(f"{benchmark:44s}{name:44s}{found:12,.4g}{told}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="what the benchmarks wrote with --out")
    main(parser.parse_args().run)
