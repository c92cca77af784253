"""Labelled proteins of the study: CSV files with a sequence and a number a row.

The study's own files have the columns ``ID``, ``mutant``, ``target`` and ``sequence``; ProteinGym's
have ``mutant``, ``mutated_sequence`` and ``DMS_score``.
"""

import csv
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.errors import DataError, InputError, SequenceError
from bionemo_ext.sequences import SequencePolicy, clean_sequence

SEQUENCE_COLUMNS = ("sequence", "mutated_sequence")
TARGET_COLUMNS = ("target", "DMS_score")
# Five outer folds of five inner ones; with fewer there is nothing to choose from in a fold.
MIN_ROWS = 25


@dataclass(frozen=True)
class Dataset:
    """Proteins with a number each.

    Parameters
    ----------
    name : str
        The file's name without its end.
    sequences : tuple of str
        Clean; some may be equal.
    targets : NDArray
        FP64 [N].
    left_out : tuple of str
        A sentence for each row that could not be used.
    """

    name: str
    sequences: tuple[str, ...]
    targets: NDArray[np.float64]
    left_out: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of sequences and targets."""
        found = hashlib.sha256("\n".join(self.sequences).encode())
        found.update(self.targets.tobytes())
        return found.hexdigest()


def load(
    places: Sequence[Path], max_residues: int, computed: bool = False
) -> tuple[list[Dataset], list[str]]:
    """Read labelled sets; one that cannot be used does not lose the others.

    Parameters
    ----------
    places : sequence of Path
        CSV files and folders of them; with ``computed`` FASTA files.
    max_residues : int
        What the encoders take.
    computed : bool
        Targets are computed from the sequences.

    Returns
    -------
    datasets, failures : list of Dataset, list of str
        A sentence for each data set that could not be used.

    Raises
    ------
    DataError
        If there is none that can be used, or as :func:`find_files`.
    """
    from bionemo_ext.study.computed import computed_datasets

    found: list[Dataset] = []
    failures: list[str] = []
    for path in places if computed else find_files(places):
        try:
            if computed:
                made = computed_datasets(path, max_residues)
                for data in made:
                    check(data, f"{path} ({data.name})")
                found += made
            else:
                found.append(read_dataset(path, max_residues))
        except InputError as error:
            failures.append(str(error))
    if not found:
        raise DataError(failures[0] if failures else "no data set was named")
    return found, failures


def find_files(places: Sequence[Path]) -> list[Path]:
    """List the CSV files of folders, and the files that are named themselves.

    Raises
    ------
    DataError
        If there is no such place, a folder holds no CSV file, or two files have one name.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = sorted(place.glob("*.csv"))
            if not inside:
                raise DataError(f"{place} holds no CSV file")
            found += inside
        elif place.is_file():
            found.append(place)
        else:
            raise DataError(f"there is no {place}")
    names = [path.stem for path in found]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"two data sets are called {name}; rename one of the files")
    return found


def read_dataset(path: Path, max_residues: int) -> Dataset:
    """Read a data set; rows that cannot be used are left out and told of.

    Parameters
    ----------
    path : Path
        A CSV file with one of :data:`SEQUENCE_COLUMNS` and one of :data:`TARGET_COLUMNS`.
    max_residues : int
        What the encoder takes; the study cuts nothing, so longer proteins are left out.

    Raises
    ------
    DataError
        If it lacks a column, fewer than :data:`MIN_ROWS` rows are left, or all targets are equal.
    """
    sequences, targets, left_out = [], [], []
    for line, sequence, target in _rows(path):
        try:
            sequences.append(_protein(sequence, max_residues))
            targets.append(_number(target))
        except (SequenceError, ValueError) as error:
            del sequences[len(targets) :]
            left_out.append(f"{path}, line {line}: {error}")
    found = Dataset(path.stem, tuple(sequences), np.array(targets), tuple(left_out))
    check(found, str(path))
    return found


def check(dataset: Dataset, where: str) -> None:
    """Refuse what cannot be studied.

    Raises
    ------
    DataError
        If there are fewer than :data:`MIN_ROWS` proteins, or all targets are equal.
    """
    rows = len(dataset.sequences)
    if rows < MIN_ROWS:
        cause = f"; the first that was left out: {dataset.left_out[0]}" if dataset.left_out else ""
        raise DataError(
            f"{where} has {rows} rows that can be used, and five folds of five need at least "
            f"{MIN_ROWS}{cause}"
        )
    if np.ptp(dataset.targets) == 0:
        raise DataError(
            f"{where} has the target {dataset.targets[0]:g} in every row; there is nothing to learn"
        )


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, sequence and target of each row."""
    try:
        with path.open(newline="") as file:
            table = csv.DictReader(file)
            names = table.fieldnames or []
            columns = [_column(path, names, one) for one in (SEQUENCE_COLUMNS, TARGET_COLUMNS)]
            for row in table:
                sequence, target = (row[name] or "" for name in columns)
                yield table.line_num, sequence, target
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _column(path: Path, names: Sequence[str], known: Sequence[str]) -> str:
    for name in known:
        if name in names:
            return name
    raise DataError(f"{path} has no column {' or '.join(known)}; it has {', '.join(names)}")


def _protein(text: str, max_residues: int) -> str:
    try:
        return clean_sequence(text, "", SequencePolicy(), max_residues)
    except SequenceError as error:
        raise SequenceError(str(error).removeprefix("record '' ")) from None


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        raise ValueError(f"the target {text!r} is not a number") from None
    if not math.isfinite(found):
        raise ValueError(f"the target {text!r} is not a finite number")
    return found
