"""Labelled proteins of the study: CSV files with a sequence and a number a row.

The study's own files have the columns ``ID``, ``mutant``, ``target`` and ``sequence``; ProteinGym's
have ``mutant``, ``mutated_sequence`` and ``DMS_score``.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.errors import DataError, InputError, SequenceError
from bionemo_ext.sequences import SequencePolicy, clean_sequence
from bionemo_ext.sequences.csv_table import LeftOut, Row, read_table

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
    left_out : tuple of LeftOut
        Rows that could not be used.
    """

    name: str
    sequences: tuple[str, ...]
    targets: NDArray[np.float64]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def repeated(self) -> int:
        """Rows whose protein a row before has."""
        return len(self.sequences) - len(set(self.sequences))

    def one_row_a_protein(self) -> "Dataset":
        """Give each protein one row, in the order of their first ones, with its targets' mean.

        Else a fold learns from a row and is tested on another of the same protein.
        """
        rows: dict[str, list[float]] = {}
        for sequence, target in zip(self.sequences, self.targets, strict=True):
            rows.setdefault(sequence, []).append(target)
        targets = np.array([np.mean(numbers) for numbers in rows.values()])
        return replace(self, sequences=tuple(rows), targets=targets)

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
            raise DataError(f"there is no file or folder {place}")
    by_name: dict[str, Path] = {}
    for path in found:
        other = by_name.setdefault(path.stem, path)
        if other != path:
            raise DataError(
                f"{other} and {path} would both be the data set {path.stem}; rename one of them"
            )
    return list(by_name.values())


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
        If it lacks a column, fewer than :data:`MIN_ROWS` proteins are left, or all targets are
        equal.
    """
    found: list[tuple[str, float]] = []
    left_out = []
    for line, row in read_table(path, SEQUENCE_COLUMNS, TARGET_COLUMNS):
        sequence, target = (_of(row, names) for names in (SEQUENCE_COLUMNS, TARGET_COLUMNS))
        try:
            found.append((_protein(sequence, max_residues), _number(target)))
        except _UnusableError as error:
            left_out.append(LeftOut(line, f"{path}, line {line}: {error}", error.reason))
    sequences = tuple(sequence for sequence, _ in found)
    targets = np.array([target for _, target in found])
    dataset = Dataset(path.stem, sequences, targets, tuple(left_out))
    check(dataset, str(path))
    return dataset


def check(dataset: Dataset, where: str) -> None:
    """Refuse what cannot be studied.

    Raises
    ------
    DataError
        If there are fewer than :data:`MIN_ROWS` proteins, or all targets are equal.
    """
    rows = len(set(dataset.sequences))
    if rows < MIN_ROWS:
        cause = (
            f"; the first that was left out: {dataset.left_out[0].sentence}"
            if dataset.left_out
            else ""
        )
        raise DataError(
            f"{where} has {rows} proteins that can be used, and five folds of five need at least "
            f"{MIN_ROWS}{cause}"
        )
    if np.ptp(dataset.targets) == 0:
        raise DataError(
            f"{where} has the target {dataset.targets[0]:g} in every row; there is nothing to learn"
        )


def _of(row: Row, columns: Sequence[str]) -> str:
    """Value of the first of some columns that the file has."""
    return next(row[name] for name in columns if name in row)


class _UnusableError(Exception):
    """What is wrong with a row, as a sentence and in a few words."""

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def _protein(text: str, max_residues: int) -> str:
    try:
        sequence = clean_sequence(text, "", SequencePolicy())
    except SequenceError as error:
        told = str(error).removeprefix("record '' ")
        raise _UnusableError(f"the sequence {told}", "no protein sequence") from None
    if len(sequence) > max_residues:
        told = f"the sequence has {len(sequence):,} residues, the models take {max_residues:,}"
        raise _UnusableError(told, "too long")
    return sequence


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise _UnusableError(f"the target {text!r} is not a number", "no number")
    return found
