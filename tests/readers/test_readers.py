"""Every format gives the arrays that the format of its own gives."""

import json
from typing import Any

import exported
import numpy as np
import peers
import pytest

from toypersona.measures import sampled_inputs
from toypersona.readers import arrays, joined, json_lines, scored, tables

MODELS = ("policy", "base", "larry", "bob", "alice")
FORMATS = {
    "inspect": (peers.inspect_log, "json"),
    "lm-evaluation-harness": (peers.lm_evaluation, "jsonl"),
    "vllm": (peers.completions, "jsonl"),
    "echo": (lambda rows, model: peers.completions(rows, model, echo=True), "jsonl"),
    "bayesft": (peers.columns, "csv"),
}


@pytest.fixture(scope="module")
def rows():
    return exported.lines(6, num_base=8)


def own(tmp_path, rows, **how):
    (table,) = tables.tables(json_lines.read(exported.write(tmp_path / "own.jsonl", rows)), **how)
    return table


def same(one, two):
    for name in ("samples", "base_samples"):
        for a, b in zip(getattr(one, name), getattr(two, name), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9)
    assert (one.personas, one.prompts) == (two.personas, two.prompts)


@pytest.mark.parametrize("name", FORMATS)
def test_what_peers_write_is_read_as_the_own_format(tmp_path, rows, name):
    write, end = FORMATS[name]
    paths = {model: tmp_path / f"{model}.{end}" for model in MODELS}
    for model, path in paths.items():
        path.write_text(write(rows, model), encoding="utf-8")
    (table,) = tables.tables(joined.read(paths))
    same(table, own(tmp_path, rows))
    assert table.responses is not None
    words, text = table.responses[0][0].words, table.responses[0][0].text
    assert words is None or list(words) == next(row["tokens"] for row in rows if row["response"] == text)
    assert (words is None) == (name in ("lm-evaluation-harness", "bayesft"))


def test_sums_lists_and_packed_files_are_the_same(tmp_path, rows):
    table = own(tmp_path, rows)
    packed = json_lines.read(exported.write(tmp_path / "own.jsonl.gz", exported.lines(6, num_base=8, tokens=False)))
    same(table, tables.tables(packed)[0])
    base = exported.toy()[0]
    spelt = {" ".join(base.labels.units[u] for u in said): n for n, said in enumerate(np.asarray(base.responses))}
    assert table.responses is not None
    n = [spelt[one.text or ""] for one in table.responses[1]]
    assert sorted(n) == sorted(spelt[row["response"]] for row in rows[6:12])
    np.testing.assert_allclose(table.samples.log_personas[1], np.asarray(base.log_personas)[1][:, n], atol=1e-9)
    np.testing.assert_allclose(table.samples.log_base[1], np.asarray(base.log_base)[1, n], atol=1e-9)


def test_a_header_has_the_prompts_weights_and_several_files_are_one(tmp_path, rows):
    header = {"toypersona": 1, "temperature": 0.7, "tokenizer": "words", "prompt_weights": exported.weights()}
    said = {who: [row for row in rows if row["sampled_from"] == who] for who in ("policy", "base")}
    logs = [json_lines.read(exported.write(tmp_path / f"{who}.jsonl", each, header)) for who, each in said.items()]
    (table,) = tables.tables(tables.merged(logs))
    np.testing.assert_allclose(np.exp(table.log_prompts), list(exported.weights().values()), atol=1e-9)
    assert logs[0].temperature == 0.7 and table._replace(log_prompts=0).samples.log_policy.shape == (6, 6)


def test_arrays_are_read_as_they_are(tmp_path, rows):
    table = own(tmp_path, rows)
    np.savez(
        tmp_path / "run.npz",
        log_policy=table.samples.log_policy, log_base=table.samples.log_base, log_personas=table.samples.log_personas,
        base_log_base=table.base_samples.log_base, base_log_personas=table.base_samples.log_personas,
        personas=np.array(table.personas), prompts=np.array(table.prompts),
    )  # fmt: skip
    same(arrays.read(tmp_path / "run.npz"), table)


@pytest.mark.parametrize("kind", ["float32", "float16", "longdouble"])
def test_arrays_of_any_precision_are_computed_with_in_float64(tmp_path, kind):
    law = np.log(np.full((2, 3, 4), 0.25))
    given = {"log_personas": law, "base_log_personas": law, "next_policy": law[:, 0, :, None, None]}
    given |= dict.fromkeys(("log_policy", "log_base", "base_log_base"), law[:, 0])
    given |= {"next_personas": np.moveaxis(law, 1, 2)[:, :, None, :, None]}
    written: dict[str, Any] = {name: values.astype(kind) for name, values in given.items()}
    np.savez(tmp_path / "run.npz", personas=np.array(["a", "b", "c"]), **written)
    table = arrays.read(tmp_path / "run.npz")
    assert table.next_words is not None and table.personas == ("a", "b", "c")
    read = (table.log_prompts, *table.samples, *table.base_samples, *table.next_words)
    assert {values.dtype for values in read} == {np.dtype("float64")}
    np.testing.assert_array_equal(table.samples.log_personas, law.astype(kind))


def test_pooled_all_responses_count_once_and_one_a_prompt_is_enough(tmp_path):
    rows = [row | {"prompt_id": f"p{i}"} for i, row in enumerate(exported.lines(4, base_too=False))]
    rows += [
        row | {"prompt_id": f"p{i}"}
        for i, row in enumerate(r for r in exported.lines(4) if r["sampled_from"] == "base")
    ]
    table = own(tmp_path, rows, pool=True)
    assert table.pooled == 24 and table.samples.log_policy.shape == (1, 24)
    sums = [sum(row["log_probs"]["policy"]) for row in rows[:24]]
    np.testing.assert_allclose(np.sort(table.samples.log_policy[0]), np.sort(sums))
    assert "one mix is assumed for all 24 prompts" in table.notes[0]
    with pytest.raises(ValueError, match=r"1 responses of the policy to p0 are too few: .*--pool"):
        own(tmp_path, rows)


def test_what_some_prompts_have_more_of_is_left_out_only_if_asked(tmp_path, rows):
    with pytest.raises(ValueError, match=r"has 6 responses of the policy, .* has 5: --trim takes 4 of each by chance"):
        own(tmp_path, rows[1:])
    table = own(tmp_path, rows[1:], trim=True)
    assert table.samples.log_policy.shape == (6, 4) and table.base_samples.log_policy.shape == (6, 8)
    assert "11 of 35 responses of the policy are left out by chance: 4 of each prompt count." in table.notes


def test_what_is_left_out_hangs_neither_on_the_order_of_the_file_nor_on_the_run(tmp_path):
    """A file sorted by length would else be measured by its shortest responses."""
    rows = exported.lines(20)
    (few, *_), prompts = rows, {row["prompt_id"] for row in rows}
    late = [row | {"response_id": f"late {i}"} for i, row in enumerate(rows) if row["prompt_id"] != few["prompt_id"]]
    table = own(tmp_path, rows + late, trim=True)
    assert table.responses is not None
    kept = [[one.key.response.startswith("late") for one in row] for row in table.responses[1:]]
    assert len(prompts) == 6 and all(5 <= sum(row) <= 15 for row in kept), "of 40, half of them late"
    again = own(tmp_path, rows + late, trim=True)
    np.testing.assert_array_equal(again.samples.log_policy, table.samples.log_policy)
    odd = own(tmp_path, [row for row in rows if row["response_id"] != "0"])
    assert odd.responses is not None
    names = {one.key.response for one in odd.responses[0]}
    assert len(names) == 18 and "19" in names, "the last of an odd number is not the one that is left out"


def test_steps_of_training_share_what_the_base_said(tmp_path):
    rows = exported.lines(4, step=200) + exported.lines(4, step=50, seed=1, base_too=False)
    found = tables.tables(json_lines.read(exported.write(tmp_path / "own.jsonl", rows)))
    assert [table.step for table in found] == [50, 200]
    same(found[0]._replace(samples=found[1].samples), found[1])
    assert not np.array_equal(found[0].samples.log_policy, found[1].samples.log_policy)


def test_what_the_base_said_counts_once_though_it_is_logged_at_every_step(tmp_path):
    once = exported.lines(4, step=200) + exported.lines(4, step=50, seed=1, base_too=False)
    again = [row | {"step": 50} for row in once if row["sampled_from"] == "base"]
    for row in again:
        row["log_probs"] = row["log_probs"] | {"policy": [-1.0, -2.0, -3.0]}
    logs = [json_lines.read(exported.write(tmp_path / "own.jsonl", rows)) for rows in (once, once + again)]
    for one, two in zip(*map(tables.tables, logs), strict=True):
        assert two.base_samples.log_base.shape == (6, 4)
        same(one, two)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"log_probs": {"base": [-1.0] * 3}}, "log-probability under the base"),
        ({"log_probs": {"personas": {"larry": [-1.0] * 3}}}, "log-probability under persona larry"),
        ({"response": "another"}, "text"),
        ({"reward": 1.0}, "reward"),
        ({"tokens": ["a", "b", "c"]}, "list of tokens"),
    ],
)
def test_a_base_that_differs_between_steps_is_refused_with_file_and_line(tmp_path, change, sentence):
    rows = exported.lines(4, step=200) + exported.lines(4, step=50, seed=1, base_too=False)
    odd = json.loads(json.dumps(rows[24] | {"step": 50}))
    for name, value in change.get("log_probs", {}).items():
        odd["log_probs"][name] = odd["log_probs"][name] | value if isinstance(value, dict) else value
    odd |= {name: value for name, value in change.items() if name != "log_probs"}
    log = json_lines.read(exported.write(tmp_path / "own.jsonl", [*rows, odd]))
    with pytest.raises(ValueError, match=rf"own\.jsonl, line 73: .* has another {sentence} than at .*line 25: "):
        tables.tables(log)


def test_the_format_is_told_from_what_is_in_the_file(tmp_path, rows):
    kinds = {
        name: (write, kind)
        for (name, (write, _)), kind in zip(
            FORMATS.items(), ("inspect", "samples", "completions", "completions", "columns"), strict=True
        )
    }
    for name, (write, kind) in kinds.items():
        path = tmp_path / f"{name}.log"
        path.write_text(write(rows, "larry"), encoding="utf-8")
        assert joined.format_of(path) == kind
    row = json.loads(peers.completions(rows, "policy").splitlines()[0])["response"]["body"]
    (tmp_path / "plain").write_text(json.dumps(row | {"id": "p/1"}))
    assert joined.format_of(tmp_path / "plain") == "completions"


def test_readers_allow_the_rounding_that_the_estimators_do():
    assert scored.ROUNDING == sampled_inputs.ROUNDING
