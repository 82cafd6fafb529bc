"""A world: who speaks (personas), to what (prompts), in which words. It holds the truth that a policy learns from.

Personas are Markov chains and the prompt decides who answers: ``p(x|c) = sum_k g_k(c) p_k(x|c)``, g being the Bayes
posterior over who writes such prompts.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import chains, numerics
from toypersona.types import Key


class World(NamedTuple):
    """The truth, in log space; arrays only, so that worlds stack and vmap.

    Attributes:
        prompts: unit indices [C, P].
        log_prompts: log rho(c) [C].
        log_gates: log g_k(c), the posterior over who writes prompt c [C, K].
        log_experts: each persona's chain [K, U, ..., U, V], a ``chains.Table``: an array, or ``chains.Reading`` where
            personas read along.
    """

    prompts: Int[Array, "*W C P"]
    log_prompts: Float[Array, "*W C"]
    log_gates: Float[Array, "*W C K"]
    log_experts: Any


class Labels(NamedTuple):
    """A world's names.

    Attributes:
        personas: K names.
        units: U spellings, the V that responses are made of first.
        separator: what stands between units: a space for words, nothing for characters.
    """

    personas: tuple[str, ...]
    units: tuple[str, ...]
    separator: str


class Sample(NamedTuple):
    """n lines of text.

    Attributes:
        prompt_index: which prompt [n].
        persona: who answered [n]; hidden from whoever learns from the text.
        tokens: the responses [n, T].
    """

    prompt_index: Int[Array, " n"]
    persona: Int[Array, " n"]
    tokens: Int[Array, "n T"]


def log_prob_personas(world: World, prompt_index: Int[Array, ""], tokens: Int[Array, " T"]) -> Float[Array, " K"]:
    """Log p_k(x|c) in nats under each persona [K] of one response of any length."""
    prompt = world.prompts[prompt_index]
    return jax.vmap(lambda table: chains.log_prob(table, prompt, tokens))(world.log_experts)


def log_personas(world: World, length: int) -> Float[Array, "C K N"]:
    """Log p_k(x|c) in nats of all V^T responses [C, K, N]; refused if they are too many to list."""
    by_persona = jax.vmap(lambda table, prompt: chains.log_probs(table, prompt, length), in_axes=(0, None))
    return jax.vmap(by_persona, in_axes=(None, 0))(world.log_experts, world.prompts)


def log_base(world: World, length: int) -> Float[Array, "C N"]:
    """Log pi0(x|c) in nats of all V^T responses [C, N]: the personas mixed by the gates."""
    return numerics.log_mix(world.log_gates, log_personas(world, length))


@partial(jax.jit, static_argnums=1)
def listed(world: World, length: int) -> tuple[Int[Array, "N T"], Float[Array, "C K N"], Float[Array, "C N"]]:
    """All responses, and what each persona and the base say of them: outside of a trace too one program."""
    responses = chains.outcomes(world.log_experts.shape[-1], length)
    by_persona = log_personas(world, length)
    return responses, by_persona, numerics.log_mix(world.log_gates, by_persona)


def log_responsibilities(
    log_gates: Float[Array, "*batch K"], log_personas: Float[Array, "*batch K N"]
) -> Float[Array, "*batch K N"]:
    """Log P(persona | prompt, response) in nats of all responses [..., K, N]; the gates' own if nobody can say it."""
    said = log_gates[..., None] + log_personas
    unsaid = jnp.isneginf(said).all(axis=-2, keepdims=True)
    return jax.nn.log_softmax(jnp.where(unsaid, log_gates[..., None], said), axis=-2)


def sample(key: Key, world: World, length: int, num_lines: int) -> Sample:
    """Independent lines of text: a prompt, who answers it, and the answer of T = ``length`` tokens."""
    prompt_key, persona_key, token_key = jax.random.split(key, 3)
    prompt_index = jax.random.categorical(prompt_key, world.log_prompts, shape=(num_lines,))
    persona = jax.random.categorical(persona_key, world.log_gates[prompt_index])

    def answer(line_key: Key, c: Int[Array, ""], k: Int[Array, ""]) -> Int[Array, " T"]:
        return chains.sample(line_key, world.log_experts, k, world.prompts[c], length)

    tokens = jax.vmap(answer)(jax.random.split(token_key, num_lines), prompt_index, persona)
    return Sample(prompt_index, persona, tokens)
