"""Megatron models from and to Hugging Face folders."""

from pathlib import Path

from megatron.core import parallel_state
from megatron.core.transformer.transformer_layer import get_transformer_layer_offset

from bionemo_ext import huggingface
from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import Architecture, State, check_names
from bionemo_ext.models.convert import (
    from_huggingface,
    fused_name,
    megatron_names,
    shard,
    to_huggingface,
)
from bionemo_ext.models.initialise import whole_names
from bionemo_ext.models.masked_lm import MaskedLM


def read_folder(folder: Path) -> tuple[Architecture, State]:
    """Read a Hugging Face folder as architecture and Megatron state.

    Raises
    ------
    CheckpointError
        See :func:`bionemo_ext.huggingface.read_model`.
    """
    config, state = huggingface.read_model(folder)
    return config, from_huggingface(state, config)


def write_folder(folder: Path, config: Architecture, state: State) -> None:
    """Write a Megatron state as a Hugging Face folder.

    Raises
    ------
    CheckpointError
        If the state is not of this architecture.
    """
    huggingface.write_folder(folder, config, to_huggingface(state, config))


def load_into(model: MaskedLM, state: State) -> None:
    """Load this rank's part of a Megatron state into a model, strictly.

    The rank may be one of any tensor and pipeline parallel layout: it takes its part of every
    tensor of the layers on its stage, and what stands before or behind them where it holds that.

    Raises
    ------
    CheckpointError
        If the state is not of the model's architecture, or the model holds something else.
    """
    check_names(set(state), megatron_names(model.architecture), "Megatron state")
    local = [name for name, _ in model.named_parameters()]
    whole = [name for name, _ in whole_names(model, model.config)]
    if not any("input_layernorm" in name for name in whole):
        state = {fused_name(name): tensor for name, tensor in state.items()}
    check_names(set(whole), _on_stage(model, set(state)), "model")
    part = shard(
        {name: state[name] for name in whole},
        parallel_state.get_tensor_model_parallel_rank(),
        parallel_state.get_tensor_model_parallel_world_size(),
    )
    own = {mine: part[name] for mine, name in zip(local, whole, strict=True)}
    # The linear maps keep an extra state for FP8, which is not a weight.
    extra = {name: v for name, v in model.state_dict().items() if name.endswith("_extra_state")}
    try:
        model.load_state_dict({**own, **extra}, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the weights do not fit the model: {reason}") from None


def _on_stage(model: MaskedLM, names: set[str]) -> set[str]:
    """Which tensors of the whole model a pipeline stage holds."""
    first = get_transformer_layer_offset(model.config)
    layers = range(first, first + len(model.encoder.layers))

    def is_here(name: str) -> bool:
        if name.startswith("encoder.layers."):
            return int(name.split(".")[2]) in layers
        if name == "embedding.word_embeddings.weight":  # the output layer is tied to it
            return model.pre_process or model.post_process
        return model.pre_process if name.startswith("embedding.") else model.post_process

    return {name for name in names if is_here(name)}
