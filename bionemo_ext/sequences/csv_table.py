"""Tables of proteins or variants, as experiments and benchmarks publish them."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bionemo_ext.errors import DataError

Row = dict[str, str]

_DELIMITERS = ",\t;"


@dataclass(frozen=True)
class LeftOut:
    """A row, or record, that cannot be used.

    Parameters
    ----------
    line : int
        Of the file, from 1; of a FASTA the record.
    sentence : str
        What is wrong; names the file and the place.
    reason : str
        The same in a few words, to be counted.
    """

    line: int
    sentence: str
    reason: str


def read_table(path: Path, *needed: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Yield line and row of a file whose first line names its columns.

    Between them are commas, tabs or semicolons, whichever the first line has most of. A UTF-8 byte
    order mark and either kind of line end are read; empty lines are left out.

    Parameters
    ----------
    path : Path
        The file.
    needed : sequence of str
        Names of which the file must have one, for each kind of column that is needed.

    Yields
    ------
    line, row : int, dict of str to str
        The line in which the row ends, from 1; values without white space around them, empty where
        the row is short.

    Raises
    ------
    DataError
        If the file cannot be read, is no such table or lacks a column; names file and remedy.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            table = csv.DictReader(file, delimiter=max(_DELIMITERS, key=header.count))
            names = [name.strip() for name in table.fieldnames or []]
            table.fieldnames = names
            _check(path, names, needed)
            for row in table:
                yield table.line_num, {k: (v or "").strip() for k, v in row.items() if k}
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} cannot be read: it is not text in UTF-8") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from None


def count_reasons(rows: Sequence[LeftOut]) -> dict[str, int]:
    """How many rows there are for each reason, the most frequent first."""
    return dict(Counter(row.reason for row in rows).most_common())


def _check(path: Path, names: Sequence[str], needed: Sequence[Sequence[str]]) -> None:
    columns = " and ".join(" or ".join(known) for known in needed)
    if not names:
        raise DataError(f"{path} is empty; a CSV file with the column {columns} is needed")
    if names[0].startswith(">"):
        raise DataError(f"{path} is a FASTA file; a CSV file with the column {columns} is needed")
    for known in needed:
        found = [name for name in known if names.count(name)]
        if any(names.count(name) > 1 for name in found):
            raise DataError(f"{path} has two columns {found[0]!r}; rename one of them")
        if not found:
            raise DataError(f"{path} has no column {' or '.join(known)}; it has {', '.join(names)}")
