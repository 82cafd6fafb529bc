"""What a setting may be, said beside the setting: ``angle: Degrees``, ``strengths: Grid``.

A limit is a piece of ``Annotated`` metadata. ``check`` walks over a dataclass of settings, nested ones included, and
refuses the first value that is out of its limits, in one sentence that names the setting. Counts and sizes have upper
limits too: beyond them a run would never end, or need more memory than there is.
"""

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

Number = float | int

MOST = 10_000_000
"""Of anything that is counted: steps, runs, samples."""

LARGEST, RAREST = 1e12, 1e-300
"""Of any number that a setting takes; of probabilities."""


class OutOfLimits(ValueError):
    """A setting has another value than it may have."""

    def __init__(self, setting: str, message: str) -> None:
        """``setting`` is its name, with those of its groups before it: ``pretraining.num_lines``."""
        super().__init__(message)
        self.setting = setting


class Limit(NamedTuple):
    """A limit on one setting.

    Attributes:
        allowed: what is allowed, to follow "has to be".
        holds: whether a value is.
    """

    allowed: str
    holds: Callable[[Any], bool]


def _plain(number: Number) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def at_least(least: int) -> Limit:
    """A whole number from ``least`` on that is not absurd."""
    return within(least, MOST)


def above(bound: Number) -> Limit:
    """A number greater than ``bound``."""
    return Limit(f"above {_plain(bound)}", lambda value: value > bound)


def within(low: Number, high: Number) -> Limit:
    """A number from ``low`` to ``high``, both included."""
    return Limit(f"from {_plain(low)} to {_plain(high)}", lambda value: low <= value <= high)


def between(low: Number, high: Number) -> Limit:
    """A number strictly between ``low`` and ``high``."""
    return Limit(f"between {_plain(low)} and {_plain(high)}", lambda value: low < value < high)


def one_of(*names: str) -> Limit:
    """One of some names."""
    return Limit(f"one of {', '.join(names)}", lambda value: value in names)


def nearest(word: str, names: Iterable[str], *, num: int = 1) -> str:
    """How a sentence about an unknown name ends: with the name that was meant, or with all there are."""
    known = {name.lower().lstrip("-"): name for name in names}
    near = [known[name] for name in difflib.get_close_matches(word.lower().lstrip("-"), known, n=num)]
    return f": did you mean {' or '.join(near)}?" if near else f": it is one of {', '.join(known.values())}."


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
Angles = Annotated[
    tuple[float, ...],
    Limit(
        "increasing degrees from 0 to 90", lambda angles: _degrees(angles) and increasing(1, least=-1.0).holds(angles)
    ),
]
Grid = Annotated[tuple[float, ...], increasing()]
FromZero = Annotated[
    tuple[float, ...],
    Limit(
        "0, for comparison, and then one or more increasing numbers",
        lambda values: values[:1] == (0,) and increasing(1).holds(values[1:]),
    ),
]
Counts = Annotated[
    tuple[int, ...],
    increasing(kind="whole numbers above 0"),
    Limit(f"{MOST:,} at most", lambda counts: counts[-1] <= MOST),
]
Even = Annotated[int, Limit("an even number from 4 to 100,000", lambda num: 4 <= num <= 100_000 and num % 2 == 0)]
Masses = Annotated[
    tuple[float, ...],
    increasing(),
    Limit("below 1/2", lambda masses: masses[-1] < 0.5),
    Limit(f"{RAREST:g} or more", lambda masses: masses[0] >= RAREST),
]


KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
MANY = {int: "a list of whole numbers", float: "a list of numbers", str: "a list of texts"}
FEW = {1: "one", 2: "two", 3: "three"}


def parts_of(hint: Any) -> list[Any]:
    """The types that a hint allows, without what is annotated: ``Annotated[int | None, ...]`` is int and None."""
    if get_origin(hint) is Annotated:
        return parts_of(get_args(hint)[0])
    return list(get_args(hint)) if get_origin(hint) in (Union, UnionType) else [hint]


def _wanted(value: Any, hint: Any) -> str:
    """What a value of this type would be, in words; nothing if the value is one."""
    parts = parts_of(hint)
    if len(parts) > 1:
        wanted = [_wanted(value, part) for part in parts]
        return "" if "" in wanted else wanted[0]
    hint, items = parts[0], get_args(parts[0])
    if get_origin(hint) is tuple:
        fits = isinstance(value, tuple) and (items[-1] is ... or len(value) == len(items))
        many = MANY.get(items[0], "a list")
        words = many if items[-1] is ... else many.replace("a list of", FEW.get(len(items), str(len(items))))
        return "" if fits and not any(_wanted(item, items[0]) for item in value) else words
    if hint is NoneType:
        return "" if value is None else "none"
    allowed = (int, float) if hint is float else hint
    fits = hint not in KINDS or (isinstance(value, allowed) and (hint is bool or not isinstance(value, bool)))
    return "" if fits else KINDS[hint]


def shown(value: Any) -> str:
    """A value as the user wrote it, not longer than a sentence bears."""
    if isinstance(value, tuple | list):
        text = " ".join(repr(one) if isinstance(one, str) else str(one) for one in value) or "nothing"
    else:
        text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check(settings: Any, name: str = "", *, flags: bool = False) -> None:
    """Refuse settings that are of another type than annotated, not finite, or out of their limits.

    Args:
        settings: a dataclass whose fields may be annotated with a ``Limit`` or be dataclasses themselves.
        name: of the group, to stand before the names of its settings.
        flags: call them as they are on the command line.

    Raises:
        OutOfLimits: a ValueError that names the setting, what was given and what is allowed.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value, path = getattr(settings, field.name), f"{name}{field.name}"
        if dataclasses.is_dataclass(value):
            check(value, f"{path}.", flags=flags)
        elif allowed := _allowed(value, hints[field.name]):
            called = flag(path) if flags else path
            raise OutOfLimits(path, f"{called} has to be {allowed}, not {shown(value)}.")


def flag(setting: str) -> str:
    """A setting as it is called on the command line."""
    return f"--{setting.replace('_', '-')}"


def _allowed(value: Any, hint: Any) -> str:
    """What a value has to be, to follow "has to be"; nothing if it is that."""
    if wanted := _wanted(value, hint):
        return wanted
    if value is None:
        return ""
    numbers = [one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, float | int)]
    if not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
        return "finite"
    own = [limit for limit in getattr(hint, "__metadata__", ()) if isinstance(limit, Limit)]
    absurd = Limit(f"at most {LARGEST:g}", lambda _: all(abs(number) <= LARGEST for number in numbers))
    return next((limit.allowed for limit in (*own, absurd) if not limit.holds(value)), "")
