"""Every wrong input of the table gets its sentence, before jax is imported and before anything is written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import wrong_inputs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What every case got, all in one process."""
    tmp = tmp_path_factory.mktemp("given")
    program = [sys.executable, wrong_inputs.__file__, str(tmp)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("number, title", [*enumerate(wrong_inputs.titles())])
def test_a_wrong_input_gets_its_sentence(given, number, title):
    _, sentence, said, _ = given["outcomes"][number]
    assert re.fullmatch(".*".join(map(re.escape, sentence.split("…"))), said), title
    assert len(said.splitlines()) == 1


def test_there_are_a_hundred_and_none_leaves_anything_or_imports_jax(given):
    assert len(given["outcomes"]) == len(wrong_inputs.titles()) >= 100
    assert not given["jax"] and not given["left"]
