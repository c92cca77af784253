"""Deep mutational scans: variants of one protein and what an experiment measured of each.

Columns as the study's files have them (``mutant``, ``target``, ``sequence``) or ProteinGym's
(``mutant``, ``DMS_score``, ``DMS_score_bin``, ``mutated_sequence``). Any but one of mutant and
sequence may be missing; without a measurement there is nothing to compare with.
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo_ext.contract.variants import Variant, parse_variants
from bionemo_ext.errors import DataError, InputError, SequenceError
from bionemo_ext.sequences import clean_sequence
from bionemo_ext.tasks.variant_effects import apply, difference

MUTANT_COLUMNS = ("mutant",)
SEQUENCE_COLUMNS = ("sequence", "mutated_sequence")
MEASURED_COLUMNS = ("target", "DMS_score")
FIT_COLUMNS = ("DMS_score_bin",)

_SUBSTITUTION = re.compile(r"([A-Z])(-?\d+)([A-Z])")


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
        The variants as the file writes them; a sequence's length where it has no name.
    variants : tuple of Variant or str
        Substitutions; whole sequences where there are insertions or deletions.
    measured : NDArray, optional
        FP64 [variants].
    fit : NDArray, optional
        Which variants are fit, [variants].
    left_out : tuple of str
        A sentence for each row that cannot be scored.
    """

    name: str
    wild: str
    names: tuple[str, ...]
    variants: tuple[Variant | str, ...]
    measured: NDArray[np.float64] | None
    fit: NDArray[np.bool_] | None
    left_out: tuple[str, ...]


def read_scan(path: Path, wild: str | None = None, offset: int = 0) -> Scan:
    """Read a scan; rows that cannot be scored are left out and told of.

    Parameters
    ----------
    path : Path
        A CSV file.
    wild : str, optional
        The wild type; without it the sequence that a row's substitutions are undone in.
    offset : int
        What the file's positions count too many: position 1 of the wild type is ``1 + offset``.

    Raises
    ------
    DataError
        If the file cannot be read, has neither mutants nor sequences, no row can be scored, or the
        wild type does not follow from it.
    """
    rows = list(_read(path))
    if not rows:
        raise DataError(f"{path} has no rows")
    wild = _wild_type(path, rows, offset) if wild is None else _clean(wild)
    found: dict[Variant | str, tuple[str, float | None, bool | None]] = {}
    left_out = []
    for line, row in rows:
        try:
            name, variant = _variant(row, wild, offset)
            if variant in found:
                raise DataError(f"{name} is there twice; the first is taken")
            found[variant] = name, _number(row, MEASURED_COLUMNS), _is_fit(row)
        except InputError as error:
            left_out.append(f"{path}, line {line}: {error}")
    if not found:
        raise DataError(f"{path} has no variant that can be scored; {left_out[0]}")
    names, measured, fit = zip(*found.values(), strict=True)
    return Scan(
        path.stem,
        wild,
        names,
        tuple(found),
        None if None in measured else np.array(measured, dtype=np.float64),
        None if None in fit else np.array(fit, dtype=bool),
        tuple(left_out),
    )


def _read(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield line and row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            names = table.fieldnames or []
            if not set(names) & {*MUTANT_COLUMNS, *SEQUENCE_COLUMNS}:
                known = " or ".join((*MUTANT_COLUMNS, *SEQUENCE_COLUMNS))
                raise DataError(f"{path} has no column {known}; it has {', '.join(names)}")
            for row in table:
                yield table.line_num, {k: (v or "").strip() for k, v in row.items() if k}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _of(row: Mapping[str, str], columns: Sequence[str]) -> str:
    return next((row[name] for name in columns if row.get(name)), "")


def _wild_type(path: Path, rows: Sequence[tuple[int, Mapping[str, str]]], offset: int) -> str:
    """Undo the substitutions of the first row that has both a mutant and a sequence."""
    for _, row in rows:
        mutant, text = _of(row, MUTANT_COLUMNS).upper(), _of(row, SEQUENCE_COLUMNS)
        parts = [_SUBSTITUTION.fullmatch(part) for part in mutant.split(":")]
        if not text or None in parts:
            continue
        letters = list(_clean(text))
        places = [int(part[2]) - 1 - offset for part in parts if part]
        if all(0 <= place < len(letters) for place in places):
            for place, part in zip(places, parts, strict=True):
                letters[place] = part[1] if part else ""
            return "".join(letters)
    raise DataError(
        f"{path} does not tell the wild type: no row has both a mutant such as A24G and the "
        "sequence that it makes; give the wild type"
    )


def _variant(row: Mapping[str, str], wild: str, offset: int) -> tuple[str, Variant | str]:
    mutant, text = _of(row, MUTANT_COLUMNS), _of(row, SEQUENCE_COLUMNS)
    if not mutant:
        sequence = _clean(text)
        if len(sequence) == len(wild):
            variant = difference(wild, sequence)
            return _written(wild, variant, offset) or "wild type", variant
        return f"{len(sequence)} residues", sequence
    shifted = _SUBSTITUTION.sub(lambda m: f"{m[1]}{int(m[2]) - offset}{m[3]}", mutant.upper())
    try:
        (parsed,) = parse_variants(shifted, wild, "wild type")
    except ValueError:
        raise DataError(f"{mutant!r} is not one variant; substitutions are joined by ':'") from None
    if text and _clean(text) != apply(wild, parsed):
        raise DataError(f"the sequence is not the wild type with {mutant}")
    return mutant, parsed


def _written(wild: str, variant: Variant, offset: int) -> str:
    return ":".join(f"{wild[s.site]}{s.site + 1 + offset}{s.mutant}" for s in variant)


def _clean(text: str) -> str:
    try:
        return clean_sequence(text, "")
    except SequenceError as error:
        raise DataError("the sequence " + str(error).removeprefix("record '' ")) from None


def _number(row: Mapping[str, str], columns: Sequence[str]) -> float | None:
    """Read a measurement; None where the file has no such column."""
    if not any(name in row for name in columns):
        return None
    text = _of(row, columns)
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"the measurement {text!r} is not a number")
    return found


def _is_fit(row: Mapping[str, str]) -> bool | None:
    found = _number(row, FIT_COLUMNS)
    return None if found is None else found > 0
