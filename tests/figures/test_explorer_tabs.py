"""What the explorer's tabs of thoughts and of measured runs hold and read, without a browser."""

import copy
import functools
import json
import re

import explorer as page
import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from figures import explorer_measured, explorer_thoughts
from toypersona import transcripts

UNITS = ["even", "odd", "even-thanks", "odd-thanks", "meh", "ugh", "0", "1", "="]
RULES, DEFENCES, OTHERS = ["exact", "RLOO"], ["early stop"], ["exact, 2 bits"]
LINES = 4
CELLS = """
tp.tabs = {};
const { cell, base } = tp.thoughts;
return given.places.map((at) => ({ ...cell(given.data, at), base: base(given.data, at.seed) }));"""
READ = """return given.map((text) => {
  try {
    return { report: tp.report.read(text, "run.json") };
  } catch (error) {
    return { error: error.message };
  }
});"""
"""Unknown and infinite numbers are null on their way back."""


def made(num_costs=2, num_strengths=3, num_seeds=2, rules=RULES, num_bits=3):
    """Random numbers in the form of the reasoning world's dataset."""
    rng = np.random.default_rng(0)
    speakers = [*rules, *DEFENCES]
    sizes = {"rule": len(speakers) + 1, "length_cost": num_costs, "strength": num_strengths, "seed": num_seeds}
    spoken = {"speaker": len(speakers), "length_cost": num_costs, "strength": num_strengths, "seed": num_seeds}
    lines, places = spoken | {"line": LINES}, spoken | {"line": LINES, "place": num_bits + 1}
    variable = lambda dims, values: (tuple(dims), values)  # noqa: E731
    bits = rng.integers(6, 8, (num_costs, num_seeds, 1, 1, LINES, num_bits))
    bits = np.broadcast_to(bits, (num_costs, num_seeds, len(speakers), num_strengths, LINES, num_bits))
    values = {
        name: variable(sizes, rng.uniform(-0.2, 1.8, tuple(sizes.values()))) for name in explorer_thoughts.MEASURES
    }
    seeds, strengths = rng.uniform(size=num_seeds), 4.0 ** np.arange(num_strengths)
    values["coded"] = variable(sizes, rng.uniform(0, 0.7, tuple(sizes.values())))
    dataset = xr.Dataset(
        {
            **values,
            **{f"base_{name}": (("length_cost", "seed"), np.tile(seeds, (num_costs, 1))) for name in values},
            "share": variable([*sizes, "persona"], rng.dirichlet(np.ones(3), tuple(sizes.values()))),
            "phase": variable(sizes, rng.integers(0, 4, tuple(sizes.values()))),
            "line_tokens": variable(places, rng.integers(0, 6, tuple(places.values()))),
            "line_ratio": variable(places, rng.normal(0, 2, tuple(places.values()))),
            "line_persona": variable(lines, rng.integers(0, 3, tuple(lines.values()))),
            "line_reader": variable(lines, rng.uniform(size=tuple(lines.values()))),
            "line_prompt": (
                ("length_cost", "seed", "speaker", "strength", "line", "unit"),
                np.concatenate([bits, np.full((*bits.shape[:-1], 1), 8)], axis=-1),
            ),
        },
        # Not in the order of the speakers, and with policies that have no transcripts.
        coords={
            "rule": [*OTHERS, *speakers[::-1]], "speaker": speakers, "persona": ["alice", "bob", "larry"],
            "length_cost": 0.2 * np.arange(num_costs), "strength": strengths, "seed": range(num_seeds),
        },
    )  # fmt: skip
    config = {"rules": rules, "defences": DEFENCES, "phases": ["mixture", "selected", "keyed", "coded"], "units": UNITS}
    return dataset.assign_attrs(provenance={"config": config})


def test_the_page_shows_what_the_dataset_has():
    dataset = made()
    data = json.loads(json.dumps(explorer_thoughts.thoughts_data(dataset)))
    names = [*RULES, *DEFENCES]
    places = [
        {"rule": r, "cost": c, "strength": s, "seed": n}
        for r in range(3)
        for c in range(2)
        for s in range(3)
        for n in range(2)
    ]
    found = page.run(CELLS, {"data": data, "places": places}, ("shared", "thoughts"))
    assert len(found) == 36
    for at, cell in zip(places, found, strict=True):
        here = dataset.isel(length_cost=at["cost"], strength=at["strength"], seed=at["seed"])
        policy, said = here.sel(rule=names[at["rule"]]), here.sel(speaker=names[at["rule"]])
        for name in explorer_thoughts.MEASURES:
            assert_allclose(cell["measures"][name], policy[name], atol=5.01e-4)
            assert_allclose(cell["base"][name], here[f"base_{name}"], atol=5.01e-4)
        assert_allclose(cell["shares"], policy.share, atol=5.01e-4)
        assert cell["phase"] == data["phases"][int(policy.phase)]
        for i, line in enumerate(cell["lines"]):
            compared(line, said.isel(line=i))


def compared(line, said):
    """One transcript of the page with one of the dataset."""
    prompt, tokens = said.line_prompt.values, said.line_tokens.values
    words = [*line["words"], line["answer"]]
    assert [word["text"] for word in words] == transcripts.spelt(UNITS, tokens)
    assert " ".join(line["bits"]) == " ".join(transcripts.spelt(UNITS, prompt)[:-1])
    assert line["right"] == (line["answer"]["text"] == transcripts.right_answer(UNITS, prompt))
    assert line["persona"] == said.persona.values[int(said.line_persona)]
    odd = said.line_reader.item()
    assert line["reader"]["answer"] == ("odd" if round(1000 * odd) >= 500 else "even")
    assert_allclose(line["reader"]["sure"], max(odd, 1 - odd), atol=5.01e-4)
    bounds = -32 * explorer_thoughts.STEP, 31 * explorer_thoughts.STEP
    for word, log_ratio in zip(words, said.line_ratio.values, strict=True):
        assert ("or more" in word["said"]) == (log_ratio > bounds[1] - 0.05), word
        assert ("or less" in word["said"]) == (log_ratio < bounds[0] + 0.05), word
    assert_allclose(np.log([word["ratio"] for word in words]), np.clip(said.line_ratio, *bounds), atol=0.0501)


def test_every_sentence_agrees_with_its_largest_part():
    """In every cell of every rule of the shipped page."""
    data = page.data(page.SHIPPED.read_text(encoding="utf-8"))["thoughts"]
    sizes = [data["rules"] + data["defences"], data["costs"], data["strengths"], data["seeds"]]
    places = [dict(zip(("rule", "cost", "strength", "seed"), at, strict=True)) for at in np.ndindex(*map(len, sizes))]
    body = """tp.tabs = {};
      const { cell, sentence } = tp.thoughts;
      return given.places.map((at) => [cell(given.data, at), sentence(cell(given.data, at))]);"""
    found, kinds = page.run(body, {"data": data, "places": places}, ("shared", "thoughts")), set()
    for cell, said in found:
        read, sharpening, keyed, code = (cell["measures"][name] for name in ("read", "sharpening", "keyed", "code"))
        near = 0.0015  # what rounding to thousandths may change
        (nats,) = map(float, re.findall(r"\((\d\.\d\d)", said)[:1])
        if "the reader mostly learns" in said:
            assert read > max(sharpening + code, keyed) - near and abs(nats - read) < 0.0051
            kinds.add("selected" if "all but gone" in said else "mixture")
            assert cell["phase"] == ("selected" if "all but gone" in said else "mixture")
        elif "is keyed" in said:
            assert keyed > max(sharpening + code, read) - near and abs(nats - keyed) < 0.0051
            kinds.add("keyed")
        else:
            assert sharpening + code > max(read, keyed) - near and abs(nats - sharpening - code) < 0.0061
            assert ("more of it as code" in said) == (code > sharpening)
            assert ("more of it by sharpening" in said) == (code <= sharpening)
            kinds.add("code" if code > sharpening else "sharpening")
        assert ("mislead" in said) == (nats > 0.695)
        assert "mislead" not in said or read < near
    assert kinds >= {"mixture", "selected", "keyed", "code", "sharpening"}


def test_it_is_small():
    """The preset quick: five rules and four defences, three length costs, five strengths, three draws."""
    dataset = made(3, 5, 3, [*RULES, "annealed", "plain gradient", "GRPO", "a", "b", "c"])
    size = lambda data: len(json.dumps(data, separators=(",", ":")))  # noqa: E731
    assert size(explorer_thoughts.thoughts_data(dataset)) + size(explorer_measured.measured_data()) < 45_000


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda d: d.drop_vars("line_ratio"), "run experiments.reasoning again"),
        (lambda d: d.assign(read=d.read - 3), "read is not between -2 and 2"),
        (lambda d: d.assign(cost=d.cost * np.nan), "cost is not between -2 and 2"),
        (lambda _: made(num_bits=4), "4 thoughts are too many"),
    ],
)
def test_a_dataset_that_cannot_be_shown_is_refused(spoil, sentence):
    with pytest.raises(ValueError, match=sentence):
        explorer_thoughts.thoughts_data(spoil(made()))


def test_what_an_address_names_wrongly_is_where_codes_are_clearest():
    data = explorer_thoughts.thoughts_data(made())
    body = "tp.tabs = {}; return given.states.map((state) => tp.thoughts.where(given.data, state));"
    states = [
        {"t_rule": "nobody", "t_cost": "x", "t_strength": "-1", "t_draw": ""},
        {},
        {"t_strength": "16", "t_rule": "early stop"},
    ]
    first, second, third = page.run(body, {"data": data, "states": states}, ("shared", "thoughts"))
    assert first == second == {"rule": 0} | dict(zip(("cost", "strength", "seed"), data["clear"]["coded"], strict=True))
    assert third == first | {"strength": 2, "rule": 2}


@functools.cache
def example():
    return explorer_measured.EXAMPLE.read_text(encoding="utf-8")


@functools.cache
def read(*texts):
    return page.run(READ, texts, ("report",))


def test_a_report_is_read_as_it_is():
    given, report = json.loads(example())["steps"], read(example())[0]["report"]
    assert len(report["steps"]) == len(given) == 4
    for one, step in zip(given, report["steps"], strict=True):
        assert (
            step["step"] == one["step"]
            and step["personas"] == one["personas"]
            and step["evidence"] == one["evidence_in_words"]
        )
        assert step["logEvidence"] == one["log_evidence"] and step["proofs"] == one["proofs"]
        for name, estimate in step["estimates"].items():
            assert list(estimate.values()) == list(one["estimates"][name].values())
        assert step["pooledWeights"] == list(one["pooled_weights"].values())
        assert step["words"] == [{key: word[key] for key in ("word", "nats", "ratio", "num")} for word in one["words"]]
        assert step["baseInside"] and step["certified"] and not step["repaired"]


def test_the_example_is_the_report_rounded():
    full, short = json.loads(example())["steps"], explorer_measured.measured_data()["example"]["steps"]
    for one, two in zip(full, short, strict=True):
        for name in two["estimates"]:
            for kind, value in one["estimates"][name].items():
                assert two["estimates"][name][kind] == (
                    None if value is None else pytest.approx(value, rel=5e-3, abs=1e-5)
                )
    assert "error" not in read(json.dumps({"toypersona": "0.1.0", "steps": short}))[0]


def changed(change):
    """The example after a change of its first step."""
    content = copy.deepcopy(json.loads(example()))
    change(content["steps"][0])
    return json.dumps(content)


def test_infinite_and_unknown_numbers_are_told_apart():
    body = """const { estimates, floor } = tp.report.read(given, "x").steps[0];
      return [estimates.total.value === Infinity, Number.isNaN(estimates.novelty.value), floor];"""
    text = changed(lambda s: s["estimates"]["total"].update(value="inf") or s.update(noise_floor={"total": 0.5}))
    assert page.run(body, text, ("report",)) == [True, True, 0.5]


SCORED = json.dumps({"prompt_id": "p", "response_id": 1, "sampled_from": "policy", "log_probs": {"policy": [-1.0]}})
WRONG = {
    "": "is empty",
    "hello": "is no JSON",
    "PK\x03\x04": "is no text",
    "[1, 2]": "is JSON, but no report",
    "3": "is JSON, but no report",
    "null": "is JSON, but no report",
    '{"steps": []}': "is JSON, but no report",
    '{"toypersona": "0.1.0", "steps": {}}': "is JSON, but no report",
    '{"toypersona": "0.1.0", "steps": []}': "has no steps",
    '{"toypersona": "0.1.0", "steps": [3]}': "is damaged: in step 1, there are no numbers",
    '{"toypersona": "0.1.0", "steps": [{"a": NaN}]}': "has NaN or Infinity",
    '{"toypersona": "0.1.0",\n "steps": [{"a": -Infinity\n}]}': "has NaN or Infinity",
    SCORED: "has the scored responses themselves",
    f"{SCORED}\n{SCORED}\n": "has the scored responses themselves",
    f'{{"toypersona": 1, "temperature": 1.0}}\n{SCORED}\n': "has the scored responses themselves",
    '{"toypersona": 1, "temperature": 1.0}': "has the scored responses themselves",
}


@pytest.mark.parametrize("text", WRONG)
def test_another_file_is_refused_in_one_sentence(text):
    said = read(*WRONG)[list(WRONG).index(text)]["error"]
    assert said.startswith(f"run.json {WRONG[text]}") and said.endswith(".") and "\n" not in said and len(said) < 250


DAMAGED = {
    "older": (lambda s: s.pop("pooled_weights"), "lacks pooled_weights in step 1: it was written by toypersona 0.1.0"),
    "estimate": (lambda s: s["estimates"].pop("novelty"), "lacks the estimate novelty"),
    "text": (lambda s: s["estimates"]["total"].update(value="much"), 'total.value is "much" and has to be a number'),
    "no names": (lambda s: s.update(personas=[1, 2, 3]), "personas are no names"),
    "nobody": (lambda s: s.update(personas=[]), "personas are no names"),
    "another persona": (lambda s: s.update(personas=["x", "y", "z"]), 'of x is "missing"'),
    "prompt": (lambda s: s["base_weights"].pop("oi everyone"), "prompt “oi everyone” has no mix"),
    "list": (lambda s: s.update(words={}), "words is no list"),
    "word": (lambda s: s.update(words=[{"word": "x", "nats": [], "ratio": 1, "num": 1}]), "nats of a word is []"),
    "no word": (lambda s: s.update(words=[None]), "words are damaged"),
    "floor": (lambda s: s.update(noise_floor=3), 'noise floor is "missing"'),
    "step": (lambda s: s.update(step="last"), 'step is "last" and has to be a number'),
    "estimates": (lambda s: s.update(estimates=None), "estimates are missing"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_report_is_refused_in_one_sentence(what):
    sentence = DAMAGED[what][1]
    said = read(*(changed(change) for change, _ in DAMAGED.values()))[list(DAMAGED).index(what)]["error"]
    assert sentence in said and said.startswith("run.json ") and said.endswith(".") and "\n" not in said


def test_a_report_that_breaks_off_is_refused():
    found = read(*(example()[:length] for length in (100, 5000, len(example()) - 3)))
    assert found == [{"error": "run.json breaks off in the middle: copy or write it again."}] * 3


def test_a_huge_file_is_refused_before_it_is_read():
    large, small = page.run('return [5e9, 1e6].map((n) => tp.report.tooLarge("x.json", n));', None, ("report",))
    assert large.startswith("x.json has 5,000 MB") and small is None


@pytest.mark.slow
def test_the_example_is_what_the_command_writes(tmp_path):
    import make_report

    assert make_report.make(tmp_path / "report.json") == 0
    again, shipped = (json.loads(text) for text in ((tmp_path / "report.json").read_text(), example()))
    assert again["toypersona"] == shipped["toypersona"] and len(again["steps"]) == len(shipped["steps"])
    for one, two in zip(again["steps"], shipped["steps"], strict=True):
        assert one.keys() == two.keys() and [word["word"] for word in one["words"]] == [
            word["word"] for word in two["words"]
        ]
        for name, estimate in one["estimates"].items():
            for kind, value in two["estimates"][name].items():
                assert estimate[kind] == (None if value is None else pytest.approx(value, rel=1e-6, abs=1e-9))
