"""Labels in CSV and TSV files, under any column names."""

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from bionemo_ext.errors import DataError
from bionemo_ext.tasks.examples import Example, Row, Unlabelled, clean, part_of
from bionemo_ext.tasks.places import Place, opened

_DELIMITERS = ",\t;"
# Other people's names of the column: without it sets are drawn, which must not happen unnoticed.
_SET_NAMES = ("split", "stage", "partition", "subset", "fold")
_EMPTY = frozenset({"", "nan"})
# A number a residue makes a cell longer than the default of 131,072 characters.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are called.

    Parameters
    ----------
    sequence : str
        One-letter residues.
    target : str
        The label; of a FASTA header the attribute.
    set : str, optional
        ``train``, ``validation`` or ``test``; without such a column sets are drawn.
    validation : str, optional
        ``True`` at training rows that are for validation.
    """

    sequence: str = "sequence"
    target: str = "target"
    set: str | None = "set"
    validation: str | None = "validation"


def read_table(
    place: Place, columns: Columns, without_set: Unlabelled | None = None
) -> Iterator[Row]:
    """Read a table with a header; comma, tab or semicolon, whichever the header has most of.

    Parameters
    ----------
    place : Place
        The file.
    columns : Columns
        Names of its columns.
    without_set : Unlabelled, optional
        Told of rows whose set is empty, which are left out then; else they are refused.

    Raises
    ------
    DataError
        If a column is missing or a row has another number of cells, no label, a wrong letter or
        a wrong set; names the line.
    """
    with opened(place) as text:
        header = text.readline()
        delimiter = max(_DELIMITERS, key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
        if not any(names):
            raise DataError(f"{place} is empty; a line of column names is needed")
        _check_columns(names, columns, f"{place} line 1")
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        start = 2
        try:
            for cells in reader:
                line, start = f"line {start}", reader.line_num + 2
                if not cells:
                    continue
                if len(cells) != len(names):
                    raise DataError(
                        f"{place} {line} has {len(cells)} cells, its header has {len(names)}"
                    )
                row = dict(zip(names, cells, strict=True))
                if without_set is not None and row.get(columns.set or "", "-").lower() in _EMPTY:
                    without_set.count += 1
                else:
                    yield _example(row, columns, line, place)
        except csv.Error as error:
            raise DataError(f"{place} line {start} cannot be read: {error}") from None


def _example(row: dict[str, str], columns: Columns, line: str, place: Place) -> Row:
    where = f"{place} {line}"
    part = None
    if columns.set in row:
        part = part_of(row[columns.set], row.get(columns.validation or ""), where)
    sequence = clean(row[columns.sequence], line, where)
    return Row(part, Example(line, where, sequence, row[columns.target].strip()))


def _check_columns(names: Sequence[str], columns: Columns, where: str) -> None:
    if repeated := {name for name in names if name and names.count(name) > 1}:
        raise DataError(f"{where} has the column {sorted(repeated)[0]!r} twice")
    defaults = Columns()
    for key, wanted in vars(columns).items():
        if wanted is None or wanted in names:
            continue
        lowered = {name.lower(): name for name in names}
        near = get_close_matches(wanted.lower(), lowered, n=1, cutoff=0.75)
        if key == "set":
            near += [name for name in _SET_NAMES if name in lowered]
        # The two columns that a table may lack: a misspelt one must not pass for none.
        optional = key in ("set", "validation") and wanted == getattr(defaults, key)
        if optional and not near:
            continue
        found = lowered[near[0]] if near else None
        hint = (
            f"; is it {found!r} (task.columns.{key}={found})?"
            if near
            else f" (task.columns.{key}=...)"
        )
        raise DataError(f"{where} has no column {wanted!r} but {', '.join(names)}{hint}")
