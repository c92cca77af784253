"""Which architecture a checkpoint or a run is of."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from bionemo_ext.errors import BionemoExtError, CheckpointError
from bionemo_ext.huggingface import Architecture, model_config
from bionemo_ext.recipes.runs import RUN_FILE

MODEL_FILE = "model.yaml"

_KEYS = ("layers", "hidden", "heads", "ffn", "max_positions", "dropout")
_KEYS += ("norm_epsilon", "rotary_dtype")


def write_architecture(folder: Path, config: Architecture) -> None:
    """Write ``model.yaml``, by which a checkpoint can be read without its run."""
    OmegaConf.save({"family": config.family, **asdict(config)}, folder / MODEL_FILE)


def checkpoint_architecture(step: Path) -> Architecture:
    """Architecture of a checkpoint, of its own ``model.yaml`` or its run's ``run.yaml``.

    Raises
    ------
    CheckpointError
        If there is neither, or it describes no model.
    """
    path = step / MODEL_FILE
    if path.is_file():
        return _architecture(_load_yaml(path), path)
    try:
        return architecture(step.parent.parent)
    except CheckpointError as error:
        raise CheckpointError(f"{step} has no {MODEL_FILE}, and {error}") from None


def architecture(run: Path) -> Architecture:
    """Architecture that a run's folder was started with.

    Raises
    ------
    CheckpointError
        If the folder is not of a run.
    """
    path = run / RUN_FILE
    if not path.is_file():
        raise CheckpointError(f"{run} is not the folder of a pretraining run: no {RUN_FILE}")
    model = _load_yaml(path).get("model")
    return _architecture(model if isinstance(model, DictConfig) else {}, path)


def _load_yaml(path: Path) -> Any:
    try:
        found = OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} cannot be read: {reason}") from None
    if not isinstance(found, DictConfig):
        raise CheckpointError(f"{path} holds no keys")
    return found


def _architecture(values: Mapping[str, Any], path: Path) -> Architecture:
    known = {key: values[key] for key in _KEYS if values.get(key) is not None}
    try:
        return model_config(values.get("family", "esm2"), known)
    except (BionemoExtError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path} describes no model: {error}") from None
