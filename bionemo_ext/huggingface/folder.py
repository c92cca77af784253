"""A model's folder, as transformers writes and reads it.

``config.json`` and the weights of ``EsmForMaskedLM`` (ESM-2) or ``MegatronBertForMaskedLM``
(ESM-1nv), and the tokenizer's files.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface.config import (
    Architecture,
    ESM2Config,
    config_from_huggingface,
)
from bionemo_ext.huggingface.shapes import check_state, rotary_dtype, without_copies
from bionemo_ext.huggingface.tensors import WEIGHTS, OnBytes, State, load_weights, save_tensors
from bionemo_ext.huggingface.tokenizer import tokenizer_files

CONFIG = "config.json"


def read_config(folder: Path) -> Architecture:
    """Read the architecture alone.

    Raises
    ------
    CheckpointError
        If ``config.json`` is missing, damaged or of another kind of model.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a Hugging Face folder: {CONFIG} is missing")
    try:
        raw = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} does not describe a model")
    return config_from_huggingface(raw)


def read_model(folder: Path, on_bytes: OnBytes | None = None) -> tuple[Architecture, State]:
    """Read architecture and weights of any family, strictly.

    Parameters
    ----------
    folder : Path
        With ``config.json`` and weights in safetensors or PyTorch's format, whole or in shards.
    on_bytes : callable, optional
        Is given the bytes of every tensor that was read.

    Returns
    -------
    config : Architecture
    state : dict of Tensor
        The tensors as transformers names them, without copies of tied ones.

    Raises
    ------
    CheckpointError
        If a file is missing, damaged or of another kind of model; a key is missing or unknown; a
        shape is wrong; a tied copy differs; or a constant is not that of the model.
    """
    config = read_config(folder)
    state = without_copies(load_weights(folder, on_bytes), config.family)
    check_state(state, config)
    if isinstance(config, ESM2Config):
        config = replace(config, rotary_dtype=rotary_dtype(state, config))
    return config, state


def read_folder(folder: Path) -> tuple[ESM2Config, State]:
    """Read an ESM-2 model; see :func:`read_model`.

    Raises
    ------
    CheckpointError
        Also if the folder holds an ESM-1nv model.
    """
    config, state = read_model(folder)
    if not isinstance(config, ESM2Config):
        raise CheckpointError(f"{folder} holds an ESM-1nv model; this needs an ESM-2 model")
    return config, state


def write_folder(folder: Path, config: Architecture, state: Mapping[str, Tensor]) -> None:
    """Write a folder that :func:`read_model` reads; an old one gives way when it is whole.

    Raises
    ------
    CheckpointError
        If the state is not of this architecture.
    """
    check_state(state, config)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    bias = "lm_head.bias" if isinstance(config, ESM2Config) else "cls.predictions.bias"
    dtype = str(state[bias].dtype).removeprefix("torch.")
    raw = {**config.huggingface(), "torch_dtype": dtype}
    (partial / CONFIG).write_text(json.dumps(raw, indent=2) + "\n")
    save_tensors(partial / WEIGHTS, state)
    for name, text in tokenizer_files(config).items():
        (partial / name).write_text(text)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
