"""Mixtures of Markov chains tilted by a reward for each word: exact and sampled budgets at any length."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from experiments import base_model
from toypersona import chains, numerics, theory
from toypersona.measures import drift
from toypersona.types import Key

CASES = ("per word", "equal means", "last word", "one persona")
WEAK = 1e-2
"""sT of the weak limit."""

WEAK_LENGTH = 65_536
"""Rounding of the chains' rows adds up to 1e-16 T nats: there up to a hundredth of so weak a distortion."""

LISTED = 4096
"""Responses that are also listed, to compare samples with."""

KEPT = ("total", "hull_distance", "selection", "base_distance")
"""Of a sampled budget, with standard errors; the token hull is not sampled."""


class Setting(NamedTuple):
    """A base of Markov experts of any length, and what each word pays."""

    log_gates: Float[Array, "C K"]
    log_experts: Float[Array, "K *context V"]
    prompts: Int[Array, "C P"]
    log_prompts: Float[Array, " C"]
    scores: Float[Array, " V"]

    def horizon(self, strength: Array | float, length: int, **how) -> theory.Horizon:
        """The closed forms at one strength and length."""
        made = theory.horizon(*self, strength, (length,), **how)
        return jax.tree.map(lambda x: x[0], made)


def start(base: base_model.Base, scores: Float[Array, " V"]) -> Setting:
    """A pretrained base and a score for each word."""
    log_gates = jax.vmap(base.mixture.log_gate, (None, 0))(base.params, base.world.prompts)
    log_experts = jax.nn.log_softmax(base.params["experts"])
    return Setting(log_gates, log_experts, base.world.prompts, base.world.log_prompts, scores)


def exact(setting: Setting, lengths: tuple[int, ...], scaled: Float[Array, " R"]) -> dict[str, Array]:
    """Distortion and selection fraction by transfer matrices, in every case at every length."""
    units = jnp.eye(setting.scores.shape[0])
    stationary = jax.vmap(lambda table: jax.vmap(lambda unit: tilted.asymptotics(table, unit)[0])(units))(
        setting.log_experts
    )
    apart = stationary[1:] - stationary[:1]
    equal = setting.scores - jnp.linalg.pinv(apart) @ (apart @ setting.scores)
    alone = jnp.where(jnp.arange(setting.log_gates.shape[1])[None] == 0, 0.0, -jnp.inf)
    cases = {
        "per word": (setting, {}),
        "equal means": (setting._replace(scores=equal), {}),
        "last word": (setting, {"last_only": True}),
        "one persona": (setting._replace(log_gates=jnp.broadcast_to(alone, setting.log_gates.shape)), {}),
    }
    made = []
    for name in CASES:
        case, how = cases[name]
        for length in lengths:
            strengths = scaled if how else scaled / jnp.sqrt(length)
            made.append(jax.vmap(lambda s, n=length, case=case, how=how: case.horizon(s, n, **how))(strengths))
    grid = (len(CASES), len(lengths), len(scaled))
    stacked = jax.tree.map(lambda *x: jnp.stack(x).reshape(*grid, *x[0].shape[1:]), *made)
    return {"exact_distortion": stacked.distortion, "exact_fraction": stacked.selection_fraction}


def weak(setting: Setting, lengths: tuple[int, ...]) -> Float[Array, " L"]:
    """S at every length, under RL so weak that selection has hardly begun."""
    return jnp.stack([setting.horizon(WEAK / length, length).selection_fraction for length in lengths])


def selected(
    setting: Setting, tends: theory.LongRun, lengths: tuple[int, ...], times: Float[Array, " Y"]
) -> dict[str, Array]:
    """Selection weights at s = selected / T, and their law g_k exp(sT mu_k) / Z, averaged over prompts."""
    rho = jnp.exp(setting.log_prompts)
    measured = [jax.vmap(lambda s, n=length: rho @ setting.horizon(s, n).weights)(times / length) for length in lengths]
    law = jnp.exp(numerics.log_normalize(setting.log_gates[None] + times[:, None, None] * tends.means[None, None]))
    law = jnp.einsum("c,yck->yk", rho, law)
    return {
        "selected_weights": jnp.stack(measured),
        "selected_law": jnp.broadcast_to(law, (len(measured), *law.shape)),
    }


def listed_lengths(lengths: tuple[int, ...], num_words: int) -> tuple[int, ...]:
    """Those at which all responses are listed too."""
    return tuple(length for length in lengths if num_words**length <= LISTED)


def sampled(
    setting: Setting, lengths: tuple[int, ...], scaled: Float[Array, " X"], num_samples: int, key: Key
) -> dict[str, Array]:
    """Budgets from samples of the tilt, and the exact ones where all responses can be listed."""
    drawn, known = [], []
    for i, length in enumerate(lengths):
        strengths = scaled / jnp.sqrt(length)
        with_base = jnp.concatenate([strengths, jnp.zeros_like(strengths)])

        def at(inputs: tuple[Array, Array], own: Key, length: int = length) -> drift.Samples:
            strength, place = inputs
            return _draw(setting, strength, length, num_samples, jax.random.fold_in(own, place))

        # Places and not keys: jax takes keys that a vmapped loop runs over for used before.
        own = jax.random.fold_in(key, i)
        both = jax.lax.map(functools.partial(at, own=own), (with_base, jnp.arange(with_base.shape[0])))
        drawn.append([jax.tree.map(lambda x, half=half: jnp.split(x, 2)[half], both) for half in (0, 1)])
        known.append(jax.vmap(lambda s, n=length: setting.horizon(s, n))(strengths))
    stacked = jax.tree.map(lambda *x: jnp.concatenate(x), *drawn)
    spent = jax.lax.map(
        lambda pair: drift.budget_from_samples(pair[0], pair[1], setting.log_prompts, tolerance=1e-9), stacked
    )
    exhaustive = [
        jax.lax.map(lambda s, n=length: _listed(setting, s, n), scaled / jnp.sqrt(length))
        for length in listed_lengths(lengths, setting.scores.shape[0])
    ]
    grid = (len(lengths), len(scaled))
    return {
        **{name: getattr(spent, name).reshape(grid) for name in kept()},
        **{name: x.reshape(grid) for name, x in _fraction(spent).items()},
        "exact_total": jnp.stack([one.total for one in known]),
        "bound": jnp.stack([one.distortion for one in known]),
        **({"listed": jnp.stack(exhaustive)} if exhaustive else {}),
    }


def kept() -> tuple[str, ...]:
    """Names of all that is recorded of a sampled budget."""
    return (*KEPT, *(f"{name}_se" for name in KEPT), "fit_excess", "base_inside", "certified")


def _draw(setting: Setting, strength: Array | float, length: int, num_samples: int, key: Key) -> drift.Samples:
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


def _fraction(spent: drift.SampledBudget) -> dict[str, Array]:
    """S and its standard error, by the delta method; all parts are means over the same samples."""
    outside, total = spent.hull_distance, spent.total
    ratio = outside / total
    covariance = 0.5 * (spent.total_se**2 + spent.hull_distance_se**2 - spent.selection_se**2)
    variance = spent.hull_distance_se**2 + ratio**2 * spent.total_se**2 - 2 * ratio * covariance
    return {"selection_fraction": 1 - ratio, "selection_fraction_se": jnp.sqrt(jnp.maximum(variance, 0.0)) / total}


def _listed(setting: Setting, strength: Float[Array, ""], length: int) -> Float[Array, ""]:
    """The exact hull distance."""
    by_persona = jax.vmap(lambda table, prompt: chains.log_probs(table, prompt, length), in_axes=(0, None))
    log_personas = jax.vmap(by_persona, in_axes=(None, 0))(setting.log_experts, setting.prompts)
    responses = chains.outcomes(setting.scores.shape[0], length)
    log_base = numerics.log_mix(setting.log_gates, log_personas)
    reward = jnp.broadcast_to(setting.scores[responses].sum(axis=1), log_base.shape)
    log_policy = theory.tilt(log_base, reward, strength)
    return drift.budget(log_policy, log_base, log_personas, responses, setting.log_prompts).hull_distance
