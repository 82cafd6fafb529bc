"""Losses and gradients of TRL on the batch of batch.py, written to trl.json.

    python3.11 -m venv /tmp/otrl && /tmp/otrl/bin/pip install trl==1.16.0 torch==2.13.0
    /tmp/otrl/bin/python tests/rules/oracles/make_trl.py

Every loss comes from the trainer's own compute_loss, and advantages, old and reference log probabilities from its own
_generate_and_score_completions, on a trainer made without __init__. Only generation is replaced, by the batch's tokens,
and the language model, by a bigram table. Stored of each variant: its settings, the loss, its gradient with respect to
the table [4, 4], and the advantages [2, 4], where DPO has none.
"""

import collections
import pathlib
import types
from importlib import metadata
from typing import Any

import batch
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from accelerate import Accelerator  # pyright: ignore[reportMissingImports]
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer  # pyright: ignore[reportMissingImports]  # pyright: ignore[reportMissingImports]

PRECISION = (
    "float64, under torch.set_default_dtype(torch.float64). Left alone, TRL has float32 in its fused LM head (replaced "
    "here by the table), in the rewards (exact here) and in the factor M / (M - 1) of the variance of a group"
)


class Bigram(torch.nn.Module):
    """A language model of a table of logits, answering as TRL's fused LM head does."""

    is_gradient_checkpointing = False

    def __init__(self, table: np.ndarray):
        super().__init__()
        self.table = torch.nn.Parameter(torch.tensor(table))

    def forward(self, input_ids, labels, **_):
        targets, logits = labels[:, 1:], self.table[input_ids[:, :-1]]
        log_table = logits.log_softmax(-1)
        log_probs = log_table.gather(-1, targets.clamp(min=0)[..., None])[..., 0].masked_fill(targets == -100, 0)
        metrics = dict(mean_logits=logits.detach().mean(-1), is_top1=log_table.argmax(-1) == targets)
        return types.SimpleNamespace(log_probs=log_probs, entropy=-(log_table.exp() * log_table).sum(-1), **metrics)


def bare(trainer: type, config: type, old_table: np.ndarray, **settings) -> Any:
    """A trainer with what its losses read: the fields of its configuration, and what __init__ would have added."""
    self: Any = object.__new__(trainer)
    args: Any = config(output_dir="unused", bf16=False, use_cpu=True, report_to="none", **settings)
    added = dict(args=args, accelerator=Accelerator(cpu=True), state=types.SimpleNamespace(global_step=0))
    added |= dict(model=Bigram(old_table), ref_model=Bigram(batch.REF_TABLE), aux_loss_enabled=False)
    added |= dict(_metrics=collections.defaultdict(lambda: collections.defaultdict(list)))
    self.__dict__.update(vars(args) | added)
    return self


def differentiate(self: Any, table: np.ndarray, inputs: dict) -> tuple[float, np.ndarray]:
    """A trainer's loss of a batch, and its gradient with respect to the table."""
    model = Bigram(table)
    value = self.compute_loss(model, inputs)
    value.backward()
    assert value.dtype == torch.float64
    return value.item(), model.table.grad.numpy()


def online(
    formula: str, trainer: type = GRPOTrainer, config: type = GRPOConfig, old_table=batch.OLD_TABLE, **settings
) -> dict:
    """A variant of GRPO or RLOO, whose responses come from the old table."""
    size, rloo = batch.REWARDS.size, trainer is RLOOTrainer
    settings = dict(num_generations=4, max_completion_length=3, epsilon=batch.EPSILON) | settings
    # Two iterations to a batch, or GRPO would take the current policy for the old one.
    self = bare(trainer, config, old_table, num_iterations=2, per_device_train_batch_size=size, **settings)
    tokens = np.repeat(batch.PROMPTS, 4)[:, None].tolist(), batch.TOKENS.reshape(size, -1).tolist()
    self._generate = lambda prompts: (*tokens, prompts) if rloo else (*tokens, None, prompts, None, None, None, None)
    self._tokenizer = types.SimpleNamespace(pad_token_id=0)
    self.reward_funcs, self.reward_func_names = [lambda **_: batch.REWARDS.ravel().tolist()], ["reward"]
    self.reward_processing_classes, self.reward_weights = [None], torch.ones(1)
    self.epsilon_low = self.epsilon_high = self.epsilon
    self.current_gradient_accumulation_steps = 1
    self.environment_factories = self.environments = self.tools = None
    self._entropy_bonus_enabled = False
    self._logs = collections.defaultdict(list, rewards=collections.defaultdict(list))
    self._pending_extra_logs, self._pending_metrics = {}, {}
    inputs = self._generate_and_score_completions([{"prompt": ""}] * size)
    old = batch.log_probs(old_table).reshape(size, -1)
    theirs, ours = (inputs["old_logps"], old.sum(1)) if rloo else (inputs["old_per_token_logps"], old)
    np.testing.assert_allclose(theirs, ours, rtol=1e-12)
    settings |= dict(old="table" if old_table is batch.TABLE else "old_table", formula=formula)
    return batch.variant(lambda table: differentiate(self, table, inputs), inputs["advantages"].numpy(), **settings)


def offline(formula: str, **settings) -> dict:
    """The variant of DPO, of the best and the worst response to each prompt."""
    self = bare(DPOTrainer, DPOConfig, batch.OLD_TABLE, **settings)
    self.loss_types, self.loss_weights, self.precompute_ref_logps = self.loss_type, [1.0], False
    self._total_train_tokens, self._tp_size = 0, 1
    rows = [batch.SEQUENCES[np.arange(2), which] for which in (batch.CHOSEN, batch.REJECTED)]
    ids = torch.tensor(np.concatenate(rows))
    masks = dict(attention_mask=torch.ones_like(ids), completion_mask=(torch.arange(4) > 0).long().expand(4, 4))
    inputs = {"input_ids": ids, **masks}
    return batch.variant(lambda table: differentiate(self, table, inputs), None, **settings, formula=formula)


def make() -> dict[str, dict]:
    """Every variant, by name."""
    dr: Any = dict(loss_type="dr_grpo", scale_rewards="none", beta=0.0, importance_sampling_level="token")
    group: Any = dict(loss_type="grpo", scale_rewards="group", use_bias_correction_kl=False)
    grpo = group | dict(beta=0.1, importance_sampling_level="token")
    gspo = group | dict(beta=0.0, importance_sampling_level="sequence")
    rloo: Any = dict(beta=0.1, normalize_advantages=False)
    std = "A = (R - mean) / (std + 1e-4)"
    kl_in_reward = "mean_i pg(pi / old of y_i, A_i), A = R' - mean of the other 3, R' = R - beta log(old / ref of y_i)"
    bradley_terry = "mean over prompts of -log sigmoid(beta (log(pi / ref of chosen) - log(pi / ref of rejected)))"
    return {
        "grpo": online(f"mean_i mean_t (pg(r_it, A_i) + beta k3_it), {std}", **grpo),
        # TRL's default since 1.10.
        "grpo_corrected": online(
            f"mean_i mean_t (pg(r_it, A_i) + beta r_it k3_it), {std}", **grpo | dict(use_bias_correction_kl=True)
        ),
        "dr_grpo": online("mean_i sum_t pg(r_it, A_i) / max_completion_length, A = R - mean", **dr),
        "gspo": online(f"mean_i pg((pi / old of y_i) ** (1 / length), A_i), {std}", **gspo),
        "rloo": online(kl_in_reward, RLOOTrainer, RLOOConfig, **rloo),
        "rloo_on_policy": online(kl_in_reward, RLOOTrainer, RLOOConfig, batch.TABLE, **rloo),
        "dpo": offline(bradley_terry, loss_type=["sigmoid"], beta=0.3),
    }


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    versions = {name: metadata.version(name) for name in ("trl", "torch", "transformers")}
    batch.save(pathlib.Path(__file__).with_name("trl.json"), versions, PRECISION, make())
