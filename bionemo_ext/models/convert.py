"""Weights between Hugging Face and Megatron-core, strict and bit-exact both ways.

A *Megatron state* here is the state dict of an unsharded :class:`ESM2Model` or
:class:`ESM1nvModel` with local layers, without ``_extra_state``; :func:`shard` and :func:`gather`
cut and join it for any TP size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import Architecture, ESM2Config, State, check_names, constants
from bionemo_ext.models.config import PADDED_VOCABULARY


@dataclass(frozen=True)
class _Names:
    """How transformers names what Megatron has, in one family.

    ``same`` and ``layer`` map names (within a layer, without weight or bias) of tensors that are
    alike in both; ``layers`` opens the name of a layer; ``words`` and ``bias`` are cut at the
    vocabulary's end.
    """

    words: str
    bias: str
    layers: str
    same: Mapping[str, str]
    layer: Mapping[str, str]


def _pairs(names: Mapping[str, str]) -> dict[str, str]:
    ends = ("weight", "bias")
    return {f"{ours}.{end}": f"{theirs}.{end}" for ours, theirs in names.items() for end in ends}


_MATRICES = {
    "self_attention.linear_proj": "attention.output.dense",
    "mlp.linear_fc1": "intermediate.dense",
    "mlp.linear_fc2": "output.dense",
}
_ESM2 = _Names(
    words="esm.embeddings.word_embeddings.weight",
    bias="lm_head.bias",
    layers="esm.encoder.layer.",
    same={
        **_pairs(
            {
                "encoder.final_layernorm": "esm.encoder.emb_layer_norm_after",
                "lm_head.dense": "lm_head.dense",
                "lm_head.layer_norm": "lm_head.layer_norm",
            }
        ),
        "contact_head.bias": "esm.contact_head.regression.bias",
    },
    layer={
        "input_layernorm": "attention.LayerNorm",
        "pre_mlp_layernorm": "LayerNorm",
        **_MATRICES,
    },
)
_ESM1NV = _Names(
    words="bert.embeddings.word_embeddings.weight",
    bias="cls.predictions.bias",
    layers="bert.encoder.layer.",
    same={
        **_pairs(
            {
                "encoder.final_layernorm": "bert.encoder.ln",
                "lm_head.dense": "cls.predictions.transform.dense",
                "lm_head.layer_norm": "cls.predictions.transform.LayerNorm",
            }
        ),
        "embedding.position_embeddings.weight": "bert.embeddings.position_embeddings.weight",
    },
    layer={"input_layernorm": "attention.ln", "pre_mlp_layernorm": "ln", **_MATRICES},
)
# The contact head's weights: one row in transformers, a vector in Megatron.
_CONTACT, _THEIR_CONTACT = "contact_head.weight", "esm.contact_head.regression.weight"
_PROJECTIONS = ("query", "key", "value")
# Dimension that tensor parallel ranks split, by the end of a Megatron name.
_SPLIT = {
    "word_embeddings.weight": 0,
    "linear_qkv.weight": 0,
    "linear_qkv.bias": 0,
    "linear_fc1.weight": 0,
    "linear_fc1.bias": 0,
    "linear_proj.weight": 1,
    "linear_fc2.weight": 1,
    "output_layer.bias": 0,
}


def from_huggingface(state: Mapping[str, Tensor], config: Architecture) -> State:
    """Turn what :func:`bionemo_ext.huggingface.read_model` gives into a Megatron state."""
    names = _names(config)
    out = {ours: state[theirs] for ours, theirs in names.same.items()}
    out["embedding.word_embeddings.weight"] = _pad(state[names.words])
    out["output_layer.bias"] = _pad(state[names.bias])
    if isinstance(config, ESM2Config):
        out[_CONTACT] = state[_THEIR_CONTACT][0].clone()
    for i in range(config.layers):
        theirs, ours = f"{names.layers}{i}.", f"encoder.layers.{i}."
        for name, their_name in _pairs(names.layer).items():
            out[ours + name] = state[theirs + their_name]
        for end in ("weight", "bias"):
            parts = [state[f"{theirs}attention.self.{part}.{end}"] for part in _PROJECTIONS]
            out[f"{ours}self_attention.linear_qkv.{end}"] = _interleave(parts, config.heads)
    return out


def to_huggingface(state: Mapping[str, Tensor], config: Architecture) -> State:
    """Turn a Megatron state into the state that transformers' ``save_pretrained`` writes.

    Raises
    ------
    CheckpointError
        If the state lacks a tensor or has one too many.
    """
    check_names(set(state), megatron_names(config), "Megatron state")
    names, vocabulary = _names(config), len(config.alphabet)
    out = {theirs: state[ours] for ours, theirs in names.same.items()}
    out[names.words] = state["embedding.word_embeddings.weight"][:vocabulary]
    out[names.bias] = state["output_layer.bias"][:vocabulary]
    if isinstance(config, ESM2Config):
        out[_THEIR_CONTACT] = state[_CONTACT][None]
    for i in range(config.layers):
        theirs, ours = f"{names.layers}{i}.", f"encoder.layers.{i}."
        for name, their_name in _pairs(names.layer).items():
            out[theirs + their_name] = state[ours + name]
        for end in ("weight", "bias"):
            fused = state[f"{ours}self_attention.linear_qkv.{end}"]
            for part, tensor in zip(_PROJECTIONS, separate(fused, config.heads), strict=True):
                out[f"{theirs}attention.self.{part}.{end}"] = tensor
    out |= constants(config, out[names.bias].dtype)
    return {name: tensor.contiguous().clone() for name, tensor in out.items()}


def shard(state: Mapping[str, Tensor], rank: int, size: int) -> State:
    """Return the part of a Megatron state that tensor parallel rank ``rank`` of ``size`` holds."""
    return {
        name: tensor if (dim := _split(name)) is None else tensor.chunk(size, dim)[rank].clone()
        for name, tensor in state.items()
    }


def gather(shards: Sequence[Mapping[str, Tensor]]) -> State:
    """Join the parts of all tensor parallel ranks.

    Raises
    ------
    CheckpointError
        If a tensor that every rank holds whole is not the same on all.
    """
    out: State = {}
    for name, first in shards[0].items():
        if (dim := _split(name)) is not None:
            out[name] = torch.cat([part[name] for part in shards], dim)
        elif all(torch.equal(first, part[name]) for part in shards):
            out[name] = first
        else:
            raise CheckpointError(f"tensor parallel ranks disagree on {name}")
    return out


def linear_maps(config: Architecture, layer: int) -> dict[str, tuple[str, ...]]:
    """Names in transformers of a layer's linear maps, by Megatron's last word for each.

    Query, key and value are one map in Megatron; the names have no ``.weight``.
    """
    prefix = f"{_names(config).layers}{layer}."
    found = {ours.split(".")[-1]: (prefix + theirs,) for ours, theirs in _MATRICES.items()}
    return {"linear_qkv": tuple(f"{prefix}attention.self.{p}" for p in _PROJECTIONS), **found}


def separate(fused: Tensor, heads: int) -> list[Tensor]:
    """Rows of query, key and value from rows [3 H, ...] that are interleaved head by head."""
    return [part.flatten(0, 1) for part in fused.unflatten(0, (heads, 3, -1)).unbind(1)]


def fused_name(name: str) -> str:
    """Name of a tensor where the norms are part of the linear maps after them.

    So TransformerEngine's layers name them, and so does every checkpoint.
    """
    name = name.replace("pre_mlp_layernorm.", "mlp.linear_fc1.layer_norm_")
    return name.replace("input_layernorm.", "self_attention.linear_qkv.layer_norm_")


def megatron_names(config: Architecture) -> set[str]:
    """Names of all tensors in a Megatron state."""
    names = _names(config)
    parts = _pairs({**names.layer, "self_attention.linear_qkv": ""})
    layers = {f"encoder.layers.{i}.{part}" for i in range(config.layers) for part in parts}
    found = layers | set(names.same) | {"embedding.word_embeddings.weight", "output_layer.bias"}
    return found | {_CONTACT} if isinstance(config, ESM2Config) else found


def _names(config: Architecture) -> _Names:
    return _ESM2 if isinstance(config, ESM2Config) else _ESM1NV


def _split(name: str) -> int | None:
    return next((dim for end, dim in _SPLIT.items() if name.endswith(end)), None)


def _pad(tensor: Tensor) -> Tensor:
    padded = tensor.new_zeros(PADDED_VOCABULARY, *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    return padded


def _interleave(parts: Sequence[Tensor], heads: int) -> Tensor:
    # Megatron holds (query, key, value) head by head, so that a rank takes whole heads.
    split = [part.unflatten(0, (heads, -1)) for part in parts]
    return torch.stack(split, dim=1).flatten(0, 2)
