"""``toypersona measure FILE ...``: what RL did to a real model, from log-probabilities of what it and its base said.

The console command of the library, and its only module that prints. Files are read and checked before jax is imported.
It exits 0 if every number can be trusted, 1 if the report says of some that they cannot, 2 on wrong input, 130 when
interrupted.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from toypersona import __version__

if TYPE_CHECKING:
    from toypersona.readers.tables import Table
    from toypersona.reports import Report

FLAGS = "--xla_backend_optimization_level=0"
"""Compiling is most of the time: this makes programs slower and compiling faster."""

FASTER = "--xla_cpu_use_fusion_emitters=false"
"""So does this; versions of jax after 0.10 abort on it."""

DESCRIPTION = """\
How much of the drift of a model under RL re-weights personas, and how much is said by no mix of them. FILE has one
response a line, sampled from the policy or the base and scored by both and by every persona (docs/scoring.md shows
how), or .npz arrays. Where each model has a file of its own, name them by --policy, --base and --persona."""


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence, without its usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2 and the sentence."""
        self.exit(2, f"error: {message}\n")


def _parser() -> Parser:
    parser = Parser(prog="toypersona", description="Personas under reinforcement learning: measure your own model.")
    parser.add_argument("--version", action="version", version=f"toypersona {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="measure", parser_class=Parser)
    measure = commands.add_parser(
        "measure", help="the drift budget of a model, from log-probabilities", description=DESCRIPTION
    )
    measure.add_argument("files", nargs="*", type=Path, metavar="FILE", help="JSON lines (gzip allowed) or .npz")
    models = measure.add_argument_group("one model a file (inspect, lm-evaluation-harness, vLLM or OpenAI, CSV)")
    models.add_argument("--policy", type=Path, metavar="FILE", help="the trained model")
    models.add_argument("--base", type=Path, metavar="FILE", help="the model before RL")
    models.add_argument("--persona", action="append", default=[], metavar="NAME=FILE", help="for each of them")
    how = measure.add_argument_group("how to measure")
    how.add_argument(
        "--repair", action="store_true", help="of a base that is no mix of the personas given: repair them first"
    )
    how.add_argument("--pool", action="store_true", help="one mix for all prompts; one response to each is enough")
    how.add_argument("--trim", action="store_true", help="leave out what some prompts have more of than others")
    how.add_argument(
        "--repeat",
        type=Path,
        metavar="FILE",
        help="the same responses scored again, all models in one file: the noise floor",
    )
    out = measure.add_argument_group("what to write")
    out.add_argument("--json", metavar="FILE", help="all numbers, - for the terminal instead of the table")
    out.add_argument("--figure", type=Path, metavar="FILE", help="a PNG, by default beside the first file")
    out.add_argument("--no-figure", action="store_true", help="draw nothing")
    return parser


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command with these arguments, or those of the command line, and exit."""
    given = _parser().parse_args(arguments)
    try:
        sys.exit(_measure(given))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}.", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)
    sys.exit(2)


def _measure(given: argparse.Namespace) -> int:
    from toypersona import files

    tables = _read(given)
    again = _read_again(given, tables)
    figure = _figure_path(given)
    for path in [figure] if given.json in (None, "-") else [figure, Path(given.json)]:
        if path is not None:
            files.check_writable(path.parent)
    reports = _reports(given, tables, again)
    if given.json == "-":
        _say(files.as_json(_jsonable(reports)).rstrip())
    else:
        _say(_table(reports))
    if given.json not in (None, "-"):
        files.write_json(Path(given.json), _jsonable(reports))
        _say(f"Numbers {given.json}")
    if figure is not None:
        from toypersona import report_figure

        report_figure.draw(reports, figure)
        if given.json != "-":
            _say(f"Figure {figure}")
    return 0 if all(each.trusted for each in reports) else 1


def _read(given: argparse.Namespace) -> "list[Table]":
    """All tables that the arguments name.

    Raises:
        ValueError: there are none, or they are damaged.
    """
    models = {"policy": given.policy, "base": given.base}
    if not (any(models.values()) or given.persona):
        if not given.files:
            raise ValueError("No FILE given: pass scored responses, or one file a model (toypersona measure --help).")
        return _of_files(given.files, given)
    if given.files:
        raise ValueError(f"{given.files[0]} stands beside --policy, --base or --persona: pass either kind of files.")
    for name, path in models.items():
        if path is None:
            raise ValueError(f"No --{name} FILE: it takes one file of the policy, one of the base and one a persona.")
    personas = [each.partition("=") for each in given.persona]
    for name, equals, path in personas:
        if not (name and equals and path):
            raise ValueError(
                f"--persona {name}{equals}{path}: it has to be NAME=FILE, as in --persona larry=larry.jsonl."
            )
        if name in models or [other for other, _, _ in personas].count(name) > 1:
            raise ValueError(f"--persona {name}=...: this name is taken, so choose another.")
    if not personas:
        raise ValueError("No --persona NAME=FILE: a hull needs at least one persona.")
    from toypersona.readers import joined, tables

    log = joined.read({**models, **{name: Path(path) for name, _, path in personas}})
    return tables.tables(log, pool=given.pool, trim=given.trim)


def _of_files(paths: Sequence[Path], given: argparse.Namespace) -> "list[Table]":
    from toypersona.readers import arrays, joined, json_lines, tables

    kinds = {path: joined.format_of(path) for path in paths}
    for path, kind in kinds.items():
        if kind not in ("own", "arrays"):
            raise ValueError(f"{path}: it has one model's numbers: name it by --policy, --base or --persona NAME=FILE.")
    if "arrays" in kinds.values():
        if len(paths) > 1 or given.pool or given.trim:
            raise ValueError(f"{paths[0]}: arrays stand for themselves, without other files, --pool or --trim.")
        return [arrays.read(paths[0])]
    log = tables.merged([json_lines.read(path) for path in paths])
    return tables.tables(log, pool=given.pool, trim=given.trim)


def _read_again(given: argparse.Namespace, first: "list[Table]") -> "list[Table] | list[None]":
    """What ``--repeat`` names, in the order of the first.

    Raises:
        ValueError: it has not the same responses.
    """
    if given.repeat is None:
        return [None] * len(first)
    again = _of_files([given.repeat], given)
    for one, two in zip(first, again, strict=False):
        if one.personas != two.personas or one.prompts != two.prompts:
            raise ValueError(
                f"{given.repeat}: it has not the personas and prompts, in the order, of the first scoring."
            )
        if odd := _odd(one, two):
            raise ValueError(f"{given.repeat}: {odd} is not that of the first scoring: score the same responses again.")
    if len(first) != len(again):
        raise ValueError(f"{given.repeat}: it has {len(again)} steps, the first scoring has {len(first)}.")
    return again


def _odd(one: "Table", two: "Table") -> str | None:
    """What the responses of policy or base in two tables differ in, if they do."""
    pairs = [(one.samples, two.samples, "policy"), (one.base_samples, two.base_samples, "base")]
    for first, again, who in pairs:
        if first.log_base.shape != again.log_base.shape:
            return f"the number of responses of the {who} ({again.log_base.shape[1]} to a prompt)"
    names = [
        [*(each.key for row in t.responses or [] for each in row), *(key for row in t.base_keys or [] for key in row)]
        for t in (one, two)
    ]
    if names[0] == names[1]:
        return None
    known = [set(each) for each in names]
    missing = [str(key) for i in (0, 1) for key in names[i] if key not in known[1 - i]]
    return next(iter(missing), "the order of the responses")


def _figure_path(given: argparse.Namespace) -> Path | None:
    if given.no_figure:
        return None
    first = given.files[0] if given.files else given.policy
    path = given.figure or first.with_name(first.name.split(".")[0] + ".measure.png")
    if path.suffix != ".png":
        raise ValueError(f"--figure {path}: it has to end in .png.")
    return path


def _reports(given: argparse.Namespace, tables: "list[Table]", again: "list[Table] | list[None]") -> "list[Report]":
    """Measure all tables.

    Raises:
        ValueError: the base is no mix of the personas, and they are not to be repaired.
    """
    old = metadata.version("jax").startswith("0.10.")
    os.environ.setdefault("XLA_FLAGS", f"{FLAGS} {FASTER}" if old else FLAGS)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    jax.config.update("jax_enable_x64", True)
    _keep_programs(jax.config.update)
    from toypersona import report_words, reports

    found = [reports.report(one, repair=given.repair, again=two) for one, two in zip(tables, again, strict=True)]
    for each in found:
        if not each.drawn_as_scored:
            raise ValueError(
                f"{given.base or given.files[0]}: samples of the policy or the base were not drawn from it as it "
                f"scores them (odds of one in {report_words.times(each.misdrawn)}): sample and score at one "
                "temperature, without top-p or penalties, by the same models (docs/scoring.md)."
            )
        if not each.base_inside and not given.repair:
            distance, error = each.value("base_distance")
            pooled = ", pooled over prompts," if given.pool else ""
            raise ValueError(
                f"{given.base or given.files[0]}: the base{pooled} is no mix of these personas, or did not say what is "
                f"logged as its own ({distance:.3g} ± {error:.2g} nats outside): add missing personas, or --repair "
                "those that the base has in a form of its own; --repeat tells scoring noise from it."
            )
    return found


def _keep_programs(update: Callable[[str, Any], None]) -> None:
    """Compile once for all logs of as many responses, prompts and personas, where there is room for that."""
    from toypersona import files

    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "toypersona" / "jax"
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        with contextlib.suppress(ValueError):
            files.check_writable(folder)
            update("jax_compilation_cache_dir", str(folder))
            update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _table(reports: "list[Report]") -> str:
    from toypersona import report_words

    along = [report_words.path(reports)] if len(reports) > 1 else []
    return "\n\n".join([*along, report_words.table(reports[-1])])


def _say(text: str) -> None:
    """Print it; where whoever reads has enough, go on without."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _jsonable(reports: "list[Report]") -> dict:
    from toypersona import report_words

    return {"toypersona": __version__, "steps": [report_words.jsonable(each) for each in reports]}


if __name__ == "__main__":
    main()
