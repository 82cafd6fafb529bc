"""The interface every policy has: pure functions over a pytree of parameters, written for one prompt.

Callers vmap over prompts, keys and parameters. A model too large to list its responses is measured from samples.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from toypersona import chains
from toypersona.types import Key, Params, Scalar


class Chart(NamedTuple):
    """A policy as a function of the logits that its parameters make: there its Fisher matrix F is easy to invert.

    Attributes:
        logits: a pytree; the parameters themselves where they are logits.
        probs: ``logits -> pi(x|c) [C, N]``.
        lift: ``(move of the logits, learning rate) -> move of the parameters``, the shortest that makes it; held back
            where that many times the move is too long a step, which at a learning rate of 0 nothing is.
        damp: ``move -> D move``, what damping adds to F; symmetric, and 0 where no parameter hides another.
        invert: ``slope -> M slope``, M symmetric and near the inverse of ``F + D``, but cheap; 0 where F is.
    """

    logits: Params
    probs: Callable[[Params], Float[Array, "C N"]]
    lift: Callable[[Params, Scalar], Params]
    damp: Callable[[Params], Params]
    invert: Callable[[Params], Params]


class Policy(NamedTuple):
    """A family of conditional distributions pi(x|c) over responses x to a prompt c.

    Attributes:
        init: ``(key) -> params``.
        log_prob: ``(params, prompt [P], tokens [T]) -> []``, nats, for any T.
        token_log_probs: ``(params, prompt [P], tokens [T]) -> [T]``, nats, of each token given those before; their sum
            is ``log_prob``.
        log_probs: ``(params, prompt [P]) -> [N]``, nats, of all V^T responses in the order of ``chains.outcomes``.
        probs: ``(params, prompt [P]) -> [N]``, the same without the logarithm, by the fastest way there is: for sums
            over responses and their gradients, thousands of times over. Below about 1e-300 (1e-38 in float32) it is 0.
        sample: ``(key, params, prompt [P]) -> tokens [T]``.
        chart: ``(params, prompts [C, P], log_prompts [C], damping) -> Chart``, for the natural gradient; None if it has
            none.
        halves: ``(params, prompt [P]) -> chains.Halves``, of which ``probs`` are made; None of what is no mixture.
        log_prob_each: ``(params, prompts [C, P], which [M], tokens [M, T]) -> [M]``, ``log_prob`` of M responses, of
            number i to ``prompts[which[i]]``, with every prompt read once; None where that saves nothing. Who replaces
            ``log_prob`` replaces this too.
    """

    init: Callable[[Key], Params]
    log_prob: Callable[[Params, Int[Array, " P"], Int[Array, " T"]], Float[Array, ""]]
    token_log_probs: Callable[[Params, Int[Array, " P"], Int[Array, " T"]], Float[Array, " T"]]
    log_probs: Callable[[Params, Int[Array, " P"]], Float[Array, " N"]]
    probs: Callable[[Params, Int[Array, " P"]], Float[Array, " N"]]
    sample: Callable[[Key, Params, Int[Array, " P"]], Int[Array, " T"]]
    chart: Callable[[Params, Int[Array, "C P"], Float[Array, " C"], Scalar], Chart] | None = None
    halves: Callable[[Params, Int[Array, " P"]], chains.Halves] | None = None
    log_prob_each: (
        Callable[[Params, Int[Array, "C P"], Int[Array, " M"], Int[Array, "M T"]], Float[Array, " M"]] | None
    ) = None


class Read(NamedTuple):
    """What a network computes at every history of a prompt, in the order of ``chains.histories``.

    Attributes:
        log_next: log-probabilities of the next word, nats [H, V].
        stream: the residual stream before each of L blocks and after the last [L + 1, H, D].
    """

    log_next: Float[Array, "H V"]
    stream: Float[Array, "L H D"]


class Speakers(NamedTuple):
    """A policy together with the personas that it holds: what a base is made of.

    Attributes:
        policy: the ``Policy``.
        log_gate: ``(params, prompt [P]) -> [K]``, log-probability that the prompt calls for each persona.
        log_personas: ``(params, prompt [P]) -> [K, N]``, each persona's log-probability of every response: of the
            experts of a mixture, or of the policy itself when it is called by the persona's name, repaired
            (``hulls.repaired``). Mixed by the gates they are the policy.
        init_from_text: ``(key, prompts [M, P], responses [M, L], num_lines []) -> params``, a random start for fitting
            the first lines of a text.
        renamed: ``(params, order [K]) -> params``, the same policy with its personas in another order.
        scopes: by name, which parameters train: pytree prefixes of 1 (trains) and 0 (frozen).
        log_tables: ``(params) -> chains.Table``, the personas' chains [K, U, ..., U, V]; None where they are none.
        called: ``(params, prompt) -> [K, N]``, a network's own log-probabilities where it is called by each name; None
            of what has no names.
        read: ``(params, prompt, caller [] or None) -> Read`` of a network, called by nobody or by the name of a number
            from 0 to K - 1; None of what is no network.
    """

    policy: Policy
    log_gate: Callable[[Params, Int[Array, " P"]], Float[Array, " K"]]
    log_personas: Callable[[Params, Int[Array, " P"]], Float[Array, "K N"]]
    init_from_text: Callable[[Key, Int[Array, "M P"], Int[Array, "M L"], Int[Array, ""]], Params]
    renamed: Callable[[Params, Int[Array, " K"]], Params]
    scopes: Mapping[str, Any]
    log_tables: Callable[[Params], chains.Table] | None = None
    called: Callable[[Params, Int[Array, " P"]], Float[Array, "K N"]] | None = None
    read: Callable[..., Read] | None = None

    def trained(self, scope: str) -> Policy:
        """The policy with the parameters of a scope free: "both", all of them.

        Raises:
            ValueError: there is no such scope.
        """
        if scope == "both":
            return self.policy
        if scope not in self.scopes:
            raise ValueError(f"scope={scope!r} has to be one of {', '.join(sorted({'both', *self.scopes}))}.")
        return with_frozen(self.policy, self.scopes[scope])


def known_row(rows: Float[Array, "C *rest"], prompts: Int[Array, "C P"], prompt: Int[Array, " P"]) -> Array:
    """The row of a table that belongs to a prompt; nan for a prompt that is none of those known [C, P]."""
    same = (prompts == prompt[None, :]).all(axis=-1)
    return jnp.where(same.any(), rows[jnp.argmax(same)], jnp.nan)


def all_log_probs(policy: Policy, params: Params, prompts: Int[Array, "C P"]) -> Float[Array, "C N"]:
    """Log pi(x|c) in nats of every response to every prompt, [C, N]."""
    return jax.vmap(policy.log_probs, in_axes=(None, 0))(params, prompts)


def log_prob_each(
    policy: Policy, params: Params, prompts: Int[Array, "C P"], which: Int[Array, " M"], tokens: Int[Array, "M T"]
) -> Float[Array, " M"]:
    """Log pi in nats of M responses, of number i to ``prompts[which[i]]`` [M]; few are read one by one."""
    if policy.log_prob_each and prompts.shape[0] <= which.shape[0]:
        return policy.log_prob_each(params, prompts, which, tokens)
    return jax.vmap(policy.log_prob, in_axes=(None, 0, 0))(params, prompts[which], tokens)


def all_probs(policy: Policy, params: Params, prompts: Int[Array, "C P"]) -> Float[Array, "C N"]:
    """Pi(x|c) of every response to every prompt, [C, N]."""
    return jax.vmap(policy.probs, in_axes=(None, 0))(params, prompts)


def with_frozen(policy: Policy, trainable: Any) -> Policy:
    """The same policy, with no derivative where ``trainable`` is 0, so that every rule leaves those parameters alone.

    ``trainable`` is a pytree prefix of the parameters, with leaves 1 (trains) or 0 (frozen), and of the logits of its
    chart. It may be traced: one compiled sweep then serves every scope.
    """

    def freeze(params: Params) -> Params:
        def blend(mask: Any, x: Array) -> Array:
            # Logits of -inf, of what cannot be said, train nowhere: 0 times inf would be nan.
            possible = jnp.isfinite(x)
            known = jnp.where(possible, x, 0.0)
            return jnp.where(
                possible, mask * known + (1 - mask) * jax.lax.stop_gradient(known), jax.lax.stop_gradient(x)
            )

        return jax.tree.map(lambda mask, subtree: jax.tree.map(lambda x: blend(mask, x), subtree), trainable, params)

    def kept(vector: Params) -> Params:
        return jax.tree.map(lambda m, subtree: jax.tree.map(lambda x: m * x, subtree), trainable, vector)

    def chart(*arguments: Any) -> Chart:
        free = policy.chart(*arguments)  # pyright: ignore[reportOptionalCall]
        return free._replace(
            probs=lambda logits: free.probs(freeze(logits)),
            damp=lambda move: kept(free.damp(kept(move))),
            invert=lambda slope: kept(free.invert(kept(slope))),
        )

    frozen = lambda function: lambda params, *rest: function(freeze(params), *rest)  # noqa: E731
    names = ("log_prob", "token_log_probs", "log_probs", "probs", "halves", "log_prob_each")
    functions: dict[str, Any] = {name: frozen(own) for name in names if (own := getattr(policy, name))}
    return policy._replace(**functions, chart=policy.chart and chart)
