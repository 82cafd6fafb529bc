"""When noise picks the worse of two answers: REINFORCE at growing learning rate."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from experiments import maps
from toypersona import theory
from toypersona.measures import boundaries
from toypersona.policies import tabular
from toypersona.policies.base import Policy
from toypersona.rules import reinforce
from toypersona.types import Key

SETTLED = 0.9
"""Probability from which an answer counts as chosen."""


@dataclasses.dataclass(frozen=True)
class LockIn:
    """REINFORCE between two answers that pay 1 + gap/2 and 1 - gap/2."""

    gaps: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    """Differences of the rewards; increasing."""
    rates: tuple[float, ...] = maps.geometric(0.35, 5.6, 9)
    """Learning rates, in units of the law's noise threshold; increasing."""
    num_runs: int = 600
    """Independent runs at each, in every seed."""
    max_steps: int = 40_000
    """A run that has not settled by then is counted as neither."""


def answers(num: int) -> tuple[Policy, Array]:
    """A policy of one prompt and responses of one word."""
    prompts = jnp.zeros((1, 1), int)
    return tabular.tabular(prompts, num, 1), prompts


def lock_in(how: LockIn, key: Key) -> dict[str, Array]:
    """Share of REINFORCE's runs that settle on the worse of two answers, at every gap and learning rate."""
    policy, prompts = answers(2)
    gaps = jnp.asarray(how.gaps)
    mean_square = 1 + gaps**2 / 4
    thresholds = theory.noise_threshold(gaps, mean_square, share=SETTLED, wrong=boundaries.WRONG)

    def share(inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        gap, learning_rate = inputs
        pay = jnp.array([1 + gap / 2, 1 - gap / 2])
        rule = reinforce.reinforce(
            policy, prompts, jnp.zeros(1), lambda c, tokens: pay[tokens[0]], learning_rate=learning_rate
        )

        def settled(params: Float[Array, "R 1 2"]) -> Float[Array, " R"]:
            return jax.nn.softmax(params).max(axis=(1, 2)) >= SETTLED

        def step(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            params, i = carry
            keys = jax.random.split(jax.random.fold_in(key, i), how.num_runs)
            moved = jax.vmap(lambda k, p: rule.update(k, rule.init(p))[0].params)(keys, params)
            return jnp.where(settled(params)[:, None, None], params, moved), i + 1

        start = (jnp.zeros((how.num_runs, 1, 2)), jnp.asarray(0))
        last, _ = jax.lax.while_loop(lambda c: ~settled(c[0]).all() & (c[1] < how.max_steps), step, start)
        wrong = settled(last) & (last[:, 0, 1] > last[:, 0, 0])
        return wrong.mean(), (~settled(last)).mean()

    rates = thresholds[:, None] * jnp.asarray(how.rates)[None]
    grid = jnp.broadcast_to(gaps[:, None], rates.shape)
    wrong, unsettled = jax.lax.map(share, (grid.reshape(-1), rates.reshape(-1)))
    at = jax.vmap(lambda *given: theory.lock_in(*given, share=SETTLED), (None, None, 0))
    law = jax.vmap(at)(gaps, mean_square, rates)
    return {
        "noise_wrong": wrong.reshape(rates.shape),
        "unsettled": unsettled.reshape(rates.shape),
        "noise_law": law,
        "threshold": thresholds,
    }
