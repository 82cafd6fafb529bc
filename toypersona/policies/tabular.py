"""A policy with one free logit for every response to every known prompt: nothing constrains it but the simplex."""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int

from toypersona import chains
from toypersona.policies import information
from toypersona.policies.policy import Chart, Policy, known_row
from toypersona.types import Key, Params, Scalar


def tabular(prompts: Int[Array, "C P"], num_words: int, length: int) -> Policy:
    """Softmax of the parameters, logits [C, N], over all ``num_words ** length`` responses, for each prompt.

    A shorter response has the probability of beginning so, as for every policy. What it has no logits for is never
    another response's: a word from V on has log-probability -inf, and a prompt that it does not know gives nan.

    Args:
        prompts: the prompts it knows [C, P].
        num_words: V.
        length: T.

    Raises:
        ValueError: V^T is too large to enumerate; from the policy, a response longer than T or a prompt of another
            length.
    """
    responses = chains.outcomes(num_words, length)

    def log_probs(params: Params, prompt: Int[Array, " P"]) -> Float[Array, " N"]:
        if prompt.shape != prompts.shape[1:]:
            raise ValueError(f"This table knows prompts of {prompts.shape[1]} units, not of {prompt.shape[0]}.")
        return jax.nn.log_softmax(known_row(params, prompts, prompt))

    def log_begun(joint: Float[Array, " N"], tokens: Int[Array, " t"]) -> Float[Array, ""]:
        """That a response begins with some words."""
        num = tokens.shape[0]
        if num > length:
            raise ValueError(f"This table's responses have {length} words, not {num}.")
        sums = joint if num == length else logsumexp(joint.reshape(num_words**num, -1), axis=1)
        known = ((tokens >= 0) & (tokens < num_words)).all()
        return jnp.where(known, sums[tokens @ num_words ** jnp.arange(num - 1, -1, -1)], -jnp.inf)

    def log_prob(params: Params, prompt: Int[Array, " P"], tokens: Int[Array, " T"]) -> Float[Array, ""]:
        return log_begun(log_probs(params, prompt), tokens)

    def token_log_probs(params: Params, prompt: Int[Array, " P"], tokens: Int[Array, " T"]) -> Float[Array, " T"]:
        joint = log_probs(params, prompt)
        begun = [log_begun(joint, tokens[: t + 1]) for t in range(tokens.shape[0])]
        # After a beginning that is impossible every word is: -inf less -inf would be nan.
        before = jnp.stack([jnp.zeros(()), *begun[:-1]])
        return jnp.stack(begun) - jnp.where(jnp.isneginf(before), 0.0, before)

    def sample(key: Key, params: Params, prompt: Int[Array, " P"]) -> Int[Array, " T"]:
        return responses[jax.random.categorical(key, log_probs(params, prompt))]

    def chart(params: Params, asked: Int[Array, "A P"], log_prompts: Float[Array, " A"], damping: Scalar) -> Chart:
        rows = jax.vmap(lambda prompt: jnp.argmax((prompts == prompt[None, :]).all(axis=-1)))(asked)
        heard = jnp.zeros(prompts.shape[0]).at[rows].add(jnp.exp(log_prompts))[:, None] * jax.nn.softmax(params)
        law = lambda logits: jnp.exp(jax.vmap(log_probs, (None, 0))(logits, asked))  # noqa: E731
        return Chart(params, law, lambda move, _: move, *information.metric(heard, heard, damping))

    return Policy(
        lambda key: jnp.zeros((prompts.shape[0], responses.shape[0])),
        log_prob,
        token_log_probs,
        log_probs,
        lambda params, prompt: jnp.exp(log_probs(params, prompt)),
        sample,
        chart,
    )
