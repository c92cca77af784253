"""Labelled proteins in the file shapes that FLIP uses.

A CSV with the columns ``sequence,target,set,validation``; a FASTA file whose headers carry
``TARGET=... SET=train VALIDATION=False``; or a folder with ``sequences.fasta``, a FASTA file of
labels (a letter a residue; headers ``SET=... VALIDATION=...``) named after the split, and, where
some residues have no label, ``mask.fasta`` (1 counts, 0 does not).
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dnaio
from dnaio.exceptions import FileFormatError

from bionemo_ext.errors import DataError, SequenceError
from bionemo_ext.sequences import SequencePolicy, clean_sequence, read_fasta

_COLUMNS = ("sequence", "target", "set")
_ATTRIBUTE = re.compile(r"(\w+)=(\S*)")
_POLICY = SequencePolicy(unknown_to_x=True)


@dataclass(frozen=True)
class Example:
    """One labelled protein.

    Parameters
    ----------
    where : str
        File and line or record, for messages.
    sequence : str
        Clean residues.
    target : str
        A class or number for the whole sequence, or a letter a residue.
    mask : str
        ``1`` at residues whose label counts, as long as the sequence; empty where all count.
    """

    where: str
    sequence: str
    target: str
    mask: str = ""


@dataclass(frozen=True)
class LabelledSet:
    """Examples to learn from, to stop by, and to be measured on."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]

    @property
    def counts(self) -> dict[str, int]:
        """Examples in each part."""
        return {name: len(part) for name, part in vars(self).items()}


def read_labelled(path: Path, *, residues: bool, split: str = "labels") -> LabelledSet:
    """Read a labelled set.

    Parameters
    ----------
    path : Path
        A CSV or FASTA file, or a folder of FASTA files.
    residues : bool
        Whether every residue has a label of its own.
    split : str
        Of a folder, the file of labels without its ending, as ``sampled`` in FLIP.

    Raises
    ------
    DataError
        Names the file and the line or record, and what is wrong with it.
    """
    if path.is_dir():
        rows = _folder(path, path / f"{split}.fasta")
    elif path.suffix == ".csv":
        rows = _csv(path)
    else:
        rows = _fasta(path)
    parts: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    for part, example in rows:
        if residues:
            _check_letters(example)
        parts[part].append(example)
    for name, examples in parts.items():
        if not examples:
            raise DataError(f"{path} has no {name} examples")
    return LabelledSet(**parts)


def _csv(path: Path) -> Iterator[tuple[str, Example]]:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        for column in _COLUMNS:
            if column not in (reader.fieldnames or ()):
                raise DataError(
                    f"{path} line 1 has no column {column!r}; sequence,target,set,validation "
                    "are needed"
                )
        for row in reader:
            where = f"{path} line {reader.line_num}"
            yield _part(row["set"], row.get("validation"), where), _example(where, row)


def _fasta(path: Path) -> Iterator[tuple[str, Example]]:
    for record in read_fasta(path, _POLICY):
        where, attributes = f"{path} record {record.name}", _attributes(record.description)
        if "TARGET" not in attributes:
            raise DataError(f"{where} has no TARGET= in its header")
        row = {"sequence": record.sequence, "target": attributes["TARGET"]}
        part = _part(attributes.get("SET"), attributes.get("VALIDATION"), where)
        yield part, _example(where, row)


def _folder(folder: Path, label_file: Path) -> Iterator[tuple[str, Example]]:
    for file in (folder / "sequences.fasta", label_file):
        if not file.is_file():
            raise DataError(f"{folder} has no {file.name}")
    labels = {name: (header, text) for name, header, text in _raw(label_file)}
    masks: dict[str, str] = {}
    if (folder / "mask.fasta").is_file():
        masks = {name: text for name, _, text in _raw(folder / "mask.fasta")}
    for record in read_fasta(folder / "sequences.fasta", _POLICY):
        where = f"{label_file} record {record.name}"
        if record.name not in labels:
            raise DataError(f"{where} is missing, {folder / 'sequences.fasta'} has it")
        header, target = labels.pop(record.name)
        attributes = _attributes(header)
        part = _part(attributes.get("SET"), attributes.get("VALIDATION"), where)
        yield part, Example(where, record.sequence, target, masks.get(record.name, ""))
    if labels:
        raise DataError(
            f"{label_file} record {next(iter(labels))} has no sequence in "
            f"{folder / 'sequences.fasta'}"
        )


def _raw(path: Path) -> Iterator[tuple[str, str, str]]:
    """Records whose text is labels and not residues: name, header, text."""
    try:
        with dnaio.open(path, fileformat="fasta") as reader:
            for entry in reader:
                yield entry.name.split(maxsplit=1)[0], entry.name, entry.sequence
    except (FileFormatError, OSError, ValueError, IndexError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _attributes(header: str) -> dict[str, str]:
    return {key.upper(): value for key, value in _ATTRIBUTE.findall(header)}


def _example(where: str, row: dict[str, str]) -> Example:
    if not row["target"]:
        raise DataError(f"{where} has no target")
    try:
        sequence = clean_sequence(row["sequence"] or "", where, _POLICY)
    except SequenceError as error:
        raise DataError(str(error)) from None
    return Example(where, sequence, row["target"])


def _part(name: str | None, validation: str | None, where: str) -> str:
    if name not in ("train", "test", "validation", "val"):
        raise DataError(f"{where} has the set {name!r}; train or test is needed")
    if name == "test":
        return "test"
    aside = name != "train" or (validation or "").lower() == "true"
    return "validation" if aside else "train"


def _check_letters(example: Example) -> None:
    for kind, text in (("labels", example.target), ("mask letters", example.mask)):
        if text and len(text) != len(example.sequence):
            raise DataError(
                f"{example.where} has {len(text)} {kind} for {len(example.sequence)} residues"
            )
