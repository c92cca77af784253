"""Deep mutational scans: variants of one protein and what an experiment measured of each.

Columns as the study's files have them (``mutant``, ``target``, ``sequence``) or ProteinGym's
(``mutant``, ``DMS_score``, ``DMS_score_bin``, ``mutated_sequence``). Any but one of mutant and
sequence may be missing; without a measurement there is nothing to compare with.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract.variants import (
    UNREADABLE,
    Variant,
    VariantError,
    apply,
    difference,
    parse_variant,
    read_substitution,
    written,
)
from bionemo_ext.errors import DataError, InputError, SequenceError
from bionemo_ext.sequences import clean_sequence, read_fasta
from bionemo_ext.sequences.csv_table import LeftOut, Row, read_table

MUTANT_COLUMNS = ("mutant",)
SEQUENCE_COLUMNS = ("sequence", "mutated_sequence")
MEASURED_COLUMNS = ("target", "DMS_score")
FIT_COLUMNS = ("DMS_score_bin",)

# Raises for a variant that cannot be scored, the wild type first.
Check = Callable[[str, Variant | str], None]


@dataclass(frozen=True)
class Scan:
    """Variants of one protein.

    Parameters
    ----------
    name : str
        The file's name without its end.
    wild : str
        The wild type, clean.
    names : tuple of str
        The variants as the file writes them; without a mutant what follows from the sequence: its
        substitutions, or the sequence itself where there are insertions or deletions.
    variants : tuple of Variant or str
        Substitutions; whole sequences where there are insertions or deletions.
    measured : NDArray, optional
        FP64 [variants]; nan where the file has no number.
    fit : NDArray, optional
        Which variants are fit, [variants]; None where the file does not say it of all.
    left_out : tuple of LeftOut
        Rows that cannot be scored.
    unmeasured : tuple of LeftOut
        Rows that are scored, and cannot be compared.
    offset : int
        What the file's positions count too many.
    """

    name: str
    wild: str
    names: tuple[str, ...]
    variants: tuple[Variant | str, ...]
    measured: NDArray[np.float64] | None
    fit: NDArray[np.bool_] | None
    left_out: tuple[LeftOut, ...] = ()
    unmeasured: tuple[LeftOut, ...] = ()
    offset: int = 0


def read_scan(
    path: Path, wild: str | None = None, offset: int = 0, check: Check | None = None
) -> Scan:
    """Read a scan; rows that cannot be scored are left out and told of.

    Parameters
    ----------
    path : Path
        A CSV file.
    wild : str, optional
        The wild type; without it the sequence that a row's substitutions are undone in.
    offset : int
        What the file's positions count too many: position 1 of the wild type is ``1 + offset``.
    check : callable, optional
        Takes the wild type and a variant, and raises a VariantError for one that is to be left out.

    Raises
    ------
    DataError
        If the file cannot be read, has neither mutants nor sequences, no row can be scored, or the
        wild type does not follow from it.
    """
    rows = list(read_table(path, (*MUTANT_COLUMNS, *SEQUENCE_COLUMNS)))
    if not rows:
        raise DataError(f"{path} has no rows")
    wild = _wild_type(path, rows, offset) if wild is None else _clean(wild, "the wild type")
    found: dict[Variant | str, _Measured] = {}
    left_out, unmeasured = [], []
    for line, row in rows:
        where = f"{path}, line {line}"
        try:
            name, variant = _variant(row, wild, offset)
            _check(check, wild, name, variant)
            if variant in found:
                first = found[variant].line
                told = f"{name} is there twice; the first, of line {first}, is taken"
                raise VariantError(told, "there twice")
        except VariantError as error:
            left_out.append(LeftOut(line, f"{where}: {error}", error.reason))
            continue
        value, told = _number(row, MEASURED_COLUMNS)
        if told:
            unmeasured.append(LeftOut(line, f"{where}: {told}; {name} is scored only", "no number"))
        found[variant] = _Measured(line, name, value, _number(row, FIT_COLUMNS)[0])
    if not found:
        raise DataError(f"{path} has no variant that can be scored; {left_out[0].sentence}")
    columns = rows[0][1]
    fit = np.array([one.fit for one in found.values()])
    return Scan(
        path.stem,
        wild,
        tuple(one.name for one in found.values()),
        tuple(found),
        np.array([one.value for one in found.values()])
        if _has(columns, MEASURED_COLUMNS)
        else None,
        fit > 0 if _has(columns, FIT_COLUMNS) and np.isfinite(fit).all() else None,
        tuple(left_out),
        tuple(unmeasured),
        offset,
    )


def read_sequences(path: Path, wild: str, check: Check | None = None) -> Scan:
    """Read variants as whole sequences; those that cannot be scored are left out and told of.

    Parameters
    ----------
    path : Path
        A FASTA file; variants are called as its records are.
    wild, check
        As for :func:`read_scan`.

    Raises
    ------
    DataError, FastaError
        If the file cannot be read, or no record can be scored.
    """
    wild = _clean(wild, "the wild type")
    found: dict[Variant | str, str] = {}
    left_out: list[LeftOut] = []

    def leave_out(name: str, error: InputError) -> None:
        reason = error.reason if isinstance(error, VariantError) else "no protein sequence"
        number = len(found) + len(left_out) + 1
        told = str(error).removeprefix(f"record {name!r} ")
        left_out.append(LeftOut(number, f"{path}: record {name!r}: {told}", reason))

    for record in read_fasta(path, on_bad=leave_out):
        try:
            variant = _difference(wild, record.sequence)
            _check(check, wild, record.name, variant)
            if variant in found:
                told = f"the sequence is that of {found[variant]!r}, which is taken"
                raise VariantError(told, "there twice")
        except VariantError as error:
            leave_out(record.name, error)
            continue
        found[variant] = record.name
    if not found:
        raise DataError(f"{path} has no variant that can be scored; {left_out[0].sentence}")
    names = tuple(found.values())
    return Scan(path.stem, wild, names, tuple(found), None, None, tuple(left_out))


@dataclass(frozen=True)
class _Measured:
    line: int
    name: str
    value: float
    fit: float


def _has(row: Row, columns: Sequence[str]) -> bool:
    return any(name in row for name in columns)


def _of(row: Mapping[str, str], columns: Sequence[str]) -> str:
    return next((row[name] for name in columns if row.get(name)), "")


def _wild_type(path: Path, rows: Sequence[tuple[int, Row]], offset: int) -> str:
    """Undo the substitutions of the first row that has both a mutant and a sequence."""
    for _, row in rows:
        mutant, text = _of(row, MUTANT_COLUMNS), _of(row, SEQUENCE_COLUMNS)
        parts = [read_substitution(part) for part in mutant.split(":")]
        if not text or None in parts:
            continue
        try:
            letters = list(_clean(text))
        except InputError:
            continue  # that row is told of when it is read
        known = [(old, position - 1 - offset, new) for old, position, new in filter(None, parts)]
        if all(0 <= place < len(letters) and letters[place] == new for _, place, new in known):
            for old, place, _ in known:
                letters[place] = old
            return "".join(letters)
    raise DataError(
        f"{path} does not tell the wild type: no row has both a mutant such as A24G and the "
        f"sequence that it makes, with position {1 + offset} the first; give the wild type, or "
        "the offset of the positions"
    )


def _variant(row: Row, wild: str, offset: int) -> tuple[str, Variant | str]:
    """Name and variant of a row."""
    mutant, text = _of(row, MUTANT_COLUMNS), _of(row, SEQUENCE_COLUMNS)
    if not mutant and not text:
        raise VariantError("there is neither a mutant nor a sequence", "empty")
    sequence = _clean(text) if text else ""
    if not mutant:
        variant = _difference(wild, sequence)
        if isinstance(variant, str):
            return sequence, variant
        return written(wild, variant, offset) or "wild type", variant
    try:
        parsed = parse_variant(mutant, wild, f"variant {mutant!r}", offset)
    except VariantError as error:
        if not sequence or error.reason != UNREADABLE:
            raise
        # Insertions and deletions are named in many ways: the sequence tells.
        return mutant, _difference(wild, sequence)
    if sequence and sequence != apply(wild, parsed):
        told = f"the sequence is not the wild type with {mutant}"
        raise VariantError(told, "sequence does not match")
    return mutant, parsed


def _check(check: Check | None, wild: str, name: str, variant: Variant | str) -> None:
    try:
        if check is not None:
            check(wild, variant)
    except VariantError as error:
        if isinstance(variant, str):  # which may be its name, too
            raise
        raise VariantError(f"variant {name!r}: {error}", error.reason) from None


def _difference(wild: str, sequence: str) -> Variant | str:
    """Substitutions; the sequence itself where there are insertions or deletions."""
    return difference(wild, sequence) if len(sequence) == len(wild) else sequence


def _clean(text: str, what: str = "the sequence") -> str:
    try:
        return clean_sequence(text, "")
    except SequenceError as error:
        told = str(error).removeprefix("record '' ")
        raise VariantError(f"{what} {told}", "no protein sequence") from None


def _number(row: Row, columns: Sequence[str]) -> tuple[float, str]:
    """Read a measurement, and say what is wrong with it; nan where there is none."""
    if not _has(row, columns):
        return math.nan, ""
    text = _of(row, columns)
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if math.isfinite(found):
        return found, ""
    return math.nan, f"the measurement {text!r} is not a number"
