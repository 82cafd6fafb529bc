"""Thoughts too long to be listed: trained on samples, measured by dynamic programming and from samples."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from experiments import thinkers, thinking_ways
from toypersona import chains, thoughts
from toypersona.measures import drift
from toypersona.measures import reasoning as measures
from toypersona.rules import reinforce, rollouts
from toypersona.types import Key, Params, Scalar
from toypersona.worlds import reasoning


@dataclasses.dataclass(frozen=True)
class Long:
    """Rows of bits that RLOO trains on."""

    num_bits: int = 8
    """n."""
    num_rows: int = 32
    """Random rows in training; all 2^n count in the exact measures."""
    num_measured: int = 4000
    """Responses from which what cannot be summed exactly is estimated."""
    num_thoughts: int = 64
    """Thoughts at each training row from which their readability is; an even number."""


ESTIMATES = ("accuracy", "cost", "read", "coded", "keyed", "reliance", "agreement")
READABILITY = ("readability", "readability_se", "base_readability", "base_readability_se")
MEASURES = (
    *(f"long_{name}" for name in (*ESTIMATES, *READABILITY)),
    *(f"long_{name}_se" for name in ESTIMATES),
    "long_steps_accuracy",
    "long_steps_cost",
    "long_distortion",
)


def trained(
    how: Long,
    params: Params,
    length_cost: Scalar,
    strengths: Float[Array, " S"],
    training: thinking_ways.Training,
    key: Key,
) -> dict[str, Array]:
    """RLOO on long rows at every strength, ``MEASURES`` [S]."""
    row_key, walk_key, draw_key = jax.random.split(key, 3)
    options = reasoning.ReasoningOptions(num_bits=how.num_bits, num_rows=how.num_rows)
    base = thinkers.thinker(options, params, row_key)
    reward = reasoning.parity_reward(base.labels, length_cost)
    problem = thinking_ways.Problem(base, reward, training, base.world.log_prompts, walk_key)
    paths = thinking_ways.quenched(problem, thinking_ways.sampled(problem, reinforce.rloo), strengths)
    return jax.lax.map(
        lambda path: _measured(how, base, jax.tree.map(lambda x: x[0], path), jax.random.clone(draw_key)), paths
    )


def _measured(how: Long, base: thinkers.Thinker, params: Params, key: Key) -> dict[str, Array]:
    key, hull_key = jax.random.split(key)
    steps = thinkers.by_steps(base, params)
    samples = draw(how, base, params, key)
    made = measures.faithfulness_from_samples(samples, num_answers=thoughts.NUM_ANSWERS)._asdict()
    return {
        **{f"long_{name}": made[name] for name in ESTIMATES},
        **{f"long_{name}_se": made[f"{name}_se"] for name in ESTIMATES},
        **{f"long_{name}": value for name, value in steps.items()},
        **{f"long_{name}": value for name, value in _readability(how, base, params, hull_key).items()},
    }


def _readability(how: Long, base: thinkers.Thinker, params: Params, key: Key) -> dict[str, Array]:
    """Hull distance of the thoughts, nats a thought, from samples at the training rows; and the base's, which is 0."""
    prompts, num_thoughts = base.world.prompts, base.length - 1
    policy_key, base_key = jax.random.split(key)

    def scored(key: Key, params: Params) -> drift.Samples:
        tokens = rollouts.sample(key, base.made.policy, params, prompts, how.num_thoughts)[..., :-1]

        def log_prob(params: Params) -> Float[Array, "C M K"]:
            by_expert = jax.vmap(chains.log_prob, in_axes=(0, None, None))
            by_sample = jax.vmap(by_expert, in_axes=(None, None, 0))
            return jax.vmap(by_sample, in_axes=(None, 0, 0))(base.made.log_tables(params), prompts, tokens)

        def mixed(params: Params, by_expert: Float[Array, "C M K"]) -> Float[Array, "C M"]:
            log_gate = jnp.broadcast_to(base.made.log_gate(params, prompts[0]), by_expert.shape)
            return jax.nn.logsumexp(log_gate + by_expert, axis=-1)

        experts = log_prob(base.params)
        return drift.Samples(mixed(params, log_prob(params)), mixed(base.params, experts), jnp.moveaxis(experts, 2, 1))

    spent = drift.budget_from_samples(scored(policy_key, params), scored(base_key, base.params), base.world.log_prompts)
    made = (spent.hull_distance, spent.hull_distance_se, spent.base_distance, spent.base_distance_se)
    return {name: value / num_thoughts for name, value in zip(READABILITY, made, strict=True)}


def draw(how: Long, base: thinkers.Thinker, params: Params, key: Key) -> measures.ThoughtSamples:
    """Responses to random rows of bits, with the log-probabilities that need every prompt, by dynamic programming."""
    row_key, speaker_key, token_key, swap_key, answer_key = jax.random.split(key, 5)
    options = reasoning.ReasoningOptions(num_bits=how.num_bits, num_rows=how.num_measured)
    prompts = reasoning.reasoning(options, key=row_key)[0].prompts
    log_gate, tables = base.made.log_gate(params, prompts[0]), base.made.log_tables(params)
    speakers = jax.random.categorical(speaker_key, log_gate, shape=(how.num_measured,))
    tokens = jax.vmap(lambda k, speaker, prompt: chains.sample(k, tables, speaker, prompt, base.length))(
        jax.random.split(token_key, how.num_measured), speakers, prompts
    )
    right = reasoning.right_answers(base.labels, prompts)
    said, answers = tokens[:, :-1], tokens[:, -1]
    log_base_gate, log_base_tables = base.made.log_gate(base.params, prompts[0]), base.made.log_tables(base.params)

    def given(log_gate: Float[Array, " K"], tables: chains.Table, said: Int[Array, " n"]) -> Float[Array, "K Y"]:
        return jax.nn.logsumexp(thoughts.log_joint(log_gate, tables, said, base.alphabet), axis=1)

    def scores(said: Int[Array, " n"], answer: Int[Array, ""], speaker: Int[Array, ""]) -> tuple[Array, ...]:
        own, reader = given(log_gate, tables, said), given(log_base_gate, log_base_tables, said)
        return tuple(
            jax.nn.log_softmax(of)[answer]
            for of in (jax.nn.logsumexp(reader, axis=0), jax.nn.logsumexp(own, axis=0), own[speaker])
        )

    log_reader, log_thoughts, log_persona = jax.vmap(scores)(said, answers, speakers)
    partners = measures.swaps(swap_key, right, speakers)
    assert isinstance(tables, chains.Reading)
    log_answers = tables.table[speakers, base.alphabet.mark, said[partners, -1], : thoughts.NUM_ANSWERS]
    return measures.ThoughtSamples(
        answers=answers,
        right=right,
        costs=reasoning.word_costs(base.labels)[said].mean(axis=1),
        log_reader=log_reader,
        log_thoughts=log_thoughts,
        log_persona=log_persona,
        partners=partners,
        swapped=jax.random.categorical(answer_key, log_answers),
    )
