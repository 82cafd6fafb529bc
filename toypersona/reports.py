"""A report on scored responses of a model that can only be sampled: its drift budget, and whether it is outside.

Beside the budget (``measures.sampled``) it has, in nats:

- the evidence that it is outside (``measures.evidence``), whose exponential is an e-value;
- what lights up: ``log pi/m*`` of responses, and of their tokens. Of a prefix, m* is the mix of the personas'
  probabilities of it, so that a response's value is the sum of its tokens';
- responses that are likelier than under any persona: no mix says them as often. With repaired personas they prove
  nothing, because these are known by samples only;
- the noise floor: what scoring twice changes, from which on nothing is claimed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from toypersona.measures import control_variates, detectors, drift, evidence, sampled, sampled_inputs
from toypersona.readers.scored import Response
from toypersona.readers.tables import Scores, Table

WORDS, RESPONSES = 12, 8
"""How many of what lights up are kept."""

DARK = 1e-4
"""Nats below which nothing lights up."""

CLEAR = 1e-3
"""Nats by which a response has to be likelier than under every persona at least; scoring twice may ask for more."""

SURE = float(np.log(1000))
"""Nats of evidence from which something is taken as shown. Scoring noise alone makes about ``3 NOISE sqrt(n)`` of n
likelihood ratios, and ``NOISE² / 8`` of a mean of two."""


class Word(NamedTuple):
    """A token that lights up: ``nats`` a response is its part of the distance, ``ratio`` its mean log pi/m*."""

    word: str
    nats: float
    ratio: float
    num: int
    prompt: str


class Lit(NamedTuple):
    """A response that lights up: its log pi/m*, nats."""

    prompt: str
    response: str
    nats: float


class Floor(NamedTuple):
    """What scoring noise alone can make of a number, nats; of the evidence for all responses together."""

    total: float
    hull_distance: float
    selection: float
    base_distance: float
    log_evidence: float


class Report(NamedTuple):
    """What is known of the policy at one step.

    Attributes:
        table: what was read.
        budget: the drift budget with standard errors, nats.
        repaired: the personas were repaired first.
        base_weights: the mix that is nearest to the base, if repaired the likeliest to have said its samples [C, K].
        base_evidence: ln E that the base is no mix of the personas given, nats.
        misdrawn: ln E that policy or base, whichever is larger, did not draw its samples as it scores them, nats.
        log_evidence: nats; no mix of the personas exceeds L more often than ``exp(-L)``.
        proofs: how many responses are likelier than under every persona, beyond scoring noise; None of repaired ones.
        lit: responses that light up, the brightest first.
        words: tokens that light up, the largest part of the distance first; none without log-probabilities by token.
        by_prompt: the same within each prompt.
        floor: None unless the responses were scored twice.
        rewards: mean reward and its standard error under policy and base, if there are rewards.
    """

    table: Table
    budget: sampled.SampledBudget
    repaired: bool
    base_weights: np.ndarray
    base_evidence: float
    misdrawn: float
    log_evidence: float
    proofs: int | None
    lit: list[Lit]
    words: list[Word]
    by_prompt: dict[str, list[Word]]
    floor: Floor | None
    rewards: tuple[tuple[float, float], tuple[float, float]] | None

    def value(self, name: str) -> tuple[float, float]:
        """An estimate of the budget and its standard error; of no drift, no share is selection."""
        if name == "selection_fraction" and abs(float(self.budget.total)) <= drift.UNMOVED:
            return np.nan, np.nan
        return float(getattr(self.budget, name)), float(getattr(self.budget, f"{name}_se"))

    @property
    def base_inside(self) -> bool:
        """The base is a mix of the personas, or no farther from one than scoring noise may put it."""
        num = self.table.base_samples.log_policy.size
        if not self.repaired and self.base_evidence > SURE + 3 * detectors.NOISE * np.sqrt(num):
            return False
        if self.budget.base_inside or self.floor is None or self.repaired:
            return bool(self.budget.base_inside)
        return abs(self.value("base_distance")[0]) <= self.floor.base_distance

    @property
    def drawn_as_scored(self) -> bool:
        """Nothing shows that samples were drawn at another temperature, or by another model, than scores them."""
        num = max(each.log_policy.size for each in (self.table.samples, self.table.base_samples))
        return self.misdrawn <= SURE + num * detectors.NOISE**2 / 8

    @property
    def trusted(self) -> bool:
        """The numbers are what they are called."""
        return self.base_inside and bool(self.budget.certified)

    @property
    def pooled_weights(self) -> np.ndarray:
        """The mean of the nearest mixes over prompts [K]."""
        return np.exp(self.table.log_prompts) @ np.asarray(self.budget.weights)


def report(table: Table, *, repair: bool = False, again: Table | None = None) -> Report:
    """Measure one table.

    Args:
        table: the responses.
        repair: repair the personas first, of a base that is no mix of them (``hulls.repaired``).
        again: the same responses, scored a second time.

    Raises:
        ValueError: as ``sampled.budget_from_samples``.
    """
    budget = sampled.budget_from_samples(
        sampled_inputs.Samples(*map(jnp.asarray, table.samples)),
        sampled_inputs.Samples(*map(jnp.asarray, table.base_samples)),
        jnp.asarray(table.log_prompts),
        next_words=None
        if table.next_words is None
        else (jnp.asarray(table.next_words[0]), jnp.asarray(table.next_words[1])),
        repair=repair,
    )
    of_base = evidence.e_value(table.base_samples)
    before = np.asarray(of_base.weights if repair else _nearest_to(table.base_samples))
    weights = np.asarray(budget.weights)
    ratio = to_mix(table.samples, weights, before if repair else None)
    floor = None if again is None else _floor(table, again, weights, before, repair)
    if repair:
        log_evidence = evidence.log_evidence_repaired(table.samples, table.base_samples, before)
    else:
        log_evidence = float(evidence.e_value(table.samples).log_e)
    words, by_prompt = _words(table, weights, before if repair else None)
    return Report(
        table,
        jax.tree.map(np.asarray, budget),
        repair,
        before,
        float(of_base.log_e),
        max(map(evidence.misdrawn, (table.samples, table.base_samples))),
        log_evidence,
        None if repair else _proofs(table, again),
        _lit(table, ratio),
        words,
        by_prompt,
        floor,
        _rewards(table),
    )


@jax.jit
def _nearest(log_law: Float[Array, "C M"], log_personas: Float[Array, "C K M"]) -> Float[Array, "C K"]:
    return jax.vmap(lambda p, q: control_variates.nearest(p, q, 1e-9).weights)(log_law, log_personas)


def _nearest_to(samples: Scores) -> Float[Array, "C K"]:
    """The weights of the mix nearest to what said the samples [C, K]."""
    return _nearest(jnp.asarray(samples.log_policy), jnp.asarray(samples.log_personas))


def to_mix(samples: Scores, weights: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Log pi/m of responses, m the mix by weights [C, K] of the (repaired) personas, nats [C, M]."""
    return samples.log_policy - (evidence.log_mix(samples, weights) + evidence.repair(samples, before))


def _floor(table: Table, again: Table, weights: np.ndarray, before: np.ndarray, repair: bool) -> Floor:
    """What scoring twice changes: half of the mean square is what noise adds to a divergence, a shift adds itself.

    The difference of two scorings has twice the variance of one, so that the floor is rather too high.
    """
    rho = np.exp(table.log_prompts)

    def noise(change: np.ndarray) -> float:
        return float(rho @ (change**2).mean(axis=1) / 2 + abs(rho @ change.mean(axis=1)))

    mend = before if repair else None
    outside = to_mix(table.samples, weights, mend) - to_mix(again.samples, weights, mend)
    moved = (table.samples.log_policy - table.samples.log_base) - (again.samples.log_policy - again.samples.log_base)
    base = to_mix(table.base_samples, before, None) - to_mix(again.base_samples, before, None)
    together = float((outside**2).sum() / 2 + abs(outside.sum()))
    return Floor(noise(moved), noise(outside), noise(moved - outside), noise(base), together)


def _proofs(table: Table, again: Table | None) -> int:
    """Responses that are likelier under the policy than under every persona, in both scorings.

    By more than twice what scoring again changes at most, because any two log-probabilities may be wrong by that.
    """
    scorings = [table.samples] if again is None else [table.samples, again.samples]
    changes = [_change(*(getattr(each, name) for each in scorings)) for name in ("log_policy", "log_personas")]
    margins = [np.asarray(detectors.margin(jnp.asarray(p), jnp.asarray(q))) for p, _, q in scorings]
    return int((np.minimum.reduce(margins) > max(CLEAR, 2 * max(changes))).sum())


def _change(first: np.ndarray, *again: np.ndarray) -> float:
    """The largest one between scorings, nats; inf where one of them finds impossible what the other does not."""
    with np.errstate(invalid="ignore"):
        return max((float(np.abs(np.where(first == each, 0.0, first - each)).max()) for each in again), default=0.0)


def _lit(table: Table, ratio: np.ndarray) -> list[Lit]:
    """The responses of the largest log pi/m*, each text once."""
    found: dict[tuple[str, str], float] = {}
    for flat in np.argsort(-ratio, axis=None):
        c, i = np.unravel_index(flat, ratio.shape)
        prompt, name = table.prompts[c], f"response {i + 1}"
        if table.responses is not None:
            one = table.responses[c][i]
            said = one.text or (None if one.words is None else "".join(one.words))
            prompt, name = one.key.prompt, said or f"response {one.key.response}"
        if len(found) == RESPONSES or not ratio[c, i] > DARK:
            break
        found.setdefault((prompt, name), float(ratio[c, i]))
    return [Lit(*key, nats) for key, nats in found.items()]


def _words(table: Table, weights: np.ndarray, before: np.ndarray | None) -> tuple[list[Word], dict[str, list[Word]]]:
    """Tokens by their part of the mean log pi/m*; over all prompts, and within each."""
    if table.responses is None or not all(_has_tokens(one) for row in table.responses for one in row):
        return [], {}
    rho = np.exp(table.log_prompts)
    sums: dict[tuple[str, str], list[float]] = {}
    for c, row in enumerate(table.responses):
        for one in row:
            ratios = _token_ratios(one, weights[c], None if before is None else before[c])
            for word, ratio in zip(one.words or (), ratios, strict=True):
                entry = sums.setdefault((one.key.prompt, word), [0.0, 0.0, 0])
                entry[0] += rho[c] * ratio / len(row)
                entry[1] += ratio
                entry[2] += 1
    whole: dict[str, list[float]] = {}
    for (_, word), entry in sums.items():
        whole[word] = [a + b for a, b in zip(whole.get(word, [0.0, 0.0, 0]), entry, strict=True)]
    found = [Word(word, nats, ratio / count, int(count), "") for word, (nats, ratio, count) in whole.items()]
    inside = [Word(word, e[0], e[1] / e[2], int(e[2]), prompt) for (prompt, word), e in sums.items()]
    prompts = dict.fromkeys(word.prompt for word in inside)
    return _brightest(found), {each: _brightest([w for w in inside if w.prompt == each]) for each in prompts}


def _brightest(words: list[Word]) -> list[Word]:
    return sorted((word for word in words if word.nats > DARK), key=lambda word: -word.nats)[:WORDS]


def _has_tokens(response: Response) -> bool:
    scores = (response.policy, response.base, *response.personas.values())
    return response.words is not None and all(each is not None and each.ndim == 1 for each in scores)


def _token_ratios(response: Response, weights: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Log pi/m of each token given those before [T]; with repair, m is that of repaired personas."""
    assert response.policy is not None
    prefixes = np.cumsum(np.array(list(response.personas.values())), axis=1)

    def mixed(mix: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.logaddexp.reduce(np.log(mix)[:, None] + prefixes, axis=0)

    log_mix = mixed(weights)
    # Behind what no persona says, nothing can be told.
    with np.errstate(invalid="ignore"):
        if before is not None:
            mended = log_mix + np.cumsum(response.base) - mixed(before)
            log_mix = np.where(np.isneginf(log_mix) | np.isnan(mended), -np.inf, mended)
        ratios = response.policy - np.diff(log_mix, prepend=0.0)
    return np.where(np.isnan(ratios), 0.0, ratios)


def _rewards(table: Table) -> tuple[tuple[float, float], tuple[float, float]] | None:
    if table.rewards is None:
        return None
    rho = np.exp(table.log_prompts)
    means = [
        (float(rho @ each.mean(axis=1)), float(np.sqrt(rho**2 @ (each.var(axis=1, ddof=1) / each.shape[1]))))
        for each in table.rewards
    ]
    return means[0], means[1]
