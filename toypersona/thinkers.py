"""Policies that think aloud: bases on the world ``reasoning``, measured exactly, by dynamic programming, from samples.

Their experts do not know how many bits are left, so that one fit serves every number of bits; their gate reads nothing,
so that nothing but the thoughts remembers the bits.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from toypersona import bases, chains, hulls, parity, pretraining
from toypersona.bases import Base
from toypersona.measures import faithfulness, hints, sampled
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


def base(options: ReasoningOptions, params: Params, key: Key | None = None) -> Base:
    """The base at any number of bits. Where not all rows of bits are taken, ``key`` draws them; nothing is listed."""
    world, labels = reasoning.reasoning(options, key=key)
    length, num_words = options.num_bits + 1, world.log_experts.shape[-1]
    speakers = mixture.for_world(world, labels, length, "prior")
    responses = chains.outcomes(num_words, length) if options.num_rows is None else jnp.zeros((0, length), int)
    return bases.frozen(speakers, params, labels, world.prompts, world.log_prompts, responses)


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


def _alphabet(base: Base) -> parity.Alphabet:
    """The units read, without a hint."""
    return parity.Alphabet(*(base.labels.units.index(unit) for unit in ("0", "1", reasoning.MARKS[0])))


def _tables(base: Base, params: Params) -> chains.Reading:
    """The experts' chains, log-probabilities [K, U, U, V]."""
    tables = base.speakers.log_tables and base.speakers.log_tables(params)
    assert isinstance(tables, chains.Reading)
    return tables


def thoughts(base: Base) -> Int[Array, "Z n"]:
    """All thought sequences, in the order of the measures."""
    return chains.outcomes(base.num_words, base.length - 1)


def joint(base: Base, params: Params) -> Float[Array, "C K Z Y"]:
    """Log P(persona, thoughts, answer | prompt)."""
    return faithfulness.split_responses(*base.personas(params), base.num_words, parity.NUM_ANSWERS)


def measured(base: Base, params: Params) -> dict[str, Array]:
    """Everything that is recorded of trained parameters, exactly, all responses listed.

    Returns:
        The fields of ``Faithfulness`` and of ``DriftBudget``, the latter's of thoughts and answers together; ``gap``
        and ``certified`` for both; ``share`` [K], the nearest mix of personas, prompts averaged; ``phase``, the index
        in ``PHASES``; and what dynamic programming says: ``steps_accuracy``, ``steps_cost``, ``distortion``.
    """
    faithful = faithfulness.faithfulness(
        joint(base, params),
        joint(base, base.params),
        reasoning.right_answers(base.labels, base.prompts),
        reasoning.word_costs(base.labels)[thoughts(base)].mean(axis=1),
        base.log_prompts,
        num_thoughts=base.length - 1,
    )
    budget = base.budget(base.law(params))._asdict()
    share = base.rho @ budget.pop("weights")
    return {
        **faithful._asdict(),
        **budget,
        "gap": jnp.maximum(budget["gap"], faithful.gap),
        "certified": budget["certified"] & faithful.certified,
        "share": share,
        "phase": _phase(faithful, share / jnp.exp(base.log_gates[0])),
        **_by_steps(base, params),
    }


def along(measure: Callable[[Params], Any], params: Params) -> Any:
    """A measure of trained parameters [S, 1, ...], one after the other, with a leading axis S."""
    return jax.lax.map(lambda path: measure(jax.tree.map(lambda x: x[0], path)), params)


def tells(base: Base) -> Bool[Array, " N"]:
    """Which responses have a thought that says that the hint is taken."""
    words = jnp.asarray([base.labels.units.index(word) for word in reasoning.HINTS])
    return jnp.isin(base.responses[:, :-1], words).any(axis=1)


def hint_laws(base: Base, params: Params) -> hints.Laws:
    """What is said where a hint is shown and, for each of these prompts, where its mark is blank."""
    num_marks, log_joint = len(reasoning.MARKS), joint(base, params)
    hinted = np.flatnonzero(np.arange(base.prompts.shape[0]) % num_marks)
    return hints.Laws(
        log_joint[hinted],
        log_joint[hinted // num_marks * num_marks],
        reasoning.hinted_answers(base.labels, base.prompts[hinted]),
        reasoning.right_answers(base.labels, base.prompts[hinted]),
        tells(base)[:: base.num_words],
        base.log_prompts[hinted],
    )


def _by_steps(base: Base, params: Params) -> dict[str, Array]:
    """What dynamic programming says, all 2^n rows of bits counted and none listed."""
    totals = parity.totals(
        base.speakers.log_gate(params, base.prompts[0]),
        _tables(base, params),
        _tables(base, base.params),
        reasoning.word_costs(base.labels),
        _alphabet(base),
        base.length - 1,
    )
    return {"steps_accuracy": totals.accuracy, "steps_cost": totals.cost, "distortion": totals.distortion}


def _phase(faithful: faithfulness.Faithfulness, kept: Float[Array, " K"]) -> Int[Array, ""]:
    """By where most of the answer is; where the reader gets most, by whether everybody is still there."""
    places = jnp.stack([faithful.read, faithful.keyed, faithful.coded])
    return jnp.where(places.argmax() == 0, (kept.min() < LOST).astype(int), 1 + places.argmax())


def estimated(base: Base, params: Params, key: Key, *, num_samples: int, num_thoughts: int) -> dict[str, Array]:
    """What is recorded where thoughts are too long to be listed: estimates, each with its ``NAME_se``, and exact sums.

    Args:
        base: one whose responses are not listed.
        params: trained.
        key: draws all samples.
        num_samples: responses from which the measures of ``faithfulness_from_samples`` are estimated.
        num_thoughts: thoughts at each prompt from which their hull distance is estimated; an even number.

    Returns:
        All of these measures but the entropy of the answers; ``thought_hull_distance`` and
        ``base_thought_hull_distance`` (which is 0), nats a thought; and what dynamic programming
        says, as in ``measured``.
    """
    key, hull_key = jax.random.split(key)
    samples = _draw(base, params, key, num_samples)
    faithful = faithfulness.faithfulness_from_samples(samples, num_answers=parity.NUM_ANSWERS)
    return {
        **{name: value for name, value in faithful.items() if not name.startswith("answer_entropy")},
        **_by_steps(base, params),
        **_thought_hull_distance(base, params, hull_key, num_thoughts),
    }


def _thought_hull_distance(base: Base, params: Params, key: Key, num_samples: int) -> dict[str, Array]:
    """Hull distance of the thoughts, nats a thought, from samples at the base's prompts; and the base's, which is 0."""
    policy_key, base_key = jax.random.split(key)
    by_expert = jax.vmap(chains.log_prob, in_axes=(0, None, None))
    by_prompt = jax.vmap(jax.vmap(by_expert, in_axes=(None, None, 0)), in_axes=(None, 0, 0))

    def scored(key: Key, params: Params) -> sampled.Samples:
        tokens = rollouts.sample(key, base.policy, params, base.prompts, num_samples)[..., :-1]

        def log_prob(params: Params) -> tuple[Float[Array, "C M"], Float[Array, "C M K"]]:
            experts = by_prompt(_tables(base, params), base.prompts, tokens)
            log_gate = jnp.broadcast_to(base.speakers.log_gate(params, base.prompts[0]), experts.shape)
            return jax.nn.logsumexp(log_gate + experts, axis=-1), experts

        log_base, experts = log_prob(base.params)
        return sampled.Samples(log_prob(params)[0], log_base, jnp.moveaxis(experts, 2, 1))

    spent = sampled.budget_from_samples(scored(policy_key, params), scored(base_key, base.params), base.log_prompts)
    fields = {"thought_hull_distance": "hull_distance", "base_thought_hull_distance": "base_distance"}
    return {
        f"{name}{end}": getattr(spent, f"{field}{end}") / (base.length - 1)
        for name, field in fields.items()
        for end in ("", "_se")
    }


def _draw(base: Base, params: Params, key: Key, num_samples: int) -> faithfulness.ThoughtSamples:
    """Responses to random rows of bits, with the log-probabilities that need every prompt, by dynamic programming."""
    row_key, speaker_key, token_key, swap_key, answer_key = jax.random.split(key, 5)
    options = ReasoningOptions(num_bits=base.length - 1, num_rows=num_samples)
    prompts, letters = reasoning.reasoning(options, key=row_key)[0].prompts, _alphabet(base)
    reader, own = ((base.speakers.log_gate(p, prompts[0]), _tables(base, p)) for p in (base.params, params))
    speakers = jax.random.categorical(speaker_key, own[0], shape=(num_samples,))
    tokens = _say(base, own[1], jax.random.split(token_key, num_samples), speakers, prompts)
    right = reasoning.right_answers(base.labels, prompts)
    said, answers = tokens[:, :-1], tokens[:, -1]

    def scores(said: Int[Array, " n"], answer: Int[Array, ""], speaker: Int[Array, ""]) -> tuple[Array, ...]:
        by_reader, by_own = (jax.nn.logsumexp(parity.log_joint(*law, said, letters), axis=1) for law in (reader, own))
        each = (jax.nn.logsumexp(by_reader, axis=0), jax.nn.logsumexp(by_own, axis=0), by_own[speaker])
        return tuple(jax.nn.log_softmax(of)[answer] for of in each)

    log_reader, log_thoughts, log_persona = jax.vmap(scores)(said, answers, speakers)
    partners = faithfulness.swaps(swap_key, right, speakers)
    log_answers = own[1].table[speakers, letters.mark, said[partners, -1], : parity.NUM_ANSWERS]
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


def _say(
    base: Base, tables: chains.Reading, keys: Key, speakers: Int[Array, " M"], prompts: Int[Array, "M P"]
) -> Int[Array, "M T"]:
    """A response by each of M speakers to a prompt of its own."""
    return jax.vmap(lambda key, speaker, prompt: chains.sample(key, tables, speaker, prompt, base.length))(
        keys, speakers, prompts
    )


def lines(base: Base, params: Params, key: Key, num: int) -> dict[str, Any]:
    """Responses to read: to the same L = ``num`` prompts with the same draws at every strength, ``params`` [S, 1, ...].

    The prompts are different ones as long as there are enough.

    Returns:
        ``line_prompt`` and ``line_tokens`` [S, L, T], and who speaks, ``line_persona`` [S, L].
    """
    which_key, speaker_key, token_key = jax.random.split(key, 3)
    which = jax.random.choice(which_key, base.prompts.shape[0], (num,), replace=num > base.prompts.shape[0])
    prompts, token_keys = base.prompts[which], jax.random.split(token_key, num)

    def said(params: Params) -> dict[str, Array]:
        log_gates = jax.vmap(base.speakers.log_gate, (None, 0))(params, prompts)
        # The same draws at every strength, on purpose.
        speakers = jax.random.categorical(jax.random.clone(speaker_key), log_gates)
        tokens = _say(base, _tables(base, params), jax.random.clone(token_keys), speakers, prompts)
        return {"line_prompt": prompts, "line_tokens": tokens, "line_persona": speakers}

    words = along(said, params)
    return words | {"line_prompt": named(words["line_prompt"], "units of the prompt", line=None, unit=None)}


def told(base: Base, paths: Sequence[Params], key: Key, num: int) -> dict[str, Any]:
    """The ``lines`` of R policies with the same draws, each [S, 1, ...], and what there is to know of them.

    Returns:
        What ``lines`` does, ``line_reader`` as ``concluded``, ``line_ratio`` as ``ratios``: all with a leading axis R.
    """
    params = jax.tree.map(lambda *x: jnp.concatenate(x), *paths)
    words = lines(base, params, key, num)
    prompts, tokens = words["line_prompt"], words["line_tokens"]
    words["line_reader"] = concluded(base, tokens)
    words["line_ratio"] = ratios(base, params, prompts.value[0], tokens)
    apart = lambda x: x.reshape(len(paths), -1, *x.shape[1:])  # noqa: E731
    words["line_prompt"] = prompts.value
    words = {name: apart(x) for name, x in words.items()}
    return words | {"line_prompt": prompts._replace(value=words["line_prompt"])}


def ratios(
    base: Base, params: Params, prompts: Int[Array, "L P"], tokens: Int[Array, "S L T"]
) -> Float[Array, "S L T"]:
    """Log pi/m* of each word of ``lines`` given those before it, nats: above 0 where no mix says it as often.

    m* is the mix of the base's personas that is nearest to the policy at the prompt. ``params`` are [S, 1, ...].
    """
    which = (base.prompts[None] == prompts[:, None]).all(axis=-1).argmax(axis=1)
    by_word = jax.vmap(_log_words, in_axes=(0, None, 0, 0))

    def at(both: tuple[Params, Array]) -> Float[Array, "L T"]:
        own, said = jax.tree.map(lambda x: x[0], both[0]), both[1]
        nearest = hulls.project_batch(base.law(own)[which], base.log_personas[which])
        log_gates = jax.vmap(base.speakers.log_gate, (None, 0))(own, prompts)
        mix = by_word(jnp.log(nearest.weights), _tables(base, base.params), prompts, said)
        return by_word(log_gates, _tables(base, own), prompts, said) - mix

    return jax.lax.map(at, (params, tokens))


def _log_words(
    log_weights: Float[Array, " K"], tables: chains.Reading, prompt: Int[Array, " P"], tokens: Int[Array, " T"]
) -> Float[Array, " T"]:
    """Log-probability of each word given those before it under a mix of K chains."""
    by_expert = jax.vmap(chains.token_log_probs, in_axes=(0, None, None))(tables, prompt, tokens)
    prefixes = jax.nn.logsumexp(log_weights[:, None] + jnp.cumsum(by_expert, axis=1), axis=0)
    return jnp.diff(prefixes, prepend=0.0)


def concluded(base: Base, tokens: Int[Array, "*batch T"]) -> Float[Array, "*batch"]:
    """The reader's probability of ``odd`` after the thoughts of some responses."""
    log_reader = faithfulness.reader(joint(base, base.params) + base.log_prompts[:, None, None, None])
    places = base.num_words ** jnp.arange(base.length - 2, -1, -1)
    return jnp.exp(log_reader)[tokens[..., :-1] @ places, 1]
