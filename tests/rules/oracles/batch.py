"""The batch the oracles score: a bigram table, four responses to each of two prompts, and how numbers are stored.

NumPy alone, since make_trl.py and make_tunix.py run it in environments of their own. The inputs are rounded to three
decimals, so that a JSON repeats them exactly, and the rewards are eighths, so that a library may hold them in float32.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

NUM_WORDS, NUM_SAMPLES, LENGTH = 4, 4, 3
EPSILON = 0.2
PROMPTS = np.array([2, 0])  # the last unit of each prompt

_RNG = np.random.default_rng(20)
TABLE = _RNG.normal(size=(NUM_WORDS, NUM_WORDS)).round(3)  # current parameters
OLD_TABLE = (TABLE + 0.5 * _RNG.normal(size=TABLE.shape)).round(3)  # the policy that sampled the responses
REF_TABLE = (TABLE + 0.5 * _RNG.normal(size=TABLE.shape)).round(3)  # the reference of the KL penalty and of DPO
TOKENS = _RNG.integers(NUM_WORDS, size=(len(PROMPTS), NUM_SAMPLES, LENGTH))
REWARDS = np.stack([_RNG.choice(np.arange(-16, 17), NUM_SAMPLES, replace=False) for _ in PROMPTS]) / 8
CHOSEN, REJECTED = REWARDS.argmax(1), REWARDS.argmin(1)  # index of a response to each prompt

# How the formulas of the JSONs read.
NOTATION = {
    "i, t": "one of the 8 responses, one of its 3 tokens; mean_i and mean_t are plain means, sum_t a sum",
    "pi, old, ref": "probability of a token, or of a whole response y_i, under table, old_table and ref_table",
    "r_it": "pi / old of a token",
    "pg(r, A)": "max(-r A, -clip(r, 1 - epsilon, 1 + epsilon) A)",
    "k1, k3": "log(pi / ref) of a token, and ref / pi - log(ref / pi) - 1",
    "mean, std": "over the 4 responses to the prompt, std with ddof 1",
}

# [prompt, response, 1 + token]: the last unit of the prompt, then the response
SEQUENCES = np.concatenate([np.broadcast_to(PROMPTS[:, None, None], (*TOKENS.shape[:2], 1)), TOKENS], axis=-1)


def log_probs(table: np.ndarray) -> np.ndarray:
    """Log probability of each token [2, 4, 3] of the batch under a table of logits [4, 4]."""
    log_table = table - np.log(np.exp(table).sum(1, keepdims=True))
    return log_table[SEQUENCES[..., :-1], SEQUENCES[..., 1:]]


def central_differences(loss: Callable[[np.ndarray], float], table: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Gradient [4, 4] of a loss of the table, by central differences."""
    moves = step * np.eye(table.size).reshape(-1, *table.shape)
    return np.array([(loss(table + move) - loss(table - move)) / (2 * step) for move in moves]).reshape(table.shape)


def variant(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], advantages: np.ndarray | None, **settings) -> dict:
    """What is stored of one loss, whose gradient must agree with central differences.

    Args:
        loss: From a table, the library's loss and its gradient with respect to the table.
        advantages: Advantages [2, 4] the loss was given, if it takes any.
        **settings: Settings of the library, and remarks.
    """
    value, gradient = loss(TABLE)
    error = np.abs(gradient - central_differences(lambda table: loss(table)[0], TABLE)).max()
    assert error < 1e-7, error
    assert np.abs(gradient).max() > 1e-3, "a gradient of nothing"
    stored = {"settings": settings, "loss": value, "gradient": gradient, "finite_difference_error": f"{error:.1e}"}
    return stored if advantages is None else stored | {"advantages": np.reshape(advantages, REWARDS.shape)}


def save(path: pathlib.Path, versions: dict[str, str], precision: str, variants: dict[str, dict]) -> None:
    """Write the inputs and the variants to a JSON that stands alone, to 16 significant digits."""
    names = ["prompts", "tokens", "rewards", "chosen", "rejected", "table", "old_table", "ref_table"]
    inputs = {name: globals()[name.upper()] for name in names}
    content = {"versions": versions, "precision": precision, "notation": NOTATION, "inputs": inputs}
    content["variants"] = variants
    path.write_text(_lines(content) + "\n")


def _lines(value: Any, indent: str = "") -> str:
    """JSON with a dict on many lines and an array on one."""
    if isinstance(value, dict):
        inner = indent + "  "
        items = [f"{inner}{json.dumps(key)}: {_lines(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, float | np.ndarray) and np.asarray(value).dtype == float:
        value = np.vectorize(lambda x: float(f"{x:.16g}"), otypes=[float])(value)
    return json.dumps(value.tolist() if isinstance(value, np.ndarray) else value)


def _check() -> None:
    """Each objective must have something to show, and none may sit near a kink, where differences mean nothing."""
    token = np.exp(log_probs(TABLE) - log_probs(OLD_TABLE))
    centred = (REWARDS - REWARDS.mean(1, keepdims=True))[..., None]
    for ratio in (token, np.exp(np.log(token).mean(-1, keepdims=True)), np.exp(np.log(token).sum(-1, keepdims=True))):
        for side in (ratio < 1 - EPSILON, ratio > 1 + EPSILON):
            assert (side & (centred > 0)).any() and (side & (centred < 0)).any(), "a side is never left"
        assert (np.abs(ratio - 1) < EPSILON).any(), "no ratio is inside"
        assert np.abs(np.abs(ratio - 1) - EPSILON).min() > 1e-3, "a ratio is at the edge"
    assert np.abs(centred).min() > 1e-3 and np.unique(TOKENS.reshape(-1, LENGTH), axis=0).shape[0] == 8


_check()
