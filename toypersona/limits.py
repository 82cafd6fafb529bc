"""What a setting may be, said beside the setting: ``angle: Degrees``, ``strengths: Grid``.

A limit is a piece of ``Annotated`` metadata. ``check`` walks over a dataclass of settings, nested ones included, and
refuses the first value that is out of its limits, in one sentence that names the setting.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

Number = float | int


class Limit(NamedTuple):
    """A limit on one setting.

    Attributes:
        allowed: what is allowed, to follow "has to be".
        holds: whether a value is.
    """

    allowed: str
    holds: Callable[[Any], bool]


def at_least(least: Number) -> Limit:
    """A number from ``least`` on."""
    return Limit(f"{least:g} or more", lambda value: value >= least)


def above(bound: Number) -> Limit:
    """A number greater than ``bound``."""
    return Limit(f"above {bound:g}", lambda value: value > bound)


def within(low: Number, high: Number) -> Limit:
    """A number from ``low`` to ``high``, both included."""
    return Limit(f"from {low:g} to {high:g}", lambda value: low <= value <= high)


def between(low: Number, high: Number) -> Limit:
    """A number strictly between ``low`` and ``high``."""
    return Limit(f"between {low:g} and {high:g}", lambda value: low < value < high)


def one_of(*names: str) -> Limit:
    """One of some names."""
    return Limit(f"one of {', '.join(names)}", lambda value: value in names)


def increasing(num: int = 2, *, least: Number = 0.0, kind: str = "numbers above 0") -> Limit:
    """``num`` or more numbers, each greater than the one before and the first greater than ``least``."""

    def holds(values: Sequence[Number]) -> bool:
        return len(values) >= num and all(a < b for a, b in zip((least, *values), values, strict=False))

    return Limit(f"{num} or more increasing {kind}", holds)


def _degrees(values: Number | Sequence[Number]) -> bool:
    each = values if isinstance(values, Sequence) else (values,)
    return bool(each) and all(0 <= value <= 90 for value in each)


Count = Annotated[int, at_least(1)]
Positive = Annotated[float, above(0)]
Share = Annotated[float, between(0, 1)]
Degrees = Annotated[float, Limit("degrees from 0 to 90", _degrees)]
Angles = Annotated[tuple[float, ...], Limit("degrees from 0 to 90", _degrees)]
Grid = Annotated[tuple[float, ...], increasing()]
FromZero = Annotated[
    tuple[float, ...],
    Limit(
        "0, for comparison, and then one or more increasing numbers",
        lambda values: values[:1] == (0,) and increasing(1).holds(values[1:]),
    ),
]
Counts = Annotated[tuple[int, ...], increasing(kind="whole numbers above 0")]
Masses = Annotated[tuple[float, ...], increasing(), Limit("below 1/2", lambda masses: masses[-1] < 0.5)]


KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
MANY = {int: "a list of whole numbers", float: "a list of numbers", str: "a list of texts"}


def _wanted(value: Any, hint: Any) -> str:
    """What a value of this type would be, in words; nothing if the value is one."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _wanted(value, parts[0])
    if origin in (Union, UnionType):
        wanted = [_wanted(value, part) for part in parts]
        return "" if "" in wanted else wanted[0]
    if origin is tuple:
        fits = isinstance(value, tuple) and (parts[-1] is ... or len(value) == len(parts))
        return "" if fits and not any(_wanted(item, parts[0]) for item in value) else MANY.get(parts[0], "a list")
    if hint is NoneType:
        return "" if value is None else "none"
    allowed = (int, float) if hint is float else hint
    fits = hint not in KINDS or (isinstance(value, allowed) and (hint is bool or not isinstance(value, bool)))
    return "" if fits else KINDS[hint]


def check(settings: Any, name: str = "", *, flags: bool = False) -> None:
    """Refuse settings that are of another type than annotated, not finite, or out of their limits.

    Args:
        settings: a dataclass whose fields may be annotated with a ``Limit`` or be dataclasses themselves.
        name: of the group, to stand before the names of its settings.
        flags: call them as they are on the command line.

    Raises:
        ValueError: it names the setting, what was given and what is allowed.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value, path = getattr(settings, field.name), f"{name}{field.name}"
        if dataclasses.is_dataclass(value):
            check(value, f"{path}.", flags=flags)
            continue
        if value is None:
            continue
        called = f"--{path.replace('_', '-')}" if flags else path
        if wanted := _wanted(value, hints[field.name]):
            raise ValueError(f"{called} has to be {wanted}, not {value!r}.")
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise ValueError(f"{called} has to be finite, not {value}.")
        for limit in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(limit, Limit) and not limit.holds(value):
                shown = repr(value) if isinstance(value, str) else value
                raise ValueError(f"{called} has to be {limit.allowed}, not {shown}.")
