"""A report in words: a table for people, and what is JSON-able for programs."""

import math
import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from toypersona.reports import Report

NARROW = 80
"""Columns that are needed at least."""

SHOWN = 6
"""Prompts, words and responses in the table; the JSON file has more."""

ROWS = (
    ("total", "drift: KL(policy‖base)"),
    ("selection", "  selection: personas are weighted anew"),
    ("hull_distance", "  hull distance: what no mix of personas says"),
    ("switching", "    switching: a persona changes mid-response"),
    ("novelty", "    novelty: no persona says that there"),
    ("selection_fraction", "selection fraction S = selection/drift"),
)

ROUNDING = 1e-6
"""Nats that are no more than that."""

MILLION = math.log(1e6)

TOLD = math.log(20)
"""Of log E, from which it is called evidence."""


def width() -> int:
    """Columns to print in."""
    return max(NARROW, shutil.get_terminal_size((NARROW + 20, 24)).columns)


def number(value: float, error: float = math.nan) -> str:
    """With as many decimals as its standard error allows."""
    if math.isnan(value):
        return "not known"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if abs(value) < ROUNDING:
        return "0"
    if not (math.isfinite(error) and error >= ROUNDING):
        return f"{value:.3g}"
    return f"{value:.{min(max(1 - math.floor(math.log10(error)), 0), 6)}f}"


def times(log_evidence: float) -> str:
    """How rarely evidence of this strength comes up by chance, as a number of times."""
    if log_evidence <= MILLION:
        return f"{float(f'{math.exp(log_evidence):.2g}'):,.0f}"
    return f"10^{math.floor(log_evidence / math.log(10))}"


def sentence(report: "Report") -> str:
    """The evidence that it is outside, in words."""
    num, log_evidence = report.table.samples.log_policy.size, report.log_evidence
    start = f"After {num} samples: "
    mix = "one mix for all prompts" if report.table.pooled else "a mix of the personas"
    if math.isnan(log_evidence):
        return start + "not known, because the evidence could not be computed."
    if log_evidence <= 0:
        return start + f"nothing speaks against {mix} (an e-value below 1)."
    noise = 0.0 if report.floor is None else report.floor.log_evidence
    if math.isinf(log_evidence) and not math.isinf(noise):
        return start + "yes, for sure: it said what no persona can say."
    if not log_evidence > noise:
        return (
            f"{start}not known: {log_evidence:.1f} nats speak against {mix}, but scoring noise alone may do that "
            f"(noise {noise:.1f})."
        )
    beyond = log_evidence - noise
    taken = "" if report.floor is None else f", {noise:.1f} of {log_evidence:.1f} nats taken off for scoring noise"
    if beyond < TOLD:
        often = f"{mix} looks this strange in up to {math.exp(-beyond):.0%} of such samples"
        return f"{start}not told yet: {often}{taken}; more samples may tell."
    # Farther out than that nobody knows how normal the error of a repair is.
    known = min(beyond, MILLION) if report.repaired else beyond
    odds = f"at most one in {times(known)} that {mix} looks this strange{taken}"
    caveat = " (to first order, because the repair is known by samples only)" if report.repaired else ""
    return f"{start}{odds}{caveat}."


def table(report: "Report") -> str:
    """One report for people, as wide as the terminal."""
    parts = [_head(report), _base(report), _budget(report), _outside(report), _mixes(report), _lights(report)]
    parts += ["\n".join(_wrapped(note, "Note: ") for note in report.table.notes)]
    return "\n\n".join(part for part in parts if part)


def path(reports: Sequence["Report"]) -> str:
    """Several steps of training, one a line."""
    rows: list[tuple[str, ...]] = [("step", "drift", "hull distance", "S", "evidence", *reports[0].table.personas)]
    for each in reports:
        estimates = [_measured(each, name) for name in ("total", "hull_distance", "selection_fraction")]
        mix = [f"{w:.2f}" for w in each.pooled_weights]
        rows.append((f"{each.table.step:g}", *estimates, number(each.log_evidence), *mix))
    return "Over training (nats; evidence is for each step alone; the nearest mix to the right)\n" + _columns(rows)


def _head(report: "Report") -> str:
    read = report.table
    counts = [
        f"{scores.log_policy.size} responses of the {who}"
        for scores, who in zip((read.samples, read.base_samples), ("policy", "base"), strict=True)
    ]
    prompts = f"{read.pooled or len(read.prompts)} prompt{'s' * (max(read.pooled, len(read.prompts)) > 1)}"
    step = "" if read.step is None else f"Step {read.step:g}: "
    return _wrapped(f"{step}{counts[0]} and {counts[1]} to {prompts}, under {len(read.personas)} personas.")


def _base(report: "Report") -> str:
    apart = f"{_measured(report, 'base_distance')} nats"
    said = f"What it said is {apart} from the nearest mix."
    if report.repaired:
        said = (
            f"As they are given, it is {_measured(report, 'misfit')} nats from one. They are repaired, so that it is "
            f"one by definition; halves of what it said agree on its mix within {apart}."
        )
    if not report.base_inside:
        said = f"NOT SHOWN, so that no other number means much. {said}"
    elif not report.repaired:
        said = f"{'Yes.' if report.budget.base_inside else 'Within scoring noise.'} {said}"
    return _wrapped(said, "Is the base a mix of the personas? ")


def _budget(report: "Report") -> str:
    floors = {} if report.floor is None else report.floor._asdict()
    more = ["noise floor", ""] if floors else []
    rows: list[tuple[str, ...]] = [("nats a response", "estimate", "std. error", *more)]
    for name, words in ROWS:
        value, error = report.value(name)
        if name in ("switching", "novelty") and math.isnan(value):
            continue
        # S is of the drift, and claimed where that is.
        floor, size = floors.get(name), abs(value)
        if name == "selection_fraction" and floors:
            floor, size = floors["total"], abs(report.value("total")[0])
        more = [number(floors.get(name, math.nan)), "" if size >= floor else "not claimed"] if floor is not None else []
        if floors and not more:
            more = ["", ""]
        if name == "selection_fraction" and more:
            more[0] = ""
        rows.append((words, number(value, error), number(error), *more))
    text = _columns(rows)
    if not report.budget.certified:
        text += "\n" + _wrapped("NOT CERTIFIED: a fit did not reach its tolerance, or a number is infinite.")
    if report.rewards is not None:
        after, before = (f"{number(mean, error)} ± {number(error)}" for mean, error in report.rewards)
        text += f"\nreward: {before} before, {after} after"
    return text


def _outside(report: "Report") -> str:
    text = _wrapped(sentence(report), "Is the policy outside? ")
    if report.proofs and math.isfinite(report.log_evidence):
        text += "\n" + _wrapped(
            f"{report.proofs} responses are likelier under it than under every persona: each is a proof, if the "
            f"log-probabilities are {'exact' if report.floor is None else 'no farther off than scoring again changes'}."
        )
    return text


def _mixes(report: "Report") -> str:
    read, rho = report.table, np.exp(report.table.log_prompts)
    rows = [("Nearest mix of personas", *read.personas)]
    rows += [("all prompts, base", *_shares(rho @ report.base_weights))]
    rows += [("all prompts, policy", *_shares(report.pooled_weights))]
    for c in range(min(SHOWN, len(read.prompts)) if len(read.prompts) > 1 else 0):
        before, after = _shares(report.base_weights[c]), _shares(report.budget.weights[c])
        cells = [f"{a} → {b}" for a, b in zip(before, after, strict=True)]
        rows.append((_short(read.prompts[c], 30), *cells))
    left = len(read.prompts) - SHOWN
    return _columns(rows) + (f"\n... and {left} more prompts (--json has all)" if left > 0 else "")


def _lights(report: "Report") -> str:
    lines = []
    if report.words:
        rows = [("Words that light up", "nats a response", "mean log π/m*", "count")]
        rows += [
            (_short(repr(w.word), 30), f"{w.nats:.3f}", f"{w.ratio:.2f}", str(w.num)) for w in report.words[:SHOWN]
        ]
        lines.append(_columns(rows))
        if len(report.by_prompt) > 1:
            each = [
                f"{_short(prompt, 20)}: {', '.join(_short(repr(w.word), 20) for w in words[:3]) or 'none'}"
                for prompt, words in list(report.by_prompt.items())[:SHOWN]
            ]
            lines.append(_wrapped("; ".join(each), "By prompt: "))
    if not report.lit:
        return "Nothing lights up: no response is likelier than under the nearest mix."
    rows = [("Responses that light up", "log π/m*")]
    room = width() - 16
    rows += [(_short(f"{one.prompt}: {one.response}", room), f"{one.nats:.2f}") for one in report.lit[:SHOWN]]
    return "\n\n".join([*lines, _columns(rows)])


def _shares(weights: np.ndarray) -> list[str]:
    return [f"{w:.2f}" for w in weights]


def _measured(report: "Report", name: str) -> str:
    value, error = report.value(name)
    return number(value) if math.isnan(value) else f"{number(value, error)} ± {number(error)}"


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _columns(rows: Sequence[Sequence[str]]) -> str:
    sizes = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(sizes[0]), *(c.rjust(s) for c, s in zip(row[1:], sizes[1:], strict=True))]).rstrip()
        for row in rows
    )


def _wrapped(text: str, first: str = "") -> str:
    return textwrap.fill(first + text, width(), break_long_words=False, break_on_hyphens=False)


def jsonable(report: "Report") -> dict[str, Any]:
    """All of a report: estimates in nats with standard errors, nan as null, infinite numbers as text."""
    from toypersona.measures.sampled import ESTIMATES

    read, budget = report.table, report.budget
    by_persona = lambda w: dict(zip(read.personas, map(_plain, w), strict=True))  # noqa: E731
    by_prompt = lambda w: dict(zip(read.prompts, map(by_persona, w), strict=True))  # noqa: E731
    return {
        "step": read.step,
        "num_samples": read.samples.log_policy.size,
        "num_base_samples": read.base_samples.log_policy.size,
        "personas": list(read.personas),
        "prompts": dict(zip(read.prompts, map(_plain, np.exp(read.log_prompts)), strict=True)),
        "estimates": {name: _estimate(*report.value(name)) for name in ESTIMATES},
        "base_inside": bool(budget.base_inside),
        "certified": bool(budget.certified),
        "repaired": report.repaired,
        "pooled": bool(read.pooled),
        "weights": by_prompt(budget.weights),
        "base_weights": by_prompt(report.base_weights),
        "pooled_weights": by_persona(report.pooled_weights),
        "log_evidence": _plain(report.log_evidence),
        "evidence_in_words": sentence(report),
        "proofs": report.proofs,
        "responses": [_named(one) for one in report.lit],
        "words": [_named(word) for word in report.words],
        "words_by_prompt": {prompt: [_named(word) for word in words] for prompt, words in report.by_prompt.items()},
        "noise_floor": None if report.floor is None else _named(report.floor),
        "rewards": None
        if report.rewards is None
        else {who: _estimate(*each) for who, each in zip(("policy", "base"), report.rewards, strict=True)},
        "notes": list(read.notes),
    }


def _named(parts: Any) -> dict[str, Any]:
    """A named tuple, its numbers as they can stand in JSON."""
    return {name: _plain(part) if isinstance(part, float) else part for name, part in parts._asdict().items()}


def _estimate(value: float, error: float) -> dict[str, float | str | None]:
    return {"value": _plain(value), "std_error": _plain(error)}


def _plain(value: Any) -> float | str | None:
    value = float(value)
    return None if math.isnan(value) else value if math.isfinite(value) else str(value)
