"""Scored responses as arrays: as many of each prompt, under the same models; or pooled over prompts.

The estimators want as many responses of every prompt. Pooled, all responses are those of one question, "what prompt and
what answer": one mix for all prompts is then assumed, prompts count by their shares of responses, and one response to
each is enough.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from toypersona.readers.scored import BASE, POLICY, Key, Log, Response, refused

FEWEST = 4
"""Responses to a prompt."""

PER_PERSONA = 10
"""Responses to a prompt and persona, below which fitted mixes are said to be rough."""


class Scores(NamedTuple):
    """Log-probabilities (nats) of M responses to each prompt, as ``measures.sampled_inputs.Samples``, in numpy."""

    log_policy: np.ndarray
    log_base: np.ndarray
    log_personas: np.ndarray


class Table(NamedTuple):
    """Responses at one step of training.

    Attributes:
        step: None where there is only one.
        personas: names [K].
        prompts: names [C]; one of them stands for all where they are pooled.
        log_prompts: their log-probabilities [C].
        samples: what the policy said [C, M], [C, M], [C, K, M].
        base_samples: what the base said; its ``log_policy`` is its ``log_base``.
        responses: of ``samples``, with words and tokens [C][M]; None where arrays are all there is.
        base_keys: of ``base_samples`` [C][B]; None where arrays are all there is.
        rewards: mean reward of what the policy said and of what the base said [C, M], [C, B], or None.
        next_words: next-word log-probabilities of policy and personas [C, M, T, V], [C, M, T, K, V], or None.
        pooled: how many prompts there are, if they are pooled, and 0 otherwise.
        notes: what was left out or assumed, in sentences.
    """

    step: float | None
    personas: tuple[str, ...]
    prompts: tuple[str, ...]
    log_prompts: np.ndarray
    samples: Scores
    base_samples: Scores
    responses: list[list[Response]] | None = None
    base_keys: list[list[Key]] | None = None
    rewards: tuple[np.ndarray, np.ndarray] | None = None
    next_words: tuple[np.ndarray, np.ndarray] | None = None
    pooled: int = 0
    notes: tuple[str, ...] = ()


def merged(logs: Sequence[Log]) -> Log:
    """Several files as one.

    Raises:
        ValueError: they differ in temperature, tokenizer or weights of prompts.
    """
    first = logs[0]
    for log in logs[1:]:
        for name in ("temperature", "tokenizer", "prompt_weights"):
            if getattr(log, name) != getattr(first, name):
                raise refused(
                    f"{log.source}, line 1",
                    f"its {name} is {_said(getattr(log, name))}, but {_said(getattr(first, name))} in {first.source}: "
                    "all responses have to be sampled and scored alike.",
                )
    responses = [response for log in logs for response in log.responses]
    return first._replace(source=", ".join(log.source for log in logs), responses=responses)


def _said(value: object) -> str:
    return "not said" if value is None else str(value)


def tables(log: Log, *, pool: bool = False, trim: bool = False) -> list[Table]:
    """The responses of a log, one table for each step of training.

    Args:
        log: what was read.
        pool: one mix for all prompts.
        trim: leave out what some prompts have more of than others.

    Raises:
        ValueError: they do not belong together, or are too few.
    """
    _check(log)
    said = {who: [each for each in log.responses if each.key.sampled_from == who] for who in (POLICY, BASE)}
    for who, why in ((POLICY, "its drift is what is measured"), (BASE, "they show whether personas span it")):
        if not said[who]:
            raise refused(
                log.source,
                f"no response was sampled from the {who}: sample some to each prompt and score them under all models, "
                f"because {why}.",
            )
    steps = sorted({each.key.step for each in said[POLICY]}, key=lambda step: -1 if step is None else step)
    if None in steps and len(steps) > 1:
        here = next(each for each in said[POLICY] if each.key.step is None)
        raise refused(here.where, "it has no step, but others have one.")
    at = {step: [each for each in said[POLICY] if each.key.step == step] for step in steps}
    base = _once(said[BASE])
    return [_table(log, step, at[step], base, pool, trim) for step in steps]


def _once(base: Sequence[Response]) -> list[Response]:
    """What the base said, without the step: logged anew at each, it is still one sample.

    Raises:
        ValueError: the same response has other numbers at another step.
    """
    found: dict[Key, Response] = {}
    for each in base:
        key = each.key._replace(step=None)
        first = found.setdefault(key, each._replace(key=key))
        for name, one, two in _compared(first, each):
            if not np.array_equal(one, two):
                raise refused(
                    each.where,
                    f"{key} has another {name} than at {first.where}: the base is the same at every step, so log once "
                    "what it said, or give other responses other names.",
                )
    return list(found.values())


def _compared(one: Response, two: Response) -> Iterator[tuple[str, Any, Any]]:
    """What two records of one response have to agree in; not what the policy of their step makes of it."""
    yield "text", one.text, two.text
    yield "list of tokens", one.words, two.words
    yield "reward", one.reward, two.reward
    yield "log-probability under the base", one.base, two.base
    for name in one.personas:
        yield f"log-probability under persona {name}", one.personas[name], two.personas[name]


def _check(log: Log) -> None:
    """Refuse what cannot be one response, or belongs to another hull."""
    # What most lines have is meant: one wrong name is found in its own line, the first one too.
    seen, ((usual, _),) = {}, Counter(tuple(sorted(each.personas)) for each in log.responses).most_common(1)
    for each in log.responses:
        if each.personas.keys() != set(usual):
            raise refused(each.where, _misnamed(set(each.personas), set(usual)))
        if each.key in seen:
            raise refused(each.where, f"{each.key} is there twice, as it was at {seen[each.key]}.")
        seen[each.key] = each.where
        own = each.policy if each.key.sampled_from == POLICY else each.base
        if own is not None and np.isneginf(own).any():
            raise refused(
                each.where,
                f"the log-probability under the {each.key.sampled_from} is -inf, but it was sampled from there.",
            )
        _check_tokens(each)


def _misnamed(names: set[str], usual: set[str]) -> str:
    """How the personas of one line differ from those of most lines, in words."""
    more, less = (" and ".join(sorted(each)) for each in (names - usual, usual - names))
    odd = f"it has persona {more}, and most lines have " + (less or "not")
    if not more:
        odd = f"it has no persona {less}, and most lines have"
    return f"{odd}: score all responses under all personas, by the same names."


def _check_tokens(response: Response) -> None:
    named = {"the policy": response.policy, "the base": response.base}
    named |= {f"persona {name}": values for name, values in response.personas.items()}
    counts = {whose: len(values) for whose, values in named.items() if values is not None and values.ndim}
    if response.words is not None and counts:
        counts["tokens"] = len(response.words)
    for whose, count in counts.items():
        first = next(iter(counts))
        if count != counts[first]:
            raise refused(
                response.where,
                f"it has {counts[first]} tokens under {first} and {count} under {whose}: score the same token ids.",
            )


def _table(log: Log, step: float | None, policy: list[Response], base: list[Response], pool: bool, trim: bool) -> Table:
    prompts = list(dict.fromkeys(each.key.prompt for each in policy))
    groups = [_by_prompt(each, prompts, log.source) for each in (policy, base)]
    rho, notes = _weights(log, prompts, groups, pool), []
    if pool:
        name = f"all {len(prompts)} prompts"
        groups = [{name: each} for each in (policy, base)]
        prompts, num_pooled, rho = [name], len(prompts), np.ones(1)
        notes.append(
            f"Pooled: one mix is assumed for all {num_pooled} prompts, each counted by its share of the responses; "
            "where mixes differ between prompts, part of that counts as distance."
        )
    else:
        num_pooled = 0
    both = [_even(group, who, trim, notes) for group, who in zip(groups, (POLICY, BASE), strict=True)]
    num, num_personas = len(both[0][0]), len(policy[0].personas)
    if num < PER_PERSONA * num_personas and not pool:
        notes.append(
            f"{num} responses to a prompt are few for a mix of {num_personas}: sample more, or pass --pool, which "
            "takes one mix for all prompts for granted."
        )
    rewards = [np.array([[_nan(each.reward) for each in row] for row in rows]) for rows in both]
    return Table(
        step,
        tuple(policy[0].personas),
        tuple(prompts),
        np.log(rho),
        _scores(both[0], POLICY),
        _scores(both[1], BASE),
        both[0],
        [[each.key for each in row] for row in both[1]],
        None if any(np.isnan(each).any() for each in rewards) else (rewards[0], rewards[1]),
        pooled=num_pooled,
        notes=tuple(notes),
    )


def _by_prompt(responses: list[Response], prompts: list[str], source: str) -> dict[str, list[Response]]:
    groups: dict[str, list[Response]] = {prompt: [] for prompt in prompts}
    for each in responses:
        if each.key.prompt not in groups:
            raise refused(each.where, f"the policy said nothing to prompt {each.key.prompt}: sample from both.")
        groups[each.key.prompt].append(each)
    for prompt, group in groups.items():
        if not group:
            raise refused(source, f"the base said nothing to prompt {prompt}: sample from both, to the same prompts.")
    return groups


def _weights(log: Log, prompts: list[str], groups: Sequence[Mapping[str, list]], pool: bool) -> np.ndarray:
    shares = [np.array([len(group[prompt]) for prompt in prompts], float) for group in groups]
    shares = [share / share.sum() for share in shares]
    if log.prompt_weights is None:
        if pool and np.abs(shares[0] - shares[1]).max() > 1e-9:
            raise refused(log.source, "policy and base have different shares of prompts, so they cannot be pooled.")
        return np.full(len(prompts), 1 / len(prompts))
    missing = [prompt for prompt in prompts if prompt not in log.prompt_weights]
    if missing:
        raise refused(log.source, f"its prompt_weights have no weight for prompt {missing[0]}.")
    rho = np.array([log.prompt_weights[prompt] for prompt in prompts], float)
    if not rho.sum() > 0:
        raise refused(log.source, "its prompt_weights are 0 for every prompt that has responses.")
    rho = rho / rho.sum()
    if pool and max(np.abs(share - rho).max() for share in shares) > 1e-6:
        raise refused(
            log.source, "its prompt_weights are not the prompts' shares of responses, so they cannot be pooled."
        )
    return rho


def _shuffled(responses: list[Response]) -> list[Response]:
    """In an order that hangs on nothing: some are left out, and the estimators compare halves."""
    return [responses[i] for i in np.random.default_rng(0).permutation(len(responses))]


def _even(groups: Mapping[str, list[Response]], who: str, trim: bool, notes: list[str]) -> list[list[Response]]:
    """As many responses to every prompt, an even number, in an order of chance."""
    fewest, most = (choose(groups, key=lambda prompt: len(groups[prompt])) for choose in (min, max))
    num = len(groups[fewest])
    if len(groups[most]) != num and not trim:
        raise refused(
            groups[most][-1].where,
            f"prompt {most} has {len(groups[most])} responses of the {who}, {fewest} has {num}: --trim takes "
            f"{num // 2 * 2} of each by chance, --pool one mix for all prompts.",
        )
    num = num // 2 * 2
    if num < FEWEST:
        raise refused(
            groups[fewest][0].where,
            f"{len(groups[fewest])} responses of the {who} to {fewest} are too few: take {FEWEST} or more, or --pool "
            "them over prompts.",
        )
    total = sum(map(len, groups.values()))
    if left := total - num * len(groups):
        notes.append(f"{left} of {total} responses of the {who} are left out by chance: {num} of each prompt count.")
    return [_shuffled(group)[:num] for group in groups.values()]


def _nan(value: float | None) -> float:
    return np.nan if value is None else value


def _scores(rows: list[list[Response]], who: str) -> Scores:
    base = np.array([[each.base.sum() for each in row] for row in rows])
    policy = base
    if who == POLICY:
        policy = np.array([[0.0 if each.policy is None else each.policy.sum() for each in row] for row in rows])
    personas = [[[values.sum() for values in each.personas.values()] for each in row] for row in rows]
    return Scores(policy, base, np.moveaxis(np.array(personas), 2, 1))
