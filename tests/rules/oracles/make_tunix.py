"""Losses and gradients of Tunix on the batch of batch.py, written to tunix.json.

    python3.12 -m venv /tmp/otunix && /tmp/otunix/bin/pip install google-tunix==0.1.7 jax==0.12.0.1
    /tmp/otunix/bin/python tests/rules/oracles/make_tunix.py

Every loss comes from Tunix's registered loss functions and every advantage from its registered estimators, given a
bigram table for a language model. Tunix casts log probabilities and losses to float32; the numbers are of its code run
with the name jnp.float32 bound to float64, after a check that the code as it stands agrees to single precision. Stored
of each variant: its settings, the loss, its gradient with respect to the table [4, 4], and the advantages [2, 4], where
DPO has none.
"""

import functools
import pathlib
import types
from collections.abc import Callable
from importlib import metadata
from typing import Any

import batch
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx  # pyright: ignore[reportMissingImports]
from tunix.rl import algo_core, common, function_registry  # pyright: ignore[reportMissingImports]
from tunix.rl.grpo import drgrpo_learner, grpo_learner  # pyright: ignore[reportMissingImports]
from tunix.rl.ppo import ppo_learner  # pyright: ignore[reportMissingImports]
from tunix.sft.dpo import dpo_trainer  # pyright: ignore[reportMissingImports]

PRECISION = (
    "float64, with jnp.float32 read as float64 in tunix.rl.common and tunix.rl.algo_core, which cast log "
    "probabilities, advantages and losses to float32; loss_float32 is the loss of the code as it stands"
)


class Float64:
    """jax.numpy, but for the name float32."""

    def __getattr__(self, name: str):
        return getattr(jnp, "float64" if name == "float32" else name)


class Bigram(nnx.Module):
    """A language model of a table of logits."""

    def __init__(self, table: jax.Array | np.ndarray):
        self.table = nnx.Param(table)

    def __call__(self, input_tokens, positions, cache, attention_mask):
        return self.table[...][input_tokens], None


def online(config: Any, estimator: str, formula: str) -> tuple:
    """A loss of a model, the advantages it takes and its settings: GRPO and its kin, or PPO."""
    size = batch.REWARDS.size
    advantages = np.array(function_registry.get_advantage_estimator(estimator)(batch.REWARDS.ravel(), 4))
    example = common.TrainExample(
        prompt_ids=jnp.repeat(batch.PROMPTS, 4)[:, None],
        prompt_mask=jnp.ones((size, 1), bool),
        completion_ids=jnp.array(batch.TOKENS.reshape(size, -1)),
        completion_mask=jnp.ones((size, 3), bool),
        advantages=jnp.array(advantages[:, None] if config.policy_loss_fn == "ppo" else advantages),
        ref_per_token_logps=jnp.array(batch.log_probs(batch.REF_TABLE).reshape(size, -1)),
        old_per_token_logps=jnp.array(batch.log_probs(batch.OLD_TABLE).reshape(size, -1)),
    )
    loss_fn = function_registry.get_policy_loss_fn(config.policy_loss_fn)
    names = ["policy_loss_fn", "loss_algo", "loss_agg_mode", "beta", "kl_loss_mode", "epsilon", "entropy_coef"]
    settings = {name: getattr(config, name) for name in names if hasattr(config, name)}
    settings |= dict(advantage_estimator=estimator, old="old_table", formula=formula)
    return lambda model: loss_fn(model, example, config, pad_id=-1, eos_id=-1)[0], advantages, settings


def grpo(formula: str, config: Any = grpo_learner.GRPOConfig, **settings) -> tuple:
    """A variant of the GRPO loss."""
    config = config(num_generations=4, epsilon=batch.EPSILON, **settings)
    config.temperature = 1.0  # the learner would copy it from the rollout's configuration
    return online(config, config.advantage_estimator, formula)


def dpo(formula: str, **settings) -> tuple:
    """The DPO loss of the best and the worst response to each prompt."""
    chosen, rejected = (batch.TOKENS[np.arange(2), which] for which in (batch.CHOSEN, batch.REJECTED))
    ids = dict(prompt_ids=batch.PROMPTS[:, None], chosen_ids=chosen, rejected_ids=rejected)
    masks = {name.replace("ids", "mask"): np.ones_like(value) for name, value in ids.items()}

    def loss(model):
        trainer = types.SimpleNamespace(model=model, ref_model=Bigram(batch.REF_TABLE), _ref_model_exists=True)
        example = dpo_trainer.DPOTrainer._prepare_inputs(trainer, dpo_trainer.TrainingInput(**ids, **masks))
        return dpo_trainer.dpo_loss_fn(model, example, algorithm="dpo", **settings)[0]

    return loss, None, settings | dict(formula=formula)


def differentiate(loss: Callable, table: np.ndarray) -> tuple[float, np.ndarray]:
    """A loss, and its gradient with respect to the table."""
    value, gradient = jax.value_and_grad(lambda table: loss(Bigram(table)))(jnp.array(table))
    return float(value), np.array(gradient)


def losses() -> dict[str, tuple]:
    """Every variant, by name."""
    std = "A = (R - mean) / (std + 1e-6)"
    k3 = dict(beta=0.1, kl_loss_mode="low_var_kl")
    gspo = "mean_i pg((pi / old of y_i) ** (1 / length), A_i), in the token form, of the same value and gradient"
    bradley_terry = "mean over prompts of -log sigmoid(beta (log(pi / ref of chosen) - log(pi / ref of rejected)))"
    ppo = ppo_learner.PPOConfig(epsilon=batch.EPSILON, beta=0.0)
    return {
        "grpo": grpo(f"mean_i mean_t pg(r_it, A_i) + beta mean_i mean_t k3_it, {std}", **k3),
        "grpo_k1": grpo(f"mean_i mean_t pg(r_it, A_i) + beta mean_i mean_t k1_it, {std}", beta=0.1),  # Tunix's default
        "dr_grpo": grpo("mean_i sum_t pg(r_it, A_i) / 3, A = R - mean", drgrpo_learner.DrGRPOConfig, beta=0.0),
        "gspo_token": grpo(f"{gspo}, {std}", loss_algo="gspo-token", beta=0.0),
        "rloo": grpo(
            "mean_i mean_t pg(r_it, A_i), A = R - mean of the other 3 R", advantage_estimator="rloo", beta=0.0
        ),
        "ppo": online(ppo, "grpo", f"sum_it pg(r_it, A_i) / (tokens + 1e-8), no KL in the loss, {std}"),
        "dpo": dpo(bradley_terry, beta=0.3, label_smoothing=0.0),
    }


def make() -> dict[str, dict]:
    """Every variant in float64, with its loss in float32."""
    variants, as_it_stands = {}, {name: differentiate(loss, batch.TABLE) for name, (loss, *_) in losses().items()}
    common.jnp = algo_core.jnp = Float64()
    jax.clear_caches()
    for name, (loss, advantages, settings) in losses().items():
        stored = batch.variant(functools.partial(differentiate, loss), advantages, **settings)
        np.testing.assert_allclose(as_it_stands[name][0], stored["loss"], atol=1e-6)
        np.testing.assert_allclose(as_it_stands[name][1], stored["gradient"], atol=1e-6)
        variants[name] = stored | {"loss_float32": as_it_stands[name][0]}
    return variants


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    versions = {name: metadata.version(name) for name in ("google-tunix", "jax", "flax")}
    batch.save(pathlib.Path(__file__).with_name("tunix.json"), versions, PRECISION, make())
