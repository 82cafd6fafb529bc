"""REINFORCE (Williams 1992) and RLOO: the policy gradient estimated from sampled responses, one step a batch.

The estimated direction is that of ``gradient.policy_gradient``: ``E_c E_pi[A grad log pi]``. Of the KL penalties in the
objective only ``k2`` has the divergence's own gradient on average; ``k1``'s is 0, ``k3``'s is that of KL(pi0‖pi) (Tang
and Munos 2025). With ``kl_corrected`` ``k1``'s and ``k3``'s are the divergence's own.
"""

from typing import Any

from toypersona.rules import advantages, rollouts
from toypersona.rules.rule import Task, UpdateRule


def reinforce(
    task: Task, *, num_samples: int = 1, advantage: advantages.Advantage = advantages.raw, **options: Any
) -> UpdateRule:
    """Stochastic policy gradient; all arguments are those of ``rollouts.train``, which also says what is refused."""
    return rollouts.train(task, rollouts.likelihood, num_samples=num_samples, advantage=advantage, **options)


def rloo(task: Task, *, num_samples: int = 4, **options: Any) -> UpdateRule:
    """REINFORCE leave-one-out (Ahmadian et al. 2024): unbiased, with the others' mean as baseline.

    Args:
        task: as in ``rollouts.train``.
        num_samples: M >= 2.
        **options: the other arguments of ``rollouts.train``.

    Raises:
        ValueError: as there, or fewer than two samples.
    """
    return reinforce(task, num_samples=num_samples, **{"advantage": advantages.leave_one_out} | options)
