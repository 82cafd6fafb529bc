"""A pretrained language model of the Llama family (Touvron et al. 2023) in plain JAX: read, score, sample, adapt.

A prompt is read once to a ``Prefix``, which all answers to it share without copies. Answers are scored in chunks of
positions, because logits over the whole vocabulary at every position do not fit into memory. Rotary pairs (Su et al.
2021) are interleaved, as files of ``model_file`` store them. Low-rank adapters (Hu et al. 2021) that are part of the
parameters act wherever these are read, on prompts too; fresh ones are zero and change nothing, bit for bit.

Everything is of the parameters' type, float32 of a file, and takes the architecture first, static under jit. Dimension
letters beside those of ``types``: M answers, A places that are attended to, D the width, L blocks, H heads of which
H/G share each of G keys and values of size E.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from toypersona.types import Key, Params, Scalar

ADAPTED = ("queries", "keys", "values", "out", "gate", "up", "down")
"""The matrices of a block, each of which an adapter may be added to."""

CHUNK = 256
"""Positions whose logits are in memory together: 50 MB of a vocabulary of 49,152."""


class Architecture(NamedTuple):
    """What the shapes of the weights do not tell.

    Attributes:
        num_heads: H.
        num_groups: G, a divisor of H.
        rotary_base: of the wave lengths of positions.
        epsilon: added to mean squares before they divide.
    """

    num_heads: int
    num_groups: int
    rotary_base: float
    epsilon: float


class Prefix(NamedTuple):
    """A prompt as it was read.

    Attributes:
        keys: of every block [L, P, G, E].
        values: likewise.
        length: places from the first that count, those behind are padding [].
        logits: of the next token after it [V].
    """

    keys: Float[Array, "L P G E"]
    values: Float[Array, "L P G E"]
    length: Int[Array, ""]
    logits: Float[Array, " V"]


class Answers(NamedTuple):
    """Sampled answers; what follows an answer's first ending token is padding.

    Attributes:
        tokens: [M, T].
        log_probs: of each token given those before, nats; 0 of padding [M, T].
    """

    tokens: Int[Array, "M T"]
    log_probs: Float[Array, "M T"]


def read(
    architecture: Architecture, params: Params, tokens: Int[Array, " P"], length: Int[Array, ""] | int | None = None
) -> Prefix:
    """Read a prompt, of which the first ``length`` tokens count: padded to one size, all prompts share one program."""
    length = jnp.asarray(tokens.size if length is None else length)
    stream, (keys, values) = _stream(architecture, params, tokens[None], jnp.arange(tokens.size), [], [])
    logits = _logits(params, stream[0, length - 1])
    return Prefix(keys[:, 0], values[:, 0], length, logits)


def score(
    architecture: Architecture,
    params: Params,
    prefix: Prefix,
    answers: Int[Array, "M T"],
    *,
    ends: Bool[Array, " V"],
    temperature: Scalar = 1.0,
    chunk: int = CHUNK,
) -> Float[Array, "M T"]:
    """Log-probability of every token of M answers to one prompt given those before, nats; 0 after its first end.

    Args:
        architecture: static.
        params: parameters, which may hold ``adapters``; those of the prefix.
        prefix: the prompt.
        answers: tokens [M, T].
        ends: which tokens end an answer [V].
        temperature: that logits are divided by.
        chunk: positions whose logits are computed together.
    """
    first = jax.nn.log_softmax(prefix.logits / temperature)[answers[:, 0]]
    if answers.shape[1] == 1:
        return first[:, None]
    places = prefix.length + jnp.arange(answers.shape[1] - 1)
    heard = [(prefix.keys, prefix.values)]
    stream, _ = _stream(architecture, params, answers[:, :-1], places, heard, [_counted(prefix)])

    @jax.checkpoint
    def one(position: tuple[Float[Array, " D"], Int[Array, ""]]) -> Float[Array, ""]:
        state, token = position
        return jax.nn.log_softmax(_logits(params, state) / temperature)[token]

    flat = stream.reshape(-1, stream.shape[-1]), answers[:, 1:].reshape(-1)
    rest = jax.lax.map(one, flat, batch_size=chunk).reshape(len(answers), -1)
    return jnp.where(real(answers, ends), jnp.concatenate([first[:, None], rest], axis=1), 0.0)


def sample(
    architecture: Architecture,
    params: Params,
    key: Key,
    prefix: Prefix,
    *,
    num: int,
    length: int,
    ends: Bool[Array, " V"],
    temperature: Scalar = 1.0,
) -> Answers:
    """Draw ``num`` answers of at most ``length`` tokens to one prompt; other arguments as of ``score``."""
    blocks, _, groups, size = prefix.keys.shape
    cache = jnp.zeros((2, blocks, num, length - 1, groups, size), prefix.keys.dtype)

    def draw(key: Key, logits: Float[Array, "M V"], over: Bool[Array, " M"]) -> tuple[Array, Array, Array]:
        log_next = jax.nn.log_softmax(logits / temperature)
        token = jnp.where(over, 0, jax.random.categorical(key, log_next))
        said = jnp.where(over, 0.0, jnp.take_along_axis(log_next, token[:, None], axis=1)[:, 0])
        return token, said, over | ends[token]

    def step(carry: tuple, now: tuple[Int[Array, ""], Key]) -> tuple[tuple, tuple[Array, Array]]:
        (token, over, cache), (time, key) = carry, now
        heard = [(prefix.keys, prefix.values), (cache[0], cache[1])]
        visible = [_counted(prefix), (jnp.arange(length - 1) < time)[None]]
        place = (prefix.length + time)[None]
        stream, made = _stream(architecture, params, token[:, None], place, heard, visible)
        cache = jax.lax.dynamic_update_slice_in_dim(cache, jnp.stack(made), time, axis=3)
        token, said, over = draw(key, _logits(params, stream[:, 0]), over)
        return (token, over, cache), (token, said)

    first, later = jax.random.split(key)
    logits = jnp.broadcast_to(prefix.logits[None], (num, prefix.logits.size))
    token, said, over = draw(first, logits, jnp.zeros(num, bool))
    if length == 1:
        return Answers(token[:, None], said[:, None])
    times = jnp.arange(length - 1), jax.random.split(later, length - 1)
    _, (tokens, log_probs) = jax.lax.scan(step, (token, over, cache), times)
    before = lambda start, rest: jnp.concatenate([start[:, None], rest.T], axis=1)  # noqa: E731
    return Answers(before(token, tokens), before(said, log_probs))


def real(answers: Int[Array, "M T"], ends: Bool[Array, " V"]) -> Bool[Array, "M T"]:
    """Which tokens of answers are no padding: those up to the first that ends."""
    ending = ends[answers].astype(int)
    return jnp.cumsum(ending, axis=1) == ending


def adapters(key: Key, params: Params, rank: int, names: tuple[str, ...] = ADAPTED) -> Params:
    """Fresh adapters of some matrices of every block, ``W + A B`` with A random and B zero.

    ``params | {"adapters": them}`` is the adapted model.
    """
    made = {}
    for number, name in enumerate(names):
        depth, inputs, outputs = params["blocks"][name].shape
        dtype = params["blocks"][name].dtype
        drawn = jax.random.normal(jax.random.fold_in(key, number), (depth, inputs, rank), dtype)
        made[name] = {"a": drawn / inputs**0.5, "b": jnp.zeros((depth, rank, outputs), dtype)}
    return made


def _counted(prefix: Prefix) -> Bool[Array, "1 P"]:
    """Places of a prefix that are no padding, the same for whoever attends."""
    return (jnp.arange(prefix.keys.shape[1]) < prefix.length)[None]


def _logits(params: Params, stream: Float[Array, "*batch D"]) -> Float[Array, "*batch V"]:
    with jax.default_matmul_precision("highest"):
        return stream @ params["embedding"].T


def _stream(
    architecture: Architecture,
    params: Params,
    tokens: Int[Array, "M S"],
    places: Int[Array, " S"],
    heard: list[tuple[Array, Array]],
    visible: list[Array],
) -> tuple[Float[Array, "M S D"], tuple[Float[Array, "L M S G E"], Float[Array, "L M S G E"]]]:
    """The normalised residual stream after all blocks, and the keys and values that they made.

    Tokens attend to those before them, and to the keys and values ``heard`` before, of every block [L, (M,) A, G, E],
    where ``visible`` [1, A].
    """
    steps = jnp.arange(tokens.shape[1])
    causal = steps[None] <= steps[:, None]

    def block(stream: Float[Array, "M S D"], layer: tuple) -> tuple[Array, tuple[Array, Array]]:
        return _block(architecture, layer, stream, places, [*visible, causal])

    layers = params["blocks"], params.get("adapters", {}), heard
    with jax.default_matmul_precision("highest"):
        # Of a derivative only what goes from block to block is kept: a tenth of the memory for a third more time.
        stream, made = jax.lax.scan(jax.checkpoint(block, prevent_cse=False), params["embedding"][tokens], layers)
    return _normalised(stream, params["norm"], architecture.epsilon), made


def _block(
    architecture: Architecture,
    layer: tuple[Params, Params, list[tuple[Array, Array]]],
    stream: Float[Array, "M S D"],
    places: Int[Array, " S"],
    visible: list[Array],
) -> tuple[Float[Array, "M S D"], tuple[Float[Array, "M S G E"], Float[Array, "M S G E"]]]:
    """One block: attention, then a gated hidden layer; with it the keys and values that it made."""
    weights, changes, heard = layer

    def linear(name: str, x: Float[Array, "M S I"]) -> Float[Array, "M S O"]:
        out = x @ weights[name]
        return out + (x @ changes[name]["a"]) @ changes[name]["b"] if name in changes else out

    def heads(name: str, num: int) -> Float[Array, "M S N E"]:
        return linear(name, normed).reshape(*normed.shape[:2], num, -1)

    normed = _normalised(stream, weights["attention_norm"], architecture.epsilon)
    queries, keys = (
        _rotated(heads(name, num), places, architecture.rotary_base)
        for name, num in (("queries", architecture.num_heads), ("keys", architecture.num_groups))
    )
    values = heads("values", architecture.num_groups)
    stream = stream + linear("out", _attended(queries, [*heard, (keys, values)], visible))
    normed = _normalised(stream, weights["hidden_norm"], architecture.epsilon)
    hidden = jax.nn.silu(linear("gate", normed)) * linear("up", normed)
    return stream + linear("down", hidden), (keys, values)


def _attended(
    queries: Float[Array, "M S H E"], pieces: list[tuple[Array, Array]], visible: list[Array]
) -> Float[Array, "M S HE"]:
    """What the heads hear of several pieces of keys and values; those without an axis M belong to all answers."""
    groups = pieces[0][0].shape[-2]
    grouped = queries.reshape(*queries.shape[:2], groups, -1, queries.shape[-1])
    names = ["mage" if keys.ndim == 4 else "age" for keys, _ in pieces]
    fits = [
        jnp.where(seen[None, :, None, None], jnp.einsum(f"msgqe,{name}->msgqa", grouped, keys), -jnp.inf)
        for name, (keys, _), seen in zip(names, pieces, visible, strict=True)
    ]
    attention = jax.nn.softmax(jnp.concatenate(fits, axis=-1) / queries.shape[-1] ** 0.5, axis=-1)
    start, heard = 0, jnp.zeros_like(grouped)
    for name, (keys, values) in zip(names, pieces, strict=True):
        end = start + keys.shape[-3]
        heard = heard + jnp.einsum(f"msgqa,{name}->msgqe", attention[..., start:end], values)
        start = end
    return heard.reshape(*queries.shape[:2], -1)


def _normalised(stream: Float[Array, "M S D"], scale: Float[Array, " D"], epsilon: float) -> Float[Array, "M S D"]:
    """Divided by its root mean square (Zhang & Sennrich 2019)."""
    size = jnp.mean(stream**2, axis=-1, keepdims=True)
    return stream * jax.lax.rsqrt(size + epsilon) * scale[None, None]


def _rotated(x: Float[Array, "M S N E"], places: Int[Array, " S"], base: float) -> Float[Array, "M S N E"]:
    """Every pair of neighbouring elements turned by its place, the later pairs the more slowly."""
    size = x.shape[-1]
    angles = places[:, None].astype(x.dtype) * base ** (-jnp.arange(0, size, 2, dtype=x.dtype) / size)[None]
    cosine, sine = (turn(angles)[None, :, None] for turn in (jnp.cos, jnp.sin))
    left, right = x[..., 0::2], x[..., 1::2]
    turned: Any = (left * cosine - right * sine, left * sine + right * cosine)
    return jnp.stack(turned, axis=-1).reshape(x.shape)
