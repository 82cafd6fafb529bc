"""When noise picks the wrong arm: REINFORCE at growing learning rate, between two answers and between personas."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import chains, theory
from toypersona.bases import Base
from toypersona.measures import boundaries
from toypersona.policies import tabular
from toypersona.rules import reinforce
from toypersona.rules.rule import Task
from toypersona.types import Key, Scalar

BASELINES = ("none", "mean reward")

SETTLED = 0.9
"""Probability from which an answer, or a persona, counts as chosen."""


def answers(reward: Float[Array, " N"]) -> Task:
    """A task of one prompt and responses of one word, on a table."""
    prompts = jnp.zeros((1, 1), int)
    return Task(tabular.tabular(prompts, reward.shape[0], 1), prompts, jnp.zeros(1), reward[None])


def two_answers(
    key: Key,
    gaps: Float[Array, " G"],
    rates: Float[Array, " L"],
    *,
    deviation: Scalar,
    num_runs: int,
    max_steps: int,
) -> dict[str, Array]:
    """Share of REINFORCE's runs that settle on the worse of two answers, whose mean rewards are 1 ± gap/2.

    As it is, and with the mean of the two as baseline, which takes nothing but the square of the mean from ``E[r²]``.

    Args:
        key: one key; the same draws at every gap and rate.
        gaps: differences of the mean rewards [G].
        rates: learning rates, in units of the law's noise threshold [L].
        deviation: standard deviation of each answer's reward, which is one of two values.
        num_runs: independent runs at each.
        max_steps: a run that has not settled by then is counted as neither.

    Returns:
        For each of ``BASELINES``: ``noise_wrong``, ``unsettled`` and ``noise_law`` [B, G, L], and the law's
        ``threshold`` [B, G].
    """
    baselines = jnp.array([0.0, 1.0])
    mean_square = (1 - baselines[:, None]) ** 2 + gaps[None] ** 2 / 4 + deviation**2
    each_gap = jnp.broadcast_to(gaps, mean_square.shape)
    thresholds = theory.noise_threshold(each_gap, mean_square, share=SETTLED, wrong=boundaries.WRONG)

    def share(inputs: tuple[Array, ...]) -> tuple[Array, Array, Array]:
        baseline, gap, square, learning_rate = inputs
        means = jnp.stack([1 + gap / 2, 1 - gap / 2]) - baseline
        settled = lambda params: jax.nn.softmax(params).max(axis=(1, 2)) >= SETTLED  # noqa: E731

        def moved(key: Key, params: Array) -> Array:
            reward_key, step_key = jax.random.split(key)
            reward = means + deviation * jax.random.rademacher(reward_key, (2,), means.dtype)
            rule = reinforce.reinforce(answers(reward), learning_rate=learning_rate)
            return rule.update(step_key, rule.init(params))[0].params

        def step(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            params, i = carry
            keys = jax.random.split(jax.random.fold_in(key, i), num_runs)
            return jnp.where(settled(params)[:, None, None], params, jax.vmap(moved)(keys, params)), i + 1

        start = (jnp.zeros((num_runs, 1, 2)), jnp.asarray(0))
        last, _ = jax.lax.while_loop(lambda c: ~settled(c[0]).all() & (c[1] < max_steps), step, start)
        wrong = settled(last) & (last[:, 0, 1] > last[:, 0, 0])
        law = theory.lock_in(gap, square, learning_rate, share=SETTLED)
        return wrong.mean(), (~settled(last)).mean(), law

    learning_rates = thresholds[..., None] * rates[None, None]
    spread = lambda x, axes: jnp.broadcast_to(jnp.expand_dims(x, axes), learning_rates.shape)  # noqa: E731
    grid = spread(baselines, (1, 2)), spread(each_gap, 2), spread(mean_square, 2), learning_rates
    shares = jax.lax.map(share, jax.tree.map(jnp.ravel, grid))
    wrong, unsettled, law = (x.reshape(learning_rates.shape) for x in shares)
    return {"noise_wrong": wrong, "unsettled": unsettled, "noise_law": law, "threshold": thresholds}


def personas(
    key: Key,
    base: Base,
    reward: Float[Array, "C N"],
    learning_rates: Float[Array, " L"],
    *,
    num_runs: int,
    num_steps: int,
) -> Float[Array, " L"]:
    """How often REINFORCE on a table of gates locks onto a wrong persona, at each learning rate [L].

    The runs are those of ``rules.reinforce`` in the scope gates, with its draws. What every persona would say does not
    depend on the gates, and so is drawn once for all rates; the gradient is ``r rho (P(k|x) - w_k)``.

    Args:
        key: one key; the same draws at every rate.
        base: of a mixture; the table starts at its gates, and its experts stay what they are.
        reward: [C, N].
        learning_rates: [L].
        num_runs: independent runs at each.
        num_steps: one sampled response to each prompt a step.
    """
    mean_rewards = jnp.einsum("ckn,cn->ck", jnp.exp(base.log_personas), reward)
    tables = base.speakers.log_tables(base.params)  # pyright: ignore[reportOptionalCall]
    personas, digits = jnp.arange(base.num_personas), base.num_words ** jnp.arange(base.length - 1, -1, -1)

    def gradient(key: Key, logits: Array, prompt: Array, paid: Array, log_personas: Array) -> Float[Array, " K"]:
        """Of one prompt's logits, by one response."""
        persona_key, token_key = jax.random.split(key)
        said = jax.vmap(lambda k: chains.sample(token_key, tables, k, prompt, base.length))(personas) @ digits
        log_gates = jax.nn.log_softmax(logits)
        response = said[jax.random.categorical(persona_key, log_gates)]
        return paid[response] * (jax.nn.softmax(log_gates + log_personas[:, response]) - jnp.exp(log_gates))

    def wrong(learning_rate: Scalar, run_key: Key) -> Float[Array, ""]:
        def step(logits: Float[Array, "C K"], key: Key) -> tuple[Float[Array, "C K"], None]:
            # As ``rollouts.train`` splits its key: what is left over would draw noise on the reward.
            keys = jax.random.split(jax.random.split(key)[0], (logits.shape[0], 1))[:, 0]
            slopes = jax.vmap(gradient)(keys, logits, base.prompts, reward, base.log_personas)
            return logits + learning_rate * base.rho[:, None] * slopes, None

        last, _ = jax.lax.scan(step, base.log_gates, jax.random.split(run_key, num_steps))
        return locked_wrong(jax.nn.softmax(last), mean_rewards, base.log_prompts)

    runs = jax.random.split(key, num_runs)
    return jax.vmap(lambda rate: jax.vmap(lambda k: wrong(rate, k))(runs).mean())(learning_rates)


def locked_wrong(
    gates: Float[Array, "C K"], mean_rewards: Float[Array, "C K"], log_prompts: Float[Array, " C"]
) -> Float[Array, ""]:
    """The probability that a prompt's gate w(c) gives ``SETTLED`` or more to a persona that does not pay best.

    By their mean rewards ``E_{p_k}[r(c, .)]``; where all pay the same every persona is a wrong one to lock onto.
    """
    paid = jnp.take_along_axis(mean_rewards, gates.argmax(axis=-1)[:, None], axis=-1)[:, 0]
    wrong = (mean_rewards.max(axis=-1) > paid) | (jnp.ptp(mean_rewards, axis=-1) < 1e-9)
    return jnp.exp(log_prompts) @ ((gates.max(axis=-1) >= SETTLED) & wrong).astype(float)
