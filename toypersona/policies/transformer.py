"""A small transformer without persona modules: it reads ``[caller, prompt, response]`` and says the next word.

The caller is a persona's name or nobody, and always has its place, so that no position shifts. All V^T responses are
read as one sequence, the tree of their beginnings, in which every node attends to the caller, the prompt and its own
ancestors: one pass gives every next-word law. Pre-norm blocks as in GPT-2 (Vaswani et al. 2017; Radford et al. 2019),
with squared ReLU (So et al. 2021), which is smooth and has no exponential. Attributes of ``Network`` are in options.
"""

import functools
import math
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from toypersona import chains, hulls
from toypersona.options import Network
from toypersona.policies import next_words
from toypersona.policies.policy import Policy, Read, Speakers
from toypersona.types import Key, Params
from toypersona.worlds.world import Labels, World

Sees = tuple[np.ndarray, ...]
"""For each element of a sequence: its place, those that it attends to, and which of these are real (the rest pads)."""


class Block(nn.Module):
    """Causal self-attention, then a hidden layer of four times the width."""

    network: Network

    @nn.compact
    def __call__(
        self, stream: Float[Array, "S D"], seen: Int[Array, "S A"], real: Bool[Array, "S A"]
    ) -> tuple[Float[Array, "S D"], Float[Array, "S D"]]:
        """The residual stream [S, D] after this block, twice: for the next one and to be looked at.

        Each element attends to those whose numbers are ``seen`` and which are ``real``.
        """
        width, heads, dtype = self.network.width, self.network.num_heads, jnp.result_type(float)
        dense, norm = (functools.partial(part, param_dtype=dtype) for part in (nn.Dense, nn.RMSNorm))
        queries, keys, values = jnp.split(dense(3 * width, use_bias=False)(norm()(stream)), 3, axis=-1)
        apart = lambda x: x.reshape(*x.shape[:-1], heads, -1)  # noqa: E731
        fits = jnp.einsum("shd,sahd->sah", apart(queries), apart(keys[seen])) / math.sqrt(width // heads)
        attention = jax.nn.softmax(jnp.where(real[..., None], fits, -jnp.inf), axis=1)
        heard = jnp.einsum("sah,sahd->shd", attention, apart(values[seen]))
        stream = stream + dense(width)(heard.reshape(-1, width))
        hidden = dense(4 * width)(norm()(stream))
        stream = stream + dense(width)(hidden * nn.relu(hidden))
        return stream, stream


class Transformer(nn.Module):
    """Embeds caller, units and places, ``depth`` blocks, and the next word's logits.

    ``sizes`` are U units that are read, K + 1 callers (nobody is the last), V words and the number of places.
    """

    network: Network
    sizes: tuple[int, int, int, int]

    @nn.compact
    def __call__(
        self, caller: Int[Array, ""], units: Int[Array, " M"], sees: Sees
    ) -> tuple[Float[Array, "S V"], Float[Array, "L S D"]]:
        """Logits of the word after each of S = M + 1 elements, and the residual stream before and after every block."""
        places, seen, real = map(jnp.asarray, sees)
        units_read, callers, words, num_places = self.sizes
        embed = functools.partial(nn.Embed, features=self.network.width, param_dtype=jnp.result_type(float))
        called = embed(callers, name="callers")(caller)
        read = jnp.concatenate([called[None], embed(units_read, name="units")(units)])
        start = read + embed(num_places, name="places")(places)
        # Blocks are compiled once, however many there are.
        blocks = nn.scan(
            Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,  # pyright: ignore[reportArgumentType]
            length=self.network.depth,
        )
        end, after = blocks(self.network, name="blocks")(start, seen, real)
        logits = nn.Dense(words, name="next", param_dtype=end.dtype)(nn.RMSNorm(param_dtype=end.dtype)(end))
        return logits, jnp.concatenate([start[None], after])


def tree(start: int, num_words: int, length: int) -> tuple[np.ndarray, Sees]:
    """All beginnings of fewer than T words, in the order of ``chains.histories``, behind ``start`` common elements.

    Returns:
        The last word of every beginning but the empty one [H - 1], and who attends to whom.
    """
    longest = start + length - 1
    ancestors = [np.arange(place + 1)[None] for place in range(start)]
    words = [np.zeros(0, int)]
    for _ in range(1, length):
        above, number = ancestors[-1], sum(map(len, ancestors))
        own = number + np.arange(len(above) * num_words)
        ancestors.append(np.concatenate([np.repeat(above, num_words, axis=0), own[:, None]], axis=1))
        words.append(np.tile(np.arange(num_words), len(above)))
    pad = lambda rows: np.pad(rows, ((0, 0), (0, longest - rows.shape[1])))  # noqa: E731
    places = np.concatenate([np.full(len(rows), rows.shape[1] - 1) for rows in ancestors])
    seen = np.concatenate([pad(rows) for rows in ancestors])
    return np.concatenate(words), (places, seen, np.arange(longest) <= places[:, None])


def transformer(
    *, prompt_length: int, num_personas: int, num_units: int, num_words: int, length: int, network: Network
) -> Speakers:
    """A transformer that ``num_personas`` names and nobody can be called by.

    Its personas are itself, called by their names: they do not make it up, so they have no gates.

    Args:
        prompt_length: P units of a prompt.
        num_personas: K.
        num_units: U, all units, those of prompts included.
        num_words: V, the units a response can be made of; numbers 0 to V - 1.
        length: T of enumerated and sampled responses, and the longest that ``log_prob`` takes.
        network: its size.
    """
    start, nobody = 1 + prompt_length, num_personas
    module = Transformer(network, (num_units, num_personas + 1, num_words, start + length - 1))
    words, sees = tree(start, num_words, length)

    def read(params: Params, prompt: Int[Array, " P"], caller: Int[Array, ""] | None = None) -> Read:
        units = jnp.concatenate([prompt, jnp.asarray(words)])
        asked = jnp.asarray(nobody if caller is None else caller)
        # Typed as what flax may also return.
        logits, stream = cast(tuple[Array, Array], module.apply({"params": params}, asked, units, sees))
        return Read(jax.nn.log_softmax(logits[start - 1 :]), stream[:, start - 1 :])

    def init(key: Key) -> Params:
        units = jnp.zeros(start - 1 + words.size, int)
        return module.init(key, jnp.asarray(nobody), units, sees)["params"]

    def called(params: Params, prompt: Int[Array, " P"]) -> Float[Array, "K N"]:
        by_name = lambda caller: chains.listed(read(params, prompt, caller).log_next, length)  # noqa: E731
        return jax.vmap(by_name)(jnp.arange(num_personas))

    def mixed(params: Params, prompt: Int[Array, " P"]) -> hulls.Repaired:
        return hulls.repaired(policy.log_probs(params, prompt), called(params, prompt))

    policy = next_words.of_logits(init, lambda params, prompt: read(params, prompt).log_next, length)
    return Speakers(
        policy,
        lambda params, prompt: jnp.log(mixed(params, prompt).weights),
        lambda params, prompt: mixed(params, prompt).log_personas,
        lambda key, *_: init(key),
        _renamed,
        {"both": 1.0},
        called=called,
        read=read,
    )


def _renamed(params: Params, order: Int[Array, " K"]) -> Params:
    """Who is called by name k is called by what was name ``order[k]``; nobody keeps the last place."""
    names = params["callers"]["embedding"]
    return params | {"callers": {"embedding": jnp.concatenate([names[order], names[-1:]])}}


def for_world(world: World, labels: Labels, length: int, network: Network) -> Speakers:
    """A transformer for a world's prompts, persons and words."""
    return transformer(
        prompt_length=world.prompts.shape[1],
        num_personas=len(labels.personas),
        num_units=len(labels.units),
        num_words=world.log_experts.shape[-1],
        length=length,
        network=network,
    )


def grafted(speakers: Speakers, trained: Params, features: Params, length: int) -> Policy:
    """The law of a trained network on the features of other parameters.

    Its logits are the trained network's, plus what a move of the parameters from ``features`` changes in the network's
    there: at ``features`` the law is the trained one, and the Jacobian that of ``features``.

    Args:
        speakers: a network's, called by nobody.
        trained: parameters of the law.
        features: parameters of the Jacobian, from where it is trained.
        length: T.
    """

    def logits(params: Params, prompt: Int[Array, " P"]) -> Float[Array, "H V"]:
        at = lambda p: speakers.read(p, prompt).log_next  # noqa: E731  # pyright: ignore[reportOptionalCall]
        return at(params) + jax.lax.stop_gradient(at(trained) - at(features))

    return next_words.of_logits(lambda key: features, logits, length)
