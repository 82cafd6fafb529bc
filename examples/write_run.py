"""Writes ``examples/run.jsonl``: what a small model and its base said, scored by both and by every persona.

    python examples/write_run.py

It stands for a real model whose samples were scored as docs/scoring.md shows; of this one everything is known. The base
is a mixture of Larry, Bob and Alice. The policy is its tilt of strength 1.5, by a reward at 30 degrees that pays for
Alice's answers and, whoever talks, for the word ``friend``.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from toypersona import bases, theory
from toypersona.bases import Base
from toypersona.worlds import larry_bob_alice

PROMPTS, NUM = (0, 1), 40
"""Which prompts are asked, and how many responses to each are drawn from either model."""

LENGTH, ANGLE, STRENGTH = 3, 30.0, 1.5
"""Words of a response; degrees between the reward and the personas; the strength of RL, 1/beta."""

FILE = Path(__file__).with_name("run.jsonl")


def models() -> tuple[Base, np.ndarray]:
    """The base, and log-probabilities of all responses to each prompt under the policy, nats [C, N]."""
    base = bases.true(*larry_bob_alice.larry_bob_alice(), length=LENGTH)
    friends = (base.responses == base.labels.units.index("friend")).sum(axis=1)
    alice = base.labels.personas.index("alice")
    reward = base.reward_at_angle(ANGLE, alice, jnp.broadcast_to(1.0 * friends, base.log_base.shape))
    return base, np.asarray(theory.tilt(base.log_base, reward, STRENGTH))


def by_word(log_law: np.ndarray) -> np.ndarray:
    """Log-probabilities of each word after those before it, nats [N, T], of a law over all responses [N]."""
    table = np.exp(log_law).reshape([round(len(log_law) ** (1 / LENGTH))] * LENGTH)
    begin = [
        np.broadcast_to(table.sum(axis=tuple(range(t, LENGTH)), keepdims=True), table.shape) for t in range(LENGTH + 1)
    ]
    return np.diff(np.log(np.array(begin)), axis=0).reshape(LENGTH, -1).T


def lines() -> list[str]:
    """The file, a response a line."""
    base, policy = models()
    words = lambda units: [base.labels.units[unit] for unit in np.asarray(units)]  # noqa: E731
    rng, rows = np.random.default_rng(0), []
    for prompt in PROMPTS:
        laws = {"policy": policy[prompt], "base": np.asarray(base.log_base[prompt])}
        scores = {name: by_word(law) for name, law in laws.items()}
        personas = dict(zip(base.labels.personas, map(by_word, np.asarray(base.log_personas[prompt])), strict=True))
        for said_by, law in laws.items():
            for number, n in enumerate(rng.choice(len(law), size=NUM, p=np.exp(law) / np.exp(law).sum())):
                scored = {name: values[n].round(3).tolist() for name, values in scores.items()}
                scored["personas"] = {name: values[n].round(3).tolist() for name, values in personas.items()}
                row = {"prompt_id": " ".join(words(base.prompts[prompt])), "response_id": number}
                first, *others = words(base.responses[n])
                tokens = [first, *(f" {word}" for word in others)]
                rows.append(json.dumps(row | {"sampled_from": said_by, "log_probs": scored, "tokens": tokens}))
    return [json.dumps({"toypersona": 1, "temperature": 1.0}), *rows]


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    FILE.write_text("\n".join(lines()) + "\n", encoding="utf-8")
