"""Reinforcement learning of a language model that answers in several voices: low-rank adapters and gates.

The policy is ``pi(x) = sum_k g_k p_k(x)``: gates, and the adapted model after the lines of each voice, which are read
anew at every step, so that an answer's first token moves as well. Its personas are the voices before any training,
``spoken``'s. Each answer is drawn together with its voice, and the score-function gradient is that of both::

    grad J = sum_k g_k E_{x ~ p_k}[(r - b)(grad log g_k + grad log p_k(x))]          (Williams 1992)

the same for any baseline b, which for log p_k may be another for every voice. All voices give the same number of
answers, weighted by their gates.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from toypersona.policies import language_model
from toypersona.policies.language_model import Architecture
from toypersona.policies.model_file import Model
from toypersona.types import Key, Params, Scalar

TOGETHER = 4
"""Directions that are followed at once."""


class Trained(NamedTuple):
    """What is trained, or a direction in it.

    Attributes:
        adapters: of all blocks (``language_model.adapters``).
        gates: logits of the voices [K].
    """

    adapters: Params
    gates: Float[Array, " K"]


class Asked(NamedTuple):
    """A question after the lines of each of K voices, and how it is answered.

    Attributes:
        prompts: tokens, padded behind their ends [K, P].
        lengths: tokens of each that count [K].
        temperature: that logits are divided by.
    """

    prompts: Int[Array, "K P"]
    lengths: Int[Array, " K"]
    temperature: float


def adapted(model: Model, trained: Trained) -> Model:
    """The model whose adapters act, for ``spoken``."""
    return model._replace(params=model.params | {"adapters": trained.adapters})


def untrained(key: Key, model: Model, num_voices: int, rank: int) -> Trained:
    """The base: fresh adapters, which change nothing, and even gates."""
    return Trained(language_model.adapters(key, model.params, rank), jnp.zeros(num_voices))


def gate_slope(gates: Float[Array, " K"], rewards: Float[Array, "K M"]) -> Float[Array, " K"]:
    """The gradient of the mean reward in gate logits, from rewards of M answers of every voice."""
    shares, paid = jax.nn.softmax(gates), rewards.mean(axis=1)
    return shares * (paid - shares @ paid)


def adapter_slope(
    model: Model, trained: Trained, asked: Asked, tokens: Int[Array, "K M T"], rewards: Float[Array, "K M"]
) -> Params:
    """The gradient of the mean reward in adapters; an answer's baseline is the mean of the others of its voice."""
    rest = rewards - rewards.mean(axis=1, keepdims=True)
    weights = jax.nn.softmax(trained.gates)[:, None] * rest / (rewards.shape[1] - 1)
    each = zip(asked.prompts, asked.lengths, tokens, strict=True)
    context = _context(model, trained, asked)
    parts = [_pull(*context, one, weight) for one, weight in zip(each, weights, strict=True)]
    return jax.tree.map(lambda *x: sum(x), *parts)


def moved(
    model: Model, trained: Trained, asked: Asked, directions: Params, tokens: Int[Array, "M T"]
) -> Float[Array, "D K M"]:
    """How fast log p_k of answers moves along each of D directions of the adapters, whose leaves have an axis D."""
    context, each = _context(model, trained, asked), zip(asked.prompts, asked.lengths, strict=True)
    parts = [_moved(*context, (*one, tokens), directions) for one in each]
    return jnp.stack(parts, axis=1)


def direction(
    gates: Float[Array, " K"], log_voices: Float[Array, "K M"], gate_moves: Float[Array, "D K"], moves: Array
) -> Float[Array, "D M"]:
    """How fast log pi of answers moves: by gate logits [D, K] and by log p_k [D, K, M].

    ``d log pi = sum_k P(k|x) (d log g_k + d log p_k(x))``.
    """
    shares = jax.nn.softmax(gates)
    log_gates = gate_moves - (gate_moves @ shares)[:, None]
    posterior = jax.nn.softmax(jnp.log(shares)[:, None] + log_voices, axis=0)
    return jnp.einsum("km,dkm->dm", posterior, log_gates[:, :, None] + moves)


class _Context(NamedTuple):
    """What both programs are given of the model and of how it answers, beside adapters and prompts."""

    params: Params
    ends: Bool[Array, " V"]
    temperature: Scalar


def _context(model: Model, trained: Trained, asked: Asked) -> tuple[Architecture, _Context, Params]:
    """What both programs take first."""
    return model.architecture, _Context(model.params, jnp.asarray(model.ends), asked.temperature), trained.adapters


def _said(
    architecture: Architecture,
    context: _Context,
    prompt: Int[Array, " P"],
    length: Int[Array, ""],
    tokens: Int[Array, "M T"],
) -> Callable[[Params], Float[Array, " M"]]:
    """Log-probabilities of answers as a function of the adapters, nats."""

    def log_prob(adapters: Params) -> Float[Array, " M"]:
        params, how = (
            context.params | {"adapters": adapters},
            {"ends": context.ends, "temperature": context.temperature},
        )
        prefix = language_model.read(architecture, params, prompt, length)
        return language_model.score(architecture, params, prefix, tokens, **how).sum(axis=1)

    return log_prob


@jax.jit(static_argnums=0)
def _pull(
    architecture: Architecture,
    context: _Context,
    adapters: Params,
    answers: tuple[Array, ...],
    weights: Float[Array, " M"],
) -> Params:
    """The gradient of the weighted sum of log-probabilities."""
    said = _said(architecture, context, *answers)
    return jax.grad(lambda adapters: weights @ said(adapters))(adapters)


@jax.jit(static_argnums=0)
def _moved(
    architecture: Architecture, context: _Context, adapters: Params, answers: tuple[Array, ...], directions: Params
) -> Float[Array, "D M"]:
    said = _said(architecture, context, *answers)
    # Some together share what does not depend on the direction; all would need too much memory.
    return jax.lax.map(lambda one: jax.jvp(said, (adapters,), (one,))[1], directions, batch_size=TOGETHER)
