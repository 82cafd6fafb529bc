"""What all sampled rules share: draw responses, credit them, and climb an objective on the batch for some epochs.

Every prompt is answered equally often and counted with its probability, so that the noise is the responses' alone. A
response is credited as a whole, without a critic. A penalty on KL(pi‖pi0) enters the reward, as ``-beta log(pi/pi0)``,
or the objective, through an estimator of ``divergences`` that is differentiated at the samples.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from toypersona import numerics
from toypersona.policies.policy import Policy
from toypersona.rules.advantages import Advantage
from toypersona.rules.divergences import Estimator
from toypersona.rules.rule import Optimizer, RuleState, Task, UpdateRule, climb, is_off, start
from toypersona.types import Key, Params, Scalar


class Batch(NamedTuple):
    """M sampled responses to each prompt.

    Attributes:
        tokens: [C, M, T].
        credit: what each is credited with [C, M].
        log_old: log-probability of each token, in nats, under the policy that was to be improved [C, M, T].
        log_ref: the same under the base, zeros without one [C, M, T].
    """

    tokens: Int[Array, "C M T"]
    credit: Float[Array, "C M"]
    log_old: Float[Array, "C M T"]
    log_ref: Float[Array, "C M T"]


Objective = Callable[[Float[Array, "C M T"], Batch], Float[Array, "C M"]]
"""``(log-probabilities of the batch's tokens under the parameters that learn [C, M, T], batch) -> [C, M]``."""


def likelihood(log_probs: Float[Array, "C M T"], batch: Batch) -> Float[Array, "C M"]:
    """``credit log pi(x)``: one step on it is REINFORCE's, several imitate what was credited."""
    return batch.credit * log_probs.sum(axis=-1)


def penalised(
    objective: Objective, kl_coefficient: Scalar, kl_loss: Estimator | None, *, by_token: bool, corrected: bool = False
) -> Objective:
    """An objective minus ``kl_coefficient`` times an estimate of KL(pi‖pi0), of each token and summed, or at once.

    ``corrected`` multiplies the estimate by the ratio of the policy that learns to the one that was to be improved, and
    differentiates both: its gradient is then on average that of the divergence it estimates (DeepSeek-V3.2, 2025).
    """
    if kl_loss is None or is_off(kl_coefficient):
        return objective

    def pooled(log_ratio: Float[Array, "C M T"]) -> Float[Array, "C M L"]:
        return log_ratio if by_token else log_ratio.sum(axis=-1, keepdims=True)

    def less(log_probs: Float[Array, "C M T"], batch: Batch) -> Float[Array, "C M"]:
        spent = kl_loss(pooled(log_probs - batch.log_ref))
        if corrected:
            spent = spent * jnp.exp(pooled(log_probs - batch.log_old))
        return objective(log_probs, batch) - kl_coefficient * spent.sum(axis=-1)

    return less


def token_log_probs(
    policy: Policy, params: Params, prompts: Int[Array, "C P"], tokens: Int[Array, "C M T"]
) -> Float[Array, "C M T"]:
    """Nats of every token of M responses to each prompt."""
    by_response = jax.vmap(policy.token_log_probs, in_axes=(None, None, 0))
    return jax.vmap(by_response, in_axes=(None, 0, 0))(params, prompts, tokens)


def sample(
    key: Key, policy: Policy, params: Params, prompts: Int[Array, "C P"], num_samples: int
) -> Int[Array, "C M T"]:
    """M responses to each prompt."""
    keys = jax.random.split(key, (prompts.shape[0], num_samples))
    by_response = jax.vmap(policy.sample, in_axes=(0, None, None))
    return jax.vmap(by_response, in_axes=(0, None, 0))(keys, params, prompts)


def value(objective: Objective, task: Task, params: Params, batch: Batch) -> Float[Array, ""]:
    """The objective's mean over a batch, prompts counted with their probability; one of probability 0 has no part."""
    asked = ~jnp.isneginf(task.log_prompts)

    def only_asked(values: Array) -> Array:
        return jnp.where(asked.reshape(-1, *[1] * (values.ndim - 1)), values, 0)

    # Before the objective, not after: 0 times the derivative of what is infinite would be nan.
    log_probs = only_asked(token_log_probs(task.policy, params, task.prompts, batch.tokens))
    values = objective(log_probs, jax.tree.map(only_asked, batch))
    return jnp.exp(task.log_prompts) @ values.mean(axis=1)


def train(
    task: Task,
    objective: Objective,
    *,
    learning_rate: Scalar,
    num_samples: int,
    advantage: Advantage,
    num_epochs: int = 1,
    kl_coefficient: Scalar = 0.0,
    ref_params: Params | None = None,
    kl_loss: Estimator | None = None,
    kl_by_token: bool = False,
    kl_corrected: bool = False,
    entropy_coefficient: Scalar = 0.0,
    reward_noise: Scalar = 0.0,
    behaviour: Params | None = None,
    optimizer: Optimizer = optax.sgd,
) -> UpdateRule:
    """The rule that draws a batch and climbs an objective on it: every sampled rule, with all its hyperparameters.

    Args:
        task: its policy has ``sample`` and ``token_log_probs``.
        objective: what to climb, see ``Objective``.
        learning_rate: step length; 0 is the identity.
        num_samples: M, responses to each prompt in a batch.
        advantage: what a response is credited with, from the rewards of all M (``advantages``).
        num_epochs: steps on each batch.
        kl_coefficient: beta, weight of KL(pi‖pi0), nats.
        ref_params: the base's parameters, needed for a KL coefficient.
        kl_loss: the estimator whose derivative is taken (``divergences``); None puts the penalty into the reward.
        kl_by_token: estimate the KL of each token and add them up, instead of that of the whole response.
        kl_corrected: weigh the estimate with the ratio of new to old policy, as in ``penalised``.
        entropy_coefficient: weight of the entropy, nats a response, which enters the reward.
        reward_noise: standard deviation of a normal error on every reward paid.
        behaviour: parameters to draw from instead of the learning ones.
        optimizer: optax constructor that takes the learning rate; chain ``optax.clip_by_global_norm`` into it to clip.

    Returns:
        An ``UpdateRule`` whose info holds the sampled mean ``reward``, noise included.

    Raises:
        ValueError: no sample, no epoch, a KL coefficient without ``ref_params``, or a correction of no KL
            loss.
    """
    if ref_params is None and not is_off(kl_coefficient):
        raise ValueError("kl_coefficient needs ref_params, the base policy's parameters: pass both.")
    if num_samples < 1 or num_epochs < 1:
        raise ValueError(f"A sampled rule needs 1 or more samples and epochs, not {num_samples} and {num_epochs}.")
    if kl_corrected and kl_loss is None:
        raise ValueError("kl_corrected weighs the estimate of a KL loss: pass kl_loss, one of divergences, too.")
    policy, prompts = task.policy, task.prompts
    kl_in_reward, transform = kl_coefficient if kl_loss is None else 0.0, optimizer(learning_rate)
    objective = penalised(objective, kl_coefficient, kl_loss, by_token=kl_by_token, corrected=kl_corrected)

    def mean_paid(rewards: Float[Array, "C M"]) -> Float[Array, ""]:
        return numerics.expectation(task.log_prompts, rewards.mean(axis=1))

    def draw(key: Key, params: Params) -> tuple[Batch, dict[str, Array]]:
        sample_key, noise_key = jax.random.split(key)
        tokens = sample(sample_key, policy, params if behaviour is None else behaviour, prompts, num_samples)
        rewards = task.pay(tokens)
        if not is_off(reward_noise):
            rewards = rewards + reward_noise * jax.random.normal(noise_key, rewards.shape)
        log_old = token_log_probs(policy, params, prompts, tokens)
        no_ref = ref_params is None
        log_ref = jnp.zeros_like(log_old) if no_ref else token_log_probs(policy, ref_params, prompts, tokens)
        returns = rewards
        if not is_off(entropy_coefficient):
            returns = returns - entropy_coefficient * log_old.sum(axis=-1)
        if not is_off(kl_in_reward):
            returns = returns - kl_in_reward * (log_old - log_ref).sum(axis=-1)
        return Batch(tokens, advantage(returns), log_old, log_ref), {"reward": mean_paid(rewards)}

    def update(key: Key, state: RuleState) -> tuple[RuleState, dict[str, Array]]:
        batch, info = draw(key, state.params)

        def epoch(state: RuleState, _: None) -> tuple[RuleState, None]:
            uphill = jax.grad(lambda params: value(objective, task, params, batch))
            return climb(transform, state, uphill(state.params)), None

        return jax.lax.scan(epoch, state, None, length=num_epochs)[0], info

    return UpdateRule(lambda params: start(transform, params), update)
