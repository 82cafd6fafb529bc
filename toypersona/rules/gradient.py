"""Exact policy gradients: expectations are sums over every response, so nothing is sampled and ``key`` is not used.

Objective ``J = E_c[ E_pi[r] - beta KL(pi(.|c)‖pi0(.|c)) ]``. Its gradient is ``E_pi[A grad log pi]`` with the advantage
``A = r - beta log(pi/pi0)`` minus its mean (Sutton et al. 1999). The natural gradient (Amari 1998, Kakade 2001) divides
by the Fisher matrix ``F = E_pi[grad log pi grad log pi^T]``; on a tabular policy it is A itself, and its path is the
exponential tilt's.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from toypersona.policies.policy import all_probs
from toypersona.rules.advantages import SPREAD
from toypersona.rules.rule import Optimizer, Task, UpdateRule, ascend, is_off
from toypersona.types import Key, Params, Scalar


class _Linearised(NamedTuple):
    """What both rules need of the policy at its current parameters."""

    joint: Float[Array, "C N"]
    advantages: Float[Array, "C N"]
    push_forward: Callable[[Params], Float[Array, "C N"]]
    pull_back: Callable[[Float[Array, "C N"]], Params]


def _linearise(task: Task, kl_coefficient: Scalar, log_base: Float[Array, "C N"] | None, params: Params) -> _Linearised:
    """The policy and A, with the Jacobian of rho pi in the parameters (``push_forward``) and its transpose."""
    rho, reward = jnp.exp(task.log_prompts)[:, None], task.table()
    joint, push_forward = jax.linearize(lambda p: rho * all_probs(task.policy, p, task.prompts), params)
    transpose = jax.linear_transpose(push_forward, params)
    probs = joint / rho
    returns = reward
    if log_base is not None:
        spent = jnp.log(jnp.maximum(probs, jnp.finfo(probs.dtype).tiny)) - log_base
        # What neither can say costs nothing: -inf less -inf would be nan.
        spent = jnp.where((probs == 0) & jnp.isneginf(log_base), 0.0, spent)
        returns = reward - kl_coefficient * spent
    advantages = returns - (probs * returns).sum(axis=-1, keepdims=True)
    return _Linearised(joint, advantages, push_forward, lambda cotangent: transpose(cotangent)[0])


def _check_base(kl_coefficient: Scalar, log_base: Array | None) -> None:
    if log_base is None and not is_off(kl_coefficient):
        raise ValueError("kl_coefficient needs log_base, the base policy's log-probabilities [C, N]: pass both.")


def policy_gradient(
    task: Task,
    *,
    learning_rate: Scalar,
    kl_coefficient: Scalar = 0.0,
    log_base: Float[Array, "C N"] | None = None,
    normalise: bool = False,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Exact (vanilla) policy gradient.

    Args:
        task: its policy and its reward are listed.
        learning_rate: step length; 0 is the identity.
        kl_coefficient: beta, weight of KL(pi‖pi0) in the objective.
        log_base: log pi0 [C, N], needed for a KL coefficient.
        normalise: divide each prompt's advantages by their standard deviation, as GRPO does with a large group.
        optimizer: optax constructor that takes the learning rate.

    Returns:
        An ``UpdateRule`` whose info holds the ``gradient_norm``.

    Raises:
        ValueError: a KL coefficient without ``log_base``, or a reward that is a function.
    """
    _check_base(kl_coefficient, log_base)

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        del key
        at = _linearise(task, kl_coefficient, log_base, params)
        advantages = at.advantages
        if normalise:
            variance = (at.joint * advantages**2).sum(axis=-1, keepdims=True) / jnp.exp(task.log_prompts)[:, None]
            advantages = advantages / (jnp.sqrt(variance) + SPREAD)
        gradient = at.pull_back(advantages)
        return gradient, {"gradient_norm": optax.tree.norm(gradient)}

    return ascend(direction, optimizer(learning_rate))


def natural_gradient(
    task: Task,
    *,
    learning_rate: Scalar,
    kl_coefficient: Scalar = 0.0,
    log_base: Float[Array, "C N"] | None = None,
    optimizer: Optimizer = optax.sgd,
    damping: Scalar = 1e-6,
    tolerance: float = 1e-4,
    max_iterations: int = 20,
) -> UpdateRule:
    """Exact natural policy gradient: solves ``(F + damping I) w = grad J`` by conjugate gradients, F never formed.

    Args:
        task: its policy and its reward are listed.
        learning_rate: step length; on a tabular policy each step adds it to the strength. 0 is the identity.
        kl_coefficient: beta, weight of KL(pi‖pi0) in the objective.
        log_base: log pi0 [C, N], needed for a KL coefficient.
        optimizer: optax constructor that takes the learning rate.
        damping: added to the Fisher matrix, which is singular wherever logits are redundant.
        tolerance: the solve stops at this residual, relative to the gradient,
        max_iterations: or after this many iterations.

    Returns:
        An ``UpdateRule`` whose info holds the solve's relative ``residual``.

    Raises:
        ValueError: a KL coefficient without ``log_base``, or a reward that is a function.
    """
    _check_base(kl_coefficient, log_base)

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        del key
        at = _linearise(task, kl_coefficient, log_base, params)
        gradient = at.pull_back(at.advantages)

        def fisher(vector: Params) -> Params:
            # E_pi[grad log pi grad log pi^T] = J^T diag(1/pi) J, J being the Jacobian of pi.
            scores = jnp.where(at.joint > 0, at.push_forward(vector) / at.joint, 0.0)
            return optax.tree.add_scale(at.pull_back(scores), damping, vector)

        solution, _ = jax.scipy.sparse.linalg.cg(fisher, gradient, tol=tolerance, maxiter=max_iterations)
        misfit = optax.tree.norm(optax.tree.sub(fisher(solution), gradient))
        return solution, {"residual": misfit / optax.tree.norm(gradient)}

    return ascend(direction, optimizer(learning_rate))
