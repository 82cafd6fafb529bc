"""Exact policy gradients: expectations are sums over every response, so nothing is sampled and ``key`` is not used.

Objective ``J = E_c[ E_pi[r] - beta KL(pi(.|c)‖pi0(.|c)) ]``. Its gradient is ``E_pi[A grad log pi]`` with the advantage
``A = r - beta log(pi/pi0)`` minus its mean (Sutton et al. 1999). The natural gradient (Amari 1998, Kakade 2001) divides
by the Fisher matrix ``F = E_pi[grad log pi grad log pi^T]``; on a tabular policy it is A itself, and its path is the
exponential tilt's.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from toypersona.policies.policy import all_probs
from toypersona.rules.advantages import SPREAD
from toypersona.rules.rule import Optimizer, Task, UpdateRule, ascend, is_off
from toypersona.types import Key, Params, Scalar

_Linearised = tuple[
    Float[Array, "C N"], Float[Array, "C N"], Callable[[Params], Float[Array, "C N"]], Callable[[Array], Params]
]


def _linearised(
    task: Task, kl_coefficient: Scalar, log_base: Float[Array, "C N"] | None
) -> Callable[[Params], _Linearised]:
    """At some parameters: rho pi, the advantages A, the Jacobian of rho pi times a vector, and its transpose's."""
    if log_base is None and not is_off(kl_coefficient):
        raise ValueError("kl_coefficient needs log_base, the base policy's log-probabilities [C, N]: pass both.")

    def at(params: Params) -> _Linearised:
        rho, returns = jnp.exp(task.log_prompts)[:, None], task.table()
        joint, push_forward = jax.linearize(lambda p: rho * all_probs(task.policy, p, task.prompts), params)
        transpose = jax.linear_transpose(push_forward, params)
        probs = joint / rho
        if log_base is not None:
            spent = jnp.log(jnp.maximum(probs, jnp.finfo(probs.dtype).tiny)) - log_base
            # What neither can say costs nothing: -inf less -inf would be nan.
            returns = returns - kl_coefficient * jnp.where((probs == 0) & jnp.isneginf(log_base), 0.0, spent)
        advantages = returns - (probs * returns).sum(axis=-1, keepdims=True)
        return joint, advantages, push_forward, lambda cotangent: transpose(cotangent)[0]

    return at


def policy_gradient(
    task: Task,
    *,
    learning_rate: Scalar,
    kl_coefficient: Scalar = 0.0,
    log_base: Float[Array, "C N"] | None = None,
    normalise: bool = False,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Exact (vanilla) policy gradient; the info holds the ``gradient_norm``.

    Args:
        task: its policy and its reward are listed.
        learning_rate: step length; 0 is the identity.
        kl_coefficient: beta, weight of KL(pi‖pi0) in the objective.
        log_base: log pi0 [C, N], needed for a KL coefficient.
        normalise: divide each prompt's advantages by their standard deviation, as GRPO does with a large group.
        optimizer: optax constructor that takes the learning rate.

    Raises:
        ValueError: a KL coefficient without ``log_base``, or a reward that is a function.
    """
    at = _linearised(task, kl_coefficient, log_base)

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        del key
        joint, advantages, _, pull_back = at(params)
        if normalise:
            variance = (joint * advantages**2).sum(axis=-1, keepdims=True) / jnp.exp(task.log_prompts)[:, None]
            advantages = advantages / (jnp.sqrt(variance) + SPREAD)
        gradient = pull_back(advantages)
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

    Arguments and refusals as in ``policy_gradient``; on a table each step adds the learning rate to the strength.
    ``damping`` is for a Fisher matrix that is singular, as it is wherever logits are redundant. The solve stops at a
    residual of ``tolerance``, relative to the gradient, or after ``max_iterations``; its relative ``residual`` is info.
    """
    at = _linearised(task, kl_coefficient, log_base)

    def direction(key: Key, params: Params) -> tuple[Params, dict[str, Array]]:
        del key
        joint, advantages, push_forward, pull_back = at(params)
        gradient = pull_back(advantages)

        def fisher(vector: Params) -> Params:
            # E_pi[grad log pi grad log pi^T] = J^T diag(1/pi) J, J being the Jacobian of pi.
            scores = jnp.where(joint > 0, push_forward(vector) / joint, 0.0)
            return optax.tree.add_scale(pull_back(scores), damping, vector)

        solution, _ = jax.scipy.sparse.linalg.cg(fisher, gradient, tol=tolerance, maxiter=max_iterations)
        misfit = optax.tree.norm(optax.tree.sub(fisher(solution), gradient))
        return solution, {"residual": misfit / optax.tree.norm(gradient)}

    return ascend(direction, optimizer(learning_rate))
