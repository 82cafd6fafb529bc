"""A small good log, its damage, and what the command says of it."""

import json
from typing import Any

import numpy as np
import pytest

from toypersona import command

WHO = ("policy", "base")


def good():
    """Eight responses of policy and base to two prompts, under two personas."""
    return [
        {
            "prompt_id": prompt,
            "response_id": str(i),
            "sampled_from": who,
            "log_probs": {
                "policy": [-1.0, -0.5],
                "base": [-1.5, -0.5],
                "personas": {"larry": [-2.0, -0.5], "bob": [-1.0, -1.0]},
            },
            "tokens": ["a", "b"],
        }
        for who in WHO
        for prompt in ("p", "q")
        for i in range(4)
    ]


def lines(change):
    """JSON lines of the good ones after a change of them, in place or to what it returns."""

    def write(folder):
        rows = good()
        changed = change(rows)
        text = changed if isinstance(changed, str) else "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "run.jsonl").write_text(text)

    return write


def arrays(**change) -> dict[str, Any]:
    base = np.log(np.full((2, 4), 0.25))
    found = {"log_policy": base, "log_base": base, "log_personas": np.log(np.full((2, 3, 4), 0.25))}
    found |= {"base_log_base": base, "base_log_personas": found["log_personas"]} | change
    return {name: value for name, value in found.items() if value is not None}


def said(arguments, capsys):
    """What the command says of wrong input."""
    with pytest.raises(SystemExit) as stopped:
        command.main(["measure", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert (stopped.value.code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    return err
