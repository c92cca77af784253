"""A NeMo checkpoint as a Hugging Face folder, read in one process without any rank."""

import re
from pathlib import Path
from pickle import UnpicklingError  # the index is a pickle

import torch
from omegaconf import OmegaConf
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import ESM2Config, State
from bionemo_ext.models.convert import fused_name, megatron_names
from bionemo_ext.models.folder import write_folder
from bionemo_ext.recipes.runs import RUN_FILE, is_checkpoint, newest_checkpoint


def to_huggingface(source: Path, out: Path) -> None:
    """Write a checkpoint's weights as a Hugging Face folder, whatever ranks wrote it.

    Parameters
    ----------
    source : Path
        A run's folder (its newest checkpoint is taken) or one checkpoint of it.
    out : Path
        The folder to write.

    Raises
    ------
    CheckpointError
        If there is no whole checkpoint or a file of it is missing or damaged.
    """
    step = source if is_checkpoint(source) else newest_checkpoint(source)
    if step is None:
        raise CheckpointError(f"{source} holds no whole checkpoint")
    check_files(step)
    config = architecture(step.parent.parent)
    write_folder(out, config, _read_weights(step / "weights", config))


def check_files(step: Path) -> None:
    """See that a checkpoint's files are there and as long as its index says.

    Raises
    ------
    CheckpointError
        Names the file that is missing or cut short.
    """
    folder = step / "weights"
    sizes: dict[str, int] = {}
    for stored in _index(folder).storage_data.values():
        end = stored.offset + stored.length
        sizes[stored.relative_path] = max(end, sizes.get(stored.relative_path, 0))
    for name, size in sizes.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size < size:
            raise CheckpointError(
                f"{path} is missing or cut short; remove {step} to go on before it"
            )


def _index(folder: Path) -> Metadata:
    try:
        return FileSystemReader(folder).read_metadata()
    except (OSError, EOFError, UnpicklingError, CheckpointException) as error:
        raise CheckpointError(f"the checkpoint {folder.parent} has no index: {error}") from None


def architecture(run: Path) -> ESM2Config:
    """Architecture that a run's folder was started with.

    Raises
    ------
    CheckpointError
        If the folder is not of a run.
    """
    path = run / RUN_FILE
    if not path.is_file():
        raise CheckpointError(f"{run} is not the folder of a pretraining run: no {RUN_FILE}")
    model = OmegaConf.load(path).model
    return ESM2Config(model.layers, model.hidden, model.heads, model.ffn, model.max_positions)


def _read_weights(folder: Path, config: ESM2Config) -> State:
    """Read a Megatron state from the distributed files, in this one process."""
    found = _index(folder).state_dict_metadata
    try:
        names = {_disk_name(name): name for name in megatron_names(config)}
        wanted = {
            disk: torch.empty(found[disk].size, dtype=found[disk].properties.dtype)
            for disk in {d for d, _ in names}
        }
        dcp.load(wanted, storage_reader=FileSystemReader(folder), no_dist=True)
    except KeyError as error:
        raise CheckpointError(f"the checkpoint {folder.parent} lacks the tensor {error}") from None
    except (CheckpointException, OSError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint {folder.parent} is damaged: {error}") from None
    return {
        name: wanted[disk] if layer is None else wanted[disk][layer].clone()
        for (disk, layer), name in names.items()
    }


def _disk_name(name: str) -> tuple[str, int | None]:
    """Where Megatron keeps a tensor: all layers of a kind are stacked in one, norms are fused."""
    found = re.fullmatch(r"encoder\.layers\.(\d+)\.(.*)", name)
    if not found:
        return f"module.{name}", None
    return f"module.encoder.layers.{fused_name(found[2])}", int(found[1])
