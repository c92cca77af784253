"""NeMo checkpoints, read and written in one process without any rank.

A checkpoint is a folder with ``weights`` in Megatron's distributed format: every tensor under one
name, those of all layers stacked, whatever ranks wrote it. What an architecture it is of stands in
its ``model.yaml``, else in the ``run.yaml`` of the run that it lies in.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError  # the index is a pickle
from typing import Any

import torch
from torch import Tensor
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint import (
    DefaultLoadPlanner,
    DefaultSavePlanner,
    FileSystemReader,
    FileSystemWriter,
)
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import ReadItem

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import Architecture, State, check_names
from bionemo_ext.models.convert import fused_name, megatron_names
from bionemo_ext.models.folder import write_folder
from bionemo_ext.recipes.model_file import checkpoint_architecture, write_architecture
from bionemo_ext.recipes.runs import newest_checkpoint

WEIGHTS = "weights"

OnBytes = Callable[[int], None]

# What Megatron writes beside the tensors, so that its own loader takes the folder.
_FORMAT = {
    "sharded_backend": "torch_dist",
    "sharded_backend_version": 1,
    "common_backend": "torch",
    "common_backend_version": 1,
}
# Linear maps keep an extra state for FP8; without FP8 it is this.
_EXTRA_STATE = [None]
_LINEAR = (
    "self_attention.linear_proj",
    "self_attention.linear_qkv",
    "mlp.linear_fc1",
    "mlp.linear_fc2",
)


def to_huggingface(source: Path, out: Path) -> None:
    """Write a checkpoint's weights as a Hugging Face folder, whatever ranks wrote it.

    Parameters
    ----------
    source : Path
        A run's folder (its newest checkpoint is taken) or one checkpoint.
    out : Path
        The folder to write.

    Raises
    ------
    CheckpointError
        If there is no whole checkpoint or a file of it is missing or damaged.
    """
    write_folder(out, *read_checkpoint(find_checkpoint(source)))


def find_checkpoint(source: Path) -> Path:
    """Give a checkpoint's folder: ``source`` itself or, of a run, the newest.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    source = source.resolve()  # a run's best checkpoint is a link
    step = source if (source / WEIGHTS).is_dir() else newest_checkpoint(source)
    if step is None:
        raise CheckpointError(f"{source} holds no whole checkpoint")
    return step


def read_checkpoint(step: Path, on_bytes: OnBytes | None = None) -> tuple[Architecture, State]:
    """Read architecture and Megatron state of one checkpoint.

    Parameters
    ----------
    step : Path
        The checkpoint's folder.
    on_bytes : callable, optional
        Is given the bytes of every piece that was read.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, or the tensors are not of the architecture.
    """
    check_files(step)
    config = checkpoint_architecture(step)
    return config, _read_weights(step / WEIGHTS, config, on_bytes)


def read_added(step: Path, part: str) -> State:
    """Read what a model has beside its architecture's own tensors: a task's head, adapters.

    Parameters
    ----------
    step : Path
        The checkpoint's folder.
    part : str
        What stands in the names of the wanted tensors, for example ``head.``.

    Returns
    -------
    dict of Tensor
        By the names on disk without ``module.``; the tensors of all layers are stacked in one.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged.
    """
    check_files(step)
    known = _index(step / WEIGHTS).state_dict_metadata
    names = [
        name
        for name, found in known.items()
        if name.startswith("module.") and part in name and isinstance(found, TensorStorageMetadata)
    ]
    return {n.removeprefix("module."): t for n, t in _load(step / WEIGHTS, names).items()}


def write_checkpoint(folder: Path, config: Architecture, state: Mapping[str, Tensor]) -> None:
    """Write a Megatron state as a checkpoint without an optimizer, whole or not at all.

    Every parallel layout can load it. The bytes of its tensors depend on the state alone.

    Raises
    ------
    CheckpointError
        If the state is not of this architecture, or layers differ in precision.
    """
    check_names(set(state), megatron_names(config), "Megatron state")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    weights = partial / WEIGHTS
    weights.mkdir(parents=True)
    # One file, in the order of the names.
    dcp.save(
        dict(sorted(_to_disk(state, config).items())),
        storage_writer=FileSystemWriter(weights, thread_count=1),
        planner=DefaultSavePlanner(flatten_state_dict=False),
        no_dist=True,
    )
    torch.save({"state_dict": {}}, weights / "common.pt")
    (weights / "metadata.json").write_text(json.dumps(_FORMAT))
    write_architecture(partial, config)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def check_files(step: Path) -> None:
    """See that a checkpoint's files are there and as long as its index says.

    Raises
    ------
    CheckpointError
        Names the file that is missing or cut short.
    """
    folder = step / WEIGHTS
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


class _CountingPlanner(DefaultLoadPlanner):
    """Tells the bytes of every piece that was read."""

    def __init__(self, on_bytes: OnBytes | None) -> None:
        super().__init__()
        self.on_bytes = on_bytes

    def commit_tensor(self, read_item: ReadItem, tensor: Tensor) -> None:
        super().commit_tensor(read_item, tensor)
        if self.on_bytes:
            self.on_bytes(tensor.nbytes)


def _read_weights(folder: Path, config: Architecture, on_bytes: OnBytes | None) -> State:
    """Read a Megatron state from the distributed files, in this one process."""
    names = {_disk_name(name): name for name in megatron_names(config)}
    _check_layers(_index(folder).state_dict_metadata, config, folder)
    found = _load(folder, {disk for disk, _ in names}, on_bytes)
    return {
        name: found[disk] if layer is None else found[disk][layer].clone()
        for (disk, layer), name in names.items()
    }


def _load(folder: Path, names: Iterable[str], on_bytes: OnBytes | None = None) -> State:
    """Read whole tensors by the names that they have on disk."""
    found = _index(folder).state_dict_metadata
    try:
        wanted = {
            name: torch.empty(found[name].size, dtype=found[name].properties.dtype)
            for name in sorted(names)
        }
        reader, planner = FileSystemReader(folder), _CountingPlanner(on_bytes)
        dcp.load(wanted, storage_reader=reader, planner=planner, no_dist=True)
    except KeyError as error:
        raise CheckpointError(f"the checkpoint {folder.parent} lacks the tensor {error}") from None
    except (CheckpointException, OSError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint {folder.parent} is damaged: {error}") from None
    return wanted


def _check_layers(found: Mapping[str, Any], config: Architecture, folder: Path) -> None:
    stacked = found.get("module.encoder.layers.mlp.linear_fc2.bias")
    shape = (config.layers, config.hidden)
    if stacked is not None and tuple(stacked.size) != shape:
        raise CheckpointError(
            f"the checkpoint {folder.parent} has {stacked.size[0]} layers of width "
            f"{stacked.size[-1]}; its configuration says {config.layers} of {config.hidden}"
        )


def _to_disk(state: Mapping[str, Tensor], config: Architecture) -> dict[str, Any]:
    """Stack a Megatron state's layers and add the extra states that Megatron's loader expects."""
    stacks: dict[str, dict[int, Tensor]] = {}
    out: dict[str, Any] = {}
    for name, tensor in state.items():
        disk, layer = _disk_name(name)
        if layer is None:
            out[disk] = tensor.contiguous()
        else:
            stacks.setdefault(disk, {})[layer] = tensor
    for disk, layers in stacks.items():
        if len({tensor.dtype for tensor in layers.values()}) > 1:
            raise CheckpointError(f"the layers' {disk} differ in precision; a checkpoint has one")
        out[disk] = torch.stack([layers[i] for i in range(config.layers)])
    for i in range(config.layers):
        shard = f"_extra_state/shard_{i}_{config.layers}"
        out |= {f"module.encoder.layers.{part}.{shard}": _EXTRA_STATE for part in _LINEAR}
    return out | {"module.output_layer._extra_state/shard_0_1": _EXTRA_STATE}


def _disk_name(name: str) -> tuple[str, int | None]:
    """Where Megatron keeps a tensor: all layers of a kind are stacked in one, norms are fused."""
    found = re.fullmatch(r"encoder\.layers\.(\d+)\.(.*)", name)
    if not found:
        return f"module.{name}", None
    return f"module.encoder.layers.{fused_name(found[2])}", int(found[1])
