"""The mixture policy: a gate that reads the prompt, and one Markov expert per persona.

``pi(x|c) = sum_k softmax(gate(c))_k p_k(x|c)``. Read token by token, the weights are the posterior over experts given
all that was said so far (mixture of experts: Jacobs, Jordan, Nowlan and Hinton 1991).
Parameters are ``{"gate": ..., "experts": logits [K, U, ..., U, V]}``; experts that read along (``chains.Reading``) have
one more axis of size U. Nobody outside this file looks into them.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from toypersona import chains, numerics
from toypersona.policies import information
from toypersona.policies.policy import Chart, Policy, Speakers
from toypersona.types import Key, Params, Scalar
from toypersona.worlds.world import Labels, World

UNSEEN = 0.1
"""Pseudo-count of a transition that the text does not hold, at the start of a fit."""

PULL = 2.0
"""How many counts the whole text's chain weighs against an expert's own first line."""

SCOPES = {
    "gates": {"gate": 1.0, "experts": 0.0},
    "experts": {"gate": 0.0, "experts": 1.0},
    "both": {"gate": 1.0, "experts": 1.0},
}
"""Which parameters train, by name: 1 trains, 0 is frozen."""


class GateNetwork(nn.Module):
    """Embeds each prompt unit, joins them in order, one hidden layer: logits over experts, for unseen prompts too."""

    num_units: int
    num_personas: int
    width: int = 32

    @nn.compact
    def __call__(self, prompt: Int[Array, " P"]) -> Float[Array, " K"]:
        """Logits [K] for one prompt [P]."""
        dtype = jnp.result_type(float)
        embedded = nn.Embed(self.num_units, self.width, param_dtype=dtype)(prompt)
        hidden = nn.gelu(nn.Dense(self.width, param_dtype=dtype)(embedded.reshape(-1)))
        return nn.Dense(self.num_personas, param_dtype=dtype, name="personas")(hidden)


def _network_gate(prompts: Int[Array, "C P"], num_units: int, num_personas: int) -> tuple[Callable, Callable]:
    network = GateNetwork(num_units, num_personas)
    return (
        lambda key: network.init(key, prompts[0])["params"],
        lambda params, prompt: network.apply({"params": params}, prompt),
    )


def _table_gate(prompts: Int[Array, "C P"], num_units: int, num_personas: int) -> tuple[Callable, Callable]:
    """One free logit per known prompt and expert; starts uniform; any other prompt is answered as the first."""

    def logits(params: Params, prompt: Int[Array, " P"]) -> Float[Array, " K"]:
        index = jnp.argmax((prompts == prompt[None, :]).all(axis=-1))
        return jax.nn.one_hot(index, prompts.shape[0]) @ params["personas"]

    return lambda key: {"personas": jnp.zeros((prompts.shape[0], num_personas))}, logits


def _prior_gate(prompts: Int[Array, "C P"], num_units: int, num_personas: int) -> tuple[Callable, Callable]:
    """One free logit per expert, whatever the prompt; starts uniform."""
    return lambda key: {"personas": jnp.zeros(num_personas)}, lambda params, prompt: params["personas"]


GATES = {"network": _network_gate, "table": _table_gate, "prior": _prior_gate}


def mixture(
    prompts: Int[Array, "C P"],
    *,
    num_personas: int,
    num_units: int,
    num_words: int,
    length: int,
    order: int = 1,
    gate: str = "network",
    reads: bool = False,
    possible: Bool[Array, "..."] | None = None,
) -> Speakers:
    """A gate over prompts and ``num_personas`` Markov experts.

    Args:
        prompts: [C, P]; they fix P, and the rows of a gate table.
        num_personas: K.
        num_units: U, all units, those of prompts included.
        num_words: V, the units a response can be made of.
        length: T of enumerated and sampled responses; ``log_prob`` takes any length.
        order: how many units back the experts look.
        gate: one of ``GATES``: "network" (routes unseen prompts), "table" (a row a prompt) or "prior" (reads nothing).
        reads: experts also see the prompt's unit at their own position; prompts are at least T long.
        possible: words that no expert can say are False, not all of them after any units; shaped as, or broadcast to,
            one expert's table.

    Raises:
        ValueError: an unknown gate.
    """
    if gate not in GATES:
        raise ValueError(f"A mixture's gate is one of {', '.join(GATES)}, not {gate!r}.")
    shape = (*(num_units,) * (order + reads), num_words)
    wrap = chains.Reading if reads else lambda table: table
    init_gate, gate_logits = GATES[gate](prompts, num_units, num_personas)

    def init(key: Key) -> Params:
        gate_key, expert_key = jax.random.split(key)
        return {"gate": init_gate(gate_key), "experts": 0.5 * jax.random.normal(expert_key, (num_personas, *shape))}

    def init_from_text(
        key: Key, prompts: Int[Array, "M P"], responses: Int[Array, "M L"], num_lines: Int[Array, ""]
    ) -> Params:
        gate_key, line_key = jax.random.split(key)
        counted = (jnp.arange(prompts.shape[0]) < num_lines).astype(float)
        pooled = chains.count(prompts, responses, counted, shape, reads=reads) + UNSEEN
        pooled = PULL * pooled / pooled.sum(axis=-1, keepdims=True)
        lines = jax.random.randint(line_key, (num_personas,), 0, num_lines)
        one = lambda i: chains.count(prompts[i][None], responses[i][None], jnp.ones(1), shape, reads=reads)  # noqa: E731
        own = jax.vmap(one)(lines)
        return {"gate": init_gate(gate_key), "experts": jnp.log(own + pooled[None])}

    def log_gate(params: Params, prompt: Int[Array, " P"]) -> Float[Array, " K"]:
        return jax.nn.log_softmax(gate_logits(params["gate"], prompt))

    def logits(params: Params) -> Float[Array, "K *context V"]:
        return params["experts"] if possible is None else jnp.where(possible[None], params["experts"], -jnp.inf)

    def log_tables(params: Params) -> chains.Table:
        return wrap(jax.nn.log_softmax(logits(params)))

    def log_personas(params: Params, prompt: Int[Array, " P"]) -> Float[Array, "K N"]:
        return jax.vmap(lambda table: chains.log_probs(table, prompt, length))(log_tables(params))

    def log_probs(params: Params, prompt: Int[Array, " P"]) -> Float[Array, " N"]:
        return numerics.log_mix(log_gate(params, prompt), log_personas(params, prompt))

    def halves(params: Params, prompt: Int[Array, " P"]) -> chains.Halves:
        tables = wrap(jax.nn.softmax(logits(params)))
        return chains.halves(jnp.exp(log_gate(params, prompt)), tables, prompt, length)

    def probs(params: Params, prompt: Int[Array, " P"]) -> Float[Array, " N"]:
        return chains.joined(halves(params, prompt))

    def mixed(
        tables: chains.Table, log_gates: Float[Array, " K"], prompt: Int[Array, " P"], tokens: Int[Array, " T"]
    ) -> Float[Array, ""]:
        by_expert = jax.vmap(lambda table: chains.log_prob(table, prompt, tokens))(tables)
        return numerics.log_mix(log_gates, by_expert[:, None])[0]

    def log_prob(params: Params, prompt: Int[Array, " P"], tokens: Int[Array, " T"]) -> Float[Array, ""]:
        return mixed(log_tables(params), log_gate(params, prompt), prompt, tokens)

    def log_prob_each(
        params: Params, prompts: Int[Array, "C P"], which: Int[Array, " M"], tokens: Int[Array, "M T"]
    ) -> Float[Array, " M"]:
        tables, gates = log_tables(params), jax.vmap(log_gate, (None, 0))(params, prompts)
        return jax.vmap(mixed, (None, 0, 0, 0))(tables, gates[which], prompts[which], tokens)

    def token_log_probs(params: Params, prompt: Int[Array, " P"], tokens: Int[Array, " T"]) -> Float[Array, " T"]:
        by_expert = jax.vmap(lambda table: chains.token_log_probs(table, prompt, tokens))(log_tables(params))
        begun = numerics.log_mix(log_gate(params, prompt), jnp.cumsum(by_expert, axis=1))
        # After a beginning that is impossible every word is: -inf less -inf would be nan.
        before = jnp.concatenate([jnp.zeros_like(begun[:1]), begun[:-1]])
        return begun - jnp.where(jnp.isneginf(before), 0.0, before)

    def sample(key: Key, params: Params, prompt: Int[Array, " P"]) -> Int[Array, " T"]:
        # Drawing the persona first and then only its tokens is the same law as mixing at every token.
        persona_key, token_key = jax.random.split(key)
        persona = jax.random.categorical(persona_key, log_gate(params, prompt))
        return chains.sample(token_key, log_tables(params), persona, prompt, length)

    def chart(params: Params, prompts: Int[Array, "C P"], log_prompts: Float[Array, " C"], damping: Scalar) -> Chart:
        rho, gates_at = jnp.exp(log_prompts), lambda gate: jax.vmap(gate_logits, (None, 0))(gate, prompts)
        network = gate == "network"
        rows = (lambda made: made) if network else gates_at

        def powers(log_gates: Array, log_tables: Array, power: int = 1) -> Float[Array, "C N"]:
            """``sum_k (g_k p_k)^power``, whose derivatives by logarithms are moments of how often each is chosen."""
            tables = wrap(jnp.exp(power * log_tables))
            one = lambda log_gate, prompt: chains.mixture_probs(jnp.exp(power * log_gate), tables, prompt, length)  # noqa: E731
            return jax.vmap(one)(log_gates, prompts)

        def logs(made: Params) -> tuple[Array, Array]:
            return jax.nn.log_softmax(rows(made["gate"])), jax.nn.log_softmax(logits(made))

        def probs(made: Params) -> Float[Array, "C N"]:
            tables = wrap(jax.nn.softmax(logits(made)))
            one = lambda log_gate, prompt: chains.mixture_probs(jnp.exp(log_gate), tables, prompt, length)  # noqa: E731
            return jax.vmap(one)(jax.nn.log_softmax(rows(made["gate"])), prompts)

        made = {"gate": gates_at(params["gate"]) if network else params["gate"], "experts": params["experts"]}
        law, chosen = jax.vjp(powers, *logs(made))
        rho = rho.astype(law.dtype)
        _, squared = jax.vjp(functools.partial(powers, power=2), *logs(made))
        # Where 1/pi would overflow nothing is heard.
        heard = law > jnp.sqrt(jnp.finfo(law.dtype).tiny)
        complete = chosen(jnp.broadcast_to(rho[:, None], law.shape))
        observed = squared(jnp.where(heard, rho[:, None] / jnp.where(heard, 2 * law, 1.0), 0.0))
        by_row = jax.vjp(rows, made["gate"])[1]
        named = lambda found: {"gate": by_row(found[0])[0], "experts": found[1]}  # noqa: E731
        up = information.lift(gates_at, params["gate"], rho) if network else lambda move, _: move
        lift = lambda move, rate: {"gate": up(move["gate"], rate), "experts": move["experts"]}  # noqa: E731
        return Chart(made, probs, lift, *information.metric(named(complete), named(observed), damping))

    policy = Policy(init, log_prob, token_log_probs, log_probs, probs, sample, chart, halves, log_prob_each)
    return Speakers(policy, log_gate, log_personas, init_from_text, _renamed, SCOPES, log_tables)


def _renamed(params: Params, order: Int[Array, " K"]) -> Params:
    """The same distribution: new expert k is old expert ``order[k]``."""
    last = jax.tree.map(lambda x: x[..., order], params["gate"]["personas"])
    return {"gate": params["gate"] | {"personas": last}, "experts": params["experts"][order]}


def for_world(world: World, labels: Labels, length: int, gate: str = "network") -> Speakers:
    """A mixture over a world's prompts whose experts' tables have the shape of its personas'.

    Where personas read along so do experts, and what no persona can say they cannot either.
    """
    num_personas, *context, num_words = world.log_experts.shape
    reads = isinstance(world.log_experts, chains.Reading)
    return mixture(
        world.prompts,
        num_personas=num_personas,
        num_units=len(labels.units),
        num_words=num_words,
        length=length,
        order=len(context) - reads,
        gate=gate,
        reads=reads,
        possible=~jnp.isneginf(world.log_experts.table).all(axis=0) if reads else None,
    )


def params_of(log_gates: Float[Array, "*C K"], log_tables: Float[Array, "K *context V"]) -> Params:
    """Parameters of a mixture with a gate table [C, K] or a prior [K]: its gates and its experts' chains."""
    return {"gate": {"personas": log_gates}, "experts": log_tables}


def with_gate_table(params: Params, log_gates: Float[Array, "C K"]) -> Params:
    """The same experts under a gate that is a table, one row a prompt: a bandit over personas."""
    return params_of(log_gates, params["experts"])


def expert_logits(params: Params) -> Float[Array, "K *context V"]:
    """The free logits of the experts' next words."""
    return params["experts"]


def gate_logits(params: Params) -> Float[Array, "*C K"]:
    """The free logits of a gate table [C, K] or a prior [K]."""
    return params["gate"]["personas"]


def after_reading(params: Params, units: Float[Array, " U"]) -> Params:
    """A scope that trains what experts say where they read a unit marked 1, not 0; the gate is frozen."""
    mask = units.reshape(1, -1, *[1] * (params["experts"].ndim - 2))
    return {"gate": 0.0, "experts": jnp.broadcast_to(mask, params["experts"].shape)}


def gate_rate(rate: Scalar) -> dict[str, Scalar]:
    """A scope in which the gate learns ``rate`` times as fast as the experts: its gradient is scaled by that.

    For plain gradients alone: the natural gradient undoes every scaling.
    """
    return {"gate": rate, "experts": 1.0}
