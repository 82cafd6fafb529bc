"""The commands that pages show, each line held against the settings of the module that it runs."""

import importlib
import importlib.util
import operator
import re

TOOLS = {"results": {"all"}}
"""Flags of what is run as an experiment is, and has no settings."""


def lines(text: str) -> list[str]:
    """Of all blocks that are no Python, continued lines joined."""
    blocks = re.findall(r"^```(?:bash)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def _lacking(settings: object, flags: str) -> list[str]:
    """Flags that the settings do not have; a dot leads into those of a part."""
    lost = []
    for flag in set(re.findall(r"--([a-z][\w.-]*)", flags)) - {"help", "preset"}:
        try:
            operator.attrgetter(flag.replace("-", "_"))(settings)
        except AttributeError:
            lost.append(f"--{flag}")
    return lost


def _of_experiment(name: str, flags: str) -> list[str]:
    if not importlib.util.find_spec(f"experiments.{name}"):
        return [name]
    preset = re.search(r"--preset (\w+)", flags)
    presets = importlib.import_module(f"experiments.{name}").PRESETS
    chosen = preset[1] if preset else "quick"
    return _lacking(presets[chosen], flags) if chosen in presets else [f"--preset {chosen}"]


def wrong(line: str) -> list[str]:
    """What a line names that there is not: experiments, presets and flags."""
    said = re.search(r"-m experiments\.(\w+)(.*)", line.partition("  #")[0])
    if not said:
        return []
    name, flags = said.groups()
    if name in TOOLS:
        return [flag for flag in re.findall(r"--([a-z]+)", flags) if flag not in TOOLS[name]]
    if name != "job_array":
        return _of_experiment(name, flags)
    own, _, passed = flags.partition(" -- ")
    job_array = importlib.import_module("experiments.job_array")
    return _lacking(job_array.JobArray(), own) + _of_experiment(own.split()[0], passed)
