"""Random worlds: Dirichlet chains and gates, for scatter plots and for scaling."""

import math
from functools import partial

import jax
import jax.numpy as jnp

from toypersona.options import check_prompts, check_tables
from toypersona.types import Key
from toypersona.worlds import names
from toypersona.worlds.world import Labels, World


def markov(
    key: Key,
    *,
    num_personas: int = 3,
    num_words: int = 8,
    num_prompts: int = 6,
    order: int = 1,
    concentration: float = 0.5,
    gate_concentration: float = 1.0,
) -> tuple[World, Labels]:
    """A random world; the same key and sizes make the same one.

    The sizes are those of ``options.MarkovOptions``: K personas, V words, of which prompts are made too (U = V), and C
    different prompts of max(2, order) words, all as likely.

    Raises:
        ValueError: sizes below 1, concentrations not above 0, or more prompts than there are different ones.
    """
    prompt_length = max(2, order)
    if min(num_personas, num_words, num_prompts, order) < 1 or min(concentration, gate_concentration) <= 0:
        raise ValueError(
            f"A markov world needs sizes of 1 or more and concentrations above 0, not {num_personas} personas, "
            f"{num_words} words, {num_prompts} prompts, order {order}, concentrations {concentration} and "
            f"{gate_concentration}."
        )
    check_prompts(num_words, prompt_length, num_prompts)
    check_tables(num_personas, num_words, num_words, order)
    tables = (num_prompts, num_personas), (num_personas, *(num_words,) * (order + 1))
    world = _drawn(key, (gate_concentration, concentration), (num_words,) * prompt_length, *tables)
    return world, Labels(names.numbered(num_personas), tuple(f"w{i}" for i in range(num_words)), " ")


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _drawn(
    key: Key,
    concentrations: tuple[float, float],
    prompts: tuple[int, ...],
    gates: tuple[int, ...],
    experts: tuple[int, ...],
) -> World:
    """A world of given shapes, of ``prompts`` that of all there could be; outside of a trace too one program."""
    prompt_key, gate_key, expert_key = jax.random.split(key, 3)
    chosen = jax.random.choice(prompt_key, math.prod(prompts), gates[:1], replace=False)
    return World(
        prompts=jnp.stack(jnp.unravel_index(chosen, prompts), axis=-1),
        log_prompts=jnp.full(gates[0], -jnp.log(gates[0])),
        log_gates=_log_dirichlet(gate_key, concentrations[0], gates),
        log_experts=_log_dirichlet(expert_key, concentrations[1], experts),
    )


def _log_dirichlet(key: Key, concentration: float, shape: tuple[int, ...]) -> jax.Array:
    """Log of Dirichlet draws along the last axis, from log-gammas: small concentrations do not underflow."""
    return jax.nn.log_softmax(jax.random.loggamma(key, concentration, shape), axis=-1)
