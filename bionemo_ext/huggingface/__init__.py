"""The Hugging Face folder of a model: where training and inference meet."""

from bionemo_ext.huggingface.config import (
    FAMILIES,
    Architecture,
    ESM1nvConfig,
    ESM2Config,
    config_from_huggingface,
    model_config,
)
from bionemo_ext.huggingface.folder import inverse_frequencies, read_folder, write_folder
from bionemo_ext.huggingface.tensors import State, check_names, load_tensors, save_tensors

__all__ = [
    "FAMILIES",
    "Architecture",
    "ESM1nvConfig",
    "ESM2Config",
    "State",
    "check_names",
    "config_from_huggingface",
    "inverse_frequencies",
    "load_tensors",
    "model_config",
    "read_folder",
    "save_tensors",
    "write_folder",
]
