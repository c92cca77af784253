"""Files of named tensors, and the comparison of their names."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bionemo_ext.errors import CheckpointError

State = dict[str, Tensor]


def load_tensors(path: Path) -> State:
    """Read a safetensors file.

    Raises
    ------
    CheckpointError
        If it is damaged.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or cut short: {error}") from None


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
