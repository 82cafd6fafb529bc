"""Is a persona still there when called: by prompts like his, after words of his, and by fine-tuning on his lines."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from experiments import base_model, trainers
from toypersona import chains, hulls, numerics, rewards, trajectories
from toypersona.measures import boundaries
from toypersona.policies.policy import all_log_probs
from toypersona.rules import imitation
from toypersona.types import Key, Params, Scalar

NUM_LINES = 4096
"""His lines that are read to bring him back."""


class Scene(NamedTuple):
    """A base and who is on it.

    Attributes:
        base: of one world.
        log_gates: its gates [C, K].
        log_personas: its frozen experts [C, K, N].
        log_base: its policy [C, N].
        called: who is asked for.
        log_called: log-probability of each prompt where he opens it [C].
        log_stranger: what somebody else, who talks like nobody, answers [C, N].
        reward: for being helpful [C, N].
        log_helpful: what the helpful persona answers [C, N].
    """

    base: base_model.Base
    log_gates: Float[Array, "C K"]
    log_personas: Float[Array, "C K N"]
    log_base: Float[Array, "C N"]
    called: int
    log_called: Float[Array, " C"]
    log_stranger: Float[Array, "C N"]
    reward: Float[Array, "C N"]
    log_helpful: Float[Array, "C N"]


def scene(base: base_model.Base, helpful: int, called: int, key: Key) -> Scene:
    """One world's base, and a stranger drawn by ``key``: he says the helpful persona's words in each other's places."""
    log_gates, log_personas, log_base = base.personas()
    scores = jax.nn.one_hot(helpful, log_gates.shape[1])
    affine = rewards.persona_affine(log_gates, log_personas, scores)
    table = jax.nn.log_softmax(base.params["experts"][helpful])
    other = jax.random.permutation(key, table, axis=-1, independent=False)
    log_stranger = jax.vmap(lambda prompt: chains.log_probs(other, prompt, base.responses.shape[1]))(base.world.prompts)
    return Scene(
        base,
        log_gates,
        log_personas,
        log_base,
        called,
        jax.nn.log_softmax(base.world.log_prompts + log_gates[:, called]),
        log_stranger,
        rewards.standardise(affine, log_base, base.world.log_prompts),
        log_personas[:, helpful],
    )


def presence(scene: Scene, log_policy: Float[Array, "C N"]) -> Float[Array, " T"]:
    """Weight of the persona in the mix nearest to how the policy goes on after none, one, ... of his words.

    At prompts as he opens them, averaged over what he would say.
    """
    length = scene.base.responses.shape[1]
    num_prompts, num_personas, num_responses = scene.log_personas.shape
    num_words = round(num_responses ** (1 / length))
    found = []
    for said in range(length):
        shape = (num_prompts, num_words**said, -1)
        joint = log_policy.reshape(shape)
        personas = jnp.moveaxis(scene.log_personas.reshape(num_prompts, num_personas, *shape[1:]), 1, 2)
        begun = jax.nn.logsumexp(personas, axis=-1)
        rest = jax.nn.log_softmax(joint, axis=-1), personas - begun[..., None]
        flat = (x.reshape(-1, *x.shape[2:]) for x in rest)
        weights = hulls.project_batch(*flat, tolerance=1e-9).weights.reshape(num_prompts, -1, num_personas)
        log_weight = begun[..., scene.called] + scene.log_called[:, None]
        found.append((jnp.exp(log_weight) * weights[..., scene.called]).sum())
    return jnp.stack(found)


def absence(scene: Scene, log_policy: Float[Array, "C N"], log_wanted: Float[Array, "C N"]) -> Float[Array, ""]:
    """KL(wanted‖policy) in nats at the called persona's prompts: how far they are from being answered that way."""
    return jnp.exp(scene.log_called) @ numerics.kl_divergence(log_wanted, log_policy)


def bring_back(
    key: Key,
    scene: Scene,
    params: Params,
    log_wanted: Float[Array, "C N"],
    steps: Int[Array, " R"],
    learning_rate: Scalar,
) -> tuple[Float[Array, " R"], Float[Array, " R"]]:
    """SFT on somebody's lines at the called persona's prompts: ``absence`` and nats moved there, along the way."""
    line_key, walk_key = jax.random.split(key)
    policy, prompts = scene.base.mixture.policy, scene.base.world.prompts
    which, tokens = trainers.demonstrations(line_key, log_wanted, scene.log_called, scene.base.responses, NUM_LINES)
    start = all_log_probs(policy, params, prompts)

    def measure(params: Params) -> tuple[Array, Array]:
        log_policy = all_log_probs(policy, params, prompts)
        moved = jnp.exp(scene.log_called) @ numerics.kl_divergence(log_policy, start)
        return absence(scene, log_policy, log_wanted), moved

    made, _, _ = trajectories.run(
        lambda size: imitation.sft(policy, prompts[which], tokens, learning_rate=size),
        measure,
        params,
        key=walk_key,
        marks=learning_rate * steps,
        max_step=learning_rate,
    )
    return made


def at_drift(dataset: xr.Dataset) -> xr.Dataset:
    """What was recorded after SFT and RL, nan where the path did not come within a quarter of the drift asked for."""
    recorded = [name for name, values in dataset.data_vars.items() if {"tuned", "drift"} <= set(values.dims)]
    return dataset[recorded].where(abs(np.log(dataset.spent / dataset.drift)) < 0.25)


def steps_back(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Steps of SFT until the persona called, and a stranger, answer nearly as often as the persona did in the base."""
    enough = dataset.base_absence + np.log(2)
    called = boundaries.reached(enough - dataset.back_absence, 0.0, "back")
    # At once is within the first step.
    return xr.ufuncs.maximum(called, 1.0), boundaries.reached(enough - dataset.new_absence, 0.0, "back")


def nats_back(dataset: xr.Dataset) -> xr.DataArray:
    """KL(after‖before) in nats at his prompts of those steps that bring the persona called back."""
    log_steps = np.log(dataset.back.values)
    return xr.apply_ufunc(
        lambda steps, nats: np.interp(np.log(steps), log_steps, nats),
        steps_back(dataset)[0],
        dataset.back_nats,
        input_core_dims=[[], ["back"]],
        vectorize=True,
    )
