"""The report that the explorer's third tab shows before a file is dropped on it.

    PYTHONPATH=tests .venv/bin/python tests/figures/make_report.py

A simulated run: Larry, Bob and Alice, whose base is paid to answer as Alice does and, as much, for the word "friend" (a
reward at 45 degrees). Of its optimum at four strengths (0, the base itself, is step 0), and of the base, 60 answers to
each of six prompts are sampled and scored, written as ``toypersona measure`` reads them, and measured by that command.
"""

import sys
import tempfile
from pathlib import Path

import exported
import jax
import jax.numpy as jnp
import numpy as np

from toypersona import command, theory

OUT = Path(__file__).parents[2] / "figures" / "explorer_page" / "report.json"
STEPS = {0: 0.0, 100: 0.5, 200: 1.0, 400: 2.0}
"""Strengths by step."""

NUM = 60


def lines() -> list[dict]:
    """Scored responses of the base and of every step."""
    base = exported.toy()[0]
    said = np.asarray(base.responses) == base.labels.units.index("friend")
    feature = jnp.broadcast_to(jnp.asarray(said.sum(axis=1), float), base.log_base.shape)
    reward = base.reward_at_angle(45.0, base.labels.personas.index("alice"), feature)
    rows = []
    for seed, (step, strength) in enumerate(STEPS.items()):
        policy = np.asarray(theory.tilt(base.log_base, reward, strength))
        rows += exported.lines(NUM, policy=policy, step=step, seed=seed, base_too=step == 0)
    return rows


def make(path: Path) -> int:
    """Sample, score and measure; the report is written to a file. Returns the command's exit status."""
    with tempfile.TemporaryDirectory() as folder:
        run = exported.write(
            Path(folder) / "run.jsonl", lines(), {"toypersona": 1, "prompt_weights": exported.weights()}
        )
        try:
            command.main(["measure", str(run), "--json", str(path), "--no-figure"])
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 1


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    sys.exit(make(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT))
