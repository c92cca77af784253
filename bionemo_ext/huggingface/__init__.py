"""The Hugging Face folder of a model: where training and inference meet."""

from bionemo_ext.huggingface.adapter import (
    Adapter,
    check_adapter,
    merge_adapter,
    read_adapter,
    write_adapter,
)
from bionemo_ext.huggingface.config import (
    FAMILIES,
    Architecture,
    ESM1nvConfig,
    ESM2Config,
    config_from_huggingface,
    model_config,
)
from bionemo_ext.huggingface.folder import read_config, read_folder, read_model, write_folder
from bionemo_ext.huggingface.shapes import constants, inverse_frequencies, parameter_count
from bionemo_ext.huggingface.tensors import (
    State,
    check_names,
    load_tensors,
    load_torch,
    save_tensors,
    weight_files,
    weights_digest,
)

__all__ = [
    "FAMILIES",
    "Adapter",
    "Architecture",
    "ESM1nvConfig",
    "ESM2Config",
    "State",
    "check_adapter",
    "check_names",
    "config_from_huggingface",
    "constants",
    "inverse_frequencies",
    "load_tensors",
    "load_torch",
    "merge_adapter",
    "model_config",
    "parameter_count",
    "read_adapter",
    "read_config",
    "read_folder",
    "read_model",
    "save_tensors",
    "weight_files",
    "weights_digest",
    "write_adapter",
    "write_folder",
]
