import math
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Annotated

import pytest

from toypersona import limits
from toypersona.limits import Angles, Count, Counts, Degrees, FromZero, Grid, Masses, Positive, Share


@dataclass(frozen=True)
class Inner:
    num_steps: Count = 3
    share: Share = 0.5
    name: Annotated[str, limits.one_of("words", "brevity")] = "words"


@dataclass(frozen=True)
class Outer:
    angle: Degrees = 30.0
    angles: Angles = (0.0, 90.0)
    strengths: Grid = (0.1, 1.0)
    sizes: Counts = (1, 2, 5)
    costs: FromZero = (0.0, 0.4)
    masses: Masses = (0.1, 0.4)
    rate: Positive = 0.1
    depth: Annotated[int, limits.within(2, 4)] = 2
    limit: Annotated[float | None, limits.above(3)] = None
    anything: float = 1.0
    inner: Inner = Inner()


def test_what_is_within_its_limits_passes():
    limits.check(Outer())
    limits.check(Outer(angle=0.0, angles=(90,), strengths=(1e-9, 1), sizes=(1, 2), depth=4, limit=3.1))
    limits.check(Outer(costs=(0, 0.1, 0.2), inner=Inner(share=1e-9, name="brevity")))


OUTSIDE = {
    "angle": ((-1.0, 90.5), "degrees from 0 to 90"),
    "angles": (((), (0.0, 91.0), (30.0, 15.0), (15.0, 15.0)), "increasing degrees from 0 to 90"),
    "strengths": (((1.0,), (), (0.0, 1.0), (1.0, 1.0), (2.0, 1.0)), "2 or more increasing numbers above 0"),
    "sizes": (((0, 1), (3,)), "2 or more increasing whole numbers above 0"),
    "costs": (((), (0.0,), (0.1, 0.2), (0.0, 0.2, 0.2)), "0, for comparison, and then one or more increasing numbers"),
    "masses": (((0.1, 0.5),), "below 1/2"),
    "rate": ((0.0, -1.0), "above 0"),
    "depth": ((1, 5), "from 2 to 4"),
    "limit": ((3.0, 2), "above 3"),
}


@pytest.mark.parametrize("name, value", [(name, value) for name, (values, _) in OUTSIDE.items() for value in values])
def test_what_is_outside_is_named_shown_and_told_what_is_allowed(name, value):
    with pytest.raises(ValueError) as caught:
        limits.check(Outer(**{name: value}))
    assert str(caught.value) == f"{name} has to be {OUTSIDE[name][1]}, not {limits.shown(value)}."


@pytest.mark.parametrize(
    "inner, flags, message",
    [
        (Inner(num_steps=0), False, "inner.num_steps has to be from 1 to 10,000,000, not 0."),
        (Inner(num_steps=0), True, "--inner.num-steps has to be from 1 to 10,000,000, not 0."),
        (Inner(share=1.0), False, "inner.share has to be between 0 and 1, not 1.0."),
        (Inner(name="wrods"), True, "--inner.name has to be one of words, brevity, not 'wrods'."),
    ],
)
def test_settings_of_settings_are_called_by_their_path_or_flag(inner, flags, message):
    with pytest.raises(ValueError) as caught:
        limits.check(Outer(inner=inner), flags=flags)
    assert str(caught.value) == message


def test_the_group_that_is_given_stands_before():
    with pytest.raises(ValueError, match="^--training.num-steps has to be from 1 to 10,000,000"):
        limits.check(Inner(num_steps=0), "training.", flags=True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "name, of", [("anything", lambda x: x), ("limit", lambda x: x), ("strengths", lambda x: (0.1, x))]
)
def test_what_is_not_finite_is_refused_with_a_limit_and_without(name, of, value):
    with pytest.raises(ValueError, match=f"^{name} has to be finite, not "):
        limits.check(Outer(**{name: of(value)}))


def test_a_setting_that_is_not_given_has_no_limits():
    limits.check(Outer(limit=None))


def test_a_limit_says_what_it_holds():
    assert limits.at_least(2).holds(2) and not limits.at_least(2).holds(1)
    assert limits.above(2).holds(2.1) and not limits.above(2).holds(2)
    assert limits.between(0, 1).holds(0.5) and not limits.between(0, 1).holds(0) and not limits.between(0, 1).holds(1)
    assert limits.within(0, 1).holds(0) and limits.within(0, 1).holds(1) and not limits.within(0, 1).holds(1.1)
    three = limits.increasing(3, least=1, kind="amounts")
    assert three.allowed == "3 or more increasing amounts"
    assert three.holds((2, 3, 4)) and not three.holds((2, 3)) and not three.holds((1, 2, 3))


def test_every_group_of_options_keeps_its_own_limits():
    from toypersona import options

    for group in (options.WorldOptions, options.ReasoningOptions, options.Pretraining, options.Training):
        limits.check(group())
    with pytest.raises(ValueError, match="^text.max_units has to be from 2 to 4,096, not 1"):
        limits.check(replace(options.WorldOptions(), text=options.TextOptions(max_units=1)))


def test_limits_are_read_without_jax():
    code = "import sys, toypersona.limits, toypersona.options; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
