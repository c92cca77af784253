"""Files of named tensors, whole or in shards, and the comparison of their names."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError  # what torch.load raises; nothing is unpickled here

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bionemo_ext.errors import CheckpointError

State = dict[str, Tensor]
OnBytes = Callable[[int], None]

WEIGHTS = "model.safetensors"
# What transformers and its users write, in the order of preference; the first is what we write.
_KINDS = (WEIGHTS, "model.safetensors.index.json", "pytorch_model.bin")
_KINDS += ("pytorch_model.bin.index.json",)


def weight_files(folder: Path) -> list[Path]:
    """Files that hold a folder's weights.

    Raises
    ------
    CheckpointError
        If there are none, or one that the index names is missing.
    """
    found = next((folder / name for name in _KINDS if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointError(f"{folder} is not a Hugging Face folder: {WEIGHTS} is missing")
    if found.suffix != ".json":
        return [found]
    try:
        names = sorted(set(json.loads(found.read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError):
        raise CheckpointError(f"{found} is not an index of weight files") from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(f"{found} names {name!r}, which is not a file beside it")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing, which {found.name} names")
    return [folder / name for name in names]


def weights_digest(folder: Path) -> str:
    """SHA-256 of a folder's weights as they lie on the disk: by it models are told apart.

    Raises
    ------
    CheckpointError
        As :func:`weight_files`.
    """
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def load_weights(folder: Path, on_bytes: OnBytes | None = None) -> State:
    """Read all weights of a folder: safetensors or PyTorch's format, whole or in shards.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, or two of them hold one tensor.
    """
    state: State = {}
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            part = load_tensors(path, on_bytes)
        else:
            part = load_torch(path)
            if not all(isinstance(value, Tensor) for value in part.values()):
                raise CheckpointError(f"{path} holds something else than named tensors")
        if twice := sorted(state.keys() & part.keys()):
            raise CheckpointError(f"{path} holds {twice[0]}, which a shard before it holds too")
        state |= part
    return state


def load_tensors(path: Path, on_bytes: OnBytes | None = None) -> State:
    """Read a safetensors file.

    Parameters
    ----------
    path : Path
        The file.
    on_bytes : callable, optional
        Is given the bytes of every tensor that was read.

    Raises
    ------
    CheckpointError
        If it is damaged.
    """
    state: State = {}
    try:
        path.open("rb").close()  # safetensors tells any reason as "no such file"
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  (it is no mapping)
                state[name] = file.get_tensor(name)
                if on_bytes:
                    on_bytes(state[name].nbytes)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or cut short: {error}") from None
    return state


def load_torch(path: Path, allowed: tuple[type, ...] = ()) -> dict:
    """Read a dictionary that ``torch.save`` wrote, without running any code in it.

    Parameters
    ----------
    path : Path
        The file.
    allowed : tuple of type
        Classes that may stand in it beside tensors and plain values.

    Raises
    ------
    CheckpointError
        If it is damaged, holds any other class or no dictionary.
    """
    try:
        with torch.serialization.safe_globals(list(allowed)):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        reason = str(error).splitlines()[0]
        if "Unsupported" in str(error) or "Weights only load failed" in reason:
            reason = "it is not PyTorch's format, is damaged, or holds more than tensors"
        raise CheckpointError(f"{path} cannot be read: {reason}") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged or cut short: {reason}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds no dictionary of tensors")
    return found


def save_tensors(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a safetensors file that whoever may read its folder may read.

    safetensors itself makes the file private, which a server under another user cannot load.
    """
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(state), path, metadata={"format": "pt"})
    path.chmod(mode)


def check_names(found: set[str], expected: set[str], what: str) -> None:
    """Raise unless two sets of tensor names are the same.

    Raises
    ------
    CheckpointError
        Tells how many are missing or unknown, and the first.
    """
    if missing := sorted(expected - found):
        raise CheckpointError(f"the {what} lacks {len(missing)} tensors, first {missing[0]}")
    if unknown := sorted(found - expected):
        raise CheckpointError(f"the {what} has {len(unknown)} unknown tensors, first {unknown[0]}")
