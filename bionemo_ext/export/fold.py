"""Put an ESMFold model into a model repository."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from bionemo_ext.contract import (
    FOLD_CHUNK_SIZE,
    FOLD_FOLDER,
    MAX_FOLD_RESIDUES,
    Endpoint,
    fold_endpoint,
)
from bionemo_ext.errors import ConfigError
from bionemo_ext.export.source import link_or_copy
from bionemo_ext.huggingface import weight_files, weights_digest

_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class FoldSource:
    """An ESMFold model and how it shall be served.

    Parameters
    ----------
    folder : Path
        A Hugging Face folder such as that of ``facebook/esmfold_v1``.
    dtype : {"float32", "bfloat16", "float16"}
        Precision of its language model.
    max_residues : int
        Residues a protein may have.
    chunk_size : int
        Rows of the pair representation that attention takes at once; 0 for all.

    Raises
    ------
    ConfigError
        If a number or the precision is none that can be.
    """

    folder: Path
    dtype: str = "float32"
    max_residues: int = MAX_FOLD_RESIDUES
    chunk_size: int = FOLD_CHUNK_SIZE

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise ConfigError(f"folding has no precision {self.dtype!r}: {', '.join(_DTYPES)}")
        if self.max_residues < 1:
            raise ConfigError(f"the limit of residues is {self.max_residues}, it must be above 0")
        if self.chunk_size < 0:
            raise ConfigError(f"the chunk size is {self.chunk_size}, it must not be below 0")


def describe_fold(source: FoldSource) -> Endpoint:
    """Look at the model, and describe its endpoint.

    Raises
    ------
    CheckpointError
        If the folder is missing, damaged, or of another kind of model.
    """
    # Here, because transformers takes seconds to import, and few exports fold.
    from bionemo_ext.inference.fold_folder import check_folder

    check_folder(source.folder)
    return fold_endpoint(
        source.max_residues,
        chunk_size=source.chunk_size,
        dtype=source.dtype,
        digest=weights_digest(source.folder),
    )


def copy_fold(source: FoldSource, version: Path) -> None:
    """Put the model beside the code that serves it; weights are hard links where possible."""
    target = version / FOLD_FOLDER
    target.mkdir()
    for path in weight_files(source.folder):
        link_or_copy(path.resolve(), target / path.name)
    # The rest is small, and the user may edit it: configuration, index of shards, model card.
    for path in source.folder.iterdir():
        if path.is_file() and path.suffix in (".json", ".txt", ".md"):
            shutil.copyfile(path, target / path.name)
