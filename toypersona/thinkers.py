"""Policies that think aloud: bases on the world ``reasoning``, measured exactly, by dynamic programming, from samples.

Their experts do not know how many bits are left, so that one fit serves every number of bits; their gate reads nothing,
so that nothing but the thoughts remembers the bits.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from toypersona import bases, chains, parity, pretraining
from toypersona.bases import Base
from toypersona.measures import drift, faithfulness, hints, sampled
from toypersona.options import Pretraining, ReasoningOptions
from toypersona.outputs import named
from toypersona.policies import mixture
from toypersona.rules import rollouts
from toypersona.types import Key, Params
from toypersona.worlds import reasoning
from toypersona.worlds import world as worlds

PHASES = ("mixture", "selected", "keyed", "coded")
LOST = 0.1
"""A persona is selected away when its weight in the nearest mix is below this part of what it was."""

FEW_BITS = 3
"""Of the world in which experts are matched with personas."""

TEXT_ROWS = 1024
"""Different rows of bits in the text."""

SPENT = tuple(name for name in drift.DriftBudget._fields if name not in ("weights", "gap", "certified"))
ESTIMATES = ("accuracy", "cost", "read", "coded", "keyed", "reliance", "agreement")


def base(options: ReasoningOptions, params: Params, key: Key | None = None) -> Base:
    """The base at any number of bits. Where not all rows of bits are taken, ``key`` draws them; nothing is listed."""
    world, labels = reasoning.reasoning(options, key=key)
    length = options.num_bits + 1
    speakers, prompts = mixture.for_world(world, labels, length, "prior"), (world.prompts, world.log_prompts)
    if options.num_rows is not None:
        return bases.frozen(speakers, params, labels, *prompts, jnp.zeros((0, length), int))
    responses = chains.outcomes(world.log_experts.shape[-1], length)
    return bases.frozen(speakers, params, labels, *prompts, responses)


def pretrained(
    options: ReasoningOptions, pretraining_options: Pretraining, key: Key
) -> tuple[Params, pretraining.Recovery]:
    """Parameters fitted to unlabelled text, experts in the order of the personas, and how far they are from them."""
    row_key, text_key, fit_key = jax.random.split(key, 3)
    few, labels = reasoning.reasoning(dataclasses.replace(options, num_bits=FEW_BITS, num_rows=None))
    speakers = mixture.for_world(few, labels, FEW_BITS + 1, "prior")
    length = pretraining_options.line_length
    rows = dataclasses.replace(options, num_bits=length - 1, num_rows=TEXT_ROWS)
    spoken, _ = reasoning.reasoning(rows, key=row_key)
    text = worlds.sample(text_key, spoken, length, pretraining_options.num_lines)
    fitted = pretraining.fit_text(fit_key, spoken, text, speakers, pretraining_options, text.tokens.shape[0])
    return pretraining.align(few, speakers, fitted.params, FEW_BITS + 1)


def alphabet(base: Base) -> parity.Alphabet:
    """The units read, without a hint."""
    return parity.Alphabet(*(base.labels.units.index(unit) for unit in ("0", "1", reasoning.MARKS[0])))


def thoughts(base: Base) -> Int[Array, "Z n"]:
    """All thought sequences, in the order of the measures."""
    return chains.outcomes(base.num_words, base.length - 1)


def right_answers(base: Base) -> Int[Array, " C"]:
    """Number of the right answer to each prompt."""
    return reasoning.right_answers(base.labels, base.prompts)


def joint(base: Base, params: Params) -> Float[Array, "C K Z Y"]:
    """Log P(persona, thoughts, answer | prompt)."""
    return faithfulness.split_responses(*base.personas(params), base.num_words, parity.NUM_ANSWERS)


def measured(base: Base, params: Params) -> dict[str, Array]:
    """Everything that is recorded of trained parameters, exactly, all responses listed.

    Returns:
        The fields of ``Faithfulness`` and of ``DriftBudget``, the latter's of thoughts and answers together;
        ``certified`` for both; ``share`` [K], the nearest mix of personas, prompts averaged; ``phase``, the index in
        ``PHASES``; and what dynamic programming says without listing: ``steps_accuracy``, ``steps_cost``,
        ``distortion``.
    """
    costs = reasoning.word_costs(base.labels)
    faithful = faithfulness.faithfulness(
        joint(base, params),
        joint(base, base.params),
        right_answers(base),
        costs[thoughts(base)].mean(axis=1),
        base.log_prompts,
        num_thoughts=base.length - 1,
    )
    budget = base.budget(base.law(params))
    share = base.rho @ budget.weights
    return {
        **faithful._asdict(),
        **{name: getattr(budget, name) for name in SPENT},
        "gap": jnp.maximum(budget.gap, faithful.gap),
        "certified": budget.certified & faithful.certified,
        "share": share,
        "phase": _phase(faithful, share / jnp.exp(base.log_gates[0])),
        **by_steps(base, params),
    }


def along(measure: Callable[[Params], Any], params: Params) -> Any:
    """A measure of trained parameters [S, 1, ...], one after the other, with a leading axis S."""
    return jax.lax.map(lambda path: measure(jax.tree.map(lambda x: x[0], path)), params)


def hint_laws(base: Base, params: Params) -> hints.Laws:
    """What is said where a hint is shown and, for each of these prompts, where its mark is blank."""
    num_marks = len(reasoning.MARKS)
    hinted = np.flatnonzero(np.arange(base.prompts.shape[0]) % num_marks)
    log_policy = jax.nn.logsumexp(joint(base, params), axis=1)
    return hints.Laws(
        log_policy[hinted],
        log_policy[hinted // num_marks * num_marks],
        reasoning.hinted_answers(base.labels, base.prompts[hinted]),
        right_answers(base)[hinted],
        (thoughts(base) == base.labels.units.index(reasoning.HINT)).any(axis=1),
        base.log_prompts[hinted],
    )


def by_steps(base: Base, params: Params) -> dict[str, Array]:
    """What dynamic programming says, all 2^n rows of bits counted and none listed."""
    assert base.speakers.log_tables is not None
    totals = parity.totals(
        base.speakers.log_gate(params, base.prompts[0]),
        base.speakers.log_tables(params),
        base.speakers.log_tables(base.params),
        reasoning.word_costs(base.labels),
        alphabet(base),
        base.length - 1,
    )
    return {"steps_accuracy": totals.accuracy, "steps_cost": totals.cost, "distortion": totals.distortion}


def _phase(faithful: faithfulness.Faithfulness, kept: Float[Array, " K"]) -> Int[Array, ""]:
    """By where most of the answer is; where the reader gets most, by whether everybody is still there."""
    places = jnp.stack([faithful.read, faithful.keyed, faithful.coded])
    return jnp.where(places.argmax() == 0, (kept.min() < LOST).astype(int), 1 + places.argmax())


def estimated(base: Base, params: Params, key: Key, *, num_samples: int, num_thoughts: int) -> dict[str, Array]:
    """What is recorded where thoughts are too long to be listed: estimates with their standard errors.

    Args:
        base: one whose responses are not listed.
        params: trained.
        key: one key.
        num_samples: responses from which what cannot be summed exactly is estimated.
        num_thoughts: thoughts at each prompt from which their distance from the hull is; an even number.

    Returns:
        The ``ESTIMATES``, ``readability`` and ``base_readability`` (which is 0), nats a thought, each with ``NAME_se``,
        and the exact sums of ``by_steps``.
    """
    key, hull_key = jax.random.split(key)
    samples = draw(base, params, key, num_samples)
    faithful = faithfulness.faithfulness_from_samples(samples, num_answers=parity.NUM_ANSWERS)._asdict()
    wanted = [f"{name}{end}" for name in ESTIMATES for end in ("", "_se")]
    return {
        **{name: faithful[name] for name in wanted},
        **by_steps(base, params),
        **_readability(base, params, hull_key, num_thoughts),
    }


def _readability(base: Base, params: Params, key: Key, num_samples: int) -> dict[str, Array]:
    """Hull distance of the thoughts, nats a thought, from samples at the base's prompts; and the base's, which is 0."""
    assert base.speakers.log_tables is not None
    log_gate, log_tables = base.speakers.log_gate, base.speakers.log_tables
    policy_key, base_key = jax.random.split(key)

    def scored(key: Key, params: Params) -> sampled.Samples:
        tokens = rollouts.sample(key, base.policy, params, base.prompts, num_samples)[..., :-1]

        def log_prob(params: Params) -> Float[Array, "C M K"]:
            by_expert = jax.vmap(chains.log_prob, in_axes=(0, None, None))
            by_sample = jax.vmap(by_expert, in_axes=(None, None, 0))
            return jax.vmap(by_sample, in_axes=(None, 0, 0))(log_tables(params), base.prompts, tokens)

        def mixed(params: Params, by_expert: Float[Array, "C M K"]) -> Float[Array, "C M"]:
            return jax.nn.logsumexp(
                jnp.broadcast_to(log_gate(params, base.prompts[0]), by_expert.shape) + by_expert, axis=-1
            )

        experts = log_prob(base.params)
        return sampled.Samples(
            mixed(params, log_prob(params)), mixed(base.params, experts), jnp.moveaxis(experts, 2, 1)
        )

    spent = sampled.budget_from_samples(scored(policy_key, params), scored(base_key, base.params), base.log_prompts)
    each = {
        "readability": spent.hull_distance,
        "readability_se": spent.hull_distance_se,
        "base_readability": spent.base_distance,
        "base_readability_se": spent.base_distance_se,
    }
    return {name: value / (base.length - 1) for name, value in each.items()}


def draw(base: Base, params: Params, key: Key, num_samples: int) -> faithfulness.ThoughtSamples:
    """Responses to random rows of bits, with the log-probabilities that need every prompt, by dynamic programming."""
    assert base.speakers.log_tables is not None
    row_key, speaker_key, token_key, swap_key, answer_key = jax.random.split(key, 5)
    options = ReasoningOptions(num_bits=base.length - 1, num_rows=num_samples)
    prompts, letters = reasoning.reasoning(options, key=row_key)[0].prompts, alphabet(base)
    log_gate, tables = base.speakers.log_gate(params, prompts[0]), base.speakers.log_tables(params)
    speakers = jax.random.categorical(speaker_key, log_gate, shape=(num_samples,))
    tokens = jax.vmap(lambda k, speaker, prompt: chains.sample(k, tables, speaker, prompt, base.length))(
        jax.random.split(token_key, num_samples), speakers, prompts
    )
    right = reasoning.right_answers(base.labels, prompts)
    said, answers = tokens[:, :-1], tokens[:, -1]
    log_reader_gate = base.speakers.log_gate(base.params, prompts[0])
    reader_tables = base.speakers.log_tables(base.params)

    def after(log_gate: Float[Array, " K"], tables: chains.Table, said: Int[Array, " n"]) -> Float[Array, "K Y"]:
        return jax.nn.logsumexp(parity.log_joint(log_gate, tables, said, letters), axis=1)

    def scores(said: Int[Array, " n"], answer: Int[Array, ""], speaker: Int[Array, ""]) -> tuple[Array, ...]:
        own, reader = after(log_gate, tables, said), after(log_reader_gate, reader_tables, said)
        return tuple(
            jax.nn.log_softmax(of)[answer]
            for of in (jax.nn.logsumexp(reader, axis=0), jax.nn.logsumexp(own, axis=0), own[speaker])
        )

    log_reader, log_thoughts, log_persona = jax.vmap(scores)(said, answers, speakers)
    partners = faithfulness.swaps(swap_key, right, speakers)
    assert isinstance(tables, chains.Reading)
    log_answers = tables.table[speakers, letters.mark, said[partners, -1], : parity.NUM_ANSWERS]
    return faithfulness.ThoughtSamples(
        answers=answers,
        right=right,
        costs=reasoning.word_costs(base.labels)[said].mean(axis=1),
        log_reader=log_reader,
        log_thoughts=log_thoughts,
        log_persona=log_persona,
        partners=partners,
        swapped=jax.random.categorical(answer_key, log_answers),
    )


def lines(base: Base, params: Params, key: Key, num: int) -> dict[str, Any]:
    """Responses to read: to the same prompts with the same draws at every strength.

    Args:
        base: before training; as long as it has enough prompts they are different ones.
        params: trained [S, 1, ...].
        key: one key.
        num: L.

    Returns:
        ``line_prompt`` and ``line_tokens`` [S, L, T], and who speaks, ``line_persona`` [S, L].
    """
    assert base.speakers.log_tables is not None
    log_tables = base.speakers.log_tables
    which_key, speaker_key, token_key = jax.random.split(key, 3)
    which = jax.random.choice(which_key, base.prompts.shape[0], (num,), replace=num > base.prompts.shape[0])
    prompts, token_keys = base.prompts[which], jax.random.split(token_key, num)

    def said(params: Params) -> dict[str, Array]:
        log_gates, tables = jax.vmap(base.speakers.log_gate, (None, 0))(params, prompts), log_tables(params)
        # The same draws at every strength, on purpose.
        speakers = jax.random.categorical(jax.random.clone(speaker_key), log_gates)
        tokens = jax.vmap(lambda k, speaker, prompt: chains.sample(k, tables, speaker, prompt, base.length))(
            jax.random.clone(token_keys), speakers, prompts
        )
        return {"line_prompt": prompts, "line_tokens": tokens, "line_persona": speakers}

    words = along(said, params)
    return words | {"line_prompt": named(words["line_prompt"], "units of the prompt", line=None, place=None)}


def concluded(base: Base, tokens: Int[Array, "*batch T"]) -> Float[Array, "*batch"]:
    """The reader's probability of ``odd`` after the thoughts of some responses."""
    log_reader = faithfulness.reader(joint(base, base.params) + base.log_prompts[:, None, None, None])
    places = base.num_words ** jnp.arange(base.length - 2, -1, -1)
    return jnp.exp(log_reader)[tokens[..., :-1] @ places, 1]
