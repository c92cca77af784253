"""The Hugging Face folder of an ESMFold model, looked at before anything is loaded from it.

transformers fills in random numbers for what a folder lacks, with no more than a warning: an
encoder's folder would give structures of noise.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import EsmConfig, EsmForProteinFolding

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import check_names, load_torch, weight_files

_CONFIG = "config.json"
# Of the language model, and nothing of a structure comes from them; folders have them or not.
_UNUSED = ("esm.contact_head.", "esm.embeddings.position_", "esm.pooler.")
# Constants that transformers makes itself.
_CONSTANT = ("rotary_embeddings.inv_freq", "af2_to_esm")

Shapes = dict[str, tuple[int, ...]]


def check_folder(folder: Path) -> EsmConfig:
    """See that a folder holds an ESMFold model, whole; its weights are not read.

    Returns
    -------
    EsmConfig
        The architecture.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, the model is of another kind, or a tensor is missing or of
        another shape than ``config.json`` asks for.
    """
    config = _read_config(folder)
    with torch.device("meta"):
        expected = _used(
            {n: tuple(t.shape) for n, t in _model(folder, config).state_dict().items()}
        )
    found = _shapes(folder)
    # Tensors of other heads may lie beside them: transformers leaves these alone, and so do we.
    check_names(found.keys() & expected.keys(), set(expected), f"ESMFold model in {folder}")
    for name, shape in expected.items():
        if found[name] != shape:
            raise CheckpointError(
                f"{name} in {folder} has shape {found[name]}, {_CONFIG} asks for {shape}"
            )
    return config


def _read_config(folder: Path) -> EsmConfig:
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {folder}")
    path = folder / _CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} is not a Hugging Face folder: {_CONFIG} is missing")
    try:
        raw = json.loads(path.read_text())
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(raw, dict) or raw.get("model_type") != "esm":
        raise CheckpointError(f"{path} does not describe an ESMFold model")
    if not raw.get("is_folding_model"):
        raise CheckpointError(
            f"{folder} holds an ESM encoder without a folding trunk; folding needs an ESMFold "
            "model such as facebook/esmfold_v1"
        )
    try:
        return EsmConfig.from_dict(raw)
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} does not describe an ESMFold model: {error}") from None


def _model(folder: Path, config: EsmConfig) -> EsmForProteinFolding:
    try:
        return EsmForProteinFolding(config)
    except (TypeError, ValueError, AttributeError, AssertionError, RuntimeError) as error:
        reason = str(error) or type(error).__name__
        raise CheckpointError(
            f"{folder / _CONFIG} does not describe an ESMFold model: {reason}"
        ) from None


def _shapes(folder: Path) -> Shapes:
    found: Shapes = {}
    for path in weight_files(folder):
        if path.suffix != ".safetensors":
            found |= {name: tuple(tensor.shape) for name, tensor in load_torch(path).items()}
            continue
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118  (it is no mapping)
                    found[name] = tuple(file.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged or cut short: {error}") from None
    return found


def _used(shapes: Shapes) -> Shapes:
    return {
        name: shape
        for name, shape in shapes.items()
        if not name.startswith(_UNUSED) and not name.endswith(_CONSTANT)
    }
