"""Megatron models from and to Hugging Face folders."""

from pathlib import Path

from megatron.core import parallel_state

from bionemo_ext import huggingface
from bionemo_ext.huggingface import ESM2Config, State
from bionemo_ext.models.convert import from_huggingface, fused_name, shard, to_huggingface
from bionemo_ext.models.esm2 import ESM2Model


def read_folder(folder: Path) -> tuple[ESM2Config, State]:
    """Read a Hugging Face folder as architecture and Megatron state.

    Raises
    ------
    CheckpointError
        See :func:`bionemo_ext.huggingface.read_folder`.
    """
    config, state = huggingface.read_folder(folder)
    return config, from_huggingface(state, config)


def write_folder(folder: Path, config: ESM2Config, state: State) -> None:
    """Write a Megatron state as a Hugging Face folder.

    Raises
    ------
    CheckpointError
        If the state is not of this architecture.
    """
    huggingface.write_folder(folder, config, to_huggingface(state, config))


def load_into(model: ESM2Model, state: State) -> None:
    """Load this tensor parallel rank's part of a Megatron state into a model, strictly."""
    part = shard(
        state,
        parallel_state.get_tensor_model_parallel_rank(),
        parallel_state.get_tensor_model_parallel_world_size(),
    )
    own = model.state_dict()
    if not any("input_layernorm" in name for name in own):
        part = {fused_name(name): tensor for name, tensor in part.items()}
    # The linear maps keep an extra state for FP8, which is not a weight.
    extra = {name: own[name] for name in own if name.endswith("_extra_state")}
    model.load_state_dict({**part, **extra}, strict=True)
