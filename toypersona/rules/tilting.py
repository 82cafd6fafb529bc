"""Exponential tilting: the optimum of KL-regularised RL, in closed form.

``argmax_pi E_pi[r] - beta KL(pi‖pi0) = pi0 exp(r/beta) / Z`` (Korbak, Perez and Buckley 2022, "RL with KL penalties is
better viewed as Bayesian inference"). Strengths add up: two tilts of s1 and s2 are one of s1 + s2, s = 1/beta.
"""

from jaxtyping import Array

from toypersona import numerics
from toypersona.rules.rule import RuleState, Task, UpdateRule
from toypersona.types import Key, Scalar


def tilting(task: Task, *, strength: Scalar) -> UpdateRule:
    """Moves a tabular policy's logits [C, N] by ``strength`` along the path of KL-regularised optima.

    Args:
        task: its reward is listed; the policy that learns is a table, whatever the task's.
        strength: s = 1/beta added by each update, >= 0; 0 is the identity.

    Returns:
        An ``UpdateRule`` over log-probabilities [C, N].
    """

    def update(key: Key, state: RuleState) -> tuple[RuleState, dict[str, Array]]:
        del key
        return RuleState(numerics.log_normalize(state.params + strength * task.table())), {}

    return UpdateRule(lambda params: RuleState(numerics.log_normalize(params)), update)
