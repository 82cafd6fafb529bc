"""What a reward pays for beside the helpful persona: drawn words, brevity, an exploit phrase, or the user's own."""

import importlib.util
import numbers
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.base_model import Base
from toypersona import rewards
from toypersona.types import Key
from toypersona.worlds.base import END, said

Feature = Callable[[Key, Base, Int[Array, ""]], Float[Array, "C N"]]
"""``(key, base of one world, that world's number) -> [C, N]``."""


def words(key: Key, base: Base, index: Int[Array, ""]) -> Float[Array, "C N"]:
    """A random score for each word, summed over the response; drawn anew for each seed."""
    del index
    scores = jax.random.normal(key, (base.world.log_experts.shape[-1],))
    return rewards.evaluate(rewards.word_scores(scores), base.world.prompts, base.responses)


def brevity(key: Key, base: Base, index: Int[Array, ""]) -> Float[Array, "C N"]:
    """Short responses."""
    del key, index
    return rewards.evaluate(rewards.brevity(base.labels.units.index(END)), base.world.prompts, base.responses)


def exploit(key: Key, base: Base, index: Int[Array, ""]) -> Float[Array, "C N"]:
    """One phrase of random different words; drawn anew for each seed."""
    del index
    num_words, length = base.world.log_experts.shape[-1], base.responses.shape[1]
    phrase = jax.random.permutation(key, num_words)[:length]
    return rewards.evaluate(rewards.phrase(phrase), base.world.prompts, base.responses)


BUILT_IN: dict[str, Feature] = {"words": words, "brevity": brevity, "exploit": exploit}


def load(name: str, base: Base) -> Feature:
    """A built-in feature, or ``FILE.py:FUNCTION`` with ``FUNCTION(prompt, response) -> float`` on lists of words.

    The response is what is said before the end, so it may be empty. A user's function is called once for each prompt
    and response of every world, before anything is compiled.

    Raises:
        ValueError: no such feature, file or function; a feature that this world does not have; a value that is not a
            finite number.
    """
    if name == "brevity" and END not in base.labels.units:
        raise ValueError("This world's responses have no end, so brevity cannot be paid for: use --feature words.")
    if name in BUILT_IN:
        return BUILT_IN[name]
    if ":" not in name:
        raise ValueError(f"--feature is one of {', '.join(BUILT_IN)}, or FILE.py:FUNCTION, not {name!r}.")
    table = jnp.asarray(_tabulate(imported("feature", name), base, name))
    return lambda key, one, index: table[index]


def imported(flag: str, name: str) -> Callable[..., Any]:
    """The function that a flag names as ``FILE.py:FUNCTION``.

    Raises:
        ValueError: no such file or function.
    """
    file, _, function_name = name.rpartition(":")
    if not file:
        raise ValueError(f"--{flag} has to be FILE.py:FUNCTION, not {name!r}.")
    path = Path(file)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ValueError(f"--{flag} names the file {path}, which is not a Python file that exists.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(
            f"--{flag} names {path}, which fails when imported: {type(error).__name__}: {error}."
        ) from error
    if not callable(getattr(module, function_name, None)):
        raise ValueError(f"{path} has no function {function_name!r} for --{flag}.")
    return getattr(module, function_name)


def _tabulate(function: Callable[[list[str], list[str]], float], base: Base, name: str) -> Float[np.ndarray, "W C N"]:
    units = base.labels.units
    responses = [said(units, response) for response in np.asarray(base.responses)]
    prompts = [[[units[i] for i in prompt] for prompt in world] for world in np.asarray(base.world.prompts)]

    def value(prompt: list[str], response: list[str]) -> float:
        paid = function(prompt, response)
        if not isinstance(paid, numbers.Real) or not np.isfinite(paid):
            raise ValueError(f"--feature {name} returned {paid!r} for {prompt} and {response}, not a finite number.")
        return float(paid)

    return np.array([[[value(p, x) for x in responses] for p in world] for world in prompts])
