"""A policy with one free logit for every response to every known prompt: nothing constrains it but the simplex."""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int

from toypersona import chains
from toypersona.policies.policy import Policy
from toypersona.types import Key, Params


def tabular(prompts: Int[Array, "C P"], num_words: int, length: int) -> Policy:
    """Softmax of the parameters, logits [C, N], over all ``num_words ** length`` responses, for each prompt.

    Args:
        prompts: the prompts it knows [C, P]; asked about another one it answers as for the first.
        num_words: V.
        length: T.

    Raises:
        ValueError: V^T is too large to enumerate.
    """
    responses = chains.outcomes(num_words, length)
    place_values = num_words ** jnp.arange(length - 1, -1, -1)

    def log_probs(params: Params, prompt: Int[Array, " P"]) -> Float[Array, " N"]:
        index = jnp.argmax((prompts == prompt[None, :]).all(axis=-1))
        return jax.nn.log_softmax(params[index])

    def log_prob(params: Params, prompt: Int[Array, " P"], tokens: Int[Array, " T"]) -> Float[Array, ""]:
        return log_probs(params, prompt)[(tokens * place_values).sum()]

    def token_log_probs(params: Params, prompt: Int[Array, " P"], tokens: Int[Array, " T"]) -> Float[Array, " T"]:
        joint = log_probs(params, prompt)
        prefix = (tokens * place_values).sum() // place_values
        begun = [logsumexp(joint.reshape(num_words ** (t + 1), -1), axis=1)[prefix[t]] for t in range(length)]
        # After a beginning that is impossible every word is: -inf less -inf would be nan.
        before = jnp.stack([jnp.zeros(()), *begun[:-1]])
        return jnp.stack(begun) - jnp.where(jnp.isneginf(before), 0.0, before)

    def sample(key: Key, params: Params, prompt: Int[Array, " P"]) -> Int[Array, " T"]:
        return responses[jax.random.categorical(key, log_probs(params, prompt))]

    return Policy(
        lambda key: jnp.zeros((prompts.shape[0], responses.shape[0])),
        log_prob,
        token_log_probs,
        log_probs,
        lambda params, prompt: jnp.exp(log_probs(params, prompt)),
        sample,
    )
