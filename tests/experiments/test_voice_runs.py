"""RL of a tiny model in three voices: what is kept is the policy's own, and a killed run goes on."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_language_model import MODEL

from experiments.shared import trained, voice_runs
from toypersona import reports, spoken
from toypersona.readers import json_lines, tables
from toypersona.worlds import voices

NUM, LENGTH = 20, 3
WAYS = {
    "Alice": voice_runs.Way(reward="Alice", gate_rate=3.0, rank=2, drifts=(0.05, 0.2), most=5),
    "Alice, gates alone": voice_runs.Way(reward="Alice", gates_only=True, rank=2, drifts=(0.05, 0.2), most=5),
}


def arrays(path):
    with np.load(path) as kept:
        return dict(kept)


@pytest.fixture(scope="module", autouse=True)
def few_lines():
    with pytest.MonkeyPatch.context() as patch:
        every = voices.lines
        patch.setattr(voices, "lines", lambda name: every(name)[:1])
        yield


@pytest.fixture(scope="module")
def start(few_lines):
    return voice_runs.base(MODEL, "Why?", NUM, LENGTH)


@pytest.fixture(scope="module")
def runs(start, tmp_path_factory):
    folder, folders = tmp_path_factory.mktemp("runs"), {}
    for name, way in WAYS.items():
        folders[name] = [folder / name]
        folders[name][0].mkdir()
        voice_runs.train(MODEL, start, way, 0, folders[name][0], lambda said: None)
    return folders


def test_the_base_is_scored_under_every_voice(start):
    prefixes = spoken.read(MODEL, start.prompts)
    for k, tokens in enumerate(start.tokens):
        for j, prefix in enumerate(prefixes):
            scored = spoken.score(MODEL, [prefix], jnp.asarray(tokens), temperature=voices.TEMPERATURE)[0]
            np.testing.assert_allclose(start.log_voices[k, j], scored, rtol=1e-12)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_numbers(start, runs, tmp_path):
    way, whole = WAYS["Alice"], runs["Alice"][0]
    said = []

    def stop(sentence):
        said.append(sentence)
        if len(said) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        voice_runs.train(MODEL, start, way, 0, tmp_path, stop)
    voice_runs.train(MODEL, start, way, 0, tmp_path, said.append)
    assert len(said) <= way.most
    assert "tokens a CPU second" in said[0]
    for path in whole.glob("*.npz"):
        one, other = arrays(path), arrays(tmp_path / path.name)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_drifts_are_reached_and_kept_once(runs):
    kept = [arrays(path) for path in runs["Alice"][0].glob("answers-*.npz")]
    assert len(kept) >= 1
    assert all(one["drift"] >= 0.05 for one in kept)
    assert len({int(one["step"]) for one in kept}) == len(kept)


def test_gates_alone_leave_every_voice_as_it_was(runs):
    for path in runs["Alice, gates alone"][0].glob("answers-*.npz"):
        kept = arrays(path)
        mixed = np.logaddexp.reduce(np.log(kept["gates"])[:, None] + kept["log_voices"].sum(axis=-1), axis=0)
        np.testing.assert_allclose(kept["log_policy"].sum(axis=-1), mixed, rtol=1e-9)
        assert kept["gates"][-1] > 1 / 3


@pytest.mark.slow
def test_the_file_and_its_lines_hold_what_was_kept(start, runs, tmp_path):
    found = trained.gathered(WAYS, runs, {0: start}, MODEL)
    trained.keep(tmp_path / "trained.npz", found)
    read = trained.load(tmp_path / "trained.npz")
    for name, one in found._asdict().items():
        other = getattr(read, name)
        if one.dtype.kind == "f":
            np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-6)
        else:
            np.testing.assert_array_equal(other, one)
    trained.write(read, tmp_path)
    (table, *_) = tables.tables(json_lines.read(tmp_path / "Alice-0.jsonl.gz"))
    policy = arrays(sorted(runs["Alice"][0].glob("answers-*.npz"))[0])
    kept = trained.drawn(policy["gates"], NUM * 3)
    found = np.sort(policy["log_policy"].sum(axis=-1)[kept])
    np.testing.assert_allclose(np.sort(table.samples.log_policy[0]), found, atol=0.05)
    assert abs(float(np.bincount(kept // NUM, minlength=3) @ [1, 0, 0]) / len(kept) - policy["gates"][0]) < 0.03
    report = reports.report(table)
    assert report.base_inside
    row = json.loads(trained.lines(read, 0, 0)[-1])
    assert row["sampled_from"] == "policy"
    assert len(row["tokens"]) == len(row["log_probs"]["policy"]) <= LENGTH


def test_every_reward_is_of_answers_before_their_end():
    paid = voice_runs.rewards(MODEL, 0)
    tokens = np.array([[[1, 0, 2], [1, 2, 5]], [[2, 1, 1], [0, 0, 0]]])
    speaker = np.arange(12.0).reshape(3, 2, 2)
    np.testing.assert_array_equal(paid["Alice"](tokens, speaker), speaker[2])
    np.testing.assert_array_equal(paid["brevity"](tokens, None), [[-2, -1], [0, -3]])
    np.testing.assert_array_equal(paid["alliteration"](tokens, None), np.zeros((2, 2)))
    other = tokens.copy()
    other[0, 1, 2] = 6
    for name in ("random score", "the word the", "brevity"):
        np.testing.assert_array_equal(paid[name](tokens, None), paid[name](other, None))
    changed = voice_runs.rewards(MODEL, 1)["random score"](tokens, None)
    assert not np.allclose(paid["random score"](tokens, None), changed)


def test_a_reward_that_is_the_same_for_all_is_refused(start, tmp_path):
    with pytest.raises(ValueError, match="pays the same for all 60 answers"):
        voice_runs.train(MODEL, start, voice_runs.Way(reward="the word the"), 0, tmp_path, print)
