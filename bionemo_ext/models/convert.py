"""ESM-2 weights between Hugging Face and Megatron-core, strict and bit-exact both ways.

A *Megatron state* here is the state dict of an unsharded :class:`ESM2Model` with local layers,
without ``_extra_state``; :func:`shard` and :func:`gather` cut and join it for any TP size.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import ESM2Config, State, check_names, inverse_frequencies
from bionemo_ext.models.config import PADDED_VOCABULARY
from bionemo_ext.sequences import ESM2

# Megatron name -> Hugging Face name, of parameters that are the same tensor in both.
_TOP = {
    "encoder.final_layernorm.weight": "esm.encoder.emb_layer_norm_after.weight",
    "encoder.final_layernorm.bias": "esm.encoder.emb_layer_norm_after.bias",
    "lm_head.dense.weight": "lm_head.dense.weight",
    "lm_head.dense.bias": "lm_head.dense.bias",
    "lm_head.layer_norm.weight": "lm_head.layer_norm.weight",
    "lm_head.layer_norm.bias": "lm_head.layer_norm.bias",
    "contact_head.bias": "esm.contact_head.regression.bias",
}
_LAYER = {
    "input_layernorm": "attention.LayerNorm",
    "self_attention.linear_proj": "attention.output.dense",
    "pre_mlp_layernorm": "LayerNorm",
    "mlp.linear_fc1": "intermediate.dense",
    "mlp.linear_fc2": "output.dense",
}
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


def from_huggingface(state: Mapping[str, Tensor], config: ESM2Config) -> State:
    """Turn what :func:`bionemo_ext.huggingface.read_folder` gives into a Megatron state."""
    out = {ours: state[theirs] for ours, theirs in _TOP.items()}
    out["embedding.word_embeddings.weight"] = _pad(state["esm.embeddings.word_embeddings.weight"])
    out["output_layer.bias"] = _pad(state["lm_head.bias"])
    out["contact_head.weight"] = state["esm.contact_head.regression.weight"][0].clone()
    for i in range(config.layers):
        theirs, ours = f"esm.encoder.layer.{i}.", f"encoder.layers.{i}."
        for end in ("weight", "bias"):
            for name, their_name in _LAYER.items():
                out[f"{ours}{name}.{end}"] = state[f"{theirs}{their_name}.{end}"]
            parts = [state[f"{theirs}attention.self.{p}.{end}"] for p in ("query", "key", "value")]
            out[f"{ours}self_attention.linear_qkv.{end}"] = _interleave(parts, config.heads)
    return out


def to_huggingface(state: Mapping[str, Tensor], config: ESM2Config) -> State:
    """Turn a Megatron state into the state that ``EsmForMaskedLM.save_pretrained`` writes.

    Raises
    ------
    CheckpointError
        If the state lacks a tensor or has one too many.
    """
    check_names(set(state), megatron_names(config), "Megatron state")
    vocabulary = len(ESM2)
    out = {theirs: state[ours] for ours, theirs in _TOP.items()}
    out["esm.embeddings.word_embeddings.weight"] = state["embedding.word_embeddings.weight"][
        :vocabulary
    ]
    out["lm_head.bias"] = state["output_layer.bias"][:vocabulary]
    out["esm.contact_head.regression.weight"] = state["contact_head.weight"][None]
    for i in range(config.layers):
        theirs, ours = f"esm.encoder.layer.{i}.", f"encoder.layers.{i}."
        for end in ("weight", "bias"):
            for name, their_name in _LAYER.items():
                out[f"{theirs}{their_name}.{end}"] = state[f"{ours}{name}.{end}"]
            fused = state[f"{ours}self_attention.linear_qkv.{end}"]
            for part, tensor in zip(
                ("query", "key", "value"), _separate(fused, config.heads), strict=True
            ):
                out[f"{theirs}attention.self.{part}.{end}"] = tensor
        out[f"{theirs}attention.self.rotary_embeddings.inv_freq"] = inverse_frequencies(
            config.head_dim
        )
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


def fused_name(name: str) -> str:
    """Name of a tensor where the norms are part of the linear maps after them.

    So TransformerEngine's layers name them, and so does every checkpoint.
    """
    name = name.replace("pre_mlp_layernorm.", "mlp.linear_fc1.layer_norm_")
    return name.replace("input_layernorm.", "self_attention.linear_qkv.layer_norm_")


def megatron_names(config: ESM2Config) -> set[str]:
    """Names of all tensors in a Megatron state."""
    parts = [*_LAYER, "self_attention.linear_qkv"]
    layers = {
        f"encoder.layers.{i}.{part}.{end}"
        for i in range(config.layers)
        for part in parts
        for end in ("weight", "bias")
    }
    ends = {"embedding.word_embeddings.weight", "output_layer.bias", "contact_head.weight"}
    return layers | ends | set(_TOP)


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


def _separate(fused: Tensor, heads: int) -> list[Tensor]:
    return [part.flatten(0, 1) for part in fused.unflatten(0, (heads, 3, -1)).unbind(1)]
