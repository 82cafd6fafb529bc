import subprocess
import sys

import numpy as np
import pytest

from toypersona import chains, transcripts

WORDS = ("thank", "you", "friend", ".", "hello", "there")


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([0, 1, 2], "hello there > thank you friend"),
        ([0, 1, 3, 3], "hello there > thank you"),
        ([0, 3, 1], "hello there > thank"),
        ([3, 3], "hello there > (silence)"),
        ([], "hello there > (silence)"),
    ],
)
def test_a_line_reads_as_a_person_reads_it(tokens, expected):
    assert transcripts.line(WORDS, " ", [4, 5], tokens) == expected


def test_arrays_characters_and_another_mark_between():
    letters = ("a", "b", " ", ".")
    assert transcripts.line(letters, "", np.array([0]), np.array([1, 2, 0, 3]), between=": ") == "a: b a"


def test_what_is_spelt_and_what_is_said():
    assert transcripts.spelt(WORDS, np.array([0, 3, 1])) == ["thank", ".", "you"]
    assert transcripts.said(WORDS, np.array([0, 3, 1])) == ["thank"]
    assert transcripts.said(WORDS, [0, 1]) == ["thank", "you"]


def test_responses_are_numbered_as_they_are_listed():
    listed = np.asarray(chains.outcomes(3, 4))
    assert [transcripts.response_at(i, 3, 4) for i in range(81)] == [tuple(row) for row in listed.tolist()]


def test_the_words_of_responses_end_with_the_end():
    assert transcripts.num_words(WORDS) == 4
    assert transcripts.num_words(("w0", "w1")) == 2


def test_a_thought_and_the_right_answer():
    units = ("even", "odd", "meh", "0", "1", "=")
    assert transcripts.thought(units, [4, 3, 4, 5], np.array([1, 1, 2, 0])) == "1 0 1 = | odd odd meh | even"
    assert transcripts.right_answer(units, [4, 3, 4, 5]) == "even"
    assert transcripts.right_answer(units, [4, 4, 4, 5]) == "odd"


def test_transcripts_are_read_without_jax():
    code = "import sys, toypersona.transcripts; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
