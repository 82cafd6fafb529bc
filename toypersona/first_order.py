"""Where a rule first moves the policy, and what follows from it: predictions to first order in the learning rate."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from toypersona import numerics
from toypersona.types import Params, Scalar


def first(
    log_probs: Callable[[Params], Float[Array, "C N"]],
    params: Params,
    log_prompts: Float[Array, " C"],
    reward: Float[Array, "C N"],
    *,
    precondition: Callable[[Params], Params] = lambda gradient: gradient,
) -> Float[Array, "C N"]:
    """Where a rule first moves log pi: ``d = J M J^T (rho pi0 A)``, J the Jacobian of log-probabilities (law L1).

    A rule changes the parameters by ``M g``, g the gradient of ``E[r]``, and so log pi by ``J M g``. J is applied by
    ``jax.vjp`` and ``jax.jvp`` and never formed.

    Args:
        log_probs: log pi(x|c) of any parametrised policy; what it freezes is out of scope.
        params: the base's.
        log_prompts: log rho(c) [C].
        reward: [C, N].
        precondition: M, a function of the gradient: the identity for policy gradient, ``natural(...)`` for the natural
            gradient, the sign for Adam's first step.

    Returns:
        d [C, N], in nats per unit of the rule's learning rate.
    """
    log_base, pull_back = jax.vjp(log_probs, params)
    advantages = reward - numerics.expectation(log_base, reward)[:, None]
    (gradient,) = pull_back(jnp.exp(log_prompts[:, None] + log_base) * advantages)
    return jax.jvp(log_probs, (params,), (precondition(gradient),))[1]


def natural(
    log_probs: Callable[[Params], Float[Array, "C N"]],
    params: Params,
    log_prompts: Float[Array, " C"],
    *,
    damping: Scalar = 0.0,
    tolerance: float = 1e-10,
    max_iterations: int = 200,
) -> Callable[[Params], Params]:
    """The natural gradient's preconditioner ``(F + damping I)^-1``, ``F = J^T diag(rho pi0) J`` (Amari 1998).

    Conjugate gradients, which give the shortest solution where F is singular; stopped at a relative residual of
    ``tolerance`` or after ``max_iterations`` products with F. Other arguments as in ``first``.
    """
    log_base, pull_back = jax.vjp(log_probs, params)
    mass = jnp.exp(log_prompts[:, None] + log_base)

    def fisher(vector: Params) -> Params:
        (product,) = pull_back(mass * jax.jvp(log_probs, (params,), (vector,))[1])
        return jax.tree.map(lambda x, v: x + damping * v, product, vector)

    return lambda g: jax.scipy.sparse.linalg.cg(fisher, g, tol=tolerance, maxiter=max_iterations)[0]


def adam(gradient: Params, *, epsilon: float = 1e-8) -> Params:
    """The preconditioner of Adam's first step, ``g / (|g| + epsilon)`` of every parameter (Kingma and Ba 2015)."""
    return jax.tree.map(lambda g: g / (jnp.abs(g) + epsilon), gradient)


def rates(
    log_base: Float[Array, "C N"],
    direction: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
    lengths: Float[Array, " L"],
) -> Float[Array, " L"]:
    """Learning rates at which one step from the base has some lengths, ``sqrt(2 KL) = rate sqrt(E_c Var_pi0(d))``.

    Args:
        log_base: log pi0 [C, N].
        direction: d, the change of log pi per unit of the learning rate, up to a constant for each prompt [C, N].
        log_prompts: log rho(c) [C].
        lengths: sqrt(2 KL(pi‖pi0)) of the steps, root nats [L].
    """
    centred = direction - numerics.expectation(log_base, direction)[:, None]
    return lengths / jnp.sqrt(jnp.exp(log_prompts) @ numerics.expectation(log_base, centred**2))


def entropy_change(
    log_policy: Float[Array, "C N"], direction: Float[Array, "C N"], log_prompts: Float[Array, " C"]
) -> Float[Array, ""]:
    """Entropy gained per unit of a rule's learning rate: ``-E_c Cov_pi(log pi, d)``, nats.

    The derivative of ``-sum pi log pi`` along ``d log pi = d`` (Cui et al. 2025, where d is the advantage). Entropy
    falls where what is likely is made likelier, and rises where what is rare pays more.

    Args:
        log_policy: log pi [C, N].
        direction: d, the change of log pi up to a constant for each prompt, as by ``first`` [C, N].
        log_prompts: log rho(c) [C].
    """
    centred = direction - numerics.expectation(log_policy, direction)[:, None]
    surprise = jnp.where(jnp.isneginf(log_policy), 0.0, -log_policy)
    return jnp.exp(log_prompts) @ numerics.expectation(log_policy, surprise * centred)
