"""REINFORCE (Williams 1992) and RLOO: the policy gradient estimated from sampled responses, one step a batch.

The estimated direction is that of ``gradient.policy_gradient``: ``E_c E_pi[A grad log pi]``. Of the KL penalties in the
objective only ``k2`` has the divergence's own gradient on average; ``k1``'s is 0, ``k3``'s is that of KL(pi0‖pi) (Tang
and Munos 2025).
"""

from typing import Any

import optax

from toypersona.rules import advantages, rollouts
from toypersona.rules.divergences import Estimator
from toypersona.rules.rule import Optimizer, Task, UpdateRule
from toypersona.types import Params, Scalar


def reinforce(
    task: Task,
    *,
    learning_rate: Scalar,
    num_samples: int = 1,
    advantage: advantages.Advantage = advantages.raw,
    kl_coefficient: Scalar = 0.0,
    ref_params: Params | None = None,
    kl_loss: Estimator | None = None,
    entropy_coefficient: Scalar = 0.0,
    reward_noise: Scalar = 0.0,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """Stochastic policy gradient.

    Args:
        task: its policy has ``sample`` and ``token_log_probs``.
        learning_rate: step length; 0 is the identity.
        num_samples: M, responses to each prompt a step.
        advantage: what a response is credited with, from the rewards of all M (``advantages``).
        kl_coefficient: beta, weight of KL(pi‖pi0), nats.
        ref_params: the base's parameters, needed for a KL coefficient.
        kl_loss: the estimator whose derivative is taken (``divergences``); None puts the penalty into the reward.
        entropy_coefficient: weight of the entropy, nats a response, which enters the reward.
        reward_noise: standard deviation of a normal error on every reward paid.
        optimizer: optax constructor that takes the learning rate; chain ``optax.clip_by_global_norm`` into it to clip.

    Returns:
        An ``UpdateRule`` whose info holds the sampled mean ``reward``.

    Raises:
        ValueError: no sample, or a KL coefficient without ``ref_params``.
    """
    rollouts.check_reference(kl_coefficient, ref_params)
    return rollouts.train(
        task,
        rollouts.penalised(rollouts.likelihood, kl_coefficient, kl_loss, by_token=False),
        optimizer(learning_rate),
        num_samples=num_samples,
        advantage=advantage,
        kl_in_reward=kl_coefficient if kl_loss is None else 0.0,
        ref_params=ref_params,
        entropy_coefficient=entropy_coefficient,
        reward_noise=reward_noise,
    )


def rloo(
    task: Task,
    *,
    learning_rate: Scalar,
    num_samples: int = 4,
    **options: Any,
) -> UpdateRule:
    """REINFORCE leave-one-out (Ahmadian et al. 2024): unbiased, with the others' mean as baseline.

    Args:
        task: as in ``reinforce``, like all the rest.
        learning_rate: step length.
        num_samples: M >= 2.
        **options: the other keywords of ``reinforce``.

    Raises:
        ValueError: as ``reinforce``, or fewer than two samples.
    """
    options = {"advantage": advantages.leave_one_out, "num_samples": num_samples} | options
    return reinforce(task, learning_rate=learning_rate, **options)
