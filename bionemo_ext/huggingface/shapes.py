"""Which tensors a model's folder holds: names, shapes, constants and what other tools add."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface.config import Architecture, ESM2Config
from bionemo_ext.huggingface.tensors import State, check_names

Shapes = dict[str, tuple[int, ...]]

ESM2_WORDS = "esm.embeddings.word_embeddings.weight"
ESM1NV_WORDS = "bert.embeddings.word_embeddings.weight"

# Buffers that older files carry and nothing reads, by family.
_UNREAD = {
    "esm2": {"esm.embeddings.position_ids", "esm.embeddings.position_embeddings.weight"},
    "esm1nv": {"bert.embeddings.position_ids"},
}
# Copies that some tools write of tied tensors, and their originals.
_TIED = {
    "esm2": {
        "lm_head.decoder.weight": ESM2_WORDS,
        "lm_head.decoder.bias": "lm_head.bias",
    },
    "esm1nv": {
        "cls.predictions.decoder.weight": ESM1NV_WORDS,
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
}


def inverse_frequencies(head_dim: int) -> Tensor:
    """Rotary inverse frequencies, [head_dim / 2] (Su et al., 2021; base 10000).

    Computed as transformers does, so that the buffer in its files is met bit for bit.
    """
    return 1.0 / (10000 ** (torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim))


def constants(config: Architecture, dtype: torch.dtype) -> State:
    """Tensors of a folder that are the same in every model of one shape.

    Parameters
    ----------
    config : Architecture
        The model.
    dtype : torch.dtype
        Of its weights.

    Returns
    -------
    dict of Tensor
        In ESM-2 the rotary frequencies of every layer; in ESM-1nv MegatronBert's embedding of two
        segments, which is zero.
    """
    if isinstance(config, ESM2Config):
        frequencies = inverse_frequencies(config.head_dim).to(getattr(torch, config.rotary_dtype))
        return {name: frequencies.clone() for name in _rotary_names(config)}
    return {
        "bert.embeddings.token_type_embeddings.weight": torch.zeros(2, config.hidden, dtype=dtype)
    }


def shapes(config: Architecture) -> Shapes:
    """Shape of every tensor in a model's folder, by its name in transformers."""
    return _esm2(config) if isinstance(config, ESM2Config) else _esm1nv(config)


def parameter_count(config: Architecture) -> int:
    """Numbers that training or a fit decides; the tied decoder and constants are not counted."""
    fixed = set(constants(config, torch.float32))
    return sum(math.prod(shape) for name, shape in shapes(config).items() if name not in fixed)


def without_copies(state: Mapping[str, Tensor], family: str) -> State:
    """Leave out what says nothing new.

    Raises
    ------
    CheckpointError
        If a copy of a tied tensor is not the same as it.
    """
    out = {name: tensor for name, tensor in state.items() if name not in _UNREAD[family]}
    for copy, original in _TIED[family].items():
        tensor = out.pop(copy, None)
        if tensor is not None and not torch.equal(tensor, out.get(original, torch.empty(0))):
            raise CheckpointError(f"{copy} differs from {original}, to which the model ties it")
    return out


def check_state(state: Mapping[str, Tensor], config: Architecture) -> None:
    """See that a state is of an architecture: names, shapes and constants.

    Raises
    ------
    CheckpointError
        Names the tensor that is not.
    """
    expected = shapes(config)
    check_names(set(state), set(expected), "Hugging Face folder")
    for name, shape in expected.items():
        if tuple(state[name].shape) != shape:
            raise CheckpointError(
                f"{name} has shape {tuple(state[name].shape)}, config.json asks for {shape}"
            )
    for name, tensor in constants(config, torch.float32).items():
        found = state[name]
        tolerance = max(1e-3, 2 * torch.finfo(found.dtype).eps)
        if not torch.allclose(found.float(), tensor.float(), rtol=tolerance, atol=0):
            of = "of base 10000, as in ESM-2" if "inv_freq" in name else "zero, as in ESM-1nv"
            raise CheckpointError(f"{name} is not {of}")


def rotary_dtype(state: Mapping[str, Tensor], config: ESM2Config) -> str:
    """Number format of the rotary frequencies in a state that was checked."""
    return str(state[_rotary_names(config)[0]].dtype).removeprefix("torch.")


def _rotary_names(config: ESM2Config) -> list[str]:
    end = "attention.self.rotary_embeddings.inv_freq"
    return [f"esm.encoder.layer.{i}.{end}" for i in range(config.layers)]


def _esm2(config: ESM2Config) -> Shapes:
    found: Shapes = {
        ESM2_WORDS: (len(config.alphabet), config.hidden),
        "esm.contact_head.regression.weight": (1, config.layers * config.heads),
        "esm.contact_head.regression.bias": (1,),
        "lm_head.bias": (len(config.alphabet),),
    }
    found |= _linear("lm_head.dense", config.hidden, config.hidden)
    found |= _norm("lm_head.layer_norm", config.hidden)
    found |= _norm("esm.encoder.emb_layer_norm_after", config.hidden)
    for i in range(config.layers):
        found |= _layer(f"esm.encoder.layer.{i}.", config, ("attention.LayerNorm", "LayerNorm"))
    return found | dict.fromkeys(_rotary_names(config), (config.head_dim // 2,))


def _esm1nv(config: Architecture) -> Shapes:
    found: Shapes = {
        ESM1NV_WORDS: (len(config.alphabet), config.hidden),
        "bert.embeddings.position_embeddings.weight": (config.max_positions, config.hidden),
        "bert.embeddings.token_type_embeddings.weight": (2, config.hidden),
        "cls.predictions.bias": (len(config.alphabet),),
    }
    found |= _linear("cls.predictions.transform.dense", config.hidden, config.hidden)
    found |= _norm("cls.predictions.transform.LayerNorm", config.hidden)
    found |= _norm("bert.encoder.ln", config.hidden)
    for i in range(config.layers):
        found |= _layer(f"bert.encoder.layer.{i}.", config, ("attention.ln", "ln"))
    return found


def _layer(prefix: str, config: Architecture, norms: tuple[str, str]) -> Shapes:
    hidden, ffn = config.hidden, config.ffn
    found = {}
    for part in ("self.query", "self.key", "self.value", "output.dense"):
        found |= _linear(f"{prefix}attention.{part}", hidden, hidden)
    found |= _linear(f"{prefix}intermediate.dense", ffn, hidden)
    found |= _linear(f"{prefix}output.dense", hidden, ffn)
    for norm in norms:
        found |= _norm(prefix + norm, hidden)
    return found


def _linear(name: str, rows: int, columns: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
