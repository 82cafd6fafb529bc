"""Damaged files: each is refused in one sentence that names the file, and the line where there is one."""

import gzip
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from damage import arrays, good, lines, said

from toypersona import command


def at(number, *path, value):
    """A change of one place in the row of that number."""

    def change(rows):
        here = rows[number]
        for name in path[:-1]:
            here = here[name]
        if value is None:
            del here[path[-1]]
        else:
            here[path[-1]] = value

    return lines(change)


def content(data, name="run.jsonl"):
    return lambda folder: (folder / name).write_bytes(data)


def header(**fields):
    return lines(lambda rows: rows.insert(0, {"toypersona": 1} | fields))


TEXT = "".join(json.dumps(row) + "\n" for row in good())
DAMAGED = {
    "no file": (lambda folder: None, r"run\.jsonl: it cannot be read \(No such file"),
    "a folder": (lambda folder: (folder / "run.jsonl").mkdir(), r"it cannot be read \(Is a directory"),
    "empty": (content(b""), r"run\.jsonl: it is empty"),
    "blank": (content(b"\n \n"), r"it is empty"),
    "no text": (content(bytes(range(128, 256))), r"it is no UTF-8 text"),
    "packed and cut off": (content(gzip.compress(TEXT.encode())[:80]), r"run\.jsonl: it cannot be read"),
    "another format": (content(b"hello world\n"), r"its format is none of these: JSON lines"),
    "an inspect log that is packed": (content(b"PK\x03\x04", "run.jsonl"), r"inspect log dump"),
    "a list": (content(b"[1, 2]\n"), r"its format is none of these"),
    "cut off": (lines(lambda rows: TEXT[:-30]), r"run\.jsonl, line 16: it is no JSON .*cut off"),
    "cut off at once": (lines(lambda rows: TEXT[:30]), r"line 1: it is no JSON"),
    "a line that is no object": (lines(lambda rows: TEXT + "7\n"), r"line 17: it has to be a JSON object"),
    "only a header": (lines(lambda rows: '{"toypersona": 1}\n'), r"it has a header and no responses"),
    "another version": (lines(lambda rows: '{"toypersona": 2}\n' + TEXT), r"line 1: its toypersona has to be 1"),
    "a header in between": (lines(lambda rows: TEXT + '{"toypersona": 1}\n'), r"line 17: a header has to be the first"),
    "temperatures of models differ": (
        header(temperature={"policy": 1.0, "base": 0.7}),
        r"temperatures differ between models",
    ),
    "a temperature that is none": (header(temperature="hot"), r"its temperature is hot, which is no number"),
    "weights without a prompt": (header(prompt_weights={"p": 1.0}), r"prompt_weights have no weight for prompt q"),
    "weights of nothing": (header(prompt_weights={"p": 0, "q": 0}), r"prompt_weights are 0 for every prompt"),
    "a weight below 0": (header(prompt_weights={"p": 2, "q": -1}), r"weight of prompt q is below 0"),
    "no prompt": (at(2, "prompt_id", value=None), r"line 3: it has no prompt_id"),
    "no name": (at(2, "response_id", value=None), r"line 3: it has no response_id"),
    "nobody said it": (at(2, "sampled_from", value=None), r"line 3: it has no sampled_from"),
    "somebody else said it": (at(2, "sampled_from", value="larry"), r'line 3: .* has to be "policy" or "base"'),
    "an unknown field": (at(2, "logprobs", value=1), r"line 3: it has a field logprobs, which is none of"),
    "no log_probs": (at(2, "log_probs", value=None), r"line 3: it has no log_probs"),
    "no policy": (at(2, "log_probs", "policy", value=None), r"line 3: it has no log_probs.policy"),
    "no base": (at(2, "log_probs", "base", value=None), r"line 3: it has no log_probs.base"),
    "no personas": (at(2, "log_probs", "personas", value={}), r"line 3: its log_probs.personas is empty"),
    "a persona less": (at(2, "log_probs", "personas", "bob", value=None), r"line 3: it has no persona bob, and"),
    "a persona more": (
        at(2, "log_probs", "personas", "eve", value=-1.0),
        r"line 3: it has persona eve, and .* have not",
    ),
    "a wrong name": (
        at(2, "log_probs", "personas", value={"larry": -1.0, "bbo": -1.0}),
        r"line 3: it has persona bbo, and most lines have bob: score",
    ),
    "a wrong name in the first line": (
        at(0, "log_probs", "personas", value={"larry": -1.0, "bbo": -1.0}),
        r"line 1: it has persona bbo, and most lines have bob: score",
    ),
    "a probability": (
        at(2, "log_probs", "base", value=[0.4, 0.6]),
        r"line 3: .* under the base is 0.6, but .* above 0",
    ),
    "nan": (at(2, "log_probs", "policy", value=[float("nan"), -1.0]), r"line 3: .* under the policy is nan"),
    "null": (at(2, "log_probs", "policy", value=[-1.0, [None]]), r"line 3: .* has to be a number or a list of numbers"),
    "no tokens": (at(2, "log_probs", "base", value=[]), r"line 3: .* under the base are an empty list"),
    "a word": (at(2, "log_probs", "base", value="low"), r"line 3: .* has to be a number"),
    "impossible under who said it": (
        at(2, "log_probs", "policy", value=[float("-inf"), -1.0]),
        r"line 3: the log-probability under the policy is -inf, but it was sampled from there",
    ),
    "impossible under the base": (
        at(12, "log_probs", "base", value=float("-inf")),
        r"line 13: .* under the base is -inf",
    ),
    "token counts of models": (
        at(2, "log_probs", "base", value=[-1.0, -0.5, -0.5]),
        r"line 3: it has 2 tokens under the policy and 3 under the base",
    ),
    "count of the words": (
        at(2, "tokens", value=["a"]),
        r"line 3: it has 2 tokens under the policy and 1 under tokens",
    ),
    "tokens that are no list": (at(2, "tokens", value="ab"), r'line 3: its tokens is "ab", which cannot be'),
    "a weighted response": (at(2, "weight", value=0.5), r"line 3: its weight is 0.5: responses count once each"),
    "a step that is none": (at(2, "step", value="last"), r"line 3: its step is last, which is no number"),
    "one without step": (at(2, "step", value=5), r"line 1: it has no step, but others have one"),
    "twice": (
        at(2, "response_id", value="1"),
        r"line 3: response 1 to prompt p .* is there twice, as it was at .*line 2",
    ),
    "only the policy": (lines(lambda rows: rows.__delitem__(slice(8, None))), r"no response was sampled from the base"),
    "only the base": (lines(lambda rows: rows.__delitem__(slice(0, 8))), r"no response was sampled from the policy"),
    "a prompt of the base alone": (at(9, "prompt_id", value="r"), r"line 10: the policy said nothing to prompt r"),
    "a prompt of the policy alone": (
        lines(lambda rows: rows.__delitem__(slice(12, None))),
        r"run\.jsonl: the base said nothing to prompt q",
    ),
    "more of one prompt": (
        lines(lambda rows: rows.__delitem__(0)),
        r"prompt q has 4 responses of the policy, p has 3: --trim takes 2 of each by chance",
    ),
}


def test_there_are_enough_of_them_and_the_good_one_is_good(tmp_path):
    assert len(DAMAGED) >= 30
    lines(lambda rows: None)(tmp_path)
    given = command._parser().parse_args(["measure", str(tmp_path / "run.jsonl")])
    assert command._read(given)[0].samples.log_policy.shape == (2, 4)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, capsys, name):
    write, sentence = DAMAGED[name]
    write(tmp_path)
    err = said([tmp_path / "run.jsonl"], capsys)
    assert str(tmp_path / "run.jsonl") in err
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(err)


ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "missing": (arrays(log_base=None), "it has no array log_base"),
    "unknown": (arrays(rewards=np.zeros(2)), "it has an array rewards, which is none of"),
    "shape": (arrays(log_base=np.zeros((2, 6))), r"log_base is \(2, 6\), but by log_personas"),
    "axes": (arrays(log_personas=np.zeros((2, 4))), r"has to be \[prompts, personas, responses\]"),
    "nan": (arrays(log_base=np.full((2, 4), np.nan)), "log_base has 8 nan"),
    "above 0": (arrays(log_base=np.ones((2, 4))), "log_base goes up to 1"),
    "-inf": (arrays(log_policy=np.full((2, 4), -np.inf)), "log_policy has -inf"),
    "integers": (arrays(log_base=np.zeros((2, 4), int)), "log_base is of type int64"),
    "prompts": (arrays(log_prompts=np.zeros(2)), "does not add up to 1"),
    "odd": (
        arrays(base_log_base=np.full((2, 3), -1.0), base_log_personas=np.full((2, 3, 3), -1.0)),
        "3 responses of the base",
    ),
    "half of the next words": (arrays(next_policy=np.zeros((2, 4, 1, 2))), "only one of next_policy and next_personas"),
    "one axis": (arrays(base_log_base=np.zeros(2)), r"base_log_base is \(2,\)"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_damaged_arrays_are_refused_in_one_sentence(tmp_path, capsys, name):
    found, sentence = ARRAYS[name]
    np.savez(tmp_path / "run.npz", **found)
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(said([tmp_path / "run.npz"], capsys))


def test_arrays_that_are_cut_off(tmp_path, capsys):
    np.savez(tmp_path / "whole.npz", **arrays())
    (tmp_path / "run.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:200])
    assert "run.npz: it is no whole .npz file" in said([tmp_path / "run.npz"], capsys)


@pytest.mark.slow
def test_nothing_is_refused_later_than_jax_is_imported(tmp_path):
    lines(lambda rows: rows.__delitem__(0))(tmp_path)
    code = f"""
import sys
from toypersona import command
for given in (["--help"], ["measure", "--help"], ["measure", {str(tmp_path / "run.jsonl")!r}]):
    try:
        command.main(given)
    except SystemExit:
        pass
sys.exit("jax" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
