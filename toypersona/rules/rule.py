"""The interface of an update rule: two pure functions, as in optax, so that a rule scans, vmaps and nests.

Constructors carry the methods' own names, take a ``Task`` and then their hyperparameters as traced keyword arguments:
build the rule inside the traced function, and one compiled sweep serves every value. A rule knows a ``Policy`` and a
reward, never a world.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona import rewards
from toypersona.policies.policy import Policy
from toypersona.rewards import SampledReward
from toypersona.types import Key, Params, Scalar

Optimizer = Callable[[Any], optax.GradientTransformation]
"""Makes an optax transform from a (traced) learning rate: ``optax.sgd``, ``optax.adam``, ..."""


class Task(NamedTuple):
    """What there is to learn.

    Attributes:
        policy: the family that learns; freeze parts of it to restrict the scope.
        prompts: [C, P].
        log_prompts: log rho(c) [C].
        reward: of every response [C, N], or a function ``(prompt index [], tokens [T]) -> []`` where responses are too
            many to list; then exact rules have nothing to sum over.
    """

    policy: Policy
    prompts: Int[Array, "C P"]
    log_prompts: Float[Array, " C"]
    reward: Float[Array, "C N"] | SampledReward

    def table(self) -> Float[Array, "C N"]:
        """The reward of every response [C, N].

        Raises:
            ValueError: it is a function.
        """
        if callable(self.reward):
            raise ValueError(
                "An exact rule sums over all responses, so its task's reward has to be an array [C, N]: "
                "rewards.evaluate makes one of a function."
            )
        return self.reward

    def pay(self, tokens: Int[Array, "B M T"], prompt_index: Int[Array, " B"] | None = None) -> Float[Array, "B M"]:
        """The reward of M responses to each of some prompts; to all of them in order by default."""
        reward = self.reward if callable(self.reward) else rewards.lookup(self.reward)
        which = jnp.arange(tokens.shape[0]) if prompt_index is None else prompt_index
        return jax.vmap(jax.vmap(reward, in_axes=(None, 0)))(which, tokens)


class RuleState(NamedTuple):
    """What a rule carries from step to step."""

    params: Params
    opt_state: Any = ()


class UpdateRule(NamedTuple):
    """A way to train.

    Attributes:
        init: ``(params) -> RuleState``.
        update: ``(key, state) -> (state, info)``; ``info`` is a dict of scalars that are not carried on.
    """

    init: Callable[[Params], RuleState]
    update: Callable[[Key, RuleState], tuple[RuleState, dict[str, Float[Array, ""]]]]


def is_off(coefficient: Scalar) -> bool:
    """Whether a coefficient is known to be zero before anything is traced, so that its term can be left out."""
    return isinstance(coefficient, int | float) and coefficient == 0


def climb(optimizer: optax.GradientTransformation, state: RuleState, uphill: Params) -> RuleState:
    """One step of an optax optimiser, which goes downhill, along a direction that goes up."""
    updates, opt_state = optimizer.update(jax.tree.map(jnp.negative, uphill), state.opt_state, state.params)
    return RuleState(optax.apply_updates(state.params, updates), opt_state)


def start(optimizer: optax.GradientTransformation, params: Params) -> RuleState:
    """The state before the first step."""
    return RuleState(params, optimizer.init(params))


def ascend(
    direction: Callable[[Key, Params], tuple[Params, dict[str, Array]]], optimizer: optax.GradientTransformation
) -> UpdateRule:
    """The rule that follows ``direction(key, params) -> (direction, info)`` uphill with an optax optimiser."""

    def update(key: Key, state: RuleState) -> tuple[RuleState, dict[str, Array]]:
        uphill, info = direction(key, state.params)
        return climb(optimizer, state, uphill), info

    return UpdateRule(lambda params: start(optimizer, params), update)
