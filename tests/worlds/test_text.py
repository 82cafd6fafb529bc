import jax.numpy as jnp
import numpy as np
import pytest

from toypersona import chains, transcripts
from toypersona.options import TextOptions
from toypersona.worlds import text
from toypersona.worlds import world as worlds

LINES = {
    "ann": ["Hey, Yes yes!", "hey yes", "oi no"],
    "ben": ["oi no", "oi, no: NO", "oi yes", "hey no", "oi no"],
}
SMALL = TextOptions(max_units=3, num_prompts=2)


def test_prompts_and_gates_by_hand():
    world, labels = text.from_lines(LINES, SMALL)
    assert labels == worlds.Labels(("ann", "ben"), ("no", "yes", ".", "hey", "oi"), " ")
    np.testing.assert_array_equal(world.prompts, [[4], [3]])
    # "oi" opens 1 line of ann and 4 of ben, "hey" 2 and 1; ann's 3 lines count 4/3, ben's 5 count 4/5; 0.1 is added.
    counts = np.array([[4 / 3 + 0.1, 3.2 + 0.1], [8 / 3 + 0.1, 0.8 + 0.1]])
    np.testing.assert_allclose(jnp.exp(world.log_gates), counts / counts.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(jnp.exp(world.log_prompts), counts.sum(axis=1) / counts.sum())


def test_a_row_by_hand():
    world, labels = text.from_lines(LINES, SMALL)
    # After "oi": ann says no once; ben no three times and yes once; nobody ends there. The whole row, V = 3, where
    # ann's lines count 4/3 and ben's 4/5.
    together = np.array([4 / 3 + 2.4 + 0.1, 0.8 + 0.1, 0.1]) / (4 / 3 + 3.2 + 0.3)
    ann, ben = np.array([1.0, 0, 0]) + 0.3 * together, np.array([3.0, 1, 0]) + 0.3 * together
    oi = labels.units.index("oi")
    np.testing.assert_allclose(jnp.exp(world.log_experts[:, oi]), [ann / 1.3, ben / 4.3])


def test_a_context_a_persona_never_met_is_answered_as_by_everybody():
    lines = {"ann": ["hey yes", "hey yes no", "hey yes"], "ben": ["oi no", "oi no", "oi no yes"]}
    world, labels = text.from_lines(lines, SMALL)
    oi, no, yes = (labels.units.index(unit) for unit in ("oi", "no", "yes"))
    assert jnp.isfinite(world.log_experts).all()
    np.testing.assert_allclose(jnp.exp(world.log_experts[0, oi, no]), 3.1 / 3.3)
    assert world.log_experts[0, oi, no] > world.log_experts[0, oi, yes]


def test_a_context_nobody_met_falls_back_on_a_shorter_one():
    lines = {"ann": ["hey you yes no"] * 3, "ben": ["hey you no yes"] * 3}
    world, labels = text.from_lines(lines, TextOptions(order=2, prompt_length=2, max_units=3))
    end, no = labels.units.index("."), labels.units.index("no")
    never = world.log_experts[:, labels.units.index("hey"), end]
    assert (jnp.exp(never[:, end]) > 0.95).all()
    seen = chains.token_log_probs(world.log_experts[1], world.prompts[0], jnp.array([no]))
    assert jnp.exp(seen[0]) > 0.7


@pytest.mark.parametrize("order", [1, 2])
def test_tables_are_normalised_and_what_is_over_stays_over(order):
    world, labels = text.from_lines(LINES, TextOptions(max_units=3, order=order, prompt_length=order, num_prompts=2))
    np.testing.assert_allclose(jnp.exp(world.log_experts).sum(axis=-1), 1.0, rtol=1e-12)
    end = labels.units.index(".")
    over = world.log_experts[(slice(None), *(end,) * order, end)]
    assert (jnp.exp(over) > 0.98).all()


def test_case_punctuation_and_dashes():
    lines = {"ann": ["“Well,” I’ll--come  AGAIN_ and-then, o'er!"] * 2, "ben": ["well, stop"]}
    _, labels = text.from_lines(lines, TextOptions(max_units=20))
    assert set(labels.units) == {"well", "i'll", "come", "again", "and-then", "o'er", "stop", "."}


def test_words_that_tell_the_personas_apart_are_kept_before_frequent_ones():
    lines = {"ann": ["hey the the the sweet"] * 4, "ben": ["hey the the the sour"] * 4}
    _, labels = text.from_lines(lines, SMALL)
    assert labels.units == ("sour", "sweet", ".", "hey")


def test_characters():
    lines = {"ann": ["aB-a c"], "ben": ["ab b--a!"]}
    world, labels = text.from_lines(lines, TextOptions(unit="character", max_units=5))
    assert labels.units == (" ", "a", "b", "c", ".")
    assert labels.separator == ""
    after_space = world.log_experts[1, labels.units.index(" ")]
    np.testing.assert_allclose(after_space[labels.units.index("a")], after_space[labels.units.index("b")])
    assert transcripts.line(labels.units, labels.separator, world.prompts[0], [2, 1, 0, 3, 4]) == "a > ba c"


def test_openings_that_are_no_responses_come_last_and_short_lines_are_left_out():
    lines = {"ann": ["good day friend", "good", "good day sir"], "ben": ["my oh friend", "my oh sir", "good day sir"]}
    world, labels = text.from_lines(lines, TextOptions(prompt_length=2))
    assert labels.units == ("friend", "sir", ".", "day", "good", "my", "oh")
    assert world.log_experts.shape == (2, 7, 3)
    assert transcripts.line(labels.units, labels.separator, world.prompts[0], [0, 2]) == "good day > friend"


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (LINES, TextOptions(unit="syllable"), "unit has to be one of word, character, not 'syllable'"),
        (LINES, TextOptions(num_prompts=0), "num_prompts has to be from 1 to 4,096, not 0"),
        (LINES, TextOptions(order=0), "order has to be from 1 to 8, not 0"),
        (LINES, TextOptions(max_units=1), "max_units has to be from 2 to 4,096, not 1"),
        (LINES, TextOptions(smoothing=0.0), "smoothing has to be above 0, not 0.0"),
        (LINES, TextOptions(smoothing=float("nan")), "smoothing has to be finite, not nan"),
        (LINES, TextOptions(order=2), r"1 word\(s\) are too short for order 2"),
        ({"ann": ["hey yes"]}, TextOptions(), "two personas or more, not 1"),
        (LINES | {"cy": ["hey"]}, TextOptions(), r"No line of cy goes on after its opening of 1 word\(s\)"),
        (LINES | {"cy": ["hey maybe"]}, TextOptions(max_units=2), r"says none of the 1 kept words: raise max_units"),
    ],
)
def test_lines_that_make_no_world_are_refused(lines, options, message):
    with pytest.raises(ValueError, match=message):
        text.from_lines(lines, options)


def test_a_folder_is_its_files_lines(tmp_path):
    for name, lines in LINES.items():
        (tmp_path / f"{name}.txt").write_text("\n\n".join(lines), encoding="utf-8")
    (tmp_path / "notes.md").write_text("not a persona")
    world, labels = text.from_folder(tmp_path, SMALL)
    expected, expected_labels = text.from_lines(LINES, SMALL)
    assert labels == expected_labels
    for own, other in zip(world, expected, strict=True):
        np.testing.assert_array_equal(own, other)


def test_folders_that_make_no_world_are_refused(tmp_path):
    with pytest.raises(ValueError, match="There is no folder .*nowhere"):
        text.from_folder(tmp_path / "nowhere", SMALL)
    (tmp_path / "ann.txt").write_text("hey you")
    with pytest.raises(ValueError, match=r"holds 1 .txt files: a world needs 2 to 8"):
        text.from_folder(tmp_path, SMALL)
    (tmp_path / "ben.txt").write_text("\n \n")
    with pytest.raises(ValueError, match=r"ben.txt is empty"):
        text.from_folder(tmp_path, SMALL)
