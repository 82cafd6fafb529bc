"""Policies given by their next-word laws, and the freest of them: a table with one row for every history."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import chains
from toypersona.policies.policy import Policy, known_row
from toypersona.types import Key, Params

Logits = Callable[[Params, Int[Array, " P"]], Float[Array, "H V"]]
"""``(params, prompt) -> `` logits of the next word after every history, in the order of ``chains.histories``."""


def of_logits(init: Callable[[Key], Params], logits: Logits, length: int) -> Policy:
    """The policy whose next words have these logits.

    Args:
        init: of the parameters.
        logits: after all histories; they do not depend on a response, so that under vmap over responses they are
            computed once.
        length: T; from the policy, longer responses raise a ValueError, shorter ones are begun.
    """

    def log_next(params: Params, prompt: Int[Array, " P"]) -> Float[Array, "H V"]:
        made = logits(params, prompt)
        # After what is never said nothing is: a row of -inf would be nan, and so the slope of every other.
        never = jnp.isneginf(made).all(axis=-1, keepdims=True)
        return jnp.where(never, -jnp.inf, jax.nn.log_softmax(jnp.where(never, 0.0, made)))

    def along(said: Float[Array, "H V"], tokens: Int[Array, " T"]) -> Float[Array, " T"]:
        if tokens.shape[0] > length:
            raise ValueError(f"This policy's responses have {length} words, not {tokens.shape[0]}.")
        begun = [jnp.asarray(0)]
        for token in tokens[:-1]:
            begun.append(chains.history_after(begun[-1], token, said.shape[-1]))
        return said[jnp.stack(begun), tokens]

    def token_log_probs(params: Params, prompt: Int[Array, " P"], tokens: Int[Array, " T"]) -> Float[Array, " T"]:
        return along(log_next(params, prompt), tokens)

    def log_prob_each(
        params: Params, prompts: Int[Array, "C P"], which: Int[Array, " M"], tokens: Int[Array, "M T"]
    ) -> Float[Array, " M"]:
        said = jax.vmap(log_next, (None, 0))(params, prompts)
        return jax.vmap(lambda c, own: along(said[c], own).sum())(which, tokens)

    def log_probs(params: Params, prompt: Int[Array, " P"]) -> Float[Array, " N"]:
        return chains.listed(log_next(params, prompt), length)

    def sample(key: Key, params: Params, prompt: Int[Array, " P"]) -> Int[Array, " T"]:
        said, begun, tokens = log_next(params, prompt), jnp.asarray(0), []
        for own_key in jax.random.split(key, length):
            tokens.append(jax.random.categorical(own_key, said[begun]))
            begun = chains.history_after(begun, tokens[-1], said.shape[-1])
        return jnp.stack(tokens)

    return Policy(
        init,
        lambda params, prompt, tokens: token_log_probs(params, prompt, tokens).sum(),
        token_log_probs,
        log_probs,
        lambda params, prompt: jnp.exp(log_probs(params, prompt)),
        sample,
        log_prob_each=log_prob_each,
    )


def of_law(log_law: Float[Array, "C N"], num_words: int, length: int) -> Params:
    """The parameters at which a table says what some law says of all V^T responses to its prompts, nats [C, N]."""
    return chains.histories(log_law, num_words, length)[1]


def table(prompts: Int[Array, "C P"], num_words: int, length: int) -> Policy:
    """Free logits [C, H, V] of the next word after every history of every known prompt.

    A prompt that it does not know gives nan.

    Args:
        prompts: the prompts it knows [C, P].
        num_words: V.
        length: T.
    """
    num_histories = sum(num_words**position for position in range(length))

    shape = (prompts.shape[0], num_histories, num_words)
    return of_logits(lambda key: jnp.zeros(shape), lambda params, prompt: known_row(params, prompts, prompt), length)
