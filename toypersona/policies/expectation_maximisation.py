"""The likeliest mixture with a gate table, by expectation maximisation (Dempster, Laird and Rubin 1977).

Every step is in closed form: each line is shared out among the experts in proportion to how likely they are to have
said it, and gates and experts become the frequencies of what they got. A weak prior stands beside what is read: of each
prompt ``PRIOR`` lines more, by everybody alike, and after each context ``PRIOR`` words more, as in the whole text. So
no gate runs away to 0, and an expert that never met a context goes on as all do together.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import chains, numerics
from toypersona.policies import mixture
from toypersona.policies.policy import Speakers
from toypersona.types import Key, Params, Scalar

PRIOR = 1.0
"""Lines of each prompt, and words after each context, that the prior counts."""

CONVERGED, AGREE = 1e-6, 1e-4
"""Nats per line: a start has converged where a step gains less, and found the best again where it differs by less."""

SHORT, LONG, ENOUGH = 50, 500, 3
"""Most steps of every start, and then of the best (Biernacki, Celeux and Govaert 2003); how many have to agree."""


class Likeliest(NamedTuple):
    """Result of ``fit``.

    Attributes:
        params: of the likeliest start, prior included.
        loss: its nats per line on the lines read, without the prior.
        losses: nats per line of every start, prior included; nan where none was needed any more [R].
    """

    params: Params
    loss: Float[Array, ""]
    losses: Float[Array, " R"]


def fit(
    key: Key,
    speakers: Speakers,
    prompts: Int[Array, "C P"],
    prompt_index: Int[Array, " M"],
    responses: Int[Array, "M L"],
    *,
    num_lines: Int[Array, ""] | int,
    goal: Scalar,
    at_least: int,
    at_most: int,
) -> Likeliest:
    """Fit a mixture with a gate table over known prompts, from random starts, until ``ENOUGH`` found the best.

    Args:
        key: for the starts.
        speakers: of a mixture with a gate table over ``prompts``.
        prompts: [C, P].
        prompt_index: which of them opens each line [M].
        responses: what follows [M, L].
        num_lines: only the first so many lines are read.
        goal: nats per line on the lines read; starts go on as long as none does as well.
        at_least: random starts, whatever they find.
        at_most: random starts, R.
    """
    openings = prompts[prompt_index]
    read = (jnp.arange(prompt_index.shape[0]) < num_lines).astype(float)
    lines = read.sum()

    def log_likelihood(log_gates: Float[Array, "C K"], tables: Float[Array, "K *context V"]) -> Float[Array, ""]:
        one = lambda table: jax.vmap(chains.log_prob, (None, 0, 0))(table, openings, responses)  # noqa: E731
        return read @ numerics.log_mix(log_gates[prompt_index], jax.vmap(one)(tables)[..., None].swapaxes(0, 1))[:, 0]

    def start(start_key: Key) -> tuple[Array, Array]:
        gate_key, line_key = jax.random.split(start_key)
        tables = mixture.expert_logits(speakers.init_from_text(line_key, openings, responses, jnp.asarray(num_lines)))
        log_gates = jax.random.loggamma(gate_key, 0.5, (prompts.shape[0], tables.shape[0]))
        return jax.nn.log_softmax(log_gates), jax.nn.log_softmax(tables)

    gates, experts = jax.eval_shape(start, key)
    shape = experts.shape
    heard = chains.count(openings, responses, read, shape[1:]) + mixture.UNSEEN
    together = heard / heard.sum(axis=-1, keepdims=True)

    def step(state: tuple) -> tuple:
        log_gates, tables, before, _, steps = state
        # Derivatives of a log-likelihood by log-probabilities are expected counts.
        value, counts = jax.value_and_grad(log_likelihood, argnums=(0, 1))(log_gates, tables)
        prior = PRIOR * (log_gates.mean(axis=1).sum() + (together[None] * tables).sum())
        log_gates, tables = (
            jax.nn.log_softmax(jnp.log(counted + PRIOR * expected))
            for counted, expected in zip(counts, (1 / shape[0], together[None]), strict=True)
        )
        value = (value + prior) / lines
        return log_gates, tables, value, value - before, steps + 1

    def climb(log_gates: Array, tables: Array, most: int) -> tuple[Array, Array, Array]:
        fresh = (log_gates, tables, jnp.asarray(-jnp.inf), jnp.asarray(jnp.inf), 0)
        going = lambda state: (state[3] > CONVERGED) & (state[4] < most)  # noqa: E731
        log_gates, tables, value, _, _ = jax.lax.while_loop(going, step, fresh)
        return log_gates, tables, -value

    def loss(found: tuple) -> Float[Array, ""]:
        return -log_likelihood(*found[:2]) / lines

    def again(state: tuple) -> tuple:
        best, losses, found, count = state
        new = climb(*start(jax.random.fold_in(key, count)), SHORT)
        better = new[2] < best[2] - AGREE
        found = jnp.where(better, 1, found + (new[2] < best[2] + AGREE))
        best = jax.tree.map(lambda x, y: jnp.where(new[2] < best[2], x, y), new, best)
        return best, losses.at[count].set(new[2]), jnp.where(loss(best) > goal, 0, found), count + 1

    nothing = (jnp.zeros(gates.shape), jnp.zeros(shape), jnp.asarray(jnp.inf))
    begun = (nothing, jnp.full(at_most, jnp.nan), jnp.asarray(0), jnp.asarray(0))
    more = lambda state: (state[3] < at_least) | ((state[2] < ENOUGH) & (state[3] < at_most))  # noqa: E731
    best, losses, _, _ = jax.lax.while_loop(more, again, begun)
    best = climb(*best[:2], LONG)
    return Likeliest(mixture.params_of(*best[:2]), loss(best), losses)
