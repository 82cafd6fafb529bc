"""Code that users bring: whatever is wrong with it ends in one sentence, before anything is fitted."""

import pytest
import small

from experiments import rules
from experiments.shared import parsing, user_code
from toypersona import bases
from toypersona.rules import catalogue

CODE = """
import jax.numpy as jnp
import optax

from toypersona.rules.rule import RuleState, UpdateRule, ascend


def shapes(task, ref_params, learning_rate):
    def direction(key, params):
        return jnp.ones((3, 5)) + jnp.ones(7), {}

    return ascend(direction, optax.sgd(learning_rate))


def refuses(task, ref_params, learning_rate):
    raise ValueError('Not with this base.')


def two(task, learning_rate):
    return None


def number(task, ref_params, learning_rate):
    return 3


def forgets(task, ref_params, learning_rate):
    return UpdateRule(lambda params: RuleState(params), lambda key, state: (RuleState(0.0), {}))


def alone(task, ref_params, learning_rate):
    return UpdateRule(lambda params: RuleState(params), lambda key, state: state)


def lazy(task, ref_params, learning_rate):
    return UpdateRule(lambda params: RuleState(params), lambda key, state: (state, {}))


def per_word(prompt, response):
    return 1 / len(response)


def nothing(prompt, response):
    pass


def huge(prompt, response):
    return float("inf") if prompt[0] == "oi" else 1.0
"""
REFUSAL = "raise ValueError('Not with this base.')"
LINES = {line.strip(): number for number, line in enumerate(CODE.splitlines(), start=1)}


@pytest.fixture
def no_fit(monkeypatch):
    """Nothing is fitted: whoever gets so far has not been refused."""

    def fitted(*_, **__):
        raise AssertionError("the base was fitted")

    monkeypatch.setattr(bases, "pretrained", fitted)


def at(line):
    return f"line {LINES[line]}, `{line}`"


@pytest.mark.parametrize(
    "flag, function, complaint",
    [
        ("own", "shapes", f"{at('return jnp.ones((3, 5)) + jnp.ones(7), {}')}: "),
        ("own", "refuses", f"{at(REFUSAL)}: ValueError: Not with this base. --debug"),
        ("own", "two", "fails: TypeError: two() takes 2 positional arguments but 3 were given"),
        ("own", "number", "returned int, not a toypersona.rules.rule.UpdateRule"),
        ("own", "forgets", "update(key, state) has to return (state, info) with a state of the same structure"),
        ("own", "alone", "update(key, state) has to return (state, info) with a state of the same structure"),
        (
            "feature",
            "per_word",
            "`return 1 / len(response)`, for the prompt ['dear', 'everyone'] and the response []: Z",
        ),
        ("feature", "nothing", "returned None for ["),
        ("feature", "huge", "returned inf for ['oi', "),
    ],
)
@pytest.mark.usefixtures("no_fit")
def test_what_fails_is_one_sentence_before_anything_is_fitted(flag, function, complaint, tmp_path, capsys):
    file, out = tmp_path / "mine.py", tmp_path / "out"
    file.write_text(CODE)
    code, said = small.run(rules, f"--out {out} --length 2 --{flag} {file}:{function}", capsys)
    assert code == 2 and complaint in said.err, said.err
    assert len(said.err.strip().splitlines()) == 1 and f"--{flag} {file}:{function}" in said.err and not out.exists()


@pytest.mark.usefixtures("no_fit")
def test_debug_shows_everything(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(CODE)
    given = f"--out {tmp_path / 'out'} --length 2 --own {tmp_path / 'mine.py'}:shapes"
    with pytest.raises(ValueError, match="fails at .*mine.py, line 10") as raised:
        small.run(rules, f"{given} --debug", capsys)
    assert "broadcast" in str(raised.value.__cause__)


def test_a_file_that_fails_when_imported_shows_its_line(tmp_path):
    file = tmp_path / "torn.py"
    file.write_text("ready = False\nassert ready, 'not yet'\n")
    with pytest.raises(
        ValueError, match=r"fails when imported: AssertionError: not yet at .*, line 2, `assert ready, "
    ):
        user_code.imported("own", f"{file}:f")


def test_rules_are_chosen_by_name_and_called_by_their_functions(tmp_path):
    for name in ("mine.py", "yours.py"):
        (tmp_path / name).write_text("def lazy(*_): ...\ndef DPO(*_): ...\ndef other(*_): ...\n")
    mine, yours = tmp_path / "mine.py", tmp_path / "yours.py"
    given = (f"{mine}:lazy", f"{yours}:lazy", f"{mine}:DPO", f"{mine}:other")
    chosen, own = user_code.rules(("SFT", "RLOO"), given)
    assert list(chosen) == ["RLOO", "SFT", *given[:3], "other"] and list(own) == list(chosen)[2:]
    everything, nobody = user_code.rules((), ())
    assert everything == catalogue.RULES and nobody == {}
    of_a_network, _ = user_code.rules((), (), "transformer")
    assert everything.keys() - of_a_network.keys() == {"RLOO, gates only"}
    with pytest.raises(ValueError, match="--only names RLOO, gates only, which trains gates: a transformer has none."):
        user_code.rules(("RLOO, gates only",), (), "transformer")
    with pytest.raises(ValueError, match="--only has to be rules of the catalogue, not 'RLO': did you mean RLOO"):
        user_code.rules(("RLO",), ())
    with pytest.raises(ValueError, match="--own names .*mine.py:lazy twice"):
        user_code.rules((), (given[0], given[0]))


@pytest.mark.parametrize(
    "words", ["--own {0}:a {0}:b --only RLOO DPO", "--own {0}:a --only=RLOO --own={0}:b --only DPO"]
)
def test_several_may_be_given_at_once_or_one_by_one(words, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def a(*_): ...\ndef b(*_): ...\n")
    config = parsing.parse("rules", None, rules.PRESETS, words.format(file).split())
    assert config.own == (f"{file}:a", f"{file}:b") and config.only == ("RLOO", "DPO")
