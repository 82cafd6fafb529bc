"""Code that users bring: features of rewards and rules, named ``FILE.py:FUNCTION``.

It is tried before anything is fitted. What it raises ends in one sentence that names the user's own line.
"""

from __future__ import annotations

import hashlib
import importlib.util
import numbers
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toypersona import transcripts
from toypersona.limits import nearest
from toypersona.worlds import names

if TYPE_CHECKING:
    from toypersona.bases import Base, Pretrained
    from toypersona.options import WorldOptions
    from toypersona.rules.catalogue import Entry
    from toypersona.types import Array, Float, Int, Key
    from toypersona.worlds.world import Labels

Feature = Callable[["Key", "Base", "Array | int"], "Float[Array, 'C N']"]
"""``(key, base of one world, that world's number) -> [C, N]``."""


def feature(name: str, pretrained: Pretrained) -> Feature:
    """A built-in feature, or ``FILE.py:FUNCTION`` with ``FUNCTION(prompt, response) -> float`` on lists of words.

    The response is what is said before the end, so it may be empty. A user's function is called once for each prompt
    and response of every world, before anything is compiled.

    Raises:
        ValueError: no such feature, file or function; a feature that this world does not have; a value that is not a
            finite number.
    """
    import jax.numpy as jnp

    from toypersona import rewards

    if built_in := rewards.BUILT_IN.get(name):
        return lambda key, base, world: built_in(key, base.prompts, base.responses, base.labels)
    responses, every = np.asarray(pretrained.responses), np.asarray(pretrained.world.prompts)
    table = jnp.asarray([_tabulated(name, pretrained.labels, prompts, responses) for prompts in every])
    return lambda key, base, world: table[world]


def is_affine(feature: Feature, pretrained: Pretrained, key: Key) -> bool:
    """Whether the personas of the first base can be paid for all of a feature."""
    import jax

    from toypersona import rewards

    def affine(drawn: tuple, key: Key) -> Array:
        base = pretrained.holding(drawn).base(0)
        return rewards.is_affine(feature(key, base, 0), base.log_base, base.log_personas)

    # Step by step it would be forty programs.
    return bool(jax.jit(affine)((pretrained.world, pretrained.params, pretrained.early), key))


TRIED = 64
"""Responses on which a feature is tried before anything is fitted."""


def try_feature(name: str, world: str, options: WorldOptions, length: int) -> None:
    """Call a user's feature for some responses to every prompt, before a base is fitted.

    Raises:
        ValueError: as in ``feature``.
    """
    import jax

    from toypersona.worlds import catalogue

    made, labels = catalogue.load(world, options, key=jax.random.key(0))
    num_words = made.log_experts.shape[-1]
    places = np.unique(np.linspace(0, num_words**length - 1, TRIED).astype(int))
    responses = np.array([transcripts.response_at(int(place), num_words, length) for place in places])
    _tabulated(name, labels, np.asarray(made.prompts), responses)


def rules(
    only: Sequence[str], own: Sequence[str], policy: str = "mixture"
) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """The rules of the catalogue that ``only`` names, all unless it names one, with the user's own behind them.

    Without those that train what a policy of this kind does not have. The second dict has the user's own alone. They
    are called by their functions' names, or as they were given where two rules would share one.

    Raises:
        ValueError: a rule that there is not, or twice the same.
    """
    from toypersona.rules import catalogue

    for flag, given in (("only", only), ("own", own)):
        if twice := [name for name in given if given.count(name) > 1]:
            raise ValueError(f"--{flag} names {twice[0]} twice.")
    for name in only:
        if name not in catalogue.RULES:
            raise ValueError(f"--only has to be rules of the catalogue, not {name!r}{nearest(name, catalogue.RULES)}")
        if policy == "transformer" and catalogue.RULES[name].scope != "both":
            raise ValueError(
                f"--only names {name}, which trains {catalogue.RULES[name].scope}: a transformer has none."
            )
    known = {name: rule for name, rule in catalogue.RULES.items() if policy == "mixture" or rule.scope == "both"}
    chosen = {name: rule for name, rule in known.items() if not only or name in only}
    functions = [name.rpartition(":")[2] for name in own]
    users = {}
    for name, function in zip(own, functions, strict=True):
        alone = functions.count(function) == 1 and function not in {"tilt", *catalogue.RULES}
        users[function if alone else name] = catalogue.own(_rule(name), f"--own {name}")
    return chosen | users, users


def try_rules(entries: Iterable[Entry], world: str, options: WorldOptions, length: int) -> None:
    """Trace one step of each rule on the world's true base, before a base is fitted; nothing is computed.

    Raises:
        ValueError: a rule that fails, returns no rule, or whose step returns no state like the one that it was given.
    """
    import jax
    import jax.numpy as jnp

    from toypersona import bases
    from toypersona.rules import catalogue
    from toypersona.worlds import catalogue as worlds

    made, labels = worlds.load(world, options, key=jax.random.key(0))

    def step(entry: Entry) -> None:
        base = bases.true(made, labels, length)
        reward, key = jnp.zeros_like(base.log_base), jax.random.key(0)
        setup = catalogue.Setup(base, reward, base.log_base, reward, key)
        rule = entry.make(setup)(jnp.asarray(0.1))
        rule.update(key, rule.init(base.params))

    for entry in entries:
        jax.eval_shape(lambda entry=entry: step(entry))


def _rule(name: str) -> Callable[..., Any]:
    """A user's rule, whose errors name their own line."""
    import jax
    import jax.numpy as jnp

    from toypersona.rules.rule import UpdateRule

    made = _blamed("own", name, imported("own", name))

    def like(tree: Any) -> Any:
        return jax.tree.structure(tree), [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(tree)]

    def rule(task: Any, ref_params: Any, learning_rate: Any) -> Any:
        own = made(task, ref_params, learning_rate)
        if not isinstance(own, UpdateRule):
            return own
        update = _blamed("own", name, own.update)

        def checked(key: Key, state: Any) -> Any:
            stepped = update(key, state)
            if not isinstance(stepped, tuple) or len(stepped) != 2 or like(stepped[0]) != like(state):
                raise ValueError(
                    f"--own {name}: update(key, state) has to return (state, info) with a state of the same structure, "
                    "shapes and types as the one it was given."
                )
            return stepped

        return UpdateRule(_blamed("own", name, own.init), checked)

    return rule


def sha256(given: str | tuple) -> str | None:
    """A hash of the files that each ``FILE.py:FUNCTION`` names, or of the texts of ``text:FOLDER``; else None."""
    files = []
    for name in (given,) if isinstance(given, str) else given:
        file, folder = str(name).rpartition(":")[0], names.folder(str(name))
        files += names.texts(folder) if folder else [Path(file)] if file.endswith(".py") else []
    contents = [file.name.encode() + file.read_bytes() for file in files if file.is_file()]
    return hashlib.sha256(b"\0".join(contents)).hexdigest() if contents else None


def imported(flag: str, name: str) -> Callable[..., Any]:
    """The function that a flag names as ``FILE.py:FUNCTION``.

    Raises:
        ValueError: no such file or function.
    """
    file, _, function_name = name.rpartition(":")
    if not file or not function_name:
        raise ValueError(f"--{flag} has to be FILE.py:FUNCTION, not {name!r}.")
    path = Path(file)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ValueError(f"--{flag} names the file {path}, which is not a Python file that exists.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"--{flag} names {path}, which fails when imported: {_what(error)}{_line(error, path)}."
        ) from error
    if not callable(getattr(module, function_name, None)):
        functions = [own for own, value in vars(module).items() if callable(value) and not own.startswith("_")]
        hint = nearest(function_name, functions) if functions else "."
        raise ValueError(f"{path} has no function {function_name!r} for --{flag}{hint}")
    return getattr(module, function_name)


def _what(error: BaseException) -> str:
    """An error's kind, and the first line of what it says; jax explains itself at length."""
    said = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {said[0].rstrip('.')}"


def _line(error: BaseException, path: Path) -> str:
    """The last line of the user's file on the way to an error, if one is."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return f" at {path}, line {own[-1].lineno}, `{own[-1].line}`" if own else ""


def _blamed(flag: str, name: str, function: Callable[..., Any], *, about: str = "") -> Callable[..., Any]:
    """The same function, whose errors are one sentence that names the user's own line."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            where = _line(error, Path(name.rpartition(":")[0]))
            raise ValueError(
                f"--{flag} {name} fails{where}{about}: {_what(error)}. --debug shows everything."
            ) from error

    return call


def _tabulated(
    name: str, labels: Labels, prompts: Int[np.ndarray, "C P"], responses: Int[np.ndarray, "N T"]
) -> Float[np.ndarray, "C N"]:
    """What a user's feature pays for each response to each prompt, both of them spelt."""
    function = imported("feature", name)
    said = [transcripts.said(labels.units, response) for response in responses]

    def value(prompt: list[str], response: list[str]) -> float:
        about = f", for the prompt {prompt} and the response {response}"
        paid = _blamed("feature", name, function, about=about)([*prompt], [*response])
        if not isinstance(paid, numbers.Real) or not abs(float(paid)) < np.inf:
            raise ValueError(f"--feature {name} returned {paid!r} for {prompt} and {response}, not a finite number.")
        return float(paid)

    return np.array([[value(transcripts.spelt(labels.units, prompt), x) for x in said] for prompt in prompts])
