"""The recipe of docs/scoring.md runs, on stand-ins for torch, vLLM and a model; its commands are those there are."""

import contextlib
import json
import re
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.special

from toypersona import command
from toypersona.readers import json_lines, tables

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "run.jsonl"
DOC = (ROOT / "docs" / "scoring.md").read_text(encoding="utf-8")
PARTS = ("drift", "selection:", "hull distance")
BLOCKS = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
NUM_WORDS = 7


class Model:
    """Next-token logits that depend on all tokens so far."""

    device = "here"

    def __init__(self, seed):
        self.table = np.random.default_rng(seed).normal(size=(NUM_WORDS, NUM_WORDS))

    def __call__(self, tokens):
        seen = np.cumsum(self.table[tokens[0]], axis=0)
        return types.SimpleNamespace(logits=seen[None])

    def log_probs(self, context, response, temperature=1.0):
        """What each token of the response has, asked one after the other."""
        found = []
        for i, token in enumerate(response):
            logits = self(np.array([context + response[:i]])).logits[0, -1] / temperature
            found.append(scipy.special.log_softmax(logits)[token])
        return found


class Tokenizer:
    """Letters as tokens."""

    def apply_chat_template(self, chat, *, add_generation_prompt, return_dict):
        assert add_generation_prompt and not return_dict
        return [0, *[ord(letter) % NUM_WORDS for turn in chat for letter in turn["content"]]]

    def decode(self, tokens):
        return "".join(chr(ord("a") + token) for token in tokens)


@pytest.fixture
def recipe(monkeypatch):
    """Everything that the page defines."""
    softmax = lambda x, dim, dtype: scipy.special.log_softmax(x, axis=dim).astype(dtype)  # noqa: E731
    parts = {"no_grad": contextlib.nullcontext, "tensor": lambda x, device: np.array(x), "log_softmax": softmax}
    names = {}
    # Only while it is imported: SciPy asks whatever is called torch for its arrays.
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "torch", types.SimpleNamespace(float32=np.float32, **parts))
        patched.setitem(sys.modules, "vllm", types.SimpleNamespace(SamplingParams=lambda **kwargs: kwargs))
        for block in BLOCKS:
            exec(block, names)
    return names


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_scores_are_the_log_probabilities_of_the_response_s_tokens(recipe, temperature):
    model, context, response = Model(0), [1, 5, 2], [3, 3, 6, 0]
    expected = model.log_probs(context, response, temperature)
    np.testing.assert_allclose(recipe["score"](model, context, response, temperature), expected, rtol=1e-5)


def test_its_lines_are_read(recipe, tmp_path):
    policy, base, personas = Model(1), Model(2), {"larry": "you are rude", "bob": "you are polite"}
    ask = ("hello", "well")
    said = [(who, prompt, i) for who in ("policy", "base") for prompt in ask for i in range(4)]
    write = lambda who, prompt, i: recipe["line"](policy, base, Tokenizer(), personas, prompt, [i, 6], who, i)  # noqa: E731
    path = tmp_path / "run.jsonl"
    path.write_text("".join(write(*each) + "\n" for each in said))
    (table,) = tables.tables(json_lines.read(path))
    assert table.personas == ("larry", "bob") and table.prompts == ask
    context = Tokenizer().apply_chat_template(
        [{"content": "you are rude"}, {"content": "hello"}], add_generation_prompt=True, return_dict=False
    )
    assert table.responses
    third = [one.key.response for one in table.responses[0]].index("2")
    np.testing.assert_allclose(table.samples.log_personas[0, 0, third], sum(base.log_probs(context, [2, 6])), rtol=1e-5)
    assert table.responses[0][third].words == ("c", "g")


def test_vllm_gives_the_same(recipe):
    model, pairs = Model(3), [([1, 2], [3, 4, 5]), ([6], [0, 0])]

    class Engine:
        def generate(self, asked, params):
            assert params["prompt_logprobs"] == 0
            for one in asked:
                tokens = one["prompt_token_ids"]
                scores = [None, *model.log_probs(tokens[:1], tokens[1:])]
                places = [
                    score and {token: types.SimpleNamespace(logprob=score)}
                    for token, score in zip(tokens, scores, strict=True)
                ]
                yield types.SimpleNamespace(prompt_logprobs=places)

    for found, pair in zip(recipe["score_all"](Engine(), pairs), pairs, strict=True):
        np.testing.assert_allclose(found, model.log_probs(*pair))


def test_its_example_file_and_its_flags_are_read(tmp_path):
    lines = re.findall(r"^\{.*\}$", DOC[DOC.index("## The file") :], re.MULTILINE)
    assert len(lines) == 2 and all(json.loads(line) for line in lines)
    (tmp_path / "run.jsonl").write_text("\n".join(lines))
    log = json_lines.read(tmp_path / "run.jsonl")
    assert log.prompt_weights == {"p1": 0.7, "p2": 0.3} and log.responses[0].key.step == 200
    flags = set(re.findall(r"`(--[a-z-]+)[` ]", DOC)) - {"--log"}
    known = command._parser().parse_args(["measure", "x"])
    assert len(flags) > 5 and all(hasattr(known, flag[2:].replace("-", "_")) for flag in flags)


def measured(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        command.main(["measure", *map(str, arguments)])
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_its_table_is_what_the_command_prints_of_the_example(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert EXAMPLE.stat().st_size < 50_000
    (shown,) = re.findall(r"```text\n(.*?)```", DOC, re.DOTALL)
    assert measured(capsys, EXAMPLE, "--no-figure") == shown
    drift, selection, rest = (float(re.findall(rf"^ *{name}.*? ([0-9.]+) ", shown, re.MULTILINE)[0]) for name in PARTS)
    assert f"{selection:.2f} + {rest:.2f} = {drift:.2f}" in DOC and abs(selection + rest - drift) < 0.015
    assert f"e^{drift:.2f} ≈ {np.exp(drift):.0f} times" in DOC
    brightest = float(re.findall(r"friend you +([0-9.]+)$", shown, re.MULTILINE)[0])
    assert f"e^{brightest:.2f} ≈ {np.exp(brightest):.0f} times" in DOC


@pytest.mark.slow
def test_the_example_is_what_its_script_writes():
    written = [json.loads(line) for line in runpy.run_path(str(EXAMPLE.with_name("write_run.py")))["lines"]()]
    shipped = [json.loads(line) for line in EXAMPLE.read_text().splitlines()]
    assert len(written) == len(shipped) == 161
    for one, two in zip(written[1:], shipped[1:], strict=True):
        scores = [each.pop("log_probs") for each in (one, two)]
        assert one == two
        first, again = ([each["policy"], each["base"], *each["personas"].values()] for each in scores)
        np.testing.assert_allclose(first, again, atol=1.01e-3)
