"""A language model that answers questions in several voices: next-word laws, answers, and what they tell of who speaks.

The hull is that of the voices, of which each is the model after other lines (``worlds.voices``); the base mixes them
evenly. How much an answer tells of its voice is the mutual information ``I(K; X) = E log p_K(X)/p0(X)``, at most
ln K nats.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from toypersona import numerics
from toypersona.policies import language_model
from toypersona.policies.language_model import Answers, Prefix
from toypersona.policies.model_file import Model
from toypersona.types import Key

_read = jax.jit(language_model.read, static_argnums=0)
_sample = jax.jit(language_model.sample, static_argnums=0, static_argnames=("num", "length"))
_score = jax.jit(language_model.score, static_argnums=0)


class Said(NamedTuple):
    """M answers of each of K voices to one question.

    Attributes:
        tokens: of voice k, padded behind their ends [K, M, T].
        log_probs: of the answers of voice k under voice j of J, nats [K, J, M].
    """

    tokens: Int[Array, "K M T"]
    log_probs: Float[Array, "K J M"]


def read(model: Model, prompts: Sequence[str]) -> list[Prefix]:
    """Every prompt read once, by one program: the shorter ones are padded."""
    tokens = [np.array(model.encode(prompt)) for prompt in prompts]
    longest = max(map(len, tokens))
    padded = [jnp.asarray(np.pad(one, (0, longest - len(one)))) for one in tokens]
    return [_read(model.architecture, model.params, *each) for each in zip(padded, map(len, tokens), strict=True)]


def next_laws(prefixes: Sequence[Prefix], temperature: float) -> Float[Array, "K V"]:
    """Log-probability of every next token after each prompt, nats, float64 where that is enabled."""
    logits = jnp.stack([prefix.logits for prefix in prefixes]).astype(float)
    return numerics.log_normalize(logits / temperature)


def answers(
    key: Key,
    model: Model,
    prefixes: Sequence[Prefix],
    *,
    num: int,
    length: int,
    temperature: float,
    under: Sequence[Prefix] | None = None,
) -> Said:
    """``num`` answers of at most ``length`` tokens of every voice, scored under all of them, or those of ``under``."""
    own, how = (model.architecture, model.params), {"ends": jnp.asarray(model.ends), "temperature": temperature}
    each_key = zip(jax.random.split(key, len(prefixes)), prefixes, strict=True)
    drawn = [_sample(*own, one, prefix, num=num, length=length, **how) for one, prefix in each_key]

    def scored(one: Answers, voice: Prefix) -> list[Array]:
        """Whoever gave an answer has scored it."""
        laws = (
            one.log_probs if other is voice else _score(*own, other, one.tokens, **how) for other in under or prefixes
        )
        return [law.sum(axis=1) for law in laws]

    log_probs = [jnp.stack(scored(one, voice)) for one, voice in zip(drawn, prefixes, strict=True)]
    return Said(jnp.stack([each.tokens for each in drawn]), jnp.stack(log_probs))


def information(log_voices: Float[Array, "K N"]) -> Float[Array, ""]:
    """How much an outcome tells of its voice if all speak equally often: ``mean_k KL(p_k‖mean_j p_j)``, nats."""
    even = jnp.full(len(log_voices), -jnp.log(len(log_voices)))
    base = numerics.log_mix(even, log_voices)
    return numerics.kl_divergence(log_voices, jnp.broadcast_to(base, log_voices.shape)).mean()


def sampled_information(log_probs: Float[Array, "K K M"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The same of whole answers, from samples (``Said.log_probs``), and its standard error; nats."""
    num = len(log_probs)
    log_base = jax.nn.logsumexp(log_probs, axis=1) - jnp.log(num)
    told = jnp.diagonal(log_probs).T - log_base
    # Voices are strata: of each the same number was drawn.
    error = jnp.sqrt((told.var(axis=1, ddof=1) / told.shape[1]).sum()) / num
    return told.mean(), error
