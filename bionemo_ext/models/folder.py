"""Hugging Face folders on disk: ``config.json`` and ``model.safetensors``."""

import json
import shutil
from pathlib import Path

from megatron.core import parallel_state
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bionemo_ext.errors import CheckpointError
from bionemo_ext.models.config import ESM2Config
from bionemo_ext.models.convert import State, from_huggingface, shard, to_huggingface
from bionemo_ext.models.esm2 import ESM2Model


def read_folder(folder: Path) -> tuple[ESM2Config, State]:
    """Read a Hugging Face folder as architecture and Megatron state.

    Raises
    ------
    CheckpointError
        If a file is missing, damaged or of another kind of model.
    """
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not a Hugging Face folder: {name} is missing")
    try:
        raw = json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'} is not JSON: {error}") from None
    config = ESM2Config.from_huggingface(raw)
    try:
        state = load_file(folder / "model.safetensors")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{folder / 'model.safetensors'} is damaged or cut short: {error}"
        ) from None
    return config, from_huggingface(state, config)


def write_folder(folder: Path, config: ESM2Config, state: State) -> None:
    """Write a Megatron state as a Hugging Face folder; an old one gives way when it is whole.

    Raises
    ------
    CheckpointError
        If the state is not of this architecture.
    """
    tensors = to_huggingface(state, config)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / "config.json").write_text(json.dumps(config.huggingface(), indent=2) + "\n")
    save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def load_into(model: ESM2Model, state: State) -> None:
    """Load this tensor parallel rank's part of a Megatron state into a model, strictly."""
    part = shard(
        state,
        parallel_state.get_tensor_model_parallel_rank(),
        parallel_state.get_tensor_model_parallel_world_size(),
    )
    # Megatron's linear maps keep an extra state for FP8; without FP8 it is empty.
    extra = {name: None for name in model.state_dict() if name.endswith("_extra_state")}
    model.load_state_dict({**part, **extra}, strict=True)
