"""Estimators of KL(pi‖pi0) as trainers log and differentiate them, exact: every response counts with its probability.

Of a response x that somebody sampled a trainer knows the log-ratios ``l_t = log pi/pi0`` of its T words. It logs an
estimator of ``rules.divergences`` of each word, added up, or of the whole response, ``l = sum_t l_t``; and it puts one
into the loss, which is then differentiated at the samples, or into the reward. Differentiated, an estimate k is the
policy gradient of an advantage of ``-k'(l)``: of k1 a constant, so nothing; of k2 ``-l``, the divergence's own; of k3
``-(1 - pi0/pi)``, which is that of KL(pi0‖pi) (Tang and Munos 2025).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from toypersona import chains, numerics
from toypersona.policies.policy import Policy, all_log_probs
from toypersona.rules import divergences, rollouts
from toypersona.types import Key, Params, Scalar

ESTIMATORS = {"k1": divergences.k1, "k2": divergences.k2, "k3": divergences.k3}
LEVELS = ("token", "response")

COLD, HOT, FEW, ENGINE = 0.7, 1.3, 3, 0.1
"""Temperatures, words of top-k and the normal error on every logit of samplers that are not the policy."""

TARGETS = ("KL(policy‖base)", "KL(base‖policy)", "its next words", "next words, reversed")
"""What a penalty may pull down: the divergences of responses, and those of next words after the policy's histories."""


class Logged(NamedTuple):
    """What a trainer logs of KL(pi‖pi0), nats a response, by estimator and level [E, L].

    Attributes:
        mean: over what is sampled.
        spread: standard deviation of one response's.
        negative: how often one response's is below 0.
    """

    mean: Float[Array, "E L"]
    spread: Float[Array, "E L"]
    negative: Float[Array, "E L"]


def token_ratios(
    policy: Policy, params: Params, ref_params: Params, prompts: Int[Array, "C P"], responses: Int[Array, "N T"]
) -> Float[Array, "C N T"]:
    """``log pi/pi0`` of every word of every response, nats; 0 for a word that the base cannot say."""
    tokens = jnp.broadcast_to(responses, (prompts.shape[0], *responses.shape))
    ours, theirs = (rollouts.token_log_probs(policy, each, prompts, tokens) for each in (params, ref_params))
    return jnp.where(jnp.isneginf(theirs), 0.0, ours - theirs)


def logged(
    log_ratio: Float[Array, "C N T"], log_sampler: Float[Array, "C N"], log_prompts: Float[Array, " C"]
) -> Logged:
    """What is logged where responses come from a sampler, which need not be the policy.

    Args:
        log_ratio: of ``token_ratios``.
        log_sampler: log q(x|c) of the sampler [C, N].
        log_prompts: log rho(c) [C].
    """
    mean = lambda values: numerics.expectation(log_prompts, numerics.expectation(log_sampler, values))  # noqa: E731

    def of(values: Float[Array, "C N"]) -> Logged:
        middle = mean(values)
        return Logged(middle, jnp.sqrt(mean((values - middle) ** 2)), mean((values < 0).astype(values.dtype)))

    levels = log_ratio, log_ratio.sum(axis=-1, keepdims=True)
    each = [[of(estimate(level).sum(axis=-1)) for level in levels] for estimate in ESTIMATORS.values()]
    return jax.tree.map(lambda *x: jnp.stack(x).reshape(len(ESTIMATORS), len(LEVELS)), *sum(each, []))


def negative_tokens(
    log_ratio: Float[Array, "C N T"], log_policy: Float[Array, "C N"], log_prompts: Float[Array, " C"]
) -> Float[Array, ""]:
    """The share of the sampled words whose k1 is below 0."""
    below = (log_ratio < 0).mean(axis=-1, dtype=log_ratio.dtype)
    return numerics.expectation(log_prompts, numerics.expectation(log_policy, below))


def negative_batches(
    key: Key,
    log_ratio: Float[Array, "C N"],
    log_policy: Float[Array, "C N"],
    log_prompts: Float[Array, " C"],
    size: int,
    num_batches: int,
) -> Float[Array, ""]:
    """How often the mean of k1 over a batch that the policy sampled is below 0, of so many batches drawn."""
    draw = numerics.drawer((log_prompts[:, None] + log_policy).reshape(1, -1))
    drawn = draw(key, num_batches * size).reshape(num_batches, size)
    return (log_ratio.reshape(-1)[drawn].mean(axis=1) < 0).mean(dtype=log_policy.dtype)


def negative_law(divergence: Float[Array, "*batch"], size: Scalar) -> Float[Array, "*batch"]:
    """How often the mean of k1 over a batch is below 0, where little has moved: ``Phi(-sqrt(size KL / 2))``.

    Near the base k1 has mean KL and variance 2 KL, whatever the policy; means of batches are nearly normal.
    """
    return jax.scipy.stats.norm.cdf(-jnp.sqrt(size * divergence / 2))


def sampler_names(end: int | None) -> tuple[str, ...]:
    """Of ``samplers``."""
    names = (
        *("the policy", f"temperature {COLD:g}", f"temperature {HOT:g}", f"top {FEW} words"),
        f"engine off by {ENGINE:g}",
    )
    return names if end is None else (*names, "no early end")


def samplers(key: Key, log_policy: Float[Array, "C N"], length: int, end: int | None) -> Float[Array, "S C N"]:
    """Who may have sampled what a trainer takes for the policy's: log q(x|c) of each of ``sampler_names``.

    Args:
        key: draws the engine's errors.
        log_policy: log pi [C, N].
        length: T.
        end: the word that closes a response, which a smallest length forbids before the last place; None without one.
    """
    num_words = chains.num_words(log_policy.shape[-1], length)
    _, log_next = chains.histories(log_policy, num_words, length)

    def made(logits: Float[Array, "C H V"]) -> Float[Array, "C N"]:
        # After what nobody says anything may follow: all of -inf has no sum.
        known = jnp.where(jnp.isneginf(logits).all(axis=-1, keepdims=True), 0.0, logits)
        return jax.vmap(lambda rows: chains.listed(rows, length))(numerics.log_normalize(known))

    likely = jax.lax.top_k(log_next, min(FEW, num_words))[0][..., -1:]
    found = [
        log_policy,
        made(log_next / COLD),
        made(log_next / HOT),
        made(jnp.where(log_next >= likely, log_next, -jnp.inf)),
        made(log_next + ENGINE * jax.random.normal(key, log_next.shape)),
    ]
    if end is not None:
        early = jnp.arange(log_next.shape[1]) < log_next.shape[1] - num_words ** (length - 1)
        barred = early[:, None] & (jnp.arange(num_words) == end)[None]
        found.append(made(jnp.where(barred[None], -jnp.inf, log_next)))
    return jnp.stack(found)


Weights = Callable[[Float[Array, "C N T"], Float[Array, "C N"]], Float[Array, "C N T"]]
"""``(log pi/pi0 of each word, log pi(x|c))`` to the weight of each word's ``grad log pi`` in the penalty's gradient."""


def _in_loss(estimator: divergences.Estimator, *, by_token: bool, corrected: bool = False) -> Weights:
    """Of an estimate that is differentiated, by the code of the rules."""
    nothing = lambda log_probs, batch: 0.0 * log_probs.sum(axis=-1)  # noqa: E731
    penalty = rollouts.penalised(nothing, 1.0, estimator, by_token=by_token, corrected=corrected)

    def weights(log_ratio: Float[Array, "C N T"], log_policy: Float[Array, "C N"]) -> Float[Array, "C N T"]:
        # Estimates depend on ratios alone, so that the base may be taken for 0.
        batch = rollouts.Batch(jnp.zeros(log_ratio.shape, int), log_policy, log_ratio, jnp.zeros_like(log_ratio))
        return -jax.grad(lambda log_probs: penalty(log_probs, batch).sum())(log_ratio)

    return weights


def _in_reward(log_ratio: Float[Array, "C N T"], log_policy: Float[Array, "C N"]) -> Float[Array, "C N T"]:
    """REINFORCE: every word is credited with the whole response."""
    return jnp.broadcast_to(log_ratio.sum(axis=-1, keepdims=True), log_ratio.shape)


def _to_go(log_ratio: Float[Array, "C N T"], log_policy: Float[Array, "C N"]) -> Float[Array, "C N T"]:
    """Every word is credited with itself and those after it, as PPO does without discount."""
    return jnp.cumsum(log_ratio[..., ::-1], axis=-1)[..., ::-1]


def _less_mean(log_ratio: Float[Array, "C N T"], log_policy: Float[Array, "C N"]) -> Float[Array, "C N T"]:
    """As in a large group: less the mean of the prompt."""
    whole = _in_reward(log_ratio, log_policy)
    return whole - numerics.expectation(log_policy, whole[..., 0])[:, None, None]


WAYS: dict[str, tuple[Weights, str | None]] = {
    "k1 in reward": (_in_reward, TARGETS[0]),
    "k1 in reward, less the group's mean": (_less_mean, TARGETS[0]),
    "k1 in reward, by token": (_to_go, TARGETS[0]),
    "k1 in loss": (_in_loss(divergences.k1, by_token=True), None),
    "k2 in loss, by response": (_in_loss(divergences.k2, by_token=False), TARGETS[0]),
    "k2 in loss, by token": (_in_loss(divergences.k2, by_token=True), TARGETS[2]),
    "k3 in loss, by response": (_in_loss(divergences.k3, by_token=False), TARGETS[1]),
    "k3 in loss, by token": (_in_loss(divergences.k3, by_token=True), TARGETS[3]),
    "k3 in loss, corrected, by response": (
        _in_loss(divergences.k3, by_token=False, corrected=True), TARGETS[0],
    ),
    "k3 in loss, corrected, by token": (_in_loss(divergences.k3, by_token=True, corrected=True), TARGETS[2]),
}  # fmt: skip
"""Ways to penalise KL, each with the one of ``TARGETS`` whose gradient it has on average; None: it has none."""


class Pulls(NamedTuple):
    """What each of the W ways pulls at on average, against the gradients of the targets.

    Attributes:
        size: its length over that of the gradient of KL(pi‖pi0) [W].
        cosine: to the gradient of each target [W, 4]; without meaning where the size is 0.
        missed: by how much it misses each target's gradient, over that one's length [W, 4].
        noise: standard deviation of one response's pull over the length of the gradient of KL(pi‖pi0) [W].
    """

    size: Float[Array, " W"]
    cosine: Float[Array, "W 4"]
    missed: Float[Array, "W 4"]
    noise: Float[Array, " W"]


def pulls(
    policy: Policy,
    params: Params,
    ref_params: Params,
    prompts: Int[Array, "C P"],
    log_prompts: Float[Array, " C"],
    responses: Int[Array, "N T"],
) -> Pulls:
    """The gradient of each of ``WAYS`` on average over the policy's own responses, and how one response's scatters.

    Args:
        policy: whose parameters are moved.
        params: where it is.
        ref_params: the base's.
        prompts: [C, P].
        log_prompts: log rho(c) [C].
        responses: all V^T [N, T].
    """
    flat, unravel = ravel_pytree(params)
    log_ratio = token_ratios(policy, params, ref_params, prompts, responses)
    log_policy, log_base = (all_log_probs(policy, each, prompts) for each in (params, ref_params))
    mass = jnp.exp(log_prompts[:, None] + log_policy)
    tokens = jnp.broadcast_to(responses, (prompts.shape[0], *responses.shape))
    _, pull_back = jax.vjp(lambda x: rollouts.token_log_probs(policy, unravel(x), prompts, tokens), flat)
    weights = jnp.stack([weigh(log_ratio, log_policy) for weigh, _ in WAYS.values()])
    gradients = jax.lax.map(lambda each: pull_back(mass[..., None] * each)[0], weights)
    targets = _target_gradients(policy, unravel, flat, log_base, prompts, log_prompts, responses.shape[1])

    def gram(prompt: Int[Array, " P"], response: Int[Array, " T"]) -> Float[Array, "T T"]:
        jacobian = jax.jacrev(lambda x: policy.token_log_probs(unravel(x), prompt, response))(flat)
        return jacobian @ jacobian.T

    grams = jax.lax.map(lambda prompt: jax.lax.map(lambda x: gram(prompt, x), responses, batch_size=128), prompts)
    square = jnp.einsum("cn,wcnt,cnts,wcns->w", mass, weights, grams, weights)
    own = jnp.linalg.norm(targets[0])
    lengths, sizes = jnp.linalg.norm(gradients, axis=1), jnp.linalg.norm(targets, axis=1)
    cosine = gradients @ targets.T / jnp.where(lengths > 0, lengths, 1.0)[:, None] / sizes[None]
    missed = jnp.linalg.norm(gradients[:, None] - targets[None], axis=-1) / sizes[None]
    noise = jnp.sqrt(jnp.maximum(square - lengths**2, 0.0)) / own
    return Pulls(lengths / own, cosine, missed, noise)


def _target_gradients(
    policy: Policy,
    unravel: Callable[[Array], Params],
    flat: Float[Array, " D"],
    log_base: Float[Array, "C N"],
    prompts: Int[Array, "C P"],
    log_prompts: Float[Array, " C"],
    length: int,
) -> Float[Array, "4 D"]:
    """The gradients of ``TARGETS``, each of its divergence as a function of the parameters."""
    num_words = chains.num_words(log_base.shape[1], length)
    _, base_next = chains.histories(log_base, num_words, length)

    def values(x: Float[Array, " D"]) -> Float[Array, "4"]:
        log_policy = all_log_probs(policy, unravel(x), prompts)
        begun, log_next = chains.histories(log_policy, num_words, length)
        come = jax.lax.stop_gradient(begun)
        mean = lambda nats: numerics.expectation(log_prompts, nats)  # noqa: E731
        after = lambda nats: mean(numerics.expectation(come, nats))  # noqa: E731
        both = numerics.kl_divergence
        return jnp.stack([
            mean(both(log_policy, log_base)), mean(both(log_base, log_policy)),
            after(both(log_next, base_next)), after(both(base_next, log_next)),
        ])  # fmt: skip

    return jax.jacrev(values)(flat)
