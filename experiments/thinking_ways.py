"""Every way to train a policy that thinks aloud: rules, and defences of its readability."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from experiments import harness, thinkers
from toypersona import chains, rewards, trajectories
from toypersona.policies import mixture
from toypersona.policies.base import Policy, all_log_probs, with_frozen
from toypersona.rules import clipped, gradient, reinforce
from toypersona.rules.base import Optimizer, UpdateRule
from toypersona.types import Key, Params, RewardFn, Scalar
from toypersona.worlds import reasoning


@dataclasses.dataclass(frozen=True)
class Training:
    """How thinkers are trained: by Adam with a learning rate that falls to zero by a cosine, unless said otherwise."""

    learning_rate: float = 0.03
    """Adam's, at the start."""
    num_steps: int = 1500
    """Steps, exact or sampled."""
    num_samples: int = 8
    """Responses to each prompt at every step of a sampled rule."""
    plain_rate: float = 2.0
    """Learning rate of the plain gradient, without Adam."""
    readability_bonus: float = 0.1
    """Of that defence: reward for each nat of the base's log-probability of a thought."""
    num_stops: int = 20
    """Of the defence that stops early: places on the way at which it may."""


def check(config: Any, swept: str) -> None:
    """Refuse settings, shared by the experiments on thoughts, that make no map.

    Args:
        config: with ``strengths``, ``training``, ``pretraining`` and what the sweep goes over.
        swept: the name of the latter, which starts with 0.

    Raises:
        ValueError: it names the flag.
    """
    harness.check(config)
    values, flag = getattr(config, swept), swept.replace("_", "-")
    harness.check_increasing("strengths", config.strengths)
    harness.check_increasing(swept, values[1:], at_least=1)
    if values[0] != 0:
        raise ValueError(f"--{flag} has to start with 0, for comparison, not with {values[0]:g}.")
    for name in ("training", "pretraining"):
        harness.check_positive(name, getattr(config, name))
    if config.training.num_samples < 2:
        raise ValueError(f"--training.num-samples has to be 2 or more, not {config.training.num_samples}.")
    longest = reasoning.MOST_BITS + 1
    if not 2 <= config.pretraining.line_length <= longest:
        raise ValueError(
            f"--pretraining.line-length has to be from 2 to {longest}, not {config.pretraining.line_length}."
        )
    if config.pretraining.gate != thinkers.PRETRAINING.gate:
        raise ValueError(
            f"--pretraining.gate has to be {thinkers.PRETRAINING.gate}, not {config.pretraining.gate}: gates see no "
            "bits here."
        )


class Problem(NamedTuple):
    """What to train on.

    Attributes:
        base: before training.
        reward: of one response to one prompt.
        how: steps and samples.
        log_prompts: log-probability of each prompt in training [C].
        key: draws samples.
    """

    base: thinkers.Thinker
    reward: RewardFn
    how: Training
    log_prompts: Float[Array, " C"]
    key: Key


Start = Callable[[Scalar, Scalar], UpdateRule]
"""``(learning rate, beta) -> UpdateRule``."""


def exact(
    problem: Problem,
    *,
    policy: Policy | None = None,
    bonus: Float[Array, "C N"] | None = None,
    optimizer: Optimizer | None = None,
) -> Start:
    """The exact gradient of ``E[reward + bonus] - beta KL(policy‖base)``, climbed by Adam unless said otherwise."""
    base, prompts = problem.base, problem.base.world.prompts
    policy = base.made.policy if policy is None else policy
    paid = rewards.evaluate(problem.reward, prompts, chains.outcomes(base.num_words, base.length))
    paid = paid if bonus is None else paid + bonus
    how = {"log_base": all_log_probs(base.made.policy, base.params, prompts), "optimizer": optimizer or _adam(problem)}
    return lambda rate, beta: gradient.policy_gradient(
        policy, prompts, problem.log_prompts, paid, learning_rate=rate, kl_coefficient=beta, **how
    )


def sampled(problem: Problem, rule: Callable[..., UpdateRule]) -> Start:
    """A sampled rule with its own penalty on KL(policy‖base).

    GRPO's is k3 in the objective, whose gradient is another one, and it divides rewards by their spread: equal
    strengths are not the same for it.
    """
    base, prompts = problem.base, problem.base.world.prompts
    how = {"num_samples": problem.how.num_samples, "ref_params": base.params, "optimizer": _adam(problem)}

    def reward(index: Int[Array, ""], tokens: Int[Array, " T"]) -> Float[Array, ""]:
        return problem.reward(prompts[index], tokens)

    return lambda rate, beta: rule(
        base.made.policy, prompts, problem.log_prompts, reward, learning_rate=rate, kl_coefficient=beta, **how
    )


def _adam(problem: Problem) -> Optimizer:
    return lambda rate: optax.adam(optax.cosine_decay_schedule(rate, problem.how.num_steps))


def quenched(problem: Problem, start: Start, strengths: Float[Array, " S"], *, marks: int = 1) -> Params:
    """From the base to every strength at once: parameters at equally many steps, [S, marks, ...]."""
    keys = jax.random.split(problem.key, strengths.shape[0])
    return jax.vmap(lambda s, k: _walk(problem, start, s, problem.base.params, k, marks))(strengths, keys)


def annealed(problem: Problem, start: Start, strengths: Float[Array, " S"]) -> Params:
    """From each strength to the next: parameters at each, [S, 1, ...]."""

    def stronger(params: Params, at: tuple[Array, Key]) -> tuple[Params, Params]:
        path = _walk(problem, start, at[0], params, at[1], 1)
        return jax.tree.map(lambda x: x[0], path), path

    keys = jax.random.split(problem.key, strengths.shape[0])
    return jax.lax.scan(stronger, problem.base.params, (strengths, keys))[1]


def _walk(problem: Problem, start: Start, strength: Scalar, params: Params, key: Key, marks: int) -> Params:
    """Parameters at equally spaced marks of one path; the last is its end."""
    how = problem.how
    path, _, _ = trajectories.run(
        lambda rate: start(rate, 1 / strength),
        lambda params: params,
        params,
        key=key,
        marks=how.learning_rate * how.num_steps * jnp.arange(1, marks + 1) / marks,
        max_step=how.learning_rate,
    )
    return path


def _exact(problem: Problem, strengths: Float[Array, " S"]) -> Params:
    return quenched(problem, exact(problem), strengths)


def _plain(problem: Problem, strengths: Float[Array, " S"]) -> Params:
    how = dataclasses.replace(problem.how, learning_rate=problem.how.plain_rate)
    return quenched(problem._replace(how=how), exact(problem, optimizer=optax.sgd), strengths)


def _readability_bonus(problem: Problem, strengths: Float[Array, " S"]) -> Params:
    """The reward grows with the base's log-probability of the thoughts, nats a thought."""
    base = problem.base
    log_thoughts = jax.nn.logsumexp(base.joint(base.params), axis=(1, 3)) / (base.length - 1)
    bonus = problem.how.readability_bonus * jnp.repeat(log_thoughts, base.num_words, axis=1)
    return quenched(problem, exact(problem, bonus=bonus), strengths)


def _frozen_thoughts(problem: Problem, strengths: Float[Array, " S"]) -> Params:
    """Answers alone learn, what is said where a mark is read; thoughts are frozen, and so is who speaks."""
    base = problem.base
    units = jnp.arange(len(base.labels.units))
    answers = (units >= base.labels.units.index(reasoning.MARKS[0])).astype(float)
    mask = jnp.broadcast_to(answers[None, :, None, None], base.params["experts"].shape)
    policy = with_frozen(base.made.policy, {"gate": 0.0, "experts": mask})
    return quenched(problem, exact(problem, policy=policy), strengths)


def _gates_only(problem: Problem, strengths: Float[Array, " S"]) -> Params:
    policy = mixture.scoped(problem.base.made.policy, mixture.SCOPES["gates"])
    return quenched(problem, exact(problem, policy=policy), strengths)


def _early_stop(problem: Problem, strengths: Float[Array, " S"]) -> Params:
    """The last stop before selection falls below half of the drift; the base if it never is half of it."""
    num_stops = problem.how.num_stops
    paths = quenched(problem, exact(problem), strengths, marks=num_stops)
    spent = jax.lax.map(lambda path: jax.lax.map(lambda params: thinkers.spent(problem.base, params), path), paths)
    above = spent.selection_fraction >= 0.5
    falls = above[:, :-1] & ~above[:, 1:]
    last = jnp.where(falls.any(axis=1), falls.argmax(axis=1), num_stops - 1)
    kept = jnp.where(above.any(axis=1), 1 + last, 0)

    def pick(path: Array, base: Array) -> Array:
        whole = jnp.concatenate([jnp.broadcast_to(base, path[:, :1].shape), path], axis=1)
        return jax.vmap(lambda along, i: along[i][None])(whole, kept)

    return jax.tree.map(pick, paths, problem.base.params)


Way = Callable[[Problem, Float[Array, " S"]], Params]
"""Parameters at every strength, [S, 1, ...]."""

RULES: dict[str, Way] = {
    "exact": _exact,
    "annealed": lambda problem, strengths: annealed(problem, exact(problem), strengths),
    "plain gradient": _plain,
    "RLOO": lambda problem, strengths: quenched(problem, sampled(problem, reinforce.rloo), strengths),
    "GRPO": lambda problem, strengths: quenched(problem, sampled(problem, clipped.grpo), strengths),
}
DEFENCES: dict[str, Way] = {
    "readability bonus": _readability_bonus,
    "frozen thoughts": _frozen_thoughts,
    "gates only": _gates_only,
    "early stop": _early_stop,
}
