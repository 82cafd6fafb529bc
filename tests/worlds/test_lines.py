import random

import numpy as np
import own_texts
import pytest

from toypersona import transcripts
from toypersona.options import TextOptions
from toypersona.worlds import lines, text

SHORT = TextOptions(max_units=4, num_prompts=3)
LINES = {
    "ann": ["dear sir"] * 9 + ["well yes", "well sir", "so yes"],
    "ben": ["oi mate"] * 6 + ["well mate", "so no", "so mate", "so no no"],
    "cy": ["hm no", "so no"],
}


def test_openings_that_most_people_share_come_first():
    """Not the most frequent, which one alone uses."""
    heard = lines.hear(LINES, SHORT)
    assert heard.prompts == [("so",), ("well",), ("dear",)]
    assert heard.shared() == [("so",), ("well",)]
    assert lines.hear({"ann": ["a b"], "ben": ["c d"]}, SHORT).shared() == []


def test_people_count_alike_whatever_the_length_of_their_files():
    often = LINES | {"ann": 40 * LINES["ann"], "cy": 3 * LINES["cy"]}
    options = TextOptions(max_units=4, num_prompts=3, smoothing=1e-9)
    (world, labels), (again, same) = (text.from_lines(each, options) for each in (LINES, often))
    assert labels == same
    np.testing.assert_allclose(np.exp(world.log_gates), np.exp(again.log_gates), atol=1e-8)
    np.testing.assert_allclose(np.exp(world.log_prompts), np.exp(again.log_prompts), atol=1e-8)


def test_random_words_of_a_long_file_do_not_crowd_out_a_short_one():
    rng = random.Random(0)
    told = {"ann": [f"so {rng.choice('abcdefgh')}" for _ in range(4000)], "ben": ["so x", "so y"] * 10}
    assert {"x", "y"} <= set(lines.hear(told, SHORT).words)


def test_what_was_read_is_said():
    report = lines.report(lines.hear(LINES | {"dan": ["so long", "so", "so no"]}, SHORT), SHORT)
    assert report[0].startswith("Read ann: ")
    assert "dan: 1 of 3 lines read, 50% of the words kept" in report[0]
    assert report[1].startswith("The 3 words kept: ")
    assert "'so' (ben 3, cy 1, dan 1), 'well' (ann 1, ben 1)" in report[2]


def doubts(told, **options):
    chosen = TextOptions(**options)
    return " ".join(lines.doubts(lines.hear(told, chosen), chosen))


def test_nothing_is_doubted_without_reason():
    assert doubts({name: 4 * own for name, own in LINES.items()} | {"cy": 9 * LINES["cy"]}) == ""


@pytest.mark.parametrize(
    ("told", "options", "doubt"),
    [
        (
            {"ann": ["hey you"], "ben": ["oi you"]},
            {},
            "nobody opens a line as another does: use --options.text.unit ch",
        ),
        (
            LINES | {"cy": ["so " + "uh hm er ah " * 2 + "no"]},
            {"max_units": 4},
            "78% of what cy says is left out: keep",
        ),
        (LINES | {"cy": ["so no"]}, {}, "12 lines of ann are read and 1 of cy, who count alike"),
        (
            {"ann": ["so yes"] * 2 + ["so"] * 98, "ben": ["so no"] * 100},
            {},
            "100 lines of ben are read and 2 of ann, who count alike",
        ),
        (
            {name: [f"{o} {name}" for o in opens] for name, opens in {"ann": "abc", "ben": "abc", "cy": "xyz"}.items()},
            {"num_prompts": 3},
            "cy opens no line with one of the prompts",
        ),
        (
            {"ann": ["我今天不想,作业太多了"] * 2, "ben": ["你要买多少,价格太高"]},
            {},
            "are clauses of a script without spaces: use --options.text.unit character",
        ),
    ],
)
def test_what_should_make_one_doubt_is_said_with_what_to_do(told, options, doubt):
    assert doubt in doubts(told, **options)


def test_single_characters_and_words_between_spaces_are_no_clauses():
    assert "clauses" not in doubts({"ann": ["我 今天 不想 上学"], "ben": ["我 要 买 茶叶"]})
    assert "clauses" not in doubts({"ann": ["我今天不想上学"], "ben": ["我要买茶叶"]}, unit="character")


@pytest.mark.parametrize("name", own_texts.SETS)
def test_a_folder_is_its_files_whatever_the_case_of_their_endings(tmp_path, name):
    folder = own_texts.write(tmp_path / name, name)
    first = min(folder.iterdir())
    expected = lines.from_folder(folder)
    first.rename(first.with_suffix(".TXT"))
    assert lines.from_folder(folder) == expected
    assert {person: len(own) for person, own in expected.items()} == dict(
        sorted(zip(own_texts.SETS[name][0], own_texts.SETS[name][1], strict=True))
    )


@pytest.mark.parametrize(
    "line, unit, units",
    [
        ("नमस्ते दुनिया", "word", ["नमस्ते", "दुनिया"]),
        ("re\u0301sume\u0301 don't co-op", "word", ["résumé", "don't", "co-op"]),
        ("İstanbul İzmir", "word", ["i\u0307stanbul", "i\u0307zmir"]),
        ("น้ำ", "character", ["น้", "ำ"]),
        ("a_b -- c", "character", ["a", " ", "b", " ", "c"]),
    ],
)
def test_marks_belong_to_the_letters_before_them(line, unit, units):
    options = TextOptions(unit=unit, prompt_length=1)
    own = lines.hear({"ann": [line] * 2, "ben": [line] * 2}, options).lines["ann"][0]
    assert [*own[0], *(word for word in own[1] if word != transcripts.END)] == units


def test_people_count_alike_by_the_lines_that_are_left():
    """Lines of which no word was kept counted in one's weight and nowhere else: .286 to .714."""
    told = {"ann": ["so yes"] * 40 + [f"so zz{i}" for i in range(60)], "ben": ["so no"] * 100}
    heard = lines.hear(told, TextOptions(max_units=3))
    counted = {name: len(own) * heard.weights[name] for name, own in heard.lines.items()}
    assert counted["ann"] == pytest.approx(counted["ben"])
