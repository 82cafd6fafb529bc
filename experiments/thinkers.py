"""Policies that think aloud: pretrained on a reasoning world's text, measured, and heard."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import xarray as xr
from jaxtyping import Array, Float, Int

from experiments import base_model
from toypersona import chains, numerics, pretraining, thoughts
from toypersona.measures import drift
from toypersona.measures import reasoning as measures
from toypersona.policies import mixture
from toypersona.policies.base import all_log_probs
from toypersona.types import Key, Params
from toypersona.worlds import base as worlds
from toypersona.worlds import reasoning

PHASES = ("mixture", "selected", "keyed", "coded")
LOST = 0.1
"""A persona is selected away when its weight in the nearest mix is below this part of what it was."""

FEW_BITS = 3
"""Of the world in which experts are matched with personas."""

TEXT_ROWS = 1024
"""Different rows of bits in the text."""

PRETRAINING = base_model.Pretraining(num_lines=8000, line_length=32, num_steps=600, num_restarts=4, gate="prior")
"""Text with long rows of bits, to tell voices apart by: short ones are told as well by one expert that minds its words.
Gates read nothing, so that nothing but the thoughts remembers the bits."""


class Thinker(NamedTuple):
    """A pretrained policy in a world of a given number of bits.

    Attributes:
        world: the ground truth.
        labels: its names.
        made: the mixture policy's functions.
        params: the base's.
    """

    world: worlds.World
    labels: worlds.Labels
    made: mixture.Mixture
    params: Params

    @property
    def num_words(self) -> int:
        """V."""
        return self.world.log_experts.shape[-1]

    @property
    def length(self) -> int:
        """Words of a response, T: thoughts and the answer."""
        return self.world.prompts.shape[1]

    @property
    def right(self) -> Int[Array, " C"]:
        """Number of the right answer to each prompt."""
        return reasoning.right_answers(self.labels, self.world.prompts)

    @property
    def alphabet(self) -> thoughts.Alphabet:
        """The units read, without a hint."""
        return thoughts.Alphabet(*(self.labels.units.index(unit) for unit in ("0", "1", reasoning.MARKS[0])))

    def thoughts(self) -> Int[Array, "Z n"]:
        """All thought sequences, in the order of the measures."""
        return chains.outcomes(self.num_words, self.length - 1)

    def experts(self, params: Params) -> tuple[Float[Array, "C K"], Float[Array, "C K N"]]:
        """Log-probabilities of the experts, and of every response by each of them."""
        log_gates = jax.vmap(self.made.log_gate, (None, 0))(params, self.world.prompts)
        return log_gates, jax.vmap(self.made.log_experts, (None, 0))(params, self.world.prompts)

    def joint(self, params: Params) -> Float[Array, "C K Z Y"]:
        """Log P(persona, thoughts, answer | prompt)."""
        return measures.split_responses(*self.experts(params), self.num_words, thoughts.NUM_ANSWERS)


def thinker(options: reasoning.ReasoningOptions, params: Params, key: Key | None = None) -> Thinker:
    """A pretrained policy at any number of bits; ``key`` draws rows of bits where not all are taken."""
    world, labels = reasoning.reasoning(options, key=key)
    return Thinker(world, labels, base_model.build(world, labels, options.num_bits + 1, PRETRAINING.gate), params)


def pretrained(
    options: reasoning.ReasoningOptions, how: base_model.Pretraining, key: Key
) -> tuple[Params, pretraining.Recovery]:
    """A mixture fitted to unlabelled text, experts in the order of the personas, and how far it is from them.

    Experts do not know how many bits are left, so one fit serves every number of bits.
    """
    row_key, text_key, fit_key = jax.random.split(key, 3)
    few = thinker(dataclasses.replace(options, num_bits=FEW_BITS, num_rows=None), None)
    spoken, _ = reasoning.reasoning(
        dataclasses.replace(options, num_bits=how.line_length - 1, num_rows=TEXT_ROWS), key=row_key
    )
    text = worlds.sample(text_key, spoken, how.line_length, how.num_lines)
    fitted = base_model.fit(fit_key, spoken, text, few.made, how, jnp.asarray(how.num_lines))
    return base_model.align(few.world, few.made, fitted.params, few.length)


def spent(base: Thinker, params: Params) -> drift.DriftBudget:
    """The drift budget of trained parameters, thoughts and answers together."""
    log_gates, log_personas = base.experts(base.params)
    return drift.budget(
        all_log_probs(base.made.policy, params, base.world.prompts),
        numerics.log_mix(log_gates, log_personas),
        log_personas,
        chains.outcomes(base.num_words, base.length),
        base.world.log_prompts,
    )


def measured(base: Thinker, params: Params) -> dict[str, Array]:
    """Everything that is recorded of trained parameters, exactly, all responses listed.

    Returns:
        The fields of ``Faithfulness`` and of ``DriftBudget``, the latter's of thoughts and answers together;
        ``certified`` for both; ``share`` [K], the nearest mix of personas, prompts averaged; ``phase``, the index in
        ``PHASES``; and what dynamic programming says without listing: ``steps_accuracy``, ``steps_cost``,
        ``distortion``.
    """
    log_prompts, num_thoughts = base.world.log_prompts, base.length - 1
    costs = reasoning.word_costs(base.labels)
    faithful = measures.faithfulness(
        base.joint(params),
        base.joint(base.params),
        base.right,
        costs[base.thoughts()].mean(axis=1),
        log_prompts,
        num_thoughts=num_thoughts,
    )
    budget = spent(base, params)
    share = jnp.exp(log_prompts) @ budget.weights
    kept = {name: getattr(budget, name) for name in SPENT}
    return {
        **faithful._asdict(),
        **kept,
        "gap": jnp.maximum(budget.gap, faithful.gap),
        "certified": budget.certified & faithful.certified,
        "share": share,
        "phase": _phase(faithful, share / jnp.exp(base.made.log_gate(base.params, base.world.prompts[0]))),
        **by_steps(base, params),
    }


def by_steps(base: Thinker, params: Params) -> dict[str, Array]:
    """What dynamic programming says, all 2^n rows of bits counted and none listed."""
    made, first = base.made, base.world.prompts[0]
    totals = thoughts.totals(
        made.log_gate(params, first),
        made.log_tables(params),
        made.log_tables(base.params),
        reasoning.word_costs(base.labels),
        base.alphabet,
        base.length - 1,
    )
    return {"steps_accuracy": totals.accuracy, "steps_cost": totals.cost, "distortion": totals.distortion}


def _phase(faithful: measures.Faithfulness, kept: Float[Array, " K"]) -> Int[Array, ""]:
    """By where most of the answer is; where the reader gets most, by whether everybody is still there."""
    places = jnp.stack([faithful.read, faithful.keyed, faithful.coded])
    return jnp.where(places.argmax() == 0, (kept.min() < LOST).astype(int), 1 + places.argmax())


SPENT = tuple(name for name in drift.DriftBudget._fields if name not in ("weights", "gap", "certified"))
MEASURES = (
    *measures.Faithfulness._fields,
    *SPENT,
    "phase",
    "steps_accuracy",
    "steps_cost",
    "distortion",
)
"""What ``measured`` returns beside ``share``."""


_WORDS = ("strength", "line", "place")
LINES = {"line_prompt": _WORDS, "line_tokens": _WORDS, "line_persona": _WORDS[:2]}
"""What ``lines`` returns, and its dimensions."""


def lines(base: Thinker, params: Params, key: Key, num: int) -> dict[str, Array]:
    """Responses to read: to the same prompts with the same draws at every strength.

    Args:
        base: before training; as long as it has enough prompts they are different ones.
        params: trained [S, 1, ...].
        key: one key.
        num: L.

    Returns:
        ``LINES``: prompts and tokens [S, L, T], and who speaks [S, L].
    """
    which_key, speaker_key, token_key = jax.random.split(key, 3)
    which = jax.random.choice(which_key, base.world.prompts.shape[0], (num,), replace=num > base.world.prompts.shape[0])
    prompts, token_keys = base.world.prompts[which], jax.random.split(token_key, num)

    def at(path: Params) -> dict[str, Array]:
        one = jax.tree.map(lambda x: x[0], path)
        log_gates, tables = jax.vmap(base.made.log_gate, (None, 0))(one, prompts), base.made.log_tables(one)
        # The same draws at every strength, on purpose.
        speakers = jax.random.categorical(jax.random.clone(speaker_key), log_gates)
        tokens = jax.vmap(lambda k, speaker, prompt: chains.sample(k, tables, speaker, prompt, base.length))(
            jax.random.clone(token_keys), speakers, prompts
        )
        return dict(zip(LINES, (prompts, tokens, speakers), strict=True))

    return jax.lax.map(at, params)


def concluded(base: Thinker, tokens: Int[Array, "*batch T"]) -> Float[Array, "*batch"]:
    """The reader's probability of ``odd`` after the thoughts of some responses."""
    log_reader = measures.reader(base.joint(base.params) + base.world.log_prompts[:, None, None, None])
    places = base.num_words ** jnp.arange(base.length - 2, -1, -1)
    return jnp.exp(log_reader)[tokens[..., :-1] @ places, 1]


def told(labels: worlds.Labels, dataset: xr.Dataset, num: int) -> str:
    """The first lines of one point of a dataset, as a person reads them."""
    lines = zip(dataset.line_prompt.values, dataset.line_tokens.values, strict=True)
    said = [reasoning.transcript(labels, prompt, tokens) for prompt, tokens in lines]
    return "; ".join(f"«{line}»" for line in said[:num])
