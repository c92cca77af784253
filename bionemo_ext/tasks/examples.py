"""Labelled proteins in memory, whatever file they came from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from bionemo_ext.errors import DataError, SequenceError
from bionemo_ext.sequences import SequencePolicy, clean_sequence

# J (leucine or isoleucine) and an inner stop codon have no token of their own; FLIP's files have
# both. What else is outside the alphabet is a mistake in the file.
_NO_TOKEN = str.maketrans("Jj*", "XXX")
_PARTS = {"train": "train", "test": "test", "validation": "validation"}
_PARTS |= {"valid": "validation", "val": "validation"}
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no", "", "nan"})


@dataclass(frozen=True)
class Example:
    """One labelled protein.

    Parameters
    ----------
    name : str
        The record's name, or ``line 12`` of a table.
    where : str
        File and line or record, for messages.
    sequence : str
        L clean residues.
    target : str
        The label as it is written: a class, a number or labels of the whole sequence, or one of
        these a residue.
    mask : str
        ``1`` at residues whose label counts, L of them; empty where all count.
    """

    name: str
    where: str
    sequence: str
    target: str
    mask: str = ""


@dataclass(frozen=True)
class LabelledSet:
    """Examples to learn from, to stop by, and to be measured on.

    Parameters
    ----------
    train, validation, test : list of Example
        The parts.
    unlabelled : int
        Proteins of the files that take no part: sequences that a split does not name, rows
        without a set in a published table, DeepLoc's of unknown kind.
    drawn : tuple of str
        Parts that the files do not mark and that were drawn by sequence.
    """

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    unlabelled: int = 0
    drawn: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Examples in each part."""
        return {name: len(part) for name, part in self.parts.items()}

    @property
    def parts(self) -> dict[str, list[Example]]:
        """The parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass
class Unlabelled:
    """Counts the proteins that take no part while files are read."""

    count: int = 0


class Row(NamedTuple):
    """An example as a file gives it: ``part`` is None where the file marks no sets."""

    part: str | None
    example: Example


def clean(sequence: str, name: str, where: str, policy: SequencePolicy | None = None) -> str:
    """Bring a labelled sequence into the alphabet; ``J`` and an inner stop become ``X``.

    Parameters
    ----------
    sequence : str
        As the file has it.
    name, where : str
        The record's name; file and record or line.
    policy : SequencePolicy, optional
        The alphabet; ESM-2's when not given.

    Raises
    ------
    DataError
        If a letter is outside the alphabet, nothing is left, or the letters are nucleotides.
    """
    try:
        kept = sequence.strip().removesuffix("*").translate(_NO_TOKEN)
        return clean_sequence(kept, name, policy)
    except SequenceError as error:
        told = str(error).removeprefix(f"record {name!r} ")
        raise DataError(f"{where} {told}") from None


def part_of(name: str | None, validation: str | None, where: str) -> str:
    """Tell the part from FLIP's ``set`` and ``validation``.

    Raises
    ------
    DataError
        If either is a word that it cannot be.
    """
    part = _PARTS.get((name or "").strip().lower())
    if part is None:
        has = f"has the set {name!r}" if name else "names no set"
        raise DataError(f"{where} {has}; train, validation or test is needed")
    aside = (validation or "").strip().lower()
    if aside not in _TRUE | _FALSE:
        raise DataError(f"{where} has the validation mark {validation!r}; True or False is needed")
    if part == "train" and aside in _TRUE:
        return "validation"
    return part


def join(rows: Iterable[Row]) -> dict[str | None, list[Example]]:
    """Collect rows by part; key None holds those without one.

    Raises
    ------
    DataError
        If some rows have a part and some have none.
    """
    parts: dict[str | None, list[Example]] = {}
    for part, example in rows:
        parts.setdefault(part, []).append(example)
    if None in parts and len(parts) > 1:
        raise DataError(
            f"{parts[None][0].where} names no set, though others of the file do; "
            "train, validation or test is needed"
        )
    return parts
