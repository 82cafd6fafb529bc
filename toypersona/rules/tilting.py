"""Exponential tilting: the optimum of KL-regularised RL, in closed form.

``argmax_pi E_pi[r] - beta KL(pi‖pi0) = pi0 exp(r/beta) / Z`` (Korbak, Perez and Buckley 2022, "RL with KL penalties is
better viewed as Bayesian inference"). Strengths add up: two tilts of s1 and s2 are one of s1 + s2, s = 1/beta.
"""

import jax
from jaxtyping import Array, Float

from toypersona import numerics, theory
from toypersona.rules.rule import RuleState, Task, UpdateRule
from toypersona.types import Key, Scalar


def tilting(task: Task, *, strength: Scalar) -> UpdateRule:
    """Moves the log-probabilities [C, N] of a table by ``strength`` along the path of KL-regularised optima.

    Args:
        task: its reward is listed; the policy that learns is a table, whatever the task's.
        strength: s = 1/beta added by each update, >= 0; 0 is the identity.
    """

    def update(key: Key, state: RuleState) -> tuple[RuleState, dict[str, Array]]:
        del key
        return RuleState(theory.tilt(state.params, task.table(), strength)), {}

    return UpdateRule(lambda params: RuleState(numerics.log_normalize(params)), update)


def frontier(
    log_base: Float[Array, "C N"],
    reward: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
    strengths: Float[Array, " S"],
) -> tuple[Float[Array, " S"], Float[Array, " S"]]:
    """Drift ``E_c KL(tilt‖pi0)``, nats, and mean reward of the tilts [S]: no policy of the same drift is paid more.

    Args:
        log_base: log pi0(x|c) [C, N].
        reward: [C, N].
        log_prompts: log rho(c) [C].
        strengths: s [S].
    """

    def at(strength: Float[Array, ""]) -> tuple[Array, Array]:
        tilt = theory.tilt(log_base, reward, strength)
        by_prompt = numerics.kl_divergence(tilt, log_base), numerics.expectation(tilt, reward)
        spent, paid = (numerics.expectation(log_prompts, values) for values in by_prompt)
        return spent, paid

    return jax.lax.map(at, strengths)
