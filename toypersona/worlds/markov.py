"""Random worlds: Dirichlet chains and gates, for scatter plots and for scaling."""

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
    prompt_key, gate_key, expert_key = jax.random.split(key, 3)
    chosen = jax.random.choice(prompt_key, num_words**prompt_length, (num_prompts,), replace=False)
    prompts = jnp.stack(jnp.unravel_index(chosen, (num_words,) * prompt_length), axis=-1)
    world = World(
        prompts=prompts,
        log_prompts=jnp.full(num_prompts, -jnp.log(num_prompts)),
        log_gates=_log_dirichlet(gate_key, gate_concentration, (num_prompts, num_personas)),
        log_experts=_log_dirichlet(expert_key, concentration, (num_personas, *(num_words,) * (order + 1))),
    )
    return world, Labels(names.numbered(num_personas), tuple(f"w{i}" for i in range(num_words)), " ")


def _log_dirichlet(key: Key, concentration: float, shape: tuple[int, ...]) -> jax.Array:
    """Log of Dirichlet draws along the last axis, from log-gammas: small concentrations do not underflow."""
    return jax.nn.log_softmax(jax.random.loggamma(key, concentration, shape), axis=-1)
