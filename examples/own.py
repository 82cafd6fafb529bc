"""A reward and a rule of one's own.

python -m experiments.phase_diagram --feature examples/own.py:friendly --out results/friendly
python -m experiments.rules --own examples/own.py:signs --out results/signs
"""

import jax
import jax.numpy as jnp
import optax

from toypersona.rules import rollouts
from toypersona.rules.rule import Task, UpdateRule, ascend
from toypersona.types import Params


def friendly(prompt: list[str], response: list[str]) -> float:
    """A feature that a reward pays for: how often the words before the end say ``friend``."""
    return response.count("friend")


def signs(task: Task, ref_params: Params, learning_rate: float) -> UpdateRule:
    """A rule, which is a way to train: policy gradient that sees no more of a reward than whether it is above 0."""

    def direction(key, params):
        tokens = rollouts.sample(key, task.policy, params, task.prompts, 8)

        def objective(params):
            log_probs = rollouts.token_log_probs(task.policy, params, task.prompts, tokens).sum(axis=-1)
            return jnp.exp(task.log_prompts) @ (jnp.sign(task.pay(tokens)) * log_probs).mean(axis=1)

        return jax.grad(objective)(params), {}

    return ascend(direction, optax.sgd(learning_rate))
