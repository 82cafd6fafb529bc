"""All claims of a folder in one table: counted, failures named, and an exit code that says whether all hold."""

import json

import numpy as np
import pytest

from experiments import results
from experiments.shared import claim

GOOD = [
    claim.near("prediction", "exponent", -0.5, -0.501, 0.01),
    claim.near("finding", "share", 1, 1, 0.1),
    claim.at_most("theorem", "gap, nats", 1e-9, 1e-12),
    claim.at_most("identity", "sum, nats", 1e-12, 0.0),
]
FAILS = claim.near("prediction", "exponent", -0.5, -0.7, 0.01)
UNKNOWN = claim.near("finding", "boundary", np.inf, np.inf, 0.1)


def write(folder, **of_each):
    folder.mkdir(parents=True, exist_ok=True)
    for name, claims in of_each.items():
        (folder / f"{name}.claims.json").write_text(json.dumps([each.jsonable() for each in claims]))
    return folder


def ran(capsys, *arguments, code):
    with pytest.raises(SystemExit) as stopped:
        results.main([str(each) for each in arguments])
    assert stopped.value.code == code
    return capsys.readouterr()


def test_what_is_written_is_read_again(tmp_path):
    folder = write(tmp_path / "deep" / "laws", horizon=[*GOOD, FAILS])
    assert results.read(tmp_path) == {"deep/laws/horizon": [*GOOD, FAILS]}
    write(folder, horizon=[UNKNOWN])
    (read,) = results.read(tmp_path)["deep/laws/horizon"]
    assert read.verdict == "cannot tell" and np.isnan(read.measured) and read.freedom == np.inf


def test_claims_that_all_hold_are_counted_by_kind(tmp_path, capsys):
    write(tmp_path / "laws", horizon=GOOD, leash=GOOD[2:])
    said = ran(capsys, tmp_path, code=0).out.splitlines()
    assert [" ".join(line.split()) for line in said] == [
        "claims that hold predictions findings checks",
        "laws/horizon 1 of 1 1 of 1 2 of 2",
        "laws/leash 2 of 2",
        "all 1 of 1 1 of 1 4 of 4",
    ]
    assert len({len(line) for line in said}) == 1


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (FAILS, "  does not hold: exponent: predicted -0.5 ± 0.01, measured -0.7"),
        (UNKNOWN, "  cannot tell: boundary: predicted not known ± 0.1, measured not known"),
    ],
)
def test_one_that_does_not_hold_is_named_and_ends_with_1(tmp_path, capsys, bad, says):
    write(tmp_path, exploit=GOOD, horizon=[*GOOD, bad])
    said = ran(capsys, tmp_path, code=1).out.splitlines()
    assert said[-2:] == ["horizon:", says] and "exploit:" not in said


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (None, r"nothing is no folder: pass one"),
        ({}, r"holds no claims: pass a folder"),
        ({"a.claims.json": "[{"}, r"a.claims.json is damaged"),
        ({"a.claims.json": "[1]"}, r"a.claims.json is damaged"),
        ({"a.claims.json": '[{"what": "x"}]'}, r"a.claims.json is damaged"),
        ({"a.claims.json": "{}"}, r"a.claims.json is empty"),
    ],
)
def test_other_folders_are_refused_in_one_sentence(tmp_path, capsys, written, says):
    folder = tmp_path / "nothing"
    if written is not None:
        folder.mkdir()
        for name, text in written.items():
            (folder / name).write_text(text)
    said = ran(capsys, folder, code=2).err
    assert said.count("\n") == 1 and says in said


def test_no_folder_is_one_sentence_too(capsys):
    assert ran(capsys, code=2).err == "error: the following arguments are required: DIR\n"
