"""Where labelled files lie: a folder or an archive that is read in place."""

import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from zipfile import BadZipFile
from zipfile import Path as ZipPath

from xopen import xopen

from bionemo_ext.errors import DataError

Place = Path | ZipPath
"""A file or folder on disk or inside an archive."""

SEQUENCES = "sequences"
# FLIP's name, and biotrainer's.
MASKS = ("mask", "resolved")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_FASTA = (".fasta", ".fa", ".faa")
_TABLES = (".csv", ".tsv")
# What a damaged archive or compressed file raises while it is read; an encrypted one raises a
# RuntimeError, and one whose compression needs a library that is missing an ImportError.
_DAMAGED = (OSError, EOFError, BadZipFile, RuntimeError, ImportError, zlib.error, lzma.LZMAError)


def is_table(place: Place) -> bool:
    """Whether the name is that of a CSV or TSV file, compressed or not."""
    return _ending(place) in _TABLES


def stem(place: Place) -> str:
    """Name without its ending, as ``sampled`` of ``sampled.fasta.gz``."""
    return place.name[: -len(_ending(place) + _compression(place.name)) or None]


def find_folder(path: Path) -> Place:
    """Find the folder of labelled files: ``splits.zip`` in it, ``splits``, or itself.

    FLIP's own folders have other tables and FASTA files beside ``splits.zip``.

    Parameters
    ----------
    path : Path
        A folder, or an archive that holds one.

    Raises
    ------
    DataError
        If it is an archive that cannot be opened.
    """
    if path.is_file():
        return _inside(path)
    if (path / "splits.zip").is_file():
        return _inside(path / "splits.zip")
    return path / "splits" if (path / "splits").is_dir() else path


def labelled_files(folder: Place) -> dict[str, Place]:
    """Files of labels by the split that they hold; a table comes before a FASTA file.

    Returns
    -------
    dict
        Without ``sequences``, masks and files of other kinds.
    """
    found: dict[str, Place] = {}
    for file in _files(folder):
        name = stem(file)
        if name != SEQUENCES and name not in MASKS and (name not in found or is_table(file)):
            found[name] = file
    return found


def companion(folder: Place, *names: str) -> Place | None:
    """Find the FASTA file of one of these names, compressed or not."""
    for file in _files(folder):
        if stem(file) in names and not is_table(file):
            return file
    return None


@contextmanager
def opened(place: Place) -> Iterator[TextIOWrapper]:
    """Open as UTF-8 text, decompressed, line ends untouched, without a byte order mark.

    Raises
    ------
    DataError
        If there is no such file, or it is damaged, cut short or not text; also while it is read.
    """
    if not place.exists():
        raise DataError(f"there is no file {place}")
    try:
        with place.open("rb") as raw, xopen(raw, "rb", threads=0) as plain:
            yield TextIOWrapper(plain, "utf-8-sig", newline="")
    except UnicodeDecodeError:
        raise DataError(f"{place} cannot be read: it is not text in UTF-8") from None
    except _DAMAGED as error:
        raise DataError(f"{place} cannot be read: {_one_line(error)}") from None
    except Exception as error:
        # Every library for zstd that xopen may find has a class of its own.
        if type(error).__name__ != "ZstdError":
            raise
        raise DataError(f"{place} cannot be read: {_one_line(error)}") from None


def _inside(archive: Path) -> Place:
    try:
        root = ZipPath(archive)
        return root / "splits/" if (root / "splits/").is_dir() else root
    except _DAMAGED as error:
        raise DataError(f"{archive} cannot be read: {_one_line(error)}") from None


def _files(folder: Place) -> list[Place]:
    """FASTA files and tables by name, without what macOS leaves beside them."""
    wanted = (*_FASTA, *_TABLES)
    files = [f for f in folder.iterdir() if f.is_file() and not f.name.startswith((".", "_"))]
    return sorted((f for f in files if _ending(f) in wanted), key=lambda f: f.name)


def _ending(place: Place) -> str:
    name = place.name.lower()
    return Path(name.removesuffix(_compression(name))).suffix


def _compression(name: str) -> str:
    return next((ending for ending in _COMPRESSED if name.lower().endswith(ending)), "")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
