"""Which UniRef90 sequences are in which UniRef50 cluster, from any of the files that say so."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from bionemo_ext.data.counter import Bits
from bionemo_ext.data.uniref.encode import Source
from bionemo_ext.data.uniref.names import hash_spans
from bionemo_ext.errors import DataError

_LOOKED_AT = 1 << 18  # bytes from which a file's shape is recognised
_BLOCK = 8 << 20
_UNIREF = {50: re.compile(r"UniRef50_(?!IDs?$)\S+"), 90: re.compile(r"UniRef90_(?!IDs?$)[^\t]+")}
_SPACED_ROW = re.compile(r"UniRef50_[^ ,;]+[ ,;]+UniRef90_")
_UNIPROT_NAME = r"^(?:sp|tr)\|([^|]*).*"  # its accession alone, as in FASTA headers
_NO_DELIMITER = "\x01"
Pairs = tuple[Bits, Bits]
"""Numbers of clusters and of their members, row by row, each of shape [N, 2]."""


class Shape(str, Enum):
    """Kinds of membership file; the value is how it is called to users."""

    ID_MAPPING = "UniProt's idmapping.dat (accession, kind, identifier)"
    TABLE = "a table with a UniRef50 and a UniRef90 column"
    ROWS = "rows of a cluster and its members"
    CLUSTERS = "MMseqs2's cluster table (representative, member)"


@dataclass(frozen=True)
class Membership:
    """A membership file that was recognised.

    Parameters
    ----------
    shape : Shape
        What it is.
    cluster_column, member_column : int
        Where the identifiers stand in a table.
    skip : int
        Header lines.
    """

    shape: Shape
    cluster_column: int = 0
    member_column: int = 1
    skip: int = 0


def recognise(source: Source) -> Membership:
    """Tell a membership file's shape by its first lines.

    Raises
    ------
    DataError
        If it is none of the known ones.
    """
    with source.decompressed() as stream:
        text = stream.read(_LOOKED_AT).decode("utf-8", "replace")
    # The last line may be cut.
    lines = text.splitlines() if len(text) < _LOOKED_AT else text.splitlines()[:-1]
    rows = [line.split("\t") for line in lines if line.strip()]
    if not rows:
        raise DataError(f"{source.path} is empty, but cluster members are needed")
    header = all(re.fullmatch(r"[A-Za-z_ ().0-9-]*(ID|id|name|member)s?", cell) for cell in rows[0])
    body = rows[header:] or rows
    widths = {len(row) for row in body}
    if widths == {3} and any(row[1] in ("UniRef50", "UniRef90") for row in body):
        return Membership(Shape.ID_MAPPING)
    columns = {level: _column(body, pattern) for level, pattern in _UNIREF.items()}
    found = Membership(Shape.TABLE, columns[50], columns[90], int(header))
    if widths == {2} and found.cluster_column < 0 and found.member_column < 0:
        several = any(re.search(r"[,; ]", row[1]) for row in body)
        return Membership(Shape.ROWS if several else Shape.CLUSTERS, skip=int(header))
    if widths == {1} and all(_SPACED_ROW.match(row[0]) for row in body):
        return Membership(Shape.ROWS, skip=int(header))
    if min(columns.values()) < 0:
        raise DataError(
            f"{source.path} does not tell the UniRef90 members of UniRef50 clusters: its first "
            f"line is {lines[0][:80]!r}; needed is UniProt's idmapping, a table with UniRef50_ and "
            "UniRef90_ identifiers, or MMseqs2's two columns"
        )
    if len(widths) > 1:
        return Membership(Shape.ROWS, skip=int(header))
    return found


def read_pairs(source: Source, found: Membership) -> Iterator[Pairs]:
    """Numbers of clusters and members, some 100,000 pairs at a time.

    Rows without either identifier are left out: a UniProt entry may be in no cluster.

    Raises
    ------
    DataError
        If the file cannot be read to its end.
    """
    try:
        with source.decompressed() as stream:
            yield from _PAIRS[found.shape](stream, found)
    except DataError:
        raise
    except Exception as error:  # each decompressor has error classes of its own
        sentence = " ".join(str(error).split())
        raise DataError(
            f"{source.path} cannot be read as {found.shape.value}: {sentence}"
        ) from None


def _column(rows: list[list[str]], pattern: re.Pattern) -> int:
    """Give the first column that holds such identifiers, and nothing else but blanks, or -1."""
    for column in range(max(map(len, rows))):
        cells = [row[column] for row in rows if len(row) > column and row[column].strip()]
        if cells and all(pattern.fullmatch(cell.strip()) for cell in cells):
            return column
    return -1


def _batches(stream: object, skip: int, delimiter: str = "\t") -> Iterator[pa.RecordBatch]:
    """Columns of text, quotes taken as they stand."""
    first = stream.peek(_LOOKED_AT).split(b"\n")
    width = first[min(skip, len(first) - 1)].count(delimiter.encode()) + 1
    names = [str(i) for i in range(width)]
    return csv.open_csv(
        stream,
        csv.ReadOptions(block_size=_BLOCK, skip_rows=skip, column_names=names, use_threads=False),
        csv.ParseOptions(delimiter=delimiter, quote_char=False),
        csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )


def _table_pairs(stream: object, found: Membership) -> Iterator[Pairs]:
    for batch in _batches(stream, found.skip):
        clusters, members = batch[found.cluster_column], batch[found.member_column]
        given = pc.and_(
            pc.greater(pc.binary_length(clusters), 0), pc.greater(pc.binary_length(members), 0)
        )
        yield _flat(
            clusters.filter(given), pc.split_pattern_regex(members.filter(given), r"[,; ]+")
        )


def _row_pairs(stream: object, found: Membership) -> Iterator[Pairs]:
    for batch in _batches(stream, found.skip, _NO_DELIMITER):
        cells = pc.split_pattern_regex(pc.utf8_trim_whitespace(batch[0]), r"[\t,; ]+")
        cells = cells.filter(pc.greater(pc.list_value_length(cells), 1))
        yield _flat(pc.list_element(cells, 0), pc.list_slice(cells, 1))


def _flat(clusters: pa.Array, members: pa.Array) -> Pairs:
    """Pair each cluster with each of the members in its list; empty names are dropped."""
    rows = pc.list_parent_indices(members).to_numpy()
    names = pc.list_flatten(members)
    given = pc.greater(pc.binary_length(names), 0)
    return _hash(clusters)[rows[given.to_numpy(zero_copy_only=False)]], _hash(names.filter(given))


def _idmapping_pairs(stream: object, found: Membership) -> Iterator[Pairs]:
    """Join each accession's UniRef50 and UniRef90 rows, which stand together."""
    carried = None
    for batch in _batches(stream, found.skip):
        table = batch.filter(pc.is_in(batch[1], pa.array(["UniRef50", "UniRef90"])))
        if carried is not None:
            table = pa.concat_batches([carried, table])
        if not table.num_rows:
            continue
        last = table[0][table.num_rows - 1]
        # An accession may go on in the next block; its rows are the last ones.
        ends = table.num_rows - pc.sum(pc.equal(table[0], last)).as_py()
        carried = table.slice(ends)
        yield _joined(table.slice(0, ends))
    if carried is not None:
        yield _joined(carried)


def _joined(rows: pa.RecordBatch) -> Pairs:
    accession, identifier = _hash(rows[0]), _hash(rows[2])
    new = np.ones(len(accession), dtype=bool)
    new[1:] = (accession[1:] != accession[:-1]).any(axis=1)
    entry = np.cumsum(new) - 1
    is50 = pc.equal(rows[1], "UniRef50").to_numpy(zero_copy_only=False)
    row = np.full((2, int(new.sum())), -1)
    row[0, entry[is50]], row[1, entry[~is50]] = np.flatnonzero(is50), np.flatnonzero(~is50)
    both = (row >= 0).all(axis=0)
    return identifier[row[0, both]], identifier[row[1, both]]


def _hash(names: pa.Array) -> Bits:
    """Numbers of an arrow array's strings, straight from its buffers."""
    if not len(names):
        return np.empty((0, 2), np.uint64)
    if pc.any(pc.match_substring(names, "|")).as_py():
        names = pc.replace_substring_regex(names, _UNIPROT_NAME, r"\1")
    _, offsets, data = names.buffers()
    bounds = np.frombuffer(offsets, np.int32)[names.offset : names.offset + len(names) + 1]
    bounds = bounds.astype(np.int64)
    return hash_spans(np.frombuffer(data or b"", np.uint8), bounds[:-1], bounds[1:])


_PAIRS = {
    Shape.ID_MAPPING: _idmapping_pairs,
    Shape.TABLE: _table_pairs,
    Shape.CLUSTERS: _table_pairs,
    Shape.ROWS: _row_pairs,
}
