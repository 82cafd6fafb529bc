import pytest

from toypersona.worlds import voices


def test_everybody_has_eight_different_lines_in_answer_to_the_same_questions():
    every = {name: voices.lines(name) for name in voices.NAMES}
    asked = {tuple(question for question, _ in lines) for lines in every.values()}
    assert len(asked) == 1
    answers = [answer for lines in every.values() for _, answer in lines]
    assert len(answers) == len(set(answers)) == 24
    # Nothing in a line may end it, nor begin another.
    for text in (*answers, *asked.pop(), *voices.questions()):
        assert text == text.strip() and text and "\n" not in text and ":" not in text and text.isascii()


def test_the_questions_asked_are_new():
    assert len(voices.questions()) == len(set(voices.questions())) >= 4
    assert not {*voices.questions()} & {question for question, _ in voices.lines("larry")}


def test_a_prompt_ends_where_the_answer_begins():
    found = voices.prompt([("Who?", "Me.")], "Where?")
    assert found == "Stranger: Who?\nAnswer: Me.\nStranger: Where?\nAnswer:"


def test_shuffled_lines_are_everybody_s_in_another_order_each_time():
    every = sorted(line for name in voices.NAMES for line in voices.lines(name))
    first, again, other = (voices.shuffled(order) for order in (0, 0, 1))
    assert sorted(first) == sorted(other) == every
    assert first == again != other != every


def test_nobody_else_has_lines():
    with pytest.raises(FileNotFoundError):
        voices.lines("iago")
