"""Labelled proteins from FLIP's archives and file shapes, DeepLoc's, and a user's own.

=====================  ==========================================================================
a table                CSV or TSV with ``sequence,target,set,validation``, or other column names
one FASTA file         headers with ``TARGET=... SET=train VALIDATION=False``, or DeepLoc's
a folder, a split      ``<split>.csv``, ``<split>.fasta``, or ``sequences.fasta`` with
                       ``<split>.fasta`` of labels and perhaps ``mask.fasta`` (1 counts, 0 does not)
a folder, its files    ``train.csv``, ``valid.csv``, ``test.csv``: each a set of its own
an archive             ``splits.zip`` as FLIP has it: such a folder, read in place
=====================  ==========================================================================

Every file may be compressed (gzip, bzip2, xz, zstd).
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bionemo_ext.contract import Kind, Level
from bionemo_ext.data.progress import Advance, Bar, silent
from bionemo_ext.errors import DataError
from bionemo_ext.tasks.drawing import draw
from bionemo_ext.tasks.examples import LabelledSet, Row, Unlabelled, join
from bionemo_ext.tasks.fasta_labels import read_headers, read_pair
from bionemo_ext.tasks.places import (
    SEQUENCES,
    Place,
    companion,
    find_folder,
    is_table,
    labelled_files,
)
from bionemo_ext.tasks.residues import check_residues
from bionemo_ext.tasks.tables import Columns, read_table

_PART_IN_NAME = re.compile(
    r"(?:^|[_.-])(train|val|valid|validation|test)(?:[_.-]|$)", re.IGNORECASE
)

# Proteins after which a bar is moved.
_STEP = 500


def read_labelled(
    path: Path,
    *,
    level: Level,
    kind: Kind = Kind.CLASSIFICATION,
    split: str | None = None,
    columns: Columns | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 42,
    as_published: bool = False,
    bar: Bar = silent,
) -> LabelledSet:
    """Read a labelled set, of any of the shapes above.

    Parameters
    ----------
    path : Path
        A file, a folder or an archive.
    level, kind : Level, Kind
        What a label is: of a protein or of each residue; a class, labels or a number. A residue's
        class is a letter; its number or labels are separated by white space from the next's.
    split : str, optional
        Of a folder or archive, the file of labels without its ending, as ``sampled`` in FLIP; not
        needed where there is one.
    columns : Columns, optional
        Names of a table's columns; ``target`` also of the attribute in FASTA headers.
    validation_fraction : float
        Share of the training sequences that validates where none is marked.
    test_fraction : float
        Share of all sequences that tests where the files mark no sets at all.
    seed : int
        Which sequences those are.
    as_published : bool
        Take what FLIP's own archives have and a user's file should not: a record that stands
        twice with the same labels is two examples (bind), and a row with an empty set takes no
        part (aav).
    bar : Bar
        Shows the proteins read; 100,000 take some seconds.

    Returns
    -------
    LabelledSet
        ``drawn`` names the parts that the files do not mark.

    Raises
    ------
    DataError
        Names the file and the line or record, and what is wrong with it.
    """
    unlabelled = Unlabelled()
    rows = _rows(path, level, kind, split, columns or Columns(), unlabelled, as_published)
    with bar(f"reading {path.name}", None, "proteins") as advance:
        parts = join(_checked(row, level, kind) for row in _told(rows, advance))
    drawn: list[str] = []
    if None in parts:
        parts["train"], parts["test"] = draw(parts.pop(None), test_fraction, seed, "test")
        drawn.append("test")
    if "validation" not in parts and "train" in parts:
        kept = draw(parts["train"], validation_fraction, seed, "validation")
        parts["train"], parts["validation"] = kept
        drawn.append("validation")
    found = {name: parts.get(name, []) for name in ("train", "validation", "test")}
    for name, examples in found.items():
        if not examples:
            raise DataError(f"{path}{f' split {split}' if split else ''} has no {name} examples")
    return LabelledSet(**found, unlabelled=unlabelled.count, drawn=tuple(drawn))


def split_names(path: Path) -> list[str]:
    """Names of the splits that a folder or an archive holds.

    Raises
    ------
    DataError
        If there is no such path, or the archive cannot be opened.
    """
    if not path.exists():
        raise DataError(f"there is no data file or folder {path}")
    return sorted(labelled_files(find_folder(path)))


def _rows(
    path: Path,
    level: Level,
    kind: Kind,
    split: str | None,
    columns: Columns,
    unlabelled: Unlabelled,
    as_published: bool,
) -> Iterable[Row]:
    if path.is_file() and path.suffix.lower() != ".zip":
        if split is not None:
            raise DataError(f"{path} is one file, so there is no split {split!r} in it")
        return _file(path, columns, unlabelled)
    if not path.exists():
        raise DataError(f"there is no data file or folder {path}")
    folder = find_folder(path)
    files = labelled_files(folder)
    if split is None and (named := _named_parts(files)):
        return _parts(named, columns, unlabelled)
    labels = _choose(files, split, path)
    if is_table(labels):
        return read_table(labels, columns, unlabelled if as_published else None)
    if companion(folder, SEQUENCES) is None:
        return read_headers(labels, columns.target, unlabelled)
    return read_pair(folder, labels, level, kind, unlabelled, repeats=as_published)


def _choose(files: dict[str, Place], split: str | None, path: Path) -> Place:
    if not files:
        raise DataError(f"{path} holds no file of labels; a .csv, .tsv or .fasta file is needed")
    there = ", ".join(sorted(files))
    if split is None and len(files) > 1:
        raise DataError(f"{path} holds several splits, name one of them (split=): {there}")
    if split is None:
        return next(iter(files.values()))
    if split not in files:
        raise DataError(f"{path} has no split {split!r}; it has {there}")
    return files[split]


def _file(place: Place, columns: Columns, unlabelled: Unlabelled) -> Iterable[Row]:
    if is_table(place):
        return read_table(place, columns)
    return read_headers(place, columns.target, unlabelled)


def _named_parts(files: dict[str, Place]) -> list[tuple[str, Place]]:
    """Files by the part that their names tell, if all of them tell one and no two the same.

    A validation file without a training file is what there is to train on.
    """
    found: dict[str, Place] = {}
    for name, file in files.items():
        told = _PART_IN_NAME.search(name)
        part = told[1].lower() if told else ""
        part = "validation" if part.startswith("val") else part
        if not part or part in found:
            return []
        found[part] = file
    if "train" not in found and "validation" in found:
        found["train"] = found.pop("validation")
    return list(found.items()) if len(found) > 1 else []


def _parts(
    named: list[tuple[str, Place]], columns: Columns, unlabelled: Unlabelled
) -> Iterator[Row]:
    for part, place in named:
        for told, example in _file(place, columns, unlabelled):
            if told not in (None, part):
                raise DataError(
                    f"{example.where} is of the set {told}, but its file's name says {part}"
                )
            yield Row(part, example)


def _told(rows: Iterable[Row], advance: Advance) -> Iterator[Row]:
    for number, row in enumerate(rows, start=1):
        if number % _STEP == 0:
            advance(_STEP)
        yield row


def _checked(row: Row, level: Level, kind: Kind) -> Row:
    example = row.example
    if not example.target and kind is not Kind.MULTILABEL:
        raise DataError(f"{example.where} has no target")
    if level is Level.RESIDUE:
        check_residues(example, kind)
    return row
