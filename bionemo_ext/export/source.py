"""Get a Hugging Face folder out of what a user exports."""

import os
import shutil
import stat
from pathlib import Path

from bionemo_ext.errors import CheckpointError, RunError

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def take_huggingface(source: Path, out: Path) -> Path:
    """Write the Hugging Face folder of ``source`` to ``out``.

    Parameters
    ----------
    source : Path
        A Hugging Face folder, or a run folder or checkpoint of pretraining.
    out : Path
        A new folder.

    Returns
    -------
    Path
        The folder to read the model from: ``source`` itself where it is a Hugging Face folder, so
        that an error names what the user gave.

    Raises
    ------
    CheckpointError
        If ``source`` is missing, or no model of either kind.
    RunError
        If a checkpoint is to be converted and the training extra is not installed.
    """
    if not source.is_dir():
        raise CheckpointError(f"there is no folder {source}")
    if (source / WEIGHTS).is_file() or (source / CONFIG).is_file():
        copy_huggingface(source, out)
        return source
    try:
        from bionemo_ext.recipes.checkpoint import to_huggingface
    except ModuleNotFoundError as error:
        raise RunError(
            f"{source} is not a Hugging Face folder, and to convert a checkpoint {error.name} is "
            "missing: install the extra with pip install 'bionemo-ext[train]'"
        ) from None
    to_huggingface(source, out)
    return out


def copy_huggingface(source: Path, out: Path) -> None:
    """Copy a Hugging Face folder; its weights become a hard link where that is possible.

    Raises
    ------
    CheckpointError
        If ``source`` has no configuration or no weights.
    """
    for name in (CONFIG, WEIGHTS):
        if not (source / name).is_file():
            raise CheckpointError(f"{source} is not a Hugging Face folder: {name} is missing")
    out.mkdir(parents=True)
    link_or_copy((source / WEIGHTS).resolve(), out / WEIGHTS)
    # The rest is small, and the user may edit it: configuration, vocabulary, model card.
    for path in source.iterdir():
        if path.is_file() and path.suffix in (".json", ".txt", ".md"):
            shutil.copyfile(path, out / path.name)


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` a hard link to ``source``, or a copy.

    It is copied where the file system has no links, and where only its owner may read the source:
    who serves an export is often another user.
    """
    if source.stat().st_mode & stat.S_IROTH:
        try:
            os.link(source, target)
            return
        except OSError:
            pass
    shutil.copyfile(source, target)
