"""A store's folder: what lies in it, and whether it is whole.

``store.json``
    What the store is: counts, sources with checksums, how it was split. Fit to be cited.
``train.bin``, ``train.idx``, ``validation...``, ``test...``
    Megatron-core's indexed datasets of token ids, one byte a residue, without ``bos`` and ``eos``.
``train_offsets.npy``, ``train_members.npy``
    Rows of the training clusters: members of cluster i are the records
    ``members[offsets[i]:offsets[i + 1]]``. Without these files every record is a cluster.
``validation_names.txt``
    Names of the validation set's sequences, in order; so for ``test``.
"""

import json
from pathlib import Path
from typing import Any

from bionemo_ext.errors import DataError
from bionemo_ext.sequences import ESM1NV, ESM2, Alphabet
from bionemo_ext.whole import whole

DESCRIPTION = "store.json"
FORMAT = 1
TRAIN, VALIDATION, TEST = "train", "validation", "test"
Description = dict[str, Any]


def is_store(path: Path) -> bool:
    """Whether a path is a store's folder; while it is built it has another name."""
    return (path / DESCRIPTION).is_file()


def table_paths(folder: Path, part: str) -> tuple[Path, Path]:
    """Where the offsets and the members of a part's clusters lie."""
    return folder / f"{part}_offsets.npy", folder / f"{part}_members.npy"


def names_path(folder: Path, part: str) -> Path:
    """Where the names of a part's sequences lie."""
    return folder / f"{part}_names.txt"


def read_description(folder: Path) -> Description:
    """What a store says of itself, its files seen to be there and as long as they were.

    Raises
    ------
    DataError
        If it is no store, of another format, or a file of it is missing or cut short.
    """
    path = folder / DESCRIPTION
    try:
        described = json.loads(path.read_text())
        version, files = described["format"], described["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{path} is not the description of a sequence store") from None
    if version != FORMAT:
        raise DataError(f"{path} has format {version}, but this version reads format {FORMAT}")
    for name, size in files.items():
        file = folder / name
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            what = "is missing" if found is None else f"has {found:,} bytes instead of {size:,}"
            raise DataError(f"{file} {what}; build the store again")
    return described


def write_description(folder: Path, described: Description) -> Description:
    """Write ``store.json``, with the sizes of all files that lie there, as the last of them."""
    files = {p.name: p.stat().st_size for p in sorted(folder.iterdir()) if p.name != DESCRIPTION}
    described = {"format": FORMAT, **described, "files": files}
    with whole(folder / DESCRIPTION) as new:
        new.write_text(json.dumps(described, indent=2) + "\n")
    return described


def describe_alphabet(alphabet: Alphabet) -> dict[str, Any]:
    """What a description says of its token ids."""
    return {"name": alphabet.name, "tokens": list(alphabet.tokens)}


def alphabet_of(described: Description, folder: Path) -> Alphabet:
    """The alphabet that a store's token ids are of.

    Raises
    ------
    DataError
        If this version does not know it.
    """
    for alphabet in (ESM2, ESM1NV):
        if describe_alphabet(alphabet) == described.get("alphabet"):
            return alphabet
    raise DataError(f"{folder / DESCRIPTION} names an alphabet that is neither ESM-2 nor ESM-1nv")
