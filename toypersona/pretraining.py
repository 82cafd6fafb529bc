"""Pretraining: maximum likelihood on unlabelled text, and how well it found the people behind it.

Who wrote a line is not given: a mixture is fitted to log pi(response | prompt) alone. ``recovery`` then compares
its experts with the true personas, and its gate with the Bayes posterior over who writes such prompts.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona import chains, numerics
from toypersona.options import Pretraining
from toypersona.policies import expectation_maximisation
from toypersona.policies.policy import Policy, Speakers, all_log_probs, log_prob_each
from toypersona.types import Key, Params, Scalar
from toypersona.worlds import world as worlds
from toypersona.worlds.world import Sample, World

MOST_TRIED = 6
"""Personas of which all permutations are tried."""

NEVER = 1e6
"""Nats in the place of an infinite divergence: more than any matching without one costs."""


class Fit(NamedTuple):
    """Result of ``fit``.

    Attributes:
        params: of the restart with the lowest loss.
        loss: its nats per line over the whole text.
        losses: nats per line of every restart [R].
    """

    params: Params
    loss: Float[Array, ""]
    losses: Float[Array, " R"]


def fit(
    key: Key,
    policy: Policy,
    prompts: Int[Array, "M P"],
    responses: Int[Array, "M L"],
    *,
    init: Callable[[Key], Params] | None = None,
    num_lines: Scalar | None = None,
    num_steps: int = 600,
    batch_size: int = 256,
    learning_rate: Scalar = 0.05,
    num_restarts: int = 4,
) -> Fit:
    """Maximum-likelihood fit of a policy to lines of text by Adam, the best of several random starts.

    Args:
        key: for starts and batches.
        policy: any policy with ``init`` and ``log_prob``.
        prompts: the openings of M lines [M, P].
        responses: what followed [M, L]; L need not be the T of the measures.
        init: where a random start comes from; ``policy.init`` unless given.
        num_lines: only the first so many lines are read (traced: one compile serves every amount); all by default.
        num_steps: the learning rate is decayed to zero by a cosine.
        batch_size: lines a step, drawn with replacement.
        learning_rate: at the start.
        num_restarts: R random starts.
    """
    total = prompts.shape[0]
    count = jnp.asarray(total if num_lines is None else num_lines)
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))
    log_probs = jax.vmap(policy.log_prob, in_axes=(None, 0, 0))

    def batch_loss(params: Params, batch: Int[Array, " B"]) -> Float[Array, ""]:
        return -log_probs(params, prompts[batch], responses[batch]).mean()

    def start(restart_key: Key) -> tuple[Params, Float[Array, ""]]:
        init_key, scan_key = jax.random.split(restart_key)
        params = (init or policy.init)(init_key)

        def step(carry: tuple, index: Int[Array, ""]) -> tuple[tuple, None]:
            params, opt_state = carry
            batch = jax.random.randint(jax.random.fold_in(scan_key, index), (batch_size,), 0, count)
            updates, opt_state = optimizer.update(jax.grad(batch_loss)(params, batch), opt_state)
            return (optax.apply_updates(params, updates), opt_state), None

        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(num_steps))
        counted = jnp.arange(total) < count
        return params, -jnp.where(counted, log_probs(params, prompts, responses), 0.0).sum() / count

    fitted, losses = jax.vmap(start)(jax.random.split(key, num_restarts))
    best = jnp.argmin(losses)
    return Fit(jax.tree.map(lambda x: x[best], fitted), losses[best], losses)


class Recovery(NamedTuple):
    """How far a fitted mixture is from the truth, experts already renamed to match the personas.

    Attributes:
        expert_divergence: KL(p_k‖expert_k) of each persona, nats per token [K].
        gate_divergence: E_c KL(g(c)‖gate(c)), nats.
        policy_divergence: E_c KL(world‖policy), nats per token.
    """

    expert_divergence: Float[Array, " K"]
    gate_divergence: Float[Array, ""]
    policy_divergence: Float[Array, ""]


def cross_divergences(
    log_prompts: Float[Array, " C"],
    log_gates: Float[Array, "C K"],
    log_personas: Float[Array, "C K N"],
    log_experts: Float[Array, "C K N"],
    length: int,
) -> Float[Array, "K K"]:
    """KL(p_k‖expert_j) in nats per token [K, K], each persona averaged over the prompts it answers."""
    answers = jax.nn.softmax(log_prompts[:, None] + log_gates, axis=0)
    pairs = jax.vmap(jax.vmap(numerics.kl_divergence, in_axes=(None, 0)), in_axes=(0, None))
    return jnp.einsum("ck,ckj->kj", answers, jax.vmap(pairs)(log_personas, log_experts)) / length


def matching(divergences: Float[Array, "K K"]) -> Int[Array, " K"]:
    """The expert for each persona [K] that makes the summed divergence least, over all permutations.

    All are tried where they are few, which compiles in no time; else they are assigned (the Hungarian algorithm).
    """
    num_personas = divergences.shape[0]
    costs = jnp.where(jnp.isfinite(divergences), divergences, NEVER)
    if num_personas > MOST_TRIED:
        rows, columns = optax.assignment.hungarian_algorithm(costs)
        return columns[jnp.argsort(rows)]
    every = jnp.array(list(itertools.permutations(range(num_personas))))
    return every[jnp.argmin(costs[jnp.arange(num_personas), every].sum(axis=-1))]


def recovery(
    log_prompts: Float[Array, " C"],
    log_gates: Float[Array, "C K"],
    log_personas: Float[Array, "C K N"],
    log_gate_fitted: Float[Array, "C K"],
    log_experts: Float[Array, "C K N"],
    length: int,
) -> Recovery:
    """Compare a fitted mixture, its experts already in the personas' order, with the true world.

    ``log_gates`` is the Bayes posterior over the true personas; ``length`` the T of the N responses.
    """
    crossed = cross_divergences(log_prompts, log_gates, log_personas, log_experts, length)
    truth, fitted = numerics.log_mix(log_gates, log_personas), numerics.log_mix(log_gate_fitted, log_experts)
    return Recovery(
        expert_divergence=jnp.diagonal(crossed),
        gate_divergence=numerics.expectation(log_prompts, numerics.kl_divergence(log_gates, log_gate_fitted)),
        policy_divergence=numerics.expectation(log_prompts, numerics.kl_divergence(truth, fitted)) / length,
    )


def fit_text(
    key: Key, world: World, text: Sample, speakers: Speakers, options: Pretraining, num_lines: Int[Array, ""] | int
) -> Fit:
    """Fit a policy to the first ``num_lines`` lines of a world's text, who wrote them unseen.

    By expectation maximisation where the gate is a table and the personas are plain chains, else by Adam.
    """
    lines, count = (world.prompts[text.prompt_index], text.tokens), jnp.asarray(num_lines)
    if options.gate == "table" and not isinstance(world.log_experts, chains.Reading):
        return Fit(
            *expectation_maximisation.fit(
                key,
                speakers,
                world.prompts,
                text.prompt_index,
                text.tokens,
                num_lines=count,
                goal=-_mean_read(_log_likelihoods(world, text), count),
                at_least=options.num_restarts,
                at_most=max(options.num_restarts, options.most_restarts),
            )
        )
    return fit(
        key,
        speakers.policy,
        *lines,
        init=lambda start_key: speakers.init_from_text(start_key, *lines, count),
        num_lines=count,
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        num_restarts=options.num_restarts,
    )


def counted(key: Key, world: World, text: Sample, tagged: Scalar, length: int) -> Float[Array, "K1 C N"]:
    """How often each response is begun with, by who is named as its speaker; the last is nobody.

    Args:
        key: draws the lines that name their speaker.
        world: its prompts.
        text: M lines of T words or more.
        tagged: share of the lines that name their speaker.
        length: T.

    Returns:
        Shares of all lines [K + 1, C, N].
    """
    (num_prompts, num_personas), num_words = world.log_gates.shape, world.log_experts.shape[-1]
    named = jax.random.bernoulli(key, tagged, text.persona.shape)
    caller = jnp.where(named, text.persona, num_personas)
    said = text.tokens[:, :length] @ num_words ** jnp.arange(length - 1, -1, -1)
    shape = (num_personas + 1, num_prompts, num_words**length)
    return jnp.zeros(shape).at[caller, text.prompt_index, said].add(1 / text.persona.size)


def fit_counts(
    key: Key,
    speakers: Speakers,
    prompts: Int[Array, "C P"],
    counts: Float[Array, "R C N"],
    records: tuple[int, ...],
    *,
    rate: Scalar,
) -> Params:
    """Maximum-likelihood fit of a network to counted lines by Adam, all of them at every step, in float32.

    Where it ends is a base like any other: what is measured of it is in the precision of ``counts``.

    Args:
        key: for the random start.
        speakers: the network.
        prompts: [C, P].
        counts: as of ``counted``; its last row alone where no line names its speaker, which is several times as fast.
        records: steps after which parameters are returned, increasing from 0 on; the last is the number of steps.
        rate: learning rate at the start, decayed to zero by a cosine.

    Returns:
        Parameters with a leading axis, one for each record.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, records[-1]))
    narrow = counts.astype(jnp.float32)

    def loss(params: Params) -> Float[Array, ""]:
        missed = lambda log_probs, counts: -jnp.vdot(log_probs, counts)  # noqa: E731
        by_nobody = missed(all_log_probs(speakers.policy, params, prompts), narrow[-1])
        if counts.shape[0] == 1:
            return by_nobody
        called = jax.vmap(speakers.called, (None, 0), 1)(params, prompts)  # pyright: ignore[reportArgumentType]
        return by_nobody + missed(called, narrow[:-1])

    def step(_: Int[Array, ""], carry: tuple) -> tuple:
        params, opt_state = carry
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    def stretch(carry: tuple, num_steps: Int[Array, ""]) -> tuple[tuple, Params]:
        carry = jax.lax.fori_loop(0, num_steps, step, carry)
        return carry, carry[0]

    start = jax.tree.map(lambda x: x.astype(narrow.dtype), speakers.policy.init(key))
    lengths = jnp.diff(jnp.array(records), prepend=0)
    path = jax.lax.scan(stretch, (start, optimizer.init(start)), lengths)[1]
    return jax.tree.map(lambda x: x.astype(counts.dtype), path)


def align(world: World, speakers: Speakers, params: Params, length: int) -> tuple[Params, Recovery]:
    """Rename the fitted personas after the true ones that they fit best, and measure how well they do.

    Who has a name in the text, as a network's, keeps it.
    """
    truth = worlds.log_personas(world, length)
    said = speakers.called or speakers.log_personas
    fitted = jax.vmap(said, (None, 0))(params, world.prompts)
    if speakers.called:
        order, renamed = jnp.arange(truth.shape[1]), params
    else:
        order = matching(cross_divergences(world.log_prompts, world.log_gates, truth, fitted, length))
        renamed = speakers.renamed(params, order)
    gates = jax.vmap(speakers.log_gate, (None, 0))(renamed, world.prompts)
    return renamed, recovery(world.log_prompts, world.log_gates, truth, gates, fitted[:, order], length)


def excess(
    world: World, policy: Policy, params: Params, text: Sample, num_lines: Scalar | None = None
) -> Float[Array, ""]:
    """Nats per line by which a policy's loss on the first ``num_lines`` lines of a text exceeds that of the world."""
    fitted = log_prob_each(policy, params, world.prompts, text.prompt_index, text.tokens)
    count = jnp.asarray(text.tokens.shape[0] if num_lines is None else num_lines)
    return _mean_read(_log_likelihoods(world, text) - fitted, count)


def _log_likelihoods(world: World, text: Sample) -> Float[Array, " M"]:
    """Nats of each line under the world that it comes from."""

    def one(c: Int[Array, ""], tokens: Int[Array, " L"]) -> Float[Array, ""]:
        return jax.nn.logsumexp(world.log_gates[c] + worlds.log_prob_personas(world, c, tokens))

    return jax.vmap(one)(text.prompt_index, text.tokens)


def _mean_read(values: Float[Array, " M"], num_lines: Int[Array, ""]) -> Float[Array, ""]:
    """The mean over the first ``num_lines`` lines."""
    return jnp.where(jnp.arange(values.shape[0]) < num_lines, values, 0.0).sum() / num_lines
