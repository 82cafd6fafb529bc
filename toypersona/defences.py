"""Training policies that think aloud: by several rules, and with defences that are to keep their thoughts readable."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona import rewards, thinkers, trajectories
from toypersona.bases import Base
from toypersona.options import Training
from toypersona.policies import mixture
from toypersona.policies.policy import with_frozen
from toypersona.rules import clipped, gradient, reinforce
from toypersona.rules.rule import Optimizer, Task, UpdateRule
from toypersona.types import Key, Params, RewardFn
from toypersona.worlds import reasoning

Train = Callable[[Base, RewardFn, Training, Float[Array, " S"], Key], Params]
"""``(base, reward, options, strengths [S], key) -> params [S, 1, ...]``: from the base to every strength s = 1/beta."""

MakeTask = Callable[[Base, Float[Array, "C N"], Training], Task]
"""``(base, reward of every response [C, N], options) -> Task``."""


def _adam(options: Training) -> Optimizer:
    return lambda rate: optax.adam(optax.cosine_decay_schedule(rate, options.num_steps))


def listed(base: Base, reward: RewardFn) -> Float[Array, "C N"]:
    """The reward of every response."""
    return rewards.evaluate(reward, base.prompts, base.responses)


def _exact(
    make_task: MakeTask = lambda base, paid, _: base.task(paid),
    walk: Callable[..., Params] = trajectories.from_base,
    plain: bool = False,
) -> Train:
    """The exact gradient of ``E[reward] - beta KL(policy‖base)``; a plain one is without Adam."""

    def train(base: Base, reward: RewardFn, options: Training, strengths: Float[Array, " S"], key: Key) -> Params:
        task = make_task(base, listed(base, reward), options)
        return _walk(base, task, options, base.params, strengths, key, walk, plain)

    return train


def _walk(
    base: Base,
    task: Task,
    options: Training,
    params: Params,
    strengths: Float[Array, " S"],
    key: Key,
    walk: Callable[..., Params],
    plain: bool = False,
) -> Params:
    """The exact gradient with a penalty, from any parameters; ``walk`` says how from one strength to another."""
    optimizer, rate = (optax.sgd, options.plain_rate) if plain else (_adam(options), options.learning_rate)
    start = lambda step, beta: gradient.policy_gradient(  # noqa: E731
        task, learning_rate=step, kl_coefficient=beta, log_base=base.log_base, optimizer=optimizer
    )
    return walk(start, params, strengths, key=key, learning_rate=rate, num_steps=options.num_steps)


def annealed_from(
    params: Params, base: Base, reward: RewardFn, options: Training, strengths: Float[Array, " S"], key: Key
) -> Params:
    """By the exact gradient from any parameters, then from each strength to the next: [S, 1, ...].

    Strengths that fall show what is given up again, and where: later than it was taken up, where there is a barrier.
    """
    return _walk(base, base.task(listed(base, reward)), options, params, strengths, key, trajectories.annealed)


def _sampled(rule: Callable[..., UpdateRule]) -> Train:
    """A sampled rule with its own penalty on KL(policy‖base), by Adam.

    GRPO's is k3 in the objective, whose gradient is another one, and it divides rewards by their spread: equal
    strengths are not the same for it.
    """

    def train(base: Base, reward: RewardFn, options: Training, strengths: Float[Array, " S"], key: Key) -> Params:
        task = base.task(lambda index, tokens: reward(base.prompts[index], tokens))
        fixed = {"num_samples": options.num_samples, "ref_params": base.params, "optimizer": _adam(options)}
        start = lambda step, beta: rule(task, learning_rate=step, kl_coefficient=beta, **fixed)  # noqa: E731
        steps = {"learning_rate": options.learning_rate, "num_steps": options.num_steps}
        return trajectories.from_base(start, base.params, strengths, key=key, **steps)

    return train


def _with_bonus(base: Base, paid: Float[Array, "C N"], options: Training) -> Task:
    """The reward grows with the base's log-probability of the thoughts, nats a thought."""
    log_thoughts = jax.nn.logsumexp(thinkers.joint(base, base.params), axis=(1, 3)) / (base.length - 1)
    return base.task(paid + options.log_probability_bonus * jnp.repeat(log_thoughts, base.num_words, axis=1))


def _answers_alone(base: Base, paid: Float[Array, "C N"], _: Training) -> Task:
    """Only what is said where a mark is read learns; thoughts are frozen, and so is who speaks."""
    marks = jnp.arange(len(base.labels.units)) >= base.labels.units.index(reasoning.MARKS[0])
    policy = with_frozen(base.policy, mixture.after_reading(base.params, marks.astype(float)))
    return base.task(paid)._replace(policy=policy)


def _early_stop(base: Base, reward: RewardFn, options: Training, strengths: Float[Array, " S"], key: Key) -> Params:
    """The last stop before selection falls below half of the drift; the base if it never is half of it."""
    walk = partial(trajectories.from_base, num_marks=options.num_stops)
    paths = _exact(walk=walk)(base, reward, options, strengths, key)
    spent = jax.lax.map(lambda path: jax.lax.map(lambda params: base.budget(base.law(params)), path), paths)
    return at_stop(base.params, paths, last_stop(spent.selection_fraction))


def at_stop(start: Params, paths: Params, kept: Int[Array, " S"]) -> Params:
    """Parameters [S, 1, ...] at one stop of each path [S, R, ...], from 1; at the start if its number is 0."""

    def pick(start: Array, path: Array) -> Array:
        whole = jnp.concatenate([jnp.broadcast_to(start, path[:, :1].shape), path], axis=1)
        return jax.vmap(lambda along, i: along[i][None])(whole, kept)

    return jax.tree.map(pick, start, paths)


def last_stop(selection_fraction: Float[Array, "S R"]) -> Array:
    """The last of R stops before the selection fraction falls below one half, from 1; 0 if it never is half [S]."""
    above = selection_fraction >= 0.5
    falls = above[:, :-1] & ~above[:, 1:]
    last = jnp.where(falls.any(axis=1), falls.argmax(axis=1), selection_fraction.shape[1] - 1)
    return jnp.where(above.any(axis=1), 1 + last, 0)


RULES: dict[str, Train] = {
    "exact": _exact(),
    "annealed": _exact(walk=trajectories.annealed),
    "plain gradient": _exact(plain=True),
    "RLOO": _sampled(reinforce.rloo),
    "GRPO": _sampled(clipped.grpo),
}
DEFENCES: dict[str, Train] = {
    "log-probability bonus": _exact(_with_bonus),
    "frozen thoughts": _exact(_answers_alone),
    "gates only": _exact(lambda base, paid, _: base.task(paid, "gates")),
    "early stop": _early_stop,
}
