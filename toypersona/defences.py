"""Training policies that think aloud: by several rules, and with defences of the readability of their thoughts."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from toypersona import rewards, thinkers, trajectories
from toypersona.bases import Base
from toypersona.options import Training
from toypersona.policies import mixture
from toypersona.policies.policy import with_frozen
from toypersona.rules import clipped, gradient, reinforce
from toypersona.rules.rule import Optimizer, Task, UpdateRule
from toypersona.trajectories import Start
from toypersona.types import Key, Params, RewardFn
from toypersona.worlds import reasoning

Train = Callable[[Base, RewardFn, Training, Float[Array, " S"], Key], Params]
"""``(base, reward, options, strengths [S], key) -> params [S, 1, ...]``: from the base to every strength s = 1/beta."""


def _adam(options: Training) -> Optimizer:
    return lambda rate: optax.adam(optax.cosine_decay_schedule(rate, options.num_steps))


def exact(base: Base, task: Task, optimizer: Optimizer) -> Start:
    """The exact gradient of ``E[reward] - beta KL(policy‖base)``."""
    return lambda rate, beta: gradient.policy_gradient(
        task, learning_rate=rate, kl_coefficient=beta, log_base=base.log_base, optimizer=optimizer
    )


def sampled(base: Base, reward: RewardFn, options: Training, rule: Callable[..., UpdateRule]) -> Start:
    """A sampled rule with its own penalty on KL(policy‖base), by Adam.

    GRPO's is k3 in the objective, whose gradient is another one, and it divides rewards by their spread: equal
    strengths are not the same for it.
    """
    task = base.task(lambda index, tokens: reward(base.prompts[index], tokens))
    return lambda rate, beta: rule(
        task,
        learning_rate=rate,
        kl_coefficient=beta,
        num_samples=options.num_samples,
        ref_params=base.params,
        optimizer=_adam(options),
    )


def listed(base: Base, reward: RewardFn) -> Float[Array, "C N"]:
    """The reward of every response."""
    return rewards.evaluate(reward, base.prompts, base.responses)


def from_base(
    start: Start, base: Base, options: Training, strengths: Float[Array, " S"], key: Key, num_marks: int = 1
) -> Params:
    """From the base to every strength: parameters at equally spaced marks, [S, num_marks, ...]."""
    steps = {"learning_rate": options.learning_rate, "num_steps": options.num_steps}
    return trajectories.from_base(start, base.params, strengths, key=key, num_marks=num_marks, **steps)


def _exactly(base: Base, task: Task, options: Training, strengths: Array, key: Key, num_marks: int = 1) -> Params:
    return from_base(exact(base, task, _adam(options)), base, options, strengths, key, num_marks)


def _exact(base: Base, reward: RewardFn, options: Training, strengths: Float[Array, " S"], key: Key) -> Params:
    return _exactly(base, base.task(listed(base, reward)), options, strengths, key)


def _annealed(base: Base, reward: RewardFn, options: Training, strengths: Float[Array, " S"], key: Key) -> Params:
    """From each strength to the next."""
    start = exact(base, base.task(listed(base, reward)), _adam(options))
    steps = {"learning_rate": options.learning_rate, "num_steps": options.num_steps}
    return trajectories.annealed(start, base.params, strengths, key=key, **steps)


def _plain(base: Base, reward: RewardFn, options: Training, strengths: Float[Array, " S"], key: Key) -> Params:
    """Without Adam."""
    start = exact(base, base.task(listed(base, reward)), optax.sgd)
    steps = {"learning_rate": options.plain_rate, "num_steps": options.num_steps}
    return trajectories.from_base(start, base.params, strengths, key=key, **steps)


def _sampled(rule: Callable[..., UpdateRule]) -> Train:
    return lambda base, reward, options, strengths, key: from_base(
        sampled(base, reward, options, rule), base, options, strengths, key
    )


def _readability_bonus(
    base: Base, reward: RewardFn, options: Training, strengths: Float[Array, " S"], key: Key
) -> Params:
    """The reward grows with the base's log-probability of the thoughts, nats a thought."""
    log_thoughts = jax.nn.logsumexp(thinkers.joint(base, base.params), axis=(1, 3)) / (base.length - 1)
    bonus = options.readability_bonus * jnp.repeat(log_thoughts, base.num_words, axis=1)
    return _exactly(base, base.task(listed(base, reward) + bonus), options, strengths, key)


def _frozen_thoughts(
    base: Base, reward: RewardFn, options: Training, strengths: Float[Array, " S"], key: Key
) -> Params:
    """Answers alone learn, what is said where a mark is read; thoughts are frozen, and so is who speaks."""
    marks = jnp.arange(len(base.labels.units)) >= base.labels.units.index(reasoning.MARKS[0])
    policy = with_frozen(base.policy, mixture.after_reading(base.params, marks.astype(float)))
    return _exactly(base, base.task(listed(base, reward))._replace(policy=policy), options, strengths, key)


def _gates_only(base: Base, reward: RewardFn, options: Training, strengths: Float[Array, " S"], key: Key) -> Params:
    return _exactly(base, base.task(listed(base, reward), "gates"), options, strengths, key)


def _early_stop(base: Base, reward: RewardFn, options: Training, strengths: Float[Array, " S"], key: Key) -> Params:
    """The last stop before selection falls below half of the drift; the base if it never is half of it."""
    num_stops = options.num_stops
    paths = _exactly(base, base.task(listed(base, reward)), options, strengths, key, num_stops)
    spent = jax.lax.map(lambda path: jax.lax.map(lambda params: base.budget(base.law(params)), path), paths)
    kept = last_stop(spent.selection_fraction)

    def pick(path: Array, start: Array) -> Array:
        whole = jnp.concatenate([jnp.broadcast_to(start, path[:, :1].shape), path], axis=1)
        return jax.vmap(lambda along, i: along[i][None])(whole, kept)

    return jax.tree.map(pick, paths, base.params)


def last_stop(selection_fraction: Float[Array, "S R"]) -> Array:
    """The last of R stops before the selection fraction falls below one half, from 1; 0 if it never is half [S]."""
    above = selection_fraction >= 0.5
    falls = above[:, :-1] & ~above[:, 1:]
    last = jnp.where(falls.any(axis=1), falls.argmax(axis=1), selection_fraction.shape[1] - 1)
    return jnp.where(above.any(axis=1), 1 + last, 0)


RULES: dict[str, Train] = {
    "exact": _exact,
    "annealed": _annealed,
    "plain gradient": _plain,
    "RLOO": _sampled(reinforce.rloo),
    "GRPO": _sampled(clipped.grpo),
}
DEFENCES: dict[str, Train] = {
    "readability bonus": _readability_bonus,
    "frozen thoughts": _frozen_thoughts,
    "gates only": _gates_only,
    "early stop": _early_stop,
}
