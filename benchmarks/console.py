"""The console command: CPU seconds of `toypersona measure FILE` up to its table, jax's start included.

Random personas over 200 responses, a base that mixes them, a policy that leaves them: 500 responses of each to 5
prompts, under three personas, by token. The first run on a machine compiles, later ones find what was compiled. With
--full ten times as many.
"""

from benchmarks import measure

# isort: split
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
MOST = 5.0
"""Seconds to the table of 500 responses."""

NUM_PROMPTS, NUM_PERSONAS, NUM_TOKENS, NUM_RESPONSES = 5, 3, 20, 200


def write(path: Path, num: int) -> None:
    """A log of ``num`` responses of policy and base, in all."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 50, size=(NUM_RESPONSES, NUM_TOKENS))
    with path.open("w") as file:
        for c in range(NUM_PROMPTS):
            personas = rng.dirichlet(np.full(NUM_RESPONSES, 0.5), size=NUM_PERSONAS)
            base = rng.dirichlet(np.ones(NUM_PERSONAS)) @ personas
            policy = base * np.exp(rng.normal(size=NUM_RESPONSES))
            laws = {"policy": policy / policy.sum(), "base": base}
            for who, law in laws.items():
                for i, n in enumerate(rng.choice(NUM_RESPONSES, size=num // NUM_PROMPTS, p=law)):
                    # Evenly over its tokens: only their sums decide.
                    spread = lambda p, n=n: [float(np.log(p[n]) / NUM_TOKENS)] * NUM_TOKENS  # noqa: E731
                    scores = {name: spread(each) for name, each in laws.items()}
                    scores |= {"personas": {f"persona {k}": spread(each) for k, each in enumerate(personas)}}
                    row = {"prompt_id": f"p{c}", "response_id": i, "sampled_from": who, "log_probs": scores}
                    file.write(json.dumps(row | {"tokens": [f"w{word}" for word in words[n]]}) + "\n")


def seconds(cache: Path, *arguments: str) -> float:
    """CPU seconds of the command, which has to succeed; what it compiles goes into a folder."""
    command = [sys.executable, "-m", "toypersona.command", *arguments]
    kept = os.environ | {"XDG_CACHE_HOME": str(cache)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ran.returncode == 0, ran
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(full: bool) -> dict[str, Any]:
    """Measure a few times, and say how long it took."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = (Path(folder) / name for name in ("small.jsonl", "large.jsonl"))
        write(small, 500)
        rows = {
            "--help": ["measure", "--help"],
            "500 responses": ["measure", str(small), "--no-figure"],
            "500 responses and the figure": ["measure", str(small)],
            "500 responses, repaired": ["measure", str(small), "--repair", "--no-figure"],
        }
        if full:
            write(large, 5000)
            rows["5,000 responses"] = ["measure", str(large), "--no-figure"]
        found = {name: [] for name in rows}
        for i, (name, arguments) in enumerate(3 * list(rows.items())):
            cache = Path(folder) / f"cache-{i}"
            found[name].append([seconds(cache, *arguments) for _ in range(2)])
    print(f"{'CPU seconds, the fastest of 3':40s}{'first':>8s}{'again':>8s}")
    for name, times in found.items():
        first, again = map(min, zip(*times, strict=True))
        print(f"{name:40s}{first:8.2f}{again:8.2f}")
    fastest = min(first for first, _ in found["500 responses"])
    print(f"The table of 500 responses takes {fastest:.2f} s; the aim is {MOST:g} s.")
    assert fastest < MOST and min(found["--help"])[0] < 1
    return measure.line("console", {"CPU seconds, 500 responses": fastest}, most=MOST, seconds=found)


if __name__ == "__main__":
    chosen = measure.arguments(__doc__)
    measure.keep([main(chosen.full)], chosen.out)
