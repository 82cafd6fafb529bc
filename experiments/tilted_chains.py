"""Mixtures of Markov chains tilted by a reward for each word: exact and sampled budgets at any length."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import chains, numerics, theory
from toypersona.measures import drift
from toypersona.types import Key


class Setting(NamedTuple):
    """A base of Markov experts of any length, and what each word pays."""

    log_gates: Float[Array, "C K"]
    log_experts: Float[Array, "K *context V"]
    prompts: Int[Array, "C P"]
    log_prompts: Float[Array, " C"]
    scores: Float[Array, " V"]

    def horizon(self, strength: Array, length: int, **how) -> theory.Horizon:
        """The closed forms at one strength and length."""
        made = theory.horizon(*self, strength, (length,), **how)
        return jax.tree.map(lambda x: x[0], made)


def draw(setting: Setting, strength: Array | float, length: int, num_samples: int, key: Key) -> drift.Samples:
    """Responses of the tilt to every prompt, and what everybody makes of them."""
    paid = jnp.broadcast_to(strength * setting.scores, (length, setting.scores.shape[0]))
    tilted = jax.vmap(chains.tilt, in_axes=(0, None))(setting.log_experts, paid)

    def respond(c: Int[Array, ""], key: Key) -> drift.Samples:
        prompt = setting.prompts[c]
        context = tuple(prompt[prompt.shape[0] - setting.log_experts.ndim + 2 :])
        joint = setting.log_gates[c] + tilted.log_partition[(slice(None), *context)]
        persona_key, token_key = jax.random.split(key)
        persona = jax.random.categorical(persona_key, joint)
        tokens = chains.sample_tilted(token_key, tilted.tables, persona, prompt)
        log_personas = jax.vmap(lambda table: chains.log_prob(table, prompt, tokens))(setting.log_experts)
        log_base = jax.nn.logsumexp(setting.log_gates[c] + log_personas)
        log_policy = log_base + strength * setting.scores[tokens].sum() - jax.nn.logsumexp(joint)
        return drift.Samples(log_policy, log_base, log_personas)

    num_prompts = setting.prompts.shape[0]
    keys = jax.random.split(key, (num_prompts, num_samples))
    made = jax.vmap(jax.vmap(respond, in_axes=(None, 0)))(jnp.arange(num_prompts), keys)
    return made._replace(log_personas=jnp.moveaxis(made.log_personas, -1, 1))


def fraction(spent: drift.SampledBudget) -> dict[str, Array]:
    """S and its standard error, by the delta method; all parts are means over the same samples."""
    outside, total = spent.hull_distance, spent.total
    ratio = outside / total
    covariance = 0.5 * (spent.total_se**2 + spent.hull_distance_se**2 - spent.selection_se**2)
    variance = spent.hull_distance_se**2 + ratio**2 * spent.total_se**2 - 2 * ratio * covariance
    return {"selection_fraction": 1 - ratio, "selection_fraction_se": jnp.sqrt(jnp.maximum(variance, 0.0)) / total}


def listed(setting: Setting, strength: Float[Array, ""], length: int) -> Float[Array, ""]:
    """The exact hull distance."""
    by_persona = jax.vmap(lambda table, prompt: chains.log_probs(table, prompt, length), in_axes=(0, None))
    log_personas = jax.vmap(by_persona, in_axes=(None, 0))(setting.log_experts, setting.prompts)
    responses = chains.outcomes(setting.scores.shape[0], length)
    log_base = numerics.log_mix(setting.log_gates, log_personas)
    reward = jnp.broadcast_to(setting.scores[responses].sum(axis=1), log_base.shape)
    log_policy = theory.tilt(log_base, reward, strength)
    return drift.budget(log_policy, log_base, log_personas, responses, setting.log_prompts).hull_distance
