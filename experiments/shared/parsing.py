"""Settings from preset, TOML file and flags, each overriding the last. Whatever is wrong ends in one sentence.

tyro reads flags and prints the help. Values that are none of a setting's type are kept as they were written, so that
``limits.check`` refuses them like any other, and nobody has to read a usage message.
"""

import argparse
import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from experiments.shared.settings import Settings
from toypersona import limits

Config = TypeVar("Config")

EARLY = ("preset", "config", "debug")
"""Settings that flags alone give."""

REPEATED = ("--own", "--only")
"""Flags that may also be given several times; of others the last counts."""

METAVARS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH", NoneType: "None"}


def parse(program: str, description: str | None, presets: Mapping[str, Settings], arguments: Sequence[str]) -> Any:
    """Settings from preset, then TOML file, then flags.

    Raises:
        ValueError: an unknown preset or flag, an unreadable file, an unknown key in it, with the nearest right one, or
            settings of another type, out of their limits, or that do not fit each other.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset", nargs="*", default=["quick"])
    early.add_argument("--config", nargs="*")
    known, _ = early.parse_known_args(arguments)
    preset = _one("preset", "name", known.preset)
    if preset not in presets:
        raise ValueError(f"Unknown preset {preset!r}{limits.nearest(preset, presets)}")
    settings = dataclasses.replace(presets[preset], preset=preset)
    if known.config is not None:
        settings = _from_file(Path(_one("config", "file", known.config)), settings)
    settings = read_flags(program, description, settings, arguments)
    settings.check()
    return settings


def _one(flag: str, what: str, given: Sequence[str]) -> str:
    if len(given) != 1:
        raise ValueError(f"--{flag} has to be one {what}, not {limits.shown(given)}.")
    return given[0]


def read_flags(program: str, description: str | None, default: Config, arguments: Sequence[str]) -> Config:
    """Settings from flags, otherwise as in ``default``; ``--help`` is answered and exits.

    Raises:
        ValueError: an unknown flag, with the nearest right one, or settings of another type or out of their limits.
    """
    registry = ConstructorRegistry()
    registry.primitive_rule(_as_written)
    settings, unknown = tyro.cli(
        type(default),
        prog=f"python -m {program}",
        description=description,
        default=default,
        args=_joined(arguments),
        registry=registry,
        return_unknown_args=True,
    )
    if unknown:
        flag = next((word for word in unknown if word.startswith("-")), None)
        if flag is None:
            given = limits.shown(unknown)
            raise ValueError(f"No flag takes {given}: settings are given as --NAME VALUE, switches as --NAME.")
        known = [*map(limits.flag, _names(default))]
        # Of a group's settings the last name is what one remembers.
        short = {name.rpartition(".")[2].lstrip("-"): name for name in reversed(known)}
        word = flag.partition("=")[0].lstrip("-").replace("_", "-")
        meant = short.get(word)
        raise ValueError(f"Unknown flag {flag}{f': did you mean {meant}?' if meant else _near(word, known)}")
    limits.check(settings, flags=True)
    return settings


def _joined(arguments: Sequence[str]) -> list[str]:
    """The same, but what flags in ``REPEATED`` are given several times stands behind the first of them."""
    joined, places, here = [[]], {}, 0
    given = (
        word.split("=", 1) if word.startswith(tuple(f"{flag}=" for flag in REPEATED)) else [word] for word in arguments
    )
    for word in (part for parts in given for part in parts):
        if word.startswith("--"):
            here = places.get(word, len(joined))
            if here == len(joined):
                joined.append([word])
            if word in REPEATED:
                places[word] = here
        else:
            joined[here].append(word)
    return [word for group in joined for word in group]


def _near(word: str, flags: Sequence[str]) -> str:
    near = limits.nearest(f"--{word}", flags)
    return near if "did you mean" in near else ": --help lists them all."


def _names(settings: Any, group: str = "") -> Iterator[str]:
    """Every setting, with its groups before it."""
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), f"{group}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _names(value, f"{name}.")
        else:
            yield from (name, f"no_{name}") if isinstance(value, bool) else (name,)


def _as_written(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """How tyro reads a setting: any number of words, each of them of its type or else kept as it was written."""
    parts = limits.parts_of(info.type)
    many = next((part for part in parts if get_origin(part) is tuple), None)
    kinds = [get_args(many)[0] if part is many else part for part in parts]
    if not set(kinds) <= METAVARS.keys():
        return None

    def read(words: list[str]) -> Any:
        if words == ["None"] and NoneType in kinds:
            return None
        values = tuple(_value(word, kinds[0] if kinds[0] is not NoneType else kinds[-1]) for word in words)
        return values if many is not None or len(values) != 1 else values[0]

    def written(value: Any) -> list[str]:
        return [str(one) for one in (value if isinstance(value, tuple) else (value,))]

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=_metavar(parts),
        instance_from_str=read,
        is_instance=lambda _: True,
        str_from_instance=written,
    )


def _metavar(parts: Sequence[Any]) -> str:
    """What stands behind the flag in the help."""
    words = []
    for part in parts:
        items = get_args(part)
        each = METAVARS[items[0] if items else part]
        endless = f"[{each} [{each} ...]]"
        words.append((endless if items[-1] is ... else " ".join([each] * len(items))) if items else each)
    return "|".join(words)


def _value(word: str, kind: Any) -> Any:
    try:
        return kind(word)
    except ValueError:
        return word


def _from_file(path: Path, settings: Any) -> Any:
    """Settings with what a TOML file says, checked.

    Raises:
        ValueError: it names the file, and the line.
    """
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"Cannot read the settings file {path}: it is no text in UTF-8.") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise ValueError(f"Cannot read the settings file {path}: {why}.") from error
    try:
        settings = _override(settings, values)
        limits.check(settings)
    except limits.OutOfLimits as error:
        line = _line(text, error.setting)
        raise ValueError(f"{path}{f', line {line}' if line else ''}: {error}") from error
    return settings


def _override(settings: Any, values: Mapping[str, Any], group: str = "") -> Any:
    fields = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    changed = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if not group and name in EARLY:
            raise limits.OutOfLimits(name, f"{key} is a flag and no setting of a file: give --{name}.")
        if name not in fields:
            known = [field for field in fields if group or field not in EARLY]
            raise limits.OutOfLimits(f"{group}{key}", f"Unknown setting {key!r}{limits.nearest(name, known)}")
        if name in changed:
            raise limits.OutOfLimits(f"{group}{key}", f"{group}{name} is given twice: leave one out.")
        if dataclasses.is_dataclass(fields[name]):
            if not isinstance(value, Mapping):
                raise limits.OutOfLimits(f"{group}{key}", f"{group}{key} has to be a table, not {limits.shown(value)}.")
            changed[name] = _override(fields[name], value, f"{group}{name}.")
        else:
            changed[name] = _like(fields[name], value)
    return dataclasses.replace(settings, **changed)


def _like(example: Any, value: Any) -> Any:
    """A value of a file as the setting has it."""
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if isinstance(example, Path) and isinstance(value, str) else value


def _line(text: str, setting: str) -> int | None:
    """The number of the line that gives a setting, if it is written in one of the usual ways."""
    group = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if table := re.match(r"\s*\[([^\[\]]+)\]", line):
            group = f"{table[1].strip()}."
        elif (given := re.match(r"\s*([\w.-]+)\s*=", line)) and _alike(group + given[1]) == _alike(setting):
            return number
    return None


def _alike(setting: str) -> str:
    return setting.replace("-", "_")
