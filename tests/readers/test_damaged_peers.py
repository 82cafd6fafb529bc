"""Damaged logs of other projects, and wrong arguments: one sentence each."""

import copy
import re

import exported
import numpy as np
import peers
import pytest
from damage import arrays, good, lines, said


def changed(text, *replaced):
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new, 1)
    return text


PEERS = {
    "a response less": (
        "lm",
        lambda text: text[text.index("\n") + 1 :],
        r"response 0 to prompt .* is missing in .*larry",
    ),
    "a response of its own": (
        "csv",
        lambda text: text + "new prompt,new,all,-1.0,policy\n",
        r"line 98: .* is missing in .*policy",
    ),
    "another text": (
        "lm",
        lambda text: changed(text, ('"arg_1": "', '"arg_1": "not ')),
        r"larry, line 1: its text is not that",
    ),
    "twice": ("lm", lambda text: text + text, r"line 193: doc_id 0 is there twice"),
    "no likelihoods": ("lm", lambda text: changed(text, ('"resps": [[[', '"resps": [["x", [')), r"loglikelihood"),
    "multiple choice": (
        "lm",
        lambda text: changed(text, ('"resps": [[', '"resps": [[["-1.0", "True"]], [')),
        r"2 answers: those of a list",
    ),
    "structure": (
        "lm",
        lambda text: re.sub(r'"resps": \[\[\[.*?\]\]\]', '"resps": [[]]', text, count=1),
        r"line 1: its parts do not stand where this format has them",
    ),
    "not run to its end": (
        "inspect",
        lambda text: text.replace('"success"', '"cancelled"'),
        r"its status is cancelled",
    ),
    "another temperature": (
        "inspect",
        lambda text: text.replace('"temperature": 1.0', '"temperature": 0.7'),
        r"its temperature is 0.7, but 1 in",
    ),
    "too many target tokens": (
        "inspect",
        lambda text: text.replace('"num_target_tokens": 3', '"num_target_tokens": 30'),
        r"sample 1: its num_target_tokens is 30",
    ),
    "fewer target tokens": (
        "inspect",
        lambda text: text.replace('"num_target_tokens": 3', '"num_target_tokens": 2'),
        r"it has 3 tokens under the policy and 2 under persona larry",
    ),
    "as many other target tokens": (
        "inspect",
        lambda text: re.sub(r'("content": \[(?:\s*\{[^{}]*\},){9})(\s*\{\s*"token": ")', r"\1\2_", text),
        r"larry, sample 1: its tokens are not those that were sampled at .*policy, sample 1",
    ),
    "no prompt_logprobs": (
        "inspect",
        lambda text: text.replace('"prompt_logprobs": {', '"logprobs": {'),
        r"sample 1: it has no prompt_logprobs.content",
    ),
    "cut off log": ("inspect", lambda text: text[:-200], r"larry, line \d+: it is no JSON"),
    "an id without prompt": (
        "vllm",
        lambda text: changed(text, ('"custom_id": "', '"custom_id": "x", "was": "')),
        r"its id x has to be PROMPT/RESPONSE",
    ),
    "cut into other tokens": (
        "vllm",
        lambda text: text.replace('"decoded_token": "', '"decoded_token": "_'),
        r"its last 3 tokens are not those that were sampled",
    ),
    "top tokens beside": (
        "vllm",
        lambda text: text.replace('{"103": ', '{"7": {"logprob": -0.1, "rank": 1, "decoded_token": "u"}, "103": '),
        r"ask for prompt_logprobs=0",
    ),
    "ids of other tokens": (
        "vllm",
        lambda text: text.replace('"prompt_logprobs": [', '"prompt_token_ids": [1, 2], "prompt_logprobs": ['),
        r"line 1: its parts do not stand where this format has them",
    ),
    "several answers": (
        "vllm",
        lambda text: changed(text, ('"choices": [', '"choices": [{}, ')),
        r"line 1: it has 2 choices: ask for n=1",
    ),
    "failed request": (
        "vllm",
        lambda text: changed(text, ('"response": {', '"response": null, "was": {')),
        r"line 1: its response is null, which cannot be",
    ),
    "no such column": (
        "csv",
        lambda text: text.replace("completion_logprob", "logprob"),
        r"line 1: it has no column completion_logprob",
    ),
    "cut off table": ("csv", lambda text: text[: text.rindex(",all") + 2], r"it has not as many cells as line 1"),
    "no number": (
        "csv",
        lambda text: changed(text, (",all,-", ",all,minus ")),
        r"line 2: the log-probability under persona larry",
    ),
}
WRITE = {
    "lm": peers.lm_evaluation,
    "csv": peers.columns,
    "inspect": peers.inspect_log,
    "vllm": peers.completions,
}


@pytest.mark.parametrize("name", PEERS)
def test_damaged_logs_of_peers_are_refused_in_one_sentence(tmp_path, capsys, name):
    kind, damage, sentence = PEERS[name]
    arguments = _models(tmp_path, WRITE[kind], copy.deepcopy(exported.lines(8)))
    (tmp_path / "larry").write_text(damage((tmp_path / "larry").read_text()))
    with pytest.raises(ValueError, match=sentence):
        raise ValueError(said(arguments, capsys))


def _models(folder, write, rows):
    for model in ("policy", "base", "larry", "bob", "alice"):
        (folder / model).write_text(write(rows, model), encoding="utf-8")
    personas = [word for name in ("larry", "bob", "alice") for word in ("--persona", f"{name}={folder / name}")]
    return ["--policy", folder / "policy", "--base", folder / "base", *personas]


COMMANDS = {
    "": "No FILE given",
    "{run} --policy {run}": "stands beside --policy",
    "--policy {run}": "No --base FILE",
    "--base {run} --persona a={run}": "No --policy FILE",
    "--policy {run} --base {run}": "No --persona NAME=FILE",
    "--policy {run} --base {run} --persona larry": "has to be NAME=FILE",
    "--policy {run} --base {run} --persona base={run}": "this name is taken",
    "--policy {run} --base {run} --persona a={run} --persona a={run}": "this name is taken",
    "--policy {run} --base {run} --persona a={run}": "it has all models in one file",
    "{csv}": "it has one model's numbers: name it by --policy",
    "{npz} {npz}": "arrays stand for themselves",
    "{run} --figure plot.pdf": "it has to end in .png",
    "{run} --repeat {other}": "is not that of the first scoring",
    "{run} --repeat {nowhere}": "it cannot be read",
    "{run} --json /proc/nowhere/x.json": "Cannot write to /proc/nowhere",
    "{run} --reapir": "unrecognized arguments: --reapir",
    "{run} {hot}": "its temperature is 0.7, but not said in",
}


@pytest.mark.parametrize("given", COMMANDS)
def test_wrong_arguments_are_refused_in_one_sentence(tmp_path, capsys, given):
    lines(lambda rows: None)(tmp_path)
    other = [row | {"response_id": f"x{row['response_id']}"} for row in good()]
    exported.write(tmp_path / "other.jsonl", other)
    exported.write(tmp_path / "hot.jsonl", other, {"toypersona": 1, "temperature": 0.7})
    (tmp_path / "one.csv").write_text("prompt,completion,completion_logprob\na,b,-1.0\n")
    np.savez(tmp_path / "run.npz", **arrays())
    names = {
        "run": "run.jsonl",
        "other": "other.jsonl",
        "hot": "hot.jsonl",
        "csv": "one.csv",
        "npz": "run.npz",
        "nowhere": "no",
    }
    words = given.format(**{name: tmp_path / file for name, file in names.items()}).split()
    assert COMMANDS[given] in said(words, capsys)


def _base_reversed(rows):
    return rows[:8] + rows[:7:-1]


def _base_renamed(rows):
    return [row | {"response_id": f"x{row['response_id']}"} if row["sampled_from"] == "base" else row for row in rows]


def _base_doubled(rows):
    return rows + [row | {"response_id": f"x{row['response_id']}"} for row in rows[8:]]


REPEATS = {
    "another order of the base": (_base_reversed, "the order of the responses is not that of the first scoring"),
    "another order of the policy": (lambda rows: rows[7::-1] + rows[8:], "it has not the personas and prompts"),
    "other responses of the base": (
        _base_renamed,
        "to prompt p (said by the base) is not that of the first scoring",
    ),
    "more responses of the base": (_base_doubled, "the number of responses of the base (8 to a prompt) is not that"),
}


@pytest.mark.parametrize("name", REPEATS)
def test_a_second_scoring_of_other_responses_is_refused_in_one_sentence(tmp_path, capsys, name):
    """Of a base in another order the changes are large, and with them the noise that it may be outside by."""
    lines(lambda rows: None)(tmp_path)
    change, sentence = REPEATS[name]
    exported.write(tmp_path / "again.jsonl", change(good()))
    err = said([tmp_path / "run.jsonl", "--repeat", tmp_path / "again.jsonl"], capsys)
    assert err.startswith(f"error: {tmp_path / 'again.jsonl'}: ") and sentence in err


def test_a_second_scoring_of_other_arrays_is_refused_in_one_sentence(tmp_path, capsys):
    np.savez(tmp_path / "run.npz", **arrays())
    more = {"base_log_base": np.full((2, 6), -1.0), "base_log_personas": np.full((2, 3, 6), -1.0)}
    np.savez(tmp_path / "again.npz", **arrays(**more))
    err = said([tmp_path / "run.npz", "--repeat", tmp_path / "again.npz"], capsys)
    assert "again.npz: the number of responses of the base (6 to a prompt) is not that of the first scoring" in err
